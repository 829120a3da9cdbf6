# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles arrive as they were: attributes, settings, memberships, passwords; by policy, by mapping, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import init
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case

SETTINGS = """
SELECT r.rolname, s.setdatabase <> 0 AS in_database, s.setconfig
  FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole
 ORDER BY 1, 2
"""
ATTRIBUTES = """
SELECT rolname, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
       rolconnlimit, rolvaliduntil::text, shobj_description(oid, 'pg_authid')
  FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres' ORDER BY rolname
"""
MEMBERS = """
SELECT g.rolname, u.rolname, m.admin_option
  FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS u ON u.oid = m.member
 WHERE u.rolname !~ '^pg_' ORDER BY 1, 2
"""
MEMBERS_16 = """
SELECT g.rolname, u.rolname, b.rolname, m.admin_option, m.inherit_option, m.set_option
  FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS u ON u.oid = m.member
  JOIN pg_roles AS b ON b.oid = m.grantor
 WHERE u.rolname !~ '^pg_' ORDER BY 1, 2, 3
"""
NAMES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres' ORDER BY 1"
# Words of SQL, wildcards, quotes, what looks like PUBLIC or like one of PostgreSQL's own, the longest name there is.
HOSTILE = [
    'Weird "Näme"; --',
    "asset_ro",
    "set",
    "all",
    "Public",
    "current_role",
    "%s {} $1",
    "back\\slash 'quote'",
    "pgx",
    "r" * 63,
    "two\nlines",
]


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    return Case(source_db, target_db)


def left(data: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["reason"] for item in data["left"]}


def names(database: Database) -> list[str]:
    return [row[0] for row in database.execute(NAMES)]


def test_settings_of_a_role_arrive_with_their_lists_intact(case: Case) -> None:
    role = '"Owner, \'of\' ""it"""'
    source = case.source
    source.execute(f"CREATE ROLE {role} LOGIN")
    source.execute(f"ALTER ROLE {role} SET search_path TO 'a', 'we, ird \"x\"', '$user', ''")
    source.execute(f"ALTER ROLE {role} IN DATABASE {source.name} SET work_mem TO '7MB'")
    source.execute(f"ALTER ROLE {role} SET my.own TO 'a, b'")
    source.execute(f"ALTER TABLE t OWNER TO {role}")
    result = case.init()
    assert result.data["left"] == []
    assert case.target.execute(SETTINGS) == source.execute(SETTINGS)


def test_hostile_names_arrive_with_attributes_members_settings_and_comments(case: Case) -> None:
    for number, role in enumerate(HOSTILE):
        name, group = sql.Identifier(role), sql.Identifier(HOSTILE[number - 1])
        case.source.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB CONNECTION LIMIT {}").format(name, number))
        case.source.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(role)))
        case.source.execute(sql.SQL("ALTER ROLE {} SET my.own TO {}").format(name, sql.Literal(role)))
        case.source.execute(sql.SQL("GRANT SELECT ON t TO {}").format(name))
        if number:
            case.source.execute(sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(group, name))
    assert case.init().data["left"] == []
    for query in (ATTRIBUTES, MEMBERS, SETTINGS):
        assert case.target.execute(query) == case.source.execute(query)


# --- which roles -----------------------------------------------------------------------------------------------------


@pytest.fixture
def company(case: Case) -> Case:
    """A group that is granted something, with a member that logs in, and others that have nothing to do with it."""
    case.source.execute("CREATE ROLE team; CREATE ROLE ann LOGIN CREATEDB IN ROLE team; CREATE ROLE job IN ROLE ann")
    case.source.execute("CREATE ROLE stranger LOGIN; CREATE ROLE friend LOGIN IN ROLE stranger")
    case.source.execute("GRANT SELECT ON t TO team")
    return case


