# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of server settings and capacity, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight import server
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import Case, Report, run_validate
from tests.support.template import server_user

READ_ONLY = (
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$"
)
CASES = (
    Case("source_read_only", READ_ONLY, cure="source", also=("database_settings",)),
    Case("target_read_only", "", READ_ONLY, cure="target"),
    Case(
        "source_is_subscriber",
        "CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false, slot_name='s');"
        "ALTER SUBSCRIPTION feed ENABLE",
        objects=("feed",),
        severity="warning",
    ),
)


@pytest.mark.fires("source_long_transactions")
def test_an_old_transaction_with_writes_blocks_and_a_reader_does_not(
    examine: Callable[[Case], Report], source_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source_db.connect(autocommit=False) as reader, source_db.connect(autocommit=False) as writer:
        reader.execute("SELECT count(*) FROM p")
        monkeypatch.setattr(server, "YOUNG_TRANSACTION_S", -1)
        assert examine(Case(""))["source_long_transactions"]["status"] == "pass"
        writer.execute("INSERT INTO p VALUES (1)")
        report = examine(Case(""))
        assert report["source_long_transactions"]["status"] == "fail"
        assert report["source_long_transactions"]["severity"] == "warning"
        monkeypatch.setattr(server, "OLD_TRANSACTION_S", -1)
        report = examine(Case(""))
        assert report["source_long_transactions"]["severity"] == "blocker"
        assert report.error is not None
        source_db.execute(report["source_long_transactions"]["remedy"])
        with contextlib.suppress(psycopg.Error):
            writer.rollback()
        assert examine(Case(""))["source_long_transactions"]["status"] == "pass"


@pytest.mark.fires("source_prepared_transactions")
def test_prepared_transactions_are_found_with_their_cure(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(15, max_prepared_transactions=4)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    with cluster.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO p VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'it''s; --'")
    found = run_validate(cluster.params(), target_db.params)["source_prepared_transactions"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"][0].startswith("it's; -- (postgres, ")
    cluster.execute(found["remedy"])
    assert run_validate(cluster.params(), target_db.params)["source_prepared_transactions"]["status"] == "pass"


@pytest.mark.fires(
    "source_wal_level",
    "source_pending_restart",
    "source_slots",
    "source_slot_wal_limit",
    "source_synchronous_standbys",
    "source_read_only",
)
def test_a_source_that_cannot_decode_is_refused(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(
        15, wal_level="replica", max_replication_slots=0, max_slot_wal_keep_size="64MB", synchronous_standby_names=""
    )
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.execute("ALTER SYSTEM SET max_replication_slots = 5")
    cluster.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
    cluster.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    cluster.reload()
    report = run_validate(cluster.params(), target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["source_wal_level"]["objects"] == ["wal_level=replica"]
    assert report["source_pending_restart"]["objects"] == ["max_replication_slots"]
    assert report["source_slot_wal_limit"]["objects"] == ["max_slot_wal_keep_size=64MB"]
    assert set(report.with_status("fail", "unknown")) == {
        "source_wal_level",
        "source_pending_restart",
        "source_slots",
        "source_slot_wal_limit",
        "source_synchronous_standbys",
        "source_read_only",
    }
    assert report.error is not None
    assert report.error.code == "not_ready"


@pytest.mark.fires("source_recovery", "target_recovery")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_standby_is_refused(
    side: str, make_cluster: Callable[..., Cluster], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.stop()
    signal_file = cluster.data_dir / "standby.signal"
    signal_file.touch()
    server_user().give(signal_file)
    cluster.start()
    ends = {"source": source_db.params, "target": target_db.params, side: cluster.params()}
    report = run_validate(**ends, client_bin_dir=str(target_cluster.client_dir))
    assert report[f"{side}_recovery"]["status"] == "fail"
    assert report.error is not None


@pytest.mark.silent("source_slot_idle_timeout")
def test_a_source_that_keeps_idle_slots_passes(ready: dict[str, Any], make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(18)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(**{**ready, "source": cluster.params(), "client_bin_dir": str(cluster.client_dir)})
    assert report["source_slot_idle_timeout"]["status"] == "pass"
