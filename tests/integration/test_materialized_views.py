# SPDX-License-Identifier: GPL-3.0-or-later
"""Materialized views that cannot be refreshed on the target: named with the reason, empty, and in nobody's way."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database
from tests.support.migrations import Case, at_step
from tests.support.verified import assert_verified

HOSTILE = 'Weird "Näme"; --'
H = sql.Identifier(HOSTILE).as_string(None)
SETUP = f"""
CREATE ROLE boss; CREATE ROLE keeper;
CREATE SCHEMA {H}; GRANT USAGE, CREATE ON SCHEMA {H} TO keeper;
CREATE TABLE {H}.t (id int PRIMARY KEY, v int); INSERT INTO {H}.t SELECT n, n FROM generate_series(1, 9) AS n;
CREATE TABLE {H}.u (id int PRIMARY KEY); INSERT INTO {H}.u VALUES (1);
CREATE MATERIALIZED VIEW {H}.fine AS SELECT count(*) AS n FROM {H}.t;
CREATE MATERIALIZED VIEW {H}.{H} AS SELECT id FROM {H}.t;
CREATE UNIQUE INDEX ON {H}.{H} (id);
CREATE MATERIALIZED VIEW {H}.above AS SELECT count(*) AS n FROM {H}.{H};
CREATE MATERIALIZED VIEW {H}.divided AS SELECT 1 / (v + 9) AS q FROM {H}.t;
CREATE FUNCTION {H}.checked(v int) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN IF v < 0 THEN RAISE EXCEPTION 'no, %', v; END IF; RETURN v; END $$;
CREATE MATERIALIZED VIEW {H}.raised AS SELECT {H}.checked(v) AS v FROM {H}.t;
ALTER MATERIALIZED VIEW {H}.{H} OWNER TO keeper;
INSERT INTO {H}.t VALUES (-9, -9);
"""
UNREADABLE = {
    f"rows of materialized view {HOSTILE}.{HOSTILE}": "permission denied for table t",
    f"rows of materialized view {HOSTILE}.above": "has not been populated",
    f"rows of materialized view {HOSTILE}.divided": "division by zero",
    f"rows of materialized view {HOSTILE}.raised": "no, -9",
}
POPULATED = "SELECT relname FROM pg_class WHERE relkind = 'm' AND relispopulated ORDER BY 1"


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    for statement in SETUP.split(";\n"):
        source_db.execute(statement)
    return Case(source_db, target_db)


def assert_named(data: dict[str, Any]) -> None:
    left = {item["object"]: item["reason"] for item in data["left"] if item["object"].startswith("rows of ")}
    assert left.keys() == UNREADABLE.keys()
    for what, reason in UNREADABLE.items():
        assert reason in left[what]


def prove_the_rest(case: Case) -> None:
    """Status and verify know what is left, and that nothing else is."""
    assert case.target.execute(POPULATED) == [("fine",)]
    status = case.wait_until_in_sync()
    assert_named(status)
    verified = case.verify().data
    assert_verified(verified)
    expected = {item["name"] for item in verified["objects"]["expected"] if item["kind"] == "materialized view"}
    assert expected == {f"{H}.{name}" for name in (H, "above", "divided", "raised")}
    assert case.init().changed is False


def test_views_that_cannot_be_refreshed_are_named_and_do_not_stop_init(case: Case) -> None:
    assert_named(case.init().data)
    case.sync()
    prove_the_rest(case)
    case.target.execute(f"GRANT SELECT ON {H}.t TO keeper; REFRESH MATERIALIZED VIEW {H}.{H}")
    verified = case.verify().data
    assert not verified["verified"]  # the grant is a difference, the view is none any more
    assert f"{H}.{H}" not in {item["name"] for item in verified["objects"]["expected"]}


def test_the_refresh_of_sync_names_them_too(case: Case) -> None:
    """Streams of two runs show different moments: sync refreshes when both have passed the later one."""

    def stop() -> None:
        case.source.execute(f"TRUNCATE {H}.u; INSERT INTO {H}.u VALUES (2)")

    data = case.init(at_step("copying ", stop)).data
    assert len(data["streams"]) == 2
    assert case.target.execute(POPULATED) == []
    case.sync()
    prove_the_rest(case)


def test_a_lost_connection_is_no_reason_to_go_on_without_views(case: Case) -> None:
    def cut() -> None:
        with psycopg.connect(case.target.dsn, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    with pytest.raises(MigrationError):
        case.init(at_step("refreshing materialized views", cut))
    assert_named(case.init().data)
