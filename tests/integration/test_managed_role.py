# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides without a superuser: a provider's admin role, on plain PostgreSQL.

What plain PostgreSQL allows such a role has to work from end to end; what it does not allow has to be said by
validate, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster
from tests.support.compare import compare_data
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.verified import assert_verified

PASSWORD = "adm's password"

# The role that the console of Neon or SerenDB makes, as far as plain PostgreSQL goes.
PROVIDER = """
CREATE ROLE neon_superuser CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS
  IN ROLE pg_read_all_data, pg_write_all_data;
GRANT {groups} TO neon_superuser WITH ADMIN OPTION;
CREATE ROLE {role} LOGIN INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION PASSWORD {password}
  IN ROLE neon_superuser;
"""
# A role that owns its database and may replicate, and nothing else.
STRICT = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT pg_monitor TO {role};
"""


@dataclass(frozen=True)
class AsAdmin(Database):
    """A database reached as its admin role; ``execute`` still works as the superuser."""

    role: str = "owner1"

    @property
    def params(self) -> dict[str, Any]:
        return self.cluster.params(self.name, self.role, PASSWORD)

    def as_admin(self, script: str) -> None:
        """Run statements as the admin role itself."""
        with psycopg.connect(self.cluster.dsn(self.name, self.role, PASSWORD), autocommit=True) as connection:
            connection.execute(script)


def managed(cluster: Cluster, recipe: str = PROVIDER, role: str = "owner1") -> AsAdmin:
    """A database that an admin role owns, which this makes."""
    groups = "pg_monitor, pg_signal_backend" + (", pg_create_subscription" if cluster.major >= 16 else "")
    script = sql.SQL(recipe).format(
        role=sql.Identifier(role), password=sql.Literal(PASSWORD), groups=sql.SQL(groups)
    )  # fmt: skip
    cluster.execute(script)
    database = create_database(cluster, options=f"OWNER {role}")
    return AsAdmin(cluster, database.name, role)


SCHEMA = """
CREATE EXTENSION pgcrypto;
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('good', 'bad');
CREATE TABLE shop.customers (id serial PRIMARY KEY, name text, m shop.mood DEFAULT 'good');
CREATE TABLE shop.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES shop.customers);
CREATE TABLE public.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (1000);
CREATE TABLE public.secured (id int PRIMARY KEY, v text);
ALTER TABLE public.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.secured USING (v = current_user);
CREATE VIEW shop.names AS SELECT name FROM shop.customers;
CREATE MATERIALIZED VIEW shop.counted AS SELECT count(*) AS n FROM shop.orders;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := upper(NEW.name); RETURN NEW; END';
INSERT INTO shop.customers (name) SELECT 'name ' || n FROM generate_series(1, 200) AS n;
INSERT INTO shop.orders (customer) SELECT n FROM generate_series(1, 200) AS n;
INSERT INTO public.parts SELECT n, 'part' FROM generate_series(0, 499) AS n;
INSERT INTO public.secured SELECT n, 'hidden' FROM generate_series(1, 20) AS n;
CREATE TRIGGER touched BEFORE INSERT ON shop.customers FOR EACH ROW EXECUTE FUNCTION shop.touch();
COMMENT ON TABLE shop.customers IS 'of the shop'
"""
CHANGES = """
INSERT INTO shop.customers (name) VALUES ('later');
UPDATE shop.customers SET name = 'changed' WHERE id <= 10;
DELETE FROM shop.orders WHERE id <= 5;
INSERT INTO public.parts VALUES (700, 'later');
UPDATE public.secured SET v = 'changed' WHERE id = 1
"""


def run(database: AsAdmin, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            database.as_admin(statement)


@pytest.fixture
def pair(
    source_db: Database, target_db: Database, source_cluster: Cluster, target_cluster: Cluster
) -> Iterator[Callable[..., Case]]:
    """A factory of pairs 15 -> 17 with these recipes; the clusters are swept afterwards."""

    def make(source_recipe: str = PROVIDER, target_recipe: str = PROVIDER) -> Case:
        source, target = managed(source_cluster, source_recipe), managed(target_cluster, target_recipe)
        run(source, SCHEMA)
        return Case(source, target)

    yield make


def grant_subscriptions(target: AsAdmin) -> None:
    target.execute("GRANT pg_create_subscription TO owner1")


def migrate_and_prove(case: Case, **options: Any) -> dict[str, Any]:
    """The whole way, from validate to cleanup; the result of init."""
    source = case.source
    assert isinstance(source, AsAdmin)
    data = case.init(**options).data
    run(source, CHANGES)
    case.sync()
    run(source, CHANGES.replace("700", "701"))
    status = case.wait_until_in_sync()
    assert status["state"] == "in_sync"
    assert compare(case) == []
    verified = case.verify().data
    assert_verified(verified)
    assert not case.init(**options).changed
    assert not case.sync().changed
    case.cleanup()
    assert case.left_on_source() == NOTHING
    return data


def compare(case: Case) -> list[Any]:
    """Compare as the superusers of both servers, who see every row."""
    dsns = [side.cluster.dsn(side.name) for side in (case.source, case.target)]
    return list(compare_data(*dsns, sequences="ignore", materialized_views=False).differences)


def test_two_managed_databases_migrate_from_end_to_end(pair: Callable[..., Case]) -> None:
    case = pair()
    data = migrate_and_prove(case)
    assert data["left"] == []
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'shop'::regnamespace"
    assert case.target.execute(owners) == [("owner1",)]


@pytest.mark.parametrize("copy_method", ["runner", "subscription"])
def test_a_plain_owner_with_replication_is_enough_on_both_sides(pair: Callable[..., Case], copy_method: str) -> None:
    case = pair(STRICT, STRICT)
    target = case.target
    assert isinstance(target, AsAdmin)
    grant_subscriptions(target)
    migrate_and_prove(case, copy_method=copy_method)


def test_a_target_role_that_may_not_subscribe_is_told_so_before_anything_is_written(pair: Callable[..., Case]) -> None:
    case = pair(STRICT, STRICT)
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.details["checks"] == ["subscription_probe"]
    assert "pg_create_subscription" in caught.value.remedy
    nothing_written(case)


def nothing_written(case: Case, but: str = "") -> None:
    assert case.left_on_source() == NOTHING
    ours = "SELECT nspname FROM pg_namespace WHERE nspname IN ('seren_migrator', 'shop') AND nspname <> %s"
    assert case.target.execute(ours, [but]) == []


def test_a_source_role_that_does_not_own_a_table_is_told_so_before_anything_is_written(
    pair: Callable[..., Case],
) -> None:
    case = pair()
    case.source.execute("CREATE ROLE somebody; ALTER TABLE shop.orders OWNER TO somebody")
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert "source_table_owner" in caught.value.details["checks"]
    assert "shop.orders" in caught.value.message
    nothing_written(case)


def test_an_owner_that_owns_its_schema_too_keeps_its_tables(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("CREATE ROLE somebody; GRANT somebody TO owner1; CREATE SCHEMA theirs AUTHORIZATION somebody")
    case.source.execute("CREATE TABLE theirs.things (id int PRIMARY KEY); ALTER TABLE theirs.things OWNER TO somebody")
    migrate_and_prove(case)
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'things'"
    assert case.target.execute(owner) == [("somebody",)]


def test_an_owner_without_create_on_its_schema_keeps_its_table(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("CREATE ROLE somebody; ALTER TABLE shop.orders OWNER TO somebody; GRANT somebody TO owner1")
    assert migrate_and_prove(case)["left"] == []
    owner = "SELECT pg_get_userbyid(relowner), has_schema_privilege('somebody', 'shop', 'CREATE') FROM pg_class"
    assert case.target.execute(owner + " WHERE relname = 'orders'") == [("somebody", False)]


def test_an_owner_that_may_not_be_let_into_a_schema_is_named_before_anything_is_written(
    pair: Callable[..., Case],
) -> None:
    case = pair()
    case.source.execute("CREATE ROLE somebody; ALTER TABLE shop.orders OWNER TO somebody; GRANT somebody TO owner1")
    case.target.execute("CREATE SCHEMA shop; GRANT USAGE, CREATE ON SCHEMA shop TO owner1")
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.details["checks"] == ["target_owners"]
    assert "shop.orders" in caught.value.message
    nothing_written(case, but="shop")
    data = migrate_and_prove(case, owner="owner1")
    assert data["left"] == [{"object": "owner owner1 of schema shop", "reason": "must be owner of schema shop"}]


def test_a_role_of_the_target_that_cannot_be_used_is_named_and_can_be_done_without(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("CREATE ROLE somebody; ALTER TABLE shop.orders OWNER TO somebody; GRANT somebody TO owner1")
    case.target.execute("CREATE ROLE somebody")
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert "target_roles" in caught.value.details["checks"]
    nothing_written(case)
    data = migrate_and_prove(case, roles="none")
    assert data["left"] == [
        {
            "object": "owner somebody",
            "reason": "no role of the target stands for it; owner1 owns table shop.orders",
        }
    ]
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'orders'"
    assert case.target.execute(owner) == [("owner1",)]


def test_a_role_that_the_admin_may_only_grant_is_used_until_cleanup(pair: Callable[..., Case]) -> None:
    case = pair()
    role = '"Weird ""Näme""; --"'
    case.source.execute(f"CREATE ROLE {role}; GRANT {role} TO owner1; CREATE SCHEMA theirs AUTHORIZATION {role}")
    case.source.execute(f"CREATE TABLE theirs.things (id int PRIMARY KEY); ALTER TABLE theirs.things OWNER TO {role}")
    target = case.target
    assert isinstance(target, AsAdmin)
    target.as_admin(f"CREATE ROLE {role}")
    members = (
        "SELECT m.admin_option, m.set_option, m.grantor = m.member FROM pg_auth_members AS m"
        " JOIN pg_roles AS r ON r.oid = m.roleid WHERE r.rolname ~ 'Weird' ORDER BY 1"
    )
    before = target.execute(members)
    case.init()
    assert target.execute(members) == [(False, True, True), *before]
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'things'"
    assert target.execute(owner) == [('Weird "Näme"; --',)]
    case.cleanup()
    assert target.execute(members) == before


def test_cleanup_of_one_migration_does_not_stop_another(
    pair: Callable[..., Case], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    pair()
    source_cluster.execute("CREATE ROLE app")
    cases = []
    for _number in range(3):
        source = create_database(source_cluster)
        source.execute(
            "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO app; GRANT ALL ON SCHEMA public TO app"
        )
        target = AsAdmin(target_cluster, create_database(target_cluster, options="OWNER owner1").name)
        cases.append(Case(source, target))
    first, second, third = cases
    for case in (first, second):
        case.init()
        case.sync()
    data = first.cleanup().data
    (kept,) = data["left"]
    assert (kept["kind"], kept["name"]) == ("membership", "owner1 in app")
    assert second.target.name in kept["reason"]
    assert not first.cleanup().changed
    second.source.execute("INSERT INTO t VALUES (1)")
    second.wait_until_in_sync()
    assert second.target.execute("SELECT id FROM t") == [(1,)]
    second.cleanup()
    usable = "SELECT pg_has_role('owner1', 'app', 'SET')"
    assert first.target.execute(usable) == [(True,)]
    assert first.cleanup().data["left"] == []
    assert first.target.execute(usable) == [(False,)]
    # One after the other, the next one gives itself again what it needs.
    third.init()
    third.sync()
    third.source.execute("INSERT INTO t VALUES (1)")
    third.wait_until_in_sync()
    assert third.cleanup().data["left"] == []
    assert third.target.execute(usable) == [(False,)]


def test_a_managed_role_makes_the_target_database_itself(pair: Callable[..., Case]) -> None:
    case = pair()
    target = case.target
    assert isinstance(target, AsAdmin)
    target.cluster.execute("GRANT CREATE ON DATABASE postgres TO owner1")
    case = Case(case.source, AsAdmin(target.cluster, "made_by_init"))
    migrate_and_prove(case)
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'made_by_init'"
    assert target.cluster.execute(owner) == [("owner1",)]


def test_passwords_that_cannot_be_read_stay_behind_and_are_named(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("CREATE ROLE app LOGIN PASSWORD 'unreadable1'; GRANT SELECT ON shop.orders TO app")
    case.source.execute("REVOKE pg_read_all_data FROM neon_superuser")
    data = case.init().data
    reasons = {item["object"]: item["reason"] for item in data["left"]}
    assert "without a password" in reasons["role app"]
    assert case.target.execute("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = 'app'") == [(True, None)]


def test_an_attribute_that_the_admin_cannot_give_costs_a_role_nothing_else(pair: Callable[..., Case]) -> None:
    case = pair(PROVIDER, STRICT.replace(" BYPASSRLS", ""))
    target = case.target
    assert isinstance(target, AsAdmin)
    grant_subscriptions(target)
    case.source.execute("CREATE ROLE app LOGIN BYPASSRLS NOINHERIT PASSWORD 'of the app'; GRANT app TO owner1")
    case.source.execute("GRANT SELECT ON shop.orders TO app")
    data = case.init().data
    reasons = {item["object"]: item["reason"] for item in data["left"]}
    assert "BYPASSRLS" in reasons["role app"]
    assert case.target.execute("SELECT rolbypassrls, rolinherit FROM pg_roles WHERE rolname = 'app'") == [
        (False, False)
    ]
    with psycopg.connect(target.cluster.dsn(target.name, "app", "of the app")):
        pass


def test_large_objects_of_another_owner_are_refused_before_anything_is_written(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("SELECT lo_from_bytea(4711, 'of the superuser')")
    with pytest.raises(MigrationError) as caught:
        case.init(large_objects="copy")
    assert caught.value.details["checks"] == ["large_objects"]
    assert "4711" in caught.value.message
    nothing_written(case)


def test_an_extension_that_the_administrator_has_made_before_is_used(pair: Callable[..., Case]) -> None:
    case = pair()
    case.source.execute("CREATE EXTENSION pageinspect")
    case.target.execute("CREATE EXTENSION pgcrypto; CREATE EXTENSION pageinspect")
    case.init()
    rows = case.target.execute("SELECT extname FROM pg_extension WHERE extowner = 10 ORDER BY 1")
    assert rows == [("pageinspect",), ("pgcrypto",), ("plpgsql",)]


def test_own_large_objects_arrive(pair: Callable[..., Case]) -> None:
    case = pair()
    source = case.source
    assert isinstance(source, AsAdmin)
    source.as_admin("SELECT lo_from_bytea(4711, 'mine')")
    case.init(large_objects="copy")
    assert case.target.execute("SELECT lo_get(4711), pg_get_userbyid(lomowner) FROM pg_largeobject_metadata") == [
        (b"mine", "owner1")
    ]


@pytest.mark.parametrize("major", [14, 15])
def test_a_target_before_16_needs_a_superuser_and_validate_says_so(
    major: int, make_cluster: Callable[..., Cluster], pair: Callable[..., Case]
) -> None:
    case = pair()
    case = Case(case.source, managed(make_cluster(major)))
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.details["checks"] == ["subscription_probe"]
    assert "SUPERUSER" in caught.value.remedy
    nothing_written(case)


def test_schema_public_of_a_source_before_15_stays_with_the_target_s_owner(
    make_cluster: Callable[..., Cluster], pair: Callable[..., Case]
) -> None:
    """There it belongs to the bootstrap superuser, whose rights nobody should be given for that."""
    case = Case(managed(make_cluster(14)), pair().target)
    owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'"
    assert case.source.execute(owner) == [("postgres",)]
    case.source.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC; COMMENT ON SCHEMA public IS 'ours'")
    run(case.source, SCHEMA)
    migrate_and_prove(case)
    assert case.target.execute(owner) == [("pg_database_owner",)]
    usable = "SELECT has_schema_privilege('pg_monitor', 'public', 'USAGE'), obj_description('public'::regnamespace)"
    assert case.target.execute(usable) == [(False, "ours")]


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(16, 16), (16, 17), (17, 18)])
def test_managed_pairs_of_other_majors(
    source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    source, target = managed(make_cluster(source_major)), managed(make_cluster(target_major))
    run(source, SCHEMA)
    migrate_and_prove(Case(source, target))


def test_new_tables_join_without_a_superuser(pair: Callable[..., Case]) -> None:
    case = pair()
    case.init()
    case.sync()
    case.wait_until_in_sync()
    source = case.source
    assert isinstance(source, AsAdmin)
    run(
        source,
        """
CREATE ROLE clerk;
GRANT clerk TO owner1;
CREATE TYPE shop.size AS ENUM ('small', 'large');
CREATE TABLE shop.parcels (id serial PRIMARY KEY, s shop.size, customer int REFERENCES shop.customers);
GRANT SELECT ON shop.parcels TO clerk;
INSERT INTO shop.parcels (s, customer) SELECT 'small', n FROM generate_series(11, 100) AS n
""",
    )
    assert case.sync(add_new_tables=True).data["added"] == ["shop.parcels"]
    run(source, "UPDATE shop.parcels SET s = 'large' WHERE id % 2 = 0")
    data = case.wait_until_in_sync()
    assert [entry for entry in data["drift"] if "parcels" in entry["object"] or "size" in entry["object"]] == []
    assert (
        compare_data(case.source.dsn, case.target.dsn, sequences="ignore", materialized_views=False).differences == []
    )
    privilege = "SELECT has_table_privilege('clerk', 'shop.parcels', 'SELECT')"
    assert case.target.execute(privilege) == [(True,)]
    case.cleanup()
    assert case.left_on_source() == NOTHING
