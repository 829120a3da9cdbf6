# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Triggers and rules that fire while changes are applied (ENABLE ALWAYS, ENABLE REPLICA).

They have done their work on the source already, and what they wrote there is replicated too. So they rest on the target
until the cutover; the ledger remembers how each was enabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .driver import sql
from .session import Session

# A partition's clone can be enabled otherwise than the trigger of the partitioned table.
_FIRING = """
SELECT 'TRIGGER' AS kind, n.nspname AS schema, c.relname AS relation, t.tgname AS name, t.tgenabled AS enabled,
       coalesce(p.tgenabled = t.tgenabled, false) AS follows
  FROM pg_catalog.pg_trigger AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_trigger AS p ON p.oid = t.tgparentid
 WHERE n.nspname = ANY (%(schemas)s) AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
 UNION ALL
SELECT 'RULE', n.nspname, c.relname, r.rulename, r.ev_enabled, false
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p') AND r.ev_enabled IN ('A', 'R')
 ORDER BY schema, relation, name
"""


@dataclass(frozen=True)
class Firing:
    """A trigger or rule that would fire during apply; ``enabled`` is A (always) or R (replica).

    ``follows`` is true for a partition's clone that is enabled like the trigger of the partitioned table.
    """

    kind: str
    schema: str
    relation: str
    name: str
    enabled: str
    follows: bool = False

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name} on {self.schema}.{self.relation}"


def find(target: Session, schemas: Sequence[str]) -> list[Firing]:
    """Return what would fire during apply on the relations of these schemas."""
    return [Firing(**row) for row in target.rows(_FIRING, {"schemas": list(schemas)})]


def disable(item: Firing) -> sql.Composed:
    """Return the statement that lets a trigger or rule rest; clones of a trigger are items of their own."""
    return sql.SQL("ALTER TABLE ONLY {} DISABLE {} {}").format(
        sql.Identifier(item.schema, item.relation), sql.SQL(item.kind), sql.Identifier(item.name)
    )
