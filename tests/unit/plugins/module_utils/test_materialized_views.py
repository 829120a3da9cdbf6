# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.materialized_views import refresh_order
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import view


def test_each_view_comes_after_those_it_reads() -> None:
    rng = random.Random(6)
    for _round in range(200):
        oids = rng.sample(range(100), 12)
        views = [
            view(oid, f"v{oid}", depends_on=tuple(rng.sample(oids[:place], rng.randint(0, min(3, place)))))
            for place, oid in enumerate(oids)
        ]
        shuffled = rng.sample(views, len(views))
        ordered = [item.oid for item in refresh_order(shuffled)]
        assert sorted(ordered) == sorted(oids)
        for item in views:
            assert all(ordered.index(needed) < ordered.index(item.oid) for needed in item.depends_on)


def test_a_view_that_reads_one_which_is_not_refreshed_is_refreshed_all_the_same() -> None:
    assert [item.oid for item in refresh_order([view(1, "a", depends_on=(99,))])] == [1]


def test_a_circle_ends() -> None:
    views = [view(1, "a", depends_on=(2,)), view(2, "b", depends_on=(1,))]
    assert {item.oid for item in refresh_order(views)} == {1, 2}
