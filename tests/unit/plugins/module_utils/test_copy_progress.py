# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.copy_progress import (
    BuildingIndex,
    CopyProgress,
    Pace,
    RunningCopy,
    Ticker,
    rate_between,
    summarise,
)
from ansible_collections.seren.migrator.plugins.module_utils.ledger import Record, Relation, Step
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event

MB = 1_000_000


def relation(name: str, state: str = "pending", size: int = MB, estimate: int | None = MB) -> Relation:
    done = state == "copied"
    return Relation(
        "public", name, "table", 1, 1, state, "binary", 10 if done else None, size if done else None, estimate
    )


def record(*relations: Relation, **steps: str) -> Record:
    known = {"roles": "done", "pre_data": "done", **steps}
    return Record(
        id="0" * 32,
        name="m",
        state="copying",
        source={},
        target={},
        selection={},
        options={},
        plan={},
        epoch=1,
        holder=None,
        is_held=True,
        cleaned_at=None,
        streams=(),
        relations=relations,
        objects=(),
        steps={name: Step(name, state, {}) for name, state in known.items() if state},
    )


def running(name: str, size: int, schema: str = "public") -> dict[str, Any]:
    return {"schema": schema, "name": name, "rows": 3, "bytes": size}


def building(table: str, **values: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("blocks_done", "blocks_total", "tuples_done", "tuples_total"), 0)
    return {"schema": "public", "table": table, "name": None, "phase": "building index", **nothing, **values}


def look(at_s: float, *relations: Relation, **seen: list[dict[str, Any]]) -> CopyProgress:
    return summarise(record(*relations), seen.get("copying", []), seen.get("built", []), at_s)


def test_rows_and_bytes_include_the_tables_that_are_being_copied_once() -> None:
    seen = look(
        0,
        relation("a", "copied", 500),
        relation("b"),
        relation("c"),
        copying=[running("a", 400), running("b", 70), running("b", 9, "other"), running("theirs", 5)],
    )
    assert (seen.tables, seen.tables_copied, seen.rows_copied, seen.bytes_copied) == (3, 1, 13, 570)
    assert seen.running == (RunningCopy("public", "b", 3, 70, MB),)
    assert seen.estimated_bytes == 3 * MB


def test_the_pieces_of_a_table_that_have_arrived_count_with_those_that_are_coming() -> None:
    pieces = replace(relation("a"), rows=20, bytes=600)
    seen = look(0, pieces, relation("b"), copying=[running("a", 70)])
    assert seen.running == (RunningCopy("public", "a", 23, 670, MB),)
    assert (seen.rows_copied, seen.bytes_copied, seen.tables_copied) == (23, 670, 0)
    assert look(0, pieces).bytes_copied == 600
    abandoned = replace(record(pieces), is_held=False)
    assert summarise(abandoned, [], [], 0).bytes_copied == 0  # they will be brought again


def test_the_numbers_of_an_event_without_an_earlier_look_have_no_rate() -> None:
    numbers = look(0, relation("a"), copying=[running("a", 70)]).numbers()
    assert (numbers["rate_bytes_per_second"], numbers["eta_seconds"]) == (None, None)
    assert numbers["running"] == [{"schema": "public", "name": "a", "rows": 3, "bytes": 70, "estimated_bytes": MB}]
    assert "indexes" not in numbers  # not known is not zero


def test_rate_and_time_left_are_measured_between_looks() -> None:
    pace = Pace()
    pace.numbers(look(10, relation("a"), copying=[running("a", 100_000)]))
    numbers = pace.numbers(look(12, relation("a"), copying=[running("a", 300_000)]))
    assert numbers["rate_bytes_per_second"] == 100_000
    assert numbers["eta_seconds"] == 7


def test_only_the_last_minute_counts() -> None:
    pace = Pace()
    for at_s, size in ((0, 0), (100, 0), (110, 1000)):
        numbers = pace.numbers(look(at_s, relation("a"), copying=[running("a", size)]))
    assert numbers["rate_bytes_per_second"] == 100


@pytest.mark.parametrize(("later_s", "size", "rate"), [(5, 900, None), (0, 1000, None), (5, 1000, 0), (5, 1500, 100)])
def test_a_rate_that_cannot_be_measured_is_unknown(later_s: float, size: int, rate: float | None) -> None:
    """Bytes that were taken back are no negative rate; no time has no rate; standing still is 0."""
    before, after = (look(at, relation("a"), copying=[running("a", n)]) for at, n in ((0, 1000), (later_s, size)))
    assert rate_between(before, after) == rate


