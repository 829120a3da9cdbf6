# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that outlive the command that started them, for the demo and for looking around by hand.

    python -m tests.support.servers start --majors 15,17 --state FILE
    python -m tests.support.servers status --state FILE
    python -m tests.support.servers stop --state FILE

FILE (mode 0600) maps each major version to how it is reached: host, port, user, password, bin (its client programs).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.binaries import BinariesUnavailable
from tests.support.cluster import HOST, SUPERUSER, Cluster
from tests.support.host_libraries import HostNotReady
from tests.support.postmaster import running_postmaster, stop_postmaster

State = dict[str, dict[str, Any]]


def start(majors: Sequence[int], state_file: Path, password: str | None = None) -> State:
    """Start one server per major version, detached, and write `state_file`; on an error nothing stays behind."""
    if state_file.exists():
        raise FileExistsError(f"{state_file} already describes servers: stop them first")
    clusters: list[Cluster] = []
    try:
        for major in majors:
            cluster = Cluster(major, password=password)
            clusters.append(cluster)
            cluster.start()
        return release(clusters, state_file)
    except BaseException:
        for cluster in clusters:
            cluster.destroy()
        raise


def release(clusters: Sequence[Cluster], state_file: Path) -> State:
    """Let running clusters outlive this process, and write `state_file`, from which `stop` finds them."""
    state = {str(cluster.major): _describe(cluster) for cluster in clusters}
    _write_private(state_file, state)
    for cluster in clusters:
        # Without an owner no later test run takes it for a leftover.
        (cluster.folder / "owner").unlink()
    return state


def stop(state_file: Path) -> None:
    """Stop the servers of `state_file` and delete them and the file; does nothing when there is no such file."""
    if not state_file.exists():
        return
    for server in read(state_file).values():
        folder = Path(server["folder"])
        stop_postmaster(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    state_file.unlink()


def status(state_file: Path) -> dict[str, bool]:
    """Whether each server of `state_file` runs; {} when there is no such file."""
    if not state_file.exists():
        return {}
    servers = read(state_file).items()
    return {major: running_postmaster(Path(server["folder"]) / "data") is not None for major, server in servers}


def read(state_file: Path) -> State:
    """The content of a state file."""
    state: State = json.loads(state_file.read_text(encoding="utf-8"))
    return state


def _describe(cluster: Cluster) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": cluster.port,
        "user": SUPERUSER,
        "password": cluster.password,
        "bin": os.fspath(cluster.client_dir),
        "pid": cluster.pid,
        "folder": os.fspath(cluster.folder),
        "log": os.fspath(cluster.log_file),
    }


def _write_private(path: Path, state: State) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes it 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(state, file, indent=2)
        file.write("\n")
    Path(temporary).replace(path)


def _majors(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.servers", description="Throw-away PostgreSQL servers"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "stop", "status"):
        command = commands.add_parser(name)
        command.add_argument("--state", type=Path, required=True, help="file that describes the servers")
        if name == "start":
            command.add_argument("--majors", type=_majors, default=[15, 17], help="for example 15,17")
    options = parser.parse_args(arguments)
    try:
        if options.command == "start":
            for major, server in start(options.majors, options.state).items():
                print(f"PostgreSQL {major}: {server['host']}:{server['port']}, clients in {server['bin']}")
        elif options.command == "stop":
            stop(options.state)
        else:
            running = status(options.state)
            for major, is_running in running.items():
                print(f"PostgreSQL {major}: {'running' if is_running else 'not running'}")
            return 0 if running and all(running.values()) else 1
    except (BinariesUnavailable, HostNotReady, FileExistsError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
