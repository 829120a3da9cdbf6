# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of extensions, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

CASES = (
    Case(
        "target_extension_schemas",
        f"CREATE SCHEMA {H}; CREATE EXTENSION citext SCHEMA {H}; CREATE TABLE texts (t {H}.citext PRIMARY KEY)",
        f"CREATE SCHEMA {H}; CREATE EXTENSION citext",
        objects=(f"citext: {HOSTILE} -> public",),
        cure="target",
    ),
    Case(
        "target_extension_schemas",
        f"CREATE SCHEMA {H}; CREATE EXTENSION hstore SCHEMA {H}",
        f"CREATE SCHEMA {H}; CREATE EXTENSION hstore",
        objects=(f"hstore: {HOSTILE} -> public",),
        severity="warning",
        cure="target",
        name="unused",
    ),
    Case(
        "target_preload",
        "CREATE EXTENSION pg_stat_statements",
        objects=("pg_stat_statements",),
        severity="warning",
    ),
)
CRON = """
CREATE SCHEMA cron;
CREATE TABLE cron.job (jobid bigserial PRIMARY KEY, schedule text, command text, database text,
                       active boolean DEFAULT true, jobname text);
SELECT pg_catalog.pg_extension_config_dump('cron.job', '');
"""
KEPT = """
CREATE TABLE kept (id int);
CREATE TABLE filtered (id int);
CREATE TABLE own (id int);
SELECT pg_catalog.pg_extension_config_dump('kept', '');
SELECT pg_catalog.pg_extension_config_dump('filtered', 'WHERE id > 10');
INSERT INTO filtered VALUES (1);
INSERT INTO own VALUES (1);
"""


@pytest.mark.fires("target_extensions")
def test_extensions_that_the_target_does_not_offer_are_found(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("seren_only_here", "CREATE TABLE seren_t (id int);", source="1.0")
    source_db.execute(f"CREATE SCHEMA {H}; CREATE EXTENSION seren_only_here SCHEMA {H}")
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"target_extensions": "fail"}
    assert report["target_extensions"]["objects"] == ["seren_only_here 1.0"]
    assert report["target_extensions"]["severity"] == "blocker"
    partial = Case("", selection={"schemas": ["public"]})
    assert examine(partial)["target_extensions"]["status"] == "pass"


@pytest.mark.fires("target_extension_versions")
def test_only_an_older_extension_is_a_finding(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("seren_newer", "", source="1.9", target="1.10")
    offered("seren_older", "", source="1.10", target="1.9")
    source_db.execute("CREATE EXTENSION seren_newer")
    report = examine(Case(""))
    assert report["target_extension_versions"]["status"] == "pass"
    assert "seren_newer 1.9 -> 1.10" in report["target_extension_versions"]["detail"]
    source_db.execute("CREATE EXTENSION seren_older")
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"target_extension_versions": "fail"}
    assert report["target_extension_versions"]["objects"] == ["seren_older 1.10 -> 1.9"]


@pytest.mark.fires("extension_tables")
def test_rows_in_tables_of_extensions_are_found_where_they_are_users(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("seren_kept", KEPT, source="1.0", target="1.0")
    source_db.execute("CREATE EXTENSION seren_kept")
    assert examine(Case("")).with_status("fail", "unknown") == {}
    source_db.execute("INSERT INTO filtered VALUES (2); INSERT INTO own VALUES (20)")
    assert examine(Case("")).with_status("fail", "unknown") == {}  # not those that the condition means
    source_db.execute("INSERT INTO filtered VALUES (11)")
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"extension_tables": "fail"}
    assert report["extension_tables"]["objects"] == ["public.filtered (seren_kept)"]
    assert report.error is None
    assert examine(Case("", options={"extension_data": "skip"})).with_status("fail", "unknown") == {}
    report = examine(Case("", options={"extension_data": "fail"}))
    assert report["extension_tables"]["severity"] == "blocker"
    assert report.error is not None


def test_tables_of_extensions_that_the_role_may_not_read_are_unknown(
    source_db: Database, target_db: Database, target_cluster: Cluster, offered: Callable[..., None]
) -> None:
    offered("seren_kept", KEPT, source="1.0", target="1.0")
    source_db.execute(
        "CREATE EXTENSION seren_kept; CREATE ROLE plain LOGIN PASSWORD 'its password'; CREATE TABLE p (id int PRIMARY KEY)"
    )
    plain = {**source_db.params, "user": "plain", "password": "its password"}
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    found = run_validate(plain, target_db.params, **client)["extension_tables"]
    assert (found["status"], len(found["objects"])) == ("unknown", 2)
    for line in found["remedy"].splitlines()[1:]:
        source_db.execute(line)
    assert run_validate(plain, target_db.params, **client)["extension_tables"]["status"] == "pass"


