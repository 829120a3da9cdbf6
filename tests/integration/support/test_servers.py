# SPDX-License-Identifier: GPL-3.0-or-later
"""The throw-away servers behave as the other tests rely on."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.support import servers
from tests.support.cluster import Cluster, nasty_password
from tests.support.fixtures import Database, create_database
from tests.support.sweep import sweep


def test_a_password_of_nasty_characters_works_in_keyword_and_url_form_and_a_wrong_one_does_not(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(17, password=nasty_password())
    for conninfo in (cluster.dsn(), cluster.url()):
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(cluster.dsn(password="wrong"))


def test_settings_can_be_overridden_and_a_killed_server_starts_again(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(15, wal_level="replica", max_replication_slots=0)
    cluster.execute("CREATE TABLE kept AS SELECT 1 AS value")
    port = cluster.port
    cluster.kill()
    cluster.start()
    assert cluster.port == port
    assert cluster.execute("SELECT pg_catalog.current_setting('wal_level'), value FROM kept") == [("replica", 1)]


def test_tls_is_verified_with_the_clusters_own_authority(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(17, tls=True)
    with psycopg.connect(cluster.dsn(), sslmode="verify-full", sslrootcert=os.fspath(cluster.ca_file)) as connection:
        assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)


def test_client_programs_run_without_any_environment(target_db: Database) -> None:
    program = target_db.cluster.client_dir / "psql"
    command = [os.fspath(program), "-XAtc", "SELECT current_database()", target_db.cluster.socket_dsn(target_db.name)]
    completed = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == target_db.name


def test_detached_servers_outlive_the_command_and_stop_leaves_nothing(tmp_path: Path) -> None:
    state_file = tmp_path / "state.json"
    command = [sys.executable, "-m", "tests.support.servers"]
    start = [*command, "start", "--majors", "17", "--state", os.fspath(state_file)]
    subprocess.run(start, check=True, capture_output=True)
    try:
        assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
        server = servers.read(state_file)["17"]
        keywords = {name: server[name] for name in ("host", "port", "user", "password")}
        with psycopg.connect(**keywords, dbname="postgres") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert servers.status(state_file) == {"17": True}
        assert (Path(server["bin"]) / "pg_dump").exists()
    finally:
        servers.stop(state_file)
    assert not state_file.exists()
    assert not Path(server["folder"]).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**keywords, dbname="postgres")


def test_sweeping_removes_a_running_replication_and_what_belongs_to_it(
    source_db: Database, target_db: Database
) -> None:
    for database in (source_db, target_db):
        database.execute("CREATE TABLE public.t (id integer PRIMARY KEY)")
        database.execute('CREATE ROLE "Left ""over"""')
        database.execute('GRANT SELECT ON public.t TO "Left ""over"""')
        create_database(database.cluster, 'left "over"')
    source_db.execute("CREATE PUBLICATION p FOR TABLE public.t")
    connection = source_db.dsn.replace("'", "''")
    target_db.execute(f"CREATE SUBSCRIPTION s CONNECTION '{connection}' PUBLICATION p")
    for cluster in (source_db.cluster, target_db.cluster):
        sweep(cluster)
        assert cluster.execute("SELECT datname FROM pg_database ORDER BY 1") == [
            ("postgres",),
            ("template0",),
            ("template1",),
        ]
        assert cluster.execute("SELECT slot_name FROM pg_replication_slots") == []
        assert cluster.execute("SELECT subname FROM pg_subscription") == []
        assert cluster.execute("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'") == [("postgres",)]
