# SPDX-License-Identifier: GPL-3.0-or-later
"""Live writers: processes that write through a whole migration and know exactly which rows must exist afterwards.

python -m tests.support.writers prepare --url URL
python -m tests.support.writers run --url URL --journal DIR --rate 250 [--seconds N]
python -m tests.support.writers verify --url URL --journal DIR
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from tests.support.connection_argument import connection_string
from tests.support.live.process import CONNINFO_FILE, statistics_path
from tests.support.live.tables import prepare
from tests.support.live.verification import problems

PROCESSES = 3
RATE = 250.0
TRUNCATE_EVERY_S = 3.0
STOP_TIMEOUT_S = 60.0
ENDED_ON_COMMAND = (0, -signal.SIGTERM, -signal.SIGKILL)
REPOSITORY = Path(__file__).parents[2]

__all__ = ["Summary", "Writers", "prepare", "problems"]


@dataclass(frozen=True)
class Summary:
    """What all writers together did. `errors` counts by SQLSTATE (or `connection`), `messages` has the first ones.

    `longest_s` is the slowest transaction, `elapsed_s` how long they have been writing.
    """

    commits: dict[str, int] = field(default_factory=dict)
    rollbacks: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
    connections: int = 0
    resolved: int = 0
    longest_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def total(self) -> int:
        """Acknowledged commits."""
        return sum(self.commits.values())

    @property
    def rate(self) -> float:
        """Acknowledged commits a second."""
        return self.total / self.elapsed_s if self.elapsed_s else 0.0


class Writers:
    """Writer processes on one database; as a context manager they start on entry and stop on exit.

    `rate` is transactions a second of all `processes` together. `prepare(conninfo, processes)` comes first. The same
    `journal_dir` continues what an earlier run wrote. `truncate_every_s` 0 means no TRUNCATE.
    """

    def __init__(
        self,
        conninfo: str,
        journal_dir: Path | str,
        rate: float = RATE,
        *,
        processes: int = PROCESSES,
        truncate_every_s: float = TRUNCATE_EVERY_S,
        seconds: float | None = None,
    ) -> None:
        self.journal_dir = Path(journal_dir)
        self.rate = rate
        self.processes = processes
        self.truncate_every_s = truncate_every_s
        self.seconds = seconds
        self._children: list[subprocess.Popen[bytes]] = []
        self.journal_dir.mkdir(parents=True, exist_ok=True)
        self.redirect(conninfo)

    @property
    def is_running(self) -> bool:
        return any(child.poll() is None for child in self._children)

    def redirect(self, conninfo: str) -> None:
        """Where the writers connect to the next time they lose their connection; for a cutover."""
        path = self.journal_dir / CONNINFO_FILE
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(conninfo)
        temporary.replace(path)

    def start(self) -> Writers:
        """Start the processes; returns at once."""
        command = [
            sys.executable,
            "-m",
            "tests.support.live.process",
            "--journal",
            os.fspath(self.journal_dir.resolve()),
        ]
        command += ["--writers", str(self.processes), "--rate", str(self.rate / self.processes)]
        command += ["--truncate-every", str(self.truncate_every_s)]
        if self.seconds is not None:
            command += ["--seconds", str(self.seconds)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        for writer in range(self.processes):
            statistics_path(self.journal_dir, writer).unlink(missing_ok=True)
            with open(self.journal_dir / f"writer-{writer}.stderr", "ab") as errors:
                child = subprocess.Popen(
                    [*command, "--writer", str(writer)],
                    cwd=REPOSITORY,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            self._children.append(child)
        return self

    def wait_for(self, commits: int, timeout_s: float = 60.0) -> int:
        """Wait until the writers have committed this often since `start`; how often they have."""
        deadline = time.monotonic() + timeout_s
        while (done := self.progress().total) < commits:
            dead = [child.args for child in self._children if child.poll() not in (None, 0)]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"{done} of {commits} commits; ended: {dead}\n{self._stderr()}")
            time.sleep(0.1)
        return done

    def progress(self) -> Summary:
        """What the writers have done since `start`, at most half a second old."""
        commits: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        messages: list[str] = []
        rollbacks = connections = resolved = 0
        longest_s = elapsed_s = 0.0
        for writer in range(self.processes):
            path = statistics_path(self.journal_dir, writer)
            if path.exists():
                counts = json.loads(path.read_text(encoding="utf-8"))
                commits.update(counts["commits"])
                errors.update(counts["errors"])
                messages += counts["messages"]
                rollbacks += counts["rollbacks"]
                connections += counts["connections"]
                resolved += counts["resolved"]
                longest_s = max(longest_s, counts["longest_s"])
                elapsed_s = max(elapsed_s, counts["elapsed_s"])
        return Summary(
            dict(commits), rollbacks, dict(errors), tuple(messages), connections, resolved, longest_s, elapsed_s
        )

    def stop(self) -> Summary:
        """Let each writer finish its transaction, end the processes, and tell what they did.

        Raises `RuntimeError` when a writer ended by itself with an error.
        """
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        return self.wait(STOP_TIMEOUT_S)

    def wait(self, timeout_s: float | None = None) -> Summary:
        """Wait until the writers have ended (after `seconds`, or because they were told to)."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for child in self._children:
            try:
                child.wait(None if deadline is None else max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()  # its journal says what it was about to commit
                child.wait()
        failed = [child.returncode for child in self._children if child.returncode not in ENDED_ON_COMMAND]
        summary = self.progress()
        self._children = []
        if failed:
            raise RuntimeError(f"writers ended with {failed}:\n{self._stderr()}")
        return summary

    def kill(self) -> None:
        """SIGKILL to all writers, in the middle of whatever they do."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
        self.wait(STOP_TIMEOUT_S)

    def verify(self, conninfo: str) -> list[str]:
        """What is missing from, or too much in, the writers' key spaces on this side; [] when all is there once."""
        return problems(conninfo, self.journal_dir, self.processes)

    def _stderr(self) -> str:
        files = (self.journal_dir / f"writer-{writer}.stderr" for writer in range(self.processes))
        return "\n".join(file.read_text(encoding="utf-8")[-2000:] for file in files if file.exists())

    def __enter__(self) -> Writers:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._children:
            self.stop()


def run(options: argparse.Namespace) -> int:
    writers = Writers(
        options.url,
        options.journal,
        options.rate,
        processes=options.processes,
        truncate_every_s=options.truncate_every,
        seconds=options.seconds,
    )
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    with writers:
        while not stopping and writers.is_running:
            time.sleep(0.1)
        summary = writers.stop()
    text = json.dumps({**asdict(summary), "total": summary.total, "rate": summary.rate}, indent=2)
    (options.journal / "summary.json").write_text(text + "\n", encoding="utf-8")
    print(
        f"{summary.total} commits in {summary.elapsed_s:.1f} s ({summary.rate:.0f}/s), {summary.rollbacks} rolled back"
    )
    for operation, count in sorted(summary.commits.items()):
        print(f"  {operation}: {count}")
    for state, count in sorted(summary.errors.items()):
        print(f"  error {state}: {count}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.writers", description="Live writers")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("prepare", "run", "verify"):
        command = commands.add_parser(name)
        command.add_argument("--url", type=connection_string, required=True, help="connection string, or @FILE")
        command.add_argument("--processes", type=int, default=PROCESSES)
        if name != "prepare":
            command.add_argument("--journal", type=Path, required=True, help="folder of the journals")
        if name == "run":
            command.add_argument("--rate", type=float, default=RATE, help="transactions a second, all together")
            command.add_argument("--seconds", type=float, help="default: until SIGTERM or Ctrl-C")
            command.add_argument("--truncate-every", type=float, default=TRUNCATE_EVERY_S, help="seconds, 0: never")
    options = parser.parse_args(arguments)
    if options.command == "prepare":
        prepare(options.url, options.processes)
        return 0
    if options.command == "run":
        return run(options)
    found = problems(options.url, options.journal, options.processes)
    print("\n".join(found) if found else "every acknowledged row is there exactly once, and nothing else")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
