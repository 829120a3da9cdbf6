# SPDX-License-Identifier: GPL-3.0-or-later
"""What init must refuse: each reason is named with its cure, and nothing was created on either side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster
from tests.support.fault_proxy import POOLER_PARAMETERS, FaultProxy
from tests.support.fixtures import Database, create_database
from tests.support.inventory import Inventory, inventory
from tests.support.migrations import Case, at_step
from tests.support.playbooks import play
from tests.support.pooler import Pooler
from tests.support.unreachable import altered, refusing

CONNECT_TIMEOUT_S = 6


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 50) AS n")
    yield Case(source_db, target_db)


def everything(case: Case) -> tuple[Inventory, Inventory]:
    return inventory(case.source), inventory(case.target)


def refused(case: Case, told: Case | None = None, **options: Any) -> MigrationError:
    """Run init, which must fail with a remedy and leave both sides as they were; `told` is what init is called with."""
    before = everything(case)
    with pytest.raises(MigrationError) as caught:
        (told or case).init(**options)
    assert everything(case) == before
    assert caught.value.remedy
    return caught.value


def checks(error: MigrationError) -> list[str]:
    found: list[str] = error.details["checks"]
    return found


def test_an_ordinary_pair_is_not_refused(case: Case) -> None:
    before = everything(case)
    case.init()
    assert everything(case) != before


@pytest.mark.parametrize(
    "selection",
    [
        {"tables": ["public.absent"]},
        {"schemas": ["absent"]},
        {"exclude_tables": ["public.absent"]},
        {"exclude_schemas": ["absent"]},
        {"exclude_data": ["public.absent"]},
        {"rows": {"public.absent": "id > 1"}},
        {"tables": ["public.A"]},
        {"tables": ["public.a", "public.absent"]},
        {"exclude_tables": ["public.a"]},
    ],
    ids=str,
)
def test_a_selection_that_matches_nothing(case: Case, selection: dict[str, Any]) -> None:
    error = refused(case, Case(case.source, case.target, selection))
    assert error.code == "nothing_selected"


def test_a_database_without_tables(source_db: Database, target_db: Database) -> None:
    assert refused(Case(source_db, target_db)).code == "nothing_selected"


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password(case: Case, side: str) -> None:
    told = Case(case.source, case.target)
    setattr(told, side, altered(getattr(case, side), password="a wrong password"))
    error = refused(case, told)
    assert error.code == "cannot_connect"
    assert side in error.message
    assert "password authentication failed" in error.message
    assert "a wrong password" not in str(error)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_closed_port(case: Case, side: str) -> None:
    told = Case(case.source, case.target)
    with refusing(getattr(case, side)) as gone:
        setattr(told, side, gone)
        error = refused(case, told)
    assert error.code == "cannot_connect"
    assert side in error.message


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_host_that_does_not_answer_is_given_up_after_the_connect_timeout(case: Case, side: str) -> None:
    told = Case(case.source, case.target)
    with FaultProxy(getattr(case, side).cluster.port) as proxy:
        proxy.is_black_hole = True
        gone = altered(getattr(case, side), port=proxy.port, connect_timeout=CONNECT_TIMEOUT_S)
        setattr(told, side, gone)
        before = everything(case)
        begin = time.monotonic()
        with pytest.raises(MigrationError) as caught:
            told.init()
        took_s = time.monotonic() - begin
        proxy.is_black_hole = False
    assert caught.value.code == "cannot_connect"
    assert took_s < 2 * CONNECT_TIMEOUT_S  # it was asked once
    assert everything(case) == before


def test_a_pooler_that_refuses_replication(case: Case) -> None:
    with FaultProxy(case.source.cluster.port, refused_parameters=POOLER_PARAMETERS) as proxy:
        error = refused(case, Case(altered(case.source, port=proxy.port), case.target))
    assert "pooler" in str(error).lower()


def test_a_pooler_before_the_target(case: Case) -> None:
    cluster = case.target.cluster
    with Pooler(f"{cluster.socket_dir}/.s.PGSQL.{cluster.port}") as pooler:
        error = refused(case, Case(case.source, altered(case.target, port=pooler.port)))
    assert "pooler" in str(error).lower()


def test_the_same_database_on_both_sides(case: Case) -> None:
    error = refused(Case(case.source, case.source))
    assert "different_databases" in checks(error)


def test_a_target_that_holds_a_table(case: Case) -> None:
    case.target.execute("CREATE TABLE other (id int)")
    error = refused(case)
    assert error.code == "target_not_empty"
    assert "public.other" in error.message


NO_IDENTITY = {
    "no key": "CREATE TABLE b (id int)",
    "deferrable key": "CREATE TABLE b (id int PRIMARY KEY DEFERRABLE)",
    "replica identity nothing": "CREATE TABLE b (id int PRIMARY KEY); ALTER TABLE b REPLICA IDENTITY NOTHING",
    "unique, nullable": "CREATE TABLE b (id int UNIQUE)",
    "partition without one": "CREATE TABLE p (id int) PARTITION BY RANGE (id);"
    " CREATE TABLE b PARTITION OF p FOR VALUES FROM (0) TO (9)",
}


@pytest.mark.parametrize("statements", NO_IDENTITY.values(), ids=NO_IDENTITY.keys())
def test_a_table_whose_updates_a_publication_would_break(case: Case, statements: str) -> None:
    for statement in statements.split("; "):
        case.source.execute(statement)
    error = refused(case)
    assert checks(error) == ["replica_identity"]
    assert "public.b" in error.message
    assert "REPLICA IDENTITY" in error.remedy


@pytest.mark.parametrize(
    "wish",
    [{"skip_checks": ["replica_identity"]}, {"severities": {"replica_identity": "info"}}, {"fail_on": "never"}],
    ids=lambda wish: next(iter(wish)),
)
def test_nobody_can_wish_for_a_publication_that_breaks_updates(case: Case, wish: dict[str, Any]) -> None:
    case.source.execute("CREATE TABLE b (id int)")
    assert checks(refused(case, **wish)) == ["replica_identity"]


def test_tables_of_the_user_in_the_schema_that_never_travels(case: Case) -> None:
    case.source.execute("CREATE SCHEMA seren_migrator CREATE TABLE mine (id int PRIMARY KEY)")
    error = refused(case)
    assert checks(error) == ["own_schema"]
    assert "seren_migrator.mine" in error.message


def test_a_source_that_was_the_target_of_a_migration_is_not_refused(case: Case) -> None:
    case.init()
    third = create_database(case.target.cluster)
    Case(case.target, third, {"name": "onward"}).init()
    assert third.execute("SELECT count(*) FROM a") == [(50,)]


def test_large_objects_that_replication_would_lose(case: Case) -> None:
    case.source.execute("SELECT lo_from_bytea(0, 'large')")
    assert checks(refused(case)) == ["large_objects"]


def test_a_publication_left_by_the_old_tool(case: Case) -> None:
    case.source.execute("CREATE PUBLICATION seren_migration_pub FOR ALL TABLES")
    error = refused(case)
    assert error.code == "name_taken"
    assert 'DROP PUBLICATION "seren_migration_pub"' in error.remedy


def test_a_subscription_left_by_the_old_tool(case: Case) -> None:
    case.target.execute(
        "CREATE SUBSCRIPTION seren_migration_sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)"
    )
    error = refused(case)
    assert error.code == "name_taken"
    assert 'DROP SUBSCRIPTION "seren_migration_sub"' in error.remedy


def test_another_target_of_the_same_name(case: Case) -> None:
    case.init()
    assert refused(Case(case.source, create_database(case.target.cluster))).code == "name_taken"


def test_a_role_without_replication(case: Case) -> None:
    case.source.execute("CREATE ROLE small LOGIN PASSWORD 'small password'")
    case.source.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO small")
    small = altered(case.source, user="small", password="small password")
    error = refused(case, Case(small, case.target))
    assert "REPLICATION" in str(error)


def test_a_source_without_logical_decoding(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    source = create_database(make_cluster(15, wal_level="replica"))
    source.execute("CREATE TABLE a (id int PRIMARY KEY)")
    error = refused(Case(source, target_db))
    assert checks(error) == ["source_wal_level"]
    assert "ALTER SYSTEM SET" in error.remedy


def test_a_source_without_a_free_slot(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    source = create_database(make_cluster(15, max_replication_slots=1))
    source.execute("CREATE TABLE a (id int PRIMARY KEY)")
    source.execute("SELECT pg_create_physical_replication_slot('taken')")
    error = refused(Case(source, target_db))
    assert "slot" in error.message
    assert "max_replication_slots" in error.remedy


def test_a_transaction_that_keeps_the_slot_from_being_created(case: Case) -> None:
    with case.source.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO a VALUES (1000, 'not committed')")
        with pytest.raises(MigrationError) as caught:
            case.init(slot_timeout=1)
        writer.rollback()
    assert caught.value.code == "slot_timeout"
    assert caught.value.details["slots_kept"] == []
    assert case.left_on_source()["slots"] == case.left_on_source()["publications"] == []
    case.init()


@pytest.mark.parametrize("database_exists", [True, False])
def test_two_runners_at_once_copy_once(case: Case, database_exists: bool) -> None:
    results: list[Any] = []
    target = case.target if database_exists else Database(case.target.cluster, "test_made_by_init")
    case = Case(case.source, target)

    def run() -> None:
        try:
            results.append(Case(case.source, target).init().data["state"])
        except MigrationError as error:
            results.append(error.code)

    threads = [threading.Thread(target=run) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "copied" in results
    assert set(results) <= {"copied", "migration_busy"}
    assert len(case.left_on_source()["slots"]) == 1
    assert case.compare().differences == []


def test_two_runners_with_different_options(case: Case) -> None:
    seen: list[str] = []

    def other() -> None:
        with pytest.raises(MigrationError) as caught:
            Case(case.source, case.target).init(large_objects="skip")
        seen.append(caught.value.code)
        with pytest.raises(MigrationError) as caught:
            Case(case.source, case.target, {"tables": ["public.a"]}).init()
        seen.append(caught.value.code)

    case.init(at_step("copying", other))
    assert seen == ["migration_busy", "migration_busy"]


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "interrupted"])
def test_the_ledger_of_another_source(case: Case, is_finished: bool) -> None:
    begin(case, is_finished)
    other = create_database(case.source.cluster)
    other.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    error = refused(case, Case(other, case.target))
    assert error.code == "ledger_mismatch"
    assert case.source.name in error.message


@pytest.mark.parametrize("phase", ["sync", "status", "cleanup"])
def test_the_ledger_of_another_source_stops_every_phase(case: Case, phase: str) -> None:
    case.init()
    other = Case(create_database(case.source.cluster), case.target)
    before = everything(case)
    with pytest.raises(MigrationError) as caught:
        getattr(other, phase)()
    assert caught.value.code == "ledger_mismatch"
    assert everything(case) == before


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "interrupted"])
def test_the_ledger_of_another_selection(case: Case, is_finished: bool) -> None:
    begin(case, is_finished)
    error = refused(case, Case(case.source, case.target, {"tables": ["public.a"]}))
    assert error.code == "ledger_mismatch"


def begin(case: Case, is_finished: bool) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    if is_finished:
        case.init()
    else:
        with pytest.raises(KeyboardInterrupt):
            case.init(at_step("building indexes", die))


# Through the playbook: the message and its remedy reach the screen, and the run stops there.


def variables(case: Case) -> dict[str, Any]:
    return {"source_url": case.source.url, "target_url": case.target.url, "migrate_client_bin_dir": case.bin_dir}


def test_the_playbook_shows_what_stands_in_the_way_and_how_to_mend_it(case: Case) -> None:
    case.source.execute("CREATE TABLE keyless (v text)")
    before = everything(case)
    played = play("migrate", variables(case))
    assert played.code != 0
    assert "public.keyless" in played.output
    assert "REPLICA IDENTITY" in played.output
    assert everything(case) == before
    # What matters, then the end: no list of the checks that passed.
    assert "clock_difference" not in played.output and '"title"' not in played.output
    assert played.output.index("BLOCKERS") < played.output.index("in the way. replica_identity: ")
    assert len(played.output.splitlines()) < 120


def test_the_playbook_stops_at_a_pattern_that_matches_nothing(case: Case) -> None:
    before = everything(case)
    played = play("migrate", {**variables(case), "migrate_tables": ["public.absent"]})
    assert played.code != 0
    assert "public.absent" in played.output
    assert everything(case) == before


def test_a_misspelt_variable_of_the_role_is_refused_and_the_right_one_named(case: Case) -> None:
    before = everything(case)
    misspelt = {"migrate_exlude_data": ["public.secret"], "migrate_zzz": 1}
    played = play("migrate", {**variables(case), **misspelt})
    assert played.code != 0
    said = " ".join(played.output.split())
    assert "migrate_exlude_data is no variable of the role" in said
    assert "did you mean migrate_exclude_data?" in said
    assert "migrate_zzz is no variable of the role seren.migrator.migrate." in said
    assert not [line for line in played.lines if line.get("action", "").startswith("seren.migrator.")]
    assert everything(case) == before
    ignored = play("validate", {**variables(case), **misspelt, "migrate_unknown_variables": "ignore"})
    assert ignored.result("pg_migration_validate")["phase"] == "validate"
