# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of definitions that another major version, or a restore's empty search_path, takes otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..driver import Row, sql
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# Views, rules and SQL bodies depend on single columns of the system's views; only pinned objects leave no trace.
_SYSTEM_COLUMNS = """
SELECT DISTINCT u.classid::bigint AS classid, u.objid::bigint AS oid,
       pg_catalog.pg_describe_object(u.classid, u.objid, 0) AS shown,
       n.nspname AS schema, c.relname AS relation, a.attname AS column
  FROM pg_catalog.pg_depend AS d
  JOIN pg_catalog.pg_class AS c ON c.oid = d.refobjid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname IN ('pg_catalog', 'information_schema')
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
  LEFT JOIN pg_catalog.pg_rewrite AS w
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
 CROSS JOIN LATERAL (
   SELECT CASE WHEN w.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END AS classid,
          coalesce(w.ev_class, d.objid) AS objid) AS u
 WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND u.objid >= 16384
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = u.classid AND e.objid = u.objid AND e.deptype = 'e')
 ORDER BY shown, schema, relation, a.attname
"""

_COLUMNS_THERE = """
SELECT w.schema, w.relation, w.column
  FROM unnest(%(schemas)s::name[], %(relations)s::name[], %(columns)s::name[]) AS w(schema, relation, "column")
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relation
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = w.column AND NOT a.attisdropped
"""

# 14 has no postfix operators, and its array functions take anycompatible instead of anyelement.
_GONE_WITH_14 = """
WITH changed AS (
  SELECT p.oid
    FROM pg_catalog.pg_proc AS p
   WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
     AND p.proname IN ('array_append', 'array_cat', 'array_prepend', 'array_remove', 'array_replace',
                       'array_position', 'array_positions', 'width_bucket')
     AND 2277 = ANY (p.proargtypes::oid[])),
object(class, oid, kind, namespace, name, arguments) AS (
  SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, 'OPERATOR', o.oprnamespace, o.oprname,
         pg_catalog.format('%s, %s', CASE o.oprleft WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END,
                           CASE o.oprright WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprright, NULL) END)
    FROM pg_catalog.pg_operator AS o
   WHERE (o.oprkind = 'r' AND o.oprcode <> 0) OR o.oprcode IN (SELECT c.oid FROM changed AS c)
   UNION ALL
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 'AGGREGATE', p.pronamespace, p.proname,
         pg_catalog.pg_get_function_identity_arguments(p.oid)
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = p.oid
   WHERE a.aggtransfn IN (SELECT c.oid FROM changed AS c) OR a.aggfinalfn IN (SELECT c.oid FROM changed AS c))
SELECT o.class::bigint AS classid, o.oid::bigint AS oid, o.kind, n.nspname AS schema, o.name, o.arguments
  FROM object AS o
  JOIN pg_catalog.pg_namespace AS n ON n.oid = o.namespace
 WHERE o.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = o.class AND e.objid = o.oid AND e.deptype = 'e')
 ORDER BY o.kind, n.nspname, o.name, o.arguments
"""

# Functions that are called while indexes and constraints are built and rows are written or refreshed.
_CALLED_AT_RESTORE = """
SELECT DISTINCT u.classid::bigint AS classid, u.objid::bigint AS oid, p.oid::bigint AS function,
       pg_catalog.pg_describe_object(u.classid, u.objid, 0) AS used_by,
       p.oid::pg_catalog.regprocedure::text AS routine, p.prosrc AS body, p.proargnames AS arguments
  FROM pg_catalog.pg_depend AS d
  JOIN pg_catalog.pg_proc AS p ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.refobjid
  JOIN pg_catalog.pg_namespace AS n
    ON n.oid = p.pronamespace AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang AND l.lanname IN ('sql', 'plpgsql')
  LEFT JOIN pg_catalog.pg_rewrite AS w
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
  LEFT JOIN pg_catalog.pg_attrdef AS f
    ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
  LEFT JOIN pg_catalog.pg_class AS c
    ON c.oid = CASE WHEN d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN d.objid ELSE w.ev_class END
 CROSS JOIN LATERAL (
   SELECT CASE WHEN w.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END AS classid,
          coalesce(w.ev_class, d.objid) AS objid) AS u
 WHERE (c.relkind IN ('i', 'I', 'm') OR a.attgenerated <> ''
        OR d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass)
   AND p.prosrc <> ''
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.unnest(p.proconfig) AS s(entry) WHERE s.entry LIKE 'search_path=%')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                    WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid
                      AND e.deptype = 'e')
 ORDER BY 5, 4
"""

# Where words of a function's body are names, and whether only as the name of a function that is called.
_NAMED = """
SELECT n.nspname AS schema, x.name, x.is_function
  FROM (SELECT c.relnamespace, c.relname, false
          FROM pg_catalog.pg_class AS c
         WHERE c.relname = ANY (%(words)s::name[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         UNION
        SELECT t.typnamespace, t.typname, false
          FROM pg_catalog.pg_type AS t WHERE t.typname = ANY (%(words)s::name[])
         UNION
        SELECT y.dictnamespace, y.dictname, false
          FROM pg_catalog.pg_ts_dict AS y WHERE y.dictname = ANY (%(words)s::name[])
         UNION
        SELECT g.cfgnamespace, g.cfgname, false
          FROM pg_catalog.pg_ts_config AS g WHERE g.cfgname = ANY (%(words)s::name[])
         UNION
        SELECT p.pronamespace, p.proname, true
          FROM pg_catalog.pg_proc AS p
         WHERE p.proname = ANY (%(words)s::name[])) AS x(namespace, name, is_function)
  JOIN pg_catalog.pg_namespace AS n ON n.oid = x.namespace
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace AS s
                    WHERE s.oid = x.namespace AND (s.nspname = 'information_schema' OR s.nspname ~ '^pg_'))
 ORDER BY n.nspname, x.name
"""

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r"'((?:[^']|'')*)'")
_WORD = re.compile(r'(?<![\w$."])(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))(\s*\()?(?!\s*\.)')


