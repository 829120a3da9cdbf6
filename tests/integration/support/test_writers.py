# SPDX-License-Identifier: GPL-3.0-or-later
"""The writers know exactly what they wrote, through lost connections, crashed servers and their own death."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support import compare, sample
from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.live import journal as journals
from tests.support.writers import PROCESSES, Writers, prepare

TABLES = """
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = 'live'
    ORDER BY 1, 2
"""
TERMINATE = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE application_name = %s"
CONFIRMED = """
    SELECT count(*) = 1 AND COALESCE(bool_and(confirmed_flush_lsn >= %s::pg_lsn), false)
    FROM pg_catalog.pg_replication_slots
"""


def test_every_operation_is_done_at_the_rate_and_every_row_is_as_the_journals_say(
    source_db: Database, tmp_path: Path
) -> None:
    sample.load(source_db.dsn)
    prepare(source_db.dsn, PROCESSES)
    with Writers(source_db.dsn, tmp_path, truncate_every_s=1) as writers:
        writers.wait_for(800)
        before = writers.progress().total
        time.sleep(3)
        assert writers.progress().total - before > 3 * 200 * 0.8, "a machine this busy cannot run the live tests"
        summary = writers.stop()
    assert summary.errors == {}
    operations = (
        "insert insert_many update update_key delete savepoint keyless coded partitioned inherited fill_scratch"
    )
    assert set(summary.commits) == {*operations.split(), "truncate", "pgbench", "shop"}
    assert summary.rollbacks > 0
    assert writers.verify(source_db.dsn) == []
    assert stat.S_IMODE((tmp_path / "conninfo").stat().st_mode) == 0o600


def test_rows_missing_changed_or_doubled_are_found(source_db: Database, tmp_path: Path) -> None:
    prepare(source_db.dsn, PROCESSES)
    with Writers(source_db.dsn, tmp_path) as writers:
        writers.wait_for(500)
    assert writers.verify(source_db.dsn) == []
    damage = {
        "account: missing 1 x": "UPDATE live.account SET body = body || '!' WHERE length(body) > 4000",
        "keyless: unexpected 1 x": "INSERT INTO live.keyless SELECT * FROM live.keyless LIMIT 1",
        "item: missing 1 x": "DELETE FROM live.item WHERE (account_id, line) = (SELECT min(account_id), 1 FROM live.item)",
        "log: missing 1 x": "DELETE FROM live.log WHERE writer = 0 AND token = (SELECT max(token) FROM live.log WHERE writer = 0)",
        "child: unexpected 1 x": "WITH one AS (SELECT * FROM ONLY live.child LIMIT 1) UPDATE live.child SET extra = 'x' FROM one"
        " WHERE child.id = one.id",
    }
    for statement in damage.values():
        source_db.execute(statement)
    found = writers.verify(source_db.dsn)
    assert [what for what in damage if not any(what in line for line in found)] == [], "\n".join(found)


def test_commits_whose_answer_was_lost_are_read_back_and_never_guessed(source_db: Database, tmp_path: Path) -> None:
    prepare(source_db.dsn, PROCESSES)
    with FaultProxy(source_db.cluster.port) as proxy:
        through_proxy = source_db.cluster.params(source_db.name) | {"port": proxy.port}
        with Writers(psycopg.conninfo.make_conninfo(**through_proxy), tmp_path, rate=400) as writers:
            writers.wait_for(200)
            proxy.delay_ms = 3  # most of a transaction's time is now spent on the way
            for _cut in range(25):
                time.sleep(0.1)
                proxy.reset_all()
            proxy.delay_ms = 0
            for _cut in range(10):
                time.sleep(0.1)
                source_db.execute(TERMINATE, ["live writer"])
            writers.wait_for(writers.progress().total + 100)
            summary = writers.stop()
    assert summary.resolved > 0
    assert summary.connections > 20
    assert writers.verify(source_db.dsn) == []


def test_killed_writers_and_a_crashed_server_leave_exact_journals(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    database = Database(make_cluster(15), "postgres")
    prepare(database.dsn, PROCESSES)
    writers = Writers(database.dsn, tmp_path).start()
    writers.wait_for(300)
    database.cluster.kill()
    database.cluster.start()
    writers.wait_for(writers.progress().total + 200)
    writers.kill()
    time.sleep(0.5)
    assert writers.verify(database.dsn) == []
    with writers:
        writers.wait_for(200)
    assert writers.verify(database.dsn) == []
    first = journals.read(journals.path_of(tmp_path, 0))
    assert len({transaction.token for transaction in first}) == len(first)


def test_what_the_writers_do_can_be_replicated(source_db: Database, target_db: Database, tmp_path: Path) -> None:
    prepare(source_db.dsn, PROCESSES)
    clients = target_db.cluster.client_dir
    dump = [os.fspath(clients / "pg_dump"), "--schema-only", source_db.cluster.socket_dsn(source_db.name)]
    schema = subprocess.run(dump, check=True, capture_output=True).stdout
    restore = [os.fspath(clients / "psql"), "-Xq", target_db.cluster.socket_dsn(target_db.name)]
    subprocess.run(restore, input=schema, check=True, capture_output=True)
    tables = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*row)) for row in source_db.execute(TABLES))
    source_db.execute(sql.SQL("CREATE PUBLICATION p FOR TABLE {}").format(tables))
    subscribe = sql.SQL("CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p WITH (copy_data = false)")
    target_db.execute(subscribe.format(sql.Literal(source_db.dsn)))
    with Writers(source_db.dsn, tmp_path, truncate_every_s=0.5) as writers:
        writers.wait_for(1500)
    ((end,),) = source_db.execute("SELECT pg_catalog.pg_current_wal_insert_lsn()::text")
    deadline = time.monotonic() + 60
    while source_db.execute(CONFIRMED, [end]) != [(True,)]:
        assert time.monotonic() < deadline, target_db.cluster.log()[-2000:]
        time.sleep(0.1)
    assert writers.verify(source_db.dsn) == []
    assert writers.verify(target_db.dsn) == []
    found = compare.compare_data(source_db.dsn, target_db.dsn, sequences="ignore")
    assert found.differences == []
    target_db.execute("DELETE FROM live.keyless WHERE writer = 1")
    assert writers.verify(target_db.dsn) != []
