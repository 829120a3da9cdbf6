# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of every kind under load: no difference is ever made up, and whatever is damaged is named, in every mode."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from tests.integration import verify_zoo as zoo
from tests.integration.verify_pair import ReplicatedPair, found, until, writing
from tests.support.fixtures import Database
from tests.support.verified import assert_verified, told

MODES: dict[str, dict[str, object]] = {
    "live": {"mode": "live"},
    "gate": {"mode": "gate"},
    "strict": {"mode": "gate", "strict": True},
    "fenced": {"mode": "fenced"},
}


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    zoo.made(made)
    return made


@pytest.fixture
def as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heaps are read in ranges of blocks, and rows looked up by their key, as in large tables."""
    monkeypatch.setattr(
        verify_run, "Limits", functools.partial(verify_run.Limits, lookup_above_bytes=0, range_bytes_min=32 * 1024)
    )


def unnamed(pair: ReplicatedPair, mode: str) -> tuple[zoo.Named, zoo.Named]:
    """What was named beside the damage, and what of the damage was not."""
    result = pair.verify(**MODES[mode])
    assert result.data["verified"] is False
    assert (result.data["mode"], result.data["mode_reason"]) == (MODES[mode]["mode"], "")
    names = found(result)
    counts = Counter((item["table"], item["kind"]) for item in result.data["differences"] if not item["key"])
    assert set(counts.values()) <= {1}, counts
    return names - zoo.NAMED, zoo.NAMED - names


@pytest.mark.parametrize("mode", MODES)
def test_damage_of_every_kind_is_named_and_nothing_else(pair: ReplicatedPair, mode: str) -> None:
    if mode == "fenced":
        pair.verify()
        zoo.spoil(pair)
        assert unnamed(pair, mode) == (set(), set())
        return
    with writing(pair.source, zoo.pgbench, zoo.keys, zoo.kinds) as counts:
        until(lambda: min(counts) > 5, "the writers", 60)
        zoo.spoil(pair)
        assert unnamed(pair, mode) == (set(), set())


def test_damage_in_large_tables_is_named_and_nothing_else(pair: ReplicatedPair, as_if_large: None) -> None:
    pair.both("ANALYZE")
    with writing(pair.source, zoo.pgbench, zoo.keys, zoo.kinds) as counts:
        until(lambda: min(counts) > 5, "the writers", 60)
        zoo.spoil(pair)
        assert unnamed(pair, "live") == (set(), set())


def run(pair: ReplicatedPair, runs: int) -> None:
    """Verify over and over while all is written to; whatever cannot be verified is in doubt, and never different."""
    with writing(pair.source, zoo.pgbench, zoo.pgbench, zoo.keys, zoo.kinds, zoo.truncating) as counts:
        until(lambda: min(counts) > 5, "the writers", 60)
        for turn in range(runs):
            before = list(counts)
            result = pair.verify(**MODES[("live", "gate", "strict")[turn % 3]])
            assert result.data["differences"] == [], told(result.error, result.data)
            others = [table for table in result.data["tables"] if table["name"] != "scratch"]
            assert {table["status"] for table in others} == {"verified"}, told(result.error, result.data)
            for table in others:
                assert table["source_rows"] == table["target_rows"], table
            assert min(after - earlier for after, earlier in zip(counts, before, strict=True)) > 0
    assert_verified(pair.verify())


def test_no_difference_is_made_up_under_load(pair: ReplicatedPair) -> None:
    run(pair, 5)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "large"])
def test_no_difference_is_made_up_in_fifty_runs_under_load(
    pair: ReplicatedPair, request: pytest.FixtureRequest, size: str
) -> None:
    if size == "large":
        request.getfixturevalue("as_if_large")
        pair.both("ANALYZE")
    run(pair, 50)
