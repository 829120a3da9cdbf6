# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person or a program reads of verify: the four files in migrate_report_dir."""

from __future__ import annotations

import json
import re
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.integration.test_reports import MARKUP, NAME, Page
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.playbooks import Played, play
from tests.support.preflight import HOSTILE, H

M = sql.Identifier(MARKUP).as_string(None)
KEY = "</td><script>alert(2)</script>\x07]]>'\"&"
SECRET = "v4lue-of-a-row"


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    """Two databases with hostile names and keys, in which a row, a sequence and a column's default differ."""
    for database in (source_db, target_db):
        database.execute(f"CREATE SCHEMA {H}")
        database.execute(f"CREATE TABLE {H}.{H} (id text PRIMARY KEY, {M} text, n serial)")
        database.execute(f"CREATE TABLE {M} (n int PRIMARY KEY)")
        database.execute(f"INSERT INTO {M} SELECT generate_series(1, 1000)")
    source_db.execute(f"INSERT INTO {H}.{H} VALUES (%s, %s, 7), ('same', 'same', 8)", (KEY, SECRET))
    target_db.execute(f"INSERT INTO {H}.{H} VALUES (%s, %s, 7), ('same', 'same', 8)", (KEY, SECRET + "!"))
    target_db.execute(f"ALTER TABLE {M} ADD {M} int DEFAULT 1")
    target_db.execute(f'ALTER SEQUENCE {H}."{HOSTILE.replace(chr(34), chr(34) * 2)}_n_seq" INCREMENT BY 5')
    return Case(source_db, target_db)


def run(case: Case, *arguments: str, **variables: Any) -> Played:
    given = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migration_name": NAME,
        "migrate_max_rounds": 2,
        **variables,
    }
    return play("verify", given, *arguments)


