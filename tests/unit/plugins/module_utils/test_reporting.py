# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError, Redactor
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.reporting import JsonLines, Reporter


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_a_line_at_once_and_the_last_says_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    report = Reporter("init", Redactor([]), [JsonLines("progress_path", os.fspath(path))])
    report(Event("init", "copying", {"bytes_copied": 5}))
    (first,) = lines(path)
    assert (first["phase"], first["text"], first["numbers"]) == ("init", "copying", {"bytes_copied": 5})
    assert first["time"].endswith("+00:00")
    report.end({"changed": True})
    assert [line.get("outcome") for line in lines(path)] == [None, "ok"]
    assert lines(path)[-1]["changed"] is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failure_has_its_code_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    report = Reporter("init", Redactor([]), [JsonLines("progress_path", os.fspath(path))])
    report.end({"failed": True, "changed": False, "msg": "no", "code": "copy_failed", "remedy": "mend it"})
    (line,) = lines(path)
    assert [line[key] for key in ("outcome", "msg", "code", "remedy")] == ["failed", "no", "copy_failed", "mend it"]


def test_a_second_run_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    for _run in range(2):
        report = Reporter("init", Redactor([]), [JsonLines("progress_path", os.fspath(path))])
        report(Event("init", "started"))
        report.end({"changed": False})
    assert [line["text"] for line in lines(path)] == ["started", "ended"] * 2


def test_secrets_are_redacted_in_text_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    report = Reporter("init", Redactor(["s3cret-word"]), [JsonLines("progress_path", os.fspath(path))])
    report(Event("init", "copying s3cret-word", {"running": [{"name": "s3cret-word"}]}))
    report.end({"failed": True, "msg": "password=s3cret-word", "changed": False})
    assert "s3cret" not in path.read_text()


@pytest.mark.parametrize("kind", ["no directory", "a directory", "a pipe"])
def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path, kind: str) -> None:
    path = {"no directory": tmp_path / "x" / "progress", "a directory": tmp_path, "a pipe": tmp_path / "pipe"}[kind]
    if kind == "a pipe":
        os.mkfifo(path)
    with pytest.raises(MigrationError) as caught:
        JsonLines("progress_path", os.fspath(path))
    assert caught.value.code == "bad_option"
    assert "progress_path" in caught.value.message
    assert os.fspath(path) in caught.value.message


class Full:
    """An outlet whose disk is full."""

    def __init__(self) -> None:
        self.is_closed = False

    def write(self, line: Mapping[str, Any], *, is_last: bool) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.is_closed = True


def test_an_outlet_that_fails_is_left_out_and_disturbs_nobody(tmp_path: Path) -> None:
    path, full = tmp_path / "progress", Full()
    report = Reporter("init", Redactor([]), [full, JsonLines("progress_path", os.fspath(path))])
    report(Event("init", "one"))
    report(Event("init", "two"))
    report.end({"changed": True})
    assert full.is_closed
    assert "No space left" in str(report.problem)
    assert [line["text"] for line in lines(path)] == ["one", "two", "ended"]
