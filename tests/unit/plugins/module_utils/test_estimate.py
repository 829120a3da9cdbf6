# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.estimate import (
    CopySample,
    Forecast,
    Indexes,
    Read,
    WalRate,
    WalReading,
    as_data,
    estimated_rows,
    total_rows,
    wal_rate,
)

from .catalogs import table

TIB = 2**40
BIG = table(1, "big", estimated_rows=1000, pages=100, bytes=1000 * TIB)
NEVER_ANALYSED = table(2, "new", estimated_rows=-1, pages=0, bytes=TIB)
EMPTY = table(3, "empty", estimated_rows=-1, pages=0, bytes=0)


def sample(*reads: Read, seconds: float = 5.0) -> CopySample:
    return CopySample(seconds, 2, reads)


def forecast(**fields: Any) -> Forecast:
    return Forecast(**{"bytes": BIG.bytes, "wal": WalRate(), **fields})


def test_rows_are_known_only_where_somebody_counted() -> None:
    assert estimated_rows(BIG) == 1000
    assert estimated_rows(NEVER_ANALYSED) is None
    assert estimated_rows(EMPTY) == 0
    assert total_rows([BIG, EMPTY]) == 1000
    assert total_rows([BIG, NEVER_ANALYSED]) is None


@pytest.mark.parametrize(
    ("read", "size"),
    [
        (Read(BIG, 10, 80, is_complete=False), 10 * TIB),
        (Read(BIG, 5000, 80, is_complete=False), 1000 * TIB),  # more rows than the statistics knew
        (Read(BIG, 10, 80, is_complete=True), 1000 * TIB),
        (Read(BIG, 10, 80, is_complete=False, has_predicate=True), None),
        (Read(NEVER_ANALYSED, 10, 80, is_complete=False), None),
        (Read(NEVER_ANALYSED, 10, 80, is_complete=True), TIB),
    ],
)
def test_the_part_of_a_table_that_was_read(read: Read, size: int | None) -> None:
    assert read.table_bytes == size


def test_a_part_that_is_not_known_makes_the_speed_unknown() -> None:
    known, vague = Read(BIG, 10, 80, is_complete=False), Read(NEVER_ANALYSED, 10, 80, is_complete=False)
    assert sample(known).bytes_per_second == 2 * TIB
    assert sample(known, vague).bytes_per_second is None
    assert sample(known, vague).stream_bytes_per_second == 32
    assert sample().bytes_per_second is None
    assert sample(known, seconds=0.0).bytes_per_second is None


def test_the_rate_of_wal_needs_two_readings_and_time_between_them() -> None:
    first = WalReading(2**62, 100.0)
    assert wal_rate(first, WalReading(2**62 + 300, 102.0), None, None).bytes_per_second == 150
    assert wal_rate(first, None, None, None) == WalRate()
    assert wal_rate(first, first, None, None) == WalRate()
    assert wal_rate(first, WalReading(5, 102.0), None, None) == WalRate()  # another server behind the same name
    assert wal_rate(None, None, 1000, 0.0) == WalRate()


def test_the_busier_of_the_two_rates_is_expected() -> None:
    assert wal_rate(WalReading(0, 0.0), WalReading(10, 1.0), 500, 10.0).expected == 50
    assert wal_rate(WalReading(0, 0.0), WalReading(100, 1.0), 500, 10.0).expected == 100
    assert wal_rate(None, None, 500, 10.0).expected == 50
    assert WalRate().expected is None


def test_a_quiet_source_is_measured_not_unknown() -> None:
    rate = wal_rate(WalReading(7, 0.0), WalReading(7, 2.0), None, None)
    assert rate.expected == 0
    read = sample(Read(BIG, 1000, 80, is_complete=True))
    assert forecast(wal=rate, sample=read).retained_bytes == 0


def test_what_was_not_measured_is_unknown() -> None:
    nothing = forecast(no_sample="it was not measured (sample_seconds)", limit_bytes=1)
    assert nothing.copy_seconds is None
    assert nothing.retained_bytes is None
    assert nothing.exceeds_limit is False
    data = as_data([BIG], None, nothing)
    assert data["indexes"] == {"count": None, "bytes": None}
    assert data["copy"] == {"seconds": None, "bytes_per_second": None, "stream_bytes_per_second": None, "sample": None}
    assert data["wal"]["retained_bytes"] is None
    assert data["cutover"] == {"feasible": None, "wal_to_copy_ratio": None}
    assert "time unknown; it was not measured (sample_seconds)." in data["summary"][1]
    assert "was not measured" in data["summary"][2]
    assert "not known yet" in data["summary"][3]


def test_time_times_rate_is_what_the_source_must_keep() -> None:
    read = sample(Read(BIG, 10, 10 * TIB, is_complete=False))  # 2 TiB/s, so 500 s
    known = forecast(sample=read, wal=WalRate(bytes_per_second=TIB, window_seconds=2.0), limit_bytes=500 * TIB)
    assert known.copy_seconds == 500
    assert known.retained_bytes == 500 * TIB
    assert known.exceeds_limit is False
    data = as_data([BIG, EMPTY], Indexes(3, 7), known)
    assert data["copy"]["seconds"] == 500.0
    assert data["rows"] == 1000
    assert data["indexes"] == {"count": 3, "bytes": 7}
    assert data["cutover"] == {"feasible": None, "wal_to_copy_ratio": 0.5}
    assert "50.0%" in data["summary"][3]
    json.dumps(data)
    lost = forecast(sample=read, wal=WalRate(bytes_per_second=TIB), limit_bytes=499 * TIB)
    assert lost.exceeds_limit
    assert as_data([BIG], None, lost)["cutover"]["feasible"] is False


def test_wal_faster_than_the_rows_could_be_read_is_a_hint_and_no_verdict() -> None:
    read = sample(Read(BIG, 10, TIB, is_complete=False))
    fast = forecast(sample=read, wal=WalRate(bytes_per_second=TIB))
    data = as_data([BIG], None, fast)
    assert data["cutover"]["feasible"] is None
    assert "a hint against it" in data["summary"][3]


def test_nothing_to_copy_takes_no_time() -> None:
    data = as_data([EMPTY], Indexes(0, 0), Forecast(0, WalRate(bytes_per_second=9.0)))
    assert data["copy"]["seconds"] == 0
    assert data["wal"]["retained_bytes"] == 0
    assert "no rows to copy" in data["summary"][1]


def test_the_ten_largest_tables_are_named() -> None:
    tables = [table(number, f"t{number}", bytes=100 - number) for number in range(20)]
    named = as_data(tables, None, forecast())["largest_tables"]
    assert [each["name"] for each in named] == [f"t{number}" for number in range(10)]
