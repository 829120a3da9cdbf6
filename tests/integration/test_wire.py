# SPDX-License-Identifier: GPL-3.0-or-later
"""A COPY stream handed from socket to socket: nothing is lost, nothing is added, and every refusal is reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import transfer, wire
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.session import Session
from ansible_collections.seren.migrator.plugins.module_utils.transfer import Refused
from ansible_collections.seren.migrator.plugins.module_utils.wire import Wire
from tests.support.fixtures import Database

TABLE = "CREATE TABLE t (id integer, content text)"
OUT = b"BEGIN ISOLATION LEVEL REPEATABLE READ; COPY t TO STDOUT (FORMAT binary)"
INTO = b"BEGIN; TRUNCATE t; COPY t FROM STDIN (FORMAT binary, FREEZE)"
DIGEST = "SELECT count(*), sum(pg_catalog.hashtextextended(t::text, 0)) FROM t"


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> Iterator[tuple[Session, Session]]:
    """A session on each side, each with a table `t`."""
    for database in (source_db, target_db):
        database.execute(TABLE)
    migration = Migration.from_options({"source": source_db.params, "target": target_db.params})
    with migration.open("source", "test") as source, migration.open("target", "test") as target:
        source.connection.execute("SET search_path = public")
        source.connection.execute("SET client_min_messages = error")
        target.connection.execute("SET search_path = public")
        yield source, target


def test_every_row_arrives_and_both_connections_go_on(
    pair: tuple[Session, Session], source_db: Database, target_db: Database
) -> None:
    # Rows of all widths, some of which look like messages of the protocol.
    source_db.execute(
        "INSERT INTO t SELECT i, repeat(md5(i::text), i % 50) FROM generate_series(1, 30000) AS i;"
        "INSERT INTO t VALUES (0, NULL), (-1, ''), (-2, E'c\\x01\\x01\\x01\\x04C'), (-3, repeat('Z', 3000000))"
    )
    source, target = pair
    counted: list[int] = []
    with Wire(source) as out, Wire(target) as into:
        moved, rows, said = wire.forward(out, into, OUT, INTO, b"SELECT 7, NULL; COMMIT", counted.append)
    assert rows == 30004
    assert moved == sum(counted)
    assert said.rows == ((b"7", None),)
    # libpq takes over again, in the target's open transaction.
    assert transfer.command(source, b"SELECT 1").get_value(0, 0) == b"1"
    transfer.command(target, b"COMMIT")
    assert target_db.execute(DIGEST) == source_db.execute(DIGEST)


def test_an_empty_table_arrives_empty(pair: tuple[Session, Session], target_db: Database) -> None:
    target_db.execute("INSERT INTO t VALUES (1, 'old')")
    with Wire(pair[0]) as out, Wire(pair[1]) as into:
        assert wire.forward(out, into, OUT, INTO)[1] == 0
    transfer.command(pair[1], b"COMMIT")
    assert target_db.execute("SELECT count(*) FROM t") == [(0,)]


def test_an_error_of_the_source_among_the_rows_is_reported(pair: tuple[Session, Session]) -> None:
    out_text = b"COPY (SELECT i, 100 / (90000 - i) || repeat('x', 50) FROM generate_series(1, 100000) AS i) TO STDOUT"
    with Wire(pair[0]) as out, Wire(pair[1]) as into, pytest.raises(Refused) as caught:
        wire.forward(out, into, out_text, b"BEGIN; TRUNCATE t; COPY t FROM STDIN")
    assert (caught.value.side, caught.value.sqlstate) == ("source", "22012")


def test_a_very_long_error_of_the_source_does_not_hang(pair: tuple[Session, Session]) -> None:
    failing = "CASE WHEN i = 5000 THEN (repeat('x', 9000) || i)::integer END"
    out_text = f"COPY (SELECT i, {failing} FROM generate_series(1, 100000) AS i) TO STDOUT".encode()
    caught: list[Refused] = []

    def copy() -> None:
        with Wire(pair[0]) as out, Wire(pair[1]) as into:
            try:
                wire.forward(out, into, out_text, b"BEGIN; TRUNCATE t; COPY t FROM STDIN")
            except Refused as refused:
                caught.append(refused)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert [refused.side for refused in caught] == ["source"]


def test_an_error_of_the_target_among_the_rows_is_reported(
    pair: tuple[Session, Session], source_db: Database, target_db: Database
) -> None:
    source_db.execute("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 200000) AS i")
    target_db.execute("ALTER TABLE t ADD CHECK (id <> 50)")
    counted: list[int] = []
    with Wire(pair[0]) as out, Wire(pair[1]) as into, pytest.raises(Refused) as caught:
        wire.forward(out, into, OUT, INTO, b"", counted.append)
    assert (caught.value.side, caught.value.sqlstate) == ("target", "23514")
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_table_that_is_locked_leaves_both_connections_idle(
    pair: tuple[Session, Session], source_db: Database, target_db: Database, side: str
) -> None:
    for session in pair:
        session.connection.execute("SET lock_timeout = '100ms'")
    locked = source_db if side == "source" else target_db
    with locked.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with Wire(pair[0]) as out, Wire(pair[1]) as into, pytest.raises(Refused) as caught:
            wire.forward(out, into, OUT, INTO)
    assert (caught.value.side, caught.value.sqlstate) == (side, "55P03")
    for session in pair:
        transfer.command(session, b"ROLLBACK")
    with Wire(pair[0]) as out, Wire(pair[1]) as into:
        assert wire.forward(out, into, OUT, INTO)[1] == 0


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_backend_that_is_terminated_is_reported(
    pair: tuple[Session, Session], source_db: Database, target_db: Database, side: str
) -> None:
    source, target = pair
    out_text = b"COPY (SELECT i, repeat('x', 1000) || pg_sleep(0.001) FROM generate_series(1, 100000) AS i) TO STDOUT"
    session, database = (source, source_db) if side == "source" else (target, target_db)
    pid = session.value("SELECT pg_catalog.pg_backend_pid()")

    def terminate() -> None:
        time.sleep(0.5)
        database.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])

    thread = threading.Thread(target=terminate)
    thread.start()
    with Wire(source) as out, Wire(target) as into, pytest.raises(Refused) as caught:
        wire.forward(out, into, out_text, b"BEGIN; COPY t FROM STDIN")
    thread.join()
    assert caught.value.side == side
    assert caught.value.sqlstate in ("57P01", "")


def test_a_batch_arrives_in_one_go(pair: tuple[Session, Session], source_db: Database, target_db: Database) -> None:
    for database in (source_db, target_db):
        database.execute("CREATE TABLE u (id integer); CREATE TABLE v (id integer)")
    source_db.execute("INSERT INTO t VALUES (1, 'one'); INSERT INTO v SELECT generate_series(1, 1000)")
    names = (b"t", b"u", b"v")
    out_text = b"; ".join([b"BEGIN", *(b"COPY %s TO STDOUT; SELECT '%s'" % (name, name) for name in names), b"COMMIT"])
    into_text = b"; ".join([b"BEGIN", *(b"TRUNCATE %s; COPY %s FROM STDIN (FREEZE)" % (name, name) for name in names)])
    with Wire(pair[0]) as out, Wire(pair[1]) as into:
        sent, stored = wire.forward_batch(out, into, out_text, into_text)
    transfer.command(pair[1], b"COMMIT")
    assert sent.copied == stored.copied == (1, 0, 1000)
    assert sent.rows == ((b"t",), (b"u",), (b"v",))
    assert target_db.execute("SELECT count(*) FROM v") == [(1000,)]


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_refused_batch_leaves_both_connections_idle(
    pair: tuple[Session, Session], target_db: Database, side: str
) -> None:
    missing = b"COPY missing TO STDOUT" if side == "source" else b"COPY t TO STDOUT"
    refused = b"COPY missing FROM STDIN" if side == "target" else b"COPY t FROM STDIN"
    with Wire(pair[0]) as out, Wire(pair[1]) as into, pytest.raises(Refused) as caught:
        wire.forward_batch(out, into, b"BEGIN; COPY t TO STDOUT; " + missing, b"BEGIN; COPY t FROM STDIN; " + refused)
    assert (caught.value.side, caught.value.sqlstate) == (side, "42P01")
    for session in pair:
        transfer.command(session, b"ROLLBACK")
        assert transfer.command(session, b"SELECT 1").get_value(0, 0) == b"1"


def test_an_encrypted_connection_is_not_open(make_cluster, source_db: Database) -> None:  # type: ignore[no-untyped-def]
    cluster = make_cluster(15, tls=True)
    params = {**cluster.params(), "sslmode": "require"}
    migration = Migration.from_options({"source": source_db.params, "target": params})
    with migration.open("source", "test") as source, migration.open("target", "test") as target:
        assert wire.is_open(source)
        assert not wire.is_open(target)
