# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which tables are compared in ranges of their key, each of which is looked at, proven and remembered by itself.

Only where both sides order the key alike and store the rows about in its order: elsewhere a range costs as much as the
whole table, which is then compared as one, within one pair of snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from ..session import Session
from .key_range import ORDERED_ALIKE, ranges, spread
from .pairing import Unit
from .snapshots import reading

CORRELATION_MIN = 0.8
MAX_RANGES = 1000
_SAMPLE_ROWS = 20_000
# A histogram cuts well into half as many parts as it has bounds; for more, or without one, rows are sampled.
_BOUNDS_PER_PART = 2

# A heap without statistics has neither correlation nor histogram; ones that hold next to nothing do not matter.
_HEAPS = """
SELECT w.number, w.oid::bigint AS oid, pg_catalog.pg_relation_size(c.oid, 'main') AS bytes, s.correlation,
       coalesce(pg_catalog.array_length(s.histogram_bounds::text::text[], 1), 0) AS bounds,
       a.attnotnull AND EXISTS (
         SELECT 1
           FROM pg_catalog.pg_index AS i
           JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
           JOIN pg_catalog.pg_am AS m ON m.oid = x.relam AND m.amname = 'btree'
          WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum) AS is_indexed
  FROM ROWS FROM (pg_catalog.unnest(%(oids)s::oid[]), pg_catalog.unnest(%(columns)s::text[]),
                  pg_catalog.unnest(%(numbers)s::integer[])) AS w(oid, name, number)
  JOIN pg_catalog.pg_class AS c ON c.oid = w.oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = w.name
  LEFT JOIN pg_catalog.pg_stats AS s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
"""


@dataclass(frozen=True)
class _Heap:
    """What a side says of one heap: ``correlation`` is None and ``bounds`` 0 without statistics."""

    oid: int
    bytes: int
    correlation: float | None
    bounds: int
    is_indexed: bool


Bounds = Mapping[tuple[str, str], Sequence[str]]  # of tables (schema, name) that are cut


