# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init is going to move: one reading of the source, with the selection and the policies applied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from . import schema
from .catalog import Catalog, Table
from .ledger import Relation
from .migration import Migration
from .selection import Selected, select
from .session import Session


class Policies(Protocol):
    """The options of init on which the plan depends."""

    @property
    def foreign_tables(self) -> str:
        """Create, skip or fail."""

    @property
    def unlogged_tables(self) -> str:
        """Copy, skip or fail."""

    @property
    def large_objects(self) -> str:
        """Copy, skip or fail."""


@dataclass
class Plan:
    """What init is going to do, from one reading of the source."""

    whole: Catalog
    selected: Selected
    left: list[schema.LeftObject]
    notes: list[dict[str, str]] = field(default_factory=list)

    @property
    def carried(self) -> tuple[Table, ...]:
        """The tables and leaf partitions that streams carry."""
        return self.selected.data_tables


def read(migration: Migration, options: Policies, source: Session) -> Plan:
    """Read the source as its transaction sees it and apply the selection and the policies."""
    whole = Catalog.read(source)
    selected = select(whole, migration.selection, options.foreign_tables)
    left = schema.left_behind(source, whole, selected)
    reason = "not selected, or depends on what is not"
    by_policy = "foreign_tables: skip" if options.foreign_tables == "skip" else reason
    notes = [
        {"object": item.description, "reason": by_policy if item.relkind == "f" else reason}
        for item in left
        if not item.is_part
    ]
    for table in selected.catalog.tables:
        if table.oid in selected.without_data and table.stores_rows:
            notes.append({"object": f"rows of {table.qualified}", "reason": "exclude_data"})
        if table.stores_rows and table.persistence == "u":
            what = "rows are not copied" if options.unlogged_tables == "skip" else "copied once, never replicated"
            notes.append({"object": f"unlogged table {table.qualified}", "reason": what})
    if whole.database.large_objects:
        what = "copied once, never replicated" if options.large_objects == "copy" else "large_objects: skip"
        notes.append({"object": f"{whole.database.large_objects} large object(s)", "reason": what})
    return Plan(whole, selected, left, notes)


def relations(plan: Plan, options: Policies) -> list[Relation]:
    """Return the ledger's rows: what is to be copied, and what stays without rows."""
    carried = {table.oid for table in plan.carried}
    unlogged = {table.oid for table in plan.selected.unlogged_tables} if options.unlogged_tables == "copy" else set()
    rows = []
    for table in plan.selected.catalog.tables:
        if not table.stores_rows:
            continue
        kind = "table" if table.oid in carried else "unlogged" if table.oid in unlogged else "schema_only"
        state = "skipped" if kind == "schema_only" else "pending"
        rows.append(Relation(table.schema, table.name, kind, table.oid, None, state, None, None, None, table.bytes))
    return rows


def shape(plan: Plan) -> list[tuple[Any, ...]]:
    """Return what must not change between publishing and the snapshot."""
    return [
        (table.oid, table.schema, table.name, table.kind, table.parents, [(c.name, c.type) for c in table.columns])
        for table in plan.selected.catalog.tables
    ]
