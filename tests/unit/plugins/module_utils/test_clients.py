# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.clients import Client, choose, wanted_major
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError


def client(major: int) -> Client:
    return Client((major, 1), f"/{major}/pg_dump", f"/{major}/pg_restore")


@pytest.mark.parametrize(
    ("installed", "source", "target", "wanted"),
    [
        ([15, 17], 15, 17, 17),
        ([14, 15, 16, 17, 18], 15, 16, 16),
        ([14, 15, 16], 15, 14, 15),
        ([15], 15, 17, 15),
        ([18], 15, 17, 18),
        ([16, 18], 15, 17, 18),
        ([15, 16], 15, 18, 16),
        ([18], 12, 14, 18),
        ([14, 18], 12, 14, 14),
    ],
)
def test_the_client_that_is_nearest_to_the_larger_server(
    installed: list[int], source: int, target: int, wanted: int
) -> None:
    assert choose([client(major) for major in installed], source, target).major == wanted


@pytest.mark.parametrize("installed", [[], [13], [13, 14]])
def test_a_client_older_than_the_source_is_never_chosen(installed: list[int]) -> None:
    with pytest.raises(MigrationError) as caught:
        choose([client(major) for major in installed], 15, 14)
    assert caught.value.code == "client_missing"
    assert caught.value.details == {"wanted_major": 15, "found_majors": installed}
    assert "15" in caught.value.remedy


def test_the_wanted_major_is_the_larger_of_the_two() -> None:
    assert {(s, t): wanted_major(s, t) for s, t in [(12, 14), (15, 14), (17, 17)]} == {
        (12, 14): 14,
        (15, 14): 15,
        (17, 17): 17,
    }
