# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners and privileges of every kind of object, carried from the catalogs: compared by a pg_dump of both sides.

Both sides once as superuser, and as a provider's admin role without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import init
from tests.integration.test_managed_role import PROVIDER, STRICT, AsAdmin, grant_subscriptions, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case, at_step
from tests.support.schema_dump import schema_differences

HOSTILE = 'Weird "Näme"; --'
H = sql.Identifier(HOSTILE).as_string(None)

ROLES = f"""
CREATE ROLE boss; CREATE ROLE clerk; CREATE ROLE reader; CREATE ROLE {H}; CREATE ROLE passer; CREATE ROLE "a=b/c*,{{}}";
"""

# Everything that an administrator without superuser may make, too.
OBJECTS = f"""
CREATE SCHEMA shop;
CREATE SCHEMA {H};
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, secret text);
CREATE TABLE shop.customers (id serial PRIMARY KEY, name text);
CREATE TABLE {H}.{H} ({H} int PRIMARY KEY, b int);
CREATE TABLE shop.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE shop.parent (id int PRIMARY KEY);
CREATE TABLE shop.child (PRIMARY KEY (id)) INHERITS (shop.parent);
CREATE SEQUENCE shop.numbers;
CREATE VIEW shop.names AS SELECT name FROM shop.customers;
CREATE MATERIALIZED VIEW shop.counted AS SELECT count(*) AS n FROM shop.orders;
CREATE TYPE shop.mood AS ENUM ('good', 'bad');
CREATE TYPE shop.pair AS (a int, b text);
CREATE TYPE shop.span AS RANGE (subtype = float8);
CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
CREATE FUNCTION shop.twice(n int, VARIADIC more text[] DEFAULT '{{}}') RETURNS int LANGUAGE sql AS 'SELECT n * 2';
CREATE FUNCTION shop.hidden() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
CREATE PROCEDURE shop.act(IN a int, INOUT b int) LANGUAGE plpgsql AS 'BEGIN b := a; END';
CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR shop.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION shop.sorted (locale = 'C');
CREATE TEXT SEARCH DICTIONARY shop.words (TEMPLATE = pg_catalog.simple);
CREATE TEXT SEARCH CONFIGURATION shop.search (COPY = pg_catalog.simple);
CREATE STATISTICS shop.stats ON id, customer FROM shop.orders;
CREATE CONVERSION shop.conv FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8;
INSERT INTO shop.customers (name) SELECT 'name ' || n FROM generate_series(1, 50) AS n;
INSERT INTO shop.orders (customer) SELECT n FROM generate_series(1, 50) AS n;
INSERT INTO shop.parts SELECT n, 'part' FROM generate_series(0, 99) AS n;
INSERT INTO {H}.{H} VALUES (1, 2);
"""

# Run by a superuser: no owner but boss may create in the schemas.
OWNERS = f"""
ALTER SCHEMA shop OWNER TO boss; ALTER SCHEMA {H} OWNER TO {H};
ALTER TABLE shop.orders OWNER TO clerk; ALTER TABLE shop.customers OWNER TO boss; ALTER TABLE {H}.{H} OWNER TO {H};
ALTER TABLE shop.parts OWNER TO clerk; ALTER TABLE shop.parts_1 OWNER TO boss;
ALTER TABLE shop.child OWNER TO clerk; ALTER SEQUENCE shop.numbers OWNER TO {H};
ALTER VIEW shop.names OWNER TO clerk; ALTER MATERIALIZED VIEW shop.counted OWNER TO clerk;
ALTER TYPE shop.mood OWNER TO clerk; ALTER TYPE shop.pair OWNER TO {H}; ALTER TYPE shop.span OWNER TO clerk;
ALTER DOMAIN shop.positive OWNER TO clerk; ALTER ROUTINE shop.twice(int, text[]) OWNER TO clerk;
ALTER ROUTINE shop.act OWNER TO clerk; ALTER AGGREGATE shop.total(int) OWNER TO clerk;
ALTER OPERATOR shop.=== (int, int) OWNER TO clerk; ALTER COLLATION shop.sorted OWNER TO clerk;
ALTER TEXT SEARCH DICTIONARY shop.words OWNER TO clerk; ALTER TEXT SEARCH CONFIGURATION shop.search OWNER TO clerk;
ALTER STATISTICS shop.stats OWNER TO clerk; ALTER CONVERSION shop.conv OWNER TO clerk;
"""

