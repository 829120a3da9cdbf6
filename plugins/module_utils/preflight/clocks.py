# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of time: clocks that differ, logins that expire, transaction ids that run out."""

from __future__ import annotations

import time

from ..driver import sql
from ..endpoint import Side
from .check import Check, Outcome, check, check_both, failed, name, passed, statement, statements
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

CLOCK_TOLERANCE_S = 5.0
# How long a migration may go on, from init to cut-over, before somebody looks again.
MIGRATION_DAYS = 7
# A slot keeps the catalogs' row versions from being frozen; the server stops at 2.1e9.
OLD_XID_AGE = 1_000_000_000

_NOW = "SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) AS now_s"

# An infinite timestamp cannot be subtracted before 17.
_EXPIRING = """
SELECT r.rolname AS name, r.rolvaliduntil::text AS until,
       pg_catalog.date_part('epoch', r.rolvaliduntil - pg_catalog.now()) AS left_s
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(names)s)
   AND CASE WHEN pg_catalog.isfinite(r.rolvaliduntil)
            THEN r.rolvaliduntil - pg_catalog.now() < pg_catalog.make_interval(days => %(days)s)
            ELSE false END
 ORDER BY r.rolname
"""

_XID_AGES = """
SELECT d.datname AS name, pg_catalog.age(d.datfrozenxid) AS age
  FROM pg_catalog.pg_database AS d
 WHERE pg_catalog.age(d.datfrozenxid) > %(limit)s
 ORDER BY 2 DESC
"""


def _off_s(server: Server) -> float:
    """How far a server's clock surely is from this machine's, in seconds; the answer's way is given the benefit."""
    asked = time.time()
    now_s = float(server.rows(_NOW)[0]["now_s"])
    answered = time.time()
    return now_s - answered if now_s > answered else min(0.0, now_s - asked)


@check(CHECKS, "clocks", "The clocks of this machine and of both servers agree", side="both", severity="info")
def clocks(context: Context) -> Outcome:
    """C6. Nothing rests on them: lag in seconds is measured with one clock. Logs and reports are harder to compare."""
    off = {"source": _off_s(context.source), "target": _off_s(context.target)}
    wrong = {side: off_s for side, off_s in off.items() if abs(off_s) > CLOCK_TOLERANCE_S}
    if not wrong:
        return passed()
    return failed(
        "These clocks differ from this machine's. Data is safe, but times in logs and reports do not fit together.",
        "Let all machines ask a time server (NTP).",
        objects=[f"{side}: {off_s:+.0f} s" for side, off_s in wrong.items()],
    )


@check_both(CHECKS, "role_validity", "The logins on the {side} stay valid during the migration", severity="warning")
def role_validity(context: Context, side: Side) -> Outcome:
    """S18. Of the role that replicates, too: its password is asked again after each break of the connection."""
    server = context.server(side)
    names = {server.role.name} | ({context.replicating_role} if side == "source" else set())
    found = server.rows(_EXPIRING, {"names": sorted(names), "days": MIGRATION_DAYS})
    if not found:
        return passed()
    return failed(
        "These roles' passwords expire, or have expired; nobody who comes back after that is let in.",
        statements(
            *(statement("ALTER ROLE {} VALID UNTIL {}", name(row["name"]), sql.Literal("infinity")) for row in found)
        )
        + "\n-- or a time well after the cut-over",
        objects=[f"{row['name']} (until {row['until']})" for row in found],
    )


@check(
    CHECKS,
    "source_transaction_ids",
    "Transaction ids on the source are far from running out",
    side="source",
    severity="warning",
)
def transaction_ids(context: Context) -> Outcome:
    """S19. While a slot is there, catalogs cannot be frozen beyond its catalog_xmin."""
    found = context.source.rows(_XID_AGES, {"limit": OLD_XID_AGE})
    if not found:
        return passed()
    return failed(
        "These databases hold very old transaction ids, and a replication slot keeps VACUUM from freezing the "
        "catalogs. When the age reaches 2.1 thousand million, the server takes no more writes.",
        "VACUUM (FREEZE);\n-- in each of these databases; see first what has kept autovacuum from it (old "
        "transactions, prepared transactions, slots)",
        objects=[f"{row['name']} ({row['age']})" for row in found],
    )
