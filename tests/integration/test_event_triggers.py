# SPDX-License-Identifier: GPL-3.0-or-later
"""Event triggers: they arrive with their owners, and rest until the cutover."""

from __future__ import annotations

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE
from tests.support.sweep import sweep
from tests.support.whole_database import (
    LOGGING,
    TRIGGERS,
    left,
    one_table,
    replicate,
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    return one_table(source_db, target_db)


REFUSING = """
CREATE EVENT TRIGGER refusing ON ddl_command_start WHEN TAG IN ('CREATE SUBSCRIPTION', 'CREATE TABLE', 'DROP TABLE')
  EXECUTE FUNCTION refuse()
"""


def test_event_triggers_arrive_and_rest_until_the_cutover(case: Case) -> None:
    case.source.execute(LOGGING)
    case.source.execute(REFUSING)
    case.source.execute("ALTER EVENT TRIGGER refusing DISABLE")
    data = case.init().data
    case.target.execute("SELECT 1")
    assert case.target.execute(TRIGGERS) == case.source.execute(TRIGGERS)
    assert case.target.execute("SELECT DISTINCT evtenabled FROM pg_event_trigger") == [("D",)]
    said = left(data)
    assert "ENABLE ALWAYS" in said["event trigger always"]
    assert said[f"event trigger {HOSTILE}"].endswith("ENABLE")
    assert "event trigger refusing" not in said
    known = case.target.execute(
        "SELECT detail -> 'event_triggers' FROM seren_migrator.step WHERE step = 'event_triggers'"
    )
    assert {item["name"]: item["enabled"] for item in known[0][0]} == {"always": "A", HOSTILE: "O", "refusing": "D"}
    # What they would have written on the target would now collide with what comes.
    case.source.execute("DROP EVENT TRIGGER refusing")
    replicate(case)
    case.source.execute("CREATE TABLE more (id int PRIMARY KEY)")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT * FROM ddl_log") == case.source.execute("SELECT * FROM ddl_log")
    assert not case.init().changed


def test_event_triggers_can_stay_behind(case: Case) -> None:
    case.source.execute(LOGGING)
    data = case.init(event_triggers="skip").data
    assert left(data) == {
        "event trigger always": "event_triggers: skip",
        f"event trigger {HOSTILE}": "event_triggers: skip",
    }
    assert case.target.execute(TRIGGERS) == []


def test_an_event_trigger_of_the_target_is_not_changed(case: Case) -> None:
    case.source.execute(LOGGING)
    case.target.execute(
        "CREATE SCHEMA own; CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION own.f()"
    )
    data = case.init().data
    assert "which is not changed" in left(data)["event trigger always"]
    assert case.target.execute("SELECT evtfoid::regproc::text, evtenabled FROM pg_event_trigger ORDER BY 1")[-1] == (
        "own.f",
        "O",
    )
    case.init(resume=False)
    assert ("own.f",) in case.target.execute("SELECT evtfoid::regproc::text FROM pg_event_trigger")


def test_starting_over_takes_our_event_triggers_back(case: Case) -> None:
    case.source.execute(LOGGING)
    case.init()
    case.source.execute("DROP EVENT TRIGGER always")
    assert any("DROP EVENT TRIGGER" in text for text in planned_statements(case))
    case.init(resume=False)
    assert case.target.execute(TRIGGERS) == case.source.execute(TRIGGERS)


def test_starting_over_leaves_an_event_trigger_that_took_the_name_of_ours(case: Case) -> None:
    case.source.execute(LOGGING)
    case.init()
    case.target.execute(
        "DROP EVENT TRIGGER always; CREATE SCHEMA own;"
        "CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER always ON ddl_command_end EXECUTE FUNCTION own.f()"
    )
    theirs = case.target.execute("SELECT oid, evtname FROM pg_event_trigger WHERE evtname = 'always'")
    assert not any("DROP EVENT TRIGGER" in text and "always" in text for text in planned_statements(case))
    assert "which is not changed" in left(case.init(resume=False).data)["event trigger always"]
    assert case.target.execute("SELECT oid, evtname FROM pg_event_trigger WHERE evtname = 'always'") == theirs
    assert (HOSTILE,) in case.target.execute("SELECT evtname FROM pg_event_trigger")


def test_an_event_trigger_that_was_on_the_target_keeps_its_owner(case: Case) -> None:
    case.source.execute(LOGGING)
    owner = f'{case.target.name} "dba"'
    name = sql.Identifier(owner).as_string(None)
    case.target.execute(
        "CREATE SCHEMA own; CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f"CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION own.f(); CREATE ROLE {name} SUPERUSER;"
        f"ALTER EVENT TRIGGER always OWNER TO {name}"
    )
    try:
        case.init()
        query = "SELECT pg_get_userbyid(evtowner) FROM pg_event_trigger WHERE evtname = 'always'"
        assert case.target.execute(query) == [(owner,)]
    finally:
        case.target.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def planned_statements(case: Case) -> list[str]:
    migration = case.migration()
    case.migration = lambda: migration  # type: ignore[method-assign]
    case.init(resume=False, check_mode=True)
    del case.migration
    return migration.log.entries


def test_a_managed_target_refuses_event_triggers_and_can_do_without(
    source_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source_db.execute(LOGGING)
    case = Case(source_db, managed(target_cluster, STRICT_TARGET))
    try:
        with pytest.raises(MigrationError) as caught:
            case.init(roles="none")
        assert caught.value.details["checks"] == ["event_triggers"]
        case.init(roles="none", event_triggers="skip")
        assert case.target.execute(TRIGGERS) == []
    finally:
        sweep(target_cluster)


STRICT_TARGET = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT pg_monitor, pg_create_subscription TO {role};
"""
