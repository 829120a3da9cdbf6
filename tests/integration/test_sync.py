# SPDX-License-Identifier: GPL-3.0-or-later
"""sync touches nothing that is not ours, never applies a change twice, and refuses what it cannot mend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import partitions
from ansible_collections.seren.migrator.plugins.module_utils.catalog import Table
from ansible_collections.seren.migrator.plugins.module_utils.claim import Claim
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream
from tests.support.fixtures import Database
from tests.support.migrations import Case

TABLES = (
    "CREATE TABLE a (id int PRIMARY KEY, v text)",
    "CREATE TABLE keyless (n int, v text)",
    "ALTER TABLE keyless REPLICA IDENTITY FULL",
    "CREATE TABLE p (id int NOT NULL, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000)",
    "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000)",
    "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 100) AS n",
    "INSERT INTO keyless SELECT n, 'row' FROM generate_series(1, 100) AS n",
    "INSERT INTO p SELECT n, 'row ' || n FROM generate_series(1, 1999) AS n",
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    for statement in TABLES:
        source_db.execute(statement)
    yield Case(source_db, target_db)


def finish(case: Case) -> None:
    case.sync()
    case.wait_until_in_sync()


def refused(case: Case) -> MigrationError:
    """The error of a sync, which check mode foretells."""
    with pytest.raises(MigrationError) as foretold:
        case.sync(check_mode=True)
    with pytest.raises(MigrationError) as caught:
        case.sync()
    assert caught.value.code == foretold.value.code
    return caught.value


def publications(case: Case) -> list[str]:
    return sorted(name for (name,) in case.source.execute("SELECT pubname FROM pg_publication"))


def drop_subscription(case: Case) -> None:
    for statement in ("DISABLE", "SET (slot_name = NONE)"):
        case.target.execute(f"ALTER SUBSCRIPTION seren_migration_sub {statement}")
    case.target.execute("DROP SUBSCRIPTION seren_migration_sub")


def test_a_publication_that_somebody_added_to_our_subscription_is_never_dropped(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("CREATE PUBLICATION users_own FOR TABLE a")
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub ADD PUBLICATION users_own WITH (refresh = false)")
    assert case.status().data["state"] == "broken"
    error = refused(case)
    assert error.code == "replication_broken"
    assert "users_own" in error.message
    assert publications(case) == ["seren_migration_pub", "users_own"]
    case.target.execute(error.remedy.split("then: ")[1].split(";")[0])
    finish(case)


def attach_before_sync(case: Case) -> None:
    """After this, sync needs a list of its own."""
    case.init()
    case.source.execute("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (2000) TO (3000)")


def test_a_publication_with_the_name_of_our_list_is_not_dropped(case: Case) -> None:
    attach_before_sync(case)
    case.source.execute("CREATE PUBLICATION seren_migration_list_1 FOR TABLE a")
    with pytest.raises(MigrationError) as caught:
        case.sync()
    assert caught.value.code == "name_taken"
    assert publications(case) == ["seren_migration_list_1", "seren_migration_pub"]
    case.source.execute("DROP PUBLICATION seren_migration_list_1")
    finish(case)
    assert publications(case) == ["seren_migration_pub"]


def test_a_subscription_that_has_vanished_is_not_made_again(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("INSERT INTO keyless SELECT n, 'later' FROM generate_series(1, 100) AS n")
    case.wait_until_in_sync()
    drop_subscription(case)
    error = refused(case)
    assert error.code == "replication_broken"
    assert "gone" in error.message
    assert case.target.execute("SELECT 1 FROM pg_subscription") == []


def test_a_slot_that_something_else_has_read_from_is_not_used(case: Case) -> None:
    case.init()
    case.source.execute("INSERT INTO a VALUES (101, 'would be missing')")
    case.source.execute("SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots")
    error = refused(case)
    assert error.code == "slot_lost"
    assert case.target.execute("SELECT 1 FROM pg_subscription") == []


def test_a_sync_that_ended_after_it_created_the_subscription_is_continued(case: Case) -> None:
    attach_before_sync(case)
    case.source.execute("INSERT INTO p VALUES (2500, 'new partition')")
    case.sync()
    # As if the run had ended right after CREATE SUBSCRIPTION.
    case.wait_until_in_sync()
    case.target.execute("UPDATE seren_migrator.stream SET state = 'slot_ready'")
    case.sync()
    drop_subscription(case)
    assert refused(case).code == "replication_broken"


def test_two_new_partitions_join_at_once(case: Case) -> None:
    case.init()
    finish(case)
    for low in (2000, 3000):
        case.source.execute(f"CREATE TABLE n{low} PARTITION OF p FOR VALUES FROM ({low}) TO ({low + 1000})")
    case.source.execute("INSERT INTO p VALUES (2500, 'new'), (3500, 'new')")
    assert case.sync().data["adopted"] == ["public.n2000", "public.n3000"]
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert not case.sync().changed


class Killed(Exception):
    pass


@pytest.mark.parametrize("state", ["joining", "copied"])
def test_a_sync_that_ended_while_a_partition_joined_is_continued(
    case: Case, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    case.init()
    finish(case)
    case.source.execute("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (2000) TO (3000)")
    case.source.execute("INSERT INTO p SELECT n, 'new' FROM generate_series(2000, 2099) AS n")
    record = partitions._record

    def killed(claim: Claim, stream: Stream, table: Table, now: str) -> None:
        if now == state == "copied":
            raise Killed
        record(claim, stream, table, now)
        if now == state:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(partitions, "_record", killed)
        case.sync()
    assert case.status().data["state"] != "in_sync" or state == "copied"
    assert case.sync().data["adopted"] == ["public.p3"]
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert not case.sync().changed


def test_a_partition_that_joins_brings_only_the_rows_of_its_predicate(case: Case) -> None:
    case.options["rows"] = {"p": "id % 2 = 0 -- even ones"}
    case.init()
    finish(case)
    case.source.execute("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (2000) TO (3000)")
    case.source.execute("INSERT INTO p SELECT n, 'new' FROM generate_series(2000, 2099) AS n")
    assert case.sync().data["adopted"] == ["public.p3"]
    case.wait_until_in_sync()
    case.source.execute("INSERT INTO p SELECT n, 'later' FROM generate_series(2100, 2199) AS n")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT count(*), count(*) FILTER (WHERE id % 2 = 0) FROM p3") == [(100, 100)]


KEYLESS = (
    "CREATE TABLE k (id int, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE k1 PARTITION OF k FOR VALUES FROM (0) TO (1000)",
    "ALTER TABLE k1 REPLICA IDENTITY FULL",
    "INSERT INTO k SELECT n, 'row' FROM generate_series(1, 100) AS n",
)


def test_a_partition_without_identity_goes_on_being_updated_and_joins_once_it_has_one(case: Case) -> None:
    for statement in KEYLESS:
        case.source.execute(statement)
    case.init()
    finish(case)
    case.source.execute("CREATE TABLE k2 PARTITION OF k FOR VALUES FROM (1000) TO (2000)")
    case.source.execute("INSERT INTO k VALUES (1000, 'new')")
    case.source.execute("UPDATE k SET v = 'the application goes on' WHERE id = 1000")
    assert case.status().data["state"] == "broken"
    with pytest.raises(MigrationError) as caught:
        case.sync()
    assert caught.value.code == "schema_changed"
    assert "public.k2" in caught.value.message
    case.source.execute("UPDATE k SET v = 'and on' WHERE id = 1000")
    case.source.execute(caught.value.remedy.split("or: ")[1].split(";")[0])
    assert case.sync().data["adopted"] == ["public.k2"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_a_partition_made_anew_under_its_old_name_is_not_in_sync(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("DROP TABLE p2")
    case.source.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000)")
    case.source.execute("INSERT INTO p VALUES (1500, 'another row')")
    data = case.status().data
    assert data["state"] == "broken"
    assert "public.p2 was made anew" in data["reasons"][0]
    assert refused(case).code == "schema_changed"


def test_a_renamed_table_is_refused_until_it_has_its_name_back(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("ALTER TABLE a RENAME TO b")
    assert case.status().data["state"] == "broken"
    error = refused(case)
    assert error.code == "schema_changed"
    assert "renamed to public.b" in error.message
    case.source.execute("ALTER TABLE b RENAME TO a")
    finish(case)


def test_what_was_dropped_before_sync_is_reported_and_the_rest_goes_on(case: Case) -> None:
    case.init()
    case.source.execute("DROP TABLE p2, keyless")
    case.source.execute("INSERT INTO a VALUES (101, 'later')")
    left = case.sync().data["left"]
    assert {entry["object"] for entry in left} == {"table public.p2", "table public.keyless"}
    data = case.wait_until_in_sync()
    assert data["left"] == left
    assert case.target.execute("SELECT v FROM a WHERE id = 101") == [("later",)]


def test_what_was_dropped_after_sync_is_reported_and_the_rest_goes_on(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("DROP TABLE p2")
    assert [entry["object"] for entry in case.wait_until_in_sync()["left"]] == ["table public.p2"]
    assert not case.sync().changed


def test_a_copied_table_that_no_stream_carries_is_refused(case: Case) -> None:
    case.init()
    case.target.execute("UPDATE seren_migrator.relation SET stream = NULL WHERE name = 'a'")
    assert case.status().data["state"] == "broken"
    error = refused(case)
    assert error.code == "replication_broken"
    assert "public.a" in error.message
    case.target.execute("UPDATE seren_migrator.relation SET stream = 7 WHERE name = 'a'")
    assert refused(case).code == "replication_broken"