PRIVILEGES = f"""
GRANT USAGE ON SCHEMA shop TO PUBLIC; GRANT USAGE ON SCHEMA shop TO passer WITH GRANT OPTION; GRANT USAGE, CREATE ON SCHEMA {H} TO reader;
GRANT SELECT ON shop.customers TO boss WITH GRANT OPTION;
GRANT SELECT ON shop.customers TO clerk;
GRANT SELECT, INSERT ON shop.orders TO reader, "a=b/c*,{{}}";
GRANT ALL ON shop.orders TO boss WITH GRANT OPTION; GRANT ALL ON shop.parts_1 TO clerk WITH GRANT OPTION; GRANT ALL ON shop.parts TO {H} WITH GRANT OPTION;
GRANT UPDATE (customer), SELECT (id) ON shop.orders TO {H}; GRANT REFERENCES (secret) ON shop.orders TO PUBLIC;
GRANT SELECT ({H}) ON {H}.{H} TO reader WITH GRANT OPTION;
REVOKE DELETE, TRUNCATE ON shop.customers FROM boss;
REVOKE ALL ON shop.child FROM clerk; GRANT SELECT ON shop.parts_1 TO PUBLIC;
GRANT USAGE ON SEQUENCE shop.numbers TO reader; GRANT SELECT ON SEQUENCE shop.orders_id_seq TO reader;
REVOKE USAGE ON TYPE shop.mood FROM PUBLIC; GRANT USAGE ON TYPE shop.mood TO reader; REVOKE ALL ON TYPE shop.pair FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION shop.hidden() FROM PUBLIC; GRANT EXECUTE ON FUNCTION shop.hidden() TO reader;
GRANT EXECUTE ON PROCEDURE shop.act TO reader WITH GRANT OPTION; REVOKE ALL ON DOMAIN shop.positive FROM PUBLIC, clerk;
GRANT SELECT ON shop.names TO PUBLIC; GRANT SELECT ON shop.counted TO reader;
GRANT SELECT, UPDATE ON shop.parts_1 TO passer WITH GRANT OPTION;
SET ROLE passer; GRANT SELECT ON shop.parts_1 TO reader WITH GRANT OPTION; GRANT USAGE ON SCHEMA shop TO reader WITH GRANT OPTION; RESET ROLE;
SET ROLE reader; GRANT SELECT ON shop.parts_1 TO {H}; RESET ROLE;
ALTER DEFAULT PRIVILEGES FOR ROLE clerk IN SCHEMA shop GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE boss GRANT ALL ON SEQUENCES TO {H} WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE {H} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.orders FOR SELECT TO reader, {H} USING (customer > 0);
CREATE POLICY every ON shop.orders AS RESTRICTIVE USING (true) WITH CHECK (id > 0);
"""


def differences(case: Case) -> list[str]:
    """What a pg_dump of both sides, as superuser, tells apart."""
    dsns = [side.cluster.dsn(side.name) for side in (case.source, case.target)]
    newest = max(case.source.cluster.major, case.target.cluster.major)
    clusters = {side.cluster.major: side.cluster for side in (case.source, case.target)}
    return schema_differences(*dsns, clusters[newest].client_dir, ignore_schemas=["seren_migrator"])


# How pg_dump says what an owner took from himself depends on how many privileges there are.
_OWN = re.compile(r"schema: [-+](?:GRANT|REVOKE) [A-Z,]+ ON TABLE shop.(?:customers|child) (?:TO|FROM) (?:boss|clerk);")


def script(database: Database, text: str) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(text.encode())


def fill(source: Database, admin: str | None = None) -> None:
    """Make everything on the source; ``admin``, a member of every owner, makes it where it is given."""
    script(source, ROLES)
    if admin is None:
        script(source, OBJECTS)
    else:
        assert isinstance(source, AsAdmin)
        source.as_admin(OBJECTS)
        script(source, f"GRANT boss, clerk, {H} TO {admin}")
    script(source, OWNERS + PRIVILEGES + ("" if admin is None else f"GRANT SELECT ON shop.child TO {admin}"))


