# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which relation of the source is compared with which of the target, by which columns and which key.

The unit is a table, or a whole partitioned table: its partitions are summed up, so that the two sides may be laid out
differently. Reads catalogs; never rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..catalog import Catalog, Column, Table
from ..endpoint import Side
from ..errors import MigrationError
from ..ledger import Stream
from ..replication import find_subscription, published_tables, subscription_tables
from ..selection import Selected, parse
from ..session import Session
from .hashing import HashedColumn, HashRules, unlike_forms
from .key_range import KeyRange

# The primary key, else the replica identity, else any unique index over NOT NULL columns that is checked at once.
_KEYS = """
SELECT DISTINCT ON (q.oid) q.oid, q.columns
  FROM (SELECT i.indrelid::bigint AS oid, i.indisprimary, i.indisreplident, i.indexrelid,
               pg_catalog.array_agg(a.attname::text ORDER BY x.ord) AS columns
          FROM pg_catalog.pg_index AS i
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS x(attnum, ord)
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = x.attnum
         WHERE i.indrelid = ANY(%(oids)s) AND i.indisunique AND i.indimmediate AND i.indisvalid
           AND i.indpred IS NULL AND i.indexprs IS NULL AND x.ord <= i.indnkeyatts
         GROUP BY i.indrelid, i.indexrelid, i.indisprimary, i.indisreplident
        HAVING bool_and(a.attnotnull)) AS q
 ORDER BY q.oid, q.indisprimary DESC, q.indisreplident DESC, q.indexrelid
"""

# From 18 on a column may be NOT NULL and hold NULL all the same, from before the constraint.
_UNCHECKED = """
SELECT n.conrelid::bigint AS oid, a.attname::text AS name
  FROM pg_catalog.pg_constraint AS n
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = n.conrelid AND a.attnum = n.conkey[1]
 WHERE n.contype = 'n' AND NOT n.convalidated
"""

_DOMAINS = """
WITH RECURSIVE walk(root, typ) AS (
  SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.typtype = 'd'
   UNION ALL
  SELECT w.root, t.typbasetype FROM walk AS w JOIN pg_catalog.pg_type AS t ON t.oid = w.typ WHERE t.typtype = 'd')
SELECT w.root::bigint AS oid, pg_catalog.format_type(w.typ, NULL) AS base
  FROM walk AS w
  JOIN pg_catalog.pg_type AS t ON t.oid = w.typ
 WHERE t.typtype <> 'd'
"""

_MODIFIER = re.compile(r"\(\d+(?:,-?\d+)?\)")
# Types that differ between the sides but hold the same value in the same form when nothing was lost.
_WIDENINGS = (frozenset({"smallint", "integer", "bigint"}), frozenset({"text", "character varying"}))


@dataclass(frozen=True)
class Heap:
    """Something that stores rows on one side; ``predicate`` restricts it (source only), ``span`` on both sides alike."""

    oid: int
    schema: str
    name: str
    predicate: str = ""
    span: KeyRange | None = None


@dataclass(frozen=True)
class Half:
    """One side of a unit. ``generated`` columns are hashed apart."""

    heaps: tuple[Heap, ...]
    columns: tuple[HashedColumn, ...]
    generated: tuple[HashedColumn, ...] = ()


@dataclass(frozen=True)
class Unit:
    """Two tables to compare. ``key`` are positions in ``columns``, empty when the table has no key.

    ``is_replicated`` is false for what logical replication never carries (unlogged tables): a difference there is no
    damage. ``mapped`` are columns that are wider on one side, each with its type here and there.
    """

    schema: str
    name: str
    source: Half
    target: Half
    key: tuple[int, ...]
    estimated_rows: int
    estimated_bytes: int
    is_replicated: bool = True
    not_compared: tuple[str, ...] = ()
    mapped: tuple[tuple[str, str, str], ...] = ()

    def half(self, side: Side) -> Half:
        """Return one side."""
        return self.source if side == "source" else self.target

    @property
    def qualified(self) -> str:
        """``schema.table`` for people."""
        return f"{self.schema}.{self.name}"

    @property
    def span(self) -> KeyRange | None:
        """The range of the key that the unit is confined to, None for a whole table."""
        return self.source.heaps[0].span if self.source.heaps else None

    def confined(self, span: KeyRange) -> Unit:
        """Return the unit of the rows in one range of the key, on both sides."""

        def half(whole: Half) -> Half:
            return replace(whole, heaps=tuple(replace(heap, span=span) for heap in whole.heaps))

        return replace(
            self,
            source=half(self.source),
            target=half(self.target),
            estimated_rows=self.estimated_rows // span.count,
            estimated_bytes=self.estimated_bytes // span.count,
        )

    @property
    def method(self) -> str:
        """How rows find their counterpart: by key, or as a multiset of row contents."""
        return "key" if self.key else "row"


