# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command costs, from /proc (Linux): wall time, CPU by side, and the peak memory of the client's processes.

CPU of the client is that of the command and of everything it started, also of processes that outlived their parents.
CPU of a server is that of its postmaster, of its children and of the children that it has reaped. Memory is the sum of
the proportional set sizes (PSS: a page that n processes share counts 1/n in each), sampled; so short peaks can be
missed, and `peak_rss_bytes` is each process's own high-water mark, which cannot.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_INTERVAL_S = 0.25  # twenty times a second took a tenth of the machine
PR_SET_CHILD_SUBREAPER = 36
OUTPUT_END_BYTES = 4000


@dataclass(frozen=True)
class Process:
    """The highest resident size that a process of the client was seen with, and its command line's beginning."""

    pid: int
    command: str
    peak_rss_bytes: int
    peak_pss_bytes: int


@dataclass(frozen=True)
class Cost:
    """What a command took, and how it ended (`output` is the end of what it wrote)."""

    wall_s: float
    client_cpu_s: float
    server_cpu_s: Mapping[str, float]
    peak_pss_bytes: int
    processes: tuple[Process, ...]
    exit_code: int
    output: str

    @property
    def total_cpu_s(self) -> float:
        return self.client_cpu_s + sum(self.server_cpu_s.values())


@dataclass
class _Sampler:
    """Follows, in a thread, the memory of everything below this process but `others` and what is below them."""

    others: frozenset[int]
    peak_pss_bytes: int = 0
    found: dict[int, Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(SAMPLE_INTERVAL_S):
            total = 0
            for child in started_since(self.others):
                total += sum(self._look_at(pid) for pid in descendants(child))
            self.peak_pss_bytes = max(self.peak_pss_bytes, total)

    def _look_at(self, pid: int) -> int:
        """Remember the peaks of one process; its PSS now, 0 when it has ended."""
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return 0
        pss, rss = _kilobytes(rollup, "Pss:"), _kilobytes(status, "VmHWM:")
        known = self.found.get(pid)
        highest = max(pss, known.peak_pss_bytes if known else 0)
        self.found[pid] = Process(pid, command[:120], rss, highest)
        return pss


def _kilobytes(text: str, name: str) -> int:
    """The value in bytes of a line `name   123 kB`, 0 when it is not there (a process that is ending)."""
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> tuple[int, float, float] | None:
    """(parent, own CPU seconds, CPU seconds of reaped children) of a process, None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    user, system, reaped_user, reaped_system = (int(fields[index]) for index in range(11, 15))
    return int(fields[1]), (user + system) / TICKS_PER_S, (reaped_user + reaped_system) / TICKS_PER_S


def descendants(root: int) -> list[int]:
    """`root` and every process below it."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += _children(pid)
    return found


def started_since(others: frozenset[int]) -> list[int]:
    """The children of this process, adopted ones too, but `others`."""
    return [pid for pid in _children(os.getpid()) if pid not in others]


def _children(pid: int) -> list[int]:
    found = []
    for task in _tasks(pid):
        try:
            found += [int(child) for child in Path(task, "children").read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found


def _tasks(pid: int) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(f"/proc/{pid}/task")]
    except OSError:
        return []


def server_cpu_s(postmaster: int) -> float:
    """CPU seconds that a server has used since its start, the exited backends' among them."""
    total = 0.0
    for pid in descendants(postmaster):
        if (stat := _stat(pid)) is not None:
            total += stat[1] + stat[2]
    return total


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind, so that their CPU is counted too."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measure(
    command: Sequence[str],
    servers: Mapping[str, int],
    *,
    environment: Mapping[str, str],
    timeout_s: float,
    stdin: bytes = b"",
    log: Path,
) -> Cost:
    """Run `command` to its end and return what it cost; `servers` are postmasters by name.

    No other child of this process may end meanwhile. Its output goes to the file `log`. After `timeout_s` it is
    killed with all of its descendants.
    """
    adopt_orphans()
    others = frozenset(_children(os.getpid()))
    before = {name: server_cpu_s(pid) for name, pid in servers.items()}
    client_before = _children_cpu_s()
    with open(log, "wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=dict(environment)
        )
        sampler = _Sampler(others)
        try:
            process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_all(process.pid)
        except BaseException:
            kill_all(process.pid)
            raise
        finally:
            wall_s = time.monotonic() - started
            process.wait()
            sampler.stop()
            _reap(started_since(others))
    return Cost(
        wall_s=wall_s,
        client_cpu_s=_children_cpu_s() - client_before,
        server_cpu_s={name: server_cpu_s(pid) - before[name] for name, pid in servers.items()},
        peak_pss_bytes=sampler.peak_pss_bytes,
        processes=tuple(sorted(sampler.found.values(), key=lambda item: -item.peak_rss_bytes)),
        exit_code=process.returncode,
        output=log.read_bytes()[-OUTPUT_END_BYTES:].decode(errors="replace"),
    )


def kill_all(root: int) -> None:
    """SIGKILL to a process and everything below it, the root first, so that nothing is started anew."""
    for pid in descendants(root):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap(orphans: list[int]) -> None:
    """Collect what the command has left behind; what still runs is killed."""
    for pid in orphans:
        kill_all(pid)
        os.waitpid(pid, 0)
