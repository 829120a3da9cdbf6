# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the selected tables: can their changes be published on the source and applied on the target."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import left_behind
from ..catalog import Table
from ..errors import MigrationError
from ..selection import select
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# A table of which each change is searched row by row, and how many changes are not negligible.
LARGE_BYTES = 10 * 1024 * 1024
MANY_CHANGES = 1000

_LEFTOVER = re.compile(r"_cc(new|old)\d*$")

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

# The best unique index that could be a table's replica identity; its primary key first. Generated columns are not sent.
_IDENTITY_INDEXES = """
SELECT DISTINCT ON (i.indrelid) i.indrelid::bigint AS table, c.relname AS name, i.indisprimary AS is_primary
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = ANY (%(oids)s::oid[]) AND i.indisunique AND i.indimmediate AND i.indisvalid
   AND i.indpred IS NULL AND i.indexprs IS NULL
   AND NOT EXISTS (SELECT 1
                     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
                     JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                    WHERE k.ord <= i.indnkeyatts AND (NOT a.attnotnull OR a.attgenerated <> ''))
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

_CHANGES = """
SELECT s.relid::bigint AS table, (s.n_tup_upd + s.n_tup_del)::bigint AS changes
  FROM pg_catalog.pg_stat_user_tables AS s
 WHERE s.relid = ANY (%(oids)s::oid[])
"""

# An index of a partitioned table is invalid until every partition has one; it is dumped all the same.
_INVALID_INDEXES = """
SELECT n.nspname AS schema, c.relname AS name, t.relname AS table
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE i.indrelid = ANY (%(oids)s::oid[]) AND NOT (i.indisvalid AND i.indisready)
 ORDER BY n.nspname, c.relname
"""

# From 18 on a constraint may be NOT ENFORCED: that is never validated.
_NOT_VALID = """
SELECT n.nspname AS schema, c.relname AS table, k.conname AS name
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE k.conrelid = ANY (%(oids)s::oid[]) AND NOT k.convalidated AND k.conparentid = 0
   AND pg_catalog.to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'
 ORDER BY n.nspname, c.relname, k.conname
