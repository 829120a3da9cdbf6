# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight import privileges, registry
from ansible_collections.seren.migrator.plugins.module_utils.preflight.tables import alike


def test_names_that_differ_only_by_case_are_grouped() -> None:
    assert alike(["b", "A", "a", "c", "Ä", "ä", "B", "aa"]) == [["A", "a"], ["B", "b"], ["Ä", "ä"]]
    assert alike([]) == []


def test_checks_that_need_statistics_exist() -> None:
    assert {item for ids in privileges.NEED_STATISTICS.values() for item in ids} <= {c.id for c in registry.CHECKS}
