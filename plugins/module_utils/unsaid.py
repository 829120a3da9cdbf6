# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What no dump says: put right on the target once the schema is restored.

Columns of child tables that have no default though their parents have one (pg_dump from 16 on forgets it for a
grandchild), and system triggers (those of foreign keys and deferrable constraints) that are switched off.
"""

from __future__ import annotations

from collections.abc import Sequence

from .attempts import Attempt, carry_out
from .driver import Row, sql
from .session import Session

# Partitions are restored as tables of their own, with their own defaults.
_WITHOUT_DEFAULT = """
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS column
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'f') AND NOT c.relispartition
   AND a.attnum > 0 AND NOT a.attisdropped AND a.attinhcount > 0 AND NOT a.atthasdef
"""
_WITH_DEFAULT = """
SELECT n.nspname AS schema, c.relname AS relation, a.attname AS column
  FROM unnest(%(schemas)s::text[], %(relations)s::text[], %(columns)s::text[]) AS w(schema, relation, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relation
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = w.name
 WHERE a.atthasdef AND a.attgenerated = ''
 ORDER BY 1, 2, 3
"""

# A foreign key has triggers on two tables; its name is unique on its own one.
_SWITCHED = """
SELECT n.nspname AS schema, c.relname AS relation, kn.nspname AS constraint_schema, kc.relname AS constraint_relation,
       k.conname AS constraint, t.tgtype::int AS type, t.tgenabled AS enabled
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
  JOIN pg_catalog.pg_class AS kc ON kc.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS kn ON kn.oid = kc.relnamespace
 WHERE t.tgisinternal AND t.tgenabled <> 'O' AND n.nspname = ANY (%(schemas)s) AND kn.nspname = ANY (%(schemas)s)
 ORDER BY 1, 2, 5, 6
"""
_TRIGGERS = """
SELECT w.number AS number, t.tgname AS name
  FROM unnest(%(numbers)s::int[], %(schemas)s::text[], %(relations)s::text[], %(constraint_schemas)s::text[],
              %(constraint_relations)s::text[], %(constraints)s::text[], %(types)s::int[])
       AS w(number, schema, relation, constraint_schema, constraint_relation, constraint_name, type)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.relation
  JOIN pg_catalog.pg_namespace AS kn ON kn.nspname = w.constraint_schema
  JOIN pg_catalog.pg_class AS kc ON kc.relnamespace = kn.oid AND kc.relname = w.constraint_relation
  JOIN pg_catalog.pg_constraint AS k ON k.conrelid = kc.oid AND k.conname = w.constraint_name
  JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = c.oid AND t.tgconstraint = k.oid AND t.tgtype = w.type
 WHERE t.tgisinternal
"""


def put_right(source: Session, target: Session, schemas: Sequence[str]) -> list[dict[str, str]]:
    """Make the target's child tables and system triggers like the source's; return what could not be done, and why.

    What is alike is left alone, so it can be done again.
    """
    without, found = source.rows_of(_WITHOUT_DEFAULT, _SWITCHED, params={"schemas": list(schemas)})
    attempts = _defaults(target, without)
    left: dict[str, str] = {}
    names = _names(target, found)
    for number, row in enumerate(found):
        what = f"state of the triggers of constraint {row['constraint']} on {row['schema']}.{row['relation']}"
        if row["enabled"] != "D":
            reason = "not set before the cutover: they would fire for each replicated row"
        elif number not in names:
            reason = "the target has no such trigger"
        else:
            statement = sql.SQL("ALTER TABLE ONLY {} DISABLE TRIGGER {}")
            attempts.append(
                Attempt(
                    what,
                    statement.format(sql.Identifier(row["schema"], row["relation"]), sql.Identifier(names[number])),
                )
            )
            continue
        left[what] = reason
    return [{"object": what, "reason": reason} for what, reason in left.items()] + [
        item.as_left for item in carry_out(target, attempts)
    ]


def _defaults(target: Session, without: Sequence[Row]) -> list[Attempt]:
    if not without:
        return []
    wanted = {f"{key}s": [row[key] for row in without] for key in ("schema", "relation", "column")}
    statement = sql.SQL("ALTER TABLE ONLY {} ALTER COLUMN {} DROP DEFAULT")
    return [
        Attempt(
            f"the missing default of {row['schema']}.{row['relation']}.{row['column']}",
            statement.format(sql.Identifier(row["schema"], row["relation"]), sql.Identifier(row["column"])),
        )
        for row in target.rows(_WITH_DEFAULT, wanted)
    ]


def _names(target: Session, found: Sequence[Row]) -> dict[int, str]:
    """The names that the target's triggers have, by their place in ``found``."""
    if not found:
        return {}
    keys = ("schema", "relation", "constraint_schema", "constraint_relation", "constraint", "type")
    wanted: dict[str, list[object]] = {f"{key}s": [row[key] for row in found] for key in keys}
    rows = target.rows(_TRIGGERS, {"numbers": list(range(len(found))), **wanted})
    return {row["number"]: row["name"] for row in rows}
