# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the selected tables: can their changes be published on the source and applied on the target."""

from __future__ import annotations

from .. import schema
from ..catalog import Table
from ..errors import MigrationError
from ..selection import select
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

VERDICTS = {
    "nothing": "REPLICA IDENTITY NOTHING",
    "no_primary_key": "no primary key",
    "deferrable_primary_key": "its primary key is deferrable",
    "index_dropped": "the index of its replica identity was dropped",
    "index_invalid": "the index of its replica identity is invalid",
}
# Types whose "=" holds for values that are not the same: 1.0 and 1.00, 0 and -0, 24 hours and 1 day.
LOOSE_TYPES = frozenset(
    f"pg_catalog.{item}" for item in ("numeric", "numrange", "nummultirange", "float4", "float8", "jsonb", "interval")
)

# The best unique index that could be a table's replica identity; its primary key first.
_IDENTITY_INDEXES = """
SELECT DISTINCT ON (i.indrelid) i.indrelid::bigint AS table, c.relname AS name, i.indisprimary AS is_primary
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = ANY (%(oids)s::oid[]) AND i.indisunique AND i.indimmediate AND i.indisvalid
   AND i.indpred IS NULL AND i.indexprs IS NULL
   AND NOT EXISTS (SELECT 1
                     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
                     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                    WHERE k.ord <= i.indnkeyatts AND NOT a.attnotnull)
 ORDER BY i.indrelid, NOT i.indisprimary, i.indnkeyatts, i.indexrelid
"""

# Columns with a type, or a part of a type, that has no default btree or hash operator class, and so no equality.
_NO_EQUALITY = """
WITH RECURSIVE part(relation, attname, typ) AS (
  SELECT a.attrelid, a.attname, a.atttypid
    FROM pg_catalog.pg_attribute AS a
   WHERE a.attrelid = ANY (%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
   UNION
  SELECT p.relation, p.attname, x.typ
    FROM part AS p
    JOIN pg_catalog.pg_type AS t ON t.oid = p.typ
   CROSS JOIN LATERAL (
     SELECT t.typbasetype WHERE t.typtype = 'd'
      UNION ALL
     SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1
      UNION ALL
     SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE r.rngtypid = t.oid
      UNION ALL
     SELECT m.atttypid FROM pg_catalog.pg_attribute AS m
      WHERE t.typtype = 'c' AND m.attrelid = t.typrelid AND m.attnum > 0 AND NOT m.attisdropped) AS x(typ))
SELECT DISTINCT p.relation::bigint AS table, p.attname AS column, pg_catalog.format_type(p.typ, NULL) AS type
  FROM part AS p
  JOIN pg_catalog.pg_type AS t ON t.oid = p.typ
 WHERE t.typtype = 'b' AND NOT (t.typelem <> 0 AND t.typlen = -1)
   AND NOT EXISTS (
     SELECT 1
       FROM pg_catalog.pg_opclass AS o
       JOIN pg_catalog.pg_am AS m ON m.oid = o.opcmethod AND m.amname IN ('btree', 'hash')
      WHERE o.opcdefault AND (o.opcintype = t.oid OR o.opcintype IN (
              SELECT k.casttarget FROM pg_catalog.pg_cast AS k
               WHERE k.castsource = t.oid AND k.castmethod = 'b' AND k.castcontext = 'i')))
 ORDER BY 1, 2
"""

# A full identity is only searched by equality of rows where the target has no immediate primary key to search by.
_WITHOUT_KEY = """
SELECT t.oid::bigint AS table
  FROM unnest(%(oids)s::oid[]) AS t(oid)
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i
                    WHERE i.indrelid = t.oid AND i.indisprimary AND i.indimmediate)
"""


@check(CHECKS, "selection", "The selection can be applied to the source", side="source")
def selection(context: Context) -> Outcome:
    """A pattern that matches nothing is an error: it would leave data behind. So is a table without its type."""
    found = context.selection
    if isinstance(found, MigrationError):
        return failed(found.message, found.remedy, code=found.code)
    try:
        chosen = select(context.catalog, context.migration.selection, context.options.foreign_tables)
        schema.left_behind(context.source.session, context.catalog, chosen)
    except MigrationError as error:
        return failed(error.message, error.remedy, code=error.code)
    return passed(f"{len(found.data_tables)} tables with their rows, {len(found.left_out)} tables stay behind.")