def prove(case: Case, **options: Any) -> dict[str, Any]:
    data = case.init(**options).data
    found = differences(case)
    if (case.source.cluster.major < 17) != (case.target.cluster.major < 17):
        own = "SELECT relname, relacl::text[] FROM pg_class WHERE relname IN ('customers', 'child') ORDER BY 1"
        (source, target) = (dict(side.execute(own)) for side in (case.source, case.target))
        assert source["child"] == target["child"]
        assert set(target["customers"]) == {item.replace("wxt/", "wxtm/") for item in source["customers"]}
        found = [line for line in found if not _OWN.fullmatch(line)]
    assert "\n".join(found) == ""
    return data


@pytest.mark.parametrize(("source_major", "target_major"), [(12, 14), (15, 17), (13, 18)])
def test_a_superuser_carries_every_owner_and_every_privilege(
    source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    case = Case(Database(make_cluster(source_major), "postgres"), Database(make_cluster(target_major), "postgres"))
    fill(case.source)
    assert prove(case)["left"] == []
    grantors = "SELECT relacl::text[] FROM pg_class WHERE oid = 'shop.parts_1'::regclass"
    if source_major >= 17 or target_major < 17:
        assert sorted(case.source.execute(grantors)[0][0]) == sorted(case.target.execute(grantors)[0][0])
    passed_on = [item for item in case.target.execute(grantors)[0][0] if item.endswith(("/passer", "/reader"))]
    assert sorted(passed_on) == sorted(["reader=r*/passer", f'"{HOSTILE.replace(chr(34), chr(34) * 2)}"=r/reader'])


@pytest.mark.parametrize("recipe", [STRICT, PROVIDER], ids=["strict", "read_all"])
@pytest.mark.parametrize(("source_major", "target_major"), [(15, 17), (14, 16), (13, 18)])
def test_an_admin_role_carries_every_owner_and_every_privilege_without_superuser(
    recipe: str, source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    if source_major < 14 and recipe == PROVIDER:
        recipe_of_source = STRICT
    else:
        recipe_of_source = recipe
    case = Case(managed(make_cluster(source_major), recipe_of_source), managed(make_cluster(target_major), recipe))
    grant_subscriptions(case.target)  # type: ignore[arg-type]
    fill(case.source, "owner1")
    case.source.execute(
        "GRANT CREATE ON SCHEMA public TO owner1 WITH GRANT OPTION; GRANT CREATE ON SCHEMA public TO boss"
    )
    data = prove(case)
    assert [item for item in data["left"] if not item["object"].startswith("role ")] == []
    may_create = "SELECT has_schema_privilege('clerk', 'shop', 'CREATE')"
    assert case.target.execute(may_create) == [(False,)]
    assert not case.init().changed
    case.sync()
    case.wait_until_in_sync()
    case.cleanup()


@pytest.mark.parametrize("major", [14, 15])
def test_a_target_before_16_needs_no_superuser_for_owners_and_privileges(
    major: int, make_cluster: Callable[..., Cluster]
) -> None:
    case = Case(managed(make_cluster(14), STRICT), managed(make_cluster(major), STRICT))
    fill(case.source, "owner1")
    # It is the subscription that needs a superuser there.
    data = prove(case, skip_checks=["subscription_probe"])
    assert [item for item in data["left"] if not item["object"].startswith("role ")] == []


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    fill(source_db)
    return Case(source_db, target_db)


OWNERS_OF = """
SELECT DISTINCT pg_get_userbyid(o.owner)
  FROM (SELECT relowner, relnamespace FROM pg_class UNION ALL SELECT proowner, pronamespace FROM pg_proc
         UNION ALL SELECT typowner, typnamespace FROM pg_type UNION ALL SELECT nspowner, oid FROM pg_namespace
         UNION ALL SELECT oprowner, oprnamespace FROM pg_operator UNION ALL SELECT collowner, collnamespace FROM pg_collation
         UNION ALL SELECT stxowner, stxnamespace FROM pg_statistic_ext UNION ALL SELECT cfgowner, cfgnamespace FROM pg_ts_config
         UNION ALL SELECT dictowner, dictnamespace FROM pg_ts_dict UNION ALL SELECT conowner, connamespace FROM pg_conversion
       ) AS o(owner, namespace)
 WHERE o.namespace IN ('shop'::regnamespace, %s::regnamespace) AND o.owner <> 10
"""
ACL_OF = "SELECT a::text FROM pg_class, unnest(relacl) AS a WHERE oid = %s::regclass ORDER BY 1"


def test_one_role_can_own_everything_while_what_others_were_granted_stays(case: Case) -> None:
    case.target.execute("CREATE ROLE everything")
    data = case.init(owner="everything").data
    # A database that was there before is nobody's to give away.
    assert [item["object"] for item in data["left"]] == ["owner everything of the database"]
    assert case.target.execute(OWNERS_OF, [H]) == [("everything",)]
    # boss and clerk had rights on what was their own; boss those on the orders of clerk, too.
    assert case.target.execute(ACL_OF, ["shop.orders"]) == [
        ('"a=b/c*,{}"=ar/everything',),
        ("boss=a*r*w*d*D*x*t*/everything",),
        ("everything=arwdDxtm/everything",),
        ("reader=ar/everything",),
    ]
    assert not case.init(owner="everything").changed


def test_an_owner_that_is_not_on_the_target_is_refused_before_anything_is_written(case: Case) -> None:
    with pytest.raises(MigrationError) as caught:
        case.init(owner=HOSTILE + " not there")
    assert caught.value.details["checks"] == ["target_owner"]
    assert case.target.execute("SELECT 1 FROM pg_namespace WHERE nspname IN ('seren_migrator', 'shop')") == []


def test_roles_that_are_called_otherwise_keep_what_they_have_and_two_can_become_one(case: Case) -> None:
    renamed = 'other "name"'
    case.target.execute(sql.SQL("CREATE ROLE {}; CREATE ROLE both_of_them").format(sql.Identifier(renamed)))
    roles = {HOSTILE: renamed, "reader": "both_of_them", "passer": "both_of_them", "boss": None}
    data = case.init(roles=roles).data
    objects = {item["object"] for item in data["left"]}
    assert {"owner boss", "privileges of role boss"} <= objects
    assert case.target.execute(OWNERS_OF, [H]) == [("clerk",), (renamed,)]
    quoted = '"' + renamed.replace('"', '""') + '"'
    assert case.target.execute(ACL_OF, ["shop.orders"]) == [
        ("\"a=b/c*,{}\"=ar/clerk",), ("both_of_them=ar/clerk",), ("clerk=arwdDxtm/clerk",)
    ]  # fmt: skip
    assert {item for (item,) in case.target.execute(ACL_OF, ["shop.parts_1"])} == {
        "=r/postgres",
        f"{quoted}=r/both_of_them",
        "both_of_them=r*w*/postgres",
        "clerk=a*r*w*d*D*x*t*/postgres",
        "postgres=arwdDxtm/postgres",
    }
    policies = "SELECT policyname, roles::text[], cmd, permissive FROM pg_policies ORDER BY 1"
    assert case.target.execute(policies) == [
        ("every", ["public"], "ALL", "RESTRICTIVE"),
        ("mine", ["both_of_them", renamed], "SELECT", "PERMISSIVE"),
    ]


def test_a_policy_for_a_role_that_nobody_stands_for_is_not_made_for_everybody(case: Case) -> None:
    case.source.execute("CREATE POLICY bosses ON shop.orders FOR SELECT TO boss USING (true)")
    data = case.init(roles={"boss": None}).data
    assert {"object": "policy bosses on table shop.orders", "reason": "no role of the target stands for boss"} in data[
        "left"
    ]
    assert case.target.execute("SELECT policyname FROM pg_policies ORDER BY 1") == [("every",), ("mine",)]


def test_a_policy_that_is_made_anew_during_the_copy_arrives_as_the_snapshot_had_it(case: Case) -> None:
    case.source.execute(
        f"CREATE POLICY {H} ON shop.orders FOR SELECT TO clerk USING (id > 1); COMMENT ON POLICY {H} ON shop.orders IS 'it''s'"
    )

    def change() -> None:
        case.source.execute(
            f"DROP POLICY {H} ON shop.orders; CREATE POLICY {H} ON shop.orders FOR SELECT TO clerk USING (id > 2);"
            "CREATE POLICY fresh ON shop.orders FOR SELECT TO clerk USING (id > 3)"
        )

    options: dict[str, Any] = {"roles": {"clerk": "clerk of the target"}}
    case.target.execute('DROP ROLE IF EXISTS "clerk of the target"')
    data = case.init(at_step("building indexes", change), **options).data
    assert [item for item in data["left"] if "polic" in item["object"]] == []
    query = "SELECT roles::text[], qual FROM pg_policies WHERE policyname IN (%s, 'fresh')"
    assert case.target.execute(query, [HOSTILE]) == [(["clerk of the target"], "(id > 1)")]
    comments = "SELECT obj_description(oid, 'pg_policy') FROM pg_policy WHERE polname = %s"
    assert case.target.execute(comments, [HOSTILE]) == [("it's",)]
    case.sync()
    (told,) = case.status(window=0.3).data["drift"]
    assert told["object"] == "table shop.orders"
    assert told["attributes"] == [f"policy {H} on shop.orders (comment, using)", "policy fresh on shop.orders (added)"]


def test_default_privileges_of_the_target_add_nothing(case: Case) -> None:
    case.target.execute(
        "CREATE ROLE greedy; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO greedy WITH GRANT OPTION;"
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;"
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO greedy; ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;"
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO greedy; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO greedy"
    )
    case.init()
    found = [line for line in differences(case) if "DEFAULT PRIVILEGES FOR ROLE postgres" not in line]
    assert [line for line in found if not _OWN.fullmatch(line)] == []


def test_default_privileges_that_the_target_had_are_added_to_and_named(case: Case) -> None:
    case.source.execute(
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {H};"
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
    )
    case.target.execute(
        f"CREATE ROLE {H}; CREATE ROLE ours; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO PUBLIC;"
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT UPDATE ON TABLES TO {H} WITH GRANT OPTION;"
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO ours"
    )
    left = case.init().data["left"]
    shown = "default privileges of postgres on tables in schema public"
    assert [entry for entry in left if entry["object"] == shown] == [
        {"object": shown, "reason": f"the target's own give {what}, which the source's do not; not changed"}
        for what in ("INSERT to PUBLIC", f"UPDATE to {HOSTILE}")
    ]
    held = (
        "SELECT defaclobjtype, a::text FROM pg_default_acl, unnest(defaclacl) AS a"
        " WHERE defaclrole = 'postgres'::regrole AND a::text !~ '^postgres=' ORDER BY 1, 2"
    )
    assert case.target.execute(held) == [
        ("T", "=U/postgres"),
        ("T", "ours=U/postgres"),
        ("r", f"{H}=rw*/postgres"),
        ("r", "=a/postgres"),
    ]


def test_check_mode_foretells_what_becomes_of_owners_and_privileges(case: Case) -> None:
    case.source.execute(
        f"REVOKE USAGE ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO boss; CREATE SCHEMA there;"
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {H}; ALTER SCHEMA there OWNER TO boss;"
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE USER MAPPING FOR PUBLIC SERVER s;"
        "INSERT INTO pg_catalog.pg_shseclabel (objoid, classoid, provider, label) SELECT r.oid, 'pg_authid'::regclass, 'anon', 'M'"
        " FROM pg_roles AS r WHERE r.rolname IN ('boss', 'passer')"
    )
    case.target.execute(
        "CREATE ROLE passer; CREATE SCHEMA there; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO PUBLIC"
    )
    options = {"roles": {"clerk": None, "reader": None}}
    migration = case.migration()
    foretold = init.run(migration, init.InitOptions(client_bin_dir=case.bin_dir, check_mode=True, **options)).data
    statements = [text for text in migration.log.entries if re.search("OWNER TO|REVOKE|GRANT", text)]
    assert 'target: REVOKE USAGE ON SCHEMA "public" FROM PUBLIC' in statements
    assert 'target: ALTER SCHEMA "there" OWNER TO "boss"' in statements
    of_defaults = 'target: ALTER DEFAULT PRIVILEGES FOR ROLE "postgres" IN SCHEMA "public" GRANT SELECT ON TABLES TO '
    assert of_defaults + H in statements
    assert not [text for text in statements if "shop" in text and "DEFAULT" not in text]
    done = case.init(**options).data
    assert sorted(map(str, foretold["left"])) == sorted(map(str, done["left"]))
    told = {entry["object"] for entry in done["left"]}
    assert told >= {"owner clerk", "privileges of role reader", "security label of role passer"}


def test_a_changed_schema_public_and_the_database_s_own_privileges_arrive(case: Case) -> None:
    database = sql.Identifier(case.source.name).as_string(None)
    case.source.execute(
        f"REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO {H}; ALTER SCHEMA public OWNER TO boss;"
        f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC; GRANT CREATE ON DATABASE {database} TO {H} WITH GRANT OPTION;"
        "GRANT SELECT (rolpassword) ON pg_catalog.pg_authid TO reader; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text)"
        " FROM PUBLIC; GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO clerk"
    )
    case.target.execute("CREATE ROLE before; GRANT USAGE ON SCHEMA public TO before")
    assert case.init().data["left"] == []
    of_public = "SELECT a::text FROM pg_namespace, unnest(nspacl) AS a WHERE nspname = 'public' ORDER BY 1"
    hostile = '"' + HOSTILE.replace('"', '""') + '"'
    assert case.target.execute(of_public) == [(f"{hostile}=C/boss",), ("before=U/boss",), ("boss=UC/boss",)]
    of_database = "SELECT a::text FROM pg_database, unnest(datacl) AS a WHERE datname = current_database() ORDER BY 1"
    assert case.target.execute(of_database) == case.source.execute(of_database)
    may = "SELECT has_column_privilege('reader', 'pg_authid', 'rolpassword', 'SELECT'), has_function_privilege('clerk', 'pg_ls_dir(text)', 'EXECUTE')"
    assert case.target.execute(may) == [(True, True)]


def test_what_our_role_may_read_for_the_migration_is_not_granted_on_the_target(
    source_db: Database, target_db: Database
) -> None:
    source_db.execute(
        f"CREATE ROLE {H} LOGIN REPLICATION PASSWORD 'plain'; CREATE ROLE auditor; CREATE ROLE owner1 LOGIN PASSWORD 'theirs';"
        f"GRANT owner1, pg_read_all_data, pg_read_all_stats TO {H};"
        "CREATE SCHEMA s AUTHORIZATION owner1; CREATE TABLE s.t (id int PRIMARY KEY); ALTER TABLE s.t OWNER TO owner1;"
        f"GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO {H}, auditor;"
        f"GRANT SELECT ON pg_catalog.pg_authid, pg_catalog.pg_shadow TO {H}"
    )
    # Its right to create there makes it a role of the database; on a far target it would be one by the same reason.
    source_db.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(source_db.name), sql.SQL(H)))
    params = {**source_db.params, "user": HOSTILE, "password": "plain"}
    case = Case(source_db, target_db, {"source": params})
    planned = str(case.init(check_mode=True, skip_checks=["subscription_probe"]).data["plan"])
    assert not re.search(r"ON TABLE .pg_catalog...pg_(authid|shadow). TO .Weird", planned)
    case.init(skip_checks=["subscription_probe"])
    target_db.execute(f"REVOKE pg_read_all_data FROM {H}")
    may = """
SELECT rolname, has_column_privilege(oid, 'pg_authid', 'rolpassword', 'SELECT'),
       has_table_privilege(oid, 'pg_shadow', 'SELECT')
  FROM pg_roles WHERE rolname = ANY (%s) ORDER BY rolname::text COLLATE "C"
"""
    assert target_db.execute(may, [["auditor", HOSTILE]]) == [(HOSTILE, False, False), ("auditor", True, False)]
    password = "SELECT rolpassword FROM pg_authid WHERE rolname = 'owner1'"
    assert target_db.execute(password) == source_db.execute(password)
    assert case.verify().data["objects"]["different"] == []


