# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the migrations need of each server against what is free there.

A migration that has begun shows on the server by what it has taken, and in its register (``..register``) by what it
will still take. Those of the same play that have not begun are counted by options: they will need what this one needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from ..register import Begun
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
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

# Sessions that init opens besides its workers: the snapshot, the plan, the dump, the ledger, the watch over WAL, and some room.
EXTRA_CONNECTIONS = 6
# The way back is one stream, made at the cutover.
REVERSE_STREAMS = 1

# A slot of ours ends in its migration's id and a number, whatever database it is of, see migration.stream_names.
_SLOTS = """
SELECT count(*) AS used,
       coalesce(pg_catalog.array_agg(s.slot_name::text ORDER BY s.slot_name) FILTER (WHERE NOT s.active), '{}') AS idle,
       coalesce(pg_catalog.array_agg(DISTINCT o.id) FILTER (WHERE o.id IS NOT NULL), '{}') AS migrations,
       coalesce(pg_catalog.array_agg(o.id) FILTER (WHERE o.id IS NOT NULL AND NOT s.active), '{}') AS unread
  FROM pg_catalog.pg_replication_slots AS s
 CROSS JOIN LATERAL pg_catalog.substring(s.slot_name::text, '_([0-9a-f]{12})_[0-9]+$') AS o(id)
"""

# An enabled subscription without a worker still claims one as soon as it is launched again. Every database's are here.
_WORKERS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_subscription AS w WHERE w.pid IS NOT NULL) AS running,
       count(*) FILTER (WHERE s.subenabled) AS enabled,
       coalesce(pg_catalog.array_agg(DISTINCT o.id) FILTER (WHERE o.id IS NOT NULL), '{}') AS migrations
  FROM pg_catalog.pg_subscription AS s
 CROSS JOIN LATERAL pg_catalog.substring(s.subslotname::text, '_([0-9a-f]{12})_[0-9]+$') AS o(id)