@dataclass(frozen=True)
class Refusal:
    """A table that cannot be compared: ``different``, ``unverified`` or ``error``, and why."""

    schema: str
    name: str
    status: str
    reason: str


@dataclass(frozen=True)
class Database:
    """What pairing needs to know of one side besides its catalog."""

    catalog: Catalog
    domains: Mapping[int, str]
    keys: Mapping[int, tuple[str, ...]]
    unchecked: frozenset[tuple[int, str]] = frozenset()  # columns that may hold NULL although they are NOT NULL

    @classmethod
    def read(cls, session: Session, catalog: Catalog) -> Database:
        """Read base types of domains, and the best key of every table."""
        oids = [table.oid for table in catalog.tables]
        return cls(
            catalog,
            {row["oid"]: row["base"] for row in session.rows(_DOMAINS)},
            {row["oid"]: tuple(row["columns"]) for row in session.rows(_KEYS, {"oids": oids})},
            frozenset((row["oid"], row["name"]) for row in session.rows(_UNCHECKED)),
        )

    def heaps(self, table: Table) -> tuple[Table, ...]:
        """Return what stores the rows of a table: itself, or the leaf partitions below it."""
        if table.kind != "p":
            return (table,) if table.stores_rows else ()
        return tuple(
            leaf for leaf in self.catalog.tables if leaf.stores_rows and self.catalog.root_of(leaf).oid == table.oid
        )


def without_modifier(type_text: str) -> str:
    """Return a type as ``format_type`` prints it, without length or precision; quoted names stay as they are."""
    return type_text if '"' in type_text else _MODIFIER.sub("", type_text)


def base_type(column: Column, domains: Mapping[int, str]) -> str:
    """Return the type that decides how a column is hashed: domains resolved, without modifiers."""
    return domains.get(column.type_oid) or without_modifier(column.type)


def types_match(source: str, target: str) -> bool:
    """True when values of the two types have one text form and one hash: equal types, or a widening of integers."""
    left, right = without_modifier(source), without_modifier(target)
    if left in ("character", "bpchar"):
        return source == target  # padding depends on the length
    return left == right or any({left, right} <= group for group in _WIDENINGS)


# --- what the streams carry ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Carrier:
    """One stream as both sides show it: what the source publishes, and the state of what the target subscribes to."""

    stream: Stream
    published: frozenset[tuple[str, str]]
    subscribed: Mapping[tuple[str, str], str] | None


def read_carriers(source: Session, target: Session, streams: Iterable[Stream]) -> tuple[Carrier, ...]:
    """Read what each stream carries; ``subscribed`` is None when the target has no such subscription."""
    carriers = []
    for stream in streams:
        subscription = find_subscription(target, stream.subscription)
        carriers.append(
            Carrier(
                stream,
                frozenset(published_tables(source, stream.publication)),
                None if subscription is None else subscription_tables(target, subscription.oid),
            )
        )
    return tuple(carriers)


def carriage_problem(names: Sequence[tuple[str, str]], carriers: Sequence[Carrier]) -> str:
    """Say why a relation is not (yet) replicated, '' when it is.

    ``names`` are the relation and the partitioned tables above it: a stream may carry it under any of these names.
    """
    problem = "no stream carries it"
    for carrier in carriers:
        for name in names:
            if name not in carrier.published or carrier.subscribed is None:
                continue
            state = carrier.subscribed.get(name)
            if state == "r":
                return ""
            problem = f"sync state: {state}" if state else "published, but unknown to the subscription"
    return problem


def _lineage(catalog: Catalog, table: Table) -> list[tuple[str, str]]:
    names = [(table.schema, table.name)]
    while table.is_partition and table.parents and table.parents[0] in catalog.by_oid:
        table = catalog.by_oid[table.parents[0]]
        names.append((table.schema, table.name))
    return names


# --- pairs -----------------------------------------------------------------------------------------------------


def units_of(selected: Selected) -> tuple[Table, ...]:
    """Return the tables to verify, partitioned ones by their root; what stays without data is not among them."""
    catalog = selected.catalog
    wanted: dict[int, Table] = {}
    for table in catalog.tables:
        if table.oid in selected.without_data or table.kind == "f":
            continue
        root = catalog.root_of(table)
        if root.oid not in selected.without_data:
            wanted[root.oid] = root
    return tuple(wanted.values())


def restricted(tables: Sequence[Table], catalog: Catalog, patterns: Sequence[str]) -> tuple[Table, ...]:
    """Return the tables that any pattern covers; a pattern for a partition brings its whole partitioned table.

    Raises ``nothing_selected`` for a pattern that covers nothing.
    """
    if not patterns:
        return tuple(tables)
    chosen: set[int] = set()
    offered = {table.oid for table in tables}
    for text in patterns:
        pattern = parse(text)
        hits = {
            catalog.root_of(table).oid for table in catalog.tables if pattern.matches(table.schema, table.name)
        } & offered
        if not hits:
            raise MigrationError(
                "nothing_selected",
                f"The pattern {text!r} matches no table that takes part in the migration.",
                "Correct it or remove it; names are case-sensitive, and a dot separates schema and table.",
            )
        chosen |= hits
    return tuple(table for table in tables if table.oid in chosen)


