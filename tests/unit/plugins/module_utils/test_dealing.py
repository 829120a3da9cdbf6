# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
from dataclasses import replace

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.catalog import Catalog
from ansible_collections.seren.migrator.plugins.module_utils.dealing import QUIET_ROWS_PER_SECOND, deal, groups
from ansible_collections.seren.migrator.plugins.module_utils.write_rate import WriteRate
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
    table(20, "parent"),
    table(21, "child", parents=(20,)),
    table(30, "bridge"),
    table(31, "left"),
    table(32, "right"),
    foreign_keys=(
        foreign_key(70, "lines_order", 2, 1),
        foreign_key(71, "self", 3, 3),
        foreign_key(72, "left_bridge", 31, 30),
        foreign_key(73, "right_bridge", 32, 30),
    ),
)


def as_sets(found: list[frozenset[int]]) -> set[frozenset[int]]:
    return set(found)


def busy(**rows_per_second: float) -> dict[int, WriteRate]:
    """Rates by the last digits of a name: t3=100 is table 3."""
    return {int(name[1:]): WriteRate(0, rate) for name, rate in rows_per_second.items()}


def loose(count: int) -> Catalog:
    """Tables 1 to count that nothing connects."""
    return catalog(*(table(oid, f"t{oid:02}") for oid in range(1, count + 1)))


def dealt(whole: Catalog, rates: dict[int, WriteRate], count: int) -> list[set[int]]:
    return [set(share.oids) for share in deal(whole, [t.oid for t in whole.tables], rates, count)]


def test_keys_partitions_and_inheritance_keep_tables_together() -> None:
    assert as_sets(groups(SHOP)) == {
        frozenset({1, 2}),
        frozenset({3}),
        frozenset({11, 12}),
        frozenset({20, 21}),
        frozenset({30, 31, 32}),
    }


def test_tables_hang_together_through_one_that_is_not_asked_for() -> None:
    assert as_sets(groups(SHOP, {31, 32, 3})) == {frozenset({31, 32}), frozenset({3})}


def test_a_key_to_a_table_outside_of_the_catalog_connects_nothing() -> None:
    whole = catalog(
        table(1, "a"), table(2, "b"), foreign_keys=(foreign_key(70, "k", 1, 99), foreign_key(71, "l", 2, 99))
    )
    assert as_sets(groups(whole)) == {frozenset({1}), frozenset({2})}


def test_the_busiest_group_has_a_stream_to_itself_when_it_outweighs_the_others() -> None:
    assert dealt(loose(4), busy(t1=10, t2=20, t3=1000, t4=30), 2) == [{3}, {1, 2, 4}]


def test_biggest_first_then_where_least_is_written() -> None:
    rates = busy(t1=50, t2=40, t3=30, t4=20, t5=10)
    assert dealt(loose(5), rates, 2) == [{1, 4, 5}, {2, 3}]


def test_a_group_is_weighed_as_a_whole() -> None:
    whole = catalog(*(table(n, f"t{n}") for n in (1, 2, 3)), foreign_keys=(foreign_key(70, "k", 1, 2),))
    assert dealt(whole, busy(t1=60, t2=60, t3=100), 2) == [{1, 2}, {3}]
    shares = deal(whole, [1, 2, 3], busy(t1=60, t2=60, t3=100), 2)
    assert [(share.groups, share.rows_per_second, share.bytes) for share in shares] == [(1, 120, 16384), (1, 100, 8192)]


def test_of_a_quiet_source_the_totals_decide() -> None:
    quiet = QUIET_ROWS_PER_SECOND / 2
    rates = {1: WriteRate(10, quiet), 2: WriteRate(1000), 3: WriteRate(900), 4: WriteRate(800)}
    assert dealt(loose(4), rates, 2) == [{1, 2}, {3, 4}]
    assert dealt(loose(4), {**rates, 1: WriteRate(10, QUIET_ROWS_PER_SECOND)}, 2) == [{1}, {2, 3, 4}]


def test_where_nothing_is_written_the_size_decides() -> None:
    whole = catalog(*(table(n, f"t{n}", bytes=size) for n, size in ((1, 100), (2, 700), (3, 300), (4, 200))))
    assert dealt(whole, {}, 2) == [{2}, {1, 3, 4}]


def test_empty_tables_are_spread_as_well() -> None:
    whole = catalog(*(table(n, f"t{n}", bytes=0) for n in range(1, 7)))
    assert [len(share) for share in dealt(whole, {}, 3)] == [2, 2, 2]


def test_fewer_groups_than_streams_give_fewer_streams() -> None:
    assert dealt(loose(2), {}, 4) == [{1}, {2}]
    assert [share.oids for share in deal(SHOP, [1, 2], {}, 4)] == [frozenset({1, 2})]


def test_nothing_to_carry_still_needs_one_stream() -> None:
    assert [share.oids for share in deal(SHOP, [], {}, 4)] == [frozenset()]


def test_the_order_of_what_is_given_changes_nothing() -> None:
    rng = random.Random(4)
    for _round in range(50):
        tables = [table(oid, f"t{rng.randint(0, 10**6)}", f"s{oid}", bytes=rng.randint(0, 3)) for oid in range(1, 20)]
        keys = tuple(foreign_key(100 + n, "k", rng.randint(1, 19), rng.randint(1, 19)) for n in range(5))
        rates = {oid: WriteRate(rng.randint(0, 3), float(rng.randint(0, 100))) for oid in range(1, 20)}
        first = deal(catalog(*tables, foreign_keys=keys), range(1, 20), rates, 4)
        rng.shuffle(tables)
        again = replace(catalog(*tables), foreign_keys=tuple(reversed(keys)))
        assert [s.oids for s in deal(again, range(19, 0, -1), dict(reversed(rates.items())), 4)] == [
            s.oids for s in first
        ]


def test_every_table_is_dealt_once_and_no_group_is_split() -> None:
    rng = random.Random(5)
    for _round in range(100):
        oids = range(1, 30)
        keys = tuple(foreign_key(100 + n, "k", rng.choice(oids), rng.choice(oids)) for n in range(rng.randint(0, 20)))
        whole = catalog(*(table(oid, f"t{oid}") for oid in oids), foreign_keys=keys)
        count = rng.randint(1, 6)
        shares = deal(whole, oids, {oid: WriteRate(0, rng.random() * 1000) for oid in oids}, count)
        assert sorted(oid for share in shares for oid in share.oids) == list(oids)
        assert len(shares) == min(count, len(groups(whole)))
        assert all(share.oids for share in shares)
        for group in groups(whole):
            assert sum(1 for share in shares if share.oids & group) == 1
