# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the collection's playbooks as a user would: ansible-playbook as a process of its own, with its tasks' results."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).parents[2]
END_TIMEOUT_S = 20.0
CALLBACKS = Path(__file__).with_name("callback_plugins")


@dataclass(frozen=True)
class Played:
    """What a run of ansible-playbook did: its exit code, its output, and a line for each task's result."""

    code: int
    output: str
    lines: tuple[dict[str, Any], ...]

    @property
    def changed(self) -> int:
        """Tasks that changed something, over all hosts."""
        return sum(host["changed"] for line in self.lines for host in line.get("stats", {}).values())

    @property
    def artifacts(self) -> dict[str, Any]:
        """What set_stats has handed on for the whole run, as AWX keeps it."""
        found: dict[str, Any] = {}
        for line in self.lines:
            found.update(line.get("custom", {}).get("_run", {}))
        return found

    def result(self, module: str, host: str = "localhost") -> dict[str, Any]:
        """The last result of a module of ours, by its short name."""
        found = [
            line["result"]
            for line in self.lines
            if line.get("host") == host and line["action"] == f"seren.migrator.{module}"
        ]
        result: dict[str, Any] = found[-1]
        return result


def command(playbook: str | Path, *arguments: str) -> list[str]:
    """The argument list of `ansible-playbook seren.migrator.<playbook>`, or of a file, with this environment's Ansible."""
    named = os.fspath(playbook) if isinstance(playbook, Path) else f"seren.migrator.{playbook}"
    return [str(Path(sys.executable).with_name("ansible-playbook")), named, *arguments]


def environment(results: Path) -> dict[str, str]:
    """The process environment of a run that notes its tasks' results."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {
        **kept,
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "task_results",
        "TASK_RESULTS_FILE": str(results),
    }


def play(playbook: str | Path, variables: Mapping[str, Any], *arguments: str, timeout_s: float = 600) -> Played:
    """Run `seren.migrator.<playbook>` from the repository; the variables go through a file of mode 0600."""
    with _files(variables) as (given, results):
        done = subprocess.run(
            command(playbook, "-e", f"@{given}", *arguments),
            cwd=REPOSITORY,
            env=environment(results),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Played(done.returncode, done.stdout, _lines(results))


@dataclass
class Playing:
    """A run of ansible-playbook that is still going on. `mark` stands in the environment of each of its processes."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    results: Path

    @property
    def code(self) -> int | None:
        """The exit code of ansible-playbook, None while it runs."""
        return self.process.poll()

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, condition: Callable[[str], bool], timeout_s: float = 120) -> None:
        """Wait until the output meets a condition; an error with the output when it does not, or the run has ended."""
        end = time.monotonic() + timeout_s
        while not condition(self.output):
            if self.code is not None or time.monotonic() > end:
                raise AssertionError(self.output)
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for ansible-playbook and its workers, and nothing else."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self, timeout_s: float = 300) -> Played:
        self.process.wait(timeout_s)
        return Played(self.process.returncode, self.output, _lines(self.results))


MARK = "SEREN_MIGRATOR_TEST_RUN"


@contextmanager
def playing(playbook: str | Path, variables: Mapping[str, Any], *arguments: str) -> Iterator[Playing]:
    """As `play`, without waiting for its end; ended with the block."""
    with _files(variables) as (given, results):
        token = secrets.token_hex(8)
        log = results.with_name("output")
        words = command(playbook, "-e", f"@{given}", *arguments)
        with (
            log.open("wb") as output,
            _process(words, {**environment(results), MARK: token}, output) as process,
        ):
            yield Playing(process, f"{MARK}={token}", log, results)


def show(playbook: str, variables: Mapping[str, Any], *arguments: str) -> Played:
    """As `play`, for as long as it takes, with the output on our own standard output as it comes."""
    with _files(variables) as (given, results):
        with _process(command(playbook, "-e", f"@{given}", *arguments), environment(results)) as process:
            code = process.wait()
        return Played(code, "", _lines(results))


@contextmanager
def _files(variables: Mapping[str, Any]) -> Iterator[tuple[Path, Path]]:
    """The file with the variables, which others cannot read, and the one for the results."""
    with tempfile.TemporaryDirectory(prefix="seren_migrator_test_") as folder:
        given, results = Path(folder, "variables.json"), Path(folder, "results")
        results.touch()
        given.touch(mode=0o600)
        given.write_text(json.dumps(dict(variables)), encoding="utf-8")
        yield given, results


def _lines(results: Path) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended, politely first, when the block is left before it."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
