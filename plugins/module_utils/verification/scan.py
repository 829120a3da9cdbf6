# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The leaf grid: one pass over a whole table that locates differences to about two thousand rows.

Each row falls into a leaf by the hash of its key (or, without a key, of its content); a leaf answers its number of
rows and the sum of their hashes. Sums add up over partitions and over any order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..driver import sql
from ..endpoint import Side
from .hashing import HashedColumn, HashRules, Seeds, key_hash, row_hash
from .pairing import Half, Heap, Unit

ROWS_PER_LEAF = 2000
MAX_BITS = 16  # 65,536 groups: about 8 MB in a backend, 20 MB here
_GUESSED_ROW_BYTES = 100  # where a table was never analyzed


@dataclass(frozen=True)
class Recipe:
    """How this run hashes; the same on both sides."""

    rules: HashRules
    seeds: Seeds

    def content(self, half: Half) -> sql.Composable:
        """Return the expression of a row's content, generated columns apart."""
        return row_hash(half.columns, self.seeds, self.rules)

    def generated(self, half: Half) -> sql.Composable:
        """Return the expression of a row's generated columns."""
        return row_hash(half.generated, self.seeds, self.rules) if half.generated else sql.SQL("0::pg_catalog.int8")

    def identity(self, unit: Unit, half: Half) -> sql.Composable:
        """Return the expression by which a row finds its counterpart: the key's hash, or the content's."""
        return key_hash(half.columns, unit.key, self.seeds, self.rules) if unit.key else self.content(half)


@dataclass(frozen=True)
class Leaf:
    """Number of rows, sum of their hashes, sum of the hashes of their generated columns."""

    rows: int
    content: int
    generated: int

    def plus(self, other: Leaf) -> Leaf:
        """Return the sum of two leaves."""
        return Leaf(self.rows + other.rows, self.content + other.content, self.generated + other.generated)


Grid = dict[int, Leaf]


def bits_for(rows: int, table_bytes: int = 0) -> int:
    """Return how many bits of the hash make leaves of about two thousand rows; ``rows`` <= 0 is unknown."""
    expected = rows if rows > 0 else table_bytes // _GUESSED_ROW_BYTES
    return min(max((expected // ROWS_PER_LEAF).bit_length(), 0), MAX_BITS)


def mask_for(bits: int) -> int:
    """Return the mask that cuts a hash to ``bits`` bits."""
    return (1 << bits) - 1


def from_heap(heap: Heap, condition: sql.Composable | None = None) -> sql.Composed:
    """Return ``FROM ONLY heap AS k WHERE ...``. The predicate is the user's own SQL; its comments end with the line."""
    conditions: list[sql.Composable] = []
    if heap.predicate:
        conditions.append(sql.SQL("({}\n)").format(sql.SQL(heap.predicate)))
    if condition is not None:
        conditions.append(sql.SQL("({})").format(condition))
    clause = sql.SQL(" FROM ONLY {} AS k").format(sql.Identifier(heap.schema, heap.name))
    if conditions:
        clause = clause + sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    return clause


def grid_query(unit: Unit, half: Half, heap: Heap, recipe: Recipe, bits: int) -> sql.Composed:
    """Return the query of one heap's grid.

    OFFSET 0 keeps the subquery whole: parallel workers then compute the row hash and ship sixteen bytes a row, and the
    planner expects few groups and hashes them.
    """
    content = recipe.content(half)
    identity = recipe.identity(unit, half) if unit.key else sql.SQL("NULL::pg_catalog.int8")
    return sql.SQL(
        "SELECT coalesce(q.identity, q.content) & {mask} AS leaf, pg_catalog.count(*) AS rows,"
        " pg_catalog.sum(q.content) AS content, pg_catalog.sum(q.generated) AS generated"
        " FROM (SELECT {identity} AS identity, {content} AS content, {generated} AS generated{heap} OFFSET 0) AS q"
        " GROUP BY 1"
    ).format(
        mask=sql.Literal(mask_for(bits)),
        identity=identity,
        content=content,
        generated=recipe.generated(half),
        heap=from_heap(heap),
    )


def summed(rows: Iterable[tuple[Any, ...]], into: Grid) -> Grid:
    """Add the rows of a grid query to a grid."""
    for number, count, content, generated in rows:
        leaf = Leaf(int(count), int(content), int(generated))
        known = into.get(number)
        into[number] = leaf if known is None else known.plus(leaf)
    return into


def differing(source: Mapping[int, Leaf], target: Mapping[int, Leaf]) -> list[int]:
    """Return the numbers of the leaves that are not equal, in order."""
    return sorted(number for number in source.keys() | target.keys() if source.get(number) != target.get(number))


def rows_in(grid: Mapping[int, Leaf], leaves: Iterable[int] | None = None) -> int:
    """Return the number of rows in a grid, or in some of its leaves."""
    if leaves is None:
        return sum(leaf.rows for leaf in grid.values())
    return sum(grid[number].rows for number in leaves if number in grid)


def in_leaves(identity: sql.Composable, bits: int, leaves: Iterable[int]) -> sql.Composed:
    """Return the condition that a row's identity falls into some leaves."""
    return sql.SQL("({} & {}) = ANY({}::pg_catalog.int8[])").format(
        identity, sql.Literal(mask_for(bits)), sql.Literal(int8_array(leaves))
    )


def int8_array(values: Iterable[int]) -> str:
    """Return the text form of an array of numbers."""
    return "{" + ",".join(str(int(value)) for value in values) + "}"


def side_columns(unit: Unit, side: Side) -> tuple[HashedColumn, ...]:
    """Return the compared columns of one side, generated ones last."""
    half = unit.half(side)
    return half.columns + half.generated