"""

_ORIGINS = "SELECT count(*) AS used FROM pg_catalog.pg_replication_origin"


@dataclass(frozen=True)
class Demand:
    """How much of a resource is needed: what the streams cannot go without, and what they would make use of.

    ``least`` and ``most`` are for ``migrations`` of them together.
    """

    streams: int
    least: int
    most: int
    migrations: int = 1

    def times(self, migrations: int) -> Demand:
        """Return what so many migrations need together, of which each needs this."""
        return Demand(self.streams, self.least * migrations, self.most * migrations, migrations)

    def severity(self, free: int) -> Severity | None:
        """Return ``warning`` where there is enough to go on, only slower."""
        return "warning" if free >= self.least else None


@dataclass(frozen=True)
class Stock:
    """One resource of one server: its limit, how much of it is in use, and how much others that have begun will take.

    ``kept_for`` are migrations that will take one for each stream, ``unread`` slots that wait for a reader; ``note`` says
    what could not be found out.
    """

    what: str
    setting: str
    limit: int
    used: int
    kept_for: tuple[Begun, ...] = ()
    unread: int = 0
    note: str = ""

    @property
    def free(self) -> int:
        """How much can be had."""
        return self.limit - self.used - self.kept

    @property
    def kept(self) -> int:
        """How much migrations that have begun will still take."""
        return self.unread + sum(begun.streams for begun in self.kept_for)

    @property
    def shown(self) -> str:
        """What is in use, for people."""
        kept = f", and {self.kept} are kept for migrations that have begun" if self.kept else ""
        return f"{self.used} of {self.limit} in use{kept}.{self.note}"


def shortage(stock: Stock, demand: Demand) -> str:
    """Say that there is not enough of something that each stream, or each table that is being copied, needs one of."""
    what = stock.what
    if demand.most == 1 and not stock.kept:
        return f"All {stock.limit} {what} ({stock.setting}) are in use."
    free = f"{max(0, stock.free)} of {stock.limit} ({stock.setting}) are free"
    free += f", when {stock.kept} are kept for migrations that have begun." if stock.kept else "."
    together = f" of {demand.migrations} migrations" if demand.migrations > 1 else ""
    if demand.least == demand.most:
        return f"{demand.most} {what} are needed, one for each stream{together}; {free}"
    slower = " Fewer tables will be copied at the same time." if demand.severity(stock.free) else ""
    return (
        f"{demand.most} {what} are wanted, one for each stream and for each table that is being copied{together}; "
        f"{free}{slower}"
    )


def _judge(
    context: Context,
    side: Side,
    stock: Stock,
    demand: Demand,
    *,
    more: str = "",
    objects: Sequence[str] = (),
    severity: Severity | None = None,
) -> Outcome:
    """Compare what is needed with what is free. ``more`` ends the remedy, ``severity`` is for a resource of the way back."""
    if stock.free >= demand.most:
        return passed(stock.shown)
    raised = stock.used + stock.kept + max(demand.most, 4)
    return failed(
        shortage(stock, demand),
        context.server(side).to_set(stock.setting, raised) + _less(side, demand) + _ended(stock) + more,
        objects=[*objects, *(f"migration {begun.name} (database {begun.database})" for begun in stock.kept_for)],
        severity=severity or demand.severity(stock.free),
    )


def _less(side: Side, demand: Demand) -> str:
    fewer = "\n-- or lower streams" if demand.streams > 1 else ""
    if demand.migrations > 1:
        fewer += (
            f"\n-- or work on fewer databases of this server at a time (serial), or say with migrations_on_{side} how "
            "many migrations use it"
        )
    return fewer


def _ended(stock: Stock) -> str:
    if not stock.kept_for:
        return ""
    return "\n-- or take back migrations that are not wanted any more, with pg_migration_cleanup"


def _demand(context: Context, streams: int) -> Demand:
    """Return one for each stream that is to be made.

    Where the servers copy by themselves, each table that is being copied takes a slot, a WAL sender, a worker and an
    origin more; the target decides how many those are.
    """
    if not streams or context.options.copy_method != "subscription":
        return Demand(streams, streams, streams)
    at_once = max(1, context.target.number("max_sync_workers_per_subscription"))
    return Demand(streams, streams + 1, streams * (1 + at_once))


def _own_id(context: Context) -> str:
    return context.record.id[:12] if context.record is not None else ""


def _registered(context: Context, begun: Sequence[str]) -> tuple[Begun, ...]:
    """Return the other migrations of the register that are not among those that show on the server."""
    known = {*begun, _own_id(context)}
    return tuple(other for other in context.registered.begun if other.id[:12] not in known)


def _planned(context: Context, side: Side) -> int:
    """Return how many migrations of the play use this server, this one included."""
    options = context.options
    return int(options.migrations_on_source if side == "source" else options.migrations_on_target)


def _to_come(context: Context, side: Side, begun: Sequence[str]) -> int:
    """Return how many other migrations of the play will still ask this server for what this one asks for."""
    return max(0, _planned(context, side) - 1 - len(set(begun) - {_own_id(context)}))


# --- the way there -----------------------------------------------------------------------------------------------


@check(CHECKS, "source_slots", "A replication slot is free on the source", side="source")
def slots(context: Context) -> Outcome:
    """S5."""
    row = context.source.rows(_SLOTS)[0]
    source = context.source.facts.system_identifier
    waiting = tuple(other for other in _registered(context, row["migrations"]) if other.source == source)
    begun = [*row["migrations"], *(other.id[:12] for other in waiting)]
    demand = _demand(context, context.new_slots).times(1 + _to_come(context, "source", begun))
    limit = context.source.number("max_replication_slots")
    stock = Stock("replication slots", "max_replication_slots", limit, row["used"], waiting)
    unread = [slot for slot in row["idle"] if slot not in context.source.provider.rules.own_slots]
    idle = [statement("SELECT pg_catalog.pg_drop_replication_slot({})", sql.Literal(slot)) for slot in unread]
    drops = "\n-- or drop slots that nobody needs, these are not in use now:\n" + statements(*idle) if idle else ""
    return _judge(context, "source", stock, demand, more=drops, objects=unread)


@check(CHECKS, "source_walsenders", "A WAL sender is free on the source", side="source")
def walsenders(context: Context) -> Outcome:
    """S6. Every replication connection counts, base backups and standbys too."""
    row, senders = context.source.rows(_SLOTS)[0], context.source.senders
    demand = _demand(context, context.new_subscriptions).times(1 + _to_come(context, "source", row["migrations"]))
    # A slot that waits for its subscription will need a sender; one of its streams is held by a sender as long as the
    # copy lasts.
    unread = [one for one in row["unread"] if one != _own_id(context)]
    held = sum(sender == "seren_migrator snapshot" for sender in senders)
    stock = Stock(
        "WAL senders",
        "max_wal_senders",
        context.source.number("max_wal_senders"),
        len(senders),
        unread=max(0, len(unread) - held),
    )
    return _judge(context, "source", stock, demand, objects=[item for item in senders if item])


@check(CHECKS, "target_workers", "A logical replication worker is free on the target", side="target")
def workers(context: Context) -> Outcome:
    """S7."""
    return _workers(context, "target", context.new_subscriptions)


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
    return _worker_processes(context, "target", context.new_subscriptions)


@check(CHECKS, "target_origins", "A replication origin is free on the target", side="target")
def origins(context: Context) -> Outcome:
    """S8. 18 has a setting of its own for it."""
    return _origins(context, "target", context.new_subscriptions)


# --- the way back ------------------------------------------------------------------------------------------------


@check(
    CHECKS,
    "target_slots",
    "A replication slot and a WAL sender are free on the target, for the way back",
    side="target",
    severity="warning",
)
def reverse_slots(context: Context) -> Outcome:
    """S5, S6 of the reverse stream."""
    if not context.options.rollback:
        return skipped("Concerns rollback.")
    target, row = context.target, context.target.rows(_SLOTS)[0]
    begun = [*row["migrations"], *_subscribed(context)]
    demand = Demand(1, REVERSE_STREAMS, REVERSE_STREAMS).times(1 + _to_come(context, "target", begun))
    for what, setting, used in (
        ("replication slots", "max_replication_slots", row["used"]),
        ("WAL senders", "max_wal_senders", len(target.senders)),
    ):
        stock = Stock(what, setting, target.number(setting), used)
        if stock.free < demand.most:
            return _judge(context, "target", stock, demand, severity="warning")
    return passed()


@check(
    CHECKS,
    "source_workers",
    "A logical replication worker is free on the source, for the way back",
    side="source",
    severity="warning",
)
def reverse_workers(context: Context) -> Outcome:
    """S7, S8 of the reverse stream."""
    if not context.options.rollback:
        return skipped("Concerns rollback.")
    outcomes = [
        judged(context, "source", REVERSE_STREAMS, "warning") for judged in (_workers, _worker_processes, _origins)
    ]
    return next((outcome for outcome in outcomes if outcome.status != "pass"), passed())


# --- what both ways share ----------------------------------------------------------------------------------------


def _subscribed(context: Context) -> list[str]:
    """Return the migrations that have a subscription on the target."""
    found: list[str] = context.target.rows(_WORKERS)[0]["migrations"]
    return found


def _needed(context: Context, side: Side, streams: int) -> Demand:
    """Return what subscriptions on this side need: the forward ones on the target, the reverse ones on the source."""
    begun = [*context.server(side).rows(_WORKERS)[0]["migrations"]]
    begun += [other.id[:12] for other in _unsubscribed(context, side)]
    own = _demand(context, streams) if side == "target" else Demand(streams, streams, streams)
    return own.times(1 + _to_come(context, side, begun))


def _unsubscribed(context: Context, side: Side) -> tuple[Begun, ...]:
    """Return the other migrations into the target server that have begun and have no subscription yet."""
    return _registered(context, _subscribed(context)) if side == "target" else ()


def _stock(context: Context, side: Side, what: str, setting: str, used: int) -> Stock:
    """Return a resource of which each subscription on this side takes one."""
    reason = context.registered.reason if side == "target" else ""
    note = f" Migrations into other databases that are copying are not known: {reason}" if reason else ""
    limit = context.server(side).number(setting)
    return Stock(what, setting, limit, used, _unsubscribed(context, side), note=note)


def _workers(context: Context, side: Side, streams: int, severity: Severity | None = None) -> Outcome:
    setting = "max_logical_replication_workers"
    row = context.server(side).rows(_WORKERS)[0]
    used = max(row["running"], row["enabled"])
    stock = _stock(context, side, "logical replication workers", setting, used)
    return _judge(context, side, stock, _needed(context, side, streams), severity=severity)


def _worker_processes(context: Context, side: Side, streams: int, severity: Severity | None = None) -> Outcome:
    server, setting = context.server(side), "max_worker_processes"
    activity, demand = server.activity, _needed(context, side, streams)
    stock = _stock(context, side, "background worker processes", setting, activity.background_workers)
    if stock.free >= demand.most > stock.free - activity.hidden:
        return unknown(
            f"Of {stock.limit} worker processes {stock.used} are known to be in use, but {activity.hidden} sessions of "
            "other roles cannot be seen.",
            _see_statistics(server),
            severity=severity,
        )
    return _judge(context, side, stock, demand, severity=severity)


def _origins(context: Context, side: Side, streams: int, severity: Severity | None = None) -> Outcome:
    server = context.server(side)
    setting = "max_active_replication_origins" if server.major >= 18 else "max_replication_slots"
    stock = _stock(context, side, "replication origins", setting, server.rows(_ORIGINS)[0]["used"])
    return _judge(context, side, stock, _needed(context, side, streams), severity=severity)


def _see_statistics(server: Server) -> str:
    return statements(statement("GRANT pg_read_all_stats TO {}", name(server.role.name)))


@check_both(CHECKS, "connections", "The {side} has room for the migration's connections", severity="warning")
def connections(context: Context, side: Side) -> Outcome:
    """S18. Of the other migrations only those that work at the same time count; who has begun is connected by now."""
    server, options = context.server(side), context.options
    # Once it replicates, each stream's WAL sender is a connection for the limits of its role and of the database.
    wanted = {"jobs": options.jobs, "streams": options.streams}
    if side == "target":
        wanted = {"jobs and index_jobs": options.jobs + (options.index_jobs or options.jobs)}
    most = max(wanted, key=lambda option: wanted[option])
    each = wanted[most] + EXTRA_CONNECTIONS
    others = 0
    if _planned(context, side) > 1:
        query = _SLOTS if side == "source" else _WORKERS
        others = _to_come(context, side, server.rows(query)[0]["migrations"])
    if options.migrations_at_once is not None:
        others = min(others, options.migrations_at_once - 1)
    needed = each * (1 + others)
    role, activity, facts = server.role, server.activity, server.facts
    reserved = 0
    if not role.is_superuser:
        reserved = sum(
            server.number(key)
            for key in ("superuser_reserved_connections", "reserved_connections")
            if key in server.settings
        )
    # (what, limit, surely in use, in use when every hidden session is a client's, wanted)
    rooms = [
        (
            "max_connections",
            server.number("max_connections") - reserved,
            activity.clients,
            activity.clients + activity.hidden,
            needed,
        )
    ]
    if facts.connection_limit >= 0:
        known = activity.clients_of_database
        rooms.append(
            (
                "CONNECTION LIMIT of the database",
                facts.connection_limit,
                known,
                known + activity.hidden_of_database,
                each,
            )
        )
    if role.connection_limit >= 0:
        of_role = activity.clients_of_role
        rooms.append(("CONNECTION LIMIT of the role", role.connection_limit, of_role, of_role, needed))
    short = [(what, limit - used, want) for what, limit, used, _most, want in rooms if limit - used < want]
    if short:
        together = f" for each of {1 + others} migrations that work at the same time" if others else ""
        return failed(
            f"{short[0][2]} connections are wanted ({most} + {EXTRA_CONNECTIONS}{together}); free are: "
            + ", ".join(f"{max(free, 0)} ({what})" for what, free, _want in short)
            + ".",
            f"Lower {most}, close idle connections, or raise the limit."
            + (" Or work on fewer databases at a time (forks, serial)." if others else ""),
            objects=[what for what, _free, _want in short],
        )
    if any(limit - most_used < want for _what, limit, _used, most_used, want in rooms):
        return unknown(
            f"{activity.hidden} sessions of other roles cannot be seen; with them there may be no room.",
            _see_statistics(server),
        )
    return passed()
