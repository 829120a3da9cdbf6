# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of large objects, unlogged and foreign tables, roles and the database itself; ways to the source."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster, nasty_password
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.preflight import HOSTILE, run_validate
from tests.support.sweep import sweep
from tests.support.verified import assert_verified

H = sql.Identifier(HOSTILE).as_string(None)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO t SELECT n, 'row' FROM generate_series(1, 100) AS n")
    return Case(source_db, target_db)


def replicate(case: Case, **options: Any) -> None:
    """sync, then a change that has to arrive."""
    case.sync(**options)
    case.source.execute("INSERT INTO t SELECT coalesce(max(id), 0) + 1, 'later' FROM t")
    case.wait_until_in_sync()
    assert case.compare().differences == []


def left(data: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["reason"] for item in data["left"]}


def refusal(case: Case, **options: Any) -> MigrationError:
    """The error of an init that must not have written anything."""
    with pytest.raises(MigrationError) as caught:
        case.init(**options)
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'seren_migrator'") == [(0,)]
    return caught.value


# --- large objects -------------------------------------------------------------------------------------------------

SIZE = 3 * (1 << 20) + 17


@pytest.fixture
def large(case: Case) -> Case:
    case.source.execute("CREATE ROLE owner1")
    case.source.execute("SELECT lo_from_bytea(4711, decode(repeat('00ff27', 10), 'hex')), lo_create(4712)")
    case.source.execute("SELECT lo_from_bytea(4713, convert_to(repeat('x', %s), 'UTF8'))", [SIZE])
    case.source.execute("ALTER LARGE OBJECT 4712 OWNER TO owner1")
    return case


def test_large_objects_are_copied_once_with_their_owner(large: Case) -> None:
    data = large.init(large_objects="copy").data
    assert left(data)["3 large object(s)"] == "copied once, never replicated"
    query = "SELECT oid, md5(lo_get(oid)), pg_get_userbyid(lomowner) FROM pg_largeobject_metadata ORDER BY oid"
    found = large.target.execute(query)
    assert found == large.source.execute(query)
    assert [(oid, owner) for oid, _hash, owner in found] == [(4711, "postgres"), (4712, "owner1"), (4713, "postgres")]
    replicate(large)


