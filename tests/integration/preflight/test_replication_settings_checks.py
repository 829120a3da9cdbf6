# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the settings under which replication runs, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, cure, run_validate

COPIED_BY_SERVERS = {"copy_method": "subscription"}


def for_database(setting: str, value: str) -> str:
    return f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting} = %L', current_database(), '{value}'); END $$"


CASES = (
    Case(
        "source_walsender_timeout",
        for_database("wal_sender_timeout", "9s"),
        severity="warning",
        objects=("wal_sender_timeout=9s",),
        cure="source",
    ),
    Case(
        "source_replication_timeouts",
        for_database("statement_timeout", "30s"),
        options=COPIED_BY_SERVERS,
        objects=("statement_timeout=30s",),
        cure="source",
    ),
    Case(
        "target_replication_timeouts",
        "",
        for_database("transaction_timeout", "30000"),
        objects=("transaction_timeout=30000ms",),
        cure="target",
    ),
    Case(
        "target_replication_timeouts",
        "",
        for_database("transaction_timeout", "1h"),
        severity="warning",
        objects=("transaction_timeout=1h",),
        cure="target",
        name="long",
    ),
)


def test_only_the_role_that_replicates_counts(ready: dict[str, Any], source_db: Database) -> None:
    """Values of another role, or of sessions that are ours, are not those of the WAL sender."""
    role = sql.Identifier(HOSTILE)
    source_db.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION SUPERUSER PASSWORD 'x'").format(role))
    given = {**ready, "replication_role": {"user": HOSTILE, "password": "x"}, **COPIED_BY_SERVERS}
    source_db.execute("ALTER ROLE postgres SET lock_timeout = '7s'")
    try:
        assert run_validate(**given)["source_replication_timeouts"]["status"] == "pass"
        assert run_validate(**ready, **COPIED_BY_SERVERS)["source_replication_timeouts"]["status"] == "fail"
        # Replication itself does not obey it, only the copy by the servers does.
        assert run_validate(**ready)["source_replication_timeouts"]["status"] == "pass"
    finally:
        source_db.execute("ALTER ROLE postgres RESET lock_timeout")
    source_db.execute(sql.SQL("ALTER ROLE {} SET lock_timeout = '7s'").format(role))
    found = run_validate(**given)["source_replication_timeouts"]
    assert found["objects"] == ["lock_timeout=7s"]
    cure(found["remedy"], source_db)
    assert run_validate(**given)["source_replication_timeouts"]["status"] == "pass"


@pytest.mark.fires("target_walreceiver_timeout", "target_wal_level")
@pytest.mark.silent("target_wal_level")
def test_settings_of_the_target_are_judged(ready: dict[str, Any], make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(17, wal_receiver_timeout="9s", wal_level="replica")
    report = run_validate(**{**ready, "target": cluster.params()}, rollback=True)
    assert report["target_walreceiver_timeout"]["objects"] == ["wal_receiver_timeout=9000ms"]
    assert report["target_wal_level"]["objects"] == ["wal_level=replica"]
    assert report["target_wal_level"]["severity"] == report["target_walreceiver_timeout"]["severity"] == "warning"
    for found in ("target_walreceiver_timeout", "target_wal_level"):
        cure(report[found]["remedy"], Database(cluster, "postgres"))
    cluster.restart()
    report = run_validate(**{**ready, "target": cluster.params()}, rollback=True)
    assert report["target_walreceiver_timeout"]["status"] == report["target_wal_level"]["status"] == "pass"


@pytest.mark.fires("source_walsender_limit", "source_replication_timeouts")
def test_settings_of_the_source_are_judged(ready: dict[str, Any], make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(18, max_wal_senders=5, max_replication_slots=6, transaction_timeout="5min")
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    there = {**ready, "source": cluster.params(), "client_bin_dir": str(cluster.client_dir)}
    report = run_validate(**there)
    assert set(report.with_status("fail", "unknown")) == {
        "source_walsender_limit", "source_replication_timeouts", "version_order",
    }  # fmt: skip
    assert report["source_walsender_limit"]["severity"] == "info"
    assert report["source_replication_timeouts"]["objects"] == ["transaction_timeout=300000ms"]
    assert report["source_replication_timeouts"]["severity"] == "warning"
    for found in ("source_walsender_limit", "source_replication_timeouts"):
        cure(report[found]["remedy"], Database(cluster, "postgres"))
    cluster.restart()
    report = run_validate(**there)
    # The remedy gives the role of the connection a setting of its own, which stays behind.
    assert set(report.with_status("fail", "unknown")) == {"version_order", "role_attributes"}
    [said] = report["role_attributes"]["objects"]
    assert said.startswith("setting transaction_timeout of role postgres")


@pytest.mark.fires("source_decoding_memory")
def test_slots_that_have_spilled_speak_of_large_transactions(
    ready: dict[str, Any], make_cluster: Callable[..., Cluster]
) -> None:
    cluster = make_cluster(15, logical_decoding_work_mem="64kB")
    there = {**ready, "source": cluster.params()}
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY); CREATE PUBLICATION all_of_it FOR TABLE p")
    cluster.execute("SELECT pg_create_logical_replication_slot('spilling_0123456789ab_1', 'pgoutput')")
    assert run_validate(**there)["source_decoding_memory"]["status"] == "pass"
    cluster.execute("INSERT INTO p SELECT generate_series(1, 5000)")
    cluster.execute(
        "SELECT count(*) FROM pg_logical_slot_peek_binary_changes('spilling_0123456789ab_1', NULL, NULL,"
        " 'proto_version', '1', 'publication_names', 'all_of_it')"
    )
    cluster.execute("DROP PUBLICATION all_of_it")
    report = run_validate(**there)
    assert report.with_status("fail", "unknown") == {"source_decoding_memory": "fail"}
    found = report["source_decoding_memory"]
    assert found["severity"] == "info"
    assert found["objects"][0].startswith("spilling_0123456789ab_1 (")
    cure(found["remedy"], Database(cluster, "postgres"))
    cluster.restart()
    assert run_validate(**there)["source_decoding_memory"]["status"] == "pass"
