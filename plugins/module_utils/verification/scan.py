# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a scan asks of a server: the sums of whole tables, and the leaf grid that locates differences to two thousand rows.

Each row falls into a leaf by the hash of its key (or, without a key, of its content); a leaf answers its number of
rows and the sum of their hashes. Sums add up over partitions, over ranges of blocks and over any order of rows. A total
is a grid of one leaf, which a server sums up in little more than half the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from .hashing import HashedColumn, HashRules, Seeds, key_hash, row_hash
from .pairing import Half, Heap, Unit

ROWS_PER_LEAF = 2000
MAX_BITS = 16  # 65,536 groups: about 8 MB in a backend, 20 MB here
_GUESSED_ROW_BYTES = 100  # where a table was never analyzed
# The second hash of a strong comparison is added above the first, where sums of 64-bit numbers do not reach.
_ABOVE = 1 << 96


@dataclass(frozen=True)
class Recipe:
    """How this run hashes; the same on both sides. ``is_strong``: each row by two independent hashes, 128 bits."""

    rules: HashRules
    seeds: Seeds
    is_strong: bool = False

    def hashes(self, columns: Sequence[HashedColumn]) -> tuple[sql.Composable, ...]:
        """Return the expressions that hash a row by ``columns``: one, or two; none without columns."""
        if not columns:
            return ()
        first = row_hash(columns, self.seeds, self.rules)
        return (first, row_hash(columns, self.seeds.second(), self.rules)) if self.is_strong else (first,)

    def contents(self, half: Half) -> tuple[sql.Composable, ...]:
        """Return the expressions of a row's content, generated columns apart; a row without columns has one, too."""
        return self.hashes(half.columns) or (row_hash((), self.seeds, self.rules),)

    def content(self, half: Half) -> sql.Composable:
        """Return the expression of a row's content as one number, generated columns apart."""
        return _joined(self.contents(half))

    def generated(self, half: Half) -> sql.Composable:
        """Return the expression of a row's generated columns."""
        return _joined(self.hashes(half.generated))

    def identity(self, unit: Unit, half: Half) -> sql.Composable:
        """Return the expression by which a row finds its counterpart: the key's hash, or the content's."""
        if unit.key:
            return key_hash(half.columns, unit.key, self.seeds, self.rules)
        return row_hash(half.columns, self.seeds, self.rules)


def _joined(hashes: Sequence[sql.Composable]) -> sql.Composable:
    """Return one number that holds both hashes, or the only one; 0 without any."""
    if not hashes:
        return sql.SQL("0::pg_catalog.int8")
    if len(hashes) == 1:
        return hashes[0]
    return sql.SQL("({} + {} * {}::pg_catalog.numeric)").format(*hashes, sql.Literal(str(_ABOVE)))


@dataclass(frozen=True)
class Blocks:
    """Blocks of a heap from ``start`` up to, not including, ``end``; None is the last there is."""

    start: int
    end: int | None

    def condition(self) -> sql.Composed:
        """Return the condition that a row stands in these blocks."""
        limits = [sql.SQL("k.ctid >= {}::pg_catalog.tid").format(sql.Literal(f"({self.start},0)"))]
        if self.end is not None:
            limits.append(sql.SQL("k.ctid < {}::pg_catalog.tid").format(sql.Literal(f"({self.end},0)")))
        return sql.SQL(" AND ").join(limits)


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
    if heap.span is not None:
        conditions.append(heap.span.condition())
    if condition is not None:
        conditions.append(sql.SQL("({})").format(condition))
    clause = sql.SQL(" FROM ONLY {} AS k").format(sql.Identifier(heap.schema, heap.name))
    if conditions:
        clause = clause + sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    return clause


def grid_query(
    unit: Unit, half: Half, heap: Heap, recipe: Recipe, bits: int, blocks: Blocks | None = None, number: int = 0
) -> sql.Composed:
    """Return the query of the grid of one heap, or of some of its blocks.

    Its rows are: ``number`` as it was given, leaf, rows, sum of the contents, sum of the generated columns.

    OFFSET 0 keeps the subquery whole: parallel workers then compute the row hash and ship sixteen bytes a row, and the
    planner expects few groups and hashes them. Without leaves they add up by themselves, and no subquery is needed.
    """
    contents, generated = recipe.contents(half), recipe.hashes(half.generated)
    source = from_heap(heap, blocks.condition() if blocks else None)
    if bits == 0:
        return sql.SQL("SELECT {}::pg_catalog.int8, 0::pg_catalog.int8, pg_catalog.count(*), {}, {}{}").format(
            sql.Literal(number), _summed(contents), _summed(generated), source
        )
    leaf = sql.SQL("{} & {}").format(
        recipe.identity(unit, half) if unit.key else sql.SQL("q.c0"), sql.Literal(mask_for(bits))
    )
    inner = [sql.SQL("{} AS leaf").format(leaf)] if unit.key else []
    names: dict[str, list[sql.Composable]] = {"c": [], "g": []}
    for letter, hashes in (("c", contents), ("g", generated)):
        for position, expression in enumerate(hashes):
            name = sql.Identifier(f"{letter}{position}")
            inner.append(sql.SQL("{} AS {}").format(expression, name))
            names[letter].append(sql.SQL("q.{}").format(name))
    return sql.SQL(
        "SELECT {number}::pg_catalog.int8, {leaf}, pg_catalog.count(*), {contents}, {generated}"
        " FROM (SELECT {inner}{source} OFFSET 0) AS q GROUP BY 2"
    ).format(
        number=sql.Literal(number),
        leaf=sql.SQL("q.leaf") if unit.key else leaf,
        contents=_summed(names["c"]),
        generated=_summed(names["g"]),
        inner=sql.SQL(", ").join(inner),
        source=source,
    )


def _summed(hashes: Sequence[sql.Composable]) -> sql.Composable:
    """Return the expression of a sum over rows; for two hashes it holds both."""
    return _joined([sql.SQL("pg_catalog.sum({})").format(expression) for expression in hashes])


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
