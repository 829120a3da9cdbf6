# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg")

import psycopg

from ansible_collections.seren.migrator.plugins.module_utils.errors import CODES, MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases.validate import ValidateOptions, summary, verdict
from ansible_collections.seren.migrator.plugins.module_utils.preflight import registry
from ansible_collections.seren.migrator.plugins.module_utils.preflight.check import (
    Check,
    Finding,
    Outcome,
    Severity,
    check_both,
    failed,
    name,
    passed,
    skipped,
    statement,
    statements,
    unknown,
)
from ansible_collections.seren.migrator.plugins.module_utils.preflight.context import Context, Unavailable

SECRET = "hunter2-secret"


@pytest.fixture
def context() -> Context:
    """A context that has never connected."""
    side = {"host": "h", "dbname": "d", "password": SECRET}
    return Context(Migration.from_options({"source": side, "target": side}), ValidateOptions())


def raising(error: Exception) -> Callable[[Context], Outcome]:
    def function(context: Context) -> Outcome:
        raise error

    return function


def finding(outcome: Outcome, severity: Severity = "blocker", identifier: str = "x") -> Finding:
    return Finding(Check(identifier, "title", "source", severity, raising(AssertionError())), outcome, severity)


def test_ids_are_unique_words_and_every_title_says_something() -> None:
    ids = [check.id for check in registry.CHECKS]
    assert len(set(ids)) == len(ids)
    for check in registry.CHECKS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", check.id)
        assert len(check.title) > 10
        assert "{" not in check.title


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (psycopg.errors.InsufficientPrivilege("permission denied for table x"), "unknown", "42501"),
        (psycopg.errors.UndefinedTable(f"no table, password={SECRET}"), "unknown", "42P01"),
        (psycopg.OperationalError("the connection is closed"), "unknown", "closed"),
        (MigrationError("database_error", "no row"), "unknown", "no row"),
        (Unavailable("source_connection", "the source cannot be reached"), "skipped", "cannot be reached"),
    ],
)
def test_what_cannot_be_found_out_never_passes(context: Context, error: Exception, status: str, words: str) -> None:
    outcome = registry.run_check(context, Check("x", "x", "source", "blocker", raising(error)))
    assert outcome.status == status
    assert words in outcome.detail
    assert SECRET not in outcome.detail
    assert finding(outcome).stops(("blocker",))


def test_a_check_for_other_versions_cannot_be_judged_without_its_server(context: Context) -> None:
    outcome = registry.run_check(context, Check("x", "x", "source", "blocker", raising(AssertionError()), (13, 15)))
    assert outcome.needs == "source_connection"


def test_both_sides_are_declared_by_one_function(context: Context) -> None:
    topic: list[Check] = []

    @check_both(topic, "thing", "The {side} has a thing")
    def thing(context: Context, side: Any) -> Outcome:
        return passed(side)

    assert [(check.id, check.side, check.title, check.function(context).detail) for check in topic] == [
        ("source_thing", "source", "The source has a thing", "source"),
        ("target_thing", "target", "The target has a thing", "target"),
    ]


def test_identifiers_in_remedies_are_quoted() -> None:
    remedy = statements(statement("GRANT {} TO {}", name('a"; DROP'), name("s.t", "Ü")), statement("SELECT 1"))
    assert remedy == 'GRANT "a""; DROP" TO "s.t"."Ü";\nSELECT 1;'


def test_unknown_ids_and_severities_are_named() -> None:
    known = registry.CHECKS[0].id
    registry.verify_ids([known], {known: "info"})
    for arguments, words in (
        (([known, "nope"], {}), "skip_checks .*nope"),
        (([], {"nope": "info"}), "severities .*nope"),
        (([], {known: "loud"}), f"{known}: loud"),
    ):
        with pytest.raises(MigrationError, match=words) as raised:
            registry.verify_ids(*arguments)
        assert raised.value.code == "bad_option"


def test_what_is_open_stops_and_what_is_closed_does_not() -> None:
    open_ones = [finding(failed("d")), finding(unknown("d")), finding(skipped("d", needs="y"))]
    closed = [finding(passed()), finding(skipped("left out"))]
    assert all(item.stops(("blocker",)) for item in open_ones)
    assert not any(item.stops(("blocker", "warning", "info")) for item in closed)
    assert summary([*open_ones, *closed]) == {
        "pass": 1,
        "fail": 1,
        "unknown": 1,
        "skipped": 2,
        "open": {"blocker": 3, "warning": 0, "info": 0},
    }


def test_the_verdict_names_causes_and_the_first_remedy() -> None:
    findings = [
        finding(passed(), identifier="fine"),
        finding(failed("broken", objects=[f"o{n}" for n in range(7)], code="target_not_empty"), identifier="one"),
        finding(unknown("unclear", "GRANT x"), identifier="two"),
        finding(skipped("because of one", needs="one"), identifier="three"),
        finding(failed("small"), "warning", "four"),
    ]
    error = verdict(findings, "blocker")
    assert error is not None
    assert error.code == "not_ready"
    assert error.details == {"checks": ["one", "two"], "codes": ["not_ready", "target_not_empty"]}
    assert "one: broken [o0, o1, o2, o3, o4, ...]" in error.message
    assert "two: unclear" in error.message
    assert "three" not in error.message
    assert error.remedy == "two: GRANT x"
    assert verdict(findings, "never") is None
    assert "four" in str(verdict(findings, "warning"))
    assert verdict(findings[:1], "warning") is None


def test_the_verdict_over_many_findings_tells_the_first_with_their_remedies_and_names_the_others() -> None:
    many = [finding(failed(f"broken {n}", "GRANT x; " * 100), identifier=f"check{n}") for n in range(8)]
    error = verdict(many, "blocker")
    assert error is not None
    assert error.message.startswith("8 checks stand in the way. check0: broken 0 Remedy: GRANT x; GRANT x; ")
    assert "check4: broken 4 Remedy: GRANT x;" in error.message
    assert error.message.endswith(" And 3 more: check5, check6, check7.")
    assert len(error.message) < 2500


def test_what_could_only_be_skipped_stops_when_its_cause_was_demoted() -> None:
    findings = [finding(failed("x"), "info", "cause"), finding(skipped("s", needs="cause"), "blocker", "effect")]
    error = verdict(findings, "blocker")
    assert error is not None
    assert error.details["checks"] == ["effect"]


def test_the_codes_that_checks_give_exist() -> None:
    source = "".join(
        Path(module.__file__).read_text(encoding="utf-8")
        for module in (registry.connection, registry.target, registry.tables, registry.programs)
    )
    codes = set(re.findall(r'code="(\w+)"', source))
    assert codes
    assert codes <= set(CODES)


def test_the_list_of_checks_in_the_documentation_is_complete() -> None:
    page = (Path(__file__).parents[5] / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = [f"| `{check.id}` | {check.side} | {check.severity} | {check.title} |" for check in registry.CHECKS]
    assert re.findall(r"^\| `.*\|$", page, re.MULTILINE) == rows
