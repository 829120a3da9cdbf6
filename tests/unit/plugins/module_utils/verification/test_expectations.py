# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration's ledger explains of the differences, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.ledger import Record, Step
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects import expectations, finding
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects.described import UNKNOWN, Described


def record(*left: tuple[str, str], options: dict[str, Any] | None = None, **steps: dict[str, Any]) -> Record:
    told = {"left": [{"object": what, "reason": reason} for what, reason in left]}
    return Record(
        id="0" * 32,
        name="m",
        state="synced",
        source={},
        target={},
        selection={},
        options={"large_objects": "copy", "user_mappings": "create", **(options or {})},
        plan={},
        epoch=1,
        holder=None,
        is_held=False,
        cleaned_at=None,
        streams=(),
        relations=(),
        objects=(),
        steps={name: Step(name, "done", detail) for name, detail in {**steps, "told": told}.items()},
    )


def item(kind: str, name: str, **attributes: str | None) -> Described:
    named = {key.replace("_", " "): value for key, value in attributes.items()}
    return Described(kind, name, 0, 0, named)


def reasons(source: Described | None, target: Described | None, known: Any) -> dict[tuple[str, ...], str]:
    """The reason for each group of attributes that differ; the only attribute of what is missing or extra is that."""
    sides = [{one.key: one} if one else {} for one in (source, target)]
    found = finding.conclude(sides[0], sides[1], expectations.expected(known))
    return {tuple(one.attributes) or (one.what,): one.reason for one in (*found.different, *found.expected)}


def test_a_resting_trigger_is_expected_and_another_definition_of_it_is_not() -> None:
    known = record(
        firing_found={"firing": [{"kind": "TRIGGER", "schema": "a", "relation": "T", "name": "x y", "enabled": "A"}]}
    )
    here = item("trigger", '"x y" on a."T"', enabled="always", definition="one")
    there = item("trigger", '"x y" on a."T"', enabled="disabled", definition="two")
    assert reasons(here, there, known) == {("enabled",): expectations.UNTIL_CUTOVER, ("definition",): ""}


@pytest.mark.parametrize(
    ("what", "source", "target", "expected"),
    [
        ("event trigger Watch", item("event trigger", '"Watch"'), None, {("missing",): "why"}),
        ("event trigger other", item("event trigger", '"Watch"'), None, {("missing",): ""}),
        ("policy p on table a.t for x", item("policy", "p on a.t"), None, {("missing",): "why"}),
        ("owner x of table a.t", item("table", "a.t", owner="x"), item("table", "a.t", owner="y"), {("owner",): "why"}),
        ("owner x of table a.t", item("table", "a.u", owner="x"), item("table", "a.u", owner="y"), {("owner",): ""}),
        ("owner x of table a.t", item("table", "a.t", options="x"), item("table", "a.t"), {("options",): ""}),
        ("SELECT, INSERT on routine a.f(integer, text) for x", item("function", "a.f(integer,text)", privileges="x"),
         item("function", "a.f(integer,text)"), {("privileges",): "why"}),
        ("SELECT on column c of table a.t for x", item("column", "a.t.c", privileges="x"), item("column", "a.t.c"), {("privileges",): "why"}),
        ("role x as the one who has granted", item("table", "a.t", grantors="y SELECT from x"), item("table", "a.t"), {("grantors",): "why"}),
        ("role x as the one who has granted", item("table", "a.t", grantors="y SELECT from z"), item("table", "a.t"), {("grantors",): ""}),
        ("connection limit of the database", item("database", "the database", connection_limit="3"), item("database", "the database"),
         {("connection limit",): "why"}),
        ("setting app.x of the database", Described("database", "the database", 0, 0, {"setting app.x": "1", "setting b": "2"}),
         item("database", "the database"), {("setting app.x",): "why", ("setting b",): ""}),
        ("connection limit of the database", item("database", "the database", comment="3"), item("database", "the database"), {("comment",): ""}),
        ("view a.v", item("view", "a.v"), None, {("missing",): "why"}),
        ("view a.v", None, item("view", "a.v"), {("extra",): ""}),
    ],
)  # fmt: skip
def test_what_is_listed_as_left_behind_explains_that_and_nothing_else(
    what: str, source: Described | None, target: Described | None, expected: dict[tuple[str, ...], str]
) -> None:
    assert reasons(source, target, record((what, "why"))) == expected


def test_policies_explain_what_they_leave_out() -> None:
    mapping = item("user mapping", "for x on server y")
    assert reasons(mapping, None, record()) == {("missing",): ""}
    assert reasons(mapping, None, record(options={"user_mappings": "skip"}))["missing",] != ""
    large = item("large objects", "of the database")
    assert reasons(large, None, record()) == {("missing",): ""}
    assert reasons(large, None, record(options={"large_objects": "skip"})) == {("missing",): "large_objects: skip"}
    assert reasons(None, large, record(options={"large_objects": "skip"})) == {("extra",): "large_objects: skip"}
    assert reasons(large, None, record(options={"large_objects": "fail"})) == {("missing",): ""}
    assert reasons(None, large, record(options={"large_objects": "fail"}))["extra",] != ""
    assert reasons(None, large, record()) == {("extra",): ""}


def test_what_is_hidden_is_unknown_and_not_equal() -> None:
    mapping = item("user mapping", "for x on server y", option_values=UNKNOWN)
    found = finding.conclude({mapping.key: mapping}, {mapping.key: mapping}, [])
    assert found.status == "unknown"
    assert found.is_failure
    assert [one.what for one in found.different] == ["unknown"]


def test_parts_of_what_is_missing_go_without_saying() -> None:
    table, part = item("table", "a.t"), Described("column", "a.t.c", 0, 0, {}, ("table", "a.t"))
    found = finding.conclude({table.key: table, part.key: part}, {}, [])
    assert [(one.kind, one.what) for one in found.different] == [("table", "missing")]