@check(CHECKS, "replica_identity", "UPDATE and DELETE can be published for each selected table", side="source")
def replica_identity(context: Context) -> Outcome:
    """R1. Published without an identity, a table refuses UPDATE and DELETE to the application itself."""
    bad = [table for table in context.selected.data_tables if not table.has_usable_identity]
    if not bad:
        return passed()
    oids = {"oids": [table.oid for table in bad]}
    indexes = {row["table"]: row for row in context.source.rows(_IDENTITY_INDEXES, oids)}
    without_equality = {row["table"] for row in context.source.rows(_NO_EQUALITY, oids)}
    remedies = ["-- each takes an ACCESS EXCLUSIVE lock for a moment", "SET lock_timeout = '3s';"]
    for table in bad:
        qualified = name(table.schema, table.name)
        index = indexes.get(table.oid)
        if index is not None and index["is_primary"]:
            remedies.append(statements(statement("ALTER TABLE {} REPLICA IDENTITY DEFAULT", qualified)))
        elif index is not None:
            remedies.append(
                statements(statement("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", qualified, name(index["name"])))
            )
        elif table.oid in without_equality:
            remedies.append(f"-- {qualified.as_string(None)}: add a primary key (FULL cannot be applied)")
        else:
            remedies.append(statements(statement("ALTER TABLE {} REPLICA IDENTITY FULL", qualified)))
    return failed(
        "Once published, UPDATE and DELETE of these tables would fail on the source. A primary key, or a unique index "
        "over NOT NULL columns, is better than FULL.",
        "\n".join(remedies),
        objects=[
            f"{table.qualified} ({VERDICTS.get(table.identity_verdict, table.identity_verdict)})" for table in bad
        ],
    )


def _searched_by_row(context: Context) -> list[Table]:
    full = {table.oid: table for table in context.selected.data_tables if table.identity_verdict == "full"}
    rows = context.source.rows(_WITHOUT_KEY, {"oids": list(full)}) if full else []
    return sorted((full[row["table"]] for row in rows), key=lambda table: table.qualified)


@check(
    CHECKS, "replica_identity_full_types", "Each table with REPLICA IDENTITY FULL has comparable columns", side="source"
)
def full_types(context: Context) -> Outcome:
    """R2."""
    tables = {table.oid: table for table in _searched_by_row(context)}
    rows = context.source.rows(_NO_EQUALITY, {"oids": list(tables)}) if tables else []
    if not rows:
        return passed()
    oids = {"oids": sorted({row["table"] for row in rows})}
    indexes = {row["table"]: row["name"] for row in context.source.rows(_IDENTITY_INDEXES, oids)}
    remedies = []
    for oid in oids["oids"]:
        qualified = name(tables[oid].schema, tables[oid].name)
        if oid in indexes:
            remedies.append(
                statements(statement("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", qualified, name(indexes[oid])))
            )
        else:
            remedies.append(f"-- {qualified.as_string(None)}: add a primary key")
    return failed(
        "The first UPDATE or DELETE would stop the subscription: these types have no equality operator.",
        "\n".join(remedies),
        objects=[f"{tables[row['table']].qualified}.{row['column']} ({row['type']})" for row in rows],
    )


@check(
    CHECKS,
    "replica_identity_full",
    "No table has REPLICA IDENTITY FULL instead of a key",
    side="source",
    severity="warning",
)
def full(context: Context) -> Outcome:
    """R3, and the known limit of law 1."""
    tables = _searched_by_row(context)
    if not tables:
        return passed()

    def described(table: Table) -> str:
        loose = [column.name for column in table.copied_columns if LOOSE_TYPES & set(column.leaf_types)]
        return table.qualified + (f" (equal but not identical values: {', '.join(loose)})" if loose else "")

    return failed(
        "The target finds a changed row by comparing whole rows: slow in large tables, and where two rows are equal "
        "but not identical (numeric 1.0 and 1.00) it may change the other one.",
        "Add a primary key, or a unique index over NOT NULL columns and REPLICA IDENTITY USING INDEX, where the table "
        "is large or changes often.",
        objects=[described(table) for table in tables],
    )