def test_members_of_a_role_that_is_granted_something_arrive_and_log_in(company: Case, target_cluster: Cluster) -> None:
    company.source.execute("ALTER ROLE ann PASSWORD 'hers'")
    company.init()
    assert names(company.target) == ["ann", "job", "team"]
    assert company.target.execute(MEMBERS) == [("ann", "job", False), ("team", "ann", False)]
    with psycopg.connect(target_cluster.dsn(company.target.name, "ann", "hers")) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_all_roles_of_the_server_arrive_when_asked_for(company: Case) -> None:
    company.source.execute("CREATE ROLE rds_superuser CREATEROLE")
    assert company.init(roles="all").data["left"] == []
    assert names(company.target) == ["ann", "friend", "job", "stranger", "team"]
    assert company.target.execute(MEMBERS) == company.source.execute(MEMBERS)


def test_a_role_called_otherwise_on_the_target_is_made_under_that_name_or_used(company: Case) -> None:
    new = 'Ann "of" the target'
    company.source.execute("ALTER TABLE t OWNER TO ann; ALTER ROLE ann SET work_mem = '7MB'")
    company.target.execute("CREATE ROLE existing NOLOGIN")
    data = company.init(roles={"ann": new, "team": "existing", "job": None}).data
    assert names(company.target) == sorted([new, "existing"])
    assert company.target.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'") == [(new,)]
    assert company.target.execute("SELECT has_table_privilege('existing', 't', 'SELECT')") == [(True,)]
    assert company.target.execute(MEMBERS) == [("existing", new, False)]
    assert company.target.execute(SETTINGS) == [(new, False, ["work_mem=7MB"])]
    assert company.target.execute("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", [new]) == [(True,)]
    assert left(data) == {}


def test_an_md5_password_arrives_only_under_its_own_name(company: Case) -> None:
    company.source.execute(
        "SET password_encryption = 'md5'; ALTER ROLE ann PASSWORD 'hers'; ALTER ROLE job PASSWORD 'x'"
    )
    data = company.init(roles={"ann": 'Ann "2"'}).data
    assert "md5" in left(data)['role Ann "2"']
    assert "role job" not in left(data)
    query = "SELECT rolname, left(rolpassword, 3) FROM pg_authid WHERE rolname IN ('Ann \"2\"', 'job') ORDER BY 1"
    assert company.target.execute(query) == [('Ann "2"', None), ("job", "md5")]


def test_what_belongs_to_a_role_that_nobody_stands_for_goes_to_the_connecting_role(company: Case) -> None:
    company.source.execute("ALTER TABLE t OWNER TO ann")
    company.init(roles={"ann": None})
    assert company.target.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'") == [
        ("postgres",)
    ]
    assert names(company.target) == ["job", "team"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"roles": {"nobody of that name": "x"}}, "nobody of that name"),
        ({"roles": {"ann": "pg_of_no_release"}}, "pg_of_no_release"),
        ({"roles": "some"}, "some"),
        ({"role_passwords": {"nobody of that name": "x"}}, "nobody of that name"),
        ({"role_passwords": {"ann": ""}}, "ann"),
    ],
)
def test_options_that_name_what_is_not_there_are_refused_before_anything_is_written(
    company: Case, options: dict[str, Any], word: str
) -> None:
    with pytest.raises(MigrationError) as caught:
        company.init(**options)
    assert word in caught.value.message
    assert names(company.target) == []
    assert company.left_on_source()["publications"] == []


# --- roles of providers ----------------------------------------------------------------------------------------------


def test_a_providers_own_roles_are_not_made_and_what_they_had_is_named(case: Case) -> None:
    case.source.execute(
        "CREATE ROLE cloudsqlsuperuser CREATEDB; CREATE ROLE rds_iam; CREATE ROLE app IN ROLE cloudsqlsuperuser, rds_iam;"
        "ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO cloudsqlsuperuser"
    )
    data = case.init().data
    assert names(case.target) == ["app"]
    assert {"role cloudsqlsuperuser", "membership of app in cloudsqlsuperuser", "membership of app in rds_iam"} <= {
        *left(data)
    }


