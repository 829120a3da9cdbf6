# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.copying import (
    CopyTask,
    copy_format,
    copy_in,
    copy_out,
    plan_tasks,
)
from ansible_collections.seren.migrator.plugins.module_utils.migration import Selection
from ansible_collections.seren.migrator.plugins.module_utils.selection import select
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import catalog, column, table


@pytest.mark.parametrize(
    ("leaf_types", "wanted"),
    [
        (["pg_catalog.int4", "pg_catalog.text", "pg_catalog.jsonb"], "binary"),
        (["pg_catalog.timestamptz", "enum", "pg_catalog.numeric"], "binary"),
        (["pg_catalog.int4", "public.mood"], "text"),
        (["pg_catalog.int4range"], "text"),
        (["pg_catalog.xml"], "text"),
        (["pg_catalog.money"], "text"),
        (["public.int4"], "text"),
    ],
)
def test_binary_only_where_every_type_has_one_binary_form(leaf_types: list[str], wanted: str) -> None:
    columns = tuple(column(f"c{number}", leaf) for number, leaf in enumerate(leaf_types))
    assert copy_format(table(1, "t", columns=columns)) == wanted


def test_a_generated_column_decides_nothing_because_it_does_not_travel() -> None:
    columns = (column("id"), column("g", "public.odd", generated="s"))
    assert copy_format(table(1, "t", columns=columns)) == "binary"


def test_a_table_without_columns_travels_as_text() -> None:
    assert copy_format(table(1, "t", columns=())) == "text"


def test_the_biggest_table_is_copied_first_and_ties_have_an_order() -> None:
    tables = [table(1, "b"), table(2, "a"), table(3, "big", bytes=10**9), table(4, "tiny", bytes=0)]
    selected = select(catalog(*tables), Selection(rows={"a": "id > 1"}))
    tasks = plan_tasks(selected, tables, {1: 3, 2: 4, 3: 4, 4: 3}, {1, 2, 3})
    assert [task.name for task in tasks] == ["big", "a", "b", "tiny"]
    assert {task.name: task.predicate for task in tasks} == {"big": None, "a": "id > 1", "b": None, "tiny": None}
    assert {task.name: (task.stream, task.is_carried) for task in tasks} == {
        "big": (4, True),
        "a": (4, True),
        "b": (3, True),
        "tiny": (3, False),
    }


def task(*columns: str, predicate: str | None = None, form: str = "binary") -> CopyTask:
    return CopyTask(1, "odd.s", 'T"x', columns, predicate, form, 0)


def test_rows_leave_by_their_columns() -> None:
    assert (
        copy_out(task("id", "Gröÿe;")).as_string(None)
        == 'COPY "odd.s"."T""x" ("id", "Gröÿe;") TO STDOUT WITH (FORMAT binary)'
    )


def test_chosen_rows_leave_by_a_query_over_the_table_alone() -> None:
    shown = copy_out(task("id", predicate="id > 5 -- new", form="text")).as_string(None)
    assert shown == 'COPY (SELECT "id" FROM ONLY "odd.s"."T""x" WHERE (id > 5 -- new\n)) TO STDOUT WITH (FORMAT text)'


def test_a_table_without_columns_still_has_rows() -> None:
    assert copy_out(task(form="text")).as_string(None) == 'COPY "odd.s"."T""x" TO STDOUT WITH (FORMAT text)'
    assert 'COPY "odd.s"."T""x" FROM STDIN' in copy_in(task(form="text")).as_string(None)


def test_rows_arrive_in_an_emptied_table_frozen_and_children_are_left_alone() -> None:
    assert copy_in(task("id", "v")).as_string(None) == (
        'TRUNCATE ONLY "odd.s"."T""x"; COPY "odd.s"."T""x" ("id", "v") FROM STDIN WITH (FORMAT binary, FREEZE)'
    )
