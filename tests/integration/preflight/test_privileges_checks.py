# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what the roles may do, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from tests.integration.preflight.test_silence import NOT_CONCERNED
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, H, cure, run_validate


@pytest.fixture
def plain_source(source_db: Database) -> dict[str, Any]:
    """A role with a hostile name that may only connect; somebody else owns everything."""
    source_db.execute(
        f"CREATE ROLE {H} LOGIN PASSWORD 'plain'; CREATE ROLE owner1; CREATE ROLE app LOGIN; CREATE SCHEMA s AUTHORIZATION owner1;"
        "CREATE TABLE s.t (id int PRIMARY KEY); ALTER TABLE s.t OWNER TO owner1;"
        "CREATE SEQUENCE s.q; ALTER SEQUENCE s.q OWNER TO owner1;"
        "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON s.t USING (false)"
    )
    return {**source_db.params, "user": HOSTILE, "password": "plain"}


PRIVILEGES = {
    "source_replication_attribute": [HOSTILE],
    "source_create_privilege": [],
    "source_table_owner": ["s.t"],
    "source_readable": ["s", "s.q", "s.t"],
    "source_row_security": ["s.t"],
    "source_statistics_privilege": ["source_connections", "source_long_transactions"],
    "source_lock_privilege": ["s.t"],
    "source_database_owner": [],
    "source_client_sessions": ["app"],
}


