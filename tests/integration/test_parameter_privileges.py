# SPDX-License-Identifier: GPL-3.0-or-later
"""Privileges on configuration parameters (from 15 on) arrive with the roles that init makes; what cannot is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.phases import init, validate
from tests.integration.test_managed_role import STRICT, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case

HOSTILE = 'Weird "Näme"; --'
H = sql.Identifier(HOSTILE).as_string(None)
ROLES = f"""
CREATE TABLE t (id int PRIMARY KEY);
CREATE ROLE {H}; CREATE ROLE clerk; CREATE ROLE ann; CREATE ROLE stranger; CREATE ROLE old;
GRANT SELECT ON t TO {H}, clerk, ann, old;
"""
GRANTS = f"""
GRANT SET ON PARAMETER log_statement TO {H};
GRANT SET, ALTER SYSTEM ON PARAMETER work_mem TO {H} WITH GRANT OPTION;
GRANT SET ON PARAMETER my.own, log_min_messages TO ann;
GRANT SET ON PARAMETER log_statement TO stranger;
SET ROLE {H}; GRANT SET ON PARAMETER work_mem TO clerk; RESET ROLE;
"""
ACLS = """
SELECT p.parname, coalesce(g.rolname, 'PUBLIC') AS grantee, a.privilege_type, a.is_grantable, b.rolname AS grantor
  FROM pg_parameter_acl AS p CROSS JOIN aclexplode(p.paracl) AS a
  JOIN pg_roles AS b ON b.oid = a.grantor LEFT JOIN pg_roles AS g ON g.oid = a.grantee
 WHERE a.grantee <> 10 ORDER BY 1, 2, 3
"""
# The managed target of these tests may not subscribe, and cannot own what the source's superuser does.
NOT_NEEDED_HERE: dict[str, Any] = {"skip_checks": ("subscription_probe",), "owner": "adm"}


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute(ROLES)
    return Case(source_db, target_db)


def left(data: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["reason"] for item in data["left"]}


def test_they_arrive_with_grant_options_and_grantors_under_the_roles_other_names(case: Case) -> None:
    case.source.execute(GRANTS)
    data = case.init(roles={"ann": "bob"}).data
    mine = [row for row in case.source.execute(ACLS) if row[1] != "stranger"]
    wanted = sorted((name, "bob" if grantee == "ann" else grantee, *rest) for name, grantee, *rest in mine)
    assert len(wanted) == 6 and ("work_mem", "clerk", "SET", False, HOSTILE) in wanted
    assert sorted(case.target.execute(ACLS)) == wanted
    assert data["left"] == []
    assert case.init().changed is False


def test_what_the_target_refuses_or_nobody_asked_for_is_named(case: Case) -> None:
    case.source.execute("GRANT ALTER SYSTEM ON PARAMETER vacuum_defer_cleanup_age, work_mem TO ann")  # gone since 16
    case.source.execute("GRANT SET ON PARAMETER log_statement TO PUBLIC; GRANT SET ON PARAMETER log_statement TO old")
    case.target.execute("CREATE ROLE old")
    found = left(case.init().data)
    assert case.target.execute(ACLS) == [("work_mem", "ann", "ALTER SYSTEM", False, "postgres")]
    assert "unrecognized" in found["ALTER SYSTEM on parameter vacuum_defer_cleanup_age for ann"]
    assert "everybody" in found["SET on parameter log_statement for PUBLIC"]
    assert "was not changed" in found["SET on parameter log_statement for old"]
    assert len(found) == 3


def test_a_grantor_who_may_not_grant_on_the_target_is_named_and_the_grant_arrives(case: Case) -> None:
    case.source.execute(GRANTS)
    case.target.execute(f"CREATE ROLE {H}")
    case.target.execute(f"GRANT SET ON PARAMETER work_mem TO {H}")  # with which PostgreSQL only warns
    found = left(case.init().data)
    assert ("work_mem", "clerk", "SET", False, "postgres") in case.target.execute(ACLS)
    assert f"grantor {HOSTILE} of privileges on parameter work_mem" in found
    assert f"ALTER SYSTEM, SET on parameter work_mem for {HOSTILE}" in found


def test_without_superuser_the_plan_says_what_is_lost_and_what_may_be_granted_arrives(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute(ROLES)
    source_db.execute(GRANTS)
    cluster = make_cluster(17)
    case = Case(source_db, managed(cluster, STRICT, "adm"))
    cluster.execute("GRANT SET ON PARAMETER log_statement TO adm WITH GRANT OPTION")
    lost = {
        f"ALTER SYSTEM, SET on parameter work_mem for {HOSTILE}",
        "SET on parameter work_mem for clerk",
        "SET on parameter my.own for ann",
        "SET on parameter log_min_messages for ann",
    }
    options = init.InitOptions(jobs=2, client_bin_dir=case.bin_dir, check_mode=True, **NOT_NEEDED_HERE)
    plan = init.run(case.migration(), options).data["plan"]
    assert {what for what in left(plan) if " on parameter " in what} == lost
    assert f"SET on parameter log_statement for {HOSTILE}" in plan["grant_parameters"]
    looking = validate.ValidateOptions(client_bin_dir=case.bin_dir, owner="adm")
    checks = validate.run(case.migration(), looking).data["checks"]
    (said,) = (check["objects"] for check in checks if check["id"] == "role_attributes")
    assert {item.partition(":")[0] for item in said} >= lost
    assert cluster.execute(ACLS) == [("log_statement", "adm", "SET", True, "postgres")]
    found = left(case.init(**NOT_NEEDED_HERE).data)
    assert {what for what in found if " on parameter " in what} == lost
    assert cluster.execute(ACLS) == [
        ("log_statement", HOSTILE, "SET", False, "adm"),
        ("log_statement", "adm", "SET", True, "postgres"),
    ]


def test_an_older_target_knows_none_which_is_told(source_db: Database, make_cluster: Callable[..., Cluster]) -> None:
    source_db.execute(ROLES)
    source_db.execute("GRANT SET ON PARAMETER log_statement TO ann, stranger")
    found = left(Case(source_db, create_database(make_cluster(14))).init().data)
    assert found == {"SET on parameter log_statement for ann": "PostgreSQL 14 has no privileges on parameters"}


def test_an_older_source_has_none(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    source = create_database(make_cluster(14))
    source.execute(ROLES)
    target_db.execute("GRANT SET ON PARAMETER log_statement TO PUBLIC")
    before = target_db.execute(ACLS)
    assert Case(source, target_db).init().data["left"] == []
    assert target_db.execute(ACLS) == before
