# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What stays behind because of the selection: what was not chosen and, transitively, what depends on it.

Told by the dependencies that PostgreSQL records, by OIDs of the source; what becomes of it is ``schema.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .catalog import Catalog
from .errors import MigrationError
from .selection import Selected
from .session import Session

# What depends on what is left out, and what those internally belong to. Extensions' members are theirs.
_LEFT_BEHIND = """
WITH RECURSIVE gone(classid, objid) AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, t.oid FROM unnest(%(relations)s::oid[]) AS t(oid)
   UNION
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, n.oid FROM unnest(%(schemas)s::oid[]) AS n(oid)
   UNION
  SELECT CASE WHEN d.refclassid = g.classid AND d.refobjid = g.objid THEN d.classid ELSE d.refclassid END,
         CASE WHEN d.refclassid = g.classid AND d.refobjid = g.objid THEN d.objid ELSE d.refobjid END
    FROM gone AS g
    JOIN pg_catalog.pg_depend AS d
      ON (d.refclassid = g.classid AND d.refobjid = g.objid AND d.deptype IN ('n', 'a', 'i', 'P', 'S'))
      OR (d.classid = g.classid AND d.objid = g.objid AND d.deptype = 'i'))
SELECT g.classid::bigint AS classid, g.objid::bigint AS objid, c.relname AS catalog,
       pg_catalog.pg_describe_object(g.classid, g.objid, 0) AS description,
       r.relkind AS relkind, n.nspname AS schema, r.relname AS name,
       coalesce(ad.adrelid, k.conrelid, x.tgrelid)::bigint AS owner_table, k.contype AS constraint_type,
       coalesce(r.relkind NOT IN ('r', 'p', 'f', 'v', 'm'), true)
         AND EXISTS (SELECT 1
                       FROM pg_catalog.pg_depend AS d
                       JOIN gone AS w ON w.classid = d.refclassid AND w.objid = d.refobjid
                      WHERE d.classid = g.classid AND d.objid = g.objid
                        AND d.deptype IN ('i', 'a', 'e', 'P', 'S')) AS is_part
  FROM gone AS g
  JOIN pg_catalog.pg_class AS c ON c.oid = g.classid
  LEFT JOIN pg_catalog.pg_class AS r ON c.relname = 'pg_class' AND r.oid = g.objid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
  LEFT JOIN pg_catalog.pg_attrdef AS ad ON c.relname = 'pg_attrdef' AND ad.oid = g.objid
  LEFT JOIN pg_catalog.pg_constraint AS k ON c.relname = 'pg_constraint' AND k.oid = g.objid
  LEFT JOIN pg_catalog.pg_trigger AS x ON c.relname = 'pg_trigger' AND x.oid = g.objid
"""

# Which of these objects needs which other one of them; what has an internal part needs that, too.
_NEEDS = """
WITH gone AS (SELECT * FROM unnest(%(classids)s::oid[], %(objids)s::oid[]) AS g(classid, objid)),
edge AS (
  SELECT d.classid, d.objid, d.refclassid, d.refobjid FROM pg_catalog.pg_depend AS d
   UNION
  SELECT d.refclassid, d.refobjid, d.classid, d.objid FROM pg_catalog.pg_depend AS d WHERE d.deptype = 'i')
SELECT e.classid::bigint AS classid, e.objid::bigint AS objid,
       e.refclassid::bigint AS refclassid, e.refobjid::bigint AS refobjid
  FROM edge AS e
  JOIN gone AS g ON g.classid = e.classid AND g.objid = e.objid
  JOIN gone AS w ON w.classid = e.refclassid AND w.objid = e.refobjid
"""


@dataclass(frozen=True)
class LeftObject:
    """One object of the source that stays behind because of the selection.

    ``is_part`` is true for what goes without saying: parts of another object that stays behind.
    """

    classid: int
    objid: int
    catalog: str
    description: str
    relkind: str | None
    schema: str | None
    name: str | None
    owner_table: int | None
    constraint_type: str | None
    is_part: bool = False


def read(source: Session, whole: Catalog, selected: Selected) -> list[LeftObject]:
    """Return every object that cannot or shall not travel with a partial selection.

    These are the tables and schemas that were not chosen and, transitively, what depends on them: views, foreign keys,
    functions. Raises ``bad_option`` when a *selected* table itself, its columns' types or defaults depend on them.
    """
    chosen_schemas = {schema.oid for schema in selected.catalog.schemas}
    parameters = {
        "relations": sorted(selected.left_out),
        "schemas": [schema.oid for schema in whole.schemas if schema.oid not in chosen_schemas],
    }
    if not parameters["relations"] and not parameters["schemas"]:
        return []
    gone = [LeftObject(**row) for row in source.rows(_LEFT_BEHIND, parameters)]
    chosen = selected.catalog.by_oid
    for item in gone:
        cut = chosen.get(item.objid) if item.catalog == "pg_class" else None
        if item.catalog == "pg_attrdef" or (item.catalog == "pg_constraint" and item.constraint_type != "f"):
            cut = chosen.get(item.owner_table or 0)
        if cut is not None:
            needs = " -> ".join(_way_out(source, item, gone, [*parameters["relations"], *parameters["schemas"]]))
            raise MigrationError(
                "bad_option",
                f"The selected table {cut.qualified} needs something that is not selected: {needs}.",
                "Add the schema or table it depends on to the selection.",
                {"table": cut.qualified, "needs": needs},
            )
    return gone


def _way_out(source: Session, start: LeftObject, gone: Sequence[LeftObject], unselected: Sequence[int]) -> list[str]:
    """Return, in words, what stands between an object and the unselected one that it needs, both included."""
    known = {(item.classid, item.objid): item for item in gone}
    needs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    parameters = {"classids": [item.classid for item in gone], "objids": [item.objid for item in gone]}
    for row in source.rows(_NEEDS, parameters):
        needs.setdefault((row["classid"], row["objid"]), []).append((row["refclassid"], row["refobjid"]))
    ways = [[(start.classid, start.objid)]]
    seen = set(ways[0])
    for way in ways:  # grows; the shortest ways come first
        last = known[way[-1]]
        if last.catalog in ("pg_class", "pg_namespace") and last.objid in unselected:
            return [known[item].description for item in way]
        further = [item for item in needs.get(way[-1], []) if item not in seen]
        seen |= set(further)
        ways += [[*way, item] for item in further]
    return [start.description]
