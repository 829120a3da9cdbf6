# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.verification.comparison import Comparison
from ansible_collections.seren.migrator.plugins.module_utils.verification.meter import (
    Meter,
    Reading,
    numbers_between,
    read,
    ticking,
)
from ansible_collections.seren.migrator.plugins.module_utils.verification.pairing import Half, Unit

MIB = 1 << 20
START = Reading(10.0, 4, 0, 0, 0, 1000, 8 * MIB, 0, 0)


def table(name: str, rows: int, size: int) -> Comparison:
    half = Half((), ())
    return Comparison(Unit("s", name, half, half, (), rows, size))


def test_a_table_counts_by_its_rows_so_far_and_whole_once_it_was_read() -> None:
    done, doubtful, half_read, waiting = (table(name, 1000, MIB) for name in "abcd")
    done.source_rows = 990
    done.settle("verified")
    doubtful.source_rows, doubtful.differing_rows = 1010, 2
    doubtful.suspects = {1: ("1",), 2: ("2",), 3: ("3",)}
    half_read.rows_read = 500
    seen = read([done, doubtful, half_read, waiting], 7.0)
    assert seen == Reading(7.0, 4, 1, 990 + 1010 + 500, 2 * MIB + MIB // 2, 4000, 4 * MIB, 3, 2)
    assert seen.text == "1 of 4 table(s) decided, 2 row(s) differ, 3 row(s) in doubt"
    half_read.rows_read = 5000  # the estimate was wrong: never more bytes than there are
    assert read([half_read], 7.0).bytes_read == MIB


def test_rates_and_time_left_are_those_between_two_readings() -> None:
    later = replace(START, at_s=14.0, rows_read=400, bytes_read=2 * MIB)
    numbers = numbers_between(START, later)
    assert numbers["rate_rows_per_second"] == 100
    assert numbers["rate_bytes_per_second"] == MIB // 2
    assert numbers["eta_seconds"] == 12
    assert numbers["rows_read"] == 400


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (START, (None, None)),  # no time has passed: unknown, not zero
        (replace(START, at_s=12.0), (0, None)),  # nothing was read: no telling when it ends
        (replace(START, at_s=12.0, rows_read=1000, bytes_read=8 * MIB), (500, None)),  # all was read
    ],
)
def test_what_cannot_be_told_is_unknown(later: Reading, expected: tuple[int | None, int | None]) -> None:
    numbers = numbers_between(START, later)
    assert (numbers["rate_rows_per_second"], numbers["eta_seconds"]) == expected


def test_the_meter_tells_the_round_and_looks_anew_when_it_must() -> None:
    comparison = table("a", 10, MIB)
    meter = Meter([comparison])
    meter.round = 2
    assert meter.numbers()[1]["round"] == 2
    comparison.source_rows = 10
    comparison.settle("verified")
    assert meter.numbers(is_fresh=False)[1]["tables_done"] == 0
    text, numbers = meter.numbers()
    assert (text, numbers["tables_done"]) == ("1 of 1 table(s) decided", 1)


def test_it_ticks_until_the_block_ends_and_never_without_an_interval() -> None:
    ticked = threading.Event()
    calls: list[int] = []

    def tell() -> None:
        calls.append(1)
        ticked.set()

    with ticking(0.01, tell):
        assert ticked.wait(30)
    told = len(calls)
    with ticking(0, tell):
        assert not threading.Event().wait(0.05)
    assert len(calls) == told
