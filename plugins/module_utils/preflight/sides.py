# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""One side as a connected session shows it: its settings, its role, its sessions, its database; each read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import provider
from ..driver import Row, sql
from ..endpoint import Side
from ..errors import MigrationError
from ..session import Session
from .asking import Asking, once

if TYPE_CHECKING:
    from ..session import Params

RELOAD = "SELECT pg_catalog.pg_reload_conf();"
RESTART = "-- then restart the server"

# reset_val is what a new session of this role in this database starts with; our own session overrides some of them.
_SETTINGS = """
SELECT s.name, s.setting, s.reset_val, s.unit, s.pending_restart, s.context
  FROM pg_catalog.pg_settings AS s
 WHERE s.name = ANY (%(names)s)
"""
SETTINGS = (
    "autovacuum_max_workers",
    "autovacuum_worker_slots",
    "default_transaction_read_only",
    "idle_replication_slot_timeout",
    "logical_decoding_work_mem",
    "max_active_replication_origins",
    "max_connections",
    "max_locks_per_transaction",
    "max_logical_replication_workers",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_sync_workers_per_subscription",
    "max_wal_senders",
    "max_worker_processes",
    "reserved_connections",
    "superuser_reserved_connections",
    "synchronous_standby_names",
    "wal_level",
    "wal_receiver_timeout",
)

_ROLE = """
SELECT r.rolname AS name, r.rolsuper AS is_superuser, r.rolreplication AS can_replicate,
       r.rolinherit AS inherits_rights, r.rolcreaterole AS can_create_roles, r.rolcreatedb AS can_create_databases,
       r.rolbypassrls AS bypasses_row_security, r.rolconnlimit AS connection_limit,
       pg_catalog.pg_has_role(r.oid, 'pg_read_all_stats', 'USAGE') AS reads_all_statistics,
       pg_catalog.has_database_privilege(r.oid, d.oid, 'CREATE') AS can_create_in_database,
       EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS m
                WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER'))
         AS is_rds_replicator
  FROM pg_catalog.pg_roles AS r
  JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
 WHERE r.rolname = current_user
"""

# Without pg_read_all_stats backend_type is NULL for sessions of other roles: those count as "hidden", and stand for
# the most that may be in use. The backend types named here are not background workers (12-18).
_ACTIVITY = """
SELECT count(*) FILTER (WHERE a.backend_type = 'client backend') AS clients,
       count(*) FILTER (WHERE a.backend_type = 'client backend' AND a.datname = pg_catalog.current_database())
         AS clients_of_database,
       count(*) FILTER (WHERE a.usename = current_user AND coalesce(a.backend_type, 'client backend')
                                = 'client backend') AS clients_of_role,
       count(*) FILTER (WHERE a.backend_type NOT IN (
         'client backend', 'walsender', 'checkpointer', 'background writer', 'walwriter', 'walsummarizer',
         'autovacuum launcher', 'autovacuum worker', 'archiver', 'startup', 'walreceiver', 'stats collector',
         'logger', 'slotsync worker', 'io worker', 'standalone backend')) AS background_workers,
       count(*) FILTER (WHERE a.backend_type IS NULL) AS hidden,
       count(*) FILTER (WHERE a.backend_type IS NULL AND a.datname = pg_catalog.current_database())
         AS hidden_of_database
  FROM pg_catalog.pg_stat_activity AS a
"""

_FACTS = """
SELECT d.oid::bigint AS oid, d.datname AS name, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
       pg_catalog.to_jsonb(d) AS raw, d.datconnlimit AS connection_limit,
       pg_catalog.pg_database_size(d.oid) AS bytes,
       (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() AS s) AS system_identifier,
       pg_catalog.pg_postmaster_start_time()::text AS started, pg_catalog.pg_is_in_recovery() AS is_in_recovery
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
"""


# The state is NULL without pg_read_all_stats; that a sender serves a logical slot is visible to everybody.
_SENDERS = """
SELECT coalesce(s.application_name, '') AS name, s.state,
       EXISTS (SELECT 1 FROM pg_catalog.pg_replication_slots AS l
                WHERE l.active_pid = s.pid AND l.slot_type = 'logical') AS is_logical
  FROM pg_catalog.pg_stat_replication AS s
 ORDER BY s.application_name
"""


