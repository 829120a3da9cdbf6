# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.quantities import count, duration, rate, size


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (None, "unknown"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (150 * 2**30, "150 GiB"),
        (2**63 - 1, "8.0 EiB"),
        (2**73, "8192 EiB"),
    ],
)
def test_sizes(amount: float | None, words: str) -> None:
    assert size(amount) == words


def test_rates() -> None:
    assert rate(2.5 * 2**20) == "2.5 MiB/s"
    assert rate(0.4) == "0 bytes/s"
    assert rate(None) == "unknown"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "unknown"),
        (0, "less than 1 s"),
        (1, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2.0 h"),
        (1e6, "11.6 days"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_counts() -> None:
    assert count(1, "index", "indexes") == "1 index"
    assert count(2**40, "row") == "1,099,511,627,776 rows"
    assert count(None, "row") == "an unknown number of rows"
