# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""From differing leaves to rows: which rows differ, which of these differences are proven, and what they are called.

Rows with the same identity (key, or content where there is no key) form a group. A difference is *proven* when its
source tuple was provably untouched by everything that the target's snapshot contains; every other one is in doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..driver import sql
from ..endpoint import Side
from .hashing import BLANK_PADDED, HashedColumn, column_hash, text_form
from .pairing import Half, Heap, Unit
from .readers import Pair, SortedRows
from .scan import Recipe, from_heap, in_leaves, int8_array, side_columns
from .snapshots import Place

# Types whose values a lookup by index finds again from their text form.
_LOOKED_UP = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "oid",
        "numeric",
        "uuid",
        "text",
        "character varying",
        "character",
        "name",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
        "bytea",
        "boolean",
    }
)
_COLLATED = frozenset({"text", "character varying", *BLANK_PADDED})
# Below this size one more scan of the table is cheap, and does not depend on an index being sound.
LOOKUP_ABOVE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Version:
    """One row version as one snapshot shows it: where it stands and what it holds."""

    heap: int
    ctid: str
    xmin: str
    content: int
    generated: int

    @property
    def place(self) -> Place:
        """What identifies this very tuple."""
        return self.heap, self.ctid, self.xmin


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of both sides that share an identity."""

    identity: int
    source: tuple[Version, ...] = ()
    target: tuple[Version, ...] = ()

    @property
    def differs(self) -> bool:
        """True when the two sides do not hold the same rows, as multisets."""
        if len(self.source) != len(self.target):
            return True
        return Counter((row.content, row.generated) for row in self.source) != Counter(
            (row.content, row.generated) for row in self.target
        )


@dataclass(frozen=True)
class Sighting:
    """What an earlier epoch saw of a group that differed."""

    horizon: int
    source_xmin: int
    source: frozenset[Place]
    target: frozenset[Place]
    source_untouched: bool


@dataclass(frozen=True)
class Probe:
    """The source as a fresh snapshot shows it: the raw xmax of each tuple that is still there, unchanged."""

    xmin: int
    xmax: Mapping[Place, int]


def is_untouched(place: Place, probe: Probe, horizon: int) -> bool:
    """True when no transaction that the target's snapshot contains has changed this source tuple.

    An updater stamps xmax before its commit record is written. So a tuple with xmax 0, read after the target's
    snapshot, was not changed by anything in it; and with another xmax neither, once every transaction that could be in
    it has ended (``probe.xmin >= horizon``) and the tuple is still there: a locker, or a change that was rolled back.
    """
    xmax = probe.xmax.get(place)
    return xmax is not None and (xmax == 0 or probe.xmin >= horizon)


def kind_of(group: Group, *, is_keyed: bool) -> str:
    """Name the difference of a group: missing, extra, changed or generated_only."""
    source = Counter(row.content for row in group.source)
    target = Counter(row.content for row in group.target)
    if source == target:
        return "generated_only"
    if not group.target or (not is_keyed and source.total() > target.total()):
        return "missing"
    if not group.source or (not is_keyed and target.total() > source.total()):
        return "extra"
    return "extra" if not source - target and target.total() > source.total() else "changed"


def is_proven(
    group: Group, untouched: frozenset[Place], earlier: Sequence[Sighting], source_xmin: int, *, is_keyed: bool
) -> bool:
    """True when the difference of a group between two *aligned* snapshots is real.

    ``untouched`` are the places of the group's source rows for which :func:`is_untouched` holds.

    - A key that stands on the source, untouched: the target must hold exactly that row.
    - Content without a key: each untouched row must be on the target, so fewer there than untouched ones is a loss.
    - Rows that only the target has: the same target tuple was there in an earlier epoch, and the present source
      snapshot sees all that was in that epoch's target (``horizon <= source_xmin``). Whatever put the tuple there is
      then visible, so whatever removed its row from the source is visible too and had been applied. Without a key a
      removal may hit an equal row, so the tuple must have lasted over two such intervals.
    """
    safe = sum(row.place in untouched for row in group.source)
    if group.source and is_keyed:
        return safe == len(group.source)
    if safe > len(group.target):
        return True
    if group.source and len(group.source) == len(group.target):
        return safe == len(group.source)
    present = frozenset(row.place for row in group.target)
    return len(lasting(present, earlier, source_xmin, intervals_for(is_keyed=is_keyed))) > len(group.source)


def intervals_for(*, is_keyed: bool) -> int:
    """Return over how many intervals a target tuple must have lasted to prove that the source has no row for it."""
    return 1 if is_keyed else 2


def lasting(
    present: frozenset[Place], earlier: Sequence[Sighting], source_xmin: int, intervals: int
) -> frozenset[Place]:
    """Return the target tuples that lasted over ``intervals`` intervals, each seen whole by the next epoch's source."""
    for sighting in reversed(earlier):
        if intervals == 0:
            break
        if sighting.horizon <= source_xmin:
            present &= sighting.target
            source_xmin = sighting.source_xmin
            intervals -= 1
    return present if intervals == 0 else frozenset()


