# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.gates import (
    Forecast,
    Limits,
    forecast,
    is_copied,
    is_in_sync,
    judge,
    remaining_bytes,
)

LIMITS = Limits(max_lag_bytes=1000, max_lag_seconds=1.0)
GOOD = {"state": "in_sync", "lag_bytes": 10, "lag_seconds": 0.5}
MISSING = object()


def changed(**changes):
    sample = {**GOOD, **changes}
    return {key: value for key, value in sample.items() if value is not MISSING}


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (GOOD, True),
        (changed(lag_bytes=0, lag_seconds=0), True),
        (changed(lag_bytes=1000, lag_seconds=1.0), True),
        (changed(lag_bytes=1001), False),
        (changed(lag_seconds=1.01), False),
        (changed(lag_bytes=None), False),
        (changed(lag_seconds=None), False),
        (changed(lag_bytes=MISSING), False),
        (changed(lag_seconds=MISSING), False),
        (changed(lag_bytes=-1), False),
        (changed(lag_seconds=-0.1), False),
        (changed(lag_bytes=True), False),
        (changed(lag_bytes="0"), False),
        (changed(lag_bytes=""), False),
        (changed(lag_seconds=float("nan")), False),
        (changed(lag_bytes=float("inf")), False),
        (changed(state="catching_up"), False),
        (changed(state="stalled"), False),
        (changed(state="copied"), False),
        (changed(state=None), False),
        (changed(state=MISSING), False),
        (changed(state="IN_SYNC"), False),
        ({}, False),
    ],
)
def test_only_positive_evidence_opens_the_lag_gate(sample, expected):
    assert is_in_sync(sample, LIMITS) is expected
    assert judge(sample, "in_sync", LIMITS) == ("ready" if expected else "waiting")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("copied", True),
        ("catching_up", True),
        ("in_sync", True),
        ("copying", False),
        ("stalled", False),
        ("absent", False),
        ("broken", False),
        (None, False),
        ("", False),
        ("unheard_of", False),
    ],
)
def test_only_a_state_behind_the_copy_counts_as_copied(state, expected):
    assert is_copied({"state": state}) is expected


@pytest.mark.parametrize(
    ("sample", "until", "expected"),
    [
        ({"state": "catching_up"}, "copied", "ready"),
        ({"state": "copying"}, "copied", "waiting"),
        ({"state": "broken"}, "in_sync", "failed"),
        ({"state": "absent"}, "copied", "failed"),
        ({"state": "cut_over"}, "in_sync", "over"),
        ({"state": "rolled_back"}, "copied", "over"),
        ({"failed": True, **GOOD}, "in_sync", "waiting"),
        ({"failed": True, "state": "broken"}, "in_sync", "waiting"),
        (GOOD, "a word that does not exist", "waiting"),
    ],
)
def test_a_sample_is_judged_by_what_is_waited_for(sample, until, expected):
    assert judge(sample, until, LIMITS) == expected


def lag(elapsed, lag_bytes, state="catching_up"):
    return {"elapsed": elapsed, "state": state, "lag_bytes": lag_bytes}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], Forecast(None, None)),
        ([lag(0, 1000)], Forecast(None, None)),
        ([lag(0, 1000), lag(10, 500)], Forecast(50.0, 10.0)),
        ([lag(0, 500), lag(10, 1000)], Forecast(-50.0, None)),
        ([lag(0, 500), lag(10, 500)], Forecast(0.0, None)),
        ([lag(0, 500), lag(10, 0)], Forecast(50.0, 0.0)),
        ([lag(0, 500), lag(10, None)], Forecast(None, None)),
        ([lag(0, 1000), lag(5, None), lag(10, 500)], Forecast(50.0, 10.0)),
        ([lag(5, 1000), lag(5, 500)], Forecast(None, None)),
        # The copy's bytes and the lag's are not compared.
        ([lag(0, 9000, "copying"), lag(10, 500)], Forecast(None, None)),
        # Only the last minute counts.
        ([lag(0, 100_000), lag(100, 1000), lag(110, 500)], Forecast(50.0, 10.0)),
    ],
)
def test_rate_and_time_left_come_from_comparable_samples(samples, expected):
    assert forecast(samples) == expected


def test_while_copying_the_bytes_to_copy_are_what_remains():
    progress = {"bytes_copied": 200, "estimated_bytes": 1000, "running": [{"bytes": 60}, {"bytes": 40}]}
    copying = {"state": "copying", "lag_bytes": 5, "progress": progress}
    assert remaining_bytes(copying) == 800
    assert remaining_bytes({**copying, "progress": {"bytes_copied": 1200, "estimated_bytes": 1000}}) == 0
    assert remaining_bytes({**copying, "progress": {"bytes_copied": None, "estimated_bytes": 1000}}) is None
    assert remaining_bytes({"state": "copying"}) is None
