# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers as in production (durable, 16 MB WAL segments) whose data stays between runs of the benchmark.

They lie in the cache folder of the throw-away servers; `remove_all` deletes them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.binaries import cache_dir
from tests.support.certificates import make_certificates
from tests.support.cluster import Cluster, ClusterError
from tests.support.postmaster import stop_postmaster
from tests.support.template import server_user

SETTINGS: Mapping[str, str | int] = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "max_connections": "100",
    "autovacuum_naptime": "1min",
    "wal_sender_timeout": "60s",
    "wal_receiver_timeout": "60s",
}
COMPLETE = "complete"


class KeptCluster(Cluster):
    """A cluster in a folder of its own that outlives the process. As a context manager it is stopped on exit."""

    def __init__(self, major: int, name: str, tls: bool = False) -> None:
        super().__init__(major, SETTINGS, tls=tls)
        self.folder = servers_dir() / name
        self._lock: int | None = None

    def start(self) -> KeptCluster:
        """Start it, after stopping the server that a killed run has left; begin anew when its making was interrupted."""
        self._take()
        if self.data_dir.exists():
            stop_postmaster(self.data_dir)
            if not (self.folder / COMPLETE).exists():
                shutil.rmtree(self.data_dir)
        self.password = self._kept_password()
        if not self.data_dir.exists():
            super().start()
            (self.folder / COMPLETE).touch()
            return self
        self._configure()
        self._launch(keep_port=False)
        return self

    def destroy(self) -> None:
        """Stop the server; the data stays."""
        self.stop("fast")
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self) -> None:
        """Hold the folder against another benchmark on this machine."""
        if self._lock is None:
            self.folder.mkdir(mode=0o755, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"another benchmark is running on {self.folder}") from None

    def _kept_password(self) -> str:
        file = self.folder / "password"
        if not self.data_dir.exists() or not file.exists():
            file.unlink(missing_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
                handle.write(secrets.token_hex(12))
        return file.read_text(encoding="ascii")

    def _create(self) -> None:
        user = server_user()
        self.socket_dir.mkdir(mode=0o700, exist_ok=True)
        for path in (self.folder, self.socket_dir):
            user.give(path)
        program = os.fspath(self.installation.bin_dir / "initdb")
        completed = subprocess.run(
            [
                program,
                "-D",
                os.fspath(self.data_dir),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ],
            cwd="/",
            env=self.installation.environment(),
            capture_output=True,
            text=True,
            check=False,
            **user.popen_arguments(),
        )
        if completed.returncode != 0:
            raise ClusterError(f"initdb of PostgreSQL {self.major} failed:\n{completed.stderr[-2000:]}")
        self._configure()

    def _configure(self) -> None:
        if self.tls:
            folder = self.folder / "tls"
            shutil.rmtree(folder, ignore_errors=True)
            self._offer_tls(make_certificates(folder, server_user()))
        self._write_configuration()


def servers_dir() -> Path:
    """The folder of the kept clusters."""
    folder = cache_dir() / "benchmark"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def remove_all() -> int:
    """Stop the servers and delete the data that earlier runs kept; how many clusters there were."""
    folders = [folder for folder in servers_dir().iterdir() if folder.is_dir()]
    for folder in folders:
        stop_postmaster(folder / "data")
        shutil.rmtree(folder)
    return len(folders)
