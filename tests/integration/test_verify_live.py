# SPDX-License-Identifier: GPL-3.0-or-later
"""verify under live writes: a correct pair is verified, and damage is found, while rows change all the time."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from ansible_collections.seren.migrator.plugins.module_utils.verification import comparison, snapshots
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until, writing
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.verified import assert_verified

TABLES = """
CREATE TABLE public.account (id integer PRIMARY KEY, balance bigint NOT NULL, note text);
CREATE TABLE public.branch (id integer PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE public.queue (id bigint PRIMARY KEY, payload text);
CREATE TABLE public.log (account integer, delta integer, at timestamptz DEFAULT clock_timestamp());
ALTER TABLE public.log REPLICA IDENTITY FULL;
CREATE TABLE public.flag (name text, up boolean);
ALTER TABLE public.flag REPLICA IDENTITY FULL;
CREATE TABLE public.event (id bigint PRIMARY KEY, kind text) PARTITION BY HASH (id);
CREATE TABLE public.event_0 PARTITION OF public.event FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.event_1 PARTITION OF public.event FOR VALUES WITH (MODULUS 2, REMAINDER 1);
"""
ROWS = """
INSERT INTO public.account SELECT i, 0, repeat('n', 50) FROM generate_series(1, 20000) AS i;
INSERT INTO public.branch VALUES (1, 0), (2, 0);
INSERT INTO public.flag VALUES ('a', true), ('a', true), ('b', false);
INSERT INTO public.event SELECT i, 'old' FROM generate_series(1, 2000) AS i;
"""

APPLYING = """
SELECT 1 FROM pg_catalog.pg_stat_subscription AS s
  JOIN pg_catalog.pg_subscription AS p ON p.oid = s.subid
  JOIN pg_catalog.pg_database AS d ON d.oid = p.subdbid AND d.datname = current_database()
 WHERE s.pid IS NOT NULL
"""

Writer = Callable[[psycopg.Connection[Any], int], None]


def bank(connection: psycopg.Connection[Any], number: int) -> None:
    """As pgbench: a random account, a branch that every transaction updates, a log without a key."""
    account, delta = random.randint(1, 20000), random.randint(-5, 5)
    connection.execute("UPDATE public.account SET balance = balance + %s WHERE id = %s", (delta, account))
    connection.execute("UPDATE public.branch SET balance = balance + %s WHERE id = 1", (delta,))
    connection.execute("INSERT INTO public.log VALUES (%s, %s)", (account, delta))


def queueing(connection: psycopg.Connection[Any], number: int) -> None:
    """Rows that come and go, keys that change, a subtransaction that is rolled back, equal rows that flip."""
    connection.execute("INSERT INTO public.queue VALUES (%s, 'new')", (number,))
    connection.execute("DELETE FROM public.queue WHERE id = %s", (number - 5,))
    connection.execute("UPDATE public.queue SET id = -id WHERE id = %s", (number - 2,))
    connection.execute("UPDATE public.event SET kind = 'k' || %s WHERE id = %s", (number, random.randint(1, 2000)))
    with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
        connection.execute("INSERT INTO public.account VALUES (1, 0)")
    connection.execute("UPDATE public.flag SET up = NOT up WHERE name = 'a'")


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    made.both(TABLES)
    source_db.execute(ROWS)
    made.replicate()
    return made


def test_a_correct_pair_is_verified_in_every_run_while_writers_go_on(pair: ReplicatedPair) -> None:
    with writing(pair.source, bank, bank, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        for _turn in range(6):
            result = pair.verify()
            assert_verified(result)
            assert result.data["consistency"] == "aligned"
            for table in result.data["tables"]:
                assert table["source_rows"] == table["target_rows"], table
    assert min(counts) > 50


def test_a_truncate_between_snapshot_and_scan_is_no_difference(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 1: a row that is only on its way. Round 2: the source is emptied, and an older snapshot sees that, too."""
    waited, again = snapshots.wait_for, comparison._again

    def arrived() -> bool:
        return pair.target.execute("SELECT id FROM public.queue") == [(7,)]

    def then_insert(*arguments: Any, may_nudge: bool, **options: Any) -> str:
        reason: str = waited(*arguments, may_nudge=may_nudge, **options)
        if pair.source.execute("SELECT count(*) FROM public.queue") == [(0,)] and not emptied:
            pair.source.execute("INSERT INTO public.queue VALUES (7, 'on its way')")
            until(arrived, "the row")
        return reason

    def truncated(*arguments: Any) -> Any:
        if arguments[0].unit.name != "queue" or emptied:
            return again(*arguments)
        emptied.append(True)
        subscription = pair.streams[0].subscription
        pair.target.execute(f"ALTER SUBSCRIPTION {subscription} DISABLE")
        until(lambda: pair.target.execute(APPLYING) == [], "the end of the apply worker")
        pair.source.execute("TRUNCATE public.queue")
        try:
            return again(*arguments)
        finally:
            pair.target.execute(f"ALTER SUBSCRIPTION {subscription} ENABLE")

    emptied: list[bool] = []
    monkeypatch.setattr(snapshots, "wait_for", then_insert)
    monkeypatch.setattr(comparison, "_again", truncated)
    result = pair.verify()
    assert emptied
    assert_verified(result)


def test_damage_is_found_while_writers_go_on_and_nothing_else_is(pair: ReplicatedPair) -> None:
    with writing(pair.source, bank, bank, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        pair.source.execute("UPDATE public.account SET note = 'cold' WHERE id IN (5, 6)")
        pair.verify()
        pair.damage(
            "INSERT INTO public.account VALUES (-1, 0, 'extra')",
            "INSERT INTO public.log VALUES (-1, 0, '2020-01-01')",
            "INSERT INTO public.event VALUES (-5, 'extra')",
            "DELETE FROM public.branch WHERE id = 2",
            "UPDATE public.branch SET balance = balance + 0 WHERE id = 2",
        )
        result = pair.verify()
        assert found(result) == {
            ("account", "extra", ("-1",), ()),
            ("log", "extra", (), ()),
            ("event", "extra", ("-5",), ()),
            ("branch", "missing", ("2",), ()),
        }
        assert status_of(result, "queue") == ("verified", "")
        assert status_of(result, "flag") == ("verified", "")


def test_an_idle_pair_is_aligned_at_once(pair: ReplicatedPair) -> None:
    pair.verify()
    for _turn in range(3):
        result = pair.verify()
        assert result.data["consistency"] == "aligned"
        assert result.data["waited_seconds"] < 10


def test_what_the_source_snapshot_saw_is_waited_for(pair: ReplicatedPair) -> None:
    with pair.target.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE public.account IN SHARE MODE")  # apply waits, readers do not
        pair.source.execute("UPDATE public.account SET note = 'late' WHERE id < 10")
        pair.source.execute("INSERT INTO public.queue VALUES (1, 'late')")
        release = threading.Timer(1.5, blocker.rollback)
        release.start()
        result = pair.verify(max_rounds=1)
        release.join()
    assert_verified(result)
    assert result.data["waited_seconds"] > 0.5


def test_two_streams_are_waited_for_together(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(TABLES)
    source_db.execute(ROWS)
    pair.replicate("FOR TABLE public.account, public.branch, public.log")
    pair.replicate("FOR TABLE public.queue, public.event, public.flag")
    with writing(pair.source, bank, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        result = pair.verify()
    assert_verified(result)
    # The same without the second stream: its tables are not carried by any, hence never verified.
    result = pair.verify(streams=pair.streams[:1])
    assert status_of(result, "event")[0] == "unverified"
    assert "no stream carries it" in status_of(result, "event")[1]
    assert status_of(result, "account") == ("verified", "")


@contextmanager
def hanging(database: Database, *statements: str) -> Iterator[None]:
    """Run each statement in a transaction whose commit waits for a standby that does not exist."""

    def run(statement: str) -> None:
        with database.connect() as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    threads = [threading.Thread(target=run, args=(statement,), daemon=True) for statement in statements]
    for thread in threads:
        thread.start()
    waiting = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE wait_event = 'SyncRep'"
    until(lambda: database.execute(waiting)[0][0] == len(statements), "the commits to hang")
    yield
    database.execute(
        "SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    for thread in threads:
        thread.join(timeout=10)


def test_changes_that_are_applied_but_not_yet_visible_on_the_source_are_never_called_damage(
    make_cluster: Callable[..., Cluster], target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_run, "_BETWEEN_ROUNDS_S", 0.5)
    monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, chase_s=0.5, probe_wait_s=0.2))
    # The commit record is in WAL and applied, while the source waits for its standby and still shows the old rows.
    cluster = make_cluster(15)
    pair = ReplicatedPair(create_database(cluster), target_db)
    pair.both("CREATE TABLE public.t (id integer PRIMARY KEY, v text); CREATE TABLE public.ref (id integer)")
    pair.source.execute("INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(1, 100) AS i")
    pair.replicate()
    try:
        cluster.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        cluster.reload()
        until(lambda: cluster.execute("SHOW synchronous_standby_names") == [("absent",)], "the setting")
        with hanging(
            pair.source,
            "UPDATE public.t SET v = 'updated' WHERE id = 1",
            "DELETE FROM public.t WHERE id = 2",
            "INSERT INTO public.t VALUES (1000, 'inserted')",
        ):
            until(lambda: pair.target.execute("SELECT count(*) FROM public.t WHERE id = 1000")[0][0] == 1, "apply")
            until(lambda: pair.target.execute("SELECT v FROM public.t WHERE id = 1")[0][0] == "updated", "apply")
            result = pair.verify(max_rounds=2)
            assert result.data["differences"] == []
            assert status_of(result, "t")[0] == "unverified"
            assert "in doubt" in status_of(result, "t")[1]
            pair.damage("UPDATE public.t SET v = 'damaged' WHERE id = 50")
            result = pair.verify(max_rounds=2)
            assert found(result) == {("t", "changed", ("50",), ("v",))}
    finally:
        pair.target.execute(f"ALTER SUBSCRIPTION {pair.streams[0].subscription} DISABLE")
        pair.target.execute(f"ALTER SUBSCRIPTION {pair.streams[0].subscription} SET (slot_name = NONE)")
        pair.target.execute(f"DROP SUBSCRIPTION {pair.streams[0].subscription}")


def test_a_row_that_was_only_locked_is_proven(pair: ReplicatedPair) -> None:
    pair.source.execute("BEGIN; SELECT * FROM public.account WHERE id = 9 FOR KEY SHARE; COMMIT")
    assert pair.source.execute("SELECT xmax::text <> '0' FROM public.account WHERE id = 9") == [(True,)]
    pair.verify()
    pair.damage("UPDATE public.account SET note = 'x' WHERE id = 9")
    result = pair.verify(max_rounds=1)
    assert found(result) == {("account", "changed", ("9",), ("note",))}
