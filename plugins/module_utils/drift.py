# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What became of the source since the copy: of the tables that were copied, told by their OIDs, because a name can be given
again; and which tables are new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from . import baseline, new_tables
from .baseline import Change
from .errors import MigrationError
from .ledger import Record, Relation
from .migration import Selection
from .new_tables import NewTable
from .session import Session
from .verification.objects.described import quoted

ADD_NEW_TABLES = "Run pg_migration_sync with add_new_tables: true, which brings schema and rows."
_REMADE = (
    "Rename it on the source, and run pg_migration_sync with add_new_tables: true; or bring it over by hand after the "
    "cutover."
)
_BY_HAND = "Do the same on the target before the cutover, as far as it is wanted there."
_MEANING = {
    "added": ("created since init; the target does not have it", _BY_HAND),
    "changed": ("changed since init; on the target it is as it was", _BY_HAND),
    "dropped": ("dropped since init; the target still has it", _BY_HAND),
    "unknown": ("it could not be read, now or at init, so changes of it cannot be told", ""),
}
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
    """Tables that are gone from the source, which harms nothing, tables that are others than those copied, and new ones.

    ``objects`` is what else of the schema has changed.
    """

    dropped: tuple[Relation, ...]
    replaced: tuple[Replaced, ...]
    new: tuple[NewTable, ...] = ()
    objects: tuple[Change, ...] = ()

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
        found += [_entry(relation, "dropped", "the target keeps the rows it has", "") for relation in self.dropped]
        told = {entry["object"] for entry in found}
        return found + [entry for entry in map(_of_object, self.objects or ()) if entry["object"] not in told]

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
    name = quoted([item.schema, item.name])
    return {"object": f"table {name}", "change": change, "attributes": [], "detail": detail, "remedy": remedy}


def _of_object(change: Change) -> dict[str, Any]:
    detail, remedy = _MEANING[change.what]
    return {
        "object": " ".join(change.key),
        "change": change.what,
        "attributes": list(change.parts),
        "detail": detail,
        "remedy": remedy,
    }


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


def with_objects(drift: Drift, source: Session, target: Session, record: Record) -> Drift:
    """Return the drift together with what else of the schema has changed; a look at the whole catalog of the source.

    New tables are told by :func:`read`, which knows the selection; a view or a function of a selected schema has none.
    """
    now = baseline.seen(source, Selection.from_options(record.selection))
    changes = baseline.changes(target, record, now) if now else None
    if changes is None:
        unknown = Change(("schema", "of the source"), "unknown")
        return replace(drift, objects=(unknown,))
    return replace(drift, objects=tuple(item for item in changes if (item.key[0], item.what) != ("table", "added")))