def is_standing(group: Group, untouched: frozenset[Place], earlier: Sequence[Sighting], rounds: int) -> bool:
    """True when a difference between snapshots that nothing aligns has stood still on both sides in every round."""
    places = frozenset(row.place for row in group.source), frozenset(row.place for row in group.target)
    return (
        rounds > 1
        and len(earlier) >= rounds - 1
        and all((seen.source, seen.target) == places and seen.source_untouched for seen in earlier)
        and places[0] <= untouched
    )


_REWRITTEN = """
SELECT c.oid::bigint AS oid
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[]) AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)
"""


def rewritten(pair: Pair, side: Side, heaps: Sequence[int]) -> frozenset[int]:
    """Return those heaps (OIDs) of which a snapshot may have seen less than it should: TRUNCATE and rewrites are not MVCC-safe.

    Asked in the transaction that has read the rows, whose locks keep the table as it is. The catalog's row is the
    snapshot's, the function's answer the present one.
    """
    return frozenset(row["oid"] for row in pair.session(side).rows(_REWRITTEN, {"oids": list(heaps)}))


# --- reading rows ----------------------------------------------------------------------------------------------


def _versions_query(unit: Unit, half: Half, heap: Heap, recipe: Recipe, source: sql.Composable) -> sql.Composed:
    return sql.SQL(
        "SELECT {identity} AS identity, {content}, {generated}, k.ctid::pg_catalog.text, k.xmin::pg_catalog.text,"
        " {heap}::pg_catalog.int8{source}"
    ).format(
        heap=sql.Literal(heap.oid),
        identity=recipe.identity(unit, half),
        content=recipe.content(half),
        generated=recipe.generated(half),
        source=source,
    )


Found = dict[int, list[Version]]


def _collect(pair: Pair, side: Side, query: sql.Composed, into: Found) -> None:
    for identity, version in _versions(pair.tuples(side, query)):
        into.setdefault(identity, []).append(version)


def rows_of_leaves(
    pair: Pair, unit: Unit, recipe: Recipe, bits: int, leaves: Sequence[int], limit: int
) -> tuple[list[Group], bool]:
    """Read the rows of some leaves on both sides, inside an epoch; return the groups that differ.

    Both sides come sorted by identity and are merged as they come, so that memory holds only what differs: at most
    ``limit`` groups. The second result is false when there are more.
    """

    def open_side(side: Side) -> SortedRows:
        half = unit.half(side)
        parts = [
            _versions_query(
                unit, half, heap, recipe, from_heap(heap, in_leaves(recipe.identity(unit, half), bits, leaves))
            )
            for heap in half.heaps
        ]
        return pair.sorted_rows(side, parts)

    source, target = pair.both(open_side)
    groups: list[Group] = []
    try:
        for group in merged(_versions(source), _versions(target)):
            if group.differs:
                if len(groups) == limit:
                    return groups, False
                groups.append(group)
    finally:
        source.close()
        target.close()
    return groups, True


def _versions(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, Version]]:
    for identity, content, generated, ctid, xmin, heap in rows:
        yield identity, Version(heap, ctid, xmin, content, generated)


