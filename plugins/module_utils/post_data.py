# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Taking back what an interrupted restore of indexes, constraints and triggers has left on the target.

pg_restore makes these things in parallel, each in a transaction of its own, so a crash leaves some of them. All of them
sit on tables that this migration made, in schemas that held no table before; so all of them are ours to drop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .driver import Row, sql
from .session import Session

# In the order in which they can be dropped. What belongs to a partition goes with what its root has.
_LEFT_OVER = """
WITH ours AS (
  SELECT c.oid, n.nspname AS schema, c.relname AS name
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'm', 'f', 'v')
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND d.objid = c.oid AND d.deptype = 'e'))
SELECT 1 AS turn, 'event trigger' AS kind, NULL AS schema, NULL AS relation, e.evtname AS name
  FROM pg_catalog.pg_event_trigger AS e
  JOIN pg_catalog.pg_proc AS f ON f.oid = e.evtfoid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
 WHERE n.nspname = ANY (%(schemas)s)
 UNION ALL
SELECT CASE k.contype WHEN 'f' THEN 2 ELSE 3 END, 'constraint', o.schema, o.name, k.conname
  FROM pg_catalog.pg_constraint AS k
  JOIN ours AS o ON o.oid = k.conrelid
 WHERE k.conparentid = 0
   AND (k.contype IN ('f', 'p', 'u', 'x') OR (k.contype IN ('c', 'n') AND NOT k.convalidated AND k.conislocal))
 UNION ALL
SELECT 4, 'index', o.schema, o.name, c.relname
  FROM pg_catalog.pg_index AS i
  JOIN ours AS o ON o.oid = i.indrelid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE NOT c.relispartition
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
 UNION ALL
SELECT 5, 'trigger', o.schema, o.name, t.tgname
  FROM pg_catalog.pg_trigger AS t
  JOIN ours AS o ON o.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND t.tgparentid = 0
 UNION ALL
SELECT 6, 'rule', o.schema, o.name, r.rulename
  FROM pg_catalog.pg_rewrite AS r
  JOIN ours AS o ON o.oid = r.ev_class
 WHERE r.rulename <> '_RETURN'
 UNION ALL
SELECT 7, 'policy', o.schema, o.name, p.polname
  FROM pg_catalog.pg_policy AS p
  JOIN ours AS o ON o.oid = p.polrelid
 UNION ALL
SELECT 8, 'statistics', n.nspname, NULL, s.stxname
  FROM pg_catalog.pg_statistic_ext AS s
  JOIN ours AS o ON o.oid = s.stxrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
 ORDER BY turn, schema, relation, name
"""


def _constraint(row: Row) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
        sql.Identifier(row["schema"], row["relation"]), sql.Identifier(row["name"])
    )


def _in_schema(kind: str) -> Callable[[Row], sql.Composed]:
    return lambda row: sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(kind), sql.Identifier(row["schema"], row["name"]))


def _on_relation(kind: str) -> Callable[[Row], sql.Composed]:
    return lambda row: sql.SQL("DROP {} IF EXISTS {} ON {}").format(
        sql.SQL(kind), sql.Identifier(row["name"]), sql.Identifier(row["schema"], row["relation"])
    )


_DROPS: dict[str, Callable[[Row], sql.Composed]] = {
    "event trigger": lambda row: sql.SQL("DROP EVENT TRIGGER IF EXISTS {}").format(sql.Identifier(row["name"])),
    "constraint": _constraint,
    "index": _in_schema("INDEX"),
    "trigger": _on_relation("TRIGGER"),
    "rule": _on_relation("RULE"),
    "policy": _on_relation("POLICY"),
    "statistics": _in_schema("STATISTICS"),
}


def take_back(target: Session, schemas: Sequence[str]) -> int:
    """Drop, in one transaction, what an interrupted restore has left in ``schemas``; return how many things."""
    with target.transaction():
        rows = target.rows(_LEFT_OVER, {"schemas": list(schemas)})
        for row in rows:
            target.execute(_DROPS[row["kind"]](row))
    return len(rows)
