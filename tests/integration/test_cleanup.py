# SPDX-License-Identifier: GPL-3.0-or-later
"""cleanup: everything of ours goes, on both sides and in every state, and nothing else ever does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils import slots
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import cleanup
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case, at_step
from tests.support.unreachable import altered, refusing

TABLES = (
    "CREATE SCHEMA one",
    "CREATE SCHEMA two",
    "CREATE TABLE one.a (id int PRIMARY KEY, v text)",
    "CREATE TABLE two.b (id int PRIMARY KEY, v text)",
    "INSERT INTO one.a SELECT n, 'row ' || n FROM generate_series(1, 50) AS n",
    "INSERT INTO two.b SELECT n, 'row ' || n FROM generate_series(1, 50) AS n",
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    for statement in TABLES:
        source_db.execute(statement)
    yield Case(source_db, target_db)


def named(case: Case, name: str, **options: Any) -> Case:
    return Case(case.source, case.target, {"name": name, **options})


def start(case: Case) -> Case:
    case.init()
    case.sync()
    case.wait_until_in_sync()
    return case


def left_on_target(case: Case) -> dict[str, list[Any]]:
    """What a migration makes on a target, besides the data and the ledger."""
    return {
        "subscriptions": case.target.execute("SELECT subname FROM pg_subscription"),
        "origins": case.target.execute("SELECT roname FROM pg_replication_origin"),
        "markers": case.target.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'marker%'"),
        "schema dumps": case.target.execute("SELECT migration_id FROM seren_migrator.schema_dump"),
    }


CLEAN_TARGET: dict[str, list[Any]] = {"subscriptions": [], "origins": [], "markers": [], "schema dumps": []}


def assert_is_clean(case: Case) -> None:
    assert case.left_on_source() == NOTHING
    assert left_on_target(case) == CLEAN_TARGET


def position(statements: list[str], text: str) -> int:
    return next(number for number, statement in enumerate(statements) if text in statement)


def test_everything_of_ours_goes_and_the_data_stays(case: Case) -> None:
    start(case)
    result = case.cleanup()
    assert result.changed
    assert {(entry["side"], entry["kind"]) for entry in result.data["removed"]} == {
        ("target", "subscription"), ("source", "slot"), ("source", "publication"),
        ("source", "table"), ("target", "table"), ("source", "schema"), ("target", "registration"),
    }  # fmt: skip
    assert_is_clean(case)
    assert case.compare().differences == []


def test_no_slot_outlives_what_feeds_on_it(case: Case) -> None:
    start(case)
    migration = case.migration()
    cleanup.run(migration, cleanup.CleanupOptions())
    order = [
        position(migration.log.entries, text)
        for text in ("DISABLE", "slot_name = NONE", "DROP SUBSCRIPTION", "pg_drop_replication_slot", "DROP PUBLICATION")
    ]
    assert order == sorted(order)


@pytest.mark.parametrize("state", ["copied", "synced"])
def test_a_second_cleanup_has_nothing_to_do(case: Case, state: str) -> None:
    case.init()
    if state == "synced":
        case.sync()
    case.cleanup()
    again = case.cleanup()
    assert not again.changed
    assert again.data["removed"] == again.data["left"] == []
    assert "already cleaned up" in again.data["msg"]


def test_without_a_migration_there_is_nothing_to_do(case: Case) -> None:
    result = case.cleanup()
    assert not result.changed
    assert result.data["removed"] == result.data["left"] == []
    assert case.target.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'seren_migrator'") == []


def test_a_late_init_is_told_of_the_cleanup_and_touches_nothing(case: Case) -> None:
    case.init()
    case.cleanup()
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.code == "migration_cleaned"
    assert case.left_on_source() == NOTHING
    with pytest.raises(MigrationError) as caught:
        case.sync()
    assert caught.value.code == "migration_cleaned"


def test_a_new_migration_of_the_same_name_starts_in_an_emptied_target(case: Case) -> None:
    start(case)
    case.cleanup()
    case.target.execute("DROP SCHEMA one CASCADE")
    case.target.execute("DROP SCHEMA two CASCADE")
    start(case)
    assert case.compare().differences == []
    case.cleanup()
    assert_is_clean(case)


def test_an_unreachable_target_stops_the_cleanup_before_it_does_anything(case: Case) -> None:
    start(case)
    before = case.left_on_source()
    with refusing(case.target) as gone, pytest.raises(MigrationError) as caught:
        Case(case.source, gone).cleanup()
    assert (caught.value.code, caught.value.details["side"]) == ("cannot_connect", "target")
    assert case.left_on_source() == before
    case.source.execute("INSERT INTO one.a VALUES (100, 'still flowing')")
    case.wait_until_in_sync()


def test_force_finds_what_is_ours_on_the_source_without_the_target(case: Case) -> None:
    case.init()
    with refusing(case.target) as gone:
        result = Case(case.source, gone).cleanup(force=True)
    assert result.changed
    assert case.left_on_source() == NOTHING


def test_force_without_the_target_leaves_a_slot_that_is_in_use(case: Case) -> None:
    start(case)
    with refusing(case.target) as gone:
        result = Case(case.source, gone).cleanup(force=True)
    assert result.error is not None
    assert result.error.code == "cannot_clean"
    assert "in use" in result.data["left"][0]["reason"]
    case.source.execute("INSERT INTO one.a VALUES (100, 'still flowing')")
    case.wait_until_in_sync()


def test_force_takes_only_the_migration_of_its_name(case: Case) -> None:
    named(case, "first", schemas=["one"]).init()
    second = start(named(case, "first two", schemas=["two"]))
    with refusing(case.target) as gone:
        Case(case.source, gone, {"name": "first"}).cleanup(force=True)
    case.source.execute("INSERT INTO two.b VALUES (100, 'still flowing')")
    second.wait_until_in_sync()
    assert len(case.left_on_source()["slots"]) == 1


def test_force_is_not_confused_by_a_comment_that_resembles_ours(case: Case) -> None:
    case.init()
    for name, comment in (
        ("short", "seren.migrator"),
        ("odd", "seren.migrator rules"),
        ("regex", "seren.migrator .* seren_migration"),
    ):
        case.source.execute(sql.SQL("CREATE PUBLICATION {} FOR TABLE one.a").format(sql.Identifier(name)))
        case.source.execute(
            sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        )
    case.source.execute("SELECT pg_create_logical_replication_slot('seren_migration_ffffffffffff_1', 'pgoutput')")
    with refusing(case.target) as gone:
        Case(case.source, gone).cleanup(force=True)
    assert sorted(case.left_on_source()["publications"]) == [("odd",), ("regex",), ("short",)]
    assert case.left_on_source()["slots"] == [("seren_migration_ffffffffffff_1",)]


def test_a_target_without_our_ledger_does_not_cost_another_target_its_slot(case: Case) -> None:
    """The usual way there: init of the second target was refused, because the name is taken."""
    start(case)
    other = Case(case.source, create_database(case.target.cluster))
    with pytest.raises(MigrationError) as caught:
        other.init()
    assert caught.value.code == "name_taken"
    result = other.cleanup()
    assert not result.changed
    assert {entry["kind"] for entry in result.data["left"]} == {"slot", "publication", "table"}
    case.source.execute("INSERT INTO one.a VALUES (100, 'still flowing')")
    case.wait_until_in_sync()


def test_a_target_database_that_was_dropped_is_a_target_without_ledger(case: Case) -> None:
    case.init()
    gone = Case(case.source, Database(case.target.cluster, "test_dropped"))
    result = gone.cleanup()
    assert not result.changed
    assert {entry["kind"] for entry in result.data["left"]} == {"slot", "publication", "table"}
    assert gone.cleanup(force=True).changed
    assert case.left_on_source() == NOTHING


def test_force_removes_what_a_dropped_target_has_left_on_the_source(case: Case) -> None:
    case.init()
    anew = Case(case.source, create_database(case.target.cluster))
    assert anew.cleanup(force=True).changed
    assert case.left_on_source() == NOTHING


def test_an_unreachable_source_stops_the_cleanup_before_it_does_anything(case: Case) -> None:
    start(case)
    with refusing(case.source) as gone, pytest.raises(MigrationError) as caught:
        Case(gone, case.target).cleanup()
    assert (caught.value.code, caught.value.details["side"]) == ("cannot_connect", "source")
    case.source.execute("INSERT INTO one.a VALUES (100, 'still flowing')")
    case.wait_until_in_sync()


def test_what_an_unreachable_source_keeps_is_reported_and_removed_later(case: Case) -> None:
    start(case)
    with refusing(case.source) as gone:
        forced = Case(gone, case.target).cleanup(force=True)
    assert {entry["kind"] for entry in forced.data["left"]} == {"slot", "publication", "table", "schema"}
    assert {entry["side"] for entry in forced.data["left"]} == {"source"}
    assert case.target.execute("SELECT subname FROM pg_subscription") == []
    later = case.cleanup()
    assert later.changed
    assert {entry["side"] for entry in later.data["removed"]} == {"source"}
    assert_is_clean(case)
    assert not case.cleanup().changed


def test_a_slot_in_use_is_freed_and_dropped(case: Case) -> None:
    case.init()
    ((slot,),) = case.left_on_source()["slots"]
    ((publication,),) = case.left_on_source()["publications"]
    consumer = psycopg.connect(**case.source.params, replication="database", autocommit=True)
    consumer.pgconn.send_query(
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{publication}')".encode()
    )
    while not case.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"):
        pass
    case.cleanup()
    consumer.close()
    assert_is_clean(case)


def test_the_other_migration_of_the_same_two_databases_goes_on(case: Case) -> None:
    one, two = named(case, "first", schemas=["one"]), named(case, "second", schemas=["two"])
    start(one)
    start(two)
    one.cleanup()
    case.source.execute("INSERT INTO two.b VALUES (100, 'still flowing')")
    two.wait_until_in_sync()
    assert case.target.execute("SELECT v FROM two.b WHERE id = 100") == [("still flowing",)]
    two.cleanup()
    assert_is_clean(case)


def test_a_copy_that_was_given_up_leaves_nothing_on_the_source(case: Case) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.init(at_step("building indexes", die))
    assert case.left_on_source()["slots"] != []
    case.cleanup()
    assert_is_clean(case)


def test_a_copy_that_is_under_way_is_not_cleaned_up(case: Case) -> None:
    refused: list[str] = []

    def clean() -> None:
        with pytest.raises(MigrationError) as caught:
            case.cleanup()
        refused.append(caught.value.code)

    case.init(at_step("copying", clean))
    assert refused == ["migration_busy"]
    start(case)


def test_nothing_that_only_looks_like_ours_is_dropped(case: Case) -> None:
    start(case)
    for statement in (
        "CREATE PUBLICATION seren_migration_pub_2 FOR TABLE one.a",
        "CREATE PUBLICATION seren_migration_list_1 FOR TABLE one.a",
        "CREATE TABLE seren_migrator.marker_of_mine (id int PRIMARY KEY)",
        "SELECT pg_create_logical_replication_slot('other_slot', 'pgoutput')",
    ):
        case.source.execute(statement)
    case.target.execute("CREATE TABLE seren_migrator.notes (id int)")
    case.cleanup()
    assert sorted(case.left_on_source()["publications"]) == [("seren_migration_list_1",), ("seren_migration_pub_2",)]
    assert case.left_on_source()["slots"] == [("other_slot",)]
    assert case.source.execute("SELECT relname FROM pg_class WHERE relname = 'marker_of_mine'") != []
    assert case.target.execute("SELECT relname FROM pg_class WHERE relname = 'notes'") != []


def test_a_function_in_our_schema_does_not_stop_the_cleanup(case: Case) -> None:
    case.init()
    case.source.execute("CREATE FUNCTION seren_migrator.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert case.cleanup().error is None
    assert case.source.execute("SELECT seren_migrator.mine()") == [(1,)]


def test_a_publication_that_took_the_place_of_ours_stays(case: Case) -> None:
    case.init()
    case.source.execute("DROP PUBLICATION seren_migration_pub")
    case.source.execute("CREATE PUBLICATION seren_migration_pub FOR TABLE one.a")
    case.cleanup()
    assert case.left_on_source() == {**NOTHING, "publications": [("seren_migration_pub",)]}


def test_a_subscription_that_took_the_place_of_ours_stays(case: Case) -> None:
    start(case)
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub RENAME TO renamed")
    case.target.execute(
        "CREATE SUBSCRIPTION seren_migration_sub CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)"
    )
    case.cleanup()
    assert case.target.execute("SELECT subname FROM pg_subscription ORDER BY 1") != []
    assert ("seren_migration_sub",) in case.target.execute("SELECT subname FROM pg_subscription")


def test_a_role_that_may_not_drop_is_told_what_is_left(case: Case) -> None:
    case.init()
    case.source.execute("CREATE ROLE other NOLOGIN SUPERUSER")
    case.source.execute("ALTER PUBLICATION seren_migration_pub OWNER TO other")
    case.source.execute("CREATE ROLE small LOGIN REPLICATION PASSWORD 'small password'")
    small = Case(altered(case.source, user="small", password="small password"), case.target)
    result = small.cleanup()
    assert result.error is not None
    assert result.error.code == "cannot_clean"
    assert "publication seren_migration_pub on the source" in result.error.message
    reasons = {entry["kind"]: entry["reason"] for entry in result.data["left"]}
    assert "must be owner" in reasons["publication"]
    case.cleanup()
    assert_is_clean(case)


def test_a_subscription_of_ours_under_another_comment_is_left_with_its_slot(case: Case) -> None:
    start(case)
    case.target.execute("COMMENT ON SUBSCRIPTION seren_migration_sub IS 'mine'")
    result = case.cleanup()
    assert result.error is not None
    reasons = {(entry["side"], entry["kind"]): entry["reason"] for entry in result.data["left"]}
    assert {("target", "subscription"), ("source", "slot")} <= reasons.keys()
    assert case.left_on_source()["slots"] != []
    case.target.execute(reasons["target", "subscription"].split("migration's: ")[1])
    case.cleanup()
    assert_is_clean(case)


def test_a_publication_of_ours_under_another_comment_is_left(case: Case) -> None:
    case.init()
    case.source.execute("COMMENT ON PUBLICATION seren_migration_pub IS 'mine'")
    result = case.cleanup()
    assert result.error is not None
    reasons = {(entry["side"], entry["kind"]): entry["reason"] for entry in result.data["left"]}
    case.source.execute(reasons["source", "publication"].split("migration's: ")[1])
    case.cleanup()
    assert_is_clean(case)


def test_slots_of_table_synchronisation_go_also_after_a_cleanup_that_was_killed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(case)
    ((oid,),) = case.target.execute("SELECT oid FROM pg_subscription")
    ((system,),) = case.target.execute("SELECT system_identifier FROM pg_control_system()")
    ours, other = f"pg_{oid}_sync_999_{system}", f"pg_{oid}_sync_999_1234567890"
    for name in (ours, other):
        case.source.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))

    def killed(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(cleanup.slots, "drop_sync_slots", killed)
        case.cleanup()
    assert case.target.execute("SELECT 1 FROM pg_subscription") == []
    case.cleanup()
    assert case.left_on_source()["slots"] == [(other,)]
    case.source.execute("SELECT pg_drop_replication_slot(%s)", (other,))


def test_a_slot_is_dropped_once_another_roles_reader_has_gone(case: Case) -> None:
    case.init()
    ((slot,),) = case.left_on_source()["slots"]
    ((publication,),) = case.left_on_source()["publications"]
    consumer = psycopg.connect(**case.source.params, replication="database", autocommit=True)
    consumer.pgconn.send_query(
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{publication}')".encode()
    )
    while not case.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"):
        pass
    case.source.execute("CREATE ROLE small LOGIN REPLICATION PASSWORD 'small password'")
    small = Case(altered(case.source, user="small", password="small password"), case.target)
    ending = threading.Timer(1, consumer.close)
    ending.start()
    with small.migration().open("source", "test") as source:
        assert slots.drop_slot(source, slot)
    ending.join()
    case.cleanup()
