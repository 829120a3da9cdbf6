# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the way in to each server, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import provider
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import run_validate


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
