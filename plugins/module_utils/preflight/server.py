# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of server settings and of what runs there: can the source decode and send, can the target apply."""

from __future__ import annotations

import time

from ..driver import sql
from ..endpoint import Side
from .check import (
    Check,
    Outcome,
    check,
    check_both,
    comment,
    failed,
    name,
    passed,
    statement,
    statements,
    unknown,
)
from .context import Context
from .sides import RELOAD, Server

CHECKS: list[Check] = []

RESTART_SETTINGS = ("wal_level", "max_replication_slots", "max_wal_senders")
# A transaction older than this would hold up the creation of the slot; AWS DMS draws the same line.
OLD_TRANSACTION_S = 600
YOUNG_TRANSACTION_S = 60
SECOND_LOOKS = 3


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


def _see_statistics(server: Server) -> str:
    return statements(statement("GRANT pg_read_all_stats TO {}", name(server.role.name)))


@check(CHECKS, "source_prepared_transactions", "No prepared transaction holds up the slot", side="source")
def prepared_transactions(context: Context) -> Outcome:
    """S13. The creation of a slot waits for them, in whatever database of the server they are."""
    found = context.source.rows(_PREPARED)
    if not found:
        return passed()
    old = [row for row in found if row["age_s"] > YOUNG_TRANSACTION_S]
    remedy = "\n".join(
        comment(f"in database {row['database']}, as {row['owner']}, COMMIT PREPARED or:")
        + "\n"
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
