# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the way from one server to the other, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight import trial
from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, run_validate

CASES = (
    Case(
        "names_taken",
        f'CREATE PUBLICATION {H[:-1]}_pub"',
        selection={"name": HOSTILE},
        objects=(f"publication {HOSTILE}_pub",),
        cure="source",
        name="publication",
    ),
    Case(
        "names_taken",
        "SELECT pg_create_logical_replication_slot('seren_migration_sub', 'pgoutput');"
        "SELECT pg_create_logical_replication_slot('seren_migration_0123456789ab_2', 'pgoutput');"
        "SELECT pg_create_logical_replication_slot('seren_migration_other', 'pgoutput')",
        objects=("slot seren_migration_0123456789ab_2", "slot seren_migration_sub"),
        also=("source_other_slots",),
        cure="source",
        name="slots",
    ),
    Case(
        "names_taken",
        "",
        f"CREATE SUBSCRIPTION {H[:-1]}_sub\" CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false)",
        selection={"name": HOSTILE},
        objects=(f"subscription {HOSTILE}_sub",),
        cure="target",
        name="subscription",
    ),
)


@pytest.mark.fires("version_order", "target_version", "client_programs")
def test_an_old_or_older_target_is_noticed(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    source, old = make_cluster(18), make_cluster(13)
    source.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(source.params(), target_db.params, client_bin_dir=str(source.client_dir))
    assert (report["version_order"]["status"], report["version_order"]["severity"]) == ("fail", "warning")
    assert report.error is None
    report = run_validate(source.params(), old.params(), client_bin_dir=str(source.client_dir))
    assert report["target_version"]["status"] == "fail"
    report = run_validate(source.params(), target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["client_programs"]["status"] == "fail"


@pytest.mark.fires("different_databases")
def test_the_same_database_on_both_sides_is_refused(source_db: Database, source_cluster: Cluster) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(source_db.params, source_cluster.params(source_db.name))
    assert report["different_databases"]["status"] == "fail"
    report = run_validate(source_db.params, source_cluster.params("postgres"))
    assert report["different_databases"]["status"] == "pass"
    assert report["subscription_probe"]["status"] == "pass"


@pytest.mark.fires("subscription_probe")
def test_the_probe_takes_the_way_that_the_target_takes(
    source_db: Database, source_cluster: Cluster, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    report = run_validate(source_db.params, target_db.params, source_from_target={"port": 1}, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "08006" in report["subscription_probe"]["detail"]
    by_url = {"url": source_cluster.url(source_db.name)}
    through_socket = {"host": str(source_cluster.socket_dir), "port": source_cluster.port}
    for way in (by_url, through_socket):
        report = run_validate(source_db.params, target_db.params, source_from_target=way, **client)
        assert report["subscription_probe"]["status"] == "pass"
    report = run_validate(source_db.params, target_db.params, source_from_target={"passfile": "/x"}, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "passfile" in report["subscription_probe"]["detail"]


@pytest.mark.fires("subscription_probe")
def test_a_source_that_does_not_answer_the_target_ends_the_probe_in_time(
    ready: dict[str, Any], source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "TIMEOUT", "1s")
    with FaultProxy(source_cluster.port) as proxy:
        proxy.is_black_hole = True
        report = run_validate(**ready, source_from_target={"port": proxy.port})
    assert report["subscription_probe"]["status"] == "fail"
    assert "within 1s" in report["subscription_probe"]["detail"]
