# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of settings and passwords, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

# The name of the database is known only there.
SET = """
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = "Weird ""Näme""; --", public', current_database());
  EXECUTE format('ALTER DATABASE %I SET lock_timeout = %L', current_database(), '1h');
  EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = %L', current_database(), 'auto_explain');
END $$
"""
OF_APPLICATION = """
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET "app.jwt" = %L', current_database(), 'unshown');
  EXECUTE format('ALTER DATABASE %I SET work_mem = %L', current_database(), '5MB');
END $$
"""
CASES = (
    Case(
        "database_settings", SET, objects=("lock_timeout", "session_preload_libraries"), severity="warning"
    ),
    Case(
        "password_hashes",
        f"SET password_encryption = 'md5'; CREATE ROLE {H} LOGIN PASSWORD 'old'; GRANT SELECT ON p TO {H};"
        "CREATE ROLE stranger LOGIN PASSWORD 'old'",
        objects=(HOSTILE,),
        severity="warning",
        cure="source",
    ),
)  # fmt: skip


def test_settings_that_are_carried_over_are_no_finding(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(OF_APPLICATION)
    report = examine(Case(""))
    assert report["database_settings"]["status"] == "pass"
    assert "unshown" not in str(report.data)


def test_a_setting_that_the_target_has_otherwise_is_named(
    examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    source_db.execute(OF_APPLICATION)
    target_db.execute(OF_APPLICATION.replace("unshown", "concealed"))
    report = examine(Case(""))
    assert report["database_settings"]["objects"] == ["app.jwt"]
    assert "unshown" not in str(report.data)
    assert "concealed" not in str(report.data)


def test_settings_of_a_database_that_is_not_there_yet_are_judged(source_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(f"CREATE TABLE p (id int PRIMARY KEY); {OF_APPLICATION}")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    assert run_validate(source_db.params, target_cluster.params(HOSTILE), **client).with_status("fail", "unknown") == {}
    source_db.execute(SET)
    report = run_validate(source_db.params, target_cluster.params(HOSTILE), **client)
    assert report["database_settings"]["objects"] == ["lock_timeout", "session_preload_libraries"]


def test_what_only_a_superuser_may_set_is_named_with_what_to_run(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(f"CREATE TABLE p (id int PRIMARY KEY); {OF_APPLICATION}")
    target_db.execute("CREATE ROLE plain LOGIN PASSWORD 'its password'")
    plain = {**target_db.params, "user": "plain", "password": "its password"}
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    found = run_validate(source_db.params, plain, **client)["database_settings"]
    assert found["objects"] == ["app.jwt", "work_mem"]
    target_db.execute(f"ALTER DATABASE {target_db.name} OWNER TO plain")
    found = run_validate(source_db.params, plain, **client)["database_settings"]
    assert found["objects"] == ["app.jwt"]
    assert f'ALTER DATABASE "{target_db.name}" SET "app"."jwt" TO' in found["remedy"]


def test_passwords_that_cannot_be_read_are_unknown(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        "CREATE ROLE plain LOGIN REPLICATION PASSWORD 'its password'; CREATE ROLE app LOGIN PASSWORD 'secret';"
        "GRANT pg_monitor TO plain; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO plain;"
        "GRANT SELECT ON p TO app"
    )
    plain = {**source_db.params, "user": "plain", "password": "its password"}
    report = run_validate(plain, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["password_hashes"]["status"] == "unknown"
    assert report["password_hashes"]["objects"] == ["app", "plain"]
