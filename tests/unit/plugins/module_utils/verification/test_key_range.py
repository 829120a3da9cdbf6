# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of a key tile it, whatever the bounds were chosen from."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import pairwise

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.verification.key_range import KeyRange, ranges, spread

LEAST, GREATEST = -(2**63), 2**63 - 1


def holds(span: KeyRange, value: int) -> bool:
    return (span.lower is None or value >= int(span.lower)) and (span.upper is None or value < int(span.upper))


def keys(chance: random.Random) -> list[int]:
    """Keys with gaps, dense stretches, duplicates and both ends of bigint."""
    found = [LEAST, GREATEST] if chance.random() < 0.5 else []
    for _stretch in range(chance.randint(1, 5)):
        start = chance.randint(LEAST, GREATEST - 1000)
        found += [start + chance.randint(0, chance.choice((3, 1000))) for _row in range(chance.randint(1, 200))]
    return sorted(found)


@pytest.mark.parametrize("seed", range(200))
def test_every_key_lies_in_exactly_one_range(seed: int) -> None:
    chance = random.Random(seed)
    rows = keys(chance)
    parts = chance.randint(2, 40)
    bounds = spread([(str(key), chance.choice((1.0, 0.5))) for key in rows], parts)
    assert list(bounds) == sorted(set(bounds), key=int)
    assert len(bounds) < parts
    spans = ranges("id", "int8", bounds)
    assert (spans[0].lower, spans[-1].upper) == (None, None)
    asked = {*rows, LEAST, GREATEST, 0, *(int(b) + d for b in bounds for d in (-1, 0, 1))}
    for key in asked:
        assert [span.number for span in spans if holds(span, key)] == [bisect_right([int(b) for b in bounds], key) + 1]


def test_ranges_are_about_equal() -> None:
    bounds = spread([(str(key), 1.0) for key in range(10_000)], 8)
    sizes = [int(b) - int(a) for a, b in zip(("0", *bounds), (*bounds, "10000"), strict=True)]
    assert len(sizes) == 8
    assert max(sizes) - min(sizes) <= 2


def test_a_key_that_fills_several_parts_makes_no_tiny_ranges() -> None:
    values = [("1", 1.0), ("2", 700.0), *((str(n), 1.0) for n in range(3, 300))]
    bounds = spread(values, 10)
    assert bounds[0] == "3"
    assert all(int(b) - int(a) > 50 for a, b in pairwise(bounds))


def test_one_part_or_one_value_is_not_cut() -> None:
    assert spread([("1", 1.0), ("2", 1.0)], 1) == ()
    assert spread([("1", 1.0)], 5) == ()
    assert spread([], 5) == ()
