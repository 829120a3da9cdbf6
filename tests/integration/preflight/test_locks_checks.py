# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the lock table, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import cure, run_validate

# Room for 10 x (1 + 12 connections + 2 workers + 2 WAL senders + 3 of autovacuum) = 200 locks.
TINY = {
    "max_locks_per_transaction": 10,
    "max_connections": 12,
    "max_worker_processes": 2,
    "max_wal_senders": 2,
    "max_replication_slots": 2,
}


def make_tables(database: Database | Cluster, first: int, last: int) -> None:
    for number in range(first, last + 1):
        database.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, t text)")


@pytest.mark.fires("source_lock_table")
def test_a_source_whose_lock_table_would_be_exhausted_is_refused(
    ready: dict[str, Any], make_cluster: Callable[..., Cluster]
) -> None:
    cluster = make_cluster(15, **TINY)
    make_tables(cluster, 1, 150)
    there = {**ready, "source": cluster.params()}
    assert run_validate(**there)["source_lock_table"]["status"] == "pass"
    make_tables(cluster, 151, 210)
    assert run_validate(**there)["source_lock_table"]["severity"] == "warning"
    make_tables(cluster, 211, 310)
    found = run_validate(**there)["source_lock_table"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    cure(found["remedy"], Database(cluster, "postgres"))
    cluster.restart()
    assert run_validate(**there)["source_lock_table"]["status"] == "pass"


@pytest.mark.fires("target_lock_table")
def test_a_target_that_could_not_make_the_schema_at_once_is_refused(
    ready: dict[str, Any], source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    """Four locks a table; within what the server may lend from spare memory it is a warning only."""
    cluster = make_cluster(17, **TINY)
    there = {**ready, "target": cluster.params()}
    make_tables(source_db, 1, 40)
    assert run_validate(**there)["target_lock_table"]["status"] == "pass"
    make_tables(source_db, 41, 60)
    assert run_validate(**there)["target_lock_table"]["severity"] == "warning"
    make_tables(source_db, 61, 240)
    report = run_validate(**there)
    assert report["target_lock_table"]["severity"] == "blocker"
    assert report["source_lock_table"]["status"] == "pass"
    cure(report["target_lock_table"]["remedy"], Database(cluster, "postgres"))
    cluster.restart()
    assert run_validate(**there)["target_lock_table"]["status"] == "pass"
