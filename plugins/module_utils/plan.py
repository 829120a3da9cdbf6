# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init is going to move: one reading of the source, with the selection and the policies applied."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import dealing, left_behind, schema, stream
from .catalog import Catalog, Table
from .dealing import Share
from .ledger import Record, Relation
from .left_behind import LeftObject
from .migration import Migration
from .selection import Selected, select
from .session import Session
from .write_rate import WriteRate, measure


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
    left: list[LeftObject]
    notes: list[dict[str, str]] = field(default_factory=list)

    @property
    def carried(self) -> tuple[Table, ...]:
        """The tables and leaf partitions that streams carry."""
        return self.selected.data_tables


def read(migration: Migration, options: Policies, source: Session) -> Plan:
    """Read the source as its transaction sees it and apply the selection and the policies."""
    whole = Catalog.read(source)
    selected = select(whole, migration.selection, options.foreign_tables)
    left = left_behind.read(source, whole, selected)
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


def shape(plan: Plan, oids: Collection[int] | None = None) -> tuple[Any, ...]:
    """Return what must not change between publishing and the snapshot, about the tables ``oids`` or (None) everything."""
    tables = [
        (table.oid, table.schema, table.name, table.kind, table.parents, [(c.name, c.type) for c in table.columns])
        for table in plan.selected.catalog.tables
        if oids is None or table.oid in oids
    ]
    return tables, schema.exclusions(plan.whole, plan.selected, plan.left) if oids is None else None


@dataclass(frozen=True)
class Dealt:
    """Which stream of the next round carries which tables: ``shares`` by the stream's number, and what it rests on."""

    shares: dict[int, Share]
    rates: dict[int, WriteRate]
    notes: tuple[str, ...] = ()

    @property
    def carried(self) -> frozenset[int]:
        """The OIDs of all tables that the streams carry."""
        return frozenset().union(*(share.oids for share in self.shares.values()))

    @property
    def first(self) -> int:
        """The stream whose slot exports the snapshot."""
        return min(self.shares)

    def stream_of(self, tables: Iterable[Table]) -> dict[int, int]:
        """Return the stream in whose snapshot each table is copied, by OID: the one that carries it, else the first."""
        carrier = {oid: number for number, share in self.shares.items() for oid in share.oids}
        return {table.oid: carrier.get(table.oid, self.first) for table in tables}

    def tables(self, catalog: Catalog) -> dict[int, list[Table]]:
        """Return each stream's tables, in the catalog's order."""
        return {
            number: [table for table in catalog.tables if table.oid in share.oids]
            for number, share in self.shares.items()
        }


def deal(plan: Plan, source: Session, record: Record | None, streams: int) -> Dealt:
    """Deal the tables that are still to be copied out to the streams that the next round opens.

    ``record`` is None before the copy has begun. Where there is a choice, the source is watched for a moment.
    """
    pending = None if record is None else {relation.source_oid for relation in record.pending}
    oids = {table.oid for table in plan.carried if pending is None or table.oid in pending}
    count = max(1, stream.to_open(record, streams))
    groups = len(dealing.groups(plan.whole, oids)) if count > 1 else 1
    rates = measure(source, oids) if count > 1 and groups > 1 else {}
    first = stream.next_number(record)
    shares = dealing.deal(plan.whole, oids, rates, count)
    note = (
        f"{count} streams were asked for, but the tables form {groups} group(s) that must stay together, so there will "
        f"be {len(shares)}"
    )
    notes = (note,) if len(shares) < count else ()
    return Dealt(dict(enumerate(shares, first)), rates, notes)