def test_the_privileged_role_of_a_provider_is_stood_for_by_the_targets(
    case: Case, make_cluster: Callable[..., Cluster]
) -> None:
    """A provider is recognised by a role that has power, where we are no superuser."""
    cluster = make_cluster(17)
    cluster.execute(
        "CREATE ROLE azure_pg_admin NOLOGIN CREATEROLE CREATEDB;"
        "CREATE ROLE adm LOGIN CREATEDB CREATEROLE PASSWORD 'of adm'; GRANT azure_pg_admin TO adm WITH ADMIN OPTION;"
        "GRANT pg_create_subscription, pg_monitor TO adm"
    )
    case.source.execute(
        "CREATE ROLE rds_superuser CREATEDB; CREATE ROLE rds_iam; CREATE ROLE app IN ROLE rds_superuser, rds_iam;"
        "ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO rds_superuser"
    )
    database = create_database(cluster, options="OWNER adm")
    target = AsRole(cluster, database.name)
    data = Case(case.source, target).init(skip_checks=["subscription_probe"]).data
    assert names(target) == ["adm", "app", "azure_pg_admin"]
    assert ("azure_pg_admin", "app", False) in target.execute(MEMBERS)
    assert target.execute("SELECT has_table_privilege('azure_pg_admin', 't', 'SELECT')") == [(True,)]
    assert "membership of app in rds_iam" in left(data)
    assert "membership of app in rds_superuser" not in left(data)


class AsRole(Database):
    """A database reached as role adm; ``execute`` is the superuser's."""

    @property
    def params(self) -> dict[str, Any]:
        return self.cluster.params(self.name, "adm", "of adm")


def test_the_list_of_reserved_roles_is_an_option(case: Case) -> None:
    case.source.execute("CREATE ROLE house_admin; CREATE ROLE rds_of_ours; CREATE ROLE app IN ROLE house_admin")
    case.source.execute("ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO rds_of_ours")
    data = case.init(reserved_roles=["house_*"]).data
    assert names(case.target) == ["app", "rds_of_ours"]
    assert [*left(data)] == ["membership of app in house_admin"]


# --- memberships -----------------------------------------------------------------------------------------------------


def test_memberships_keep_their_options_and_grantors(make_cluster: Callable[..., Cluster]) -> None:
    source, target = (create_database(make_cluster(major)) for major in (16, 18))
    source.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE team; CREATE ROLE boss; CREATE ROLE deputy")
    source.execute("CREATE ROLE app; CREATE ROLE tool; GRANT SELECT ON t TO team")
    source.execute("GRANT team TO deputy WITH ADMIN TRUE, INHERIT FALSE, SET TRUE")
    source.execute("GRANT team TO boss WITH ADMIN TRUE GRANTED BY deputy")
    source.execute("GRANT team TO app WITH INHERIT TRUE, SET FALSE GRANTED BY boss")
    source.execute("GRANT team TO app WITH INHERIT FALSE, SET TRUE GRANTED BY deputy")
    source.execute("GRANT team TO tool WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; GRANT SELECT ON t TO tool")
    assert Case(source, target).init().data["left"] == []
    found = target.execute(MEMBERS_16)
    assert found == source.execute(MEMBERS_16)
    assert len(found) == 5


