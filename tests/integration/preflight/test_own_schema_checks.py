# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of schema seren_migrator where another role's migration has made it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H, run_validate


@pytest.fixture
def ops(source_db: Database, target_db: Database) -> dict[str, Any]:
    """A role with a hostile name that may migrate from the source; a superuser's migration is there already."""
    source_db.execute(
        f"CREATE ROLE {H} LOGIN REPLICATION PASSWORD 'plain'; CREATE ROLE owner1;"
        f"GRANT owner1, pg_read_all_data, pg_read_all_stats TO {H}; GRANT CREATE ON DATABASE {source_db.name} TO {H};"
        "CREATE SCHEMA s AUTHORIZATION owner1; CREATE TABLE s.t (id int PRIMARY KEY); ALTER TABLE s.t OWNER TO owner1"
    )
    Case(source_db, target_db, {"name": "first"}).init()
    return {"user": HOSTILE, "password": "plain"}


@pytest.mark.fires("source_own_schema")
def test_a_schema_on_the_source_that_another_role_has_made_is_found_before_anything_is_written(
    ops: dict[str, Any], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    second = create_database(target_cluster)
    case = Case(source_db, second, {"name": "second", "source": {**source_db.params, **ops}})
    with pytest.raises(MigrationError) as refused:
        case.init(skip_checks=["subscription_probe"])
    assert (refused.value.code, "source_own_schema" in str(refused.value.details)) == ("not_ready", True)
    assert second.execute("SELECT to_regnamespace('seren_migrator')") == [(None,)]
    found = run_validate({**source_db.params, **ops}, second.params)["source_own_schema"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "blocker", ["seren_migrator"])
    assert "run by role postgres" in found["detail"]
    source_db.execute(found["remedy"])
    assert run_validate({**source_db.params, **ops}, second.params)["source_own_schema"]["status"] == "pass"
    case.init(skip_checks=["subscription_probe"])
    assert second.execute("SELECT count(*) FROM s.t") == [(0,)]
    Case(source_db, target_db, {"name": "first"}).cleanup()
    assert case.cleanup().error is None
    assert case.left_on_source() == {"slots": [], "publications": [], "schemas": [("seren_migrator",)]}


@pytest.mark.fires("target_own_schema")
def test_a_ledger_that_another_role_has_made_is_found_and_named(
    ops: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    target_db.execute(f"REVOKE pg_read_all_data FROM {H}; GRANT CREATE ON DATABASE {target_db.name} TO {H}")
    params = {**target_db.params, **ops}
    report = run_validate(source_db.params, params)
    found = report["target_own_schema"]
    assert (found["status"], found["severity"], len(found["objects"])) == ("fail", "blocker", 9)
    assert {item["status"] for item in report.data["checks"] if "ledger" in item["detail"]} <= {"skipped"}
    case = Case(source_db, target_db, {"target": params})
    for phase in (case.init, case.status, case.sync, case.cleanup):
        with pytest.raises(MigrationError) as refused:
            phase()
        assert refused.value.code == "ledger_refused", phase
    target_db.execute(found["remedy"])
    assert run_validate(source_db.params, params)["target_own_schema"]["status"] == "pass"
    assert case.status().data["state"] == "absent"
