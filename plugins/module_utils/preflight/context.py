# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the checks look at: both servers, both catalogs, the selection, the ledger, the client programs.

Here belongs reading that more than one check needs, done once and only when asked for; judging belongs to the checks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any

from .. import clients, database, dealing, ledger, left_behind, owned, register, role_making, role_policy, roles, stream
from .. import extensions as of_extensions
from ..catalog import Catalog
from ..conninfo import subscription_conninfo
from ..driver import Row
from ..endpoint import DEFAULT_CONNECT_TIMEOUT_S, Side
from ..errors import MigrationError
from ..migration import Migration
from ..role_names import RoleNames
from ..selection import Selected, select
from ..session import Session
from .asking import once
from .measured import Measured
from .sides import Server
from .trial import PROBE_NAME, Trial, try_subscription

STATEMENT_TIMEOUT = "60s"
LOCK_TIMEOUT = "5s"

_LIMITS = """
SELECT pg_catalog.set_config('statement_timeout', %(statement)s, false) AS statement,
       pg_catalog.set_config('lock_timeout', %(lock)s, false) AS lock
"""

_DATABASE_EXISTS = "SELECT 1 AS found FROM pg_catalog.pg_database AS d WHERE d.datname = %(name)s"


class Unavailable(Exception):
    """What a check wants to look at is out of reach; ``check`` is the id of the check that says why."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check


class Context:
    """What all checks share. A context manager; :meth:`open` connects, and keeps what went wrong for the checks."""

    def __init__(self, migration: Migration, options: Any) -> None:
        self.migration = migration
        self.options = options
        self.errors: dict[Side, MigrationError] = {}
        self.target_is_absent = False
        self._servers: dict[Side, Server] = {}

    @classmethod
    def open(cls, migration: Migration, options: Any) -> Context:
        """Connect to both sides. ``options`` is a ``ValidateOptions``. A side that refuses is found in ``errors``."""
        context = cls(migration, options)
        try:
            sides: tuple[Side, Side] = ("source", "target")
            with ThreadPoolExecutor(len(sides)) as pool:
                list(pool.map(context._connect, sides))
        except BaseException:
            context.close()
            raise
        return context

    def __enter__(self) -> Context:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            server.session.connection.close()

    def _connect(self, side: Side) -> None:
        started = time.monotonic()
        try:
            session = self.migration.open(side, "validate", read_only=True)
        except MigrationError as error:
            patience_s = int(self.migration.target.params.get("connect_timeout", DEFAULT_CONNECT_TIMEOUT_S))
            # libpq tells no SQLSTATE for a refused connection, so an absent database is found by asking elsewhere;
            # a server that did not answer at all is not asked again.
            answered = time.monotonic() - started < patience_s / 2
            absent = self._maintenance() if side == "target" and answered else None
            if absent is None:
                self.errors[side] = error
                return
            self.target_is_absent = True
            session = absent
        session.rows(_LIMITS, {"statement": STATEMENT_TIMEOUT, "lock": LOCK_TIMEOUT})
        self._servers[side] = Server(side, session)

    def _maintenance(self) -> Session | None:
        """A session on the maintenance database, only when the server says that the target database is not there."""
        target = self.migration.target
        if target.dbname == self.options.maintenance_db:
            return None
        migration = replace(self.migration, target=target.with_database(self.options.maintenance_db))
        try:
            session = migration.open("target", "validate", read_only=True)
        except MigrationError:
            return None
        if session.row(_DATABASE_EXISTS, {"name": target.dbname}) is None:
            return session
        session.connection.close()
        return None

    def server(self, side: Side) -> Server:
        """Return one side, or raise :class:`Unavailable`. The target's may be its maintenance database."""
        if side not in self._servers:
            raise Unavailable(f"{side}_connection", f"the {side} cannot be reached")
        return self._servers[side]

    @property
    def source(self) -> Server:
        """The source."""
        return self.server("source")

    @property
    def target(self) -> Server:
        """The target, or its maintenance database when the target database does not exist yet."""
        return self.server("target")

    @property
    def target_database(self) -> Server | None:
        """The target, or None when its database does not exist yet."""
        return None if self.target_is_absent else self.target

    @once
    def catalog(self) -> Catalog:
        """The source's catalog."""
        return Catalog.read(self.source.session)

    @once
    def selection(self) -> Selected | MigrationError:
        """The selection applied to the source, or the error that says why it cannot be."""
        try:
            return select(self.catalog, self.migration.selection)
        except MigrationError as error:
            return error

    @property
    def selected(self) -> Selected:
        """What takes part, or :class:`Unavailable`."""
        if isinstance(self.selection, MigrationError):
            raise Unavailable("selection", "the selection cannot be applied to the source")
        return self.selection

    @once
    def measured(self) -> Measured:
        """The source in numbers."""
        return Measured(self)

    @once
    def left_behind(self) -> frozenset[tuple[int, int]]:
        """What the selection leaves on the source, as (class, OID); :class:`Unavailable` where it cuts a table."""
        chosen = self.selected
        try:
            if self.options.foreign_tables == "skip":
                chosen = select(self.catalog, self.migration.selection, "skip")
            left = left_behind.read(self.source.session, self.catalog, chosen)
        except MigrationError as error:
            raise Unavailable("selection", "the selection cannot be applied to the source") from error
        return frozenset((item.classid, item.objid) for item in left)

    def restored(self, rows: list[Row]) -> list[Row]:
        """Return those rows whose object, named by ``classid`` and ``oid``, is restored on the target."""
        return [row for row in rows if (row["classid"], row["oid"]) not in self.left_behind]

    @once
    def extensions(self) -> tuple[of_extensions.Extension, ...]:
        """The source's extensions and the target's."""
        return of_extensions.read(self.source.rows, self.target.rows, is_there=not self.target_is_absent)

    @once
    def extensions_plan(self) -> of_extensions.ExtensionsPlan:
        """What becomes of the source's extensions."""
        policy, source = self.options.extension_versions, self.source
        return of_extensions.plan(policy, source.rows, self.extensions, source.provider, self.left_behind)

    @once
    def planned_roles(self) -> roles.RolePlan | MigrationError:
        """The roles that init will make, or the error that says which option cannot be applied to them."""
        try:
            return roles.plan(
                role_policy.policy(self.options),
                self.source.session,
                self.target.session,
                self.selected.left_out,
                database=self.migration.target.dbname,
                passwords=self.options.role_passwords,
                made=() if self.record is None else role_making.Made.of(self.record).roles,
            )
        except MigrationError as error:
            return error

    @property
    def role_plan(self) -> roles.RolePlan:
        """The roles that init will make, or :class:`Unavailable`."""
        if isinstance(self.planned_roles, MigrationError):
            raise Unavailable("role_options", "the options about roles cannot be applied")
        return self.planned_roles

    @once
    def names(self) -> RoleNames:
        """What the roles of the source are called on the target, once init has made those that are missing."""
        return replace(self.role_plan.names, owner=self.options.sole_owner)

    @once
    def holdings(self) -> owned.Holdings:
        """Who owns, and may use, what on the source."""
        return owned.read(self.source.session)

    @property
    def handed_over(self) -> list[tuple[owned.Owned, str]]:
        """The objects that init gives to another role of the target than its own, with that role's name."""
        names, first = self.names, self.holdings.owner_of_public
        travelling = [
            item
            for item in self.holdings.objects.values()
            if (item.classid, item.oid) not in self.left_behind and not (item.is_public and item.owner == first)
        ]
        pairs = [(item, names.owner_of(item.owner)) for item in travelling]
        return [(item, owner) for item, owner in pairs if owner != names.connected]

    @once
    def target_catalog(self) -> Catalog | None:
        """The target's catalog, None when its database does not exist yet."""
        return None if self.target_database is None else Catalog.read(self.target_database.session)

    @once
    def record(self) -> ledger.Record | None:
        """What the ledger knows about this migration; None without one, and for a migration that was cleaned up."""
        if self.target_database is None:
            return None
        try:
            found = ledger.find(self.target_database.session, self.migration.name)
        except MigrationError as error:
            raise Unavailable("target_own_schema", "the ledger on the target cannot be read") from error
        return found if found is None or found.cleaned_at is None else None

    @once
    def new_slots(self) -> int:
        """How many slots init will make, beyond those that it gives back first: one for each stream that it opens."""
        wanted = stream.to_open(self.record, self.options.streams)
        if wanted > 1:
            carried = {table.oid for table in self.selected.data_tables}
            if self.record is not None:
                carried &= {relation.source_oid for relation in self.record.pending}
            wanted = max(1, min(wanted, len(dealing.groups(self.catalog, carried))))
        if self.record is None or wanted == 0:
            return wanted
        return max(0, wanted - (len(self.record.live_streams) - len(stream.carrying(self.record))))

    @once
    def new_subscriptions(self) -> int:
        """How many subscriptions sync will make: one for each stream that has none yet."""
        waiting = stream.carrying(self.record) if self.record is not None else []
        return self.new_slots + sum(1 for item in waiting if item.state != "subscribed")

    @once
    def registered(self) -> register.Register:
        """Which migrations into databases of the target server have begun; its maintenance database knows."""
        if self.target_is_absent:
            return register.read(self.target.session)
        try:
            with database.maintenance(self.migration, self.options.maintenance_db, read_only=True) as session:
                session.rows(_LIMITS, {"statement": STATEMENT_TIMEOUT, "lock": LOCK_TIMEOUT})
                return register.read(session)
        except MigrationError as error:
            return register.Register((), error.message)

    @once
    def clients(self) -> list[clients.Client]:
        """The client programs of this machine."""
        return clients.find_clients(self.options.client_bin_dir)

    @once
    def conninfo(self) -> str:
        """The connection string of the subscriptions, with the password. Raises ``bad_option`` when there is none."""
        return subscription_conninfo(
            self.migration.source, self.options.source_from_target, self.options.replication_role, PROBE_NAME
        )

    @once
    def trial(self) -> Trial | None:
        """The target's trial subscription to the source; None where this role can try none before init.

        Raises ``bad_option`` when the options give no connection string, and :class:`Unavailable` where even we do not
        reach the source: its time would be spent in vain.
        """
        target = self.target
        self.server("source")
        if self.target_is_absent and not (target.role.is_superuser or target.role.can_create_in_database):
            return None
        return try_subscription(target.session.endpoint, self.migration.log, self.conninfo)

    @property
    def replicating_role(self) -> str:
        """The role with which the subscriptions will log in to the source."""
        given = self.options.replication_role
        return str(given["user"]) if given else self.source.role.name

    @property
    def row_predicates(self) -> Mapping[int, str]:
        """Row predicates by table OID."""
        return self.selected.predicates
