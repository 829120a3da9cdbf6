# SPDX-License-Identifier: GPL-3.0-or-later
"""status never says in_sync without evidence, and never shows a lag of zero that it did not measure."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO a SELECT n, 'row' FROM generate_series(1, 100) AS n")
    case = Case(source_db, target_db)
    case.init()
    case.sync()
    case.wait_until_in_sync()
    yield case


def slot(case: Case) -> str:
    name: str = case.source.execute("SELECT slot_name FROM pg_replication_slots")[0][0]
    return name


def write(case: Case, rows: int = 1000) -> None:
    case.source.execute(
        "INSERT INTO a SELECT n, repeat('x', 500) FROM generate_series((SELECT max(id) + 1 FROM a),"
        " (SELECT max(id) + %s FROM a)) AS n",
        (rows,),
    )


def test_an_idle_migration_is_in_sync_with_zero_lag(case: Case) -> None:
    data = case.status().data
    assert (data["state"], data["lag_bytes"], data["lag_seconds"]) == ("in_sync", 0, 0.0)
    assert data["tables"] == {"r": 2}  # the table and its stream's marker
    assert data["errors"] == {"apply": 0, "sync": 0, "new": 0}


def test_nothing_on_the_target_is_absent(source_db: Database, target_db: Database) -> None:
    data = Case(source_db, target_db).status().data
    assert data["state"] == "absent"
    assert data["lag_bytes"] is None
    assert data["lag_seconds"] is None


def test_a_finished_copy_without_sync_is_copied_and_its_lag_in_seconds_unknown(
    source_db: Database, target_db: Database
) -> None:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    case = Case(source_db, target_db)
    case.init()
    source_db.execute("INSERT INTO a VALUES (1, 'later')")
    data = case.status().data
    assert data["state"] == "copied"
    assert data["lag_bytes"] > 0
    assert data["lag_seconds"] is None


def test_a_stalled_walsender_is_not_in_sync_and_shows_its_backlog(case: Case) -> None:
    pid = case.source.execute("SELECT active_pid FROM pg_replication_slots")[0][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        write(case)
        data = case.status(max_lag_bytes=10_000).data
        assert data["state"] in ("stalled", "catching_up")
        assert data["lag_bytes"] > 400_000
        assert data["lag_seconds"] is None or data["lag_seconds"] > 0.5
    finally:
        os.kill(pid, signal.SIGCONT)
    case.wait_until_in_sync()


def test_a_disabled_subscription_is_broken(case: Case) -> None:
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    data = case.status().data
    assert data["state"] == "broken"
    assert "disabled" in data["reasons"][0]
    assert case.sync().changed
    case.wait_until_in_sync()


def test_a_missing_slot_is_broken_and_its_lag_unknown(case: Case) -> None:
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    name = slot(case)
    for _attempt in range(50):
        if not case.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"):
            break
        time.sleep(0.1)
    case.source.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    data = case.status().data
    assert data["state"] == "broken"
    assert data["lag_bytes"] is None


def test_sync_does_not_pass_over_a_missing_slot(case: Case) -> None:
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    name = slot(case)
    for _attempt in range(50):
        if not case.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"):
            break
        time.sleep(0.1)
    case.source.execute("SELECT pg_drop_replication_slot(%s)", (name,))
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub ENABLE")
    with pytest.raises(MigrationError) as caught:
        case.sync()
    assert caught.value.code == "slot_lost"


def test_a_missing_subscription_is_broken(case: Case) -> None:
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub SET (slot_name = NONE)")
    case.target.execute("DROP SUBSCRIPTION seren_migration_sub")
    assert case.status().data["state"] == "broken"


def test_an_apply_error_is_not_in_sync_and_is_counted(case: Case) -> None:
    case.target.execute("INSERT INTO a VALUES (101, 'in the way')")
    write(case, 1)
    deadline = time.monotonic() + 30
    while (data := case.status().data)["errors"]["apply"] == 0:
        assert data["state"] != "in_sync"
        assert time.monotonic() < deadline
    assert case.status().data["state"] in ("stalled", "catching_up")
    case.target.execute("DELETE FROM a WHERE id = 101")
    case.wait_until_in_sync()
    assert case.compare().differences == []


def _reasons(case: Case) -> list[str]:
    data = case.status().data
    assert data["state"] != "in_sync"
    reasons: list[str] = data["reasons"]
    return reasons


def test_row_security_that_stops_the_apply_is_named_with_its_cure(case: Case) -> None:
    """PostgreSQL tells nobody but the server log."""
    case.target.execute(
        'CREATE ROLE "Wei""rd; --"; ALTER TABLE a OWNER TO "Wei""rd; --";'
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY; ALTER TABLE a FORCE ROW LEVEL SECURITY"
    )
    write(case, 1)
    cure = 'ALTER ROLE "Wei""rd; --" BYPASSRLS'
    deadline = time.monotonic() + 30
    while not any(cure in reason and "public.a" in reason for reason in _reasons(case)):
        assert time.monotonic() < deadline
    case.target.execute(cure)
    assert not any(cure in reason for reason in case.wait_until_in_sync()["reasons"])
    assert case.compare().differences == []


def test_a_table_that_is_still_copying_is_not_in_sync(case: Case) -> None:
    case.source.execute("CREATE TABLE late (id int PRIMARY KEY)")
    case.target.execute("CREATE TABLE late (id int PRIMARY KEY)")
    case.source.execute("INSERT INTO late VALUES (1)")
    with case.target.connect(autocommit=False) as blocker:
        # SHARE lets the subscription list the table, but not the table's own COPY write to it.
        blocker.execute("LOCK TABLE late IN SHARE MODE")
        case.source.execute("ALTER PUBLICATION seren_migration_pub ADD TABLE late")
        case.target.execute("ALTER SUBSCRIPTION seren_migration_sub REFRESH PUBLICATION WITH (copy_data = true)")
        data = case.status().data
        assert data["state"] == "catching_up"
        assert data["reasons"] == ["stream 1: 1 table(s) are still being copied"]
        blocker.rollback()
    case.wait_until_in_sync()


def test_a_broken_target_connection_is_an_error_not_a_state(case: Case) -> None:
    case.options["target"] = {**case.target.params, "password": "wrong"}
    with pytest.raises(Exception, match="Cannot connect to the target"):
        case.status()


def test_a_finished_copy_whose_slot_is_gone_is_broken(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    case = Case(source_db, target_db)
    case.init()
    source_db.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    data = case.status().data
    assert data["state"] == "broken"
    assert "slot" in data["reasons"][0]


def test_a_migration_of_the_same_name_in_another_database_of_the_target_does_not_count(case: Case) -> None:
    other = Case(create_database(case.source.cluster), create_database(case.target.cluster))
    other.source.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    other.init()
    other.sync()
    other.wait_until_in_sync()
    case.target.execute("INSERT INTO a VALUES (101, 'in the way')")
    write(case, 1)
    deadline = time.monotonic() + 30
    while (data := case.status().data)["errors"]["apply"] == 0:
        assert time.monotonic() < deadline
    assert data["state"] != "in_sync"
    status = other.status().data
    assert (status["state"], status["errors"]["apply"]) == ("in_sync", 0)
    assert len(status["workers"]) == 1
    # Nor does the other's worker count for ours.
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    assert [worker["pid"] for worker in case.status().data["workers"]] == [None]
    for each in (other, case):
        each.cleanup()