def test_options_that_an_older_target_does_not_know_are_named(make_cluster: Callable[..., Cluster]) -> None:
    source, target = (create_database(make_cluster(major)) for major in (17, 15))
    source.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE team; CREATE ROLE app; CREATE ROLE tool")
    source.execute("GRANT team TO app WITH INHERIT FALSE; GRANT team TO tool WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    source.execute("CREATE ROLE boss; GRANT team TO boss WITH ADMIN OPTION; GRANT SELECT ON t TO team, tool")
    # Together two grantors give both; and who is NOINHERIT gets no more than he had.
    source.execute("CREATE ROLE twice; CREATE ROLE aside NOINHERIT; CREATE ROLE taker NOINHERIT")
    source.execute("GRANT team TO twice WITH INHERIT FALSE; GRANT team TO twice WITH SET FALSE GRANTED BY boss")
    source.execute("GRANT team TO aside WITH INHERIT FALSE; GRANT team TO taker WITH INHERIT TRUE")
    data = Case(source, target).init().data
    others = [("team", name, False) for name in ("aside", "taker", "twice")]
    assert sorted(target.execute(MEMBERS)) == sorted([("team", "app", False), ("team", "boss", True), *others])
    assert "INHERIT FALSE" in left(data)["membership of app in team"]
    assert "ADMIN OPTION" in left(data)["membership of tool in team"]
    assert "NOINHERIT" in left(data)["membership of taker in team"]
    assert len(data["left"]) == 3


# --- roles that are there --------------------------------------------------------------------------------------------


def test_roles_that_the_target_has_are_compared_and_never_changed(company: Case) -> None:
    company.source.execute("ALTER ROLE ann SET work_mem = '7MB'; ALTER ROLE ann SET my.key = 'secret of ann'")
    company.source.execute(f"ALTER ROLE ann IN DATABASE {company.source.name} SET my.own = 'here'")
    company.target.execute(
        "CREATE ROLE ann CONNECTION LIMIT 3; CREATE ROLE other; GRANT other TO ann; CREATE ROLE team"
    )
    company.target.execute("ALTER ROLE ann SET work_mem = '8MB'")
    query = "SELECT to_jsonb(a) FROM pg_authid AS a WHERE rolname IN ('ann', 'team') ORDER BY 1"
    before, members = company.target.execute(query), company.target.execute(MEMBERS)
    data = company.init().data
    assert company.target.execute(query) == before
    assert company.target.execute(MEMBERS) == [("ann", "job", False), *members]
    reason = left(data)["role ann"]
    for word in ("NOLOGIN there", "NOCREATEDB there", "CONNECTION LIMIT 3", "not a member of team", "member of other",
                 "another value of work_mem", "no setting my.key"):  # fmt: skip
        assert word in reason
    assert "secret of ann" not in str(data)
    assert "role team" not in left(data)
    # What it has set in this database alone belongs to the database.
    assert company.target.execute(SETTINGS) == [("ann", False, ["work_mem=8MB"]), ("ann", True, ["my.own=here"])]


def test_what_the_first_database_could_not_give_a_role_is_told_as_the_same_by_the_second(
    company: Case, target_cluster: Cluster
) -> None:
    company.source.execute("ALTER ROLE job SUPERUSER CREATEDB")
    assert left(company.init().data)["role job"] == "SUPERUSER is never given to a new role"
    second = Case(company.source, create_database(target_cluster), {"name": "second"})
    said = left(second.init().data)["role job"]
    assert (
        "NOSUPERUSER there (never given to a new role). It was not changed; if a migration of another database" in said
    )
    # What somebody has changed since is another matter.
    company.target.execute("ALTER ROLE job NOCREATEDB; ALTER ROLE ann CONNECTION LIMIT 7")
    third = Case(company.source, create_database(target_cluster), {"name": "third"})
    found = left(third.init().data)
    assert "NOCREATEDB there." in found["role job"]
    assert found["role ann"].endswith("It was not changed")


def test_a_role_that_cannot_log_in_on_the_target_with_its_password_is_named(case: Case) -> None:
    case.source.execute("CREATE ROLE app LOGIN PASSWORD 'secret'; GRANT SELECT ON t TO app")
    case.target.execute("CREATE ROLE app LOGIN PASSWORD 'other'")
    foretold = case.init(check_mode=True).data["plan"]["left"]
    data = case.init().data
    assert "another password there" in left(data)["role app"]
    assert foretold == data["left"]
    assert "SCRAM" not in str(data)


def test_check_mode_tells_what_would_be_made_granted_and_lost_and_writes_nothing(company: Case) -> None:
    company.source.execute("ALTER ROLE job SUPERUSER; CREATE ROLE rds_iam; GRANT rds_iam TO ann")
    company.target.execute("CREATE ROLE team LOGIN")
    before = company.target.execute("SELECT to_jsonb(a) FROM pg_authid AS a ORDER BY 1")
    migration = company.migration()
    options = init.InitOptions(jobs=2, client_bin_dir=company.bin_dir, check_mode=True)
    plan = init.run(migration, options).data["plan"]
    assert plan["create_roles"] == ["ann", "job"]
    assert plan["grant_roles"] == ["membership of job in ann", "membership of ann in team"]
    found = left(plan)
    assert found["role job"] == "SUPERUSER is never given to a new role"
    assert "LOGIN there" in found["role team"]
    assert "membership of ann in rds_iam" in found
    assert any('GRANT "ann" TO "job"' in text for text in migration.log.entries)
    assert company.target.execute("SELECT to_jsonb(a) FROM pg_authid AS a ORDER BY 1") == before


# --- settings that lock out ------------------------------------------------------------------------------------------


def test_a_setting_that_loads_what_the_target_lacks_stays_behind(case: Case, target_cluster: Cluster) -> None:
    case.source.execute("CREATE ROLE good LOGIN PASSWORD 'good'; CREATE ROLE bad LOGIN PASSWORD 'bad'")
    case.source.execute("GRANT SELECT ON t TO good, bad")
    case.source.execute("ALTER ROLE good SET session_preload_libraries = 'auto_explain'")
    case.source.execute("ALTER ROLE bad SET session_preload_libraries = 'auto_explain', 'no such library'")
    data = case.init().data
    assert case.target.execute(SETTINGS) == [("good", False, ["session_preload_libraries=auto_explain"])]
    assert "no such library" in left(data)["setting session_preload_libraries of role bad"]
    for role in ("good", "bad"):
        with psycopg.connect(target_cluster.dsn(case.target.name, role, role)):
            pass


# --- settings in the way of the migration ----------------------------------------------------------------------------


def test_settings_never_reach_who_carries_the_changes(case: Case) -> None:
    source, target = case.source, case.target
    source.execute("CREATE ROLE app LOGIN; CREATE ROLE old LOGIN; GRANT SELECT ON t TO app, old")
    source.execute("ALTER TABLE t ADD words text[]")
    target.execute("CREATE ROLE old LOGIN")
    for role in ("postgres", "app", "old"):
        for setting in ("array_nulls = off", "lock_timeout = '100ms'", "temp_tablespaces = x", "work_mem = '7MB'"):
            source.execute(f"ALTER ROLE {role} IN DATABASE {source.name} SET {setting}")
    found = left(case.init().data)
    given = {role: settings for role, _in_database, settings in target.execute(SETTINGS)}
    assert given == {"app": ["array_nulls=off", "lock_timeout=100ms", "work_mem=7MB"], "old": ["work_mem=7MB"]}
    for what in ("array_nulls", "lock_timeout", "temp_tablespaces", "work_mem"):
        assert "role of the connection" in found[f"setting {what} of role postgres in this database"]
    assert "text" in found["setting array_nulls of role old in this database"]
    assert "tablespaces" in found["setting temp_tablespaces of role app in this database"]
    assert "setting lock_timeout of role app in this database" not in found
    case.sync()
    with source.connect() as connection:
        connection.execute("SET array_nulls = on")
        connection.execute("INSERT INTO t VALUES (1, ARRAY['a', NULL])")
    case.wait_until_in_sync()
    assert target.execute("SELECT words[2] IS NULL FROM t") == [(True,)]


def test_values_of_settings_are_shown_nowhere(case: Case) -> None:
    source = case.source
    source.execute("CREATE ROLE app LOGIN; GRANT SELECT ON t TO app; ALTER ROLE app SET app.jwt TO 'top''secret'")
    source.execute("ALTER ROLE app SET TimeZone TO 'UTC'")
    # Neither server accepts it any more, and the message has the value.
    source.execute(
        "UPDATE pg_db_role_setting SET setconfig = array_replace(setconfig, 'TimeZone=UTC', 'TimeZone=hidden/zone')"
    )
    for check_mode in (True, False):
        migration = case.migration()
        options = init.InitOptions(jobs=2, client_bin_dir=case.bin_dir, check_mode=check_mode)
        data = init.run(migration, options).data
        log = "\n".join(migration.log.entries)
        assert 'ALTER ROLE "app" SET "app"."jwt" TO \'********\'' in log
        assert "top" not in log
        assert "secret" not in str(data)
    reason = left(data)["setting TimeZone of role app"]
    assert reason == "the target does not accept its value (SQLSTATE 22023)"
    assert case.target.execute(SETTINGS) == [("app", False, ["app.jwt=top'secret"])]
