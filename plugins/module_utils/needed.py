# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What new tables need on the target: themselves, what they own, and whatever of types, functions and others is not there.

Told by the dependencies that PostgreSQL records. What a function's text uses is not recorded, except where the text is
SQL that was parsed when the function was made (BEGIN ATOMIC).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .driver import Row
from .errors import MigrationError
from .session import Session

# What belongs to the new tables themselves, without the parts of a partition that its partitioned table brings, where
# that is on the target already; and, as far as dependencies lead, what all that needs. Tables that are not new, and
# members of extensions, are not looked into. What depends on something needed as its part is needed as well (the rule
# of a view, the constraints of a domain).
_NEEDED = """
WITH RECURSIVE new_table AS (SELECT t.oid FROM unnest(%(tables)s::oid[]) AS t(oid)),
part(classid, objid) AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, t.oid FROM new_table AS t
   UNION
  SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, a.oid
    FROM pg_catalog.pg_attrdef AS a JOIN new_table AS t ON t.oid = a.adrelid
   UNION
  SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
    FROM pg_catalog.pg_constraint AS k
    JOIN new_table AS t ON t.oid = k.conrelid
    LEFT JOIN pg_catalog.pg_constraint AS p ON p.oid = k.conparentid
   WHERE p.oid IS NULL OR p.conrelid IN (SELECT n.oid FROM new_table AS n)
   UNION
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid
    FROM pg_catalog.pg_index AS i
    JOIN new_table AS t ON t.oid = i.indrelid
    LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = i.indexrelid
    LEFT JOIN pg_catalog.pg_index AS p ON p.indexrelid = h.inhparent
   WHERE p.indexrelid IS NULL OR p.indrelid IN (SELECT n.oid FROM new_table AS n)
   UNION
  SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid
    FROM pg_catalog.pg_trigger AS g JOIN new_table AS t ON t.oid = g.tgrelid
   WHERE NOT g.tgisinternal
   UNION
  SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
    FROM pg_catalog.pg_rewrite AS r JOIN new_table AS t ON t.oid = r.ev_class
   UNION
  SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid
    FROM pg_catalog.pg_policy AS p JOIN new_table AS t ON t.oid = p.polrelid
   UNION
  SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
    FROM pg_catalog.pg_statistic_ext AS s JOIN new_table AS t ON t.oid = s.stxrelid
   UNION
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid
    FROM pg_catalog.pg_depend AS d
    JOIN new_table AS t ON t.oid = d.refobjid
    JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')),
walk(classid, objid) AS (
  SELECT p.classid, p.objid FROM part AS p
   UNION
  SELECT e.classid, e.objid
    FROM walk AS w
    LEFT JOIN pg_catalog.pg_class AS c
      ON c.oid = w.objid AND w.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
   CROSS JOIN LATERAL (
     SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS m
                     WHERE m.classid = w.classid AND m.objid = w.objid AND m.deptype = 'e') AS is_member) AS x
   CROSS JOIN LATERAL (
     SELECT u.refclassid, u.refobjid
       FROM pg_catalog.pg_depend AS u
      WHERE u.classid = w.classid AND u.objid = w.objid AND u.refobjid >= 16384
        AND (u.deptype = 'e' OR NOT x.is_member)
      UNION ALL
     SELECT d.classid, d.objid
       FROM pg_catalog.pg_depend AS d
      WHERE d.refclassid = w.classid AND d.refobjid = w.objid AND d.deptype IN ('a', 'i') AND NOT x.is_member
        AND coalesce(c.relkind IN ('v', 'm', 'c'), true)
        AND NOT w.classid IN ('pg_catalog.pg_namespace'::pg_catalog.regclass,
                              'pg_catalog.pg_extension'::pg_catalog.regclass)) AS e(classid, objid)
   WHERE coalesce(c.relkind NOT IN ('r', 'p') OR c.oid IN (SELECT n.oid FROM new_table AS n), true))
SELECT w.classid::bigint AS classid, w.objid::bigint AS objid, o.type, o.identity, c.relkind AS kind,
       EXISTS (SELECT 1 FROM part AS p WHERE p.classid = w.classid AND p.objid = w.objid) AS is_part
  FROM walk AS w
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = w.objid AND w.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_type AS t ON t.oid = w.objid AND w.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_class AS r ON r.oid = t.typrelid
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(w.classid, w.objid, 0) AS o
 WHERE coalesce(r.relkind = 'c', true)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type AS y WHERE y.typarray = t.oid)
"""

