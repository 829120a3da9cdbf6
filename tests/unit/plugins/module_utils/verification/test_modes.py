# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided about verify's modes without a server."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream
from ansible_collections.seren.migrator.plugins.module_utils.verification import certificate
from ansible_collections.seren.migrator.plugins.module_utils.verification.epochs import why_not
from ansible_collections.seren.migrator.plugins.module_utils.verification.gate import seconds_of

MARKED = Stream(1, "p", "s", "u", "marker", None, "subscribed")
UNMARKED = Stream(2, "p", "s", "u", "", None, "subscribed")


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [
        ("lock_timeout=0", 0.0),
        ("lock_timeout=300ms", 0.3),
        ("lock_timeout=300", 0.3),
        ("lock_timeout=5s", 5.0),
        ("lock_timeout=1.5s", 1.5),
        ("lock_timeout= 2 min", 120.0),
        ("transaction_timeout=1h", 3600.0),
        ("lock_timeout='1d'", 86400.0),
        ("lock_timeout=500us", 0.0005),
    ],
)
def test_timeouts_are_read_in_every_unit(setting: str, seconds: float) -> None:
    assert seconds_of(setting) == pytest.approx(seconds)


@pytest.mark.parametrize("setting", ["lock_timeout=soon", "lock_timeout=", "lock_timeout", "lock_timeout=1.2.3s"])
def test_a_timeout_that_cannot_be_read_is_taken_for_a_short_one(setting: str) -> None:
    assert 0 < seconds_of(setting) < 0.1


def test_a_mode_is_only_had_where_it_can_be() -> None:
    assert why_not("gate", [MARKED], "", may_write=True) == ""
    assert why_not("fenced", [UNMARKED], "", may_write=True) == ""
    assert why_not("live", [], "nothing works", may_write=False) == ""
    assert why_not("gate", [MARKED, UNMARKED], "", may_write=True) == "stream 2 has no marker table"
    assert "check mode" in why_not("fenced", [MARKED], "", may_write=False)
    assert "no stream" in why_not("gate", [], "", may_write=True)
    assert why_not("gate", [MARKED], "no subscription", may_write=True) == "no subscription"


def test_a_seal_does_not_depend_on_the_order_of_keys_and_breaks_with_any_change() -> None:
    sealed = certificate.sealed({"b": ["ä", None], "a": {"y": 1, "x": "2"}})
    again = certificate.sealed({"a": {"x": "2", "y": 1}, "b": ["ä", None]})
    assert sealed["sha256"] == again["sha256"]
    assert certificate.is_sealed(sealed)
    assert not certificate.is_sealed({**sealed, "a": {"y": 1, "x": 2}})
    assert not certificate.is_sealed({**sealed, "b": ["ä"]})
    assert not certificate.is_sealed({"a": 1})
