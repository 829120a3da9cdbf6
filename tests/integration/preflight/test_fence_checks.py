# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what the cutover's fence needs, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, H, cure, run_validate


@pytest.fixture
def owner(source_db: Database) -> dict[str, Any]:
    """A role with a hostile name that owns the tables, but not the database."""
    source_db.execute(
        f"CREATE ROLE {H} LOGIN PASSWORD 'plain'; CREATE TABLE {H} (id int PRIMARY KEY); ALTER TABLE {H} OWNER TO {H}"
    )
    return {**source_db.params, "user": HOSTILE, "password": "plain"}


@pytest.mark.fires("source_lock_privilege")
def test_an_owner_who_lost_its_privileges_cannot_lock(
    owner: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    assert run_validate(owner, target_db.params)["source_lock_privilege"]["status"] == "pass"
    source_db.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {H} FROM {H}")
    found = run_validate(owner, target_db.params)["source_lock_privilege"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "warning", [f"public.{HOSTILE}"])
    source_db.execute(found["remedy"])
    assert run_validate(owner, target_db.params)["source_lock_privilege"]["status"] == "pass"


@pytest.mark.fires("source_database_owner")
def test_the_database_of_an_ordinary_role_is_opened_by_membership(
    owner: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    source_db.execute("CREATE ROLE boss")
    source_db.execute(f"ALTER DATABASE {source_db.name} OWNER TO boss")
    found = run_validate(owner, target_db.params)["source_database_owner"]
    assert (found["status"], found["objects"]) == ("fail", [f"{source_db.name} (boss)"])
    source_db.execute(found["remedy"])
    assert run_validate(owner, target_db.params)["source_database_owner"]["status"] == "pass"


@pytest.mark.fires("source_client_sessions")
def test_sessions_of_superusers_are_pointed_out(
    owner: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    source_db.execute(f"GRANT pg_signal_backend TO {H}")
    assert run_validate(owner, target_db.params)["source_client_sessions"]["status"] == "pass"
    connection = source_db.connect()
    found = run_validate(owner, target_db.params)["source_client_sessions"]
    assert (found["status"], found["severity"]) == ("fail", "info")
    assert found["objects"] == [f"postgres (pid {connection.info.backend_pid})"]
    assert run_validate(source_db.params, target_db.params)["source_client_sessions"]["status"] == "pass"
    cure(found["remedy"], source_db)
    assert run_validate(owner, target_db.params)["source_client_sessions"]["status"] == "pass"


@pytest.mark.fires("target_client_sessions")
def test_clients_of_the_target_matter_for_the_way_back_only(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target_db.execute(f"CREATE ROLE me LOGIN PASSWORD 'plain'; CREATE ROLE {H} LOGIN")
    plain = {**target_db.params, "user": "me", "password": "plain"}
    assert run_validate(source_db.params, plain)["target_client_sessions"]["status"] == "pass"
    found = run_validate(source_db.params, plain, rollback=True)["target_client_sessions"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "warning", [HOSTILE])
    target_db.execute(found["remedy"])
    assert run_validate(source_db.params, plain, rollback=True)["target_client_sessions"]["status"] == "pass"
