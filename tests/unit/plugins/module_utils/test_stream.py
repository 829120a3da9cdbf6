# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import Redactor
from ansible_collections.seren.migrator.plugins.module_utils.ledger import Record, Relation, Step, Stream
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration, Selection
from ansible_collections.seren.migrator.plugins.module_utils.phases.init import InitOptions, fingerprint
from ansible_collections.seren.migrator.plugins.module_utils.session import StatementLog
from ansible_collections.seren.migrator.plugins.module_utils.stream import carrying, next_number, to_open


def record(
    streams: dict[int, str], tables: dict[str, int | None], *, state: str = "copying", ready: bool = True
) -> Record:
    """A record of streams by number and state, and of tables by name and stream, None for what is to be copied."""
    return Record(
        id="0" * 32,
        name="m",
        state=state,
        source={},
        target={},
        selection={},
        options={},
        plan={},
        epoch=1,
        holder=None,
        is_held=False,
        cleaned_at=None,
        streams=tuple(
            Stream(number, f"pub_{number}", f"slot_{number}", f"sub_{number}", f"marker_{number}", "0/1", word)
            for number, word in streams.items()
        ),
        relations=tuple(
            Relation("public", name, "table", oid, stream, "pending" if stream is None else "copied", *[None] * 4)
            for oid, (name, stream) in enumerate(tables.items(), 1)
        ),
        objects=(),
        steps={"pre_data": Step("pre_data", "done", {})} if ready else {},
    )


def test_a_new_migration_opens_as_many_as_are_wanted() -> None:
    assert to_open(None, 4) == 4
    assert to_open(record({}, {"a": None}, ready=False), 4) == 4


def test_streams_that_carry_tables_count_and_the_rest_needs_at_least_one() -> None:
    going = {1: "slot_ready", 2: "slot_ready", 3: "slot_ready"}
    assert to_open(record(going, {"a": 1, "b": 2, "c": None}), 4) == 2
    assert to_open(record(going, {"a": 1, "b": 2, "c": None}), 2) == 1
    assert to_open(record(going, {"a": 1, "b": 2, "c": None}), 1) == 1


def test_streams_that_are_gone_or_going_carry_nothing() -> None:
    found = record({1: "removed", 2: "removing", 3: "slot_ready", 4: "slot_ready"}, {"a": 2, "b": 4, "c": None})
    assert [item.number for item in carrying(found)] == [4]
    assert to_open(found, 3) == 2


def test_nothing_is_opened_when_nothing_is_left_to_copy() -> None:
    assert to_open(record({1: "slot_ready"}, {"a": 1}), 4) == 0
    assert to_open(record({1: "subscribed"}, {"a": 1}, state="synced"), 4) == 0
    assert to_open(record({}, {}, ready=False), 4) == 4


def test_a_number_is_never_used_again() -> None:
    assert next_number(None) == 1
    assert next_number(record({1: "removed", 2: "slot_ready", 3: "removed"}, {})) == 4


def test_another_number_of_streams_is_another_command() -> None:
    endpoint = {side: Endpoint(side, {"host": side, "dbname": "shop"}) for side in ("source", "target")}
    migration = Migration("m", endpoint["source"], endpoint["target"], Selection(), StatementLog(Redactor([])))
    prints = {fingerprint(migration, InitOptions(streams=number, jobs=jobs)) for number in (1, 4) for jobs in (2, 8)}
    assert len(prints) == 2