@pytest.mark.fires(*PRIVILEGES)
def test_each_missing_privilege_on_the_source_is_found_and_its_grant_cures_it(
    plain_source: dict[str, Any], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    report = run_validate(plain_source, target_db.params, **client)
    for check, objects in PRIVILEGES.items():
        assert report[check]["status"] == "fail", check
        assert set(report[check]["objects"]) >= set(objects), check
    # What needs a privilege to be seen is unknown or skipped, and never passes.
    assert report["source_replication_connection"]["status"] == "skipped"
    assert report["subscription_probe"]["status"] == "fail"
    for check in PRIVILEGES:
        if check == "source_table_owner":  # it would give more than this
            continue
        source_db.execute(report[check]["remedy"])
        assert run_validate(plain_source, target_db.params, **client)[check]["status"] == "pass", check
    source_db.execute("REVOKE pg_read_all_data FROM " + H)
    source_db.execute(report["source_table_owner"]["remedy"])
    report = run_validate(plain_source, target_db.params, **client)
    assert report.with_status("fail", "unknown", "skipped") == {
        **dict.fromkeys(NOT_CONCERNED, "skipped"),
        "source_passwords": "fail",  # the role owns the database now, and so goes with it
        "password_hashes": "unknown",
    }
    assert report.error is None


def test_hidden_transactions_are_unknown_and_never_pass(
    plain_source: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    with source_db.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO s.t VALUES (1)")
        report = run_validate(plain_source, target_db.params)
        assert report["source_long_transactions"]["status"] == "unknown"
        source_db.execute(report["source_long_transactions"]["remedy"])
        assert run_validate(plain_source, target_db.params)["source_long_transactions"]["status"] == "pass"
        writer.rollback()


@pytest.mark.fires(
    "target_roles",
    "target_owners",
    "target_create_privilege",
    "target_schema_privilege",
    "target_row_security",
    "target_statistics_privilege",
)
def test_each_missing_privilege_on_the_target_is_found_and_its_grant_cures_it(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        f"CREATE ROLE owner1; CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO owner1;"
        f"CREATE TABLE q (id int PRIMARY KEY); ALTER TABLE q OWNER TO {H};"
        "ALTER TABLE q ENABLE ROW LEVEL SECURITY; ALTER TABLE q FORCE ROW LEVEL SECURITY"
    )
    target_db.execute("CREATE ROLE \"me;\" LOGIN PASSWORD 'plain'; CREATE ROLE owner1")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    plain = {**target_db.params, "user": "me;", "password": "plain"}
    report = run_validate(source_db.params, plain, **client)
    assert report["target_roles"]["objects"] == [HOSTILE, "owner1"]
    for check in (
        "target_create_privilege",
        "target_schema_privilege",
        "subscription_probe",
        "target_roles",
        "target_statistics_privilege",
    ):
        assert report[check]["status"] == "fail", check
        cure(report[check]["remedy"], target_db)
        assert run_validate(source_db.params, plain, **client)[check]["status"] == "pass", check
    target_db.execute(f'CREATE ROLE {H}; GRANT {H} TO "me;"')
    report = run_validate(source_db.params, plain, **client)
    assert report["target_row_security"]["objects"] == ["public.q"]
    cure(report["target_row_security"]["remedy"], target_db)
    assert report["target_owners"]["objects"] == ["table public.p (owner1)", f"table public.q ({HOSTILE})"]
    target_db.execute(report["target_owners"]["remedy"].split("\n-- or")[0])
    report = run_validate(source_db.params, plain, **client)
    cure(report["target_hidden_rows"]["remedy"], target_db)
    report = run_validate(source_db.params, plain, **client)
    # What cured the row security is more than the role has on the source.
    assert report.with_status("fail", "unknown") == {"existing_roles": "fail"}
    assert "BYPASSRLS there" in report["existing_roles"]["objects"][0]
    assert run_validate(source_db.params, plain, roles="none", **client)["target_roles"]["status"] == "pass"


def test_owners_are_let_into_the_public_schema_of_a_database_to_be_made(
    source_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE ROLE boss; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO boss")
    target_cluster.execute("CREATE ROLE maker LOGIN PASSWORD 'plain' CREATEDB CREATEROLE")
    there = target_cluster.params("not_there_yet", "maker", "plain")
    assert run_validate(source_db.params, there)["target_owners"]["status"] == "pass"
    source_db.execute(sql.SQL("ALTER DATABASE {} OWNER TO boss").format(sql.Identifier(source_db.name)))
    assert run_validate(source_db.params, there)["target_owners"]["status"] == "pass"


def test_owners_of_views_routines_types_and_the_rest_must_be_usable_on_the_target_too(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    owned = {
        "of_view": "VIEW v",
        "of_function": "FUNCTION f()",
        "of_type": "TYPE e",
        "of_statistics": "STATISTICS p_statistics",
        "of_what_stays": "VIEW away.w",
    }
    source_db.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text); CREATE VIEW v AS SELECT id FROM p; CREATE TYPE e AS ENUM ('a');"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE STATISTICS p_statistics ON id, v FROM p;"
        "CREATE SCHEMA away; CREATE TABLE away.t (id int PRIMARY KEY); CREATE VIEW away.w AS SELECT id FROM away.t;"
        + "".join(f"CREATE ROLE {role}; ALTER {item} OWNER TO {role};" for role, item in owned.items())
    )
    target_db.execute(
        "CREATE ROLE me LOGIN CREATEROLE PASSWORD 'plain';" + "".join(f"CREATE ROLE {role};" for role in owned)
    )
    plain = {**target_db.params, "user": "me", "password": "plain"}
    options = {"client_bin_dir": str(target_cluster.client_dir)}
    found = run_validate(source_db.params, plain, {"exclude_schemas": ["away"]}, **options)["target_roles"]
    assert set(owned) & set(found["objects"]) == set(owned) - {"of_what_stays"}
    target_db.execute(found["remedy"].split("\n-- or")[0])
    cured = run_validate(source_db.params, plain, {"exclude_schemas": ["away"]}, **options)["target_roles"]
    assert cured["objects"] == ["postgres"]  # of the table itself


def test_nobody_is_made_a_superuser_for_what_a_superuser_owns(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY); CREATE ROLE other; ALTER TABLE p OWNER TO other")
    source_db.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    target_db.execute("CREATE ROLE me LOGIN CREATEROLE PASSWORD 'plain'; CREATE ROLE other")
    plain = {**target_db.params, "user": "me", "password": "plain"}
    options = {"client_bin_dir": str(target_cluster.client_dir)}
    found = run_validate(source_db.params, plain, **options)["target_roles"]
    assert found["objects"] == ["other", "postgres"]
    assert 'GRANT "other" TO "me";' in found["remedy"]
    assert 'GRANT "postgres"' not in found["remedy"]
    target_db.execute(found["remedy"])
    source_db.execute("ALTER FUNCTION f() OWNER TO other")
    assert run_validate(source_db.params, plain, **options)["target_roles"]["status"] == "pass"


def test_a_plain_role_that_cannot_create_the_database_is_told_so(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target_cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = target_cluster.params(HOSTILE, "me", "plain")
    report = run_validate(source_db.params, plain, client_bin_dir=str(target_cluster.client_dir))
    assert report["target_create_privilege"]["status"] == "fail"
    assert report["subscription_probe"]["status"] == "unknown"
    assert "subscription_probe" in report.error.details["checks"]  # type: ignore[union-attr]
    for statement in report["target_create_privilege"]["remedy"].split("\n-- or: "):
        target_cluster.execute(statement)
    report = run_validate(source_db.params, plain, client_bin_dir=str(target_cluster.client_dir))
    assert report["target_create_privilege"]["status"] == "pass"


def test_the_replication_role_is_checked_and_used(
    source_db: Database, source_cluster: Cluster, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    role = {"user": HOSTILE, "password": 'it\'s "secret" \\ pass'}
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report["source_replication_attribute"]["objects"] == [f"{HOSTILE} (does not exist)"]
    assert report["subscription_probe"]["status"] == "fail"
    source_db.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(HOSTILE), sql.Literal(role["password"]))
    )
    source_db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(source_db.name)))
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report["source_replication_attribute"]["objects"] == [HOSTILE, f"{HOSTILE} (CONNECT)"]
    source_db.execute(report["source_replication_attribute"]["remedy"])
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report.error is None
    wrong = {**role, "password": "hunter2-wrong"}
    report = run_validate(source_db.params, target_db.params, replication_role=wrong, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "hunter2" not in str(report)


@pytest.mark.fires("source_passwords")
def test_passwords_that_cannot_be_read_are_named(
    plain_source: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    source_db.execute(f'CREATE ROLE {H[:-1]} app" LOGIN; ALTER TABLE s.t OWNER TO {H[:-1]} app"')
    found = run_validate(plain_source, target_db.params)["source_passwords"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "warning", [f"{HOSTILE} app"])
    assert run_validate(plain_source, target_db.params, roles="none")["source_passwords"]["status"] == "pass"
    readable, by_hand = found["remedy"].split(
        "\n-- or give them passwords on the target, between init and the cut-over:\n"
    )
    source_db.execute(readable)
    assert run_validate(plain_source, target_db.params)["source_passwords"]["status"] == "pass"
    target_db.execute(f'CREATE ROLE {H[:-1]} app" LOGIN')
    target_db.execute(by_hand)


@pytest.mark.fires("target_owner_rights")
def test_an_owner_whose_rights_are_not_inherited_is_found(source_db: Database, target_db: Database) -> None:
    source_db.execute(f"CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO {H}")
    target_db.execute(f"CREATE ROLE me LOGIN PASSWORD 'plain'; CREATE ROLE {H}; GRANT {H} TO me WITH INHERIT FALSE")
    plain = {**target_db.params, "user": "me", "password": "plain"}
    report = run_validate(source_db.params, plain)
    assert report["target_roles"]["status"] == "pass"
    assert (report["target_owner_rights"]["status"], report["target_owner_rights"]["objects"]) == ("fail", [HOSTILE])
    target_db.execute(report["target_owner_rights"]["remedy"])
    assert run_validate(source_db.params, plain)["target_owner_rights"]["status"] == "pass"


def test_before_16_owners_must_be_there_and_ours(source_db: Database, make_cluster: Callable[..., Cluster]) -> None:
    source_db.execute(f"CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO {H}")
    cluster = make_cluster(15)
    cluster.execute("CREATE ROLE me LOGIN NOINHERIT PASSWORD 'plain'")
    plain = cluster.params("postgres", "me", "plain")
    for check in ("target_roles", "target_owner_rights"):
        found = run_validate(source_db.params, plain)[check]
        assert (found["status"], found["objects"]) == ("fail", [HOSTILE])
        cure(found["remedy"], Database(cluster, "postgres"))
        assert run_validate(source_db.params, plain)[check]["status"] == "pass"


def test_before_16_whoever_makes_an_owner_has_to_inherit_its_rights(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute(f"CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO {H}")
    cluster = make_cluster(15)
    cluster.execute("CREATE ROLE me LOGIN NOINHERIT CREATEROLE PASSWORD 'plain'")
    plain = cluster.params("postgres", "me", "plain")
    report = run_validate(source_db.params, plain)
    assert report["target_roles"]["status"] == "pass"
    assert (report["target_owner_rights"]["status"], report["target_owner_rights"]["objects"]) == ("fail", [HOSTILE])
    cluster.execute(report["target_owner_rights"]["remedy"])
    assert run_validate(source_db.params, plain)["target_owner_rights"]["status"] == "pass"


@pytest.mark.fires("existing_roles")
def test_a_role_that_the_target_has_and_that_differs_is_named(source_db: Database, target_db: Database) -> None:
    source_db.execute(f"CREATE ROLE {H} LOGIN; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO {H}")
    target_db.execute(f"CREATE ROLE {H}")
    found = run_validate(source_db.params, target_db.params)["existing_roles"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == [f"{HOSTILE}: exists on the target and differs: NOLOGIN there. It was not changed"]
    target_db.execute(f"ALTER ROLE {H} LOGIN")
    assert run_validate(source_db.params, target_db.params)["existing_roles"]["status"] == "pass"


def test_a_role_whose_password_differs_on_the_target_is_named_and_no_hash_is_shown(
    source_db: Database, target_db: Database
) -> None:
    source_db.execute(f"CREATE ROLE {H} LOGIN PASSWORD 'ours-1'; CREATE TABLE p (id int PRIMARY KEY)")
    source_db.execute(f"ALTER TABLE p OWNER TO {H}")
    target_db.execute(f"CREATE ROLE {H} LOGIN PASSWORD 'theirs-2'")

    def found(**options: Any) -> dict[str, Any]:
        result: dict[str, Any] = run_validate(source_db.params, target_db.params, **options)["existing_roles"]
        return result

    assert (found()["status"], found()["severity"]) == ("fail", "warning")
    assert "another password there, or the same one hashed anew" in found()["objects"][0]
    assert "SCRAM" not in str(found())
    assert found(role_passwords={HOSTILE: "theirs-2"})["status"] == "pass"
    assert "another password there than role_passwords says" in found(role_passwords={HOSTILE: "ours-1"})["objects"][0]
    target_db.execute(f"ALTER ROLE {H} PASSWORD NULL")
    assert "no password there" in found()["objects"][0]
    # The same hash on both sides: one that an earlier migration, or pg_dumpall, brought.
    [(verifier,)] = source_db.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [HOSTILE])
    target_db.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(HOSTILE), sql.Literal(verifier)))
    assert found()["status"] == "pass"
    both = "SET password_encryption = 'md5'; ALTER ROLE {} PASSWORD '{}'"
    source_db.execute(both.format(H, "ours-1"))
    target_db.execute(both.format(H, "theirs-2"))
    assert "differs: another password there. It was not changed" in found()["objects"][0]
    assert found(role_passwords={HOSTILE: "theirs-2"})["status"] == "pass"


def test_a_password_that_cannot_be_compared_is_unknown(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE ROLE app LOGIN PASSWORD 'here'; CREATE TABLE p (id int PRIMARY KEY)")
    source_db.execute("ALTER TABLE p OWNER TO app")
    target_db.execute(f"CREATE ROLE app LOGIN PASSWORD 'other'; CREATE ROLE {H} LOGIN PASSWORD 'plain'")
    plain = target_cluster.params(target_db.name, HOSTILE, "plain")
    found = run_validate(source_db.params, plain)["existing_roles"]
    assert (found["status"], found["severity"], found["objects"]) == ("unknown", "warning", ["app"])
    assert "pg_authid" in found["detail"]


@pytest.mark.fires("role_options")
@pytest.mark.parametrize("option", ["roles", "role_passwords"])
def test_a_role_that_the_source_does_not_have_is_found_by_a_check_of_its_own(
    source_db: Database, target_db: Database, option: str
) -> None:
    source_db.execute("CREATE ROLE app LOGIN; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO app")
    report = run_validate(source_db.params, target_db.params, **{option: {HOSTILE: "other", "app": "another"}})
    found = report["role_options"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "blocker", [HOSTILE])
    assert option in found["detail"]
    assert report["stronger_owners"]["status"] == "skipped"
    assert "role_options" not in report.with_status("unknown")
    assert report.error is not None
    assert f"role_options: {option} names roles that the source does not have" in report.error.message
    assert (
        run_validate(source_db.params, target_db.params, **{option: {"app": "another"}})["role_options"]["status"]
        == "pass"
    )


@pytest.mark.fires("role_attributes")
def test_what_a_new_role_will_not_get_is_named(source_db: Database, target_db: Database) -> None:
    source_db.execute(f"CREATE ROLE {H} SUPERUSER; CREATE TABLE p (id int PRIMARY KEY); GRANT SELECT ON p TO {H}")
    found = run_validate(source_db.params, target_db.params)["role_attributes"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == [f"role {HOSTILE}: SUPERUSER is never given to a new role"]
    source_db.execute(f"ALTER ROLE {H} NOSUPERUSER")
    assert run_validate(source_db.params, target_db.params)["role_attributes"]["status"] == "pass"


@pytest.mark.fires("wider_memberships")
@pytest.mark.silent("wider_memberships")
def test_memberships_that_give_more_before_16_are_named_before_anything_is_written(
    make_cluster: Callable[..., Cluster], target_db: Database
) -> None:
    source, target = make_cluster(16), make_cluster(15)
    source.execute(
        f"CREATE ROLE {H}; CREATE ROLE team; CREATE ROLE tool; CREATE ROLE quiet NOINHERIT; CREATE TABLE p (id int PRIMARY KEY);"
        f"GRANT SELECT ON p TO team; GRANT team TO {H} WITH INHERIT FALSE; GRANT team TO tool WITH SET FALSE;"
        "GRANT team TO quiet WITH INHERIT FALSE"
    )
    report = run_validate(source.params(), target.params())
    found = report["wider_memberships"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert [each.partition(":")[0] for each in found["objects"]] == [
        f"membership of {HOSTILE} in team",
        "membership of tool in team",
    ]
    assert "without SET ROLE" in found["objects"][0] and "by SET ROLE" in found["objects"][1]
    assert report["role_attributes"]["status"] == "pass"
    # From 16 on they are what they are, and a role that is there gets none.
    assert run_validate(source.params(), target_db.params)["wider_memberships"]["status"] == "pass"
    target.execute(f"CREATE ROLE {H}; CREATE ROLE tool")
    assert run_validate(source.params(), target.params())["wider_memberships"]["status"] == "pass"


def test_before_14_each_object_is_granted(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(13)
    cluster.execute(
        f"CREATE ROLE me LOGIN PASSWORD 'plain'; CREATE SCHEMA {H}; CREATE TABLE {H}.{H} (id int PRIMARY KEY);"
        f"CREATE SEQUENCE {H}.s"
    )
    plain = cluster.params("postgres", "me", "plain")
    found = run_validate(plain, target_db.params)["source_readable"]
    assert (found["status"], found["objects"]) == ("fail", [HOSTILE, f"{HOSTILE}.{HOSTILE}", f"{HOSTILE}.s"])
    cure(found["remedy"], Database(cluster, "postgres"))
    assert run_validate(plain, target_db.params)["source_readable"]["status"] == "pass"


@pytest.mark.fires("target_owner")
def test_the_role_that_is_to_own_everything_must_be_there_or_be_made(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE ROLE app; CREATE TABLE p (id int PRIMARY KEY); GRANT SELECT ON p TO app")
    found = run_validate(source_db.params, target_db.params, owner=HOSTILE)["target_owner"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "blocker", [HOSTILE])
    target_db.execute(found["remedy"])
    assert run_validate(source_db.params, target_db.params, owner=HOSTILE)["target_owner"]["status"] == "pass"
    assert run_validate(source_db.params, target_db.params, owner="app")["target_owner"]["status"] == "pass"


ACTING = f"""
CREATE ROLE lim; CREATE ROLE boss; CREATE TABLE secrets (id int PRIMARY KEY, o text); ALTER TABLE secrets OWNER TO boss;
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON secrets TO lim USING (o = 'pub');
GRANT SELECT ON secrets TO lim;
CREATE VIEW {H} AS SELECT * FROM secrets; ALTER VIEW {H} OWNER TO lim; GRANT SELECT ON {H} TO PUBLIC;
CREATE VIEW own AS SELECT * FROM secrets; ALTER VIEW own OWNER TO lim;
CREATE VIEW invoked WITH (security_invoker = on) AS SELECT * FROM secrets; ALTER VIEW invoked OWNER TO lim;
GRANT SELECT ON invoked TO PUBLIC; GRANT SELECT ON invoked TO lim;
CREATE VIEW through AS SELECT * FROM invoked; ALTER VIEW through OWNER TO lim; GRANT SELECT ON through TO PUBLIC;
CREATE TABLE open (id int PRIMARY KEY); GRANT SELECT ON open TO lim;
CREATE VIEW harmless AS SELECT * FROM open; ALTER VIEW harmless OWNER TO lim; GRANT SELECT ON harmless TO PUBLIC;
CREATE FUNCTION f() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user::text';
CREATE FUNCTION g() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::text'; REVOKE ALL ON FUNCTION g() FROM PUBLIC;
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
REVOKE ALL ON FUNCTION t() FROM PUBLIC;
ALTER FUNCTION f() OWNER TO lim; ALTER FUNCTION g() OWNER TO lim; ALTER FUNCTION t() OWNER TO lim;
"""


@pytest.mark.fires("stronger_owners")
@pytest.mark.silent("stronger_owners")
def test_nothing_acts_for_others_as_a_stronger_owner(source_db: Database, target_db: Database) -> None:
    source_db.execute(ACTING)
    assert run_validate(source_db.params, target_db.params)["stronger_owners"]["status"] == "pass"
    target_db.execute("CREATE ROLE other")
    mapped = run_validate(source_db.params, target_db.params, roles={"lim": "other"})["stronger_owners"]
    assert mapped["status"] == "pass"
    for options in ({"roles": {"lim": None}}, {"roles": "none"}, {"owner": target_db.params["user"]}):
        found = run_validate(source_db.params, target_db.params, **options)["stronger_owners"]
        assert (found["status"], found["severity"]) == ("fail", "blocker")
        assert {each.partition(" (")[0] for each in found["objects"]} == {
            f"view public.{HOSTILE}",
            "view public.through",
            "routine public.f()",
            "routine public.t()",
        }
    # A role without more rights than its own is another role all the same; as the owner of the rows it sees them all.
    found = run_validate(source_db.params, target_db.params, owner="other")["stronger_owners"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    source_db.execute("ALTER TABLE secrets FORCE ROW LEVEL SECURITY")
    found = run_validate(source_db.params, target_db.params, owner="other")["stronger_owners"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert [each.partition(" (")[0] for each in found["objects"]] == ["routine public.f()", "routine public.t()"]
    found = run_validate(source_db.params, target_db.params, roles="none")["stronger_owners"]
    target_db.execute(found["remedy"])
    assert run_validate(source_db.params, target_db.params, roles="none")["stronger_owners"]["status"] == "pass"
    # A superuser's could do everything before.
    source_db.execute("ALTER ROLE lim SUPERUSER")
    assert run_validate(source_db.params, target_db.params, roles={"lim": None})["stronger_owners"]["status"] == "pass"


def test_a_provider_s_own_role_was_never_narrow(source_db: Database, target_db: Database) -> None:
    source_db.execute(ACTING.replace("lim", "neon_superuser"))
    found = run_validate(source_db.params, target_db.params)["stronger_owners"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
