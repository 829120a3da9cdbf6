# SPDX-License-Identifier: GPL-3.0-or-later
"""The WAL that a slot keeps on the source while init copies: a warning, a limit, and slots that the source gave up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils import finishing, retention
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case, at_step
from tests.support.playbooks import play

MEGABYTE = 1024**2
# The rows of a table take seconds to arrive, without keeping a core busy.
SLOW_COPY = """
    CREATE FUNCTION slow(n integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            IF pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN
                PERFORM pg_catalog.pg_sleep(0.02);
            END IF;
            RETURN true;
        END
    $$;
    CREATE TABLE quick (id integer PRIMARY KEY);
    INSERT INTO quick SELECT generate_series(1, 100);
    CREATE TABLE a (id integer PRIMARY KEY, v text, CHECK (slow(id)));
    INSERT INTO a SELECT i, 'row ' || i FROM generate_series(1, 300) AS i;
"""
WRITE = "INSERT INTO quick SELECT (SELECT max(id) FROM quick) + i FROM generate_series(1, 5) AS i"
# A message of half a megabyte in the WAL, which no table holds.
MUCH_WAL = "SELECT pg_catalog.pg_logical_emit_message(false, 'test', pg_catalog.repeat('x', 500000))"


@pytest.fixture
def case(source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    monkeypatch.setattr(retention, "INTERVAL_S", 0.2)
    source_db.execute(SLOW_COPY)
    yield Case(source_db, target_db)


@contextmanager
def writing(source: Database) -> Iterator[None]:
    """An application that writes rows, and much WAL, until the block ends."""
    stop = threading.Event()

    def write() -> None:
        with source.connect() as connection:
            while not stop.wait(0.02):
                connection.execute(WRITE)
                connection.execute(MUCH_WAL)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def refused(init: Callable[[], object]) -> MigrationError:
    with pytest.raises(MigrationError) as caught:
        init()
    return caught.value


def test_more_wal_than_the_limit_gives_the_copy_up_and_frees_the_source(case: Case) -> None:
    with writing(case.source):
        error = refused(lambda: case.init(max_retained_wal=8 * MEGABYTE))
    assert error.code == "wal_limit_exceeded"
    assert error.details["retained_wal_bytes"] > error.details["max_retained_wal"] == 8 * MEGABYTE
    assert error.details["slots_kept"] == []
    left = case.left_on_source()
    assert (left["slots"], left["publications"]) == ([], [])
    assert case.source.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'seren_migrator'") == []
    assert case.source.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'seren_mig'") == [(0,)]
    assert set(case.target.execute("SELECT state FROM seren_migrator.relation")) == {("pending",)}
    with writing(case.source):
        result = case.init()
        case.sync()
    assert result.data["state"] == "copied"
    assert "warnings" not in result.data
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_without_a_limit_much_wal_is_a_warning(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "WARN_AT_LEAST_BYTES", 0)
    case.source.execute("SELECT 1")
    events: list[Event] = []
    with writing(case.source):
        result = case.init(events.append, max_retained_wal=None)
    assert [text for text in result.data["warnings"] if "more than its database has" in text] == result.data["warnings"]
    assert [event.text for event in events if "retained_wal_bytes" in event.numbers][:1] == result.data["warnings"]


def test_a_slot_that_the_source_gives_up_during_the_copy_is_noticed_at_once(
    case: Case, make_cluster: Callable[..., Cluster]
) -> None:
    cluster = make_cluster(15, max_slot_wal_keep_size="4MB", max_wal_size="8MB", min_wal_size="4MB")
    cluster.execute("CREATE DATABASE shop")
    small = Case(Database(cluster, "shop"), case.target)
    small.source.execute(SLOW_COPY)

    def overflow() -> None:
        for _number in range(24):
            small.source.execute(MUCH_WAL)
        small.source.execute("CHECKPOINT")

    error = refused(lambda: small.init(at_step("copying", overflow)))
    assert error.code == "slot_lost"
    assert error.remedy.startswith("Run the same command again")
    small.init()
    small.sync()
    small.wait_until_in_sync()
    assert small.compare().differences == []


def test_a_limit_during_the_last_steps_says_that_the_copy_has_to_start_over(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exceed(*_arguments: object) -> None:
        raise retention._exceeded(2, 1)

    with monkeypatch.context() as patched:
        patched.setattr(finishing, "analyze", exceed)
        assert refused(case.init).code == "wal_limit_exceeded"
    assert case.left_on_source()["slots"] == []
    error = refused(case.init)
    assert error.code == "slot_lost"
    assert "resume: false" in error.remedy


def test_a_source_that_cannot_be_asked_stops_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_arguments: object) -> None:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(retention, "read_slots", unreachable)
    assert case.init(max_retained_wal=1).data["state"] == "copied"


def test_the_play_takes_a_size_with_a_unit_and_the_copy_begins_anew(case: Case) -> None:
    given = {"source_url": case.source.url, "target_url": case.target.url, "migrate_client_bin_dir": case.bin_dir}
    for resume in (True, False):
        done = play("init", {**given, "migrate_max_retained_wal": "5G", "migrate_resume": resume})
        assert done.code == 0, done.output
        assert done.changed == 1
    assert play("init", given).changed == 0