def test_the_versions_of_the_source_can_be_asked_for(
    examine: Callable[[Case], Report], source_db: Database, target_db: Database, offered: Callable[..., None]
) -> None:
    offered("seren_newer", "", source="1.9", target="1.10")
    source_db.execute("CREATE EXTENSION seren_newer; CREATE EXTENSION citext")
    wanted = Case("", options={"extension_versions": "source"})
    found = examine(wanted)["target_extension_versions"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == ["seren_newer 1.9 (offered: 1.10)"]
    target_db.execute("CREATE EXTENSION seren_newer")
    found = examine(wanted)["target_extension_versions"]
    assert found["objects"] == ["seren_newer 1.9 (installed: 1.10)"]
    assert 'ALTER EXTENSION "seren_newer" UPDATE TO "1.9"' in found["remedy"]
    source_db.execute("DROP EXTENSION seren_newer")
    assert examine(wanted)["target_extension_versions"]["status"] == "pass"
    target_db.execute("DROP EXTENSION seren_newer")


HYPERTABLES = """
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.hypertable (schema_name name, table_name name);
"""


@pytest.mark.fires("spread_tables", "target_preload")
def test_hypertables_and_distributed_tables_are_refused(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("timescaledb", HYPERTABLES, source="2.0", target="2.0")
    source_db.execute("CREATE EXTENSION timescaledb")
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"target_preload": "fail"}
    source_db.execute("INSERT INTO _timescaledb_catalog.hypertable VALUES ('public', 'metrics')")
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"spread_tables": "fail", "target_preload": "fail"}
    assert report["spread_tables"]["objects"] == ["public.metrics"]
    assert {report[check]["severity"] for check in ("spread_tables", "target_preload")} == {"blocker"}


def test_where_nobody_can_tell_whether_something_is_spread_it_is_refused(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("timescaledb", "", source="2.0", target="2.0")
    source_db.execute("CREATE EXTENSION timescaledb")
    found = examine(Case(""))["spread_tables"]
    assert (found["status"], found["objects"]) == ("fail", ["timescaledb"])


@pytest.mark.fires("scheduled_jobs")
def test_scheduled_jobs_are_named_without_what_they_do(
    examine: Callable[[Case], Report], source_db: Database, offered: Callable[..., None]
) -> None:
    offered("pg_cron", CRON, source="1.6", target="1.6")
    source_db.execute("CREATE EXTENSION pg_cron")
    assert set(examine(Case("")).with_status("fail", "unknown")) == {"target_preload"}
    source_db.execute(
        "INSERT INTO cron.job (schedule, command, jobname) VALUES ('5 * * * *', 'SELECT secret', 'it''s'),"
        " ('6 * * * *', 'SELECT 2', NULL)"
    )
    report = examine(Case(""))
    found = report["scheduled_jobs"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == ["job 1 (5 * * * *)", "job 2 (6 * * * *)"]
    assert "secret" not in str(found)
    statement = found["remedy"].splitlines()[1]
    assert source_db.execute(statement)[0] == ("SELECT cron.schedule('it''s', '5 * * * *', 'SELECT secret');",)
    source_db.execute("UPDATE cron.job SET active = false")
    assert examine(Case(""))["scheduled_jobs"]["status"] == "pass"


def test_jobs_that_the_role_may_not_see_are_unknown(
    source_db: Database, target_db: Database, target_cluster: Cluster, offered: Callable[..., None]
) -> None:
    offered("pg_cron", CRON, source="1.6", target="1.6")
    source_db.execute(
        "CREATE EXTENSION pg_cron; CREATE ROLE plain LOGIN PASSWORD 'its password'; GRANT USAGE ON SCHEMA cron TO plain;"
        "GRANT SELECT ON cron.job TO plain; ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;"
        "INSERT INTO cron.job (schedule) VALUES ('5 * * * *'); CREATE TABLE p (id int PRIMARY KEY)"
    )
    plain = {**source_db.params, "user": "plain", "password": "its password"}
    report = run_validate(plain, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["scheduled_jobs"]["status"] == "unknown"


def test_jobs_in_another_database_are_unknown(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    source = make_cluster(15, **{"cron.database_name": "postgres"})
    source.execute("CREATE DATABASE other")
    source.execute("CREATE TABLE p (id int PRIMARY KEY)", "other")
    client = {"client_bin_dir": str(target_db.cluster.client_dir)}
    for name, status in (("other", "unknown"), ("postgres", "pass")):
        report = run_validate(source.params(name), target_db.params, **client)
        assert report["scheduled_jobs"]["status"] == status


def test_libraries_that_are_loaded_satisfy_and_hidden_ones_are_unknown(
    source_db: Database, target_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY); CREATE EXTENSION pg_stat_statements")
    target = make_cluster(17, shared_preload_libraries="pg_stat_statements")
    client = {"client_bin_dir": str(target.client_dir)}
    assert run_validate(source_db.params, target.params(), **client)["target_preload"]["status"] == "pass"
    target.execute("CREATE ROLE plain LOGIN PASSWORD 'its password'")
    plain = target.params("postgres", "plain", "its password")
    found = run_validate(source_db.params, plain, **client)["target_preload"]
    assert found["status"] == "unknown"
    for line in found["remedy"].splitlines():
        target.execute(line)
    assert run_validate(source_db.params, plain, **client)["target_preload"]["status"] == "pass"


def test_the_remedy_for_libraries_lets_the_server_start_again(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY); CREATE EXTENSION pg_stat_statements")
    target = make_cluster(17, shared_preload_libraries="auto_explain")
    client = {"client_bin_dir": str(target.client_dir)}
    found = run_validate(source_db.params, target.params(), **client)["target_preload"]
    target.execute(found["remedy"].splitlines()[0])
    target.stop()
    target.start()
    assert run_validate(source_db.params, target.params(), **client)["target_preload"]["status"] == "pass"