def test_a_database_that_would_lock_us_out_keeps_what_it_has(
    make_cluster: Callable[..., Cluster], source_db: Database
) -> None:
    cluster = make_cluster(17)
    cluster.execute("CREATE ROLE me LOGIN CREATEROLE PASSWORD 'plain'")
    cluster.execute("CREATE DATABASE theirs")
    cluster.execute("GRANT CREATE ON DATABASE theirs TO me; GRANT pg_create_subscription TO me")
    cluster.execute("GRANT CREATE, USAGE ON SCHEMA public TO me WITH GRANT OPTION", "theirs")
    source_db.execute("CREATE ROLE me; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO me")
    source_db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(source_db.name)))
    case = Case(source_db, _With(cluster, "theirs"))
    left = case.init().data["left"]
    assert "privileges on database" in {item["object"] for item in left}
    assert case.target.execute("SELECT has_database_privilege('me', 'theirs', 'CONNECT')") == [(True,)]


class _With(Database):
    @property
    def params(self) -> dict[str, Any]:
        return self.cluster.params(self.name, "me", "plain")


SECRET = 's3cret of the mapping: it\'s "quoted"'


def test_user_mappings_are_made_when_asked_for_and_their_secrets_appear_nowhere(case: Case) -> None:
    case.source.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw")
    case.source.execute(
        "ALTER SERVER far OWNER TO clerk; GRANT USAGE ON FOREIGN SERVER far TO reader WITH GRANT OPTION"
    )
    for role in ("clerk", H, "PUBLIC", "boss"):
        options = sql.SQL("" if role == "boss" else "OPTIONS (user 'someone', password {})").format(sql.Literal(SECRET))
        case.source.execute(sql.SQL("CREATE USER MAPPING FOR {} SERVER far {}").format(sql.SQL(role), options))
    migration = case.migration()
    options = init.InitOptions(jobs=2, client_bin_dir=case.bin_dir, user_mappings="create")
    result = init.run(migration, options)
    query = "SELECT usename, umoptions FROM pg_user_mappings ORDER BY 1"
    assert case.target.execute(query) == case.source.execute(query)
    assert len(case.target.execute(query)) == 4
    assert "CREATE USER MAPPING" in str(migration.log.entries)
    told = json.dumps([result.data, result.diff], default=str) + str(migration.log.entries)
    for table in ("step", "schema_dump", "migration", "object"):
        told += str(case.target.execute(f"SELECT t::text FROM seren_migrator.{table} AS t"))
    assert "s3cret" not in told
    assert b"s3cret".hex() not in told
    assert "\n".join(differences(case)) == "" or not [line for line in differences(case) if "MAPPING" in line]
    assert case.init(user_mappings="create", resume=False).changed
    assert case.target.execute(query) == case.source.execute(query)


