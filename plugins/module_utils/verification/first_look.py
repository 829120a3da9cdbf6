# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The first look of an epoch: sum up whole tables on both sides at once, and locate what differs in leaves.

What stands still is asked for its total first, which costs the servers little more than half of a grid; what is
written to will differ somewhere, and is asked for its grid at once. Small tables share a query, large heaps are read in
ranges of blocks by several connections; the sums add up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..driver import sql
from ..endpoint import Side
from ..errors import Redactor
from .comparison import Comparison, Leaves, Limits, obstructed
from .lanes import Lanes, Task
from .pairing import Heap, Unit
from .readers import Connections, Pair, Pairs
from .rows import rewritten
from .scan import Blocks, Recipe, bits_for, grid_query
from .snapshots import Epoch

# Tables of at most this size share a query, as long as all of it stays within the second and third number.
_SMALL_BYTES = 8 * 1024 * 1024
_BATCH_BYTES = 64 * 1024 * 1024
_BATCH_HEAPS = 100
_ROWS_PER_LEAF_AND_RANGE = 256  # otherwise the grids of the ranges become the traffic
_BLOCK_BYTES = 8192  # as a rule; only limits of speed rest on it
_TID_RANGE_SCANS = 140000  # before 14 each range would read the whole heap

_SIZES = """
SELECT c.oid::bigint AS oid, pg_catalog.pg_relation_size(c.oid, 'main') AS bytes,
       pg_catalog.current_setting('block_size')::bigint AS block
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[])
"""
_REASON_REWRITTEN = "rewritten (TRUNCATE, VACUUM FULL, ALTER TABLE) while it was read"

Parts = Mapping[tuple[Side, int], Sequence[Blocks]]  # by side and OID of a heap


@dataclass
class _Look:
    """One table's sums as they come in. A tally is, for each leaf, rows here, rows there, and what the sums differ by."""

    comparison: Comparison
    bits: int
    started: float = 0.0
    open_tasks: int = 0
    rows: dict[Side, int] = field(default_factory=lambda: {"source": 0, "target": 0})
    tally: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    is_over: bool = False

    def add(self, side: Side, leaf: int, rows: int, content: int, generated: int) -> None:
        """Add the sums of some rows."""
        here, there, contents, generateds = self.tally.get(leaf, (0, 0, 0, 0))
        self.rows[side] += rows
        self.tally[leaf] = (
            (here + rows, there, contents + content, generateds + generated)
            if side == "source"
            else (here, there + rows, contents - content, generateds - generated)
        )

    def differing(self) -> dict[int, int]:
        """Return the leaves that are not equal, each with its number of rows on the side that has more."""
        return {
            leaf: max(here, there)
            for leaf, (here, there, content, generated) in sorted(self.tally.items())
            if here != there or content or generated
        }


