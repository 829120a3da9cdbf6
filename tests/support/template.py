# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh data directory in milliseconds: initdb runs once per major version and is copied afterwards.

Also decides which operating-system user runs the servers: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.binaries import Installation, cache_dir, locked

INITDB_OPTIONS = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--wal-segsize=1")


@dataclass(frozen=True)
class ServerUser:
    """The operating-system user of the servers: ourselves, or, when we are root, an unprivileged one."""

    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        return self.uid != os.geteuid()

    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments that make `subprocess` run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}

    def give(self, path: Path) -> None:
        """Make this user the owner of `path`."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)


def server_user() -> ServerUser:
    """`postgres` or `nobody` for root, ourselves for everybody else."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid)
    raise RuntimeError("PostgreSQL must not run as root and this host has no user postgres or nobody: adduser postgres")


def copy_template(installation: Installation, data_dir: Path) -> None:
    """Fill `data_dir` (absent) with a freshly initialised cluster that the server user owns."""
    template = _template(installation)
    subprocess.run(["cp", "-Rp", os.fspath(template), os.fspath(data_dir)], check=True)


def _template(installation: Installation) -> Path:
    user = server_user()
    folder = cache_dir() / f"template{installation.major}-{user.uid}"
    with locked(folder.name):
        data_dir = folder / "data"
        complete = folder / "complete"
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o755)
            user.give(folder)
            initdb = [os.fspath(installation.bin_dir / "initdb"), "-D", os.fspath(data_dir), *INITDB_OPTIONS]
            completed = subprocess.run(
                initdb,
                cwd="/",
                env=installation.environment(),
                capture_output=True,
                text=True,
                check=False,
                **user.popen_arguments(),
            )
            if completed.returncode != 0:
                raise RuntimeError(f"initdb of PostgreSQL {installation.major} failed:\n{completed.stderr[-2000:]}")
            complete.touch()
    return data_dir
