# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Tables of the source that a migration should have and does not: made since init, inside the selection.

New partitions of a table that is migrated are not among them, see ``partitions.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import additions
from .ledger import Record
from .migration import Selection
from .selection import covers
from .session import Session

# The tables that are not known, each with itself and what it is a partition of (schema and name). A permanent partition
# joins the stream of its partitioned table.
_UNKNOWN = """
WITH known AS (SELECT k.oid FROM unnest(%(known)s::oid[]) AS k(oid)),
carried_root AS (
  SELECT DISTINCT pg_catalog.pg_partition_root(c.oid::pg_catalog.regclass)::oid AS oid
    FROM unnest(%(carried)s::oid[]) AS k(oid)
    JOIN pg_catalog.pg_class AS c ON c.oid = k.oid
   WHERE c.relispartition)
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(an.nspname, ac.relname))
          FROM pg_catalog.pg_partition_ancestors(c.oid::pg_catalog.regclass) AS a(oid)
          JOIN pg_catalog.pg_class AS ac ON ac.oid = a.oid::oid
          JOIN pg_catalog.pg_namespace AS an ON an.oid = ac.relnamespace) AS line
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence IN ('p', 'u')
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.nspname <> 'seren_migrator'
   AND NOT EXISTS (SELECT 1 FROM known AS k WHERE k.oid = c.oid)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
   AND NOT (c.relpersistence = 'p'
            AND EXISTS (SELECT 1 FROM carried_root AS r
                         WHERE r.oid = pg_catalog.pg_partition_root(c.oid::pg_catalog.regclass)::oid))
 ORDER BY n.nspname, c.relname
"""

# Whatever has one of these names on the target.
_THERE = """
SELECT w.schema, w.name, c.oid::bigint AS oid, c.relkind AS kind
  FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(names)s::text[])) AS w(schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
"""


@dataclass(frozen=True)
class NewTable:
    """A table (kind r or p) that is not migrated.

    ``is_name_taken``: the target has something of its name that is not ours. ``is_remade``: the migration knows another
    table by its name, one that no stream carries.
    """

    oid: int
    schema: str
    name: str
    kind: str
    is_name_taken: bool = False
    is_remade: bool = False

    @property
    def qualified(self) -> str:
        """``schema.table`` for people."""
        return f"{self.schema}.{self.name}"


def find(source: Session, target: Session, record: Record) -> tuple[NewTable, ...]:
    """Return the tables inside the selection that are not migrated; one round trip to each side, at most."""
    selection = Selection.from_options(record.selection)
    rows = source.rows(
        _UNKNOWN,
        {
            "known": [relation.source_oid for relation in record.relations],
            "carried": [relation.source_oid for relation in record.relations if relation.stream is not None],
        },
    )
    rows = [
        row
        for row in rows
        if covers(selection, [(row["schema"], row["name"]), *((s, n) for s, n in row["line"] or ())])
    ]
    if not rows:
        return ()
    names = {"schemas": [row["schema"] for row in rows], "names": [row["name"] for row in rows]}
    there = {(row["schema"], row["name"]): row for row in target.rows(_THERE, names)}
    ours = additions.restored(record)
    # A name that a carried table had is not here: drift tells of that.
    remembered = {(relation.schema, relation.name): relation.stream for relation in record.relations}
    found = []
    for row in rows:
        key = (row["schema"], row["name"])
        twin = there.get(key)
        if twin is not None and twin["oid"] in ours and row["kind"] == twin["kind"] == "p":
            continue  # a partitioned table that had no partitions
        if remembered.get(key) is None:
            is_remade = key in remembered
            is_taken = twin is not None and not is_remade
            found.append(NewTable(row["oid"], *key, row["kind"], is_taken, is_remade))
    return tuple(found)
