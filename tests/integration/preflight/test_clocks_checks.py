# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of time, on real servers."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.preflight import clocks
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, run_validate


@pytest.mark.fires("clocks")
def test_a_clock_that_is_wrong_is_told(ready: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = clocks.time.time
    # This machine is an hour late, so both servers are an hour early.
    monkeypatch.setattr(clocks.time, "time", lambda: now() - 3600)
    report = run_validate(**ready)
    assert report.with_status("fail", "unknown") == {"clocks": "fail"}
    assert report["clocks"]["severity"] == "info"
    assert [item.split(":")[0] for item in report["clocks"]["objects"]] == ["source", "target"]


@pytest.mark.fires("source_role_validity", "target_role_validity")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_login_that_ends_soon_is_found_with_its_cure(
    side: str, ready: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    database = source_db if side == "source" else target_db
    role = sql.Identifier(HOSTILE)
    database.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD 'x' VALID UNTIL 'infinity'").format(role))
    own = {**ready, side: {**ready[side], "user": HOSTILE, "password": "x"}}
    assert run_validate(**own).with_status("fail", "unknown") == {}
    # Far enough for this test, and too near for a migration.
    database.execute(
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I VALID UNTIL %L', '{}', now() + interval '2 days'); END $$".format(
            HOSTILE.replace("'", "''")
        )
    )
    report = run_validate(**own)
    check = f"{side}_role_validity"
    assert report.with_status("fail", "unknown") == {check: "fail"}
    assert report[check]["severity"] == "warning"
    assert report[check]["objects"][0].startswith(f"{HOSTILE} (until ")
    if side == "source":  # also when it is only the one that replicates
        replicates = run_validate(**ready, replication_role={"user": HOSTILE, "password": "x"})
        assert replicates[check]["status"] == "fail"
    database.execute(report[check]["remedy"])
    assert run_validate(**own).with_status("fail", "unknown") == {}


@pytest.mark.fires("source_transaction_ids")
def test_old_transaction_ids_are_found(ready: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "OLD_XID_AGE", 1)
    report = run_validate(**ready)
    assert report.with_status("fail", "unknown") == {"source_transaction_ids": "fail"}
    assert report["source_transaction_ids"]["severity"] == "warning"
    assert any(item.startswith("template1 (") for item in report["source_transaction_ids"]["objects"])
