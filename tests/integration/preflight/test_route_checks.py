# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the road between two servers, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.preflight import run_validate


@pytest.mark.fires("source_address")
def test_an_address_that_is_only_ipv6_explains_why_the_target_does_not_get_through(ready: dict[str, Any]) -> None:
    report = run_validate(**ready, source_from_target={"host": "::1"})
    assert set(report.with_status("fail", "unknown")) == {"subscription_probe", "source_address"}
    assert (report["source_address"]["severity"], report["source_address"]["objects"]) == ("warning", ["::1"])
    # A name that nobody knows here is no evidence.
    report = run_validate(**ready, source_from_target={"host": "nowhere.invalid"})
    assert report["source_address"]["status"] == "unknown"
    # Nor is it the address when both kinds are there.
    report = run_validate(**ready, source_from_target={"port": 1})
    assert report["source_address"]["status"] == "pass"


@pytest.mark.fires("source_from_target_files")
def test_a_file_that_the_target_may_lack_is_named(
    ready: dict[str, Any], source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    with_tls = make_cluster(16, tls=True)
    way = {"port": with_tls.port, "password": with_tls.password, "dbname": "postgres", "sslmode": "verify-ca"}
    report = run_validate(**ready, source_from_target={**way, "sslrootcert": "/nowhere/ca.crt"})
    found = report["source_from_target_files"]
    assert (found["status"], found["severity"]) == ("unknown", "warning")
    assert found["objects"] == ["sslrootcert=/nowhere/ca.crt"]
    report = run_validate(**ready, source_from_target=way)
    assert report["source_from_target_files"]["objects"] == ["sslmode=verify-ca"]
    # The server under test runs with our home folder, in which it may not look for a certificate of its own.
    readable = {**way, "sslrootcert": str(with_tls.ca_file), "sslcert": "/nowhere/client.crt"}
    report = run_validate(**ready, source_from_target=readable)
    assert report["subscription_probe"]["status"] == "pass"
    assert str(with_tls.ca_file) in report["source_from_target_files"]["detail"]
    old = make_cluster(14)
    system = {**way, "sslmode": "verify-full", "sslrootcert": "system"}
    report = run_validate(source_db.params, old.params(), source_from_target=system)
    assert report["source_from_target_files"]["status"] == "fail"
    assert report["source_from_target_files"]["objects"] == ["sslrootcert=system"]


@pytest.mark.fires("round_trip")
def test_a_source_that_is_far_from_the_target_is_told(ready: dict[str, Any], source_db: Database) -> None:
    with FaultProxy(source_db.cluster.port) as proxy:
        proxy.delay_ms = 40
        report = run_validate(**ready, source_from_target={"port": proxy.port})
    assert report.error is None
    assert set(report.with_status("fail", "unknown")) == {"round_trip"}
    assert report["round_trip"]["severity"] == "info"
    assert "streamed" in report["round_trip"]["detail"]


@pytest.mark.fires("way_back")
@pytest.mark.silent("way_back")
def test_the_way_back_is_tried_where_one_is_wanted(ready: dict[str, Any], target_db: Database) -> None:
    report = run_validate(**ready, rollback=True)
    assert report["way_back"]["status"] == report["subscription_probe"]["status"] == "pass"
    with FaultProxy(target_db.cluster.port, refused_parameters=["replication"]) as proxy:
        closed = {**ready, "target": {**ready["target"], "port": proxy.port}}
        report = run_validate(**closed, rollback=True)
        assert (report["way_back"]["status"], report["way_back"]["severity"]) == ("fail", "warning")
        assert run_validate(**closed)["way_back"]["status"] == "skipped"
    absent = {**ready, "target": {**ready["target"], "dbname": "not_there_yet"}}
    assert run_validate(**absent, rollback=True)["way_back"]["status"] == "unknown"
