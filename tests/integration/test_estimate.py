# SPDX-License-Identifier: GPL-3.0-or-later
"""What validate measures on real servers: rows for a moment, WAL over a window, sizes; bounded, and without a trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import copy_sample
from ansible_collections.seren.migrator.plugins.module_utils.catalog import Catalog
from ansible_collections.seren.migrator.plugins.module_utils.copying import plan_tasks
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.selection import select
from ansible_collections.seren.migrator.plugins.module_utils.transfer import Refused
from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.preflight import H, migration, run_validate

ROWS = 100_000


@pytest.fixture
def large(source_db: Database) -> Database:
    """A source with a table of some 20 MB under a hostile name, and a small one."""
    source_db.execute(
        f"CREATE TABLE {H} (id int PRIMARY KEY, t text);"
        f"INSERT INTO {H} SELECT n, repeat(md5(n::text), 5) FROM generate_series(1, {ROWS}) AS n;"
        "CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small SELECT generate_series(1, 10); ANALYZE"
    )
    return source_db


def estimate(source: Any, target: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = run_validate(source, target, **options).data["plan"]["estimate"]
    return found


def sessions(database: Database) -> list[Any]:
    return database.execute("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'seren_migrator sample%'")


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """Write WAL during the block."""
    stop = threading.Event()

    def write() -> None:
        with database.connect() as connection:
            while not stop.is_set():
                connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000))")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_everything_is_read_when_there_is_time(large: Database, target_db: Database) -> None:
    found = estimate(large.params, target_db.params, sample_seconds=60, jobs=2)
    size = large.execute("SELECT sum(pg_table_size(c.oid)) FROM pg_class AS c WHERE c.relkind = 'r' AND c.oid > 16384")
    assert found["rows"] == ROWS + 10
    assert found["bytes"] == size[0][0]
    assert found["indexes"]["count"] == 2
    assert found["indexes"]["bytes"] > 2_000_000
    assert [table["rows"] for table in found["largest_tables"]] == [ROWS, 10]
    sample = found["copy"]["sample"]
    assert sample["rows"] == ROWS + 10
    assert (sample["tables"], sample["connections"]) == (2, 2)
    assert sample["table_bytes"] == found["bytes"]
    assert 16_000_000 < sample["stream_bytes"] < found["bytes"]
    assert 0 < found["copy"]["seconds"] < 60
    assert found["wal"] == {
        "bytes_per_second": None, "window_seconds": None, "average_bytes_per_second": None, "average_seconds": None,
        "retained_bytes": None, "limit_bytes": None,
    }  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_slow_line_is_measured_for_a_moment_and_then_left_alone(
    large: Database, target_db: Database, jobs: int
) -> None:
    with FaultProxy(large.cluster.port) as proxy:
        proxy.bytes_per_s = 2_000_000
        found = estimate({**large.params, "port": proxy.port}, target_db.params, sample_seconds=1.0, jobs=jobs)
    sample = found["copy"]["sample"]
    assert 0 < sample["rows"] < ROWS
    assert 0 < sample["table_bytes"] < found["bytes"]
    assert found["copy"]["seconds"] > 2  # some 20 MB over 2 MB/s
    assert sessions(large) == []


def test_the_sample_is_bounded_in_bytes(large: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_sample.measure, "__kwdefaults__", {"max_bytes": 1_000_000})
    sample = estimate(large.params, target_db.params, sample_seconds=60, jobs=1)["copy"]["sample"]
    assert 1_000_000 <= sample["stream_bytes"] < 1_100_000


def test_a_source_that_falls_silent_ends_the_sample(large: Database, target_db: Database) -> None:
    with FaultProxy(large.cluster.port) as proxy:
        job = migration({**large.params, "port": proxy.port}, target_db.params)
        with job.open("source", "test") as session:
            selected = select(Catalog.read(session), job.selection)
        tables = {table.oid: table for table in selected.data_tables}
        tasks = plan_tasks(selected, tables.values(), dict.fromkeys(tables, 1))
        proxy.bytes_per_s = 1_000_000
        threading.Timer(0.5, setattr, (proxy, "is_black_hole", True)).start()
        sample = copy_sample.measure(job, tasks, tables, seconds=1.5, connections=1)
        proxy.bytes_per_s, proxy.is_black_hole = None, False
        while sessions(large):  # it was told in vain to stop; now it notices that nobody listens
            time.sleep(0.05)
    assert 0 < sample.reads[0].rows < ROWS
    assert not sample.reads[0].is_complete


def test_an_encrypted_connection_is_measured_as_well(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(15, tls=True)
    cluster.execute(f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, {ROWS}); ANALYZE")
    found = estimate({**cluster.params(), "sslmode": "require"}, target_db.params, sample_seconds=60)
    assert found["copy"]["sample"]["rows"] == ROWS


def test_a_table_that_cannot_be_read_now_is_passed_over(large: Database, target_db: Database) -> None:
    job = migration(large.params, target_db.params)
    with job.open("source", "test") as session:
        selected = select(Catalog.read(session), job.selection)
    with large.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE small IN ACCESS EXCLUSIVE MODE")
        tables = {table.oid: table for table in selected.data_tables}
        tasks = plan_tasks(selected, tables.values(), dict.fromkeys(tables, 1))
        sample = copy_sample.measure(job, tasks, tables, seconds=30, connections=1)
        assert [read.rows for read in sample.reads] == [ROWS]
        holder.rollback()
        holder.execute(f"LOCK TABLE {H} IN ACCESS EXCLUSIVE MODE")  # the first one that is tried
        sample = copy_sample.measure(job, tasks, tables, seconds=30, connections=1)
        assert [read.rows for read in sample.reads] == [10]
        holder.rollback()
        holder.execute("LOCK TABLE small IN ACCESS EXCLUSIVE MODE")
        only_small = [task for task in tasks if task.name == "small"]
        with pytest.raises(Refused) as refused:
            copy_sample.measure(job, only_small, tables, seconds=30, connections=1)
        assert refused.value.sqlstate == "55P03"


def test_a_sample_that_fails_says_why_and_nothing_else_does(large: Database, target_db: Database) -> None:
    large.cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = {**large.params, "user": "me", "password": "plain"}
    report = run_validate(plain, target_db.params, sample_seconds=5, jobs=1)
    estimate = report.data["plan"]["estimate"]
    assert estimate["copy"]["seconds"] is None
    assert "the sample failed: permission denied for table" in estimate["summary"][1]
    assert report["source_slot_wal_limit"]["status"] == "pass"


def test_rows_chosen_by_a_predicate_are_read_as_they_will_be(large: Database, target_db: Database) -> None:
    selection = {"tables": ["small"], "rows": {"small": "id > 5"}}
    report = run_validate(large.params, target_db.params, selection, sample_seconds=60)
    sample = report.data["plan"]["estimate"]["copy"]["sample"]
    assert (sample["tables"], sample["rows"]) == (1, 5)
    assert sample["table_bytes"] == report.data["plan"]["bytes"]


def test_a_copy_by_the_servers_themselves_is_not_guessed(large: Database, target_db: Database) -> None:
    found = estimate(large.params, target_db.params, sample_seconds=60, copy_method="subscription")
    assert found["copy"]["sample"] is None
    assert found["copy"]["seconds"] is None
    assert "the servers copy by themselves" in found["summary"][1]


def test_wal_is_measured_over_the_window_and_on_average(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000); ANALYZE")
    with writing(source_db):
        found = estimate(source_db.params, target_db.params, sample_seconds=0.2, wal_window=0.5)
    wal = found["wal"]
    assert wal["window_seconds"] > 0.4
    assert wal["bytes_per_second"] > 100_000
    assert wal["average_bytes_per_second"] > 0
    assert wal["average_seconds"] > 0
    assert wal["retained_bytes"] is not None
    assert found["cutover"]["wal_to_copy_ratio"] > 0
    assert found["cutover"]["feasible"] is None


@pytest.mark.fires("source_slot_wal_limit")
def test_a_limit_that_the_copy_will_exceed_blocks(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(15, max_slot_wal_keep_size="0")
    cluster.execute("ALTER SYSTEM SET max_slot_wal_keep_size = 0")
    cluster.execute(f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, {ROWS}); ANALYZE")
    cluster.reload()

    def look(**options: Any) -> Any:
        clients = str(target_cluster.client_dir)
        return run_validate(cluster.params(), target_db.params, client_bin_dir=clients, **options)

    unmeasured = look()["source_slot_wal_limit"]
    assert (unmeasured["status"], unmeasured["severity"]) == ("fail", "warning")
    assert "is not known (sample_seconds and wal_window measure it)" in unmeasured["detail"]
    assert "At " in look(wal_window=0.1)["source_slot_wal_limit"]["detail"]
    report = look(wal_window=0.1, sample_seconds=5)
    found = report["source_slot_wal_limit"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert report.error is not None
    assert report.data["plan"]["estimate"]["cutover"]["feasible"] is False
    for line in found["remedy"].split("\n-- or ")[0].splitlines():
        cluster.execute(line)
    report = look(wal_window=0.1, sample_seconds=5)
    assert report["source_slot_wal_limit"]["status"] == "pass"
    assert "How much disk is free" in report["source_slot_wal_limit"]["detail"]
    assert report.data["plan"]["estimate"]["cutover"]["feasible"] is None


@pytest.mark.parametrize("major", [12, 13, 18])
def test_every_major_can_be_measured(major: int, make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(major)
    cluster.execute(f"CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, {ROWS}); ANALYZE")
    report = run_validate(cluster.params(), target_db.params, wal_window=0.1, sample_seconds=30)
    found = report.data["plan"]["estimate"]
    assert report["source_slot_wal_limit"]["status"] == "pass"
    assert found["copy"]["sample"]["rows"] == ROWS
    assert found["wal"]["window_seconds"] > 0
    assert (found["wal"]["average_seconds"] is not None) is (major >= 14)
    assert None not in found["indexes"].values()


@pytest.mark.parametrize("option", ["sample_seconds", "wal_window"])
@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 601.0])
def test_seconds_that_make_no_sense_are_refused(
    large: Database, target_db: Database, option: str, seconds: float
) -> None:
    with pytest.raises(MigrationError, match=option) as raised:
        run_validate(large.params, target_db.params, **{option: seconds})
    assert raised.value.code == "bad_option"
