# SPDX-License-Identifier: GPL-3.0-or-later
"""verify behind a gate: the two snapshots stand for one commit, apply goes on at once, and whatever fails says so."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from ansible_collections.seren.migrator.plugins.module_utils.verification import gate, snapshots, stillness
from ansible_collections.seren.migrator.plugins.module_utils.verification.epochs import Epochs
from ansible_collections.seren.migrator.plugins.module_utils.verification.readers import Connections
from ansible_collections.seren.migrator.plugins.module_utils.verification.snapshots import Holders
from tests.integration.test_verify_live import APPLYING, ROWS, TABLES, bank, hanging, queueing
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until, writing
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database

SUM = "SELECT (SELECT sum(balance) FROM public.account) + (SELECT sum(balance) FROM public.branch)"
BLOCKED = "SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT granted AND relation::regclass::text LIKE '%marker%'"


def moving(connection: psycopg.Connection[Any], number: int) -> None:
    """Money moves between accounts and branches: their sum never changes."""
    one, other = sorted(random.sample(range(1, 2000), 2))
    connection.execute("UPDATE public.account SET balance = balance - 7 WHERE id = %s", (one,))
    connection.execute("UPDATE public.account SET balance = balance + 4 WHERE id = %s", (other,))
    connection.execute("UPDATE public.branch SET balance = balance + 3 WHERE id = %s", (number % 2 + 1,))


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    return replicated(source_db, target_db)


def replicated(source: Database, target: Database, streams: int = 1, options: str = "") -> ReplicatedPair:
    made = ReplicatedPair(source, target)
    made.both(TABLES)
    source.execute(ROWS)
    if streams == 1:
        made.replicate(marker=True, options=options)
    else:
        made.replicate("FOR TABLE public.account, public.log", marker=True, options=options)
        made.replicate(
            "FOR TABLE public.branch, public.queue, public.event_0, public.event_1, public.flag",
            marker=True,
            options=options,
        )
    return made


@contextmanager
def epochs_of(pair: ReplicatedPair, asked: str = "gate") -> Iterator[Epochs]:
    """The epochs of a run, without its comparison."""
    migration = Migration.from_options({"source": pair.source.params, "target": pair.target.params})
    with Connections(migration) as connections:
        holders = Holders(
            connections.open("source", "a"), connections.open("source", "b"), connections.open("target", "c")
        )
        with Epochs(asked, holders, connections.open, pair.streams, 30, migration.redactor) as epochs:
            yield epochs


def seen_by(database: Database, snapshot: str, query: str) -> list[tuple[Any, ...]]:
    """What a snapshot shows."""
    with database.connect(autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")  # type: ignore[arg-type]
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


@contextmanager
def apply_held(pair: ReplicatedPair, table: str) -> Iterator[Callable[[], None]]:
    """Keep apply from writing one table, until the function is called or the block ends."""
    with pair.target.connect(autocommit=False) as blocker:
        blocker.execute(f"LOCK TABLE {table} IN SHARE MODE")  # type: ignore[arg-type]
        yield blocker.rollback


def token(pair: ReplicatedPair, side: str) -> str:
    database = pair.source if side == "source" else pair.target
    name = pair.streams[0].marker.replace('"', '""')
    return str(database.execute(f'SELECT token FROM seren_migrator."{name}"')[0][0])


# --- what the pair of snapshots is -----------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [1, 2])
def test_the_target_stands_at_one_commit_of_the_source(source_db: Database, target_db: Database, streams: int) -> None:
    pair = replicated(source_db, target_db, streams)
    with writing(pair.source, moving, moving, queueing) as counts, epochs_of(pair) as epochs:
        until(lambda: min(counts) > 20, "the writers")
        for number in range(1, 21):
            with epochs.open(number) as epoch:
                assert (epochs.mode, epochs.reason) == ("gate", "")
                assert seen_by(pair.target, epoch.snapshot("target"), SUM) == [(0,)]
                assert seen_by(pair.source, epoch.snapshot("source"), SUM) == [(0,)]
                assert epoch.hold_ms is not None and epoch.marker_lsn is not None
        until(lambda: pair.target.execute(BLOCKED) == [(0,)], "apply to go on")


def test_a_pair_is_verified_in_every_run_while_writers_go_on(source_db: Database, target_db: Database) -> None:
    pair = replicated(source_db, target_db, 2)
    with writing(pair.source, bank, moving, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        for _turn in range(5):
            result = pair.verify()
            assert result.data["verified"] is True, (result.error, result.data["differences"])
            assert (result.data["mode"], result.data["mode_reason"]) == ("gate", "")
            for epoch in result.data["epochs"]:
                assert epoch["mode"] == "gate" and epoch["lsn"] and epoch["marker_lsn"] and epoch["taken_at"], epoch
            for table in result.data["tables"]:
                assert table["source_rows"] == table["target_rows"], table


def test_the_gate_waits_for_every_stream(source_db: Database, target_db: Database) -> None:
    pair = replicated(source_db, target_db, 2)
    both = "SELECT a.balance, b.balance FROM public.account AS a, public.branch AS b WHERE a.id = 1 AND b.id = 1"
    with apply_held(pair, "public.branch") as release, epochs_of(pair) as epochs:
        pair.source.execute(
            "BEGIN; UPDATE public.account SET balance = 5 WHERE id = 1;"
            " UPDATE public.branch SET balance = -5 WHERE id = 1; COMMIT"
        )
        timer = threading.Timer(0.7, release)
        timer.start()
        with epochs.open(1) as epoch:
            pair.source.execute("UPDATE public.account SET balance = 6 WHERE id = 1")
            assert seen_by(pair.target, epoch.snapshot("target"), both) == [(5, -5)]
            assert epochs.mode == "gate"
            assert epoch.waited_s > 0.1
        timer.join()


def test_an_older_marker_that_arrives_late_is_not_taken_for_ours(pair: ReplicatedPair) -> None:
    """A worker that stopped at the older one would stand before what the source's snapshot shows."""
    name = pair.streams[0].marker.replace('"', '""')
    with apply_held(pair, "public.branch") as release:
        pair.source.execute("UPDATE public.branch SET balance = 1 WHERE id = 1")
        pair.source.execute(f"UPDATE seren_migrator.\"{name}\" SET token = 'older'")
        pair.source.execute("UPDATE public.account SET note = 'after it' WHERE id < 10")
        timer = threading.Timer(1.0, release)
        timer.start()
        result = pair.verify(max_rounds=1)
        timer.join()
    assert result.data["differences"] == []
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "gate", result.data["mode_reason"]


