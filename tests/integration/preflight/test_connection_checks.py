# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the way in to each server, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import provider
from ansible_collections.seren.migrator.plugins.module_utils.preflight import connection
from tests.support.cluster import Cluster, nasty_password
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.pooler import Pooler
from tests.support.preflight import run_validate

CONNECT_TIMEOUT_S = 2
# What a busy machine may add to a timeout before it is plainly not the timeout that ended the wait.
GRACE_S = 20


@pytest.mark.fires("source_tls", "target_tls")
@pytest.mark.parametrize("side", ["source", "target"])
def test_encryption_is_judged(
    side: str, make_cluster: Callable[..., Cluster], source_db: Database, target_db: Database
) -> None:
    # 127.0.0.2 stands for another machine.
    cluster = make_cluster(16, tls=True, listen_addresses="127.0.0.1,127.0.0.2")
    check = f"{side}_tls"

    def judged(**params: str) -> dict[str, Any]:
        ends = {"source": source_db.params, "target": target_db.params, side: {**cluster.params(), **params}}
        return run_validate(**ends)[check]

    assert judged(host="127.0.0.2")["status"] == "pass"
    plain = judged(host="127.0.0.2", sslmode="disable")
    assert (plain["status"], plain["severity"]) == ("fail", "warning")
    assert "does not leave this machine" in judged(sslmode="disable")["detail"]


@pytest.mark.fires("source_pooler")
def test_the_usual_port_of_a_pooler_is_a_warning_only(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    monkeypatch.setattr(provider, "_POOLED_PORTS", {str(source_db.params["port"]): ""})
    report = run_validate(source_db.params, target_db.params)
    assert (report["source_pooler"]["status"], report["source_pooler"]["severity"]) == ("fail", "warning")
    assert report["target_pooler"]["status"] == "pass"


@pytest.mark.fires("source_connection", "target_connection")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password_is_a_finding_and_not_a_crash(side: str, ready: dict[str, Any]) -> None:
    password = nasty_password()
    report = run_validate(**{**ready, side: {**ready[side], "password": password}})
    assert report[f"{side}_connection"]["status"] == "fail"
    assert report.error is not None
    assert report.error.code == "not_ready"
    assert report.error.details["codes"] == ["cannot_connect"]
    assert report.data["ready"] is False
    assert password not in str(report)
    # What needed that side is skipped and says why; the rest has been looked at.
    skipped = report.with_status("skipped")
    assert {"different_databases", "subscription_probe"} <= set(skipped)
    assert report["different_databases"]["detail"] == f"Not possible, because the {side} cannot be reached."
    other = "target" if side == "source" else "source"
    assert report[f"{other}_version"]["status"] == "pass"
    assert report.data[other]["major"] in (15, 17)


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_unreachable_host_answers_within_its_connect_timeout(side: str, ready: dict[str, Any]) -> None:
    with FaultProxy(ready[side]["port"]) as proxy:
        proxy.is_black_hole = True
        silent = {**ready[side], "port": proxy.port, "connect_timeout": CONNECT_TIMEOUT_S}
        started = time.monotonic()
        report = run_validate(**{**ready, side: silent})
        assert time.monotonic() - started < CONNECT_TIMEOUT_S + GRACE_S
    assert report[f"{side}_connection"]["status"] == "fail"
    assert report.error is not None


def test_nobody_may_connect_to_the_database(ready: dict[str, Any], target_db: Database) -> None:
    target_db.cluster.execute(f"ALTER DATABASE {target_db.name} ALLOW_CONNECTIONS false")
    report = run_validate(**ready)
    assert report["target_connection"]["status"] == "fail"
    assert "not currently accepting connections" in report["target_connection"]["detail"]


@pytest.mark.fires("source_pooler", "target_pooler")
def test_a_pooler_is_recognised_by_what_it_does(ready: dict[str, Any], source_cluster: Cluster) -> None:
    path = f"{source_cluster.socket_dir}/.s.PGSQL.{source_cluster.port}"
    with Pooler(path) as pooler:
        behind = {**ready["source"], "port": pooler.port}
        report = run_validate(**{**ready, "source": behind})
        assert report["source_pooler"]["status"] == "fail"
        assert "by transaction" in report["source_pooler"]["detail"]
        assert report.error is not None
    with Pooler(path) as pooler:
        report = run_validate(ready["source"], {**ready["source"], "port": pooler.port})
        assert report["target_pooler"]["status"] == "fail"


@pytest.mark.fires("source_replication_connection")
def test_a_refused_replication_connection_is_taken_for_a_pooler(ready: dict[str, Any], source_cluster: Cluster) -> None:
    """As a pooler in session mode does, which keeps the session's state."""
    with FaultProxy(source_cluster.port, refused_parameters=["replication"]) as proxy:
        report = run_validate(**{**ready, "source": {**ready["source"], "port": proxy.port}})
    assert report["source_replication_connection"]["status"] == "fail"
    assert "unsupported startup parameter" in report["source_replication_connection"]["detail"]
    assert report["different_databases"]["status"] == "pass"


@pytest.mark.fires("source_pooler", "target_pooler")
@pytest.mark.parametrize("side", ["source", "target"])
def test_the_name_of_a_pooler_is_enough(side: str, ready: dict[str, Any]) -> None:
    params = {**ready[side], "hostaddr": "127.0.0.1", "host": "ep-cool-name-pooler.eu-central-1.aws.example.com"}
    report = run_validate(**{**ready, side: params})
    assert report[f"{side}_pooler"]["status"] == "fail"
    assert report[f"{side}_pooler"]["severity"] == "blocker"
    assert "-pooler" in report[f"{side}_pooler"]["remedy"]


@pytest.mark.fires("source_version", "target_version")
def test_a_major_that_is_newer_than_this_release_is_refused(
    ready: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "NEWEST_MAJOR", 16)
    assert run_validate(**ready).with_status("fail", "unknown") == {"target_version": "fail"}
    monkeypatch.setattr(connection, "NEWEST_MAJOR", 14)
    report = run_validate(**ready)
    assert report.with_status("fail", "unknown") == {"source_version": "fail", "target_version": "fail"}
    assert report.error is not None
    assert report.error.details["codes"] == ["unsupported_version"]