def test_what_the_target_refuses_of_a_user_mapping_is_told_without_its_words(case: Case) -> None:
    case.source.execute(f"""
        CREATE FUNCTION public.validate(text[], oid) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
          IF current_database() = '{case.target.name}' AND array_to_string($1, ',') LIKE '%apikey%' THEN
            RAISE EXCEPTION 'invalid value in %', $1 USING ERRCODE = 'HV00B'; END IF; END $$;
        CREATE FOREIGN DATA WRAPPER own VALIDATOR public.validate; CREATE SERVER far FOREIGN DATA WRAPPER own;
        CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (apikey 's3cret of a validator')""")
    migration = case.migration()
    data = init.run(migration, init.InitOptions(jobs=2, client_bin_dir=case.bin_dir, user_mappings="create")).data
    (entry,) = [item for item in data["left"] if "SQLSTATE" in item["reason"]]
    assert entry["object"].startswith("user mapping") and "HV00B" in entry["reason"]
    assert "s3cret" not in str(data) + str(migration.log.entries)


def test_privileges_that_are_taken_with_what_was_passed_on_during_the_copy_are_taken_on_the_target(case: Case) -> None:
    case.source.execute(f"""
        CREATE ROLE z_boss; CREATE ROLE b_first; CREATE ROLE c_second;
        CREATE TABLE shop.passed (id int PRIMARY KEY, {H} int); ALTER TABLE shop.passed OWNER TO z_boss;
        GRANT USAGE ON SCHEMA shop TO z_boss, b_first, c_second, {H};
        SET ROLE z_boss; GRANT SELECT ON shop.passed TO {H} WITH GRANT OPTION;
        SET ROLE {H}; GRANT SELECT ON shop.passed TO b_first WITH GRANT OPTION;
        SET ROLE b_first; GRANT SELECT ON shop.passed TO c_second""")
    change = f"SET ROLE z_boss; REVOKE SELECT ON shop.passed FROM {H} CASCADE"
    granted = case.source.execute(ACL_OF, ["shop.passed"])
    data = case.init(at_step("building indexes", lambda: case.source.execute(change))).data
    assert data["left"] == []
    assert len(granted) == 4
    for side in (case.source, case.target):
        assert [row[0].split("=")[0] for row in side.execute(ACL_OF, ["shop.passed"])] == ["z_boss"]


