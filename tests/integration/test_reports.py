# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of validate: the text of --diff, the three files in migrate_report_dir, and AWX artifacts."""

from __future__ import annotations

import json
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.playbooks import Played, play
from tests.support.preflight import HOSTILE, H

# Each means something in one of the three formats, or to Ansible.
MARKUP = "<script>alert(1)</script> | `x` [a](b) {{ 7 }} {% raw %} \x1b\u202e"
NAME = "mi/gra <b>tion</b> | 'x'"


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    """A pair with hostile names on which a migration is blocked."""
    markup = sql.Identifier(MARKUP).as_string(None)
    source_db.execute(f"CREATE SCHEMA {H}; CREATE TABLE {H}.{H} (id int PRIMARY KEY)")
    source_db.execute(f"CREATE TABLE {markup} (n int); INSERT INTO {markup} SELECT generate_series(1, 1000)")
    target_db.execute(f"CREATE TABLE {markup} (n int)")
    return Case(source_db, target_db)


def validate(case: Case, *arguments: str, **variables: Any) -> Played:
    given = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migration_name": NAME,
        "migrate_client_bin_dir": case.bin_dir,
        "migrate_sample_seconds": 0.5,
        **variables,
    }
    return play("validate", given, *arguments)


def test_the_reports_of_a_failed_check_are_written_and_names_are_only_names(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "of today"
    played = validate(case, "--check", migrate_report_dir=str(folder))
    assert played.code != 0
    result = played.result("pg_migration_validate")
    assert result["code"] == "not_ready"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {path.suffix: path for path in folder.iterdir()}
    assert set(files) == {".html", ".md", ".json"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert re.fullmatch(r"localhost-mi_gra__b_tion__b_+x_-[0-9a-f]{8}-validate\.\w+", path.name)
    # JSON: what the module said, to the letter.
    report = json.loads(files[".json"].read_text(encoding="utf-8"))
    for key in ("checks", "summary", "plan", "source", "target", "ready"):
        assert report[key] == result[key]
    assert report["host"] == "localhost"
    found = {check["id"]: check for check in report["checks"]}
    assert f"public.{MARKUP}" in found["replica_identity"]["objects"][0]
    # HTML: the names are text, not markup.
    page = Page(files[".html"].read_text(encoding="utf-8"))
    assert page.elements.isdisjoint({"script", "b>tion", "a", "img", "link"})
    assert not [name for name, _value in page.attributes if name in ("src", "href") or name.startswith("on")]
    assert f"public.{MARKUP}" in page.text
    assert f"{HOSTILE}.{HOSTILE}" in page.text
    assert NAME in page.text
    for check in report["checks"]:
        if check["status"] == "fail":
            assert check["remedy"] in page.text
    # Markdown: neither does it make a link, a cell or code of them.
    text = files[".md"].read_text(encoding="utf-8")
    assert r"\<script\>alert(1)\</script\> \| \`x\` \[a\](b)" in text
    assert "```sql\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {5, 6}


def test_the_text_has_the_blockers_first_and_fits_a_terminal(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = validate(case, migrate_fail_on="never", migrate_skip_checks=["source_tls"])
    assert played.code == 0, played.output
    text = played.result("pg_migration_validate")["diff"]["prepared"]
    assert "\x1b" not in text
    assert "\u202e" not in text
    lines = text.splitlines()
    assert lines[0].startswith(f"{NAME}: not ready (")
    assert [line for line in lines if re.fullmatch("[A-Z][A-Z ]+", line)] == ["BLOCKERS", "LEFT OUT", "ESTIMATE"]
    assert all(len(line) <= 120 for line in lines if not line.endswith(";"))
    # Shown as it is, whichever way this Ansible shows results.
    shown = [line.strip() for line in played.output.splitlines()]
    assert {line.strip() for line in lines} <= set(shown)
    monkeypatch.setenv("ANSIBLE_CALLBACK_RESULT_FORMAT", "json")
    played = validate(case, migrate_fail_on="never", migrate_skip_checks=["source_tls"])
    assert json.dumps(lines[0]) in played.output


@pytest.mark.parametrize("how", ["--diff", "-v"])
def test_with_diff_or_v_the_module_shows_the_text_itself(case: Case, how: str) -> None:
    failed = validate(case, how)
    assert failed.code != 0
    assert failed.output.count("\nBLOCKERS\n  replica_identity  ") == 1
    assert len(re.findall(r"^ *BLOCKERS$", failed.output, re.MULTILINE)) == 1


def test_artifacts_say_by_host_what_blocks(case: Case) -> None:
    played = validate(case)
    assert played.code != 0
    ((host, artifact),) = played.artifacts["seren_migrator_validate"].items()
    assert host == "localhost"
    assert artifact["ready"] is False
    assert artifact["migration"] == NAME
    assert set(artifact["blockers"]) == {"replica_identity", "target_empty"}
    assert artifact["summary"]["open"]["blocker"] == 2
    assert set(artifact) == {"migration", "ready", "summary", "blockers"}
