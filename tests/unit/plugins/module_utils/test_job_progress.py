# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.job_progress import (
    SEEN,
    JobFile,
    Look,
    look_command,
    own_file,
    parse_look,
)

TICKS = 50
TICK_S = 0.05


def look(path: Path, *, until_begun: bool = False, ticks: int = 0) -> Look:
    """What the shell sees; without ticks it looks once."""
    command = look_command(os.fspath(path), ticks, TICK_S, until_begun=until_begun)
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return parse_look(done.stdout)


def line(text: str, **numbers: object) -> dict[str, object]:
    return {"phase": "init", "text": text, "numbers": numbers}


def test_before_the_job_has_begun_there_is_nothing(tmp_path: Path) -> None:
    assert look(tmp_path / "it's a file", ticks=2) == Look(False, False, False, None)


def test_a_running_job_is_alive_with_its_latest_event_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    job = JobFile(path)
    job.write(line("copying", bytes_copied=5, eta_seconds=9), is_last=False)
    seen = look(path)
    assert seen == Look(True, False, True, line("copying", bytes_copied=5, eta_seconds=9))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(tmp_path.iterdir()) == {path, path.with_name(path.name + SEEN)}


def test_a_job_that_nobody_watches_any_more_ends_and_one_that_is_watched_does_not(tmp_path: Path) -> None:
    job = JobFile(tmp_path / "file", unwatched_s=0.3)
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        for _turn in range(4):  # nobody has begun to look
            job.write(line("comparing"), is_last=False)
            time.sleep(0.15)
        for _turn in range(6):
            assert look(tmp_path / "file").is_alive
            job.write(line("comparing"), is_last=False)
            time.sleep(0.1)
        assert told == []
        for _turn in range(6):
            job.write(line("comparing"), is_last=False)
            time.sleep(0.1)
        assert told == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_lasting_numbers_stay_and_rates_go_with_their_event(tmp_path: Path) -> None:
    job = JobFile(tmp_path / "file")
    job.write(line("copying", bytes_copied=5, eta_seconds=9, step="copy"), is_last=False)
    job.write(line("collecting", step="statistics"), is_last=False)
    seen = look(tmp_path / "file").line
    assert seen is not None
    assert seen["numbers"] == {"bytes_copied": 5, "step": "statistics"}


def test_a_look_ends_when_the_job_ends(tmp_path: Path) -> None:
    job = JobFile(tmp_path / "file")
    job.write(line("copying"), is_last=False)
    threading.Timer(0.2, lambda: job.write({**line("ended"), "outcome": "ok"}, is_last=True)).start()
    seen = look(tmp_path / "file", ticks=10_000)
    assert (seen.has_ended, seen.is_alive) == (True, False)
    assert seen.line is not None
    assert seen.line["outcome"] == "ok"


def test_a_look_ends_when_the_job_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "file"
    JobFile(path).write(line("copying", bytes_copied=5), is_last=False)
    dead = subprocess.Popen(["true"])
    dead.wait()
    path.write_text(path.read_text().replace(str(os.getpid()), str(dead.pid), 1))
    seen = look(path, ticks=10_000)
    assert (seen.has_begun, seen.has_ended, seen.is_alive) == (True, False, False)
    assert seen.line == line("copying", bytes_copied=5)


def test_a_killed_job_that_nobody_has_taken_leave_of_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    with subprocess.Popen(["sleep", "60"]) as process:
        path.write_text(f"{process.pid} running\n{{}}\n")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead by now, and still there
        command = ["sh", "-c", look_command(str(path), 600, 0.1)]
        seen = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert not parse_look(seen.stdout).is_alive


def test_the_first_look_ends_when_the_job_begins(tmp_path: Path) -> None:
    job = JobFile(tmp_path / "file")
    threading.Timer(0.2, lambda: job.write(line("started"), is_last=False)).start()
    assert look(tmp_path / "file", until_begun=True, ticks=10_000).is_alive


def test_words_of_a_login_shell_and_a_torn_line_are_passed_over() -> None:
    assert parse_look("Welcome!\nprocess lives\n12 running\n{torn\n") == Look(True, False, True, None)
    assert parse_look('{"motd": 1}\n') == Look(False, False, False, None)


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", "a b"])
def test_only_a_plain_name_makes_a_file(name: str) -> None:
    assert own_file({"SEREN_MIGRATOR_JOB": name}) is None


def test_the_file_lies_beside_ansible_s_record(tmp_path: Path) -> None:
    job = own_file({"SEREN_MIGRATOR_JOB": "job_1", "ANSIBLE_ASYNC_DIR": os.fspath(tmp_path)})
    assert job is not None
    job.write(line("started"), is_last=False)
    assert look(tmp_path / "job_1").is_alive