def test_a_copy_that_starts_over_ends_with_the_same_owners_and_privileges(case: Case) -> None:
    case.target.execute("CREATE ROLE before; GRANT USAGE ON SCHEMA public TO before")
    first = case.init().data
    second = case.init(resume=False).data
    assert first["left"] == second["left"] == []
    found = [line for line in differences(case) if not _OWN.fullmatch(line)]
    assert found == ["schema: +GRANT USAGE ON SCHEMA public TO before;"]
    assert case.target.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'public'") == [(1,)]


def test_what_acts_with_more_rights_is_named_also_when_the_check_is_skipped(case: Case) -> None:
    case.source.execute(
        f"CREATE ROLE lim; CREATE TABLE secrets (id int PRIMARY KEY); ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;"
        f"GRANT SELECT ON secrets TO lim; CREATE VIEW {H} AS SELECT * FROM secrets; ALTER VIEW {H} OWNER TO lim;"
        f"GRANT SELECT ON {H} TO PUBLIC; CREATE VIEW own AS SELECT * FROM secrets; ALTER VIEW own OWNER TO lim;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO lim"
    )
    options = {"roles": {"lim": None}, "skip_checks": ["stronger_owners"]}
    me = case.target.params["user"]
    wanted = {
        f"view public.{HOSTILE}": f"it belonged to lim, and belongs to {me} (shows all rows of public.secrets)",
        "routine public.f()": f"it belonged to lim, and belongs to {me} (runs as superuser)",
    }
    for data in (case.init(check_mode=True, **options).data, case.init(**options).data):
        found = {item["object"]: item["reason"] for item in data["left"] if "with more rights" in item["reason"]}
        assert {what: reason.partition(": ")[2] for what, reason in found.items()} == wanted


