# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of who else replicates: other slots and consumers, standbys, what earlier subscriptions have left."""

from __future__ import annotations

import re
from typing import Any

from ..driver import sql
from ..quantities import size
from .check import Check, Outcome, check, failed, name, passed, statement, statements, unknown
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

# A slot of another migration of this collection (see migration.stream_names): idle during its copy, and looked after.
_OF_A_MIGRATION = re.compile(r"_[0-9a-f]{12}_[0-9]+$")
PATIENCE_BYTES = 1 << 30

# wal_status exists from 13 on.
_SLOTS = """
SELECT s.slot_name AS name, s.slot_type AS kind, s.database, s.plugin, s.active AS is_active, s.temporary AS is_temporary,
       pg_catalog.to_jsonb(s) ->> 'wal_status' AS wal_status,
       pg_catalog.pg_wal_lsn_diff(
         CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
              ELSE pg_catalog.pg_current_wal_insert_lsn() END, s.restart_lsn)::bigint AS retained_bytes,
       s.database = pg_catalog.current_database() AS is_of_this_database
  FROM pg_catalog.pg_replication_slots AS s
 ORDER BY s.slot_name
"""

_ORPHANS = """
SELECT o.roname AS name
  FROM pg_catalog.pg_replication_origin AS o
 WHERE o.roname ~ '^pg_[0-9]+(_[0-9]+)?$'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_subscription AS s
                    WHERE pg_catalog.split_part(o.roname, '_', 2) = s.oid::text)
 ORDER BY o.roname
"""


def _foreign_slots(context: Context) -> list[dict[str, Any]]:
    """All slots of the source that are neither of this migration nor of the server's provider."""
    known = set(context.source.provider.rules.own_slots)
    if context.record is not None:
        known |= {item.slot for item in context.record.live_streams}
    return [row for row in context.source.rows(_SLOTS) if row["name"] not in known and not row["is_temporary"]]


@check(CHECKS, "source_other_slots", "No other slot fills the source's disk", side="source", severity="warning")
def other_slots(context: Context) -> Outcome:
    """S20. What they retain is there besides what our own slot will retain."""
    troubled = [row for row in _foreign_slots(context) if _is_trouble(row)]
    if not troubled:
        return passed()
    return failed(
        "These slots have no consumer, or one that is far behind: WAL is kept for them, without end, or is already "
        "lost to them. What our slot keeps during the copy comes on top.",
        _dropping([row["name"] for row in troubled if not row["is_active"]]) + "Get their consumers going again.",
        objects=[f"{row['name']} ({_condition(row)})" for row in troubled],
    )


def _dropping(slots: list[str]) -> str:
    if not slots:
        return ""
    drops = (statement("SELECT pg_catalog.pg_drop_replication_slot({})", sql.Literal(slot)) for slot in slots)
    return "-- those that nobody needs any more:\n" + statements(*drops) + "\n-- or: "


def _is_trouble(row: dict[str, Any]) -> bool:
    if row["wal_status"] in ("extended", "unreserved", "lost"):
        return True
    if row["is_active"] or row["retained_bytes"] is None:
        return False
    return _OF_A_MIGRATION.search(row["name"]) is None or row["retained_bytes"] > PATIENCE_BYTES


def _condition(row: dict[str, Any]) -> str:
    words = ["active" if row["is_active"] else "inactive"]
    words += [row["wal_status"]] if row["wal_status"] not in (None, "reserved") else []
    words += [] if row["retained_bytes"] is None else [size(row["retained_bytes"])]
    return ", ".join(words)


@check(
    CHECKS,
    "source_other_consumers",
    "Nobody else takes changes from the source database",
    side="source",
    severity="info",
)
def other_consumers(context: Context) -> Outcome:
    """S21. Their slots stay behind on the source."""
    found = [
        row
        for row in _foreign_slots(context)
        if row["is_of_this_database"] and row["is_active"] and not _OF_A_MIGRATION.search(row["name"])
    ]
    if not found:
        return passed()
    return failed(
        "These logical slots are in use, for instance by change data capture. They do not move to the target, and "
        "positions in the source's WAL mean nothing there.",
        "Plan how each consumer goes on at the cut-over: stop it after it has seen the last change, and make its slot "
        "on the target before writes begin there.",
        objects=[f"{row['name']} ({row['plugin']})" for row in found],
    )


def _standbys(server: Server) -> tuple[list[str], bool]:
    """Names of the physical standbys that stream from a server, and whether some may be hidden from this role."""
    providers = server.provider.rules.own_senders
    physical = [
        item
        for item in server.sending
        if not (item.is_logical or item.name.startswith("seren_migrator") or item.name in providers)
    ]
    shown = [item.name or "(no name)" for item in physical if item.state in ("streaming", "catchup")]
    return shown, any(item.state is None for item in physical)


def _cannot_see(server: Server) -> Outcome:
    return unknown(
        "Replication connections of others are there, but this role cannot see whether they are standbys.",
        statements(statement("GRANT pg_read_all_stats TO {}", name(server.role.name))),
        severity="info",
    )


@check(
    CHECKS, "source_failover", "No standby of the source can take over without the slot", side="source", severity="info"
)
def failover(context: Context) -> Outcome:
    """F22. Our slots are not failover slots (17): such a one must be made with its subscription."""
    provider = context.source.provider
    if provider.rules.keeps_slots_in_failover:
        return passed(f"{provider.title} keeps slots with the storage, so they outlive a failover.")
    standbys, some_hidden = _standbys(context.source)
    if standbys:
        return failed(
            "The source has standbys. A logical slot lives on the primary alone: if one of these takes over before "
            "the cut-over, the slot is gone, and the migration must start again.",
            "Plan no switchover during the migration. After a failover: pg_migration_cleanup, then pg_migration_init.",
            objects=standbys,
        )
    return _cannot_see(context.source) if some_hidden else passed()


@check(CHECKS, "target_standbys", "No standby slows the load of the target", side="target", severity="info")
def target_standbys(context: Context) -> Outcome:
    """S26."""
    target = context.target
    standbys, some_hidden = _standbys(target)
    if not standbys:
        return _cannot_see(target) if some_hidden else passed()
    is_synchronous = bool(target.settings["synchronous_standby_names"].setting)
    return failed(
        "Everything that is loaded into the target is sent on to its standbys, too"
        + (", and commits wait for the synchronous ones." if is_synchronous else "."),
        "Where that is possible, make standbys and high availability of the target after the copy.",
        objects=standbys,
        severity="warning" if is_synchronous else None,
    )


@check(
    CHECKS,
    "target_orphan_origins",
    "No replication origin is left without its subscription",
    side="target",
    severity="info",
)
def orphan_origins(context: Context) -> Outcome:
    """S24. Each takes the place of one that we need."""
    found = [row["name"] for row in context.target.rows(_ORPHANS)]
    if not found:
        return passed()
    return failed(
        "These origins belong to subscriptions that are gone. Each takes one of the places that max_replication_slots "
        "(18: max_active_replication_origins) gives.",
        statements(
            *(statement("SELECT pg_catalog.pg_replication_origin_drop({})", sql.Literal(origin)) for origin in found)
        ),
        objects=found,
    )
