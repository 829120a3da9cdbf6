# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.table_sync import (
    ERRORS_SPAN_S,
    MAX_ERRORS,
    Running,
    Sample,
    Watch,
)


def sample(at_s, states="", running=(), errors=0, received=(), enabled=True, pids=None):
    """Build a sample; ``states`` has one letter for each table, which are called 0, 1, ..."""
    return Sample(
        at_s=at_s,
        is_enabled=enabled,
        states={("s", str(number)): letter for number, letter in enumerate(states)},
        running=tuple(running),
        pids=pids or {},
        apply_pid=1,
        received=frozenset(received),
        errors=errors,
    )


def test_a_copy_is_complete_when_every_table_is_ready_and_there_is_one():
    assert sample(0, "rr").is_complete
    assert not sample(0, "rs").is_complete
    assert not sample(0, "").is_complete


def test_tables_whose_copy_has_begun_and_that_nobody_works_on_are_told_apart_from_those_that_wait():
    looked = sample(0, "rdfi", pids={("s", "1"): 7})
    assert looked.stuck == [("s", "2")]
    assert looked.waiting == [("s", "3")]


@pytest.mark.parametrize(
    "moved",
    [
        {"states": "rd"},
        {"states": "id", "running": [Running("s", "1", 5, 100)]},
    ],
)
def test_a_table_that_moves_on_is_no_standstill(moved):
    watch = Watch(10)
    assert watch.look(sample(0, "id")) is None
    assert watch.look(sample(9, **moved)) is None
    assert watch.look(sample(18, **moved)) is None
    assert watch.look(sample(20, **moved)) == "stalled"


def test_an_apply_worker_that_moves_on_beside_tables_that_nobody_copies_is_a_standstill():
    watch = Watch(10)
    assert watch.look(sample(0, "ri", received=["0/1"])) is None
    assert watch.look(sample(11, "ri", received=["0/2"])) == "stalled"


def test_catching_up_after_the_copy_is_no_standstill():
    watch = Watch(10)
    assert watch.look(sample(0, "rf", received=["0/1"])) is None
    assert watch.look(sample(11, "rf", received=["0/2"])) is None


def test_building_an_index_is_no_standstill():
    watch = Watch(10)
    assert watch.look(sample(0, "rs")) is None
    assert watch.look(sample(50, "rs"), is_building=True) is None
    assert watch.look(sample(61, "rs")) == "stalled"


def test_errors_that_repeat_without_a_table_being_finished_end_the_wait():
    watch = Watch(1000)
    assert watch.look(sample(0, "dd", errors=3)) is None  # of an earlier run
    assert watch.look(sample(1, "dd", errors=4)) is None
    assert watch.look(sample(2, "dd", errors=3 + MAX_ERRORS)) is None  # all at once: a restart of the source, perhaps
    assert watch.look(sample(2 + ERRORS_SPAN_S, "dd", errors=3 + MAX_ERRORS)) == "errors"


def test_errors_are_counted_anew_when_a_table_is_finished():
    watch = Watch(1000)
    watch.look(sample(0, "dd"))
    watch.look(sample(1, "dd", errors=MAX_ERRORS - 1))
    assert watch.look(sample(30, "rd", errors=MAX_ERRORS)) is None
    assert watch.look(sample(60, "rd", errors=2 * MAX_ERRORS - 1)) is None


def test_a_server_that_counts_no_errors_is_judged_by_what_moves():
    watch = Watch(10)
    assert watch.look(sample(0, "d", errors=None)) is None
    assert watch.look(sample(11, "d", errors=None)) == "stalled"


def test_a_disabled_subscription_is_not_waited_for():
    assert Watch(10).look(sample(0, "d", enabled=False)) == "disabled"
