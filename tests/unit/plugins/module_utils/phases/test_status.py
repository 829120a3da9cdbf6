# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.lag import TICK_S, SlotSample
from ansible_collections.seren.migrator.plugins.module_utils.phases.status import _samples, _worst


def reading(at_s: float, **lags: int | None) -> dict[str, SlotSample]:
    """One reading of some slots at the same time, each with its lag; the source stands at byte 1000."""
    return {
        slot: SlotSample(at_s, slot, {}, 1000, None if lag is None else 1000 - lag, 0, "streaming")
        for slot, lag in lags.items()
    }


def thinned(readings: list[dict[str, SlotSample]], interval_s: float = 1.0) -> list[dict[str, Any]]:
    return _samples(readings, interval_s)


def test_one_reading_is_one_sample() -> None:
    assert thinned([reading(50.0, a=7)]) == [
        {"elapsed": 0.0, "lag_bytes": 7, "insert_position": 1000, "confirmed_position": 993}
    ]


def test_samples_are_an_interval_apart_whatever_the_tick() -> None:
    rng = random.Random(5)
    for _round in range(200):
        at, readings = 100.0, [reading(100.0, a=1)]
        for _tick in range(60):
            at += TICK_S * rng.uniform(1.0, 1.1)
            readings.append(reading(at, a=1))
        elapsed = [sample["elapsed"] for sample in thinned(readings)]
        assert elapsed[0] == 0.0
        steps = [after - before for before, after in pairwise(elapsed)]
        assert all(1.0 - TICK_S <= step <= 1.0 + TICK_S for step in steps)
        assert len(steps) >= 9


def test_an_interval_shorter_than_the_tick_keeps_every_reading() -> None:
    assert len(thinned([reading(n * TICK_S, a=1) for n in range(5)], 0.01)) == 5


def test_a_sample_holds_the_worst_stream() -> None:
    assert thinned([reading(0.0, a=1, b=900)])[0] == {
        "elapsed": 0.0,
        "lag_bytes": 900,
        "insert_position": 1000,
        "confirmed_position": 100,
    }


def test_one_stream_that_is_unknown_makes_the_sample_unknown() -> None:
    sample = thinned([reading(0.0, a=1, b=None)])[0]
    assert (sample["lag_bytes"], sample["confirmed_position"]) == (None, None)


def test_a_reading_without_any_slot_is_no_sample() -> None:
    assert thinned([{}, reading(3.0, a=1), {}]) == [
        {"elapsed": 0.0, "lag_bytes": 1, "insert_position": 1000, "confirmed_position": 999}
    ]
    assert thinned([{}]) == []


@pytest.mark.parametrize(("values", "worst"), [([], None), ([1, None], None), ([0, 5], 5), ([0.0], 0.0)])
def test_the_worst_of_nothing_or_of_something_unknown_is_unknown(values: list[Any], worst: Any) -> None:
    assert _worst(values) == worst
