# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of settings and passwords, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, fires_and_is_cured, run_validate

# The name of the database is known only there.
SET = """
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = "Weird ""Näme""; --", public', current_database());
  EXECUTE format('ALTER DATABASE %I SET datestyle = %L', current_database(), 'German, YMD');
END $$
"""
CASES = (
    Case(
        "database_settings", SET, objects=("search_path", "DateStyle"), severity="warning", cure="target"
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


def test_settings_of_the_database_arrive_as_they_were(
    examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(CASES[0], examine, source_db, target_db)
    for setting in ("search_path", "DateStyle"):
        assert target_db.execute(f"SHOW {setting}") == source_db.execute(f"SHOW {setting}")


def test_what_applications_keep_in_settings_is_not_shown(
    examine: Callable[[Case], Report], source_db: Database
) -> None:
    source_db.execute(SET.replace("SET datestyle", 'SET "app.jwt"').replace("German, YMD", "unshown"))
    report = examine(CASES[0])
    assert report["database_settings"]["objects"] == ["search_path", "app.jwt"]
    assert "unshown" not in str(report.data)


def test_settings_of_a_database_that_is_not_there_yet_are_named(source_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(f"CREATE TABLE p (id int PRIMARY KEY); {SET}")
    report = run_validate(
        source_db.params, target_cluster.params(HOSTILE), client_bin_dir=str(target_cluster.client_dir)
    )
    assert report.with_status("fail", "unknown") == {"database_settings": "fail"}
    assert f"ALTER DATABASE {H} SET" in report["database_settings"]["remedy"]


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
