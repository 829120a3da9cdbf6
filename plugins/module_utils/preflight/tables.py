# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the selected tables: can their changes be published on the source and applied on the target."""

from __future__ import annotations

import re

from .. import schema
from ..catalog import Table
from ..driver import psycopg, sql
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

_MUTABLE = """
SELECT p.proname AS name
  FROM pg_catalog.pg_proc AS p
 WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname = ANY (%(names)s::name[])
 GROUP BY p.proname
HAVING pg_catalog.bool_and(p.provolatile <> 'i')
 ORDER BY p.proname
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


# --- row predicates ----------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""
    (?P<skip> --[^\n]* | /\*.*?\*/ | (?:[eEbBxXnN]|[uU]&)?'(?:[^'\\]|''|\\.)*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<name> "(?:[^"]|"")*" | [^\W\d][\w$]* )
  | (?P<other> \s+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_CHANGING_WORDS = frozenset(
    "current_date current_time current_timestamp localtime localtimestamp current_user current_role session_user "
    "current_catalog current_schema user".split()
)


def predicate_words(predicate: str) -> tuple[set[str], set[str], bool]:
    """Return (functions called, words that change with time or session, has a subquery) of an SQL predicate.

    Names are folded as PostgreSQL folds them; a schema-qualified function keeps its schema. Text in literals,
    comments and quotes does not count. Pure; a first sieve, PostgreSQL itself has the last word.
    """
    words: list[str] = []
    for match in _TOKEN.finditer(predicate):
        text = match.group()
        if match.group("name"):
            words.append(text[1:-1].replace('""', '"') if text.startswith('"') else text.lower())
            if text.startswith('"'):
                words[-1] = "\0" + words[-1]  # quoted: an identifier, never a key word
        elif match.group("skip"):
            words.append("''")
        elif not text.isspace():
            words.append("\1" + text)
    functions = set()
    for position, word in enumerate(words[:-1]):
        if words[position + 1] != "\1(" or word.startswith("\1") or word == "''":
            continue
        qualified = position >= 2 and words[position - 1] == "\1."
        schema = words[position - 2].lstrip("\0") + "." if qualified else ""
        functions.add(schema + word.lstrip("\0"))
    return functions, set(words) & _CHANGING_WORDS, "select" in words


@check(CHECKS, "row_predicates", "Row predicates can be used as publication filters", side="source")
def row_predicates(context: Context) -> Outcome:
    """R4: source 15+, immutable built-in functions only, and only columns of the replica identity.

    A target before 15 would copy all rows by itself.
    """
    predicates = context.row_predicates
    if not predicates:
        return passed()
    if context.source.major < 15:
        return failed(
            f"Row predicates need a source of major 15 or newer; this one is {context.source.major}.",
            "Remove rows, or exclude the tables, or upgrade the source first.",
            objects=[context.catalog.by_oid[oid].qualified for oid in sorted(predicates)],
        )
    if context.options.copy_method == "subscription" and context.target.major < 15:
        return failed(
            f"A target of major {context.target.major} does not look at row predicates when it copies by itself; from "
            "15 on it does.",
            "Use copy_method: runner.",
        )
    found: list[str] = []
    for table in context.selected.data_tables:
        if table.oid in predicates:
            why = _predicate_fault(context, table, predicates[table.oid])
            if why:
                found.append(f"{table.qualified}: {why}")
    if not found:
        return passed()
    return failed(
        "A published row predicate may use only columns of the replica identity, and built-in functions whose result "
        "never changes. UPDATE and DELETE of the table would fail on the source otherwise.",
        "Change the predicate, or give the table a replica identity that covers its columns (FULL covers all).",
        objects=found,
    )


def _predicate_fault(context: Context, table: Table, predicate: str) -> str:
    functions, changing, has_subquery = predicate_words(predicate)
    if has_subquery:
        return "it holds a subquery"
    if changing:
        return f"{', '.join(sorted(changing))} changes with time or session"
    own = sorted(item for item in functions if "." in item and not item.startswith("pg_catalog."))
    if own:
        return f"{', '.join(own)} is not a built-in function"
    plain = [item.removeprefix("pg_catalog.") for item in functions]
    mutable = [row["name"] for row in context.source.rows(_MUTABLE, {"names": plain})]
    if mutable:
        return f"{', '.join(mutable)}() is not immutable"
    everything = [column.name for column in table.columns]
    fault = _does_not_parse(context, table, everything, predicate)
    if fault or not table.identity_columns or table.identity_verdict == "full":
        return fault
    fault = _does_not_parse(context, table, list(table.identity_columns), predicate)
    if fault:
        return f"it uses more than the replica identity ({', '.join(table.identity_columns)}): {fault}"
    return ""


def _does_not_parse(context: Context, table: Table, columns: list[str], predicate: str) -> str:
    """Ask PostgreSQL to plan a query in which only ``columns`` of the table can be seen; '' when it can."""
    query = sql.SQL("EXPLAIN (COSTS OFF) SELECT 1 FROM (SELECT {} FROM ONLY {}) AS {} WHERE ({}\n)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(table.schema, table.name),
        sql.Identifier(table.name),
        sql.SQL(predicate),  # the user's own expression, in a read-only session
    )
    try:
        # Prepared, so that a second statement behind a semicolon is refused.
        context.source.session.connection.execute(query, prepare=True)
    except psycopg.errors.InsufficientPrivilege:
        raise
    except psycopg.Error as error:
        return context.migration.redactor.text(error.diag.message_primary or str(error)).strip()
    return ""