def cut(
    units: Sequence[Unit], source: Session, target: Session, sizes: tuple[int, int], known: Bounds
) -> tuple[list[Unit], dict[tuple[str, str], tuple[str, ...]]]:
    """Return the units, large ones in ranges of their key where that pays, and the bounds of these.

    ``sizes`` are the bytes up to which a table stays whole, and those of its parts otherwise; ``known`` are bounds by
    which tables have been cut before, and are again.
    """
    chosen = {number: unit for number, unit in enumerate(units) if is_rangeable(unit)}
    whole_bytes, part_bytes = sizes
    chosen = {n: u for n, u in chosen.items() if u.estimated_bytes > whole_bytes or (u.schema, u.name) in known}
    new = {number: unit for number, unit in chosen.items() if (unit.schema, unit.name) not in known}
    here, there = _heaps(source, "source", new), _heaps(target, "target", new)
    found: list[Unit] = []
    cuts: dict[tuple[str, str], tuple[str, ...]] = {}
    for number, unit in enumerate(units):
        bounds: tuple[str, ...] = ()
        if number in new:
            parts = min(-(-unit.estimated_bytes // part_bytes), MAX_RANGES)
            if _is_in_order(target, "target", unit, there.get(number, ())):
                bounds = _bounds(source, unit, here.get(number, ()), parts)
        elif number in chosen:
            bounds = tuple(known[unit.schema, unit.name])
        if not bounds:
            found.append(unit)
            continue
        cuts[unit.schema, unit.name] = bounds
        column = unit.source.columns[unit.key[0]]
        found += [unit.confined(span) for span in ranges(column.name, ORDERED_ALIKE[column.base_type], bounds)]
    return found, cuts


def is_rangeable(unit: Unit) -> bool:
    """True when the first column of the key is ordered alike on both sides."""
    if not unit.key or not unit.source.heaps:
        return False
    here, there = (unit.half(side).columns[unit.key[0]].base_type for side in ("source", "target"))
    return here in ORDERED_ALIKE and ORDERED_ALIKE[here] == ORDERED_ALIKE.get(there)


def _heaps(session: Session, side: Side, units: Mapping[int, Unit]) -> dict[int, list[_Heap]]:
    """Read what is known of the heaps of some units, by the units' numbers."""
    found: dict[int, list[_Heap]] = {number: [] for number in units}
    if not units:
        return found
    wanted = [
        (heap.oid, unit.half(side).columns[unit.key[0]].name, number)
        for number, unit in units.items()
        for heap in unit.half(side).heaps
    ]
    parameters = {"oids": [w[0] for w in wanted], "columns": [w[1] for w in wanted], "numbers": [w[2] for w in wanted]}
    for row in session.rows(_HEAPS, parameters):
        found[row.pop("number")].append(_Heap(**row))
    return found


def _is_in_order(session: Session, side: Side, unit: Unit, heaps: Sequence[_Heap]) -> bool:
    """True when all that is stored is found by an index on the key's first column, and lies about in its order."""
    total = sum(heap.bytes for heap in heaps)
    if len(heaps) != len(unit.half(side).heaps) or not total or not all(heap.is_indexed for heap in heaps):
        return False
    for heap in heaps:
        if heap.bytes * 20 < total:
            continue
        correlation = heap.correlation
        if correlation is None:
            correlation = _sampled_correlation(session, side, unit, heap)
        if correlation is None or abs(correlation) < CORRELATION_MIN:
            return False
    return True


def _bounds(source: Session, unit: Unit, heaps: Sequence[_Heap], parts: int) -> tuple[str, ...]:
    """Return bounds that cut the rows of the source into about equal parts; none where that would not pay."""
    if parts < 2 or not _is_in_order(source, "source", unit, heaps):
        return ()
    column = unit.source.columns[unit.key[0]]
    by_oid = {heap.oid: heap for heap in heaps}
    has_histograms = all(heap.bounds >= _BOUNDS_PER_PART * parts for heap in heaps)
    queries = []
    for heap in unit.source.heaps:
        known = by_oid[heap.oid]
        if has_histograms:
            values = sql.SQL(
                "SELECT pg_catalog.unnest(s.histogram_bounds::text::{type}[]) AS v, {weight}::float8 AS w"
                " FROM pg_catalog.pg_stats AS s WHERE s.schemaname = {schema} AND s.tablename = {table}"
                " AND s.attname = {column} AND NOT s.inherited"
            ).format(
                type=_type(unit),
                weight=sql.Literal(known.bytes / known.bounds),
                schema=sql.Literal(heap.schema),
                table=sql.Literal(heap.name),
                column=sql.Literal(column.name),
            )
        else:
            values = sql.SQL("SELECT k.{column}::{type} AS v, 1::float8 AS w FROM ONLY {heap} AS k {sample}").format(
                column=sql.Identifier(column.name),
                type=_type(unit),
                heap=sql.Identifier(heap.schema, heap.name),
                sample=_sample(unit),
            )
        queries.append(sql.SQL("({})").format(values))
    query = sql.SQL("SELECT q.v::text AS v, pg_catalog.sum(q.w) AS w FROM ({}) AS q GROUP BY q.v ORDER BY q.v").format(
        sql.SQL(" UNION ALL ").join(queries)
    )
    with reading(source):
        return spread([(row["v"], float(row["w"])) for row in source.rows(query)], parts)


def _sampled_correlation(session: Session, side: Side, unit: Unit, heap: _Heap) -> float | None:
    """Return how well the order of the rows of a heap follows the key's, by a sample; None when it cannot be told."""
    half = unit.half(side)
    named = next(each for each in half.heaps if each.oid == heap.oid)
    query = sql.SQL(
        "SELECT pg_catalog.corr(q.a, q.b) AS correlation"
        " FROM (SELECT pg_catalog.row_number() OVER (ORDER BY k.ctid) AS a,"
        " pg_catalog.row_number() OVER (ORDER BY k.{}) AS b FROM ONLY {} AS k {}) AS q"
    ).format(
        sql.Identifier(half.columns[unit.key[0]].name),
        sql.Identifier(named.schema, named.name),
        _sample(unit),
    )
    with reading(session):
        found = session.value(query)
    return None if found is None else float(found)


def _sample(unit: Unit) -> sql.Composed:
    """Return the clause that samples about :data:`_SAMPLE_ROWS` rows, or reads all of a table whose rows are unknown."""
    rows = unit.estimated_rows or unit.estimated_bytes // 100
    return sql.SQL("TABLESAMPLE SYSTEM ({})").format(sql.Literal(min(100.0, 100.0 * _SAMPLE_ROWS / max(rows, 1))))


def _type(unit: Unit) -> sql.Identifier:
    return sql.Identifier("pg_catalog", ORDERED_ALIKE[unit.source.columns[unit.key[0]].base_type])
