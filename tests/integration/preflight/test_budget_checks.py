# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what the migrations need of each server, on real servers: where they fire, and their remedies."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case as Migrating
from tests.support.preflight import Case, run_validate

# A slot and a subscription as migrations of this collection name them.
OTHER = "other_0123456789ab_1"

CASES = (
    Case("source_connections", options={"jobs": 100}, severity="warning", also=("target_connections",)),
    Case("target_connections", options={"jobs": 100}, severity="warning", also=("source_connections",)),
    Case(
        "source_connections",
        options={"migrations_on_source": 6, "migrations_at_once": 6},
        severity="warning",
        name="of several migrations",
    ),
    Case(
        "source_slots",
        options={"migrations_on_source": 13},
        name="of several migrations",
        also=("source_walsenders", "source_connections"),
    ),
    Case(
        "target_workers",
        options={"migrations_on_target": 9},
        name="of several migrations",
        also=("target_connections",),
    ),
)


@pytest.mark.fires("source_slots", "source_walsenders", "source_slot_idle_timeout")
def test_a_source_without_a_free_slot_or_walsender_is_refused(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(18, max_replication_slots=1, max_wal_senders=1, idle_replication_slot_timeout="1h")
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.execute("SELECT pg_create_logical_replication_slot('taken', 'pgoutput')")
    params = cluster.params()
    with psycopg.connect(**params, replication="database", autocommit=True) as connection:
        connection.execute("IDENTIFY_SYSTEM")
        report = run_validate(params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["source_slots"]["objects"] == ["taken"]
    assert report["source_walsenders"]["status"] == "fail"
    assert report["source_replication_connection"]["status"] == "skipped"
    assert "source_walsenders" in report.error.details["checks"]  # type: ignore[union-attr]
    assert report["source_slot_idle_timeout"]["severity"] == "warning"
    assert "pg_drop_replication_slot('taken')" in report["source_slots"]["remedy"]
    cluster.execute(report["source_slots"]["remedy"].split("in use now:\n-- ")[1])
    again = run_validate(params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert again["source_slots"]["status"] == again["source_walsenders"]["status"] == "pass"


@pytest.mark.fires("target_workers", "target_worker_processes", "target_origins")
def test_a_target_without_room_for_a_subscription_is_refused(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17, max_logical_replication_workers=0, max_worker_processes=0, max_replication_slots=0)
    report = run_validate(source_db.params, cluster.params(), client_bin_dir=str(cluster.client_dir))
    failed = report.with_status("fail")
    assert {"target_workers", "target_worker_processes", "target_origins"} <= set(failed)
    assert report.error is not None


def test_hidden_sessions_leave_the_worker_processes_unknown(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17, max_worker_processes=3)
    cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = cluster.params("postgres", "me", "plain")
    report = run_validate(source_db.params, plain)
    assert report["target_worker_processes"]["status"] == "unknown"
    cluster.execute(report["target_worker_processes"]["remedy"])
    assert run_validate(source_db.params, plain)["target_worker_processes"]["status"] == "pass"


def test_connection_limits_of_role_and_database_count(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target_cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain' CONNECTION LIMIT 5")
    plain = {**target_db.params, "user": "me", "password": "plain"}
    found = run_validate(source_db.params, plain)["target_connections"]
    assert found["objects"] == ["CONNECTION LIMIT of the role"]
    target_cluster.execute("ALTER ROLE me CONNECTION LIMIT -1")
    assert run_validate(source_db.params, plain)["target_connections"]["status"] == "pass"


@pytest.mark.silent("target_sync_workers")
@pytest.mark.fires("target_sync_workers")
def test_a_target_that_copies_no_table_is_refused_where_the_servers_copy(
    source_db: Database, target_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17, max_sync_workers_per_subscription=0)
    report = run_validate(source_db.params, cluster.params(), copy_method="subscription")
    assert report["target_sync_workers"]["status"] == "fail"
    for line in report["target_sync_workers"]["remedy"].splitlines():
        cluster.execute(line)
    report = run_validate(source_db.params, cluster.params(), copy_method="subscription")
    assert report["target_sync_workers"]["status"] == "pass"


def test_what_migrations_that_have_begun_have_taken_is_not_asked_for_again(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    """Twelve slots for twelve migrations: one of ours has one, and it is the server's truth that counts."""
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    source_db.execute("SELECT pg_create_logical_replication_slot('somebodys', 'pgoutput')")
    options = {"client_bin_dir": str(target_cluster.client_dir), "migrations_on_source": 12, "migrations_at_once": 1}
    assert run_validate(source_db.params, target_db.params, **options)["source_slots"]["status"] == "fail"
    source_db.execute("SELECT pg_drop_replication_slot('somebodys')")
    source_db.execute(f"SELECT pg_create_logical_replication_slot('{OTHER}', 'pgoutput')")
    report = run_validate(source_db.params, target_db.params, **options)
    assert report["source_slots"]["status"] == "pass"
    # Its subscription is still to come, and will need a sender.
    assert report["source_walsenders"]["status"] == "pass"
    assert report["source_walsenders"]["detail"].endswith("and 1 are kept for migrations that have begun.")
    options["migrations_on_source"] = 13
    found = run_validate(source_db.params, target_db.params, **options)
    assert found["source_walsenders"]["status"] == found["source_slots"]["status"] == "fail"
    assert "of 12 migrations" in found["source_slots"]["detail"]


def test_subscriptions_of_other_migrations_are_begun_ones(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    options = {"client_bin_dir": str(target_cluster.client_dir), "migrations_on_target": 8, "migrations_at_once": 1}
    assert run_validate(source_db.params, target_db.params, **options)["target_workers"]["status"] == "pass"
    subscribe = (
        "CREATE SUBSCRIPTION {} CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false, slot_name={})"
    )
    for name, slot in (("begun", OTHER), ("somebodys", "feed")):
        target_db.execute(subscribe.format(name, slot) + f"; ALTER SUBSCRIPTION {name} ENABLE")
        status = run_validate(source_db.params, target_db.params, **options)["target_workers"]["status"]
        assert status == ("pass" if name == "begun" else "fail")


def test_a_migration_that_is_under_way_asks_for_nothing_more(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    moving = Migrating(source_db, target_db)
    moving.init()
    options = {"client_bin_dir": moving.bin_dir, "migrations_on_source": 40, "migrations_at_once": 1}
    report = run_validate(source_db.params, target_db.params, **options)
    assert report["source_slots"]["status"] == "pass"
    moving.sync()
    report = run_validate(source_db.params, target_db.params, **options, migrations_on_target=40)
    assert set(report.with_status("fail", "unknown")) == set()
    moving.cleanup()


@pytest.mark.fires("target_slots", "source_workers")
@pytest.mark.silent("target_slots", "source_workers")
@pytest.mark.parametrize("major", [12, 18])
def test_the_way_back_is_looked_at_where_it_is_wanted(
    major: int, make_cluster: Callable[..., Cluster], source_db: Database, target_db: Database
) -> None:
    source = make_cluster(major, max_logical_replication_workers=0)
    source.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target = make_cluster(17, max_replication_slots=0)
    both = {"source_workers", "target_slots"}
    report = run_validate(source.params(), target.params())
    assert {report[check]["status"] for check in both} == {"skipped"}
    report = run_validate(source.params(), target.params(), rollback=True)
    for check, setting in (
        ("source_workers", "max_logical_replication_workers"),
        ("target_slots", "max_replication_slots"),
    ):
        assert (report[check]["status"], report[check]["severity"]) == ("fail", "warning")
        assert report[check]["remedy"].startswith(f'ALTER SYSTEM SET "{setting}" = 4;')
    report = run_validate(source_db.params, target_db.params, rollback=True)
    assert {report[check]["status"] for check in both} == {"pass"}


def test_numbers_of_migrations_are_positive(source_db: Database, target_db: Database) -> None:
    with pytest.raises(MigrationError, match="migrations_on_target is 0"):
        run_validate(source_db.params, target_db.params, migrations_on_target=0)