def test_a_copy_that_stands_still_has_no_end() -> None:
    pace = Pace()
    for at_s in (0, 5):
        numbers = pace.numbers(look(at_s, relation("a"), copying=[running("a", 10)]))
    assert (numbers["rate_bytes_per_second"], numbers["eta_seconds"]) == (0, None)


def test_an_estimate_that_is_used_up_says_nothing_about_the_end() -> None:
    pace = Pace()
    for at_s in (0, 5):
        numbers = pace.numbers(look(at_s, relation("a"), copying=[running("a", 2 * MB + at_s)]))
    assert numbers["eta_seconds"] is None


def test_what_is_left_is_judged_by_what_the_copied_tables_weighed() -> None:
    seen = look(0, relation("a", "copied", MB // 2), relation("b"), copying=[running("b", 100_000)])
    assert seen.remaining_bytes == 400_000


def test_a_few_small_tables_say_nothing_about_the_rest() -> None:
    seen = look(0, relation("small", "copied", 100, 8192), relation("big"))
    assert seen.remaining_bytes == MB


def test_a_copy_that_has_ended_and_not_committed_is_not_lost() -> None:
    pace = Pace()
    pace.numbers(look(0, relation("a"), relation("b"), copying=[running("a", 900), running("b", 50)]))
    between = pace.numbers(look(1, relation("a"), relation("b"), copying=[running("b", 60)]))
    assert between["bytes_copied"] == 960
    after = pace.numbers(look(2, relation("a", "copied", 1000), relation("b"), copying=[running("b", 60)]))
    assert after["bytes_copied"] == 1060
    assert [item["name"] for item in after["running"]] == ["b"]


def test_a_copy_that_is_gone_is_forgotten_at_the_second_look_unless_its_indexes_are_being_built() -> None:
    for built, expected in (([], 0), ([building("a")], 900)):
        pace = Pace()
        pace.numbers(look(0, relation("a"), copying=[running("a", 900)]))
        for at_s in (1, 2, 3):
            numbers = pace.numbers(look(at_s, relation("a"), built=built))
        assert numbers["bytes_copied"] == expected


@pytest.mark.parametrize(
    ("row", "done", "total"),
    [
        ({"blocks_done": 3, "blocks_total": 9}, 3, 9),
        ({"blocks_done": 9, "blocks_total": 9, "tuples_done": 5, "tuples_total": 50}, 5, 50),
        ({}, None, None),
    ],
)
def test_an_index_build_counts_blocks_first_and_tuples_then(row: dict[str, int], done: int, total: int) -> None:
    seen = look(0, relation("a", "copied"), built=[building("a", **row), building("somebody_else_s")])
    assert seen.building == (BuildingIndex("public", "a", None, "building index", done, total),)


@pytest.mark.parametrize(
    ("steps", "relations", "builds", "step"),
    [
        ({"roles": "started", "pre_data": ""}, (relation("a"),), None, "roles"),
        ({"pre_data": ""}, (relation("a"),), None, "schema"),
        ({"large_objects": "started"}, (relation("a"),), None, "large_objects"),
        ({}, (relation("a"),), {"indexes": 2, "built": 0}, "copy"),
        ({}, (relation("a", "copied"),), {"indexes": 2, "built": 1}, "indexes"),
        ({}, (relation("a", "copied"),), {"indexes": 2, "built": 2}, "constraints"),
        ({"post_data": "done", "sequences": "started"}, (relation("a", "copied"),), None, "sequences"),
        ({"post_data": "done", "analyze": "started"}, (relation("a", "copied"),), None, "statistics"),
        ({"post_data": "done", "analyze": "done"}, (relation("a", "copied"),), None, None),
    ],
)
def test_the_step_follows_from_the_ledger(
    steps: dict[str, str], relations: tuple[Relation, ...], builds: dict[str, int] | None, step: str | None
) -> None:
    assert summarise(record(*relations, **steps), [], [], 0, builds).step == step


def test_indexes_are_counted_where_the_ledger_knows_them() -> None:
    numbers = summarise(record(relation("a")), [], [], 0, {"indexes": 3, "built": 1}).numbers()
    assert (numbers["indexes"], numbers["indexes_built"]) == (3, 1)


def test_a_ticker_tells_at_once_and_then_an_interval_later() -> None:
    told: list[Event] = []
    ticker = Ticker(told.append, 3600)
    assert ticker.seconds_left == 0
    ticker.tell(replace(look(0, relation("a")), indexes=1, indexes_built=0), "following: ")
    assert ticker.seconds_left > 3000
    assert told[0].text == "following: 0 of 1 table(s) copied"
    assert told[0].numbers["elapsed_seconds"] >= 0
