# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The target's tables as a repair finds them: which columns can be set, and what would fire or stand in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..driver import psycopg
from ..session import Session
from .pairing import Unit

_WANTED = """
WITH wanted AS (
  SELECT c.oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE (n.nspname::text, c.relname::text)
         IN (SELECT w.s, w.n
               FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(names)s::text[])) AS w(s, n))
   UNION
  SELECT w.oid FROM pg_catalog.unnest(%(oids)s::oid[]) AS w(oid))
"""
_RELATIONS = (
    _WANTED
    + """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS is_partitioned
  FROM wanted AS w
  JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
"""
)
# With the modifier -1 a type is printed so that a cast to it changes no value: "bit", bpchar.
_COLUMNS = (
    _WANTED
    + """
SELECT a.attrelid::bigint AS oid, a.attname::text AS name, pg_catalog.format_type(a.atttypid, -1) AS type,
       a.attgenerated <> '' AS is_generated, a.attidentity = 'a' AS is_always_identity
  FROM wanted AS w
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = w.oid
 WHERE a.attnum > 0 AND NOT a.attisdropped
"""
)
_OBSTACLES = (
    _WANTED
    + """
SELECT t.tgrelid::bigint AS oid,
       CASE WHEN coalesce(k.contype, '') = 'f' THEN 'foreign key' WHEN t.tgisinternal THEN 'constraint' ELSE 'trigger' END AS kind,
       coalesce(k.conname, t.tgname)::text AS name, t.tgenabled::text AS enabled
  FROM wanted AS w
  JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = w.oid
  LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
 UNION
SELECT r.ev_class::bigint, 'rule', r.rulename::text, r.ev_enabled::text
  FROM wanted AS w
  JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = w.oid
 WHERE r.ev_type <> '1'
 UNION
SELECT i.indrelid::bigint, 'deferrable constraint', c.relname::text, 'O'
  FROM wanted AS w
  JOIN pg_catalog.pg_index AS i ON i.indrelid = w.oid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
 WHERE NOT i.indimmediate
"""
)
_AS_REPLICA = "SET LOCAL session_replication_role TO replica"


@dataclass(frozen=True)
class TargetColumn:
    """A column of the target. ``type`` is what a text form is cast to."""

    type: str
    is_generated: bool
    is_always_identity: bool


@dataclass(frozen=True)
class Obstacle:
    """A trigger, foreign key, rule or deferrable constraint; ``enabled`` as the catalogs have it: O, D, R or A."""

    kind: str
    name: str
    enabled: str


@dataclass(frozen=True)
class Ground:
    """One table of the target; ``columns`` by name."""

    columns: Mapping[str, TargetColumn]
    obstacles: tuple[Obstacle, ...]
    is_partitioned: bool

    @property
    def needs_replica(self) -> bool:
        """True when something would fire unless we write as replication does."""
        return any(each.kind != "deferrable constraint" and each.enabled in "OA" for each in self.obstacles)


def may_be_replica(target: Session) -> bool:
    """True when our role may set session_replication_role: a superuser, or from 15 on who was granted it."""
    try:
        with target.transaction():
            target.connection.execute(_AS_REPLICA)
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def read_grounds(target: Session, units: Sequence[Unit]) -> dict[tuple[str, str], Ground]:
    """Read what a repair of some tables would meet, by schema and name; a table that is gone is left out."""
    params = {
        "schemas": [unit.schema for unit in units],
        "names": [unit.name for unit in units],
        "oids": [heap.oid for unit in units for heap in unit.target.heaps],
    }
    relations, columns, obstacles = target.rows_of(_RELATIONS, _COLUMNS, _OBSTACLES, params=params)
    known = {(row["schema"], row["name"]): row for row in relations}
    found: dict[tuple[str, str], Ground] = {}
    for unit in units:
        root = known.get((unit.schema, unit.name))
        if root is None:
            continue
        oids = {root["oid"], *(heap.oid for heap in unit.target.heaps)}
        found[unit.schema, unit.name] = Ground(
            {
                row["name"]: TargetColumn(row["type"], row["is_generated"], row["is_always_identity"])
                for row in columns
                if row["oid"] == root["oid"]
            },
            tuple(Obstacle(row["kind"], row["name"], row["enabled"]) for row in obstacles if row["oid"] in oids),
            root["is_partitioned"],
        )
    return found


def refusal(ground: Ground | None, *, is_replica: bool) -> str:
    """Say why no row of a table can be repaired, '' when they can."""
    if ground is None:
        return "the table is gone from the target"
    late = _named(each for each in ground.obstacles if each.kind == "deferrable constraint")
    if late:
        return f"{late} can be checked late, so a row in the way would not be noticed"
    fires = "RA" if is_replica else "OA"
    firing = _named(each for each in ground.obstacles if each.enabled in fires)
    if firing and is_replica:
        return f"{firing} fires for replicated rows too"
    if firing:
        return (
            f"{firing} would fire; only a role that may set session_replication_role can go past it (a superuser, or from"
            " PostgreSQL 15 on GRANT SET ON PARAMETER session_replication_role)"
        )
    return ""


def _named(obstacles: Iterable[Obstacle]) -> str:
    return ", ".join(sorted({f"{each.kind} {each.name}" for each in obstacles})[:3])
