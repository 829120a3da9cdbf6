# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight.extensions import parts_of_version


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9", "1.10"), ("3.3.2", "3.4.0"), ("1.3", "1.3.1"), ("2.0", "10"), ("3.1.0alpha", "3.1.1")]
)
def test_versions_are_compared_by_their_numbers(older: str, newer: str) -> None:
    assert parts_of_version(older) < parts_of_version(newer)
