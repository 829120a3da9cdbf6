# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode: nothing is written on either side, whatever the state, and the answer is what the real run would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database, create_database
from tests.support.inventory import Inventory, inventory
from tests.support.migrations import Case, at_step
from tests.support.playbooks import Played, play
from tests.support.verified import assert_verified

LEDGER_TABLES = ("migration", "stream", "relation", "object", "step", "schema_dump")


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    for statement in (
        "CREATE ROLE shop_owner",
        "CREATE TABLE a (id serial PRIMARY KEY, v text)",
        "ALTER TABLE a OWNER TO shop_owner",
        "CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a)",
        "INSERT INTO a (v) SELECT 'row ' || n FROM generate_series(1, 50) AS n",
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM a",
    ):
        source_db.execute(statement)
    yield Case(source_db, target_db)


def ledger_rows(database: Database) -> list[Any]:
    if database.name not in {row[0] for row in database.cluster.execute("SELECT datname FROM pg_database")}:
        return []
    if database.execute("SELECT to_regclass('seren_migrator.migration')") == [(None,)]:
        return []
    query = "SELECT to_jsonb(t) - 'heartbeat' FROM {} AS t ORDER BY 1"
    tables = (sql.Identifier("seren_migrator", name) for name in LEDGER_TABLES)
    return [database.execute(sql.SQL(query).format(table)) for table in tables]


def everything(case: Case) -> tuple[Inventory, Inventory, list[Any], list[Any]]:
    subscriptions = case.target.cluster.execute(
        "SELECT subname, subenabled, subslotname, subpublications FROM pg_subscription"
    )
    return inventory(case.source, True), inventory(case.target, True), ledger_rows(case.target), subscriptions


def check(case: Case, *arguments: str, playbook: str = "migrate") -> Played:
    variables = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migrate_client_bin_dir": case.bin_dir,
        "migrate_wait_sleep": 1,
    }
    return play(playbook, variables, *arguments)


@pytest.mark.parametrize("database_exists", [True, False], ids=["empty target", "absent target"])
def test_a_virgin_pair_stays_virgin_and_the_plan_comes_back(case: Case, database_exists: bool) -> None:
    if not database_exists:
        case = Case(case.source, Database(case.target.cluster, "test_not_there_yet"))
    before = everything(case)
    played = check(case, "--check", "--diff")
    assert played.code == 0, played.output
    assert everything(case) == before
    init = played.result("pg_migration_init")
    assert init["changed"]
    assert init["plan"]["create_database"] is not database_exists
    assert init["plan"]["create_roles"] == ["shop_owner"]
    assert {(table["schema"], table["name"]) for table in init["tables"]} == {("public", "a"), ("public", "b")}
    statements = "\n".join(init["statements"])
    assert "CREATE PUBLICATION" in statements
    assert "CREATE_REPLICATION_SLOT" in statements
    assert ("CREATE DATABASE" in statements) is not database_exists
    assert init["diff"]["before"] != init["diff"]["after"]
    sync = played.result("pg_migration_sync")
    assert sync["changed"]
    assert "CREATE SUBSCRIPTION" in sync["statements"][0]
    assert "seren_migration_sub" in played.output  # the diff is on the screen
    assert played.result("pg_migration_verify")["verified"] is not True


def test_a_finished_migration_has_nothing_left_to_do(case: Case) -> None:
    finish(case)
    before = everything(case)
    played = check(case, "--check", "--diff")
    assert played.code == 0, played.output
    assert played.changed == 0
    assert everything(case) == before
    assert_verified(played.result("pg_migration_verify"))


def finish(case: Case) -> None:
    case.init()
    case.sync()
    case.wait_until_in_sync()


def copy(case: Case) -> None:
    case.init()


def interrupt(case: Case) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.init(at_step("building indexes", die))


def clean(case: Case) -> None:
    finish(case)
    case.cleanup()


def nothing(case: Case) -> None:
    """Leave the pair as it is."""


# What each phase says that it would change, by state; a word is the code of the error with which the real run fails.
STATES: dict[str, tuple[Callable[[Case], None], dict[str, bool | str]]] = {
    "absent": (nothing, {"init": True, "sync": True, "verify": False, "cleanup": False}),
    "interrupted": (interrupt, {"init": True, "sync": True, "verify": False, "cleanup": True}),
    "copied": (copy, {"init": False, "sync": True, "verify": False, "cleanup": True}),
    "synced": (finish, {"init": False, "sync": False, "verify": False, "cleanup": True}),
    "cleaned": (clean, {"init": "migration_cleaned", "sync": True, "verify": False, "cleanup": False}),
}


@pytest.mark.parametrize("state", STATES)
def test_every_phase_tells_what_it_would_do_and_does_nothing(case: Case, state: str) -> None:
    reach, expected = STATES[state]
    reach(case)
    before = everything(case)
    told: dict[str, bool | str] = {}
    for phase in expected:
        try:
            told[phase] = getattr(case, phase)(check_mode=True).changed
        except MigrationError as error:
            told[phase] = error.code
    assert told == expected
    assert everything(case) == before


def test_the_plan_of_a_cleanup_is_what_the_cleanup_then_does(case: Case) -> None:
    finish(case)
    planned = case.cleanup(check_mode=True).data["removed"]
    removed = case.cleanup().data["removed"]
    assert sorted(map(str, planned)) == sorted(map(str, removed))


def test_the_plan_of_sync_is_what_sync_then_does(case: Case) -> None:
    case.init()
    planned = case.sync(check_mode=True)
    real = case.sync()
    assert planned.diff is not None
    assert real.diff is not None
    assert planned.diff["after"] == real.diff["after"]


def test_the_plan_of_init_is_what_init_then_does(case: Case) -> None:
    planned = case.init(check_mode=True).data
    real = case.init().data
    names = [{(table["schema"], table["name"]) for table in data["tables"]} for data in (planned, real)]
    assert names[0] == names[1]
    assert real["streams"][0]["publication"] == planned["plan"]["publication"]


def test_a_forced_cleanup_only_tells_what_it_has_found(case: Case) -> None:
    case.init()
    other = Case(case.source, create_database(case.target.cluster))
    before = everything(case)
    found = other.cleanup(force=True, check_mode=True)
    assert found.changed
    assert {entry["kind"] for entry in found.data["removed"]} == {"slot", "publication", "table"}
    assert everything(case) == before


@pytest.mark.parametrize("playbook", ["validate", "init", "sync", "status", "verify", "cleanup"])
def test_each_playbook_runs_in_check_mode_where_nothing_is(case: Case, playbook: str) -> None:
    case = Case(case.source, Database(case.target.cluster, "test_not_there_yet"))
    before = everything(case)
    played = check(case, "--check", "--diff", playbook=playbook)
    assert played.code == 0, played.output
    assert everything(case) == before


def test_the_play_shows_what_stays_behind_before_and_after(source_db: Database, target_db: Database) -> None:
    source_db.execute('CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION "{{ 7 * 6 }}"" --" FOR TABLE t')
    variables = {
        "source_url": source_db.dsn,
        "target_url": target_db.dsn,
        "migrate_client_bin_dir": str(target_db.cluster.client_dir),
    }
    for words, arguments in (("1 thing of the source will arrive", ["--check"]), ("of the source arrived", [])):
        played = play("init", variables, *arguments)
        assert (played.code, words in played.output) == (0, True), played.output
        assert 'publication {{ 7 * 6 }}" --: publications are never migrated' in played.output.replace('\\"', '"')
