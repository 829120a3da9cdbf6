# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.foreign_keys import connected, postponed
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import (
    catalog,
    foreign_key,
    partition,
    partitioned,
    table,
)

SHOP = catalog(
    table(1, "orders"),
    table(2, "lines"),
    table(3, "alone"),
    partitioned(10, "events"),
    partition(11, "events_1", 10),
    partition(12, "events_2", 10),
    foreign_keys=(
        foreign_key(70, "lines_order", 2, 1),
        foreign_key(71, "events_order", 10, 1),
        foreign_key(72, "events_1_order", 11, 1, parent=71),
        foreign_key(73, "self", 3, 3),
    ),
)


def waiting(streams: dict[int, int | None]) -> list[str]:
    return [key.name for key in postponed(SHOP, streams)]


def test_keys_inside_one_stream_wait_for_nothing() -> None:
    assert waiting({1: 1, 2: 1, 3: 1, 11: 1, 12: 1}) == []


def test_a_key_across_streams_waits() -> None:
    assert waiting({1: 1, 2: 2, 3: 1, 11: 1, 12: 1}) == ["lines_order"]


def test_one_partition_in_another_stream_makes_the_key_of_the_root_wait_once() -> None:
    assert waiting({1: 1, 2: 1, 3: 1, 11: 1, 12: 2}) == ["events_order"]


def test_a_table_without_a_stream_is_not_in_the_others_stream() -> None:
    assert waiting({1: 1, 3: 1, 11: 1, 12: 1}) == ["lines_order"]


def test_a_key_to_its_own_table_never_waits() -> None:
    assert waiting({1: 1, 2: 1, 3: 2, 11: 1, 12: 1}) == []


def test_tables_are_connected_through_roots_in_both_directions() -> None:
    assert connected(SHOP, [12]) == {1, 2, 11, 12}
    assert connected(SHOP, [3]) == {3}
    assert connected(SHOP, []) == set()


def test_connection_is_an_equivalence() -> None:
    rng = random.Random(3)
    for _round in range(200):
        oids = range(1, 12)
        keys = tuple(
            foreign_key(100 + n, f"k{n}", rng.choice(oids), rng.choice(oids)) for n in range(rng.randint(0, 10))
        )
        whole = catalog(*(table(oid, f"t{oid}") for oid in oids), foreign_keys=keys)
        groups = {oid: frozenset(connected(whole, [oid])) for oid in oids}
        for oid in oids:
            assert oid in groups[oid]
            assert all(groups[other] == groups[oid] for other in groups[oid])
        for key in keys:
            assert groups[key.table] == groups[key.referenced]
