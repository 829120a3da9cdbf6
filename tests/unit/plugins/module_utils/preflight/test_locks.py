# SPDX-License-Identifier: GPL-3.0-or-later
"""How many locks making a schema takes."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight.locks import locks_of_schema


@pytest.mark.parametrize(
    ("major", "counts", "locks"),
    [
        (14, {"relations": 1, "toasted": 0, "types": 0, "others": 0}, 1),
        (14, {"relations": 1, "toasted": 1, "types": 5, "others": 2}, 5),
        (15, {"relations": 1, "toasted": 0, "types": 0, "others": 0}, 2),
        (18, {"relations": 10, "toasted": 4, "types": 5, "others": 3}, 36),
    ],
)
def test_locks_of_a_schema_are_those_measured(major: int, counts: dict[str, int], locks: int) -> None:
    assert locks_of_schema(major, **counts) == locks
