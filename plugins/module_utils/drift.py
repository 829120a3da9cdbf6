# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What became of the source since the copy: of the tables that were copied, told by their OIDs, because a name can be given
again; and which tables are new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import new_tables
from .errors import MigrationError
from .ledger import Record, Relation
from .new_tables import NewTable
from .session import Session

ADD_NEW_TABLES = "Run pg_migration_sync with add_new_tables: true, which brings schema and rows."
_REMADE = (
    "Rename it on the source, and run pg_migration_sync with add_new_tables: true; or bring it over by hand after the "
    "cutover."
)
_TAKEN = "Rename or drop what has its name on the target, then run pg_migration_sync with add_new_tables: true."

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
    """Tables that are gone from the source, which harms nothing, tables that are others than those copied, and new ones."""

    dropped: tuple[Relation, ...]
    replaced: tuple[Replaced, ...]
    new: tuple[NewTable, ...] = ()

    @property
    def dropped_names(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of what is gone."""
        return frozenset((relation.schema, relation.name) for relation in self.dropped)

    @property
    def left(self) -> list[dict[str, str]]:
        """What is gone from the source and stays on the target, with its reason."""
        reason = "dropped on the source since it was copied; the target keeps the rows it has"
        return [{"object": f"table {relation.schema}.{relation.name}", "reason": reason} for relation in self.dropped]

    @property
    def as_data(self) -> list[dict[str, Any]]:
        """All of it as results show it: the object, what happened to it, what that means, and what to do."""
        found = [_entry(item, "added", *_about(item)) for item in self.new]
        found += [
            _entry(item.relation, "replaced", f"{item.what}; its changes do not reach the target's copy", "")
            for item in self.replaced
        ]
        reason = "the target keeps the rows it has"
        return found + [_entry(relation, "dropped", reason, "") for relation in self.dropped]

    @property
    def warnings(self) -> list[str]:
        """What nobody should overlook: tables whose rows will be missing after the cutover."""
        if not self.new:
            return []
        names = ", ".join(item.qualified for item in self.new[:10]) + (", ..." if len(self.new) > 10 else "")
        text = f"{len(self.new)} table(s) of the selection are not migrated, because they were created on the source since init"
        return [f"{text}: {names}. {ADD_NEW_TABLES}"]

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


def _entry(item: Relation | NewTable, change: str, detail: str, remedy: str) -> dict[str, Any]:
    return {"object": f"table {item.schema}.{item.name}", "change": change, "detail": detail, "remedy": remedy}


def _about(item: NewTable) -> tuple[str, str]:
    """Return what it means that a table is new, and what to do about it."""
    if item.is_remade:
        return "made anew since init, when its rows were not to be replicated; the target keeps the old one", _REMADE
    if item.is_name_taken:
        return "created since init, not migrated; the target has something else of its name", _TAKEN
    return "created since init, not migrated", ADD_NEW_TABLES


def read(source: Session, record: Record, target: Session | None = None) -> Drift:
    """Compare the tables that streams carry with the source of today; with ``target``, find those that are new, too."""
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
    new = () if target is None else new_tables.find(source, target, record)
    return Drift(tuple(dropped), tuple(replaced), new)
