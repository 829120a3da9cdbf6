# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.catalog import Catalog
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.replication import (
    create_publication,
    create_subscription,
    ownership_comment,
    publication_members,
)
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import (
    catalog,
    partition,
    partitioned,
    table,
)

EVENTS = catalog(
    table(1, "orders"),
    partitioned(10, "events"),
    partition(11, "events_1", 10),
    partitioned(12, "events_2", is_partition=True, parents=(10,)),
    partition(13, "events_2_a", 12),
)


def members(whole: Catalog, carried: set[int], *, major: int = 15, **predicates: str) -> list[str]:
    by_oid = {int(key[1:]): text for key, text in predicates.items()}
    return [item.name for item in publication_members(whole, carried, by_oid, major)]


def test_a_partitioned_table_is_published_by_its_root() -> None:
    assert members(EVENTS, {1, 11, 13}) == ["orders", "events"]


def test_a_source_12_publishes_leaves_only() -> None:
    assert members(EVENTS, {1, 11, 13}, major=12) == ["orders", "events_1", "events_2_a"]


def test_a_root_does_not_stand_for_partitions_that_stay_behind() -> None:
    assert members(EVENTS, {11}) == ["events_1"]


def test_a_root_does_not_stand_for_partitions_with_a_predicate() -> None:
    assert members(EVENTS, {11, 13}, p13="id > 1") == ["events_1", "events_2_a"]


def test_an_unlogged_partition_is_no_reason_to_publish_its_root() -> None:
    whole = catalog(partitioned(10, "r"), partition(11, "r1", 10), partition(12, "r2", 10, persistence="u"))
    assert members(whole, {11}) == ["r1"]


def test_a_root_would_publish_a_foreign_partition_that_no_subscription_can_carry() -> None:
    whole = catalog(partitioned(10, "r"), partition(11, "r1", 10), partition(12, "r2", 10, kind="f"))
    assert members(whole, {11}) == ["r1"]


WITHOUT_KEY = {"identity_verdict": "no_primary_key", "primary_key": (), "identity_columns": ()}


@pytest.mark.parametrize(
    "identity",
    [
        WITHOUT_KEY,
        {"replica_identity": "f", "identity_verdict": "full"},
        {"identity_verdict": "deferrable_primary_key"},
    ],
)
def test_a_root_whose_later_partitions_could_not_be_updated_is_not_published(identity: dict[str, Any]) -> None:
    root = catalog(partitioned(10, "r", **identity), partition(11, "r1", 10), partition(12, "r2", 10))
    assert members(root, {11, 12}) == ["r1", "r2"]
    leaf = catalog(partitioned(10, "r"), partition(11, "r1", 10), partition(12, "r2", 10, **identity))
    assert members(leaf, {11, 12}) == ["r1", "r2"]


def text(*tables: Any, major: int = 15, predicates: dict[int, str] | None = None) -> str:
    return create_publication('p"ub', list(tables), "marker_1", predicates or {}, major).as_string(None)


def test_a_publication_names_tables_only_and_its_marker() -> None:
    assert text(table(1, 'Weird "x"', "odd.s")) == (
        'CREATE PUBLICATION "p""ub" FOR TABLE ONLY "odd.s"."Weird ""x""", ONLY "seren_migrator"."marker_1" '
        "WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)"
    )


def test_a_root_is_named_without_only() -> None:
    assert 'TABLE "public"."r", ONLY "seren' in text(partitioned(10, "r"))


def test_a_source_12_has_no_option_for_roots() -> None:
    assert "publish_via_partition_root" not in text(table(1, "t"), major=12)


@pytest.mark.parametrize("predicate", ["id > 5", "a = '%s {}'", "id > 5 -- only new ones"])
def test_a_predicate_is_a_row_filter_of_its_own_line(predicate: str) -> None:
    shown = text(table(1, "t"), table(2, "u"), predicates={1: predicate})
    # On a line of its own: a predicate may end with a comment.
    assert f'ONLY "public"."t" WHERE ({predicate}\n), ONLY "public"."u", ' in shown


def test_a_comment_names_the_migration_and_its_id() -> None:
    assert ownership_comment("my shop", "abc") == "seren.migrator abc my shop"


def subscription(**options: Any) -> str:
    return create_subscription("s", "host=x password='it''s'", "p", "slot_1", options).as_string(None)


def test_a_subscription_takes_the_prepared_slot_and_copies_nothing() -> None:
    assert subscription() == (
        """CREATE SUBSCRIPTION "s" CONNECTION 'host=x password=''it''''s''' PUBLICATION "p" """
        """WITH ("create_slot" = 'false', "enabled" = 'false', "copy_data" = 'false', "slot_name" = 'slot_1', """
        """"connect" = 'true')"""
    )


def test_options_of_the_subscription_are_written_as_postgresql_reads_them() -> None:
    shown = subscription(binary=True, streaming="parallel", synchronous_commit="off")
    assert """"binary" = 'true', "streaming" = 'parallel', "synchronous_commit" = 'off'""" in shown


@pytest.mark.parametrize(
    "option", ["create_slot", "enabled", "copy_data", "slot_name", "connect", "two_phase", "failover", "origin"]
)
@pytest.mark.parametrize("spelling", [str, str.upper, str.title])
def test_options_on_which_correctness_rests_are_refused(option: str, spelling: Any) -> None:
    with pytest.raises(MigrationError, match=option) as caught:
        subscription(**{spelling(option): "anything"})
    assert caught.value.code == "bad_option"


def test_the_origin_that_sees_every_change_is_allowed() -> None:
    assert """"origin" = 'any'""" in subscription(origin="any")
