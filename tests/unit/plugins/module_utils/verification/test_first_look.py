# SPDX-License-Identifier: GPL-3.0-or-later
"""How the first look cuts and groups what it reads, and adds up what comes back, without a server."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.verification.comparison import Comparison, within
from ansible_collections.seren.migrator.plugins.module_utils.verification.first_look import _Look, batches, ranges
from ansible_collections.seren.migrator.plugins.module_utils.verification.pairing import Half, Heap, Unit

MIB = 1024 * 1024


def comparison(name: str, size: int, heaps: int = 1, rounds: int = 1) -> Comparison:
    half = Half(tuple(Heap(number, "s", f"{name}{number}") for number in range(heaps)), ())
    return Comparison(Unit("s", name, half, half, (), 10, size), rounds=rounds)


@pytest.mark.parametrize(("blocks", "step"), [(0, 1), (1, 1), (2, 1), (7, 3), (9, 3), (10, 3), (4, 5), (5, 5)])
def test_ranges_of_blocks_hold_each_block_once_and_whatever_is_added(blocks: int, step: int) -> None:
    found = ranges(blocks, step)
    assert len(found) != 1
    for block in range(blocks + 5):
        holding = [r for r in found if r.start <= block and (r.end is None or block < r.end)]
        assert len(holding) == (1 if found else 0)


def test_small_tables_share_a_query_and_large_ones_have_their_own() -> None:
    small = [comparison(f"t{number}", 1 * MIB) for number in range(150)]
    large = comparison("large", 100 * MIB)
    wide = comparison("many partitions", 1 * MIB, heaps=300)
    again = comparison("again", 1, rounds=2)
    found = batches([large, *small[:70], wide, again, *small[70:]])
    assert [large] in found
    assert [wide] in found
    assert [again] in found
    shared = [group for group in found if len(group) > 1]
    assert [c for group in shared for c in group] == small
    assert all(sum(c.unit.estimated_bytes for c in group) <= 64 * MIB for group in shared)
    assert batches([]) == []


def test_sums_add_up_over_any_partitioning_and_leaves_that_differ_are_named() -> None:
    look = _Look(comparison("t", 1), 1)
    look.add("source", 0, 3, 10, 0)
    look.add("source", 1, 2, 7, 1)
    for leaf, rows, content, generated in ((0, 1, 4, 0), (0, 2, 6, 0), (1, 1, 3, 0), (1, 1, 4, 1)):
        look.add("target", leaf, rows, content, generated)
    assert look.differing() == {}
    assert look.rows == {"source": 5, "target": 5}
    look.add("target", 1, 0, 0, 1)  # a generated column
    look.add("target", 9, 1, 1, 0)  # a row more
    look.add("source", 4, 2, 5, 0)
    look.add("target", 4, 2, 6, 0)  # another content
    assert look.differing() == {1: 2, 4: 2, 9: 1}


def test_what_is_drilled_at_once_is_bounded_but_never_nothing() -> None:
    leaves = {1: 50, 2: 60, 3: 10}
    assert within(leaves, 5) == [1]
    assert within(leaves, 110) == [1, 2]
    assert within(leaves, 1000) == [1, 2, 3]
