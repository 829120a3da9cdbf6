# SPDX-License-Identifier: GPL-3.0-or-later
"""What one reading of the slots means."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.lag import SlotSample
from ansible_collections.seren.migrator.plugins.module_utils.retention import Reading, read, warning

GIB = 1024**3


def sample(retained: int | None, **raw: Any) -> SlotSample:
    return SlotSample(0.0, "slot", raw, 0, None, retained, None)


def test_the_slot_that_keeps_most_and_the_one_in_most_danger_count() -> None:
    samples = {"a": sample(10, safe_wal_size=7), "b": sample(30, safe_wal_size=5), "c": sample(None, wal_status="lost")}
    assert read(samples) == Reading(30, 5, ("c",))


def test_no_slot_is_unknown_and_not_zero() -> None:
    assert read({}) == Reading(None, None, ())


def test_a_slot_that_was_invalidated_is_lost() -> None:
    assert read({"a": sample(5, wal_status="reserved", invalidation_reason="idle_timeout")}).lost == ("a",)


@pytest.mark.parametrize(
    ("reading", "limit", "database", "says"),
    [
        (Reading(None, None, ()), 1, 1, ""),
        (Reading(GIB - 1, None, ()), None, 1, ""),
        (Reading(GIB, None, ()), None, 1, "more than its database has"),
        (Reading(GIB, None, ()), None, 2 * GIB, ""),
        (Reading(74, None, ()), 100, 1, ""),
        (Reading(75, None, ()), 100, 1, "max_retained_wal is"),
        (Reading(2 * GIB, None, ()), 4 * GIB, 1, ""),
        (Reading(74, 26, ()), None, 1, ""),
        (Reading(75, 25, ()), None, 1, "max_slot_wal_keep_size"),
        (Reading(75, -5, ()), None, 1, "max_slot_wal_keep_size"),
    ],
)
def test_what_is_worth_a_warning(reading: Reading, limit: int | None, database: int, says: str) -> None:
    text = warning(reading, limit, database)
    assert (says in text) if says else text == ""