"""


@check(CHECKS, "selection", "The selection can be applied to the source", side="source")
def selection(context: Context) -> Outcome:
    """A pattern that matches nothing is an error: it would leave data behind. So is a table without its type."""
    found = context.selection
    if isinstance(found, MigrationError):
        return failed(found.message, found.remedy, code=found.code)
    try:
        chosen = select(context.catalog, context.migration.selection, context.options.foreign_tables)
        left_behind.read(context.source.session, context.catalog, chosen)
    except MigrationError as error:
        return failed(error.message, error.remedy, code=error.code)
    return passed(f"{len(found.data_tables)} tables with their rows, {len(found.left_out)} tables stay behind.")


def _other_identities(context: Context, tables: Sequence[Table]) -> str:
    """Return what gives each table a replica identity that works: its key, another unique index, or FULL."""
    oids = {"oids": [table.oid for table in tables]}
    indexes = {row["table"]: row for row in context.source.rows(_IDENTITY_INDEXES, oids)}
    without_equality = {row["table"] for row in context.source.rows(_NO_EQUALITY, oids)}
    remedies = ["-- each takes an ACCESS EXCLUSIVE lock for a moment", "SET lock_timeout = '3s';"]
    for table in tables:
        qualified, index = name(table.schema, table.name), indexes.get(table.oid)
        if index is not None and index["is_primary"]:
            remedies.append(statements(statement("ALTER TABLE {} REPLICA IDENTITY DEFAULT", qualified)))
        elif index is not None:
            by_index = statement("ALTER TABLE {} REPLICA IDENTITY USING INDEX {}", qualified, name(index["name"]))
            remedies.append(statements(by_index))
        elif table.oid in without_equality or not _may_be_full(context, table):
            remedies.append(comment(f"{qualified.as_string(None)}: add a primary key (FULL would not work)"))
        else:
            remedies.append(statements(statement("ALTER TABLE {} REPLICA IDENTITY FULL", qualified)))
    return "\n".join(remedies)


def _may_be_full(context: Context, table: Table) -> bool:
    """True when FULL does not take a generated column into the identity: from 18 on any one, before those of the key."""
    generated = {column.name for column in table.columns if column.generated}
    return not generated if context.source.major >= 18 else not generated & set(table.primary_key)


@check(CHECKS, "replica_identity", "UPDATE and DELETE can be published for each selected table", side="source")
def replica_identity(context: Context) -> Outcome:
    """R1. Published without an identity, a table refuses UPDATE and DELETE to the application itself."""
    bad = [table for table in context.selected.data_tables if not table.has_usable_identity]
    if not bad:
        return passed()
    remedy = _other_identities(context, bad)
    return failed(
        "Once published, UPDATE and DELETE of these tables would fail on the source. A primary key, or a unique index "
        "over NOT NULL columns, is better than FULL.",
        remedy,
        objects=[
            f"{table.qualified} ({VERDICTS.get(table.identity_verdict, table.identity_verdict)})" for table in bad
        ],
    )


@check(CHECKS, "replica_identity_generated", "No replica identity contains a generated column", side="source")
def generated_identity(context: Context) -> Outcome:
    """R1, R5. Generated columns are not sent: a source 18 refuses the UPDATE, an older one stops the subscription."""
    found: dict[str, Table] = {}
    for table in context.selected.data_tables:
        generated = {column.name for column in table.columns if column.generated}
        if table.identity_verdict == "full":
            identity = generated if context.source.major >= 18 else set(table.primary_key)
        else:
            identity = set(table.identity_columns)
        if generated & identity:
            found[f"{table.qualified} ({', '.join(sorted(generated & identity))})"] = table
    if not found:
        return passed()
    return failed(
        "Generated columns are not sent, so these identities are incomplete: "
        + (
            "once published, UPDATE and DELETE of these tables would fail on the source."
            if context.source.major >= 18
            else "the first UPDATE or DELETE would stop the subscription."
        ),
        _other_identities(context, list(found.values())),
        objects=found,
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
            remedies.append(comment(f"{qualified.as_string(None)}: add a primary key"))
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
    """R3, and the known limit of law 1. A small table whose equal rows are identical does no harm."""
    tables = _searched_by_row(context)
    if not tables:
        return passed()
    rows = context.source.rows(_CHANGES, {"oids": [table.oid for table in tables]})
    changes = {row["table"]: row["changes"] for row in rows}
    loose = {table.oid: _loose_columns(table) for table in tables}

    def described(table: Table) -> str:
        columns = f"; equal but not identical values: {', '.join(loose[table.oid])}" if loose[table.oid] else ""
        return f"{table.qualified} ({table.bytes // 1024} kB, {changes.get(table.oid, 0)} rows changed{columns})"

    matters = any(
        loose[table.oid] or (table.bytes >= LARGE_BYTES and changes.get(table.oid, 0) >= MANY_CHANGES)
        for table in tables
    )
    return failed(
        "The target finds a changed row by comparing whole rows: slow in large tables, and where two rows are equal "
        "but not identical (numeric 1.0 and 1.00) it may change the other one. Counted are rows updated or deleted since "
        "the statistics began.",
        "Add a primary key, or a unique index over NOT NULL columns and REPLICA IDENTITY USING INDEX, where the table "
        "is large or changes often."
        + (" Any btree index on the target makes the search faster." if context.target.major >= 16 else ""),
        objects=[described(table) for table in tables],
        severity=None if matters else "info",
    )


def _loose_columns(table: Table) -> list[str]:
    return [column.name for column in table.copied_columns if LOOSE_TYPES & set(column.leaf_types)]


# --- what is unfinished, or easily mistaken ----------------------------------------------------------------------


@check(CHECKS, "invalid_indexes", "Every index is valid", side="source", severity="warning")
def invalid_indexes(context: Context) -> Outcome:
    """X21. pg_dump leaves an invalid index out."""
    relations = [table.oid for table in context.selected.catalog.tables]
    relations += [view.oid for view in context.selected.catalog.materialized_views]
    rows = context.source.rows(_INVALID_INDEXES, {"oids": relations})
    if not rows:
        return passed()
    remedies = ["-- one by one, outside of a transaction"]
    for row in rows:
        # What an interrupted REINDEX CONCURRENTLY leaves behind has a valid twin.
        how = "DROP INDEX CONCURRENTLY {}" if _LEFTOVER.search(row["name"]) else "REINDEX INDEX CONCURRENTLY {}"
        remedies.append(statements(statement(how, name(row["schema"], row["name"]))))
    return failed(
        "These indexes were never finished (CREATE or REINDEX CONCURRENTLY failed, or is under way). They will be missing "
        "on the target, with the uniqueness that they should keep.",
        "\n".join(remedies) + "\n-- or DROP INDEX CONCURRENTLY, where nobody needs it",
        objects=[f"{row['schema']}.{row['name']} ({row['table']})" for row in rows],
    )


@check(CHECKS, "unvalidated_constraints", "Every constraint holds for all rows", side="source", severity="info")
def unvalidated_constraints(context: Context) -> Outcome:
    """X21. They travel as they are."""
    catalog = context.selected.catalog
    rows = context.source.rows(_NOT_VALID, {"oids": [table.oid for table in catalog.tables]})
    if not rows:
        return passed()
    return failed(
        "These constraints are NOT VALID, and will be so on the target: rows that were there before them may break them.",
        statements(
            *(
                statement("ALTER TABLE {} VALIDATE CONSTRAINT {}", name(row["schema"], row["table"]), name(row["name"]))
                for row in rows
            )
        ),
        objects=[f"{row['schema']}.{row['table']}: {row['name']}" for row in rows],
    )


@check(CHECKS, "similar_names", "No two names differ only by case", side="source", severity="info")
def similar_names(context: Context) -> Outcome:
    """R11. We quote every name; not everybody does."""
    found = []
    in_schema: dict[str, list[str]] = {}
    for table in context.selected.catalog.tables:
        in_schema.setdefault(table.schema, []).append(table.name)
    for where, tables in in_schema.items():
        found += [f"{where}: {', '.join(group)}" for group in alike(tables)]
    for table in context.selected.catalog.tables:
        found += [f"{table.qualified}: {', '.join(group)}" for group in alike([c.name for c in table.columns])]
    if not found:
        return passed()
    return failed(
        "The migration keeps them apart. Applications and tools that do not quote names mix them up.",
        "Nothing to do for the migration; quote these names wherever you use them.",
        objects=found,
    )


def alike(names: Sequence[str]) -> list[list[str]]:
    """Return the groups of names that differ only by case, each sorted. Pure."""
    groups: dict[str, list[str]] = {}
    for item in names:
        groups.setdefault(item.lower(), []).append(item)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)
