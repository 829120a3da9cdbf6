# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of server settings and capacity: can the source decode and send, can the target apply."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from .check import (
    Check,
    Outcome,
    Severity,
    check,
    check_both,
    failed,
    name,
    passed,
    skipped,
    statement,
    statements,
    unknown,
)
from .context import RELOAD, Context, Server

CHECKS: list[Check] = []

# Sessions that init opens besides its workers: the snapshot, the plan, the dump, the ledger, the watch over WAL, and some room.
EXTRA_CONNECTIONS = 6
RESTART_SETTINGS = ("wal_level", "max_replication_slots", "max_wal_senders")
# A transaction older than this would hold up the creation of the slot; AWS DMS draws the same line.
OLD_TRANSACTION_S = 600
YOUNG_TRANSACTION_S = 60
SECOND_LOOKS = 3

_SLOTS = """
SELECT count(*) AS used,
       coalesce(pg_catalog.array_agg(s.slot_name::text ORDER BY s.slot_name) FILTER (WHERE NOT s.active), '{}') AS idle
  FROM pg_catalog.pg_replication_slots AS s
"""

# An enabled subscription without a worker still claims one as soon as it is launched again.
_WORKERS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_subscription AS w WHERE w.pid IS NOT NULL) AS running,
       (SELECT count(*) FROM pg_catalog.pg_subscription AS s WHERE s.subenabled) AS enabled
"""

_ORIGINS = "SELECT count(*) AS used FROM pg_catalog.pg_replication_origin"

_PREPARED = """
SELECT p.gid, p.owner, p.database,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - p.prepared) AS age_s
  FROM pg_catalog.pg_prepared_xacts AS p
 ORDER BY p.prepared
"""

# backend_xid is visible to everybody; xact_start is NULL for sessions of other roles without pg_read_all_stats.
_XID_HOLDERS = """
SELECT a.pid, a.usename, a.datname, a.backend_xid::text AS xid,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start) AS age_s
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
 ORDER BY a.xact_start
"""

_SUBSCRIPTIONS = """
SELECT s.subname AS name
  FROM pg_catalog.pg_subscription AS s
  JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
 WHERE d.datname = pg_catalog.current_database() AND s.subenabled
 ORDER BY s.subname