def test_large_objects_can_stay_behind(large: Case) -> None:
    data = large.init(large_objects="skip").data
    assert left(data)["3 large object(s)"] == "large_objects: skip"
    assert large.target.execute("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


def test_large_objects_are_refused_unless_something_is_said_about_them(large: Case) -> None:
    error = refusal(large)
    assert error.details["checks"] == ["large_objects"]


def test_a_large_object_of_the_target_is_not_overwritten(large: Case) -> None:
    large.target.execute("SELECT lo_from_bytea(4712, 'precious')")
    with pytest.raises(MigrationError) as caught:
        large.init(large_objects="copy")
    assert caught.value.code == "target_not_empty"
    assert large.target.execute("SELECT lo_get(4712)") == [(b"precious",)]
    assert {**large.left_on_source(), "schemas": []} == NOTHING


# --- unlogged tables -----------------------------------------------------------------------------------------------


@pytest.fixture
def unlogged(case: Case) -> Case:
    case.source.execute("CREATE UNLOGGED TABLE u (id int, v text)")
    case.source.execute("INSERT INTO u SELECT n, 'row' FROM generate_series(1, 50) AS n")
    case.source.execute("CREATE TABLE p (id int) PARTITION BY RANGE (id)")
    case.source.execute("CREATE UNLOGGED TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    case.source.execute("INSERT INTO p VALUES (1)")
    return case


def counts(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT (SELECT count(*) FROM u), (SELECT count(*) FROM p)")


def test_unlogged_tables_are_copied_once_and_never_replicated(unlogged: Case) -> None:
    data = unlogged.init(unlogged_tables="copy").data
    unlogged.sync()
    unlogged.source.execute("INSERT INTO u VALUES (51, 'later')")
    unlogged.source.execute("INSERT INTO t VALUES (101, 'later')")
    unlogged.wait_until_in_sync()
    assert left(data)["unlogged table public.u"] == "copied once, never replicated"
    assert counts(unlogged.target) == [(50, 1)]
    assert {(t["name"], t["kind"], t["stream"]) for t in data["tables"]} == {
        ("t", "table", 1), ("u", "unlogged", None), ("p1", "unlogged", None),
    }  # fmt: skip


def test_unlogged_tables_can_be_created_empty(unlogged: Case) -> None:
    data = unlogged.init(unlogged_tables="skip").data
    assert left(data)["unlogged table public.u"] == "rows are not copied"
    assert counts(unlogged.target) == [(0, 0)]
    assert unlogged.target.execute("SELECT relpersistence FROM pg_class WHERE relname = 'u'") == [("u",)]
    unlogged.sync()
    unlogged.source.execute("INSERT INTO t VALUES (101, 'later')")
    unlogged.wait_until_in_sync()
    assert_verified(unlogged.verify())


def test_unlogged_tables_can_be_a_reason_to_refuse(unlogged: Case) -> None:
    assert refusal(unlogged, unlogged_tables="fail").details["checks"] == ["unlogged_tables"]


# --- foreign tables ------------------------------------------------------------------------------------------------

MAPPING_SECRET = 'it\'s \\ a "secret");\n of the mapping'


@pytest.fixture
def foreign(case: Case) -> Case:
    """A foreign table with comments, privileges and views over it, behind a user mapping with a password."""
    case.source.execute("CREATE EXTENSION postgres_fdw")
    case.source.execute(f"CREATE ROLE {H}")
    case.source.execute("CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid')")
    for role in ("postgres", H):
        mapping = sql.SQL("CREATE USER MAPPING FOR {} SERVER other OPTIONS (user 'someone', password {})")
        case.source.execute(mapping.format(sql.SQL(role), sql.Literal(MAPPING_SECRET)))
    case.source.execute("CREATE FOREIGN TABLE f (id serial, v text) SERVER other")
    case.source.execute("COMMENT ON FOREIGN TABLE f IS 'far away'")
    case.source.execute("COMMENT ON COLUMN f.v IS 'very far away'")
    case.source.execute(f"GRANT SELECT (v) ON f TO {H}")
    case.source.execute("CREATE VIEW over_f AS SELECT v FROM f")
    case.source.execute("COMMENT ON VIEW over_f IS 'reads far away'")
    case.source.execute("CREATE MATERIALIZED VIEW stored_f AS SELECT v FROM f WITH NO DATA")
    case.source.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    case.source.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    case.source.execute("INSERT INTO p VALUES (1)")
    return case


def relations(database: Database, kinds: str) -> set[str]:
    query = """
        SELECT relname FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND position(relkind::text IN %s) > 0
    """
    return {name for (name,) in database.execute(query, [kinds])}


def test_foreign_tables_are_created_without_the_secrets_of_user_mappings(foreign: Case) -> None:
    seen: list[bytes] = []

    def look(_event: Any) -> None:
        found = foreign.target.execute("SELECT to_regclass('seren_migrator.schema_dump') IS NOT NULL")
        if found == [(True,)]:
            seen.extend(
                bytes(row[0]) for row in foreign.target.execute("SELECT archive FROM seren_migrator.schema_dump")
            )

    foreign.init(look)
    assert any(b"CREATE USER MAPPING" in archive for archive in seen)
    assert not [archive for archive in seen if b"secret" in archive or b"of the mapping" in archive]
    assert relations(foreign.target, "fvm") == {"f", "over_f", "stored_f"}
    assert foreign.target.execute("SELECT count(*) FROM pg_user_mapping") == [(0,)]
    assert foreign.target.execute("SELECT srvname FROM pg_foreign_server") == [("other",)]
    assert foreign.target.execute("SELECT col_description('f'::regclass, 2)") == [("very far away",)]
    foreign.source.execute("DROP MATERIALIZED VIEW stored_f; DROP VIEW over_f; DROP FOREIGN TABLE f")
    foreign.sync()
    foreign.wait_until_in_sync()


def test_foreign_tables_can_stay_behind_with_what_reads_them(foreign: Case) -> None:
    data = foreign.init(foreign_tables="skip").data
    assert left(data) == {
        "foreign table public.f": "foreign_tables: skip",
        "view public.over_f": "not selected, or depends on what is not",
        "materialized view public.stored_f": "not selected, or depends on what is not",
        "user mapping for postgres on server other": "user_mappings: skip",
        f"user mapping for {HOSTILE} on server other": "user_mappings: skip",
    }
    assert relations(foreign.target, "rpfvm") == {"t", "p", "p1"}
    foreign.sync()
    foreign.source.execute("INSERT INTO p VALUES (2)")
    foreign.wait_until_in_sync()
    assert foreign.target.execute("SELECT count(*) FROM p") == [(2,)]
    assert_verified(foreign.verify())


def test_a_view_over_a_foreign_table_waits_for_its_user_mapping(case: Case, source_cluster: Cluster) -> None:
    server = sql.SQL("CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (port {}, host '127.0.0.1')")
    mapping = sql.SQL("CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'postgres', password {})").format(
        sql.Literal(source_cluster.password)
    )
    case.source.execute("CREATE EXTENSION postgres_fdw")
    case.source.execute(server.format(sql.Literal(str(source_cluster.port))))
    case.source.execute(mapping)
    options = "OPTIONS (schema_name 'pg_catalog', table_name 'pg_tablespace')"
    case.source.execute(f"CREATE FOREIGN TABLE f (spcname name) SERVER other {options}")
    case.source.execute("CREATE MATERIALIZED VIEW stored AS SELECT count(*) AS n FROM f")
    report = run_validate(case.source.params, case.target.params, client_bin_dir=case.bin_dir)
    assert (report["foreign_tables"]["status"], report["foreign_tables"]["objects"]) == ("fail", ["public.stored"])
    assert report.error is None
    left = {item["object"]: item["reason"] for item in case.init().data["left"]}
    assert "user mapping not found" in left["rows of materialized view public.stored"]
    case.target.execute(mapping)
    case.target.execute("REFRESH MATERIALIZED VIEW stored")
    assert case.target.execute("SELECT n FROM stored") == [(2,)]
    replicate(case)


def test_a_foreign_partition_can_stay_behind(foreign: Case) -> None:
    foreign.source.execute("DROP TABLE p")
    foreign.source.execute("CREATE TABLE q (id int, v text) PARTITION BY RANGE (id)")
    foreign.source.execute("CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (0) TO (10)")
    foreign.source.execute("CREATE FOREIGN TABLE q2 PARTITION OF q FOR VALUES FROM (10) TO (20) SERVER other")
    foreign.source.execute("ALTER TABLE q1 REPLICA IDENTITY FULL")
    foreign.init(foreign_tables="skip")
    foreign.sync()
    foreign.source.execute("INSERT INTO q VALUES (2, 'x')")
    foreign.wait_until_in_sync()
    assert relations(foreign.target, "rpf") == {"t", "q", "q1"}
    assert foreign.target.execute("SELECT * FROM q1") == [(2, "x")]


def test_foreign_tables_can_be_a_reason_to_refuse(foreign: Case) -> None:
    assert refusal(foreign, foreign_tables="fail").details["checks"] == ["foreign_tables"]


# --- roles ---------------------------------------------------------------------------------------------------------

ATTRIBUTES = """
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
       rolconnlimit, rolvaliduntil::text, shobj_description(oid, 'pg_authid')
  FROM pg_roles WHERE rolname IN ('owner1', 'reader', 'team', 'all_of_it', %s) ORDER BY rolname
"""
# Release 17 has one privilege more, MAINTAIN.
PRIVILEGES = """
SELECT pg_get_userbyid(c.relowner), pg_get_userbyid(a.grantee), a.privilege_type
  FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
 WHERE c.relname = 't' AND a.privilege_type <> 'MAINTAIN' ORDER BY 2, 3
"""
MEMBERS = """
SELECT g.rolname, u.rolname, m.admin_option
  FROM pg_auth_members AS m
  JOIN pg_roles AS g ON g.oid = m.roleid
  JOIN pg_roles AS u ON u.oid = m.member
 WHERE u.rolname !~ '^pg_' ORDER BY 1, 2
"""


@pytest.fixture
def roles(case: Case) -> Case:
    case.source.execute("CREATE ROLE owner1 NOINHERIT CREATEDB CONNECTION LIMIT 7 VALID UNTIL '2040-01-01 00:00:00+00'")
    case.source.execute("CREATE ROLE reader LOGIN BYPASSRLS REPLICATION CREATEROLE")
    case.source.execute("CREATE ROLE team; CREATE ROLE all_of_it; CREATE ROLE unrelated LOGIN")
    case.source.execute("COMMENT ON ROLE owner1 IS 'owns things'")
    case.source.execute("GRANT team TO reader WITH ADMIN OPTION; GRANT all_of_it TO team; GRANT pg_monitor TO reader")
    case.source.execute(f"CREATE ROLE {H} LOGIN")
    case.source.execute("ALTER TABLE t OWNER TO owner1")
    case.source.execute(f"GRANT SELECT ON t TO reader, {H}")
    return case


def test_the_roles_that_are_referred_to_arrive_with_attributes_and_memberships(roles: Case) -> None:
    roles.init()
    assert roles.target.execute(ATTRIBUTES, [HOSTILE]) == roles.source.execute(ATTRIBUTES, [HOSTILE])
    assert roles.target.execute(MEMBERS) == roles.source.execute(MEMBERS)
    assert roles.target.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'unrelated'") == [(0,)]
    assert roles.target.execute(PRIVILEGES) == roles.source.execute(PRIVILEGES)
    replicate(roles)


def test_a_role_logs_in_with_the_password_it_had(roles: Case, target_cluster: Cluster) -> None:
    password = nasty_password()
    roles.source.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(HOSTILE), sql.Literal(password)))
    verifier = roles.source.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [HOSTILE])[0][0]
    migration = roles.migration()
    roles.init()
    with psycopg.connect(target_cluster.dsn(roles.target.name, HOSTILE, password)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (100,)
    assert verifier not in str(migration.log.entries)


def test_a_role_that_exists_on_the_target_is_not_changed(roles: Case) -> None:
    roles.target.execute("CREATE ROLE owner1 LOGIN PASSWORD 'its own'; CREATE ROLE team")
    query = "SELECT to_jsonb(a) FROM pg_authid AS a WHERE rolname IN ('owner1', 'team') ORDER BY rolname"
    before = roles.target.execute(query)
    roles.init()
    assert roles.target.execute(query) == before
    assert roles.target.execute(MEMBERS) == [("pg_monitor", "reader", False), ("team", "reader", True)]


def test_a_superuser_arrives_without_its_power_and_is_named(roles: Case) -> None:
    roles.source.execute("ALTER ROLE owner1 SUPERUSER")
    data = roles.init().data
    assert left(data)["role owner1"] == "SUPERUSER is never given to a new role"
    assert roles.target.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'owner1'") == [(False,)]


def test_without_roles_everything_arrives_and_belongs_to_the_migrating_role(roles: Case) -> None:
    roles.source.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    roles.source.execute("CREATE POLICY for_reader ON t TO reader USING (id > 5)")
    roles.source.execute("COMMENT ON POLICY for_reader ON t IS 'needs its role'")
    roles.source.execute("CREATE POLICY for_all ON t USING (true)")
    roles.source.execute("ALTER DEFAULT PRIVILEGES FOR ROLE owner1 GRANT SELECT ON TABLES TO reader")
    data = roles.init(roles="none").data
    assert roles.target.execute("SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'") == [(1,)]
    assert roles.target.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'") == [("postgres",)]
    assert roles.target.execute("SELECT polname FROM pg_policy") == [("for_all",)]
    assert "policy for_reader on table public.t" in left(data)
    assert any("owner1" in reason for reason in left(data).values())
    replicate(roles)


def test_without_roles_owners_and_privileges_stay_where_every_role_is_there(roles: Case) -> None:
    roles.target.execute(f"CREATE ROLE owner1; CREATE ROLE reader; CREATE ROLE {H}")
    roles.init(roles="none")
    assert roles.target.execute(PRIVILEGES) == roles.source.execute(PRIVILEGES)
    assert roles.target.execute(MEMBERS) == []


# --- the database --------------------------------------------------------------------------------------------------


def test_an_absent_database_is_created_like_the_sources(source_cluster: Cluster, target_cluster: Cluster) -> None:
    source_cluster.execute("CREATE ROLE owner1")
    name = 'Odd "db"; --'  # a name beyond ASCII cannot be told apart in databases of several encodings
    source = create_database(
        source_cluster, name, "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER owner1"
    )
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source.execute("INSERT INTO t VALUES (1, 'Größe')")
    case = Case(source, Database(target_cluster, name))
    try:
        assert case.status().data["state"] == "absent"
        assert case.init(check_mode=True).data["plan"]["create_database"] is True
        case.init()
        query = """
            SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba)
              FROM pg_database WHERE datname = %s
        """
        assert target_cluster.execute(query, parameters=[name]) == [("LATIN1", "C", "C", "owner1")]
        replicate(case)
        assert not case.init().changed
        case.cleanup()
    finally:
        sweep(target_cluster)
        sweep(source_cluster)


# --- ways to the source --------------------------------------------------------------------------------------------


def used_by_subscription(case: Case) -> dict[str, Any]:
    return dict(conninfo_to_dict(case.target.execute("SELECT subconninfo FROM pg_subscription")[0][0]))


def test_the_runner_may_take_another_way_to_the_source_than_the_target(case: Case, source_cluster: Cluster) -> None:
    with FaultProxy(source_cluster.port) as proxy:
        source = Database(source_cluster, case.source.name)
        through = Through(source, proxy.port)
        other = Case(through, case.target)
        way = {"host": "127.0.0.1", "port": source_cluster.port}
        other.init(source_from_target=way)
        assert proxy.connections > 0
        other.sync(source_from_target=way)
        assert used_by_subscription(case)["port"] == str(source_cluster.port)
        source.execute("INSERT INTO t VALUES (101, 'direct')")
        other.wait_until_in_sync()
        proxy.reset_all()
        assert case.compare().differences == []


def test_the_target_may_take_another_way_to_the_source_than_the_runner(case: Case, source_cluster: Cluster) -> None:
    with FaultProxy(source_cluster.port) as proxy:
        way = {"url": f"postgresql://127.0.0.1:{proxy.port}"}
        case.init(source_from_target=way)
        case.sync(source_from_target=way)
        assert used_by_subscription(case)["port"] == str(proxy.port)
        sent = proxy.bytes_to_client
        case.source.execute("INSERT INTO t VALUES (101, repeat('through the proxy', 1000))")
        case.wait_until_in_sync()
        assert proxy.bytes_to_client > sent
        assert case.compare().differences == []


class Through(Database):
    """A database behind another port than its cluster's."""

    def __init__(self, database: Database, port: int) -> None:
        super().__init__(database.cluster, database.name)
        object.__setattr__(self, "_port", port)

    @property
    def params(self) -> dict[str, Any]:
        return {**super().params, "port": self._port}  # type: ignore[attr-defined]

    @property
    def dsn(self) -> str:
        return make_conninfo(**self.params)


def test_the_subscription_can_use_a_role_of_its_own(case: Case) -> None:
    password = nasty_password()
    role = {"user": HOSTILE, "password": password}
    create = sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD {}")
    case.source.execute(create.format(sql.Identifier(HOSTILE), sql.Literal(password)))
    case.init(replication_role=role)
    replicate(case, replication_role=role)
    used = used_by_subscription(case)
    assert (used["user"], used["password"]) == (HOSTILE, password)
    assert used["options"].startswith("-c row_security=off")
    walsenders = case.source.execute("SELECT usename FROM pg_stat_replication")
    assert walsenders == [(HOSTILE,)]
    assert password not in str(case.migration().log.entries)
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_options_of_the_subscription_reach_postgresql(case: Case) -> None:
    case.init()
    replicate(case, subscription_options={"binary": True, "streaming": "parallel", "synchronous_commit": "local"})
    query = "SELECT subbinary, substream, subsynccommit FROM pg_subscription"
    assert case.target.execute(query) == [(True, "p", "local")]


@pytest.mark.parametrize("option", ["copy_data", "Enabled", "slot_name", "create_slot", "connect"])
def test_options_on_which_correctness_rests_are_refused(case: Case, option: str) -> None:
    case.init()
    with pytest.raises(MigrationError, match=option.lower()) as caught:
        case.sync(subscription_options={option: True})
    assert caught.value.code == "bad_option"
    assert case.target.execute("SELECT subname FROM pg_subscription") == []
    replicate(case)


def test_an_option_that_postgresql_does_not_know_is_named_and_can_be_corrected(case: Case) -> None:
    case.init()
    with pytest.raises(MigrationError, match="no_such_option"):
        case.sync(subscription_options={"no_such_option": 1})
    replicate(case)


# --- several migrations --------------------------------------------------------------------------------------------


def test_migrations_of_two_databases_run_side_by_side(
    case: Case, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    other = Case(create_database(source_cluster), create_database(target_cluster), {"name": 'other "näme"'})
    other.source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    other.source.execute("INSERT INTO t VALUES (1, 'of the other')")
    case.init()
    other.init()
    replicate(case)
    replicate(other)
    slots = case.source.execute("SELECT slot_name FROM pg_replication_slots")
    assert len(slots) == 2
    case.cleanup()
    assert len(case.source.execute("SELECT slot_name FROM pg_replication_slots")) == 1
    other.source.execute("INSERT INTO t VALUES (100, 'still alive')")
    other.wait_until_in_sync()
    assert other.compare().differences == []
    other.cleanup()
    assert other.left_on_source() == NOTHING


def test_two_databases_may_even_use_the_same_name(case: Case, source_cluster: Cluster, target_cluster: Cluster) -> None:
    other = Case(create_database(source_cluster), create_database(target_cluster))
    other.source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    for one in (case, other):
        one.init()
    for one in (case, other):
        replicate(one)
    other.cleanup()
    case.source.execute("INSERT INTO t VALUES (200, 'still alive')")
    case.wait_until_in_sync()
    assert case.compare().differences == []
