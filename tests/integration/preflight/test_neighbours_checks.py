# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of who else replicates, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import pq

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import Case, cure, run_validate

CASES = (
    Case(
        "target_orphan_origins",
        "",
        # A name that begins with pg_ cannot be made by hand.
        "CREATE SUBSCRIPTION gone CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect = false);"
        "DELETE FROM pg_catalog.pg_subscription; SELECT pg_replication_origin_create('of_somebody_else')",
        severity="info",
        cure="target",
    ),
)


@contextmanager
def streaming(params: dict[str, Any], command: str, **options: str) -> Iterator[None]:
    """A WAL sender that is at work, for a client that never reads."""
    with closing(psycopg.connect(**params, autocommit=True, **options)) as connection:
        position = (connection.pgconn.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2) or b"").decode()
        result = connection.pgconn.exec_(command.format(position=position).encode())
        assert result.status == pq.ExecStatus.COPY_BOTH
        yield


@pytest.mark.fires("source_other_slots")
def test_slots_without_a_consumer_are_found(ready: dict[str, Any], source_db: Database) -> None:
    source_db.execute(
        "SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput');"
        "SELECT pg_create_physical_replication_slot('gone', true); SELECT pg_create_physical_replication_slot('unused')"
    )
    report = run_validate(**ready)
    assert report.with_status("fail", "unknown") == {"source_other_slots": "fail"}
    found = report["source_other_slots"]
    assert found["severity"] == "warning"
    # One that keeps no WAL takes only a place.
    assert [item.split(", ")[0] for item in found["objects"]] == ["forgotten (inactive", "gone (inactive"]
    cure(found["remedy"], source_db)
    assert run_validate(**ready)["source_other_slots"]["status"] == "pass"


def test_what_the_provider_replicates_for_itself_is_not_judged(
    ready: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    """Neon's and SerenDB's computes send their WAL to the storage, through a slot."""
    source_db.execute("SELECT pg_create_physical_replication_slot('wal_proposer_slot', true)")
    assert run_validate(**ready)["source_other_slots"]["status"] == "fail"
    there = dict(ready)
    for side, database in (("source", source_db), ("target", target_db)):
        database.execute("CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS")
        database.execute("CREATE ROLE me LOGIN PASSWORD 'plain'; GRANT pg_monitor TO me")
        there[side] = {**ready[side], "user": "me", "password": "plain"}
    command = "START_REPLICATION {position}"
    with (
        streaming(source_db.params, command, replication="yes", application_name="replica"),
        streaming(target_db.params, command, replication="yes", application_name="walproposer"),
    ):
        report = run_validate(**there)
    for check in ("source_other_slots", "source_failover", "target_standbys"):
        assert report[check]["status"] == "pass"


def test_the_slot_of_another_migration_may_be_idle(ready: dict[str, Any], source_db: Database) -> None:
    source_db.execute("SELECT pg_create_logical_replication_slot('shop_0123456789ab_1', 'pgoutput')")
    assert run_validate(**ready).with_status("fail", "unknown") == {}


@pytest.mark.fires("source_other_slots")
def test_a_slot_that_has_lost_its_wal_is_found(ready: dict[str, Any], make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(15, max_slot_wal_keep_size="1MB")
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.execute("SELECT pg_create_logical_replication_slot('shop_0123456789ab_1', 'pgoutput')")
    for _segment in range(4):
        cluster.execute("SELECT pg_logical_emit_message(false, 'x', 'y'); SELECT pg_switch_wal()")
    cluster.execute("CHECKPOINT")
    found = run_validate(**{**ready, "source": cluster.params()})["source_other_slots"]
    assert found["objects"] == ["shop_0123456789ab_1 (inactive, lost)"]
    cure(found["remedy"], Database(cluster, "postgres"))
    assert run_validate(**{**ready, "source": cluster.params()})["source_other_slots"]["status"] == "pass"


@pytest.mark.fires("source_other_consumers")
def test_a_consumer_of_changes_is_named(ready: dict[str, Any], source_db: Database) -> None:
    source_db.execute("CREATE PUBLICATION cdc FOR TABLE p")
    source_db.execute("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')")
    command = "START_REPLICATION SLOT cdc LOGICAL 0/0 (proto_version '1', publication_names 'cdc')"
    with streaming(source_db.params, command, replication="database"):
        report = run_validate(**ready)
    assert report.with_status("fail", "unknown") == {"source_other_consumers": "fail", "publications": "fail"}
    assert report["source_other_consumers"]["objects"] == ["cdc (pgoutput)"]
    assert report["source_other_consumers"]["severity"] == "info"


@pytest.mark.fires("source_failover", "target_standbys")
@pytest.mark.parametrize(("side", "check"), [("source", "source_failover"), ("target", "target_standbys")])
def test_standbys_are_named(
    side: str, check: str, ready: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    database = source_db if side == "source" else target_db
    database.execute("CREATE ROLE me LOGIN SUPERUSER REPLICATION PASSWORD 'plain'")
    plain = {**ready, side: {**ready[side], "user": "me", "password": "plain"}}
    command = "START_REPLICATION {position}"
    with streaming(database.params, command, replication="yes", application_name="replica 1"):
        report = run_validate(**plain)
        assert report.with_status("fail", "unknown") == {check: "fail"}
        assert (report[check]["objects"], report[check]["severity"]) == (["replica 1"], "info")
        # Who may not look does not say that there is none.
        database.execute("ALTER ROLE me NOSUPERUSER")
        report = run_validate(**plain)
        assert (report[check]["status"], report[check]["severity"]) == ("unknown", "info")
        database.execute(report[check]["remedy"])
        assert run_validate(**plain)[check]["status"] == "fail"
    assert run_validate(**plain)[check]["status"] == "pass"


@pytest.mark.fires("target_standbys")
def test_a_synchronous_standby_of_the_target_is_a_warning(
    ready: dict[str, Any], make_cluster: Callable[..., Cluster]
) -> None:
    cluster = make_cluster(17, synchronous_standby_names="near", synchronous_commit="local")
    with streaming(cluster.params(), "START_REPLICATION {position}", replication="yes", application_name="near"):
        report = run_validate(**{**ready, "target": cluster.params()})
    assert (report["target_standbys"]["objects"], report["target_standbys"]["severity"]) == (["near"], "warning")
