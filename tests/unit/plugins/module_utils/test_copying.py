# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.copying import (
    CopyTask,
    batches,
    copy_format,
    copy_in,
    copy_out,
    empty,
    plan_tasks,
)
from ansible_collections.seren.migrator.plugins.module_utils.migration import Selection
from ansible_collections.seren.migrator.plugins.module_utils.selection import select
from ansible_collections.seren.migrator.plugins.module_utils.splitting import split
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


def test_rows_arrive_frozen_and_children_of_the_table_are_left_alone() -> None:
    whole = task("id", "v")
    assert empty(whole).as_string(None) == 'TRUNCATE ONLY "odd.s"."T""x"'
    assert copy_in(whole).as_string(None) == ('COPY "odd.s"."T""x" ("id", "v") FROM STDIN WITH (FORMAT binary, FREEZE)')


def test_a_piece_is_a_range_of_blocks_and_not_frozen() -> None:
    piece = replace(task("id", predicate="id > 1"), blocks=(100, 200))
    assert copy_out(piece).as_string(None) == (
        'COPY (SELECT "id" FROM ONLY "odd.s"."T""x" WHERE (id > 1\n) AND ctid >= \'(100,0)\' AND ctid < \'(200,0)\')'
        " TO STDOUT WITH (FORMAT binary)"
    )
    assert copy_in(piece).as_string(None) == 'COPY "odd.s"."T""x" ("id") FROM STDIN WITH (FORMAT binary)'


def sized(oid: int, size: int) -> CopyTask:
    return replace(task("id"), oid=oid, name=f"t{oid}", estimated_bytes=size)


def test_large_tables_go_alone_and_small_ones_together() -> None:
    tasks = [sized(1, 10**9), sized(2, 10**7), *(sized(oid, 8192) for oid in range(3, 103))]
    made = batches(tasks, jobs=2)
    assert [[item.oid for item in batch] for batch in made[:2]] == [[1], [2]]
    assert [item.oid for batch in made[2:] for item in batch] == list(range(3, 103))
    assert {len(batch) for batch in made[2:]} == {12, 4}  # several batches a worker
    assert len(batches([sized(oid, 0) for oid in range(10000)], jobs=1)[0]) == 32


@pytest.mark.parametrize(
    ("size", "others", "limit", "jobs", "pieces"),
    [
        (100, 0, 10, 4, 8),  # alone, far over the limit: twice the workers
        (25, 0, 10, 4, 3),  # no piece is much smaller than the limit
        (100, 1000, 10, 4, 1),  # the others keep the workers busy for longer
        (100, 0, 100, 4, 1),  # not over the limit
        (100, 0, 0, 4, 1),  # never
        (100, 0, 10, 1, 1),  # nobody to share it with
    ],
)
def test_a_table_is_split_only_when_all_would_wait_for_it(
    size: int, others: int, limit: int, jobs: int, pieces: int
) -> None:
    large = sized(1, size)
    made = split(large, [large, sized(2, others)], pages=1000, limit_bytes=limit, jobs=jobs)
    assert len(made) == pieces
    if pieces > 1:
        ends = [item.blocks for item in made if item.blocks is not None]
        assert ends[0][0] == 0
        assert ends[-1][1] is None
        assert [end for _first, end in ends[:-1]] == [first for first, _end in ends[1:]]
