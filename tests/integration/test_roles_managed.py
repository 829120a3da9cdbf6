# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles without a superuser on the target: what it may give arrives, what it may not is named, its own help is taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils.phases import init
from tests.integration.test_managed_role import PASSWORD, STRICT, AsAdmin, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case

READ_ALL = STRICT + "GRANT pg_read_all_data TO {role};"
LESS = STRICT.replace(" BYPASSRLS", "").replace(" REPLICATION", "")
SECRET = "the app's 'own' pass\\word"
MEMBER = """
SELECT g.rolname FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS u ON u.oid = m.member
 WHERE u.rolname = 'owner1' AND g.rolname !~ '^pg_' AND {} ORDER BY 1
"""
NOT_NEEDED_HERE = {"skip_checks": ["subscription_probe"]}


def left(data: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["reason"] for item in data["left"]}


@pytest.fixture
def source(source_db: Database) -> Database:
    source_db.execute(
        "CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY); INSERT INTO shop.t VALUES (1); CREATE ROLE team; CREATE ROLE staff IN ROLE team;"
        "CREATE ROLE app LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS NOINHERIT PASSWORD 'old one' IN ROLE staff, pg_monitor;"
        "ALTER ROLE app SET work_mem = '7MB'; COMMENT ON ROLE app IS 'it';"
        "ALTER SCHEMA shop OWNER TO team; ALTER TABLE shop.t OWNER TO team; GRANT SELECT ON shop.t TO app"
    )
    return source_db


@pytest.mark.parametrize("recipe", [STRICT, READ_ALL])
@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_an_admin_makes_roles_gives_them_objects_and_takes_its_own_memberships_back(
    recipe: str, major: int, source: Database, make_cluster: Callable[..., Cluster]
) -> None:
    target = managed(make_cluster(major), recipe)
    case = Case(source, target)
    data = case.init(**NOT_NEEDED_HERE).data
    powers = "SELECT rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin, rolinherit, rolconfig"
    query = powers + ", shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'app'"
    given = major >= 16
    assert target.execute(query) == [(True, True, given, given, True, False, ["work_mem=7MB"], "it")]
    reason = left(data).get("role app", "")
    assert ("REPLICATION" in reason and "BYPASSRLS" in reason) is not given
    # Before 16 whoever makes roles may grant every one of them, from then on only those that it administers.
    assert ("membership of app in pg_monitor" in left(data)) is given
    assert target.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'") == [("team",)]
    assert target.execute("SELECT pg_has_role('app', 'team', 'MEMBER'), pg_has_role('staff', 'team', 'MEMBER')") == [
        (True, True)
    ]
    with psycopg.connect(target.cluster.dsn(target.name, "app", "old one")):
        pass
    usable = MEMBER.format("true" if major < 16 else "m.set_option")
    assert [row[0] for row in target.execute(usable)] == ["app", "staff", "team"]
    removed = case.cleanup().data["removed"]
    assert {item["name"] for item in removed if item["kind"] == "membership"} == {
        f"owner1 in {name}" for name in ("app", "staff", "team")
    }
    assert target.execute(usable) == []
    administered = target.execute(MEMBER.format("m.admin_option"))
    assert [row[0] for row in administered] == ([] if major < 16 else ["app", "staff", "team"])
    assert not case.cleanup().changed


def test_attributes_are_lost_one_by_one_and_the_plan_says_so_before(
    source: Database, make_cluster: Callable[..., Cluster]
) -> None:
    target = managed(make_cluster(17), LESS)
    case = Case(source, target)
    options = init.InitOptions(jobs=2, client_bin_dir=case.bin_dir, check_mode=True, **NOT_NEEDED_HERE)
    plan = init.run(case.migration(), options).data["plan"]
    assert "REPLICATION, BYPASSRLS" in left(plan)["role app"]
    assert "membership of app in pg_monitor" in left(plan)
    assert target.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'") == []
    data = case.init(**NOT_NEEDED_HERE).data
    assert "REPLICATION" in left(data)["role app"]
    assert "BYPASSRLS" in left(data)["role app"]
    query = "SELECT rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'app'"
    assert target.execute(query) == [(True, True, False, False)]


def test_a_membership_that_the_connecting_role_has_on_the_source_too_is_kept(
    source: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source.execute(
        "CREATE ROLE owner1 LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS; GRANT team, pg_monitor TO owner1"
    )
    target = managed(make_cluster(17), STRICT)
    case = Case(source, target)
    data = case.init(**NOT_NEEDED_HERE).data
    assert "role owner1" not in left(data)
    case.cleanup()
    assert [row[0] for row in target.execute(MEMBER.format("m.set_option"))] == ["team"]


@pytest.mark.parametrize("stored", ["scram-sha-256", "md5"])
def test_a_password_from_a_vault_is_hashed_here_and_shown_nowhere(
    stored: str, source: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source.execute(f"SET password_encryption = '{stored}'; ALTER ROLE app PASSWORD 'old one'")
    target = managed(make_cluster(17, log_statement="all"), STRICT)
    reader = managed(source.cluster, STRICT, "reader1")
    source.execute("GRANT team TO reader1")
    source.execute(f"GRANT CREATE ON DATABASE {source.name} TO reader1")
    unreadable = AsAdmin(source.cluster, source.name, reader.role)
    case = Case(unreadable, target)
    migration = case.migration()
    options = init.InitOptions(
        jobs=2, client_bin_dir=case.bin_dir, role_passwords={"app": SECRET, "team": SECRET}, **NOT_NEEDED_HERE
    )
    data = init.run(migration, options).data
    assert "password" not in left(data).get("role app", "")
    with psycopg.connect(target.cluster.dsn(target.name, "app", SECRET)):
        pass
    verifier = target.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")[0][0]
    assert verifier.startswith("SCRAM-SHA-256$")
    ledger = str(target.execute("SELECT to_jsonb(m) FROM seren_migrator.migration AS m"))
    ledger += str(target.execute("SELECT to_jsonb(s) FROM seren_migrator.step AS s"))
    shown = json.dumps(data, default=str) + str(migration.log.entries) + repr(options) + ledger
    for secret in (SECRET, verifier, SECRET.replace("'", "''")):
        assert secret not in shown
    assert PASSWORD not in ledger
    log = target.cluster.log()
    assert 'CREATE ROLE "app"' in log
    assert "own' pass" not in log
    assert "own'' pass" not in log


def test_a_role_without_a_known_password_arrives_and_is_named(
    source: Database, make_cluster: Callable[..., Cluster]
) -> None:
    reader = managed(source.cluster, STRICT, "reader1")
    source.execute("GRANT team TO reader1")
    source.execute(f"GRANT CREATE ON DATABASE {source.name} TO reader1")
    target = managed(make_cluster(17), STRICT)
    data = Case(AsAdmin(source.cluster, source.name, reader.role), target).init(**NOT_NEEDED_HERE).data
    assert "without a password" in left(data)["role app"]
    assert target.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'") == [(None,)]
