# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
import re

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.migration import (
    MAX_IDENTIFIER_BYTES,
    Migration,
    Selection,
    bounded,
    stream_names,
)

ID = "0123456789abcdef0123456789abcdef"
LETTERS = "aZ_9 ö€𝄞\"';-."


def random_name(rng: random.Random) -> str:
    return "".join(rng.choices(LETTERS, k=rng.randint(1, 80)))


def test_a_short_name_is_kept_as_it_is() -> None:
    assert bounded("shop", "_pub") == "shop_pub"
    assert bounded("x" * 59, "_pub") == "x" * 59 + "_pub"


def test_a_long_name_keeps_its_beginning_and_end_and_tells_itself_apart() -> None:
    one, other = bounded("x" * 70 + "1", "_pub"), bounded("x" * 70 + "2", "_pub")
    assert one.startswith("xxxx")
    assert one.endswith("_pub")
    assert one != other


def test_any_name_fits_and_is_whole_unicode() -> None:
    rng = random.Random(1)
    for _round in range(2000):
        name = random_name(rng)
        result = bounded(name, "_sub_12")
        assert len(result.encode()) <= MAX_IDENTIFIER_BYTES
        assert result.endswith("_sub_12")
        assert "�" not in result
        assert bounded(name, "_sub_12") == result


def test_the_names_of_any_migration_can_be_used() -> None:
    rng = random.Random(2)
    for _round in range(2000):
        names = stream_names(random_name(rng), ID, rng.choice([1, 2, 17, 9999]))
        assert re.fullmatch(r"[a-z0-9_]+", names.slot)
        for name in (names.publication, names.subscription, names.slot, names.marker):
            assert 0 < len(name.encode()) <= MAX_IDENTIFIER_BYTES


def test_the_first_stream_has_the_names_of_the_tool_that_is_replaced() -> None:
    names = stream_names("seren_migration", ID, 1)
    assert (names.publication, names.subscription) == ("seren_migration_pub", "seren_migration_sub")
    assert names.slot == "seren_migration_0123456789ab_1"


def test_streams_and_migrations_never_share_a_name() -> None:
    streams = [stream_names("shop", ID, number) for number in (1, 2, 3)]
    streams.append(stream_names("Shop!", ID.replace("0", "f"), 1))
    for kind in ("publication", "subscription", "slot", "marker"):
        assert len({getattr(names, kind) for names in streams}) == len(streams)


@pytest.mark.parametrize("name", ["ÄÖÜ", "---", "  "])
def test_a_name_without_a_usable_letter_still_has_a_slot(name: str) -> None:
    assert re.fullmatch("migration_[0-9a-f]{8}_0123456789ab_1", stream_names(name, ID, 1).slot)


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "a-b"), ("ÄÖÜ", "äöü"), ("A", "a"), ("x" * 80 + "1", "x" * 80 + "2")]
)
def test_names_that_resemble_each_other_have_slots_that_do_not(one: str, other: str) -> None:
    stems = {stream_names(name, ID, 1).slot.removesuffix("_0123456789ab_1") for name in (one, other)}
    assert len(stems) == 2


def test_a_selection_is_the_same_in_any_order() -> None:
    one = Selection.from_options({"schemas": ["b", "a"], "rows": {"y": "1", "x": "2"}})
    other = Selection.from_options({"schemas": ["a", "b"], "rows": {"x": "2", "y": "1"}, "tables": None})
    assert one.as_data() == other.as_data()
    assert list(one.as_data()["rows"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("options", "partial"),
    [
        ({}, False),
        ({"exclude_data": ["x"], "rows": {"x": "true"}}, False),
        ({"schemas": ["x"]}, True),
        ({"exclude_schemas": ["x"]}, True),
        ({"tables": ["x"]}, True),
        ({"exclude_tables": ["x"]}, True),
    ],
)
def test_a_selection_is_partial_when_an_object_may_stay_behind(options: dict[str, object], partial: bool) -> None:
    assert Selection.from_options(options).is_partial is partial


def test_a_migration_knows_the_secrets_of_both_sides() -> None:
    side = {"host": "db1", "dbname": "shop", "user": "alice"}
    migration = Migration.from_options(
        {"source": {**side, "password": "source-secret"}, "target": {**side, "password": "target-secret"}}
    )
    assert migration.name == "seren_migration"
    shown = migration.redactor.text("source-secret and target-secret")
    assert "secret" not in shown
