# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.slots import slot_is_usable

GOOD_SLOT = {"slot_type": "logical", "confirmed_flush_lsn": "0/1", "wal_status": "reserved"}


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"wal_status": "extended"}, True),
        ({"wal_status": None}, True),
        ({"wal_status": "unreserved"}, False),
        ({"wal_status": "lost"}, False),
        ({"invalidation_reason": "idle_timeout"}, False),
        ({"confirmed_flush_lsn": None}, False),
        ({"slot_type": "physical"}, False),
    ],
)
def test_a_slot_is_usable_on_evidence_only(changes: dict[str, Any], usable: bool) -> None:
    assert slot_is_usable({**GOOD_SLOT, **changes}) is usable


def test_no_slot_is_not_usable() -> None:
    assert not slot_is_usable(None)
    assert not slot_is_usable({})