def test_a_gate_that_opened_too_early_proves_nothing(pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead-man switch opens it before the target's snapshot is taken: another attempt, with another snapshot."""
    monkeypatch.setattr(gate, "DEAD_MAN_S", 0.3)
    taken: list[str] = []
    real = snapshots.export

    def slow(session: Any) -> Any:
        if session.endpoint.side == "target":
            taken.append("target")
            if len(taken) == 1:
                until(lambda: pair.target.execute(BLOCKED) == [(0,)], "the dead-man switch")
                until(lambda: token(pair, "target") == token(pair, "source"), "apply to go on")
        return real(session)

    monkeypatch.setattr(gate, "export", slow)
    result = pair.verify()
    assert len(taken) == 2
    assert (result.data["verified"], result.data["mode"]) == (True, "gate"), result.data["mode_reason"]


def test_transactions_that_are_applied_in_parallel_or_prepared(make_cluster: Callable[..., Cluster]) -> None:
    source = make_cluster(17, logical_decoding_work_mem="64kB", max_prepared_transactions=5)
    target = make_cluster(18, max_prepared_transactions=5, max_logical_replication_workers=10)
    pair = replicated(create_database(source), create_database(target), 1, "streaming = parallel, two_phase = true")
    try:
        with writing(pair.source, moving, queueing) as counts, pair.source.connect(autocommit=False) as large:
            until(lambda: min(counts) > 20, "the writers")
            large.execute("UPDATE public.account SET note = repeat('x', 200) WHERE id BETWEEN 2001 AND 19000")
            with pair.source.connect() as prepared:
                prepared.execute("BEGIN")
                prepared.execute("UPDATE public.branch SET balance = balance + 0 WHERE id = 2")
                prepared.execute("UPDATE public.account SET balance = balance WHERE id = 20000")
                prepared.execute("PREPARE TRANSACTION 'in flight'")
            with epochs_of(pair) as epochs:
                for number in range(1, 9):
                    with epochs.open(number) as epoch:
                        assert (epochs.mode, epochs.reason) == ("gate", "")
                        assert seen_by(pair.target, epoch.snapshot("target"), SUM) == [(0,)]
                    if number == 3:
                        large.commit()
                    if number == 5:
                        pair.source.execute("COMMIT PREPARED 'in flight'")
            result = pair.verify()
        assert result.data["verified"] is True, (result.error, result.data["differences"])
        assert result.data["mode"] == "gate"
    finally:
        pair.target.execute(f"DROP SUBSCRIPTION {pair.streams[0].subscription}")


@pytest.mark.parametrize(("source_major", "target_major"), [(12, 14), (13, 15), (18, 18)])
def test_majors(make_cluster: Callable[..., Cluster], source_major: int, target_major: int) -> None:
    source, target = make_cluster(source_major), make_cluster(target_major)
    pair = replicated(create_database(source), create_database(target), 2)
    try:
        with writing(pair.source, bank, queueing) as counts:
            until(lambda: min(counts) > 20, "the writers")
            result = pair.verify()
            assert result.data["verified"] is True, (result.error, result.data["differences"])
            assert (result.data["mode"], result.data["mode_reason"]) == ("gate", "")
            pair.damage("UPDATE public.account SET note = 'x' WHERE id = 19999")
            assert found(pair.verify()) == {("account", "changed", ("19999",), ("note",))}
        fenced = pair.verify(mode="fenced", wait_timeout=60)
        assert (fenced.data["mode"], fenced.data["rounds"]) == ("fenced", 1), fenced.data["mode_reason"]
        assert found(fenced) == {("account", "changed", ("19999",), ("note",))}
    finally:
        for stream in pair.streams:
            pair.target.execute(f"DROP SUBSCRIPTION {stream.subscription}")


# --- what the application and the apply workers feel -----------------------------------------------------------


def _close_and_stand(source: dict[str, Any], target: dict[str, Any], streams: list[Any]) -> None:
    """In a process of its own: close the gate and never open it."""
    migration = Migration.from_options({"source": source, "target": target})
    with Connections(migration) as connections:
        holders = Holders(
            connections.open("source", "a"), connections.open("source", "b"), connections.open("target", "c")
        )
        real = gate.export

        def standing(session: Any) -> Any:
            if session.endpoint.side == "target":
                time.sleep(3600)
            return real(session)

        gate.export = standing  # type: ignore[assignment]
        with Epochs("gate", holders, connections.open, streams, 30, migration.redactor) as epochs, epochs.open(1):
            pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_apply_goes_on_when_the_verifier_dies_or_stands_still(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    if how == signal.SIGSTOP:
        monkeypatch.setattr(gate, "DEAD_MAN_S", 1.0)  # the process is forked, and has it too
    process = get_context("fork").Process(
        target=_close_and_stand, args=(pair.source.params, pair.target.params, pair.streams), daemon=True
    )
    process.start()
    try:
        until(lambda: pair.target.execute(BLOCKED) == [(1,)], "the gate to hold the worker", 8)
        assert process.pid is not None
        os.kill(process.pid, how)
        pair.source.execute("UPDATE public.account SET note = 'later' WHERE id = 1")
        until(
            lambda: pair.target.execute("SELECT note FROM public.account WHERE id = 1") == [("later",)],
            "apply to go on",
            5,
        )
    finally:
        if how == signal.SIGSTOP and process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        process.join()


def test_a_stream_that_is_late_does_not_hold_the_others(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "HOLD_LIMIT_S", 0.3)
    pair = replicated(source_db, target_db, 2)
    seen: list[float] = []
    with apply_held(pair, "public.branch") as release:
        pair.source.execute("UPDATE public.branch SET balance = balance + 1 WHERE id = 1")  # the second stream hangs
        running = threading.Thread(target=lambda: seen.append(pair.verify(wait_timeout=20).data["verified"]))
        running.start()
        until(lambda: pair.target.execute(BLOCKED) == [(1,)], "the first stream at the gate")
        pair.source.execute("UPDATE public.account SET note = 'meanwhile' WHERE id = 1")
        until(
            lambda: pair.target.execute("SELECT note FROM public.account WHERE id = 1") == [("meanwhile",)],
            "the first stream to go on",
            5,
        )
        release()
        running.join()
    assert seen == [True]


# --- when the gate cannot be had -------------------------------------------------------------------------------


def test_without_markers_the_run_is_live_and_says_so(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(TABLES)
    source_db.execute(ROWS)
    pair.replicate()
    result = pair.verify()
    assert result.data["verified"] is True, result.error
    assert (result.data["mode"], result.data["mode_reason"]) == ("live", "stream 1 has no marker table")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_marker_table_that_is_gone(pair: ReplicatedPair, side: str) -> None:
    database = pair.source if side == "source" else pair.target
    name = pair.streams[0].marker.replace('"', '""')
    database.execute(f'ALTER TABLE seren_migrator."{name}" RENAME TO renamed')
    result = pair.verify()
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "live"
    assert f"the marker tables of the {side} cannot be" in result.data["mode_reason"]
    assert "does not exist" in result.data["mode_reason"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_marker_row_that_is_gone(pair: ReplicatedPair, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_ARRIVAL_S", 0.5)
    name = pair.streams[0].marker.replace('"', '""')
    (pair.source if side == "source" else pair.target).execute(f'DELETE FROM seren_migrator."{name}"')
    until(lambda: pair.target.execute(f'SELECT 1 FROM seren_migrator."{name}"') == [], "the deletion")
    result = pair.verify()
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "live"
    assert "marker of stream 1" in result.data["mode_reason"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_role_without_the_privilege_on_the_marker(pair: ReplicatedPair, side: str) -> None:
    role = f"reader_{pair.source.name}"
    users = []
    for database in (pair.source, pair.target):
        password = sql.Literal(database.params["password"])
        database.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password))
        database.execute(f"GRANT pg_read_all_data, pg_monitor TO {role}")
        users.append({**database.params, "user": role})
    users[side == "source"]["user"] = pair.source.params["user"]
    result = pair.verify(user=(users[0], users[1]))
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "live"
    assert f"the marker tables of the {side} cannot be" in result.data["mode_reason"]
    assert "permission denied" in result.data["mode_reason"]


def test_a_short_lock_timeout_of_the_workers_is_respected(pair: ReplicatedPair) -> None:
    owner = pair.target.params["user"]
    pair.target.execute(f"ALTER ROLE {owner} IN DATABASE {pair.target.name} SET lock_timeout = '300ms'")
    result = pair.verify()
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "live"
    assert "lock_timeout=300ms applies to the workers" in result.data["mode_reason"]
    pair.target.execute(f"ALTER ROLE {owner} IN DATABASE {pair.target.name} SET lock_timeout = '5s'")
    assert pair.verify().data["mode"] == "gate"


def test_a_worker_that_is_down(pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch) -> None:
    subscription = pair.streams[0].subscription
    pair.target.execute(f"ALTER SUBSCRIPTION {subscription} DISABLE")
    until(lambda: pair.target.execute(APPLYING) == [], "the end of the apply worker")
    pair.source.execute("UPDATE public.account SET note = 'not applied' WHERE id = 1")
    result = pair.verify(wait_timeout=2)
    assert result.data["mode"] == "live"
    assert f"the subscription {subscription} is disabled" in result.data["mode_reason"]
    assert result.data["differences"] == []
    assert status_of(result, "account")[0] == "unverified"

    # One that fails again and again, at a row that is in its way.
    pair.damage("INSERT INTO public.queue VALUES (1, 'in the way')")
    pair.source.execute("INSERT INTO public.queue VALUES (1, 'refused')")
    pair.target.execute(f"ALTER SUBSCRIPTION {subscription} ENABLE")
    result = pair.verify(wait_timeout=3)
    assert result.data["mode"] == "live"
    assert "the target has not come to" in result.data["mode_reason"]
    assert result.data["verified"] is False
    assert result.data["differences"] == []


def test_check_mode_writes_no_marker(pair: ReplicatedPair) -> None:
    before = token(pair, "source")
    result = pair.verify(check_mode=True)
    assert result.data["verified"] is True
    assert result.data["mode"] == "live"
    assert "check mode" in result.data["mode_reason"]
    assert token(pair, "source") == before
    pair.verify()
    assert token(pair, "source") != before


def test_a_source_that_waits_for_an_absent_standby(
    make_cluster: Callable[..., Cluster], target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs there is applied and not visible yet: never damage; damage beside it is found."""
    monkeypatch.setattr(verify_run, "_BETWEEN_ROUNDS_S", 0.2)
    monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, chase_s=0.3, probe_wait_s=0.2))
    monkeypatch.setattr(stillness, "WAIT_S", 0.3)
    cluster = make_cluster(15)
    pair = ReplicatedPair(create_database(cluster), target_db)
    pair.both("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
    pair.source.execute("INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(1, 100) AS i")
    stream = pair.replicate(marker=True)
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
            until(lambda: pair.target.execute("SELECT count(*) FROM public.t WHERE id = 1000") == [(1,)], "apply")
            for mode in ("gate", "fenced"):
                pair.damage("UPDATE public.t SET v = 'v50' WHERE id = 50")
                result = pair.verify(max_rounds=2, mode=mode)
                assert result.data["differences"] == []
                assert status_of(result, "t")[0] == "unverified"
                assert result.data["mode"] == ("gate" if mode == "gate" else "live"), result.data["mode_reason"]
                pair.damage("UPDATE public.t SET v = 'damaged' WHERE id = 50")
                result = pair.verify(max_rounds=2, mode=mode)
                assert found(result) == {("t", "changed", ("50",), ("v",))}
    finally:
        pair.target.execute(f"ALTER SUBSCRIPTION {stream.subscription} DISABLE")
        pair.target.execute(f"ALTER SUBSCRIPTION {stream.subscription} SET (slot_name = NONE)")
        pair.target.execute(f"DROP SUBSCRIPTION {stream.subscription}")