@dataclass(frozen=True)
class Setting:
    """A server setting: the value in force in our session, and the one a new session starts with.

    ``context`` says who may change it when (view pg_settings of the manual); ``postmaster`` needs a restart.
    """

    name: str
    setting: str
    reset_val: str
    unit: str | None
    pending_restart: bool
    context: str


@dataclass(frozen=True)
class Role:
    """The connecting role and what it may do."""

    name: str
    is_superuser: bool
    can_replicate: bool
    inherits_rights: bool
    can_create_roles: bool
    can_create_databases: bool
    bypasses_row_security: bool
    connection_limit: int
    reads_all_statistics: bool
    can_create_in_database: bool
    is_rds_replicator: bool


@dataclass(frozen=True)
class Activity:
    """Sessions and background workers now; ``hidden`` ones may be either, because we are not allowed to see."""

    clients: int
    clients_of_database: int
    clients_of_role: int
    background_workers: int
    hidden: int
    hidden_of_database: int


@dataclass(frozen=True)
class Facts:
    """The connected database and its server. ``raw`` is its whole pg_database row."""

    oid: int
    name: str
    encoding: str
    raw: dict[str, Any]
    connection_limit: int
    bytes: int
    system_identifier: str
    started: str
    is_in_recovery: bool


@dataclass(frozen=True)
class Sender:
    """A WAL sender; ``state`` is None when it is hidden from this role."""

    name: str
    state: str | None
    is_logical: bool


class Server:
    """One side as a connected session shows it; each fact is read once."""

    def __init__(self, side: Side, session: Session) -> None:
        self.side = side
        self.session = session
        self._asking = Asking(session)

    @property
    def major(self) -> int:
        """Major version of the server."""
        return self.session.major

    def rows(self, query: str, params: Params = None) -> list[Row]:
        """Run a query that changes nothing, together with those of other checks; return all of its rows."""
        return self._asking.rows(query, params)

    def row(self, query: str, params: Params = None) -> Row | None:
        """Run a query that changes nothing; return its first row, or None."""
        return next(iter(self.rows(query, params)), None)

    @once
    def settings(self) -> dict[str, Setting]:
        """Settings by name; a name that this version does not know is absent."""
        return {row["name"]: Setting(**row) for row in self.rows(_SETTINGS, {"names": list(SETTINGS)})}

    def number(self, name: str) -> int:
        """Return a setting as a number, in the unit that pg_settings shows."""
        return int(self.settings[name].setting)

    def to_set(self, setting: str, value: str | int) -> str:
        """Return what gives a server setting a value: SQL to paste and what makes it count, or the provider's words."""
        known = self.settings.get(setting)
        restarts = known is not None and known.context == "postmaster"
        words = self.provider.how_to_set(setting, str(value), restarts=restarts)
        if words:
            return words
        change = sql.SQL("ALTER SYSTEM SET {} = {};").format(sql.Identifier(setting), sql.Literal(value))
        return f"{change.as_string(None)}\n{RESTART if restarts else RELOAD}"

    @once
    def provider(self) -> provider.Provider:
        """Whose server it is."""
        row = self._only_row(provider.QUERY, provider.parameters())
        return provider.recognise(provider.Evidence.of(row, self.session.endpoint.params.get("host", "")))

    @once
    def role(self) -> Role:
        """The connecting role."""
        return Role(**self._only_row(_ROLE))

    @once
    def activity(self) -> Activity:
        """Sessions and workers now."""
        return Activity(**self._only_row(_ACTIVITY))

    @once
    def facts(self) -> Facts:
        """The connected database."""
        return Facts(**self._only_row(_FACTS))

    @once
    def sending(self) -> tuple[Sender, ...]:
        """All WAL senders, looked at once, before our own probes use any."""
        return tuple(Sender(**row) for row in self.rows(_SENDERS))

    @property
    def senders(self) -> tuple[str, ...]:
        """The names of the clients of all WAL senders."""
        return tuple(sender.name for sender in self.sending)

    def _only_row(self, query: str, params: Params = None) -> Row:
        row = self.row(query, params)
        if row is None:
            raise MigrationError("database_error", f"The {self.side} answered a question about itself with no row.")
        return row
