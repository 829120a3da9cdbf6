# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.catalog import Catalog
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.migration import Selection
from ansible_collections.seren.migrator.plugins.module_utils.selection import Selected, covers, parse, select
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import (
    catalog,
    foreign_key,
    partition,
    partitioned,
    sequence,
    table,
    view,
)

SHOP = catalog(
    table(1, "orders", "shop"),
    table(2, "lines", "shop"),
    table(3, "log", "audit"),
    table(4, "a.b", "odd.schema"),
    partitioned(10, "events"),
    partition(11, "events_1", 10),
    partitioned(12, "events_2", is_partition=True, parents=(10,)),
    partition(13, "events_2_a", 12),
    table(20, "parent"),
    table(21, "child", parents=(20,)),
    table(30, "cache", persistence="u"),
    table(31, "elsewhere", kind="f"),
    sequences=(
        sequence(50, "orders_id", "shop", owning_table=1),
        sequence(51, "free", "shop"),
        sequence(52, "log_id", "audit", owning_table=3),
    ),
    materialized_views=(view(60, "totals", reads_tables=(1, 3)), view(61, "events_per_day", reads_tables=(10,))),
    foreign_keys=(foreign_key(70, "lines_order", 2, 1), foreign_key(71, "lines_log", 2, 3)),
)


def chosen(whole: Catalog = SHOP, **options: Any) -> Selected:
    return select(whole, Selection.from_options(options))


def names(selected: Selected) -> set[str]:
    return {item.qualified for item in selected.catalog.tables}


# --- patterns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "schema", "name", "matches"),
    [
        ("orders", "shop", "orders", True),
        ("orders", "other", "orders", True),
        ("orders", "shop", "Orders", False),
        ("shop.orders", "shop", "orders", True),
        ("shop.orders", "other", "orders", False),
        ("shop.*", "shop", "anything at all", True),
        ("s?op.order?", "shop", "orders", True),
        ("shop.order?", "shop", "order", False),
        ("*", "shop", "line\nend", True),
        ("order[s]", "shop", "orders", False),
        ("a.b", "odd.schema", "a.b", False),
        ('"odd.schema"."a.b"', "odd.schema", "a.b", True),
        ('"a.b"', "odd.schema", "a.b", True),
        ('"ord*"', "shop", "orders", False),
        ('"ord*"', "shop", "ord*", True),
        ('"ord"*', "shop", "orders", True),
        ('"say ""hi"""', "shop", 'say "hi"', True),
        ('Weird ;--', "shop", "Weird ;--", True),
        ("größe", "shop", "größe", True),
    ],
)  # fmt: skip
def test_what_a_pattern_covers(text: str, schema: str, name: str, matches: bool) -> None:
    assert parse(text).matches(schema, name) is matches


@pytest.mark.parametrize("text", ['"open', 'a."open', "a.b.c", "", ".b", "a.", '""', '""."x"'])
def test_a_pattern_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(MigrationError) as caught:
        parse(text)
    assert caught.value.code == "bad_option"


def test_a_pattern_of_a_schema_has_one_part() -> None:
    with pytest.raises(MigrationError, match="not of the form schema"):
        parse("shop.orders", max_parts=1)
    assert parse('"odd.schema"', max_parts=1).name.fullmatch("odd.schema")


# --- selections ----------------------------------------------------------------------------------------------------


def test_nothing_said_is_everything() -> None:
    selected = chosen()
    assert selected.catalog.tables == SHOP.tables
    assert selected.left_out == frozenset()
    assert {item.name for item in selected.data_tables} == {
        "orders", "lines", "log", "a.b", "events_1", "events_2_a", "parent", "child",
    }  # fmt: skip
    assert [item.name for item in selected.unlogged_tables] == ["cache"]


def test_schemas_bring_what_is_in_them() -> None:
    selected = chosen(schemas=["shop"])
    assert names(selected) == {"shop.orders", "shop.lines"}
    assert [item.name for item in selected.catalog.sequences] == ["orders_id", "free"]
    assert [item.name for item in selected.catalog.schemas] == ["shop"]
    assert 3 in selected.left_out


def test_an_excluded_schema_stays_behind_even_when_it_is_named() -> None:
    assert names(chosen(schemas=["s*", "audit"], exclude_schemas=["audit"])) == {"shop.orders", "shop.lines"}


def test_a_left_out_table_takes_its_sequence_its_foreign_keys_and_its_readers_with_it() -> None:
    selected = chosen(exclude_tables=["audit.log"])
    assert [item.name for item in selected.catalog.sequences] == ["orders_id", "free"]
    assert [item.name for item in selected.catalog.foreign_keys] == ["lines_order"]
    assert [item.name for item in selected.catalog.materialized_views] == ["events_per_day"]
    assert selected.left_out == {3}