@dataclass(frozen=True)
class FirstLook:
    """One round's look at tables of which nothing is known yet."""

    pairs: Pairs
    epoch: Epoch
    recipe: Recipe
    limits: Limits
    redactor: Redactor

    def take(
        self,
        comparisons: Sequence[Comparison],
        busy: Collection[int],
        connections: Connections,
        tick: Callable[[], None],
    ) -> None:
        """Look at the tables; settle those that are equal, give the others their leaves.

        ``busy`` are OIDs of heaps of the source that are written to.
        """
        if not comparisons:
            return
        parts = self._parts(comparisons)
        tasks = [task for group in batches(comparisons) for task in self._begin(group, parts, busy)]
        Lanes(self.pairs, self.epoch).run(tasks, tick, connections.stop)

    # --- what to ask -------------------------------------------------------------------------------------------

    def _parts(self, comparisons: Sequence[Comparison]) -> Parts:
        """Cut large heaps of both sides into ranges of blocks, where the server reads a range without the rest."""
        found: dict[tuple[Side, int], Sequence[Blocks]] = {}
        # A range of the key is read through its index.
        whole = [c.unit for c in comparisons if c.unit.span is None]
        large = [unit for unit in whole if unit.estimated_bytes > self.limits.range_bytes_min]
        if not large:
            return found
        jobs = len(self.pairs.all)

        def measure(side: Side) -> Iterator[tuple[tuple[Side, int], Sequence[Blocks]]]:
            session = pair.session(side)
            if session.connection.info.server_version < _TID_RANGE_SCANS:
                return
            oids = [heap.oid for unit in large for heap in unit.half(side).heaps]
            for row in session.rows(_SIZES, {"oids": oids}):
                size = row["bytes"] or 0
                step = min(max(size // (4 * jobs), self.limits.range_bytes_min), self.limits.range_bytes_max)
                yield (side, row["oid"]), ranges(size // row["block"], max(step // row["block"], 1))

        with self.pairs.one() as pair:
            for measured in pair.both(lambda side: list(measure(side))):
                found.update(measured)
        return found

    def _begin(self, group: Sequence[Comparison], parts: Parts, busy: Collection[int]) -> Iterator[Task]:
        if len(group) > 1:
            yield from self._together([_Look(comparison, 0) for comparison in group])
            return
        unit = group[0].unit
        is_busy = unit.estimated_bytes > _SMALL_BYTES and any(heap.oid in busy for heap in unit.source.heaps)
        is_known_to_differ = group[0].rounds > 1
        bits = self._bits(unit, unit.estimated_rows, parts) if is_busy or is_known_to_differ else 0
        yield from self._alone(_Look(group[0], bits), parts)

    def _bits(self, unit: Unit, rows: int, parts: Parts) -> int:
        bits = bits_for(rows, unit.estimated_bytes)
        count = max((len(parts.get(("source", heap.oid), ())) for heap in unit.source.heaps), default=0)
        if count > 1 and rows > 0:
            bits = min(bits, max((rows // count // _ROWS_PER_LEAF_AND_RANGE).bit_length() - 1, 0))
        return bits

    def _query(self, look: _Look, side: Side, heap: Heap, blocks: Blocks | None, number: int) -> sql.Composed:
        unit = look.comparison.unit
        return grid_query(unit, unit.half(side), heap, self.recipe, look.bits, blocks, number)

    def _alone(self, look: _Look, parts: Parts) -> Iterator[Task]:
        """Yield the tasks of one table: a query for each heap, or for each of its ranges."""
        unit = look.comparison.unit
        wanted: list[tuple[Side, Heap, Blocks | None]] = []
        for side in ("source", "target"):
            for heap in unit.half(side).heaps:
                wanted += [(side, heap, blocks) for blocks in parts.get((side, heap.oid)) or (None,)]
        look.open_tasks = len(wanted)
        if not wanted:  # a partitioned table without partitions, on both sides
            look.comparison.source_rows = look.comparison.target_rows = 0
            look.comparison.settle("verified")
        for side, heap, blocks in wanted:
            yield self._task(side, [(look, heap, blocks)], parts)

    def _together(self, looks: Sequence[_Look]) -> Iterator[Task]:
        """Yield one task for each side, for several small tables."""
        for side in ("source", "target"):
            members = [(look, heap, None) for look in looks for heap in look.comparison.unit.half(side).heaps]
            for look in looks:
                look.open_tasks += 1
            yield self._task(side, members, {}, looks)

    def _task(
        self,
        side: Side,
        members: Sequence[tuple[_Look, Heap, Blocks | None]],
        parts: Parts,
        shared_by: Sequence[_Look] = (),
    ) -> Task:
        looks = list(shared_by) or [members[0][0]]
        numbers = {id(look): number for number, look in enumerate(looks)}

        amount = sum(_bytes_of(look.comparison.unit, heap, blocks) for look, heap, blocks in members)

        def read(pair: Pair) -> tuple[list[tuple[Any, ...]], frozenset[int]]:
            self.limits.before_reading(side, amount)
            started = time.monotonic()
            for look in looks:
                look.started = look.started or started
            rows: list[tuple[Any, ...]] = []
            if members:
                queries = [self._query(look, side, heap, blocks, numbers[id(look)]) for look, heap, blocks in members]
                rows = pair.tuples(side, sql.SQL(" UNION ALL ").join(queries))
            return rows, rewritten(pair, side, [heap.oid for _look, heap, _blocks in members])

        def done(answer: tuple[list[tuple[Any, ...]], frozenset[int]]) -> Iterable[Task]:
            rows, anew = answer
            for number, leaf, count, content, generated in rows:
                looks[number].add(side, leaf, int(count), int(content or 0), int(generated or 0))
            for look, heap, _blocks in members:
                if heap.oid in anew and not look.is_over:
                    look.is_over = True
                    look.comparison.start_over(_REASON_REWRITTEN)
            return [task for look in looks for task in self._closed(look, parts, len(looks))]

        def failed(error: Exception) -> Iterable[Task]:
            if not shared_by:
                self._failed(looks[0], error)
                return ()
            again = []
            for look in shared_by:  # one of them is at fault: each by itself
                heaps = look.comparison.unit.half(side).heaps
                look.open_tasks += len(heaps) - 1
                again += [self._task(side, [(look, heap, None)], {}) for heap in heaps]
                again += [] if heaps else self._closed(look, {}, 1, ended=0)
            return again

        return Task(side, read, done, failed)

    # --- what came of it ---------------------------------------------------------------------------------------

    def _failed(self, look: _Look, error: Exception) -> None:
        look.open_tasks -= 1
        if not look.is_over:
            look.is_over = True
            obstructed(look.comparison, error, self.redactor)

    def _closed(self, look: _Look, parts: Parts, shared_by: int, ended: int = 1) -> Iterable[Task]:
        """Count one answer of a table; after the last, draw the conclusion."""
        look.open_tasks -= ended
        comparison = look.comparison
        comparison.rows_read = look.rows["source"]
        if look.open_tasks or look.is_over:
            return ()
        look.is_over = True
        comparison.seconds += (time.monotonic() - look.started) / shared_by
        comparison.source_rows, comparison.target_rows = look.rows["source"], look.rows["target"]
        leaves = look.differing()
        if not leaves:
            comparison.conclude()
            return ()
        finer = self._bits(comparison.unit, max(look.rows.values()), parts)
        if finer > look.bits and (look.bits == 0 or sum(leaves.values()) > self.limits.rows_drilled):
            return self._alone(_Look(comparison, finer), parts)
        comparison.leaves = Leaves(look.bits, leaves)
        return ()


def _bytes_of(unit: Unit, heap: Heap, blocks: Blocks | None) -> int:
    """Return about how many bytes are read of a heap. What follows the last full range is less than one."""
    if blocks is not None:
        return 0 if blocks.end is None else (blocks.end - blocks.start) * _BLOCK_BYTES
    return unit.estimated_bytes // max(len(unit.source.heaps), 1)


def ranges(blocks: int, step: int) -> list[Blocks]:
    """Cut ``blocks`` blocks into ranges of about ``step``; the last has no end, because the heap may have grown.

    A single range is none: an empty list.
    """
    starts = list(range(0, max(blocks, 1), step))
    if len(starts) < 2:
        return []
    return [Blocks(start, following) for start, following in zip(starts, [*starts[1:], None], strict=True)]


def batches(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """Put small tables together, as far as one query should go; the others stay alone, in their order."""
    found: list[list[Comparison]] = []
    shared: list[Comparison] = []
    size = heaps = 0
    for comparison in comparisons:
        unit = comparison.unit
        count = max(len(unit.source.heaps), len(unit.target.heaps))
        if unit.estimated_bytes > _SMALL_BYTES or count > _BATCH_HEAPS or comparison.rounds > 1:
            found.append([comparison])
            continue
        if shared and (size + unit.estimated_bytes > _BATCH_BYTES or heaps + count > _BATCH_HEAPS):
            found.append(shared)
            shared, size, heaps = [], 0, 0
        shared.append(comparison)
        size += unit.estimated_bytes
        heaps += count
    return [*found, shared] if shared else found