def plain_words(body: str) -> dict[str, bool]:
    """Return the words of a function's body that may be names without a schema: True where some is called. Pure.

    Strings of one word count, because names of dictionaries and relations are given as strings.
    """
    found: dict[str, bool] = {}
    text = _STRING.sub(lambda string: " " if " " in string[1] else string[0], _COMMENT.sub(" ", body))
    for quoted, bare, call in _WORD.findall(text):
        word = quoted.replace('""', '"') or bare.lower()
        found[word] = found.get(word, False) or bool(call)
    return found


@check(CHECKS, "system_columns", "The target has every system column that views of the source use", side="target")
def system_columns(context: Context) -> Outcome:
    """X16, X22. Columns of the statistics views come, go and change their names from major to major."""
    if context.source.major == context.target.major:
        return passed("Both are of one major.")
    rows = context.restored(context.source.rows(_SYSTEM_COLUMNS))
    if not rows:
        return passed()
    wanted = sorted({(row["schema"], row["relation"], row["column"]) for row in rows})
    schemas, relations, columns = map(list, zip(*wanted, strict=True))
    asked = {"schemas": schemas, "relations": relations, "columns": columns}
    there = {(row["schema"], row["relation"], row["column"]) for row in context.target.rows(_COLUMNS_THERE, asked)}
    gone = [row for row in rows if (row["schema"], row["relation"], row["column"]) not in there]
    if not gone:
        return passed()
    return failed(
        f"PostgreSQL {context.target.major} has no such columns any more (or not yet), so these definitions cannot be "
        "restored.",
        "Change or drop them on the source, and make them again on the target.",
        objects=[f"{row['shown']}: {row['schema']}.{row['relation']}.{row['column']}" for row in gone],
    )


@check(
    CHECKS, "removed_in_14", "No operator or aggregate rests on what PostgreSQL 14 removed", side="source",
    versions=(12, 13),
)  # fmt: skip
def removed_in_14(context: Context) -> Outcome:
    """X16. Every target is 14 or later."""
    rows = context.restored(context.source.rows(_GONE_WITH_14))
    if not rows:
        return passed()
    return failed(
        "PostgreSQL 14 has no postfix operators, and its array functions take other polymorphic types, so these cannot "
        "be restored.",
        "-- on the source; make them again on the target, with anycompatible types\n"
        + statements(
            *(
                statement("DROP {} {}.{} ({})", sql.SQL(row["kind"]), name(row["schema"]), _name(row), sql.SQL(row["arguments"]))
                for row in rows
            )
        ),
        objects=[f"{row['kind'].lower()} {row['schema']}.{row['name']} ({row['arguments']})" for row in rows],
    )  # fmt: skip


def _name(row: Row) -> sql.Composable:
    return sql.SQL(row["name"]) if row["kind"] == "OPERATOR" else name(row["name"])


@check(
    CHECKS, "function_search_paths", "Functions that indexes and constraints call find their objects by themselves",
    side="source", severity="warning",
)  # fmt: skip
def function_search_paths(context: Context) -> Outcome:
    """X17. The schema is restored, rows are written and, from 17 on, maintenance runs with an empty search_path."""
    rows = context.restored(context.source.rows(_CALLED_AT_RESTORE))
    if not rows:
        return passed()
    bodies: dict[str, dict[str, bool]] = {}
    for row in rows:
        hidden = {item.lower() for item in row["arguments"] or ()}
        bodies[row["routine"]] = {w: call for w, call in plain_words(row["body"]).items() if w not in hidden}
    words = sorted({word for body in bodies.values() for word in body})
    known = context.source.rows(_NAMED, {"words": words})
    found = {routine: _needed(body, known) for routine, body in bodies.items()}
    bad = {routine: needed for routine, needed in found.items() if needed}
    if not bad:
        return passed()
    users = {row["routine"]: row["used_by"] for row in rows}
    return failed(
        "These functions use objects without naming their schema. Building the index or constraint, writing rows or "
        "refreshing the view on the target fails then, because it runs with an empty search_path.",
        "-- on the source\n"
        + statements(
            *(
                statement(
                    "ALTER FUNCTION {} SET search_path = {}",
                    sql.SQL(routine),
                    sql.SQL(", ").join(map(sql.Identifier, sorted({schema for schema, _name in needed}))),
                )
                for routine, needed in bad.items()
            )
        ),
        objects=[
            f"{routine} (for {users[routine]}) uses {', '.join('.'.join(item) for item in needed)}"
            for routine, needed in bad.items()
        ],
    )


def _needed(body: Mapping[str, bool], known: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the objects (schema, name) that words of the body can only mean by way of the search_path. Pure."""
    return [
        (item["schema"], item["name"])
        for item in known
        if item["name"] in body and (body[item["name"]] or not item["is_function"])
    ]
