# SPDX-License-Identifier: GPL-3.0-or-later
"""How durations of settings are read."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight.replication_settings import milliseconds


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("5000", 5000),
        ("5min", 300_000),
        (" 1.5 s ", 1500),
        ("500us", 0.5),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("250ms", 250),
        ("5 m", None),
        ("-1", None),
        ("", None),
        ("5MIN", None),
    ],
)
def test_durations_are_read_as_postgresql_writes_them(text: str, ms: float | None) -> None:
    assert milliseconds(text) == ms
