# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: what it shows when something is not proven, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.demo.report import Claim, bytes_text, render
from tests.support.playbooks import REPOSITORY


def test_the_closing_table_says_what_was_not_proven() -> None:
    text = render(
        [Claim("rows are equal", "2 differ", False, ("a\nb",)), Claim("caught up", "lag 0", True)], {"t": 1234}
    )
    assert "NOT PROVEN  rows are equal  2 differ" in text
    assert "proven      caught up       lag 0" in text
    assert "1 of 2 were NOT proven." in text
    assert "1,234  t" in text
    assert "a?b" in text


def test_numbers_of_bytes_have_the_unit_that_suits_them() -> None:
    assert [bytes_text(count) for count in (0, 812, 3_400_000, 7e13)] == ["0 B", "812 B", "3.4 MB", "70000.0 GB"]


def demo(folder: Path) -> subprocess.Popen[str]:
    """The demo with a temporary folder of its own, in which what it leaves behind would be seen."""
    environment = {**os.environ, "SCALE": "1", "KEEP": "", "TMPDIR": os.fspath(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.demo"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_naming(folder: Path) -> list[str]:
    command_lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return [line.decode(errors="replace") for line in command_lines if os.fsencode(folder) in line]


@pytest.mark.slow
def test_the_demo_proves_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    assert "Everything was proven." in output
    assert "pg_migration_init [localhost] migration=seren_migration" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Copy schema and rows" in line:
                break
        time.sleep(2)
        process.send_signal(number)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "nothing was left behind" in output
    assert list(tmp_path.iterdir()) == []
    assert processes_naming(tmp_path) == []
