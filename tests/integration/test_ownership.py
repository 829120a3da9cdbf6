# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners and privileges of every kind of object, carried from the catalogs: compared by a pg_dump of both sides.

Both sides once as superuser, and as a provider's admin role without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.test_managed_role import AsAdmin
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case
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
GRANT ALL ON shop.orders TO boss; GRANT ALL ON shop.parts TO {H} WITH GRANT OPTION;
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
    script(source, OWNERS + PRIVILEGES)


def prove(case: Case, **options: Any) -> dict[str, Any]:
    data = case.init(**options).data
    found = differences(case)
    if (case.source.cluster.major < 17) != (case.target.cluster.major < 17):
        own = "SELECT relname, relacl::text[] FROM pg_class WHERE relname IN ('customers', 'child') ORDER BY 1"
        (source, target) = (dict(side.execute(own)) for side in (case.source, case.target))
        assert source["child"] == target["child"] == []
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
