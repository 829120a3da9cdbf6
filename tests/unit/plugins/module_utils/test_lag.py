# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.lag import (
    Limits,
    SlotSample,
    StreamHealth,
    judge,
    lag_seconds,
)

LIMITS = Limits(max_lag_bytes=1000, max_lag_seconds=1.0)
HEALTHY = StreamHealth(
    number=1,
    problems=(),
    troubles=(),
    tables_waiting=0,
    lag_bytes=(0, 500, 1000),
    lag_seconds=0.5,
    has_progressed=True,
)


# --- seconds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "confirmed", "seconds"),
    [
        ([(10.0, 100)], 100, 0.0),
        ([(10.0, 100)], 150, 0.0),
        ([(10.0, 100)], 99, None),
        ([(0.0, 0), (1.0, 100)], 50, 0.5),
        ([(0.0, 0), (1.0, 100)], 0, 1.0),
        ([(0.0, 10), (1.0, 100)], 9, None),
        ([(0.0, 0), (1.0, 100), (2.0, 100)], 100, 0.0),
        ([(0.0, 0), (1.0, 100), (2.0, 100), (3.0, 200)], 100, 1.0),
        ([(0.0, 0), (1.0, 100), (5.0, 100), (6.0, 200)], 50, 5.5),
        ([(0.0, 100), (9.0, 100)], 99, None),
    ],
)
def test_lag_in_seconds_is_the_age_of_the_targets_position(
    history: list[tuple[float, int]], confirmed: int, seconds: float | None
) -> None:
    assert lag_seconds(history, confirmed) == seconds


def test_less_confirmed_is_never_less_lag_and_never_more_than_the_window() -> None:
    rng = random.Random(4)
    for _round in range(300):
        at, position, history = 0.0, 0, [(0.0, 0)]
        for _tick in range(rng.randint(1, 12)):
            at, position = at + rng.random(), position + rng.choice([0, rng.randint(1, 500)])
            history.append((at, position))
        found = [lag_seconds(history, confirmed) for confirmed in range(position, -1, -1)]
        assert all(value is not None and 0 <= value <= at for value in found)
        assert found == sorted(found, key=lambda value: -1.0 if value is None else value)
        assert found[0] == 0.0
        assert lag_seconds(history, -1) is None


def sample(**fields: Any) -> SlotSample:
    known: dict[str, Any] = {
        "at_s": 1.0,
        "slot": "s",
        "raw": {"active": True},
        "insert_position": 100,
        "confirmed_position": 40,
        "retained_bytes": 5,
        "walsender_state": "streaming",
    }
    return SlotSample(**{**known, **fields})


@pytest.mark.parametrize(("confirmed", "lag"), [(40, 60), (100, 0), (110, 0), (None, None)])
def test_lag_in_bytes_is_null_when_the_slot_has_no_position(confirmed: int | None, lag: int | None) -> None:
    assert sample(confirmed_position=confirmed).lag_bytes == lag


@pytest.mark.parametrize(
    ("active", "state", "streaming"),
    [
        (True, "streaming", True),
        (True, "catchup", True),
        (True, None, True),
        (True, "startup", False),
        (True, "stopping", False),
        (False, "streaming", False),
        (None, None, False),
    ],
)
def test_a_slot_streams_while_a_walsender_serves_it(active: bool | None, state: str | None, streaming: bool) -> None:
    assert sample(raw={"active": active}, walsender_state=state).is_streaming is streaming


# --- the state word ------------------------------------------------------------------------------------------------


def word(**changes: Any) -> str:
    return judge([replace(HEALTHY, **changes)], LIMITS)[0]


def test_full_evidence_is_in_sync_without_reasons() -> None:
    assert judge([HEALTHY], LIMITS) == ("in_sync", [])


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"lag_bytes": ()}, "catching_up"),
        ({"lag_bytes": (None,)}, "catching_up"),
        ({"lag_bytes": (0, None, 0)}, "catching_up"),
        ({"lag_bytes": (0, 1001, 0)}, "catching_up"),
        ({"lag_seconds": None}, "catching_up"),
        ({"lag_seconds": 1.001}, "catching_up"),
        ({"tables_waiting": 1}, "catching_up"),
        ({"tables_waiting": 1, "has_progressed": False}, "catching_up"),
        ({"lag_bytes": (), "has_progressed": False}, "stalled"),
        ({"lag_bytes": (2000, 2000), "lag_seconds": None, "has_progressed": False}, "stalled"),
        ({"troubles": ("no WAL sender",)}, "stalled"),
        ({"problems": ("the slot is gone",)}, "broken"),
        ({"problems": ("the slot is gone",), "troubles": ("no WAL sender",)}, "broken"),
        ({"has_progressed": False}, "in_sync"),
    ],
)
def test_each_missing_piece_of_evidence_has_its_word(changes: dict[str, Any], state: str) -> None:
    assert word(**changes) == state


# For each field: values that are evidence for being in sync, then values that are not.
EVIDENCE: dict[str, tuple[list[Any], list[Any]]] = {
    "problems": ([()], [("gone",)]),
    "troubles": ([()], [("no worker",)]),
    "tables_waiting": ([0], [1]),
    "lag_bytes": ([(0,), (1000, 0)], [(), (None,), (0, None), (1001,)]),
    "lag_seconds": ([0.0, 1.0], [None, 1.5]),
    "has_progressed": ([True, False], []),
}


def test_only_a_stream_with_every_piece_of_evidence_is_in_sync() -> None:
    names = list(EVIDENCE)
    for values in product(*(good + bad for good, bad in EVIDENCE.values())):
        given = dict(zip(names, values, strict=True))
        is_good = all(given[name] in EVIDENCE[name][0] for name in names)
        state, reasons = judge([replace(HEALTHY, **given)], LIMITS)
        assert (state == "in_sync") is is_good, given
        assert bool(reasons) is not is_good, given


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_stream_that_lags_is_enough(position: int) -> None:
    streams = [replace(HEALTHY, number=number) for number in (1, 2, 3)]
    streams[position] = replace(streams[position], lag_seconds=None)
    state, reasons = judge(streams, LIMITS)
    assert state == "catching_up"
    assert [reason.split(":")[0] for reason in reasons] == [f"stream {position + 1}"]


def test_no_stream_is_no_evidence() -> None:
    assert judge([], LIMITS) == ("broken", ["the migration has no stream"])


def test_a_broken_stream_outweighs_a_stalled_one() -> None:
    streams = [replace(HEALTHY, troubles=("slow",)), replace(HEALTHY, number=2, problems=("gone",))]
    assert judge(streams, LIMITS) == ("broken", ["stream 2: gone"])