def merged(source: Iterable[tuple[int, Version]], target: Iterable[tuple[int, Version]]) -> Iterator[Group]:
    """Merge two streams of rows, each in the order of its identities, into groups."""
    left, right = groupby(source, _identity), groupby(target, _identity)
    here, there = _next(left), _next(right)
    while here is not None and there is not None:
        identity = min(here[0], there[0])
        is_here, is_there = here[0] == identity, there[0] == identity
        yield Group(identity, here[1] if is_here else (), there[1] if is_there else ())
        here = _next(left) if is_here else here
        there = _next(right) if is_there else there
    while here is not None:
        yield Group(here[0], source=here[1])
        here = _next(left)
    while there is not None:
        yield Group(there[0], target=there[1])
        there = _next(right)


def _identity(row: tuple[int, Version]) -> int:
    return row[0]


def _next(
    groups: Iterator[tuple[int, Iterator[tuple[int, Version]]]],
) -> tuple[int, tuple[Version, ...]] | None:
    for identity, rows in groups:
        return identity, tuple(version for _same, version in rows)
    return None


def rows_of_identities(
    pair: Pair,
    unit: Unit,
    recipe: Recipe,
    keys: Mapping[int, tuple[str, ...]],
    lookup_above_bytes: int,
    only: Side | None = None,
) -> list[Group]:
    """Read the rows with some identities (``keys`` maps them to the key's text forms) on both sides, inside an epoch.

    Returns every group that exists on either side, equal ones too. Large tables are looked up by key, where the key's
    types allow it; others are scanned. ``only`` reads one side. What an index of texts does not find is looked for in
    the heap (except with ``only``): after an upgrade of the system's collations such an index may miss what is there.
    """
    by_key = bool(unit.key) and unit.estimated_bytes >= lookup_above_bytes and can_look_up(unit)
    by_key = by_key and all(keys.values())

    def scan(side: Side, identities: Iterable[int], found: Found) -> None:
        half = unit.half(side)
        for heap in half.heaps:
            wanted = sql.SQL("{} = ANY({}::pg_catalog.int8[])").format(
                recipe.identity(unit, half), sql.Literal(int8_array(identities))
            )
            _collect(pair, side, _versions_query(unit, half, heap, recipe, from_heap(heap, wanted)), found)

    def read(side: Side) -> Found:
        half, found = unit.half(side), Found()
        if not by_key:
            scan(side, keys, found)
            return found
        for heap in half.heaps:
            source = lookup(half, heap, unit.key, list(keys.values()))
            _collect(pair, side, _versions_query(unit, half, heap, recipe, source), found)
        # A collation may call other keys equal than the text forms do.
        found = {identity: rows for identity, rows in found.items() if identity in keys}
        absent = keys.keys() - found.keys()
        if absent and only is None and is_found_by_text(unit):
            scan(side, absent, found)
        return found

    if only is not None:
        return _grouped(read(only), {}) if only == "source" else _grouped({}, read(only))
    return _grouped(*pair.both(read))


def can_look_up(unit: Unit) -> bool:
    """True when rows of the unit are found again through the text form of their key."""
    return all(unit.half(side).columns[p].base_type in _LOOKED_UP for side in ("source", "target") for p in unit.key)


def is_found_by_text(unit: Unit) -> bool:
    """True when an index of the unit's key depends on a collation, and so on what the system's library makes of it."""
    return any(
        unit.half(side).columns[position].base_type in _COLLATED
        for side in ("source", "target")
        for position in unit.key
    )


def lookup(half: Half, heap: Heap, key: Sequence[int], keys: Sequence[tuple[str, ...]]) -> sql.Composed:
    """Return ``FROM ONLY heap AS k WHERE (key) IN (...)``. Type names come from ``format_type``, quoted by the server."""
    columns = [half.columns[position] for position in key]
    arrays = sql.SQL(", ").join(
        sql.SQL("pg_catalog.unnest({}::pg_catalog.text[])").format(sql.Literal([parts[number] for parts in keys]))
        for number in range(len(columns))
    )
    names = [sql.Identifier(f"c{number}") for number in range(len(columns))]
    wanted = sql.SQL("({}) IN (SELECT {} FROM ROWS FROM ({}) AS w({}))").format(
        sql.SQL(", ").join(sql.SQL("k.{}").format(sql.Identifier(column.name)) for column in columns),
        sql.SQL(", ").join(
            sql.SQL("w.{}::{}").format(name, _type_of_lookup(column))
            for name, column in zip(names, columns, strict=True)
        ),
        arrays,
        sql.SQL(", ").join(names),
    )
    return from_heap(heap, wanted)


