# SPDX-License-Identifier: GPL-3.0-or-later
"""The contenders: for each, what is prepared outside the measured time, and the command that is measured."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.seren.migrator.plugins.modules.pg_migration_init import SPEC
from tests.benchmark import floor
from tests.benchmark.settings import Settings
from tests.support.binaries import client_dir
from tests.support.fixtures import Database
from tests.support.playbooks import REPOSITORY

MODULE = "ansible_collections.seren.migrator.plugins.modules.pg_migration_init"
COLLECTIONS = REPOSITORY / ".venv" / "collections"


class Skipped(RuntimeError):
    """A tool that this machine does not have; the message says what is missing."""


@dataclass(frozen=True)
class Way:
    """From where to where, as a client sees it: the ports may be those of proxies. `folder` is for files of the run."""

    settings: Settings
    source: Database
    target: Database
    source_port: int
    target_port: int
    folder: Path

    def conninfo(self, side: str) -> str:
        """A connection string without the password, which is in the password file."""
        params = self.params(side)
        return " ".join(f"{key}={params[key]}" for key in ("host", "port", "user", "dbname"))

    def params(self, side: str) -> dict[str, object]:
        database, port = (self.source, self.source_port) if side == "source" else (self.target, self.target_port)
        return {**database.params, "port": port}

    @property
    def bin_dir(self) -> Path:
        """The client programs that fit the pair."""
        return client_dir(max(self.settings.source_major, self.settings.target_major))

    def environment(self) -> dict[str, str]:
        """What every contender runs in: no PG* variables but the password file, our client programs first."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BENCH_"))}
        passwords = self.folder / "passwords"
        lines = [
            f"*:{self.params(side)['port']}:*:*:{self.params(side)['password']}\n" for side in ("source", "target")
        ]
        passwords.unlink(missing_ok=True)
        with os.fdopen(os.open(passwords, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(lines)
        return {
            **kept,
            "PATH": f"{self.bin_dir}:{kept.get('PATH', '')}",
            "PGPASSFILE": str(passwords),
            "PGSSLMODE": self.settings.sslmode,
            "PYTHONPATH": f"{COLLECTIONS}:{REPOSITORY}",
            "TMPDIR": str(self.folder),
        }


@dataclass(frozen=True)
class Ready:
    """A command that only waits to be measured."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    stdin: bytes = field(default=b"", repr=False)


def prepare(tool: str, way: Way) -> Ready:
    """Do what comes before the measured time. Raises `Skipped`."""
    return {
        "ours": _ours,
        "dump_psql": _dump_psql,
        "dump_restore": _dump_restore,
        "dump_restore_z0": _dump_restore,
        "pgcopydb": _pgcopydb,
        "floor": _floor,
    }[tool](tool, way)


def describe(tool: str, settings: Settings) -> str:
    """What a name in the report stands for."""
    jobs, index_jobs = settings.jobs, settings.index_jobs
    return {
        "ours": f"module pg_migration_init, validate's gate and ANALYZE included, jobs {jobs}"
        + (f", index_jobs {index_jobs}" if "index_jobs" in SPEC else ""),
        "dump_psql": "pg_dump | psql (no ANALYZE)",
        "dump_restore": f"pg_dump -Fd -j{jobs}, default compression; pg_restore -j{jobs} (no ANALYZE)",
        "dump_restore_z0": f"pg_dump -Fd -j{jobs} -Z0; pg_restore -j{jobs} (no ANALYZE)",
        "pgcopydb": f"pgcopydb clone --table-jobs {jobs} --index-jobs {index_jobs}: {pgcopydb_version(settings)}",
        "floor": f"psql, {jobs} sessions: COPY FROM binary files with FREEZE, then the indexes with {index_jobs} sessions, "
        f"maintenance_work_mem {settings.maintenance_work_mem} (no schema, no ANALYZE, nothing read from the source)",
    }[tool]


def pgcopydb_version(settings: Settings) -> str:
    """The first line of `pgcopydb --version`."""
    if settings.pgcopydb is None:
        return "not installed"
    completed = subprocess.run([settings.pgcopydb, "--version"], capture_output=True, text=True, check=False)
    return (completed.stdout.splitlines() or ["unknown version"])[0]


def _ours(_tool: str, way: Way) -> Ready:
    """The module as Ansible runs it, in a process of its own with its arguments on standard input."""
    arguments: dict[str, object] = {
        "source": way.params("source"),
        "target": way.params("target"),
        "client_bin_dir": str(way.bin_dir),
        "jobs": way.settings.jobs,
        "_ansible_remote_tmp": str(way.folder),
    }
    if "index_jobs" in SPEC:
        arguments["index_jobs"] = way.settings.index_jobs
    stdin = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    return Ready((sys.executable, "-m", MODULE), way.environment(), stdin)


def _dump_psql(_tool: str, way: Way) -> Ready:
    dump = shlex.join(["pg_dump", "--dbname", way.conninfo("source")])
    load = shlex.join(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "--dbname", way.conninfo("target")]
    )
    return Ready(("bash", "-c", f"set -o pipefail; {dump} | {load}"), way.environment())


def _dump_restore(tool: str, way: Way) -> Ready:
    archive = str(way.folder / "archive")
    shutil.rmtree(archive, ignore_errors=True)
    jobs = str(way.settings.jobs)
    dump = ["pg_dump", "-Fd", "-j", jobs, "-f", archive, "--dbname", way.conninfo("source")]
    if tool.endswith("z0"):
        dump.insert(1, "-Z0")
    restore = ["pg_restore", "-j", jobs, "--exit-on-error", "--dbname", way.conninfo("target"), archive]
    return Ready(("bash", "-c", f"{shlex.join(dump)} && {shlex.join(restore)}"), way.environment())


def _pgcopydb(_tool: str, way: Way) -> Ready:
    if way.settings.pgcopydb is None:
        raise Skipped("pgcopydb is not installed: apt-get install pgcopydb, or PGCOPYDB=path of another build")
    folder = way.folder / "pgcopydb"
    shutil.rmtree(folder, ignore_errors=True)
    jobs = ["--table-jobs", str(way.settings.jobs), "--index-jobs", str(way.settings.index_jobs)]
    ends = ["--source", way.conninfo("source"), "--target", way.conninfo("target")]
    return Ready((way.settings.pgcopydb, "clone", *ends, *jobs, "--dir", str(folder)), way.environment())


def _floor(_tool: str, way: Way) -> Ready:
    environment = way.environment()
    plan = floor.prepare(
        way.source, way.target, way.conninfo("source"), way.conninfo("target"), way.settings, environment
    )
    file = way.folder / "floor.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    return Ready((sys.executable, "-m", "tests.benchmark.floor", str(file)), environment)