def test_the_reports_of_a_failed_comparison_are_written_and_names_and_keys_are_only_text(
    case: Case, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    played = run(case, migrate_report_dir=str(folder))
    assert played.code != 0
    result = played.result("pg_migration_verify")
    assert result["code"] == "not_verified"
    assert played.changed == 0
    files = {path.suffix: path for path in folder.iterdir()}
    assert set(files) == {".html", ".json", ".xml", ".jsonl"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert re.fullmatch(r"localhost-mi_gra__b_tion__b_+x_-[0-9a-f]{8}-verify\.\w+", path.name)
        assert SECRET not in path.read_text(encoding="utf-8")
        assert str(case.source.params["password"]) not in path.read_text(encoding="utf-8")
    # JSON: what the module said, to the letter. JSON lines: the rows of it.
    report = json.loads(files[".json"].read_text(encoding="utf-8"))
    for key in ("verified", "tables", "differences", "sequences", "objects", "left_out", "settings"):
        assert report[key] == result[key]
    (difference,) = report["differences"]
    assert difference["key"] == {"id": KEY}
    assert difference["columns"] == [MARKUP]
    lines = files[".jsonl"].read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == report["differences"]
    # HTML: the names and keys are text, not markup, and nothing is loaded.
    page = Page(files[".html"].read_text(encoding="utf-8"))
    assert page.elements.isdisjoint({"script", "b>tion", "a", "img", "link"})
    assert not [name for name, _value in page.attributes if name in ("src", "href") or name.startswith("on")]
    for text in (KEY, MARKUP, f"{HOSTILE}.{HOSTILE}", f"public.{MARKUP}", NAME, "Not proven equal", "increment"):
        assert text in page.text
    bars = [value for name, value in page.attributes if name == "style"]
    assert len(bars) == len(report["tables"]) == 2
    assert "width:100.0%" in bars
    # JUnit: a case for each table, sequence and kind of object, and each failure where it belongs.
    suites = {suite.get("name"): suite for suite in ET.fromstring(files[".xml"].read_bytes())}
    assert set(suites) == {"tables", "sequences", "besides", "objects"}
    assert [item.get("name") for item in suites["besides"]] == ["large objects", "replication"]
    clean = re.sub(r"[\x00-\x1f]", "\ufffd", MARKUP)
    tables = {item.get("name"): item for item in suites["tables"]}
    assert set(tables) == {f"{HOSTILE}.{HOSTILE}", f"public.{clean}"}
    failure = tables[f"{HOSTILE}.{HOSTILE}"].find("failure")
    assert failure is not None
    assert "</td><script>alert(2)" in (failure.text or "")
    (sequence,) = suites["sequences"]
    assert sequence.find("failure") is not None
    kinds = {item.get("name"): item for item in suites["objects"]}
    assert set(kinds) == {kind["kind"] for kind in report["objects"]["kinds"]}
    assert {name for name, item in kinds.items() if item.find("failure") is not None} >= {"column", "sequence"}
    for suite in suites.values():
        assert int(suite.get("tests", "")) == len(suite)
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("errors", "")) == len(suite.findall("testcase/error"))


def test_equal_sides_fail_no_test_case_and_a_report_replaces_the_one_before(case: Case, tmp_path: Path) -> None:
    run(case, migrate_report_dir=str(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    case.target.execute(f"UPDATE {H}.{H} SET {M} = '{SECRET}' WHERE n = 7")
    case.target.execute(f'ALTER SEQUENCE {H}."{HOSTILE.replace(chr(34), chr(34) * 2)}_n_seq" INCREMENT BY 1')
    played = run(case, migrate_report_dir=str(tmp_path), migrate_objects="skip")
    assert played.code == 0, played.output
    assert {path.name for path in tmp_path.iterdir()} == names
    files = {path.suffix: path for path in tmp_path.iterdir()}
    assert files[".jsonl"].read_text(encoding="utf-8").strip() == ""
    report = ET.fromstring(files[".xml"].read_bytes())
    assert [list(item) for item in report.iter("testcase") if item.get("classname") in ("tables", "sequences")] == [
        [],
        [],
        [],
    ]
    assert report.find("testsuite/testcase/skipped") is not None
    assert "Proven equal" in Page(files[".html"].read_text(encoding="utf-8")).text


def test_in_check_mode_before_there_is_a_copy_the_reports_say_that_nothing_was_compared(
    case: Case, tmp_path: Path
) -> None:
    played = run(case, "--check", migrate_report_dir=str(tmp_path))
    assert played.code == 0, played.output
    files = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(files) == {".html", ".json", ".xml", ".jsonl"}
    assert json.loads(files[".json"].read_text(encoding="utf-8"))["verified"] is False
    (tables,) = ET.fromstring(files[".xml"].read_bytes()).findall("testsuite[@name='tables']/testcase")
    assert "does not exist yet" in str(tables.find("error").get("message"))  # type: ignore[union-attr]
    assert "does not exist yet" in Page(files[".html"].read_text(encoding="utf-8")).text


def test_a_repair_is_shown_and_the_second_run_changes_nothing(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    source_db.execute(
        f"CREATE SCHEMA {H}; CREATE TABLE {H}.{H} (id text PRIMARY KEY, {M} text, n int)".replace("%", "%%")
    )
    source_db.execute(f"INSERT INTO {H}.{H} VALUES (%s, %s, 1), ('other', 'x', 2)", (KEY, MARKUP + SECRET))
    case = Case(source_db, target_db, {"name": NAME})
    try:
        case.init()
        case.sync()
        case.wait_until_in_sync()
        with target_db.connect() as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(f"UPDATE {H}.{H} SET n = 7 WHERE n = 2")
            connection.execute(f"DELETE FROM {H}.{H} WHERE n = 1")
        given = {
            "migrate_report_dir": str(tmp_path),
            "migrate_max_rounds": 5,
            "migrate_show_values": True,
            "migrate_repair_sql_path": str(tmp_path / "repair.sql"),
        }
        found = run(case, "--check", migrate_repair=True, **given)
        assert found.code != 0
        assert found.result("pg_migration_verify")["changed"] is True
        files = {path.suffix: path for path in tmp_path.iterdir()}
        page = Page(files[".html"].read_text(encoding="utf-8"))
        assert page.elements.isdisjoint({"script", "b>tion", "a", "img", "link"})
        for text in (KEY, MARKUP + SECRET, "would be repaired", "2 would be repaired, 0 not."):
            assert text in page.text
        assert stat.S_IMODE(files[".sql"].stat().st_mode) == 0o600
        mended = run(case, migrate_repair=True, **given)
        assert mended.code == 0, mended.output
        assert "2 rows repaired, 0 not" in mended.output
        result = mended.result("pg_migration_verify")
        assert result["changed"] is True
        assert result["verified"] is True
        assert SECRET not in "".join(result["statements"])
        again = run(case, migrate_repair=True, **given)
        assert again.code == 0, again.output
        assert again.changed == 0
    finally:
        case.cleanup(force=True)