def _type_of_lookup(column: HashedColumn) -> sql.SQL:
    # Without a length, "character" is a type of one character.
    return sql.SQL("pg_catalog.bpchar" if column.base_type in BLANK_PADDED else column.base_type)


def _grouped(source: Found, target: Found) -> list[Group]:
    return [
        Group(identity, tuple(source.get(identity, ())), tuple(target.get(identity, ())))
        for identity in sorted(source.keys() | target.keys())
    ]


def at_places(places: Iterable[Place]) -> sql.Composed:
    """Return the condition that a row stands at one of some places of its heap."""
    ctids = "{" + ",".join(f'"{ctid}"' for _heap, ctid, _xmin in places) + "}"
    return sql.SQL("k.ctid = ANY({}::pg_catalog.tid[])").format(sql.Literal(ctids))


def by_heap(half: Half, places: Iterable[Place]) -> list[tuple[Heap, list[Place]]]:
    """Return the places of each heap that has any."""
    heaps: dict[int, list[Place]] = {}
    for place in places:
        heaps.setdefault(place[0], []).append(place)
    return [(heap, heaps[heap.oid]) for heap in half.heaps if heap.oid in heaps]


def texts_of_keys(pair: Pair, side: Side, unit: Unit, places: Iterable[Place]) -> dict[Place, tuple[str, ...]]:
    """Read the text forms of the keys of rows at some places, inside an epoch."""
    half = unit.half(side)
    forms = [text_form(half.columns[position]) for position in unit.key]
    return values_at(pair, side, half, forms, places)


def column_hashes(
    pair: Pair, side: Side, unit: Unit, recipe: Recipe, places: Iterable[Place]
) -> dict[Place, tuple[Any, ...]]:
    """Read one hash per column of rows at some places, inside an epoch; NULL is None."""
    columns: Sequence[HashedColumn] = side_columns(unit, side)
    hashes = [column_hash(column, recipe.seeds.column(n), recipe.rules, n) for n, column in enumerate(columns)]
    return values_at(pair, side, unit.half(side), hashes, places)


def values_at(
    pair: Pair, side: Side, half: Half, values: Sequence[sql.Composable], places: Iterable[Place]
) -> dict[Place, tuple[Any, ...]]:
    """Read expressions over the rows at some places, in the transaction that is open on that side."""
    found: dict[Place, tuple[Any, ...]] = {}
    for heap, wanted in by_heap(half, places):
        query = sql.SQL("SELECT {}{}").format(
            sql.SQL(", ").join([sql.SQL("k.ctid::pg_catalog.text"), sql.SQL("k.xmin::pg_catalog.text"), *values]),
            from_heap(heap, at_places(wanted)),
        )
        for ctid, xmin, *rest in pair.tuples(side, query):
            found[heap.oid, ctid, xmin] = tuple(rest)
    return found


def probe(pair: Pair, unit: Unit, recipe: Recipe, groups: Iterable[Group], snapshot_xmin: int) -> Probe:
    """Look at the source rows of some groups again, in the caller's fresh snapshot of the source.

    By place, not by key, so that no index is trusted. A tuple counts only while it holds the same content under the
    same identity: after VACUUM FULL another row of the same transaction may stand at its place.
    """
    half = unit.source
    seen = {row.place: (group.identity, row.content, row.generated) for group in groups for row in group.source}
    xmax: dict[Place, int] = {}
    values = [
        sql.SQL("k.xmax::pg_catalog.text"),
        recipe.identity(unit, half),
        recipe.content(half),
        recipe.generated(half),
    ]
    for place, (raw, *now) in values_at(pair, "source", half, values, seen).items():
        if seen.get(place) == tuple(now):
            xmax[place] = int(raw)
    return Probe(snapshot_xmin, xmax)