# Which of these objects the target has. What is part of another one comes and goes with it.
_THERE = """
SELECT o.type, o.identity, x.objid::bigint AS oid
  FROM (SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, n.oid FROM pg_catalog.pg_namespace AS n
         UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid
                     FROM pg_catalog.pg_class AS c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
         UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid FROM pg_catalog.pg_type AS t
         UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid FROM pg_catalog.pg_proc AS p
         UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid
                     FROM pg_catalog.pg_constraint AS k WHERE k.contypid <> 0
         UNION ALL SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid FROM pg_catalog.pg_rewrite AS r
         UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, g.oid
                     FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
                    WHERE c.relkind IN ('v', 'm', 'f')
         UNION ALL SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid
                     FROM pg_catalog.pg_attrdef AS d JOIN pg_catalog.pg_class AS c ON c.oid = d.adrelid
                    WHERE c.relkind IN ('v', 'm', 'f')
         UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, l.oid FROM pg_catalog.pg_collation AS l
         UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_operator AS a
         UNION ALL SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_opclass AS a
         UNION ALL SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_opfamily AS a
         UNION ALL SELECT 'pg_catalog.pg_am'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_am AS a
         UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_cast AS a
         UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_conversion AS a
         UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_ts_config AS a
         UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_ts_dict AS a
         UNION ALL SELECT 'pg_catalog.pg_ts_parser'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_ts_parser AS a
         UNION ALL SELECT 'pg_catalog.pg_ts_template'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_ts_template AS a
         UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_language AS a
         UNION ALL SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_extension AS a
         UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, a.oid
                     FROM pg_catalog.pg_foreign_data_wrapper AS a
         UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, a.oid
                     FROM pg_catalog.pg_foreign_server AS a) AS x(classid, objid)
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(x.classid, x.objid, 0) AS o
  JOIN ROWS FROM (pg_catalog.unnest(%(types)s::text[]), pg_catalog.unnest(%(identities)s::text[])) AS w(type, identity)
    ON w.type = o.type AND w.identity = o.identity
 WHERE x.objid >= 16384
"""

# What has no entry of its own in an archive, and is no reason to look for it on the target.
_ONLY_INSIDE = ("operator of access method", "function of access method", "toast table")


@dataclass(frozen=True)
class Needed:
    """What is to be restored: objects of the source, as (classid, objid), and how those beside the tables are called."""

    objects: frozenset[tuple[int, int]]
    beside: tuple[str, ...]


def read(source: Session, target: Session, tables: Iterable[int], ours: frozenset[int]) -> Needed:
    """Return what the new ``tables`` (OIDs) need and the target does not have, as the source's transaction sees it.

    ``ours`` are OIDs of what the migration has restored on the target. Raises ``target_not_empty`` for a sequence of
    the tables whose name is taken there, and ``schema_changed`` where they need a table that is not migrated.
    """
    rows = [row for row in source.rows(_NEEDED, {"tables": sorted(tables)}) if row["type"] not in _ONLY_INSIDE]
    asked = [row for row in rows if not row["is_part"] or row["kind"] == "S"]
    names = {"types": [row["type"] for row in asked], "identities": [row["identity"] for row in asked]}
    there = {(row["type"], row["identity"]): row["oid"] for row in target.rows(_THERE, names)}
    objects: set[tuple[int, int]] = set()
    beside: list[str] = []
    for row in rows:
        present = there.get((row["type"], row["identity"]))
        if row["is_part"] and row["kind"] == "S" and present is not None and present not in ours:
            raise _taken(row)
        if row["is_part"] and present is None:
            objects.add((row["classid"], row["objid"]))
        elif present is None and row["kind"] in ("r", "p"):
            raise _without(row)
        elif present is None:
            objects.add((row["classid"], row["objid"]))
            beside.append(f"{row['type']} {row['identity']}")
    return Needed(frozenset(objects), tuple(sorted(beside)))


def _taken(row: Row) -> MigrationError:
    return MigrationError(
        "target_not_empty",
        f"The target already has a sequence {row['identity']}, which this migration did not make.",
        "Rename or drop it there when nobody needs it, and run sync again.",
        {"sequence": row["identity"]},
    )


def _without(row: Row) -> MigrationError:
    return MigrationError(
        "schema_changed",
        f"A new table needs {row['type']} {row['identity']}, which the target does not have.",
        "Bring it into the selection, or exclude the new table with exclude_tables in a migration of its own.",
        {"needs": row["identity"]},
    )
