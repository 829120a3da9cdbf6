# SPDX-License-Identifier: GPL-3.0-or-later
"""One throw-away PostgreSQL cluster: make it, start it, stop it, kill it, destroy it.

TCP connections authenticate with SCRAM, always; the Unix socket (a private folder) trusts. Durability is off.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.binaries import Installation, client_dir, install
from tests.support.certificates import Certificates, make_certificates
from tests.support.postmaster import clusters_dir, is_ready
from tests.support.template import copy_template, server_user

HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
START_ATTEMPTS = 5
SOCKET_PATH_LIMIT_BYTES = 107
# synchronous_commit stays on: with fsync off it costs little, and `kill` must not lose acknowledged commits.
# Every character that URIs, conninfo strings, shells, SQL or a log filter may stumble over.
NASTY_CHARACTERS = "@:/?#%'\" \\&=+$`{}ö"

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "max_wal_senders": "12",
    "max_replication_slots": "12",
    "max_worker_processes": "16",
    "max_logical_replication_workers": "8",
    "max_sync_workers_per_subscription": "4",
    "wal_retrieve_retry_interval": "500ms",
    "wal_sender_timeout": "10s",
    "wal_receiver_timeout": "10s",
    # Tests compare catalogs of two moments; statistics that come by themselves in between would differ.
    "autovacuum_naptime": "1d",
    "max_wal_size": "256MB",
    "min_wal_size": "16MB",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "unix_socket_permissions": "0700",
}
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class ClusterError(RuntimeError):
    """The server did not do what was asked; the message holds the end of its log."""


def nasty_password() -> str:
    """A random password that contains each of `NASTY_CHARACTERS`."""
    return f"{secrets.token_hex(4)}{NASTY_CHARACTERS}{secrets.token_hex(4)}"


class Cluster:
    """A server of one major version with a data directory of its own below the cache folder.

    `settings` overrides `SETTINGS` (values as in postgresql.conf, without quotes). `password` is the superuser's, a
    random one when None. `hba` lines come before the default ones. With `tls` the server offers TLS on its one port
    and `ca_file` is what verifies it; plain connections stay possible unless `hba` forbids them.
    Not started by the constructor; as a context manager it is started on entry and destroyed on exit.
    """

    def __init__(
        self,
        major: int,
        settings: Mapping[str, str | int] | None = None,
        password: str | None = None,
        tls: bool = False,
        hba: Sequence[str] = (),
        installation: Installation | None = None,
    ) -> None:
        self.major = major
        self.installation = installation or install(major)
        self.settings = {**SETTINGS, **{name: str(value) for name, value in (settings or {}).items()}}
        self.password = secrets.token_urlsafe(12) if password is None else password
        self.hba = tuple(hba)
        self.tls = tls
        self.certificates: Certificates | None = None
        self.port = 0
        self.folder = clusters_dir() / f"{major}-{secrets.token_hex(4)}"
        self._process: subprocess.Popen[bytes] | None = None

    # Where it is and how to connect.

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def socket_dir(self) -> Path:
        return self.folder / "socket"

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def ca_file(self) -> Path:
        """The certificate to give as sslrootcert."""
        if self.certificates is None:
            raise ClusterError("the cluster has no TLS: Cluster(..., tls=True), and start it")
        return self.certificates.ca

    @property
    def client_dir(self) -> Path:
        """The folder with this major's pg_dump, psql, ...: what goes into `client_bin_dir`."""
        return client_dir(self.major)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None when it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def params(self, dbname: str = "postgres", user: str | None = None, password: str | None = None) -> dict[str, Any]:
        """libpq keywords for `dbname`; another `user` needs its own `password`."""
        keywords = {"host": HOST, "port": self.port, "user": user or SUPERUSER, "dbname": dbname}
        secret = self.password if user is None and password is None else password
        return keywords if secret is None else {**keywords, "password": secret}

    def dsn(self, dbname: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        """`params` as a keyword/value connection string."""
        return make_conninfo(**self.params(dbname, user, password))

    def url(self, dbname: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        """`params` as a URI, every part percent-encoded."""
        part = {name: quote(str(value), safe="") for name, value in self.params(dbname, user, password).items()}
        credentials = f"{part['user']}:{part['password']}" if "password" in part else part["user"]
        return f"postgresql://{credentials}@{part['host']}:{part['port']}/{part['dbname']}"

    def socket_dsn(self, dbname: str = "postgres", user: str = SUPERUSER) -> str:
        """A connection string through the trusting Unix socket (only root and the server's user can reach it)."""
        return make_conninfo(host=os.fspath(self.socket_dir), port=self.port, user=user, dbname=dbname)

    def connect(self, dbname: str = "postgres", autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """A superuser connection over TCP."""
        return psycopg.connect(self.dsn(dbname), autocommit=autocommit, connect_timeout=10)

    def execute(
        self, query: str | sql.Composable, dbname: str = "postgres", parameters: Sequence[Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a query in autocommit mode as the superuser; the rows of the last result, [] when it returns none."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(query, parameters)  # type: ignore[arg-type]
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description is not None else []

    # Its life.

    def start(self) -> Cluster:
        """Make the cluster on the first call, start it, and return when it accepts connections."""
        is_new = not self.data_dir.exists()
        if is_new:
            self._create()
        self._launch(keep_port=not is_new)
        if is_new:
            self._set_password()
        return self

    def stop(self, mode: str = "fast") -> None:
        """Shut down (`smart`, `fast` or `immediate`) and wait; does nothing when it is not running."""
        self._signal(STOP_SIGNALS[mode])

    def kill(self) -> None:
        """SIGKILL to the postmaster, as a crash of the host does; `start` recovers."""
        self._signal(signal.SIGKILL)

    def restart(self, mode: str = "fast", settings: Mapping[str, str | int] | None = None) -> Cluster:
        """Stop, change `settings`, start again on the same port."""
        self.stop(mode)
        if settings:
            self.settings.update({name: str(value) for name, value in settings.items()})
            self._write_configuration()
        return self.start()

    def reload(self) -> None:
        """Make the server read its configuration files again."""
        self.execute("SELECT pg_catalog.pg_reload_conf()")

    def destroy(self) -> None:
        """Stop the server and delete everything that belongs to it."""
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The server's log so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def __enter__(self) -> Cluster:
        try:
            return self.start()
        except BaseException:
            self.destroy()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    # How it is done.

    def _create(self) -> None:
        user = server_user()
        self.folder.mkdir(mode=0o755)
        (self.folder / "owner").write_text(f"{os.getpid()}\n", encoding="ascii")
        self.socket_dir.mkdir(mode=0o700)
        socket_path = self.socket_dir / ".s.PGSQL.65535"
        if len(os.fsencode(socket_path)) > SOCKET_PATH_LIMIT_BYTES:
            raise ClusterError(f"{socket_path} is too long for a socket: set SEREN_MIGRATOR_CACHE to a shorter path")
        copy_template(self.installation, self.data_dir)
        if self.tls:
            self._offer_tls(make_certificates(self.folder / "tls", user))
        for path in (self.folder, self.socket_dir):
            user.give(path)
        self._write_configuration()

    def _offer_tls(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.settings.update(
            ssl="on",
            ssl_cert_file=os.fspath(certificates.certificate),
            ssl_key_file=os.fspath(certificates.key),
            ssl_ca_file=os.fspath(certificates.ca),
        )

    def _write_configuration(self) -> None:
        """Settings go to the file, not to the command line, so that ALTER SYSTEM can still override them."""
        settings = {**self.settings, "unix_socket_directories": os.fspath(self.socket_dir)}
        quoted = (f"{name} = '{_escape(value)}'\n" for name, value in settings.items())
        hba = (*self.hba, *_default_hba())
        files = {"postgresql.conf": "".join(quoted), "pg_hba.conf": "".join(f"{line}\n" for line in hba)}
        for name, content in files.items():
            path = self.data_dir / name
            path.write_text(content, encoding="utf-8")
            server_user().give(path)

    def _launch(self, keep_port: bool) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for attempt in range(START_ATTEMPTS):
            if not keep_port:
                self.port = _free_port()
            if self._try_launch(deadline):
                return
            if keep_port:
                # After `kill` the old backends hold the shared memory for a moment longer.
                time.sleep(0.2 * (attempt + 1))
        raise ClusterError(f"PostgreSQL {self.major} did not start; the end of its log:\n{self.log()[-2500:]}")

    def _try_launch(self, deadline: float) -> bool:
        program = os.fspath(self.installation.bin_dir / "postgres")
        with open(self.log_file, "ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", os.fspath(self.data_dir), "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self.installation.environment(),
                start_new_session=True,
                **server_user().popen_arguments(),
            )
        while self._process.poll() is None:
            if is_ready(self.data_dir, self._process.pid):
                return True
            if time.monotonic() > deadline:
                self.stop("immediate")
                raise ClusterError(f"PostgreSQL {self.major} was not ready in time:\n{self.log()[-2500:]}")
            time.sleep(0.01)
        return False

    def _set_password(self) -> None:
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), sql.Literal(self.password))
        with psycopg.connect(self.socket_dsn(), autocommit=True) as connection:
            connection.execute(statement)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(STOP_TIMEOUT_S)
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _default_hba() -> tuple[str, ...]:
    return (
        "local all all trust",
        "local replication all trust",
        f"host all all {HOST}/32 scram-sha-256",
        f"host replication all {HOST}/32 scram-sha-256",
    )


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