"""


@check(CHECKS, "source_wal_level", "wal_level is logical on the source", side="source")
def wal_level(context: Context) -> Outcome:
    """S1."""
    value = context.source.settings["wal_level"].setting
    if value == "logical":
        return passed()
    return failed(
        f"wal_level is {value}: changes cannot be decoded from such WAL.",
        context.source.to_set("wal_level", "logical"),
        objects=[f"wal_level={value}"],
    )


@check(CHECKS, "source_pending_restart", "No setting that replication needs waits for a restart", side="source")
def pending_restart(context: Context) -> Outcome:
    """S2."""
    pending = [key for key in RESTART_SETTINGS if context.source.settings[key].pending_restart]
    if not pending:
        return passed()
    return failed(
        "The configuration was changed, and will only count (for better or worse) after a restart.",
        "Restart the source, or take the change back.",
        objects=pending,
    )


@check_both(CHECKS, "recovery", "The {side} is a primary")
def recovery(context: Context, side: Side) -> Outcome:
    """S3."""
    if not context.server(side).facts.is_in_recovery:
        return passed()
    return failed(
        f"The {side} is a standby: publications, subscriptions and tables cannot be created there.",
        f"Give the primary as {side} (target_session_attrs=read-write finds it among several hosts).",
    )


@check_both(CHECKS, "read_only", "Sessions on the {side} may write")
def read_only(context: Context, side: Side) -> Outcome:
    """S4. Our own migration may have set it; then it is no surprise."""
    server = context.server(side)
    if server.settings["default_transaction_read_only"].reset_val != "on":
        return passed()
    if context.record is not None:
        return passed("default_transaction_read_only is on, and this migration is under way.")
    return failed(
        "default_transaction_read_only is on for this role or database, perhaps left over from an earlier cut-over.",
        statements(
            sql.SQL("SET default_transaction_read_only = off"),
            statement("ALTER DATABASE {} RESET default_transaction_read_only", name(server.facts.name)),
            statement("ALTER ROLE {} RESET default_transaction_read_only", name(server.role.name)),
        )
        + "\n-- or, when it is set for the whole server:\n"
        + statements(sql.SQL("ALTER SYSTEM RESET default_transaction_read_only"))
        + f"\n{RELOAD}",
    )


@dataclass(frozen=True)
class _Demand:
    """How much of a resource the streams take: what they cannot go without, and what they would make use of."""

    streams: int
    least: int
    most: int

    def severity(self, free: int) -> Severity | None:
        """Return ``warning`` where there is enough to go on, only slower."""
        return "warning" if free >= self.least else None


def _demand(context: Context, streams: int) -> _Demand:
    """Return one for each stream that is to be made.

    Where the servers copy by themselves, each table that is being copied takes a slot, a WAL sender, a worker and an
    origin more; the target decides how many those are.
    """
    if not streams or context.options.copy_method != "subscription":
        return _Demand(streams, streams, streams)
    at_once = max(1, context.target.number("max_sync_workers_per_subscription"))
    return _Demand(streams, streams + 1, streams * (1 + at_once))


def _shortage(what: str, setting: str, limit: int, used: int, demand: _Demand) -> str:
    """Say that there is not enough of something that each stream, or each table that is being copied, needs one of."""
    if demand.most == 1:
        return f"All {limit} {what} ({setting}) are in use."
    free = f"{max(0, limit - used)} of {limit} ({setting}) are free."
    if demand.least == demand.most:
        return f"{demand.most} {what} are needed, one for each stream; {free}"
    slower = " Fewer tables will be copied at the same time." if demand.severity(limit - used) else ""
    return (
        f"{demand.most} {what} are wanted, one for each stream and for each table that is being copied; {free}{slower}"
    )


def _fewer(demand: _Demand) -> str:
    return "\n-- or lower streams" if demand.streams > 1 else ""


@check(CHECKS, "source_slots", "A replication slot is free on the source", side="source")
def slots(context: Context) -> Outcome:
    """S5."""
    limit = context.source.number("max_replication_slots")
    row = context.source.rows(_SLOTS)[0]
    demand = _demand(context, context.new_slots)
    if limit - row["used"] >= demand.most:
        return passed(f"{row['used']} of {limit} in use.")
    idle = [statement("SELECT pg_catalog.pg_drop_replication_slot({})", sql.Literal(slot)) for slot in row["idle"]]
    raised = context.source.to_set("max_replication_slots", row["used"] + max(demand.most, 4))
    return failed(
        _shortage("replication slots", "max_replication_slots", limit, row["used"], demand),
        raised
        + _fewer(demand)
        + ("\n-- or drop slots that nobody needs, these are not in use now:\n" + statements(*idle) if idle else ""),
        objects=row["idle"],
        severity=demand.severity(limit - row["used"]),
    )


@check(CHECKS, "source_walsenders", "A WAL sender is free on the source", side="source")
def walsenders(context: Context) -> Outcome:
    """S6. Every replication connection counts, base backups and standbys too."""
    limit = context.source.number("max_wal_senders")
    senders = context.source.senders
    demand = _demand(context, context.new_subscriptions)
    if limit - len(senders) >= demand.most:
        return passed(f"{len(senders)} of {limit} in use.")
    return failed(
        _shortage("WAL senders", "max_wal_senders", limit, len(senders), demand),
        context.source.to_set("max_wal_senders", len(senders) + max(demand.most, 4)) + _fewer(demand),
        objects=[item for item in senders if item],
        severity=demand.severity(limit - len(senders)),
    )


@check(CHECKS, "target_workers", "A logical replication worker is free on the target", side="target")
def workers(context: Context) -> Outcome:
    """S7."""
    limit = context.target.number("max_logical_replication_workers")
    row = context.target.rows(_WORKERS)[0]
    used = max(row["running"], row["enabled"])
    demand = _demand(context, context.new_subscriptions)
    if limit - used >= demand.most:
        return passed(f"{used} of {limit} in use.")
    return failed(
        _shortage("logical replication workers", "max_logical_replication_workers", limit, used, demand),
        context.target.to_set("max_logical_replication_workers", used + max(demand.most, 4)) + _fewer(demand),
        severity=demand.severity(limit - used),
    )


@check(CHECKS, "target_sync_workers", "A subscription on the target may copy tables", side="target")
def sync_workers(context: Context) -> Outcome:
    """S7, where the servers copy by themselves."""
    if context.options.copy_method != "subscription":
        return skipped("Concerns copy_method: subscription.")
    limit = context.target.number("max_sync_workers_per_subscription")
    if limit > 0:
        return passed(f"{limit} tables at the same time.")
    return failed(
        "max_sync_workers_per_subscription is 0: no table would be copied.",
        context.target.to_set("max_sync_workers_per_subscription", 2),
        objects=["max_sync_workers_per_subscription=0"],
    )


@check(CHECKS, "target_worker_processes", "A background worker process is free on the target", side="target")
def worker_processes(context: Context) -> Outcome:
    """S7. Where statistics are hidden, every hidden session counts as a worker; only if even so one is free, pass."""
    limit = context.target.number("max_worker_processes")
    activity = context.target.activity
    demand = _demand(context, context.new_subscriptions)
    if limit - activity.background_workers - activity.hidden >= demand.most:
        return passed(f"{activity.background_workers} of {limit} in use.")
    if limit - activity.background_workers >= demand.most:
        return unknown(
            f"Of {limit} worker processes {activity.background_workers} are known to be in use, but {activity.hidden} "
            "sessions of other roles cannot be seen.",
            _see_statistics(context.target),
        )
    return failed(
        _shortage("background worker processes", "max_worker_processes", limit, activity.background_workers, demand),
        context.target.to_set("max_worker_processes", activity.background_workers + max(demand.most, 8))
        + _fewer(demand),
        severity=demand.severity(limit - activity.background_workers - activity.hidden),
    )


def _see_statistics(server: Server) -> str:
    return statements(statement("GRANT pg_read_all_stats TO {}", name(server.role.name)))


@check(CHECKS, "target_origins", "A replication origin is free on the target", side="target")
def origins(context: Context) -> Outcome:
    """S8. 18 has a setting of its own for it."""
    setting = "max_active_replication_origins" if context.target.major >= 18 else "max_replication_slots"
    limit = context.target.number(setting)
    used = context.target.rows(_ORIGINS)[0]["used"]
    demand = _demand(context, context.new_subscriptions)
    if limit - used >= demand.most:
        return passed(f"{used} of {limit} in use.")
    return failed(
        _shortage("replication origins", setting, limit, used, demand),
        context.target.to_set(setting, used + max(demand.most, 4)) + _fewer(demand),
        severity=demand.severity(limit - used),
    )


@check_both(CHECKS, "connections", "The {side} has room for the migration's connections", severity="warning")
def connections(context: Context, side: Side) -> Outcome:
    """S18."""
    server = context.server(side)
    # Once it replicates, each stream's WAL sender is a connection for the limits of its role and of the database.
    options = context.options
    wanted = {"jobs": options.jobs, "streams": options.streams}
    if side == "target":
        wanted = {"jobs and index_jobs": options.jobs + (options.index_jobs or options.jobs)}
    most = max(wanted, key=lambda option: wanted[option])
    needed = wanted[most] + EXTRA_CONNECTIONS
    role, activity, facts = server.role, server.activity, server.facts
    reserved = 0
    if not role.is_superuser:
        reserved = sum(
            server.number(key)
            for key in ("superuser_reserved_connections", "reserved_connections")
            if key in server.settings
        )
    # (what, limit, surely in use, in use when every hidden session is a client's)
    rooms = [
        (
            "max_connections",
            server.number("max_connections") - reserved,
            activity.clients,
            activity.clients + activity.hidden,
        )
    ]
    if facts.connection_limit >= 0:
        known = activity.clients_of_database
        rooms.append(
            ("CONNECTION LIMIT of the database", facts.connection_limit, known, known + activity.hidden_of_database)
        )
    if role.connection_limit >= 0:
        rooms.append(
            ("CONNECTION LIMIT of the role", role.connection_limit, activity.clients_of_role, activity.clients_of_role)
        )
    short = [(what, limit - used) for what, limit, used, _most in rooms if limit - used < needed]
    if short:
        return failed(
            f"{needed} connections are wanted ({most} + {EXTRA_CONNECTIONS}); free are: "
            + ", ".join(f"{max(free, 0)} ({what})" for what, free in short)
            + ".",
            f"Lower {most}, close idle connections, or raise the limit.",
            objects=[what for what, _free in short],
        )
    if any(limit - most < needed for _what, limit, _used, most in rooms):
        return unknown(
            f"{activity.hidden} sessions of other roles cannot be seen; with them there may be no room.",
            _see_statistics(server),
        )
    return passed()


@check(CHECKS, "source_prepared_transactions", "No prepared transaction holds up the slot", side="source")
def prepared_transactions(context: Context) -> Outcome:
    """S13. The creation of a slot waits for them, in whatever database of the server they are."""
    found = context.source.rows(_PREPARED)
    if not found:
        return passed()
    old = [row for row in found if row["age_s"] > YOUNG_TRANSACTION_S]
    remedy = "\n".join(
        f"-- in database {row['database']}, as {row['owner']}, COMMIT PREPARED or:\n"
        + statements(statement("ROLLBACK PREPARED {}", sql.Literal(row["gid"])))
        for row in old or found
    )
    return failed(
        "The replication slot cannot be created before these are committed or rolled back.",
        remedy,
        objects=[f"{row['gid']} ({row['database']}, {row['age_s']:.0f} s)" for row in found],
        severity=None if old else "warning",
    )


@check(CHECKS, "source_long_transactions", "No long transaction holds up the slot", side="source")
def long_transactions(context: Context) -> Outcome:
    """S14. Only transactions that have written count. Those whose start is hidden are looked at again."""
    found = context.source.rows(_XID_HOLDERS)
    old = [row for row in found if row["age_s"] is not None and row["age_s"] > YOUNG_TRANSACTION_S]
    if old:
        blocks = any(row["age_s"] > OLD_TRANSACTION_S for row in old)
        return failed(
            "The replication slot cannot be created before these transactions end.",
            statements(
                *(statement("SELECT pg_catalog.pg_terminate_backend({})", sql.Literal(row["pid"])) for row in old)
            ),
            objects=[f"pid {row['pid']} ({row['usename']}, {row['datname']}, {row['age_s']:.0f} s)" for row in old],
            severity=None if blocks else "warning",
        )
    hidden = {(row["pid"], row["xid"]) for row in found if row["age_s"] is None}
    for _look in range(SECOND_LOOKS):
        if not hidden:
            return passed()
        time.sleep(1)
        hidden &= {(row["pid"], row["xid"]) for row in context.source.rows(_XID_HOLDERS)}
    if not hidden:
        return passed()
    return unknown(
        "These transactions of other roles have been writing for some seconds; since when is hidden from this role.",
        _see_statistics(context.source),
        objects=[f"pid {pid}" for pid, _xid in sorted(hidden)],
    )


@check(
    CHECKS,
    "source_slot_idle_timeout",
    "The source does not drop idle slots",
    side="source",
    severity="warning",
    versions=(18, 99),
)
def slot_idle_timeout(context: Context) -> Outcome:
    """S10. The slot is idle during the whole copy."""
    setting = context.source.settings["idle_replication_slot_timeout"]
    if int(setting.setting) == 0:
        return passed()
    return failed(
        f"idle_replication_slot_timeout is {setting.setting} {setting.unit or ''}: the slot, which is idle during the "
        "copy, may be invalidated.",
        context.source.to_set("idle_replication_slot_timeout", 0),
        objects=[f"idle_replication_slot_timeout={setting.setting}{setting.unit or ''}"],
    )


@check(
    CHECKS,
    "source_synchronous_standbys",
    "Commits on the source will not wait for the target",
    side="source",
    severity="warning",
)
def synchronous_standbys(context: Context) -> Outcome:
    """S16. A wildcard takes our subscription for a standby."""
    value = context.source.settings["synchronous_standby_names"].setting
    if "*" not in value:
        return passed()
    return failed(
        "synchronous_standby_names matches any name: the subscription could become a synchronous standby, and every "
        "commit on the source would wait for the target.",
        "Name the real standbys in synchronous_standby_names.",
        objects=[f"synchronous_standby_names={value}"],
    )


@check(CHECKS, "source_is_subscriber", "The source does not itself subscribe", side="source", severity="warning")
def is_subscriber(context: Context) -> Outcome:
    """S23."""
    found = [row["name"] for row in context.source.rows(_SUBSCRIPTIONS)]
    if not found:
        return passed()
    return failed(
        "Rows that these subscriptions bring to the source are passed on to the target; subscriptions themselves are "
        "not migrated.",
        "Decide what feeds the target after the cut-over. Keep origin=any (the default) for our subscription.",
        objects=found,
    )
