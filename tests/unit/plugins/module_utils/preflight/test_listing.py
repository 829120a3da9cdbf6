# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight.listing import WIDTH, listing, plain


def check(identifier: str, status: str = "fail", severity: str = "blocker", **fields: Any) -> dict[str, Any]:
    given = {"objects": [], "detail": "", "remedy": "", "open": status in ("fail", "unknown")}
    return {
        "id": identifier,
        "title": f"{identifier} is well",
        "severity": severity,
        "status": status,
        **given,
        **fields,
    }


def text(*checks: dict[str, Any], plan: dict[str, Any] | None = None, ready: bool = False) -> str:
    counts = dict.fromkeys(("pass", "fail", "unknown", "skipped"), 0)
    summary = {**counts, "open": {"blocker": 1, "warning": 0, "info": 0}}
    side = {"endpoint": {"host": "h", "dbname": "d"}, "version": None}
    data = {"ready": ready, "summary": summary, "checks": checks, "source": side, "target": side, "plan": plan or {}}
    return listing("m", data)


def test_the_order_is_what_must_be_done_first() -> None:
    shown = text(
        check("i", severity="info"),
        check("w", severity="warning"),
        check("skipped_by_choice", "skipped", detail="Left out by skip_checks."),
        check("needs_a", "skipped", detail="Not possible, because it is off.", open=True),
        check("needs_b", "skipped", detail="Not possible, because it is off.", open=True),
        check("b"),
        check("p", "pass"),
    ).splitlines()
    order = ["BLOCKERS", "WARNINGS", "GOOD TO KNOW", "COULD NOT BE LOOKED AT", "LEFT OUT"]
    assert [line for line in shown if line.isupper()] == order
    assert shown[shown.index("BLOCKERS") + 1].split() == ["b", "b", "is", "well"]
    assert "  Not possible, because it is off. (needs_a, needs_b)" in shown
    assert "  Left out by skip_checks. (skipped_by_choice)" in shown
    assert not any(line.split()[:1] == ["p"] for line in shown)


def test_what_is_not_known_says_so() -> None:
    assert "  x  unknown: permission denied" in text(check("x", "unknown", detail="permission denied"))


def test_words_are_wrapped_and_sql_is_not() -> None:
    sql = f'ALTER TABLE "{"long " * 60}" REPLICA IDENTITY FULL;'
    words = "-- or " + "another way " * 30
    detail = "Something happened. " * 30
    objects = [f"schema.table_{number}" for number in range(30)]
    shown = text(check("a_check", detail=detail, objects=objects, remedy=f"{sql}\n{words}")).splitlines()
    assert any(line.strip() == f"do: {sql}" for line in shown)
    assert all(len(line) <= WIDTH for line in shown if not line.endswith(";"))
    # The words after the SQL stay a comment in each of their lines.
    begin = next(number for number, line in enumerate(shown) if "-- or" in line)
    assert all(line.strip().startswith("-- ") for line in shown[begin:] if "another way" in line)
    assert any(line.endswith("and 20 more") for line in shown)


def test_a_remedy_for_thousands_of_objects_stays_short() -> None:
    remedy = "\n".join(f"DROP TABLE t{number};" for number in range(5000))
    shown = text(check("x", remedy=remedy)).splitlines()
    assert len(shown) < 25
    assert any("-- ... and 4,989 lines more" in line for line in shown)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [("a\x1b[31mb", r"a\x1b[31mb"), ("a\nb\tc", r"a\nb\tc"), ("a\u202eb", r"a\u202eb"), ("Näme 表", "Näme 表")],
)
def test_names_do_not_act_on_the_terminal(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown
    given = check("x", objects=[f"s.{hostile}"], remedy=f'DROP TABLE "{hostile}";'.replace("\n", " "))
    assert hostile not in text(given).replace("Näme 表", "") or hostile == "Näme 表"


def test_the_estimate_is_a_table_of_its_own() -> None:
    estimate = {
        "summary": ["Rows: about 3 rows in 2 tables, 1.0 KiB.", "Cut-over feasible: not known yet."],
        "largest_tables": [
            {"schema": "s", "name": "big", "rows": 1200, "bytes": 2048},
            {"schema": "s", "name": "new", "rows": None, "bytes": 1024},
            {"schema": "s", "name": "empty", "rows": 0, "bytes": 0},
        ],
    }
    shown = text(plan={"estimate": estimate}, ready=True).splitlines()
    assert shown[shown.index("ESTIMATE") + 1 :] == [
        "  Rows               about 3 rows in 2 tables, 1.0 KiB.",
        "  Cut-over feasible  not known yet.",
        "     rows     size  largest tables",
        "    1,200  2.0 KiB  s.big",
        "  unknown  1.0 KiB  s.new",
    ]
    assert shown[0].startswith("m: ready (")