def pair(
    table: Table,
    selected: Selected,
    source: Database,
    target: Database,
    carriers: Sequence[Carrier],
    rules: HashRules,
) -> Unit | Refusal:
    """Find the counterpart of a table of the source, or say why it cannot be compared.

    ``carriers`` is empty when no stream exists; then nothing is asked about replication.
    """

    def refuse(status: str, reason: str) -> Refusal:
        return Refusal(table.schema, table.name, status, reason)

    twin = target.catalog.by_name.get((table.schema, table.name))
    if twin is None:
        return refuse("different", "the table is missing on the target")
    if twin.kind == "f":
        return refuse("unverified", "a foreign table on the target")
    if rules.refusal:
        return refuse("unverified", rules.refusal)
    columns = _paired_columns(table, twin, source, target, rules)
    if isinstance(columns, str):
        return refuse("unverified", columns)
    plain, generated, not_compared = columns
    source_heaps = tuple(heap for heap in source.heaps(table) if heap.oid not in selected.without_data)
    target_heaps = target.heaps(twin)
    for heap, side in [*((heap, "source") for heap in source_heaps), *((heap, "target") for heap in target_heaps)]:
        if heap.row_security_active:
            return refuse("unverified", f"row security hides rows of {heap.qualified} from our role on the {side}")
    permanent = [heap for heap in source_heaps if heap.persistence == "p"]
    for heap in permanent if carriers else []:
        problem = carriage_problem(_lineage(source.catalog, heap), carriers)
        if problem:
            return refuse("unverified", problem if heap.oid == table.oid else f"partition {heap.qualified}: {problem}")
    names = [column.name for column, _twin in plain]
    key = source.keys.get(table.oid, ())
    # NULL has no hash by which a row would be found.
    filled = {
        column.name
        for column, other in plain
        if other.not_null
        and (table.oid, column.name) not in source.unchecked
        and (twin.oid, other.name) not in target.unchecked
    }
    positions = tuple(names.index(name) for name in key) if set(key) <= filled else ()
    return Unit(
        schema=table.schema,
        name=table.name,
        source=Half(
            tuple(Heap(h.oid, h.schema, h.name, selected.predicates.get(h.oid, "")) for h in source_heaps),
            tuple(HashedColumn(c.name, base_type(c, source.domains)) for c, _twin in plain),
            tuple(HashedColumn(c.name, base_type(c, source.domains)) for c, _twin in generated),
        ),
        target=Half(
            tuple(Heap(h.oid, h.schema, h.name) for h in target_heaps),
            tuple(HashedColumn(c.name, base_type(c, target.domains)) for _twin, c in plain),
            tuple(HashedColumn(c.name, base_type(c, target.domains)) for _twin, c in generated),
        ),
        key=positions,
        estimated_rows=sum(max(h.estimated_rows, 0) for h in source_heaps),
        estimated_bytes=sum(h.bytes for h in source_heaps),
        is_replicated=len(permanent) == len(source_heaps),
        not_compared=not_compared,
        mapped=tuple(
            (column.name, column.type, other.type)
            for column, other in [*plain, *generated]
            if without_modifier(column.type) != without_modifier(other.type)
        ),
    )


Pairs = list[tuple[Column, Column]]


def _paired_columns(
    table: Table, twin: Table, source: Database, target: Database, rules: HashRules
) -> tuple[Pairs, Pairs, tuple[str, ...]] | str:
    """Pair columns by name: plain ones, stored generated ones, and what is not compared; or the reason against it."""
    others = {column.name: column for column in twin.columns}
    plain: Pairs = []
    generated: Pairs = []
    not_compared: list[str] = []
    for column in table.columns:
        other = others.pop(column.name, None)
        if column.generated == "v" or (other is not None and other.generated == "v"):
            not_compared.append(column.name)
            continue
        if other is None:
            return f"column {column.name} is missing on the target"
        if not types_match(column.type, other.type):
            return f"type mismatch: column {column.name} is {column.type} on the source, {other.type} on the target"
        for each, domains in ((column, source.domains), (other, target.domains)):
            base = base_type(each, domains)
            if unlike_forms(base, rules):
                return f"text form differs: column {column.name} of type {base} prints differently on the two servers"
        if base_type(column, source.domains) != base_type(other, target.domains) and not types_match(
            base_type(column, source.domains), base_type(other, target.domains)
        ):
            return f"type mismatch: column {column.name}, the domain {column.type} rests on different types"
        (generated if column.generated or other.generated else plain).append((column, other))
    not_compared += others
    return plain, generated, tuple(not_compared)