def test_what_the_target_had_before_is_put_back_when_the_copy_starts_over(case: Case) -> None:
    database, there = (sql.Identifier(name).as_string(None) for name in (case.source.name, case.target.name))
    case.source.execute(f"ALTER SCHEMA shop OWNER TO {H}; CREATE SCHEMA other AUTHORIZATION boss")
    case.source.execute(
        f"REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO {H} WITH GRANT OPTION; REVOKE"
        f" TEMPORARY ON DATABASE {database} FROM PUBLIC;"
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) TO clerk; GRANT SELECT (rolname) ON pg_catalog.pg_authid TO clerk"
    )
    case.target.execute(
        f"CREATE ROLE before; CREATE ROLE {H}; CREATE SCHEMA shop AUTHORIZATION before; GRANT USAGE ON SCHEMA shop TO {H};"
        f"CREATE SCHEMA other; GRANT USAGE ON SCHEMA public TO before; GRANT CREATE ON DATABASE {there} TO before"
    )
    state = (
        "SELECT nspname, pg_get_userbyid(nspowner),"
        " ARRAY(SELECT unnest(nspacl)::text ORDER BY 1) FROM pg_namespace WHERE nspname IN ('shop', 'other', 'public')"
        " UNION ALL SELECT 'db', '', ARRAY(SELECT unnest(datacl)::text ORDER BY 1) FROM pg_database"
        " WHERE datname = current_database() UNION ALL SELECT proname, '', ARRAY(SELECT"
        " unnest(coalesce(proacl, acldefault('f', proowner)))::text ORDER BY 1) FROM pg_proc WHERE proname = 'pg_ls_dir'"
        " AND pronargs = 1 UNION ALL SELECT attname, '', ARRAY(SELECT unnest(attacl)::text ORDER BY 1)"
        " FROM pg_attribute WHERE attrelid = 'pg_authid'::regclass AND attname = 'rolname' ORDER BY 1"
    )

    def now() -> dict[str, Any]:
        rows = case.target.execute(state)
        return {name: (owner, [item for item in acl if item]) for name, owner, acl in rows}

    before = now()
    case.init()
    changed = now()
    assert {name for name in before if changed[name] != before[name]} == {*before}
    # What somebody else does there meanwhile is his.
    case.target.execute("CREATE ROLE meanwhile; GRANT USAGE ON SCHEMA shop TO meanwhile")
    # What the next copy would change there again is taken back on the source.
    case.source.execute(
        f"ALTER SCHEMA shop RENAME TO renamed; DROP SCHEMA other; GRANT USAGE ON SCHEMA public TO PUBLIC;"
        f"REVOKE CREATE ON SCHEMA public FROM {H}; GRANT TEMPORARY ON DATABASE {database} TO PUBLIC;"
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) FROM clerk; REVOKE SELECT (rolname) ON pg_authid FROM clerk"
    )
    migration = case.migration()
    init.run(migration, init.InitOptions(client_bin_dir=case.bin_dir, check_mode=True, resume=False))
    assert 'target: ALTER SCHEMA "shop" OWNER TO "before"' in migration.log.entries
    assert f"target: GRANT TEMPORARY ON DATABASE {there} TO PUBLIC" in migration.log.entries
    assert now()["shop"] != before["shop"]
    data = case.init(resume=False).data
    assert "notes" not in data
    before["shop"][1].append("meanwhile=U/before")
    assert now() == before
