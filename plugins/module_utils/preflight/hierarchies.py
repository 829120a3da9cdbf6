# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of partitioned tables that go on growing, and of inheritance that the selection cuts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta

from ..driver import Row, sql
from .check import Check, Outcome, check, failed, name, passed, statements
from .context import Context

CHECKS: list[Check] = []

# A newest partition that ends within this time will have a successor before the migration is over.
HORIZON = timedelta(days=7)

# Partitions by ranges of one column of time.
_TIME_RANGES = """
SELECT i.inhparent::bigint AS parent, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound, CURRENT_DATE AS today
  FROM pg_catalog.pg_partitioned_table AS p
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
   AND a.atttypid = ANY ('{pg_catalog.date,pg_catalog.timestamp,pg_catalog.timestamptz}'::pg_catalog.regtype[])
  JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.partrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
 WHERE p.partrelid = ANY (%(oids)s::oid[]) AND p.partstrat = 'r' AND p.partnatts = 1
"""
_END = re.compile(r" TO \((?:'(?P<day>\d{4}-\d\d-\d\d)|MAXVALUE|'infinity|'\d{5})")

# pg_partman's configuration, also where it was installed without being an extension.
_PARTMAN = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = 'part_config' AND c.relkind = 'r'
   AND 2 = (SELECT count(*) FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attname IN ('parent_table', 'automatic_maintenance') AND NOT a.attisdropped)
 ORDER BY n.nspname
 LIMIT 1
"""
_MANAGED = "SELECT p.parent_table AS parent FROM {} AS p WHERE p.automatic_maintenance = 'on' ORDER BY 1"


@check(CHECKS, "growing_partitions", "No new partition is due during the migration", side="source", severity="warning")
def growing_partitions(context: Context) -> Outcome:
    """R8. A partition made after init is carried only when sync has run again."""
    roots = {table.oid: table for table in context.selected.catalog.tables if table.kind == "p"}
    if not roots:
        return passed("No table is partitioned.")
    remedies: list[str] = []
    found: dict[str, str] = {}
    for row in context.source.rows(_PARTMAN):
        config = name(row["schema"], row["name"])
        managed = context.source.rows(sql.SQL(_MANAGED).format(config).as_string(None))
        mine = sorted({item["parent"] for item in managed} & {root.qualified for root in roots.values()})
        if mine:
            found.update((item, "pg_partman") for item in mine)
            pause = "UPDATE {} SET automatic_maintenance = 'off' WHERE parent_table IN ({})"
            listed = sql.SQL(", ").join(map(sql.Literal, mine))
            remedies.append("-- until the cut-over, when enough partitions are made in advance")
            remedies.append(statements(sql.SQL(pause).format(config, listed)))
    for oid, last in newest(context.source.rows(_TIME_RANGES, {"oids": list(roots)})).items():
        found.setdefault(roots[oid].qualified, f"the newest ends {last}")
    if not found:
        return passed()
    return failed(
        "New partitions of these tables may be made while the migration runs. They are published, but the target does not "
        "have them: status calls that broken, and sync, run again, brings them in.",
        "\n".join(
            [*remedies, "-- or make the partitions of the coming weeks before init, or run sync again after each"]
        ),
        objects=[f"{item} ({why})" for item, why in sorted(found.items())],
    )


def newest(rows: Iterable[Row]) -> dict[int, date]:
    """Return the end of the newest partition of each table whose newest one ends soon, by the table's OID. Pure.

    A table without an end, or whose newest partition ended before today, does not grow any more.
    """
    ends: dict[int, date] = {}
    today = date.min
    for row in rows:
        today = row["today"]
        match = _END.search(row["bound"])
        if match is not None:  # a DEFAULT partition has no end
            end = date.fromisoformat(match["day"]) if match["day"] else date.max
            ends[row["parent"]] = max(end, ends.get(row["parent"], date.min))
    return {oid: end for oid, end in ends.items() if today <= end <= today + HORIZON}


@check(
    CHECKS,
    "inheritance_outside",
    "No table that inherits from a selected one stays behind",
    side="source",
    severity="warning",
)
def inheritance_outside(context: Context) -> Outcome:
    """R9, R10. The other way round, a child without its parent, cannot be selected."""
    inside = context.selected.catalog.by_oid
    found = [
        f"{table.qualified} ({inside[parent].qualified})"
        for table in context.catalog.tables
        for parent in table.parents
        if table.oid not in inside and parent in inside
    ]
    if not found:
        return passed()
    return failed(
        "On the source a query of the parent shows the rows of these children too; on the target it will not.",
        "Select the children too, or their parents not.",
        objects=found,
    )
