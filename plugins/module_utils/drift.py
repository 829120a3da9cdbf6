# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What became, on the source, of the tables that were copied: told by their OIDs, because a name can be given again."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MigrationError
from .ledger import Record, Relation
from .session import Session

# For each table its name of today, by its OID, and the OID of today's bearer of its name.
_TODAY = """
SELECT w.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, b.oid IS NOT NULL AS is_name_taken
  FROM ROWS FROM (pg_catalog.unnest(%(oids)s::oid[]), pg_catalog.unnest(%(schemas)s::text[]),
                  pg_catalog.unnest(%(names)s::text[])) AS w(oid, schema, name)
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_namespace AS s ON s.nspname = w.schema
  LEFT JOIN pg_catalog.pg_class AS b ON b.relnamespace = s.oid AND b.relname = w.name AND b.relkind IN ('r', 'p')
"""


@dataclass(frozen=True)
class Replaced:
    """A table whose changes do not reach its copy any more; ``what`` says what happened to it."""

    relation: Relation
    what: str

    def __str__(self) -> str:
        return f"{self.relation.schema}.{self.relation.name} was {self.what} on the source since it was copied"


@dataclass(frozen=True)
class Drift:
    """Tables that are gone from the source, which harms nothing, and tables that are others than those copied."""

    dropped: tuple[Relation, ...]
    replaced: tuple[Replaced, ...]

    @property
    def dropped_names(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of what is gone."""
        return frozenset((relation.schema, relation.name) for relation in self.dropped)

    @property
    def left(self) -> list[dict[str, str]]:
        """What is gone from the source and stays on the target, with its reason."""
        reason = "dropped on the source since it was copied; the target keeps the rows it has"
        return [{"object": f"table {relation.schema}.{relation.name}", "reason": reason} for relation in self.dropped]

    def refuse_replaced(self) -> None:
        """Raise ``schema_changed`` when a table is another than the one that was copied."""
        if not self.replaced:
            return
        raise MigrationError(
            "schema_changed",
            f"{'; '.join(str(item) for item in self.replaced[:5])}. Its changes do not reach the target's copy.",
            "Give a renamed table its name back, when nothing was written to it under the new one. Otherwise copy again: "
            "before sync has run, with init and resume: false; after it, run pg_migration_cleanup, empty the target and "
            "start again.",
            {"tables": [f"{item.relation.schema}.{item.relation.name}" for item in self.replaced]},
        )


def read(source: Session, record: Record) -> Drift:
    """Compare the tables that streams carry with the source of today."""
    carried = {relation.source_oid: relation for relation in record.relations if relation.stream is not None}
    rows = source.rows(
        _TODAY,
        {
            "oids": list(carried),
            "schemas": [relation.schema for relation in carried.values()],
            "names": [relation.name for relation in carried.values()],
        },
    )
    dropped, replaced = [], []
    for row in rows:
        relation = carried[row["oid"]]
        if row["name"] is None and row["is_name_taken"]:
            replaced.append(Replaced(relation, "made anew"))
        elif row["name"] is None:
            dropped.append(relation)
        elif (row["schema"], row["name"]) != (relation.schema, relation.name):
            replaced.append(Replaced(relation, f"renamed to {row['schema']}.{row['name']}"))
    return Drift(tuple(dropped), tuple(replaced))