def test_a_partitioned_table_brings_its_partitions_at_every_level() -> None:
    assert names(chosen(tables=["events"])) == {f"public.{name}" for name in (
        "events", "events_1", "events_2", "events_2_a",
    )}  # fmt: skip
    assert not {name for name in names(chosen(exclude_tables=["events"])) if "events" in name}


@pytest.mark.parametrize("options", [{"tables": ["events_1"]}, {"exclude_tables": ["events_2"]}])
def test_a_selection_cannot_cut_through_a_partitioned_table(options: dict[str, Any]) -> None:
    with pytest.raises(MigrationError, match=r"public\.events") as caught:
        chosen(**options)
    assert caught.value.code == "bad_option"


@pytest.mark.parametrize("options", [{"tables": ["child"]}, {"exclude_tables": ["parent"]}])
def test_an_inheritance_child_does_not_come_without_its_parent(options: dict[str, Any]) -> None:
    with pytest.raises(MigrationError, match=r"public\.child.*public\.parent"):
        chosen(**options)


def test_a_parent_may_come_without_its_inheritance_child() -> None:
    assert names(chosen(tables=["parent"])) == {"public.parent"}


def test_partitions_in_another_schema_come_with_their_root_or_not_at_all() -> None:
    whole = catalog(partitioned(1, "root"), partition(2, "leaf", 1, schema="archive"))
    assert names(chosen(whole)) == {"public.root", "archive.leaf"}
    # A root publishes all of its partitions, so one that stays behind would be published too.
    for options in ({"schemas": ["public"]}, {"schemas": ["archive"]}, {"exclude_schemas": ["archive"]}):
        with pytest.raises(MigrationError, match="cuts through the partitioned table"):
            chosen(whole, **options)


def test_tables_whose_data_stays_behind_are_still_created() -> None:
    selected = chosen(exclude_data=["events_2", "orders"])
    assert names(selected) == names(chosen())
    data = {item.name for item in selected.data_tables}
    assert data == {"lines", "log", "a.b", "events_1", "parent", "child"}


def test_the_data_of_an_unlogged_table_can_stay_behind() -> None:
    assert chosen(exclude_data=["cache"]).unlogged_tables == ()


def test_a_predicate_reaches_every_partition() -> None:
    selected = chosen(rows={"events": "id > 5", "shop.orders": "true"})
    assert {oid: selected.predicates[oid] for oid in (11, 13, 1)} == {11: "id > 5", 13: "id > 5", 1: "true"}


@pytest.mark.parametrize(
    "options",
    [
        {"schemas": ["shopp"]},
        {"schemas": ["shop", "nothing*"]},
        {"exclude_schemas": ["Shop"]},
        {"tables": ["order"]},
        {"exclude_tables": ["shop.order"]},
        {"schemas": ["shop"], "exclude_tables": ["audit.log"]},
        {"exclude_data": ["nothing"]},
        {"tables": ["orders"], "exclude_data": ["lines"]},
        {"rows": {"nothing": "true"}},
        {"exclude_tables": ["*"]},
    ],
)
def test_what_matches_nothing_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(MigrationError) as caught:
        chosen(**options)
    assert caught.value.code == "nothing_selected"


def test_an_empty_database_selects_nothing() -> None:
    with pytest.raises(MigrationError) as caught:
        chosen(catalog())
    assert caught.value.code == "nothing_selected"


@pytest.mark.parametrize(
    ("options", "line", "is_covered"),
    [
        ({}, [("any", "table")], True),
        ({"schemas": ["app_*"]}, [("app_1", "t")], True),
        ({"schemas": ["app_*"]}, [("other", "t")], False),
        ({"exclude_schemas": ["other"]}, [("other", "t")], False),
        ({"tables": ["orders"]}, [("shop", "orders")], True),
        ({"tables": ["orders"]}, [("shop", "orders_later")], False),
        ({"tables": ["shop.orders"]}, [("shop", "orders_2025"), ("shop", "orders")], True),
        ({"exclude_tables": ["orders"]}, [("shop", "orders_2025"), ("shop", "orders")], False),
        ({"exclude_tables": ["nothing_of_this_name"]}, [("shop", "orders")], True),
    ],
)
def test_a_table_that_comes_later_belongs_to_the_selection_by_its_name(
    options: dict[str, Any], line: list[tuple[str, str]], is_covered: bool
) -> None:
    assert covers(Selection.from_options(options), line) is is_covered
