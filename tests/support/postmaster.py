# SPDX-License-Identifier: GPL-3.0-or-later
"""The server process of a data directory, seen from outside: is it ready, is it running, stop it, clear leftovers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from tests.support.binaries import cache_dir, locked

STOP_TIMEOUT_S = 30.0


def clusters_dir() -> Path:
    """The folder of the data directories, cleared of what killed test runs left behind."""
    folder = cache_dir() / "run"
    with locked("run"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        for leftover in folder.iterdir():
            remove_if_orphaned(leftover)
    return folder


def remove_if_orphaned(folder: Path) -> bool:
    """Stop and delete the cluster in `folder` when the process that owned it is gone; whether that was so."""
    try:
        owner = int((folder / "owner").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    if _is_alive(owner):
        return False
    stop_postmaster(folder / "data")
    shutil.rmtree(folder, ignore_errors=True)
    return True


def running_postmaster(data_dir: Path) -> int | None:
    """The process id of the postmaster that runs on `data_dir`, None when none does."""
    try:
        pid, directory = (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()[:2]
    except (OSError, ValueError):
        return None
    if Path(directory) != data_dir or not _is_alive(int(pid)):
        return None
    command_line = Path(f"/proc/{pid}/cmdline")
    if command_line.exists() and os.fsencode(data_dir) not in command_line.read_bytes():
        return None  # the number now belongs to another process
    return int(pid)


def stop_postmaster(data_dir: Path) -> None:
    """Stop the server that runs on `data_dir`, whoever started it, and wait until it is gone."""
    pid = running_postmaster(data_dir)
    if pid is None:
        return
    os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running_postmaster(data_dir) is not None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server with process id {pid} on {data_dir} does not stop")
        time.sleep(0.01)


def is_ready(data_dir: Path, pid: int) -> bool:
    """The postmaster writes its state on line 8 of its lock file (PostgreSQL 10 and newer)."""
    try:
        lines = (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
