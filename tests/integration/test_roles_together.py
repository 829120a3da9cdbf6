# SPDX-License-Identifier: GPL-3.0-or-later
"""Many migrations make the roles of one server at the same time, and one is killed while it makes them."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import psycopg
import pytest

from tests.support import runner
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case

DATABASES = 10
ROLES = """
CREATE ROLE company NOLOGIN CREATEDB; COMMENT ON ROLE company IS 'all of them';
CREATE ROLE team NOLOGIN IN ROLE company;
CREATE ROLE boss LOGIN CREATEROLE CONNECTION LIMIT 5; GRANT team TO boss WITH ADMIN OPTION;
CREATE ROLE app LOGIN PASSWORD 'of the app' IN ROLE team; ALTER ROLE app SET work_mem = '7MB';
CREATE ROLE root_like SUPERUSER;
"""
STATE = """
SELECT r.rolname, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit,
       shobj_description(r.oid, 'pg_authid'), a.rolpassword,
       ARRAY(SELECT u.rolname || m.admin_option FROM pg_auth_members AS m JOIN pg_roles AS u ON u.oid = m.roleid
              WHERE m.member = r.oid ORDER BY 1)
  FROM pg_roles AS r JOIN pg_authid AS a ON a.oid = r.oid
 WHERE r.rolname !~ '^pg_' AND r.rolname <> 'postgres' ORDER BY 1
"""
SETTINGS = """
SELECT r.rolname, d.datname, s.setconfig
  FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
 ORDER BY 1, 2 NULLS FIRST
"""


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a process; kill it when it does not end."""
    try:
        return process.wait(timeout=240)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def left(case: Case) -> dict[str, str]:
    """What the ledger of a finished copy names."""
    return {item["object"]: item["reason"] for item in case.status(window=0.1).data["left"]}


@pytest.mark.parametrize("maintenance_db", ["postgres", "a database that is not there"])
def test_ten_databases_of_a_server_bring_its_roles_once(
    maintenance_db: str, source_db: Database, target_db: Database, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """Without the maintenance database there is no lock: what collides is done again."""
    source_db.execute(ROLES)
    cases = []
    for number in range(DATABASES):
        source = create_database(source_cluster, f"together_{number}")
        source.execute(
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO root_like, team"
        )
        source.execute(f"ALTER ROLE app IN DATABASE {source.name} SET my.number = '{number}'")
        cases.append(Case(source, create_database(target_cluster, source.name)))
    options = {"jobs": 1, "maintenance_db": maintenance_db, "migrations_on_target": 1}
    running = [runner.start(case, **options) for case in cases]
    assert [ended(process) for process in running] == [0] * DATABASES
    ours, theirs = source_db.execute(STATE), target_db.execute(STATE)
    assert theirs == ours
    assert target_db.execute(SETTINGS) == source_db.execute(SETTINGS)
    assert len(target_db.execute(SETTINGS)) == DATABASES + 1
    for case in cases:
        assert {name for name in left(case) if name.startswith("role ")} <= {"role root_like"}
        with psycopg.connect(target_cluster.dsn(case.target.name, "app", "of the app")) as connection:
            assert connection.execute("SHOW my.number").fetchone() == (case.source.name.removeprefix("together_"),)


def waits(database: Database) -> bool:
    """True when a session of ours waits for a lock on the target."""
    return bool(
        database.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name ~ '^seren_migrator'"
        )
    )


def killed_while_it_waits(case: Case, blocker: str, **options: Any) -> None:
    """Start init, kill it when it waits for what an open transaction has done."""
    with case.target.connect(autocommit=False) as connection:
        connection.execute(blocker)
        process = runner.start(case, **options)
        try:
            end = time.monotonic() + 60
            while not waits(case.target):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            process.kill()
            ended(process)
        # What waits would go on by itself.
        case.target.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name ~ '^seren_migrator'"
        )
        connection.rollback()


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute(ROLES)
    source_db.execute("CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY); ALTER TABLE shop.t OWNER TO app")
    source_db.execute("GRANT SELECT ON shop.t TO root_like, boss; CREATE ROLE rds_iam; GRANT rds_iam TO app")
    source_db.execute("ALTER ROLE app SET session_preload_libraries = 'no such library'")
    return Case(source_db, target_db)


LOST = {
    "role root_like",
    "membership of app in rds_iam",
    "setting session_preload_libraries of role app",
}


@pytest.mark.parametrize(
    "blocker",
    [
        "CREATE ROLE team",  # while it makes the roles: none of them stays
        "CREATE SCHEMA shop",  # once they are made, and their schema is not
    ],
)
def test_after_a_kill_roles_are_whole_and_what_was_lost_is_told(case: Case, blocker: str) -> None:
    killed_while_it_waits(case, blocker)
    made = {row[0] for row in case.target.execute(STATE)}
    assert made in (set(), {"app", "boss", "company", "root_like", "team"})
    assert bool(made) == (blocker == "CREATE SCHEMA shop")
    data = case.init().data
    assert {item["object"] for item in data["left"]} == LOST
    ours, theirs = case.source.execute(STATE), case.target.execute(STATE)
    assert theirs == [
        (*row[:8], [name for name in row[8] if "rds_iam" not in name]) for row in ours if row[0] != "rds_iam"
    ]
    assert left(case).keys() == LOST


def test_roles_that_a_killed_run_has_made_get_what_the_source_gave_them_since(case: Case) -> None:
    killed_while_it_waits(case, "CREATE SCHEMA shop")
    case.source.execute("CREATE ROLE newer; GRANT newer TO app; ALTER ROLE app SET work_mem = '9MB'")
    data = case.init().data
    assert {item["object"] for item in data["left"]} == LOST
    app = next(row for row in case.target.execute(STATE) if row[0] == "app")
    assert app[8] == ["newerfalse", "teamfalse"]
    assert case.target.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'app'") == [(["work_mem=9MB"],)]


def test_starting_over_tells_what_roles_had_lost(case: Case) -> None:
    case.init()
    assert {item["object"] for item in case.init(resume=False).data["left"]} == LOST


def test_a_lock_that_somebody_holds_is_waited_for(case: Case, target_cluster: Cluster) -> None:
    with psycopg.connect(target_cluster.dsn("postgres"), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [0x736572656E726F6C])
        process = runner.start(case)
        try:
            end = time.monotonic() + 60
            while not waits(case.target):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            assert case.target.execute(STATE) == []
            holder.execute("SELECT pg_advisory_unlock_all()")
        except BaseException:
            process.kill()
            raise
        finally:
            status = ended(process)
    assert status == 0
    assert len(case.target.execute(STATE)) == 5
