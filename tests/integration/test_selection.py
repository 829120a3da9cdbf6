# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of a part of a database: what is selected arrives and stays current, what is not stays behind, named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.verified import assert_verified

SCHEMA = """
CREATE EXTENSION pgcrypto SCHEMA public;
CREATE EXTENSION hstore SCHEMA public;
COMMENT ON EXTENSION hstore IS 'not only the default comment';
CREATE SCHEMA shop;
CREATE SCHEMA audit;
CREATE SCHEMA "Odd.s";
CREATE TABLE shop.customers (id int PRIMARY KEY, region text NOT NULL);
CREATE TABLE shop.orders (id serial PRIMARY KEY, customer int REFERENCES shop.customers, note text);
CREATE TABLE shop.archive (id int PRIMARY KEY, order_id int REFERENCES shop.orders);
CREATE TABLE audit.log (id bigserial PRIMARY KEY, order_id int REFERENCES shop.orders, what text);
CREATE TABLE "Odd.s"."T;*" (id int PRIMARY KEY, v text);
CREATE TABLE shop.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_old PARTITION OF shop.parts FOR VALUES FROM (0) TO (100);
CREATE TABLE shop.parts_new PARTITION OF shop.parts FOR VALUES FROM (100) TO (200);
ALTER TABLE shop.orders ADD COLUMN logged bigint REFERENCES audit.log;
CREATE VIEW shop.entries AS SELECT o.id, l.what FROM shop.orders AS o JOIN audit.log AS l ON l.order_id = o.id;
CREATE VIEW shop.entry_count AS SELECT count(*) AS n FROM shop.entries;
COMMENT ON VIEW shop.entries IS 'reads audit';
CREATE MATERIALIZED VIEW shop.logged AS SELECT count(*) AS n FROM audit.log;
CREATE MATERIALIZED VIEW shop.totals AS SELECT count(*) AS n FROM shop.orders;
CREATE FUNCTION shop.last_entry() RETURNS SETOF audit.log LANGUAGE sql AS 'SELECT * FROM audit.log';
COMMENT ON FUNCTION shop.last_entry() IS 'has a comment, and privileges';
CREATE FUNCTION shop.plain(n int) RETURNS int LANGUAGE sql AS 'SELECT n + 1';
COMMENT ON FUNCTION shop.plain(int) IS 'stays a function';
CREATE ROLE app;
GRANT EXECUTE ON FUNCTION shop.last_entry(), shop.plain(int) TO app;
GRANT SELECT ON shop.entries TO app;
INSERT INTO shop.customers SELECT n, CASE n % 2 WHEN 0 THEN 'eu' ELSE 'us' END FROM generate_series(1, 100) AS n;
INSERT INTO shop.orders (customer, note) SELECT n, 'order' FROM generate_series(1, 100) AS n;
INSERT INTO shop.archive SELECT n, n FROM generate_series(1, 50) AS n;
INSERT INTO audit.log (order_id, what) SELECT n, 'entry' FROM generate_series(1, 100) AS n;
INSERT INTO "Odd.s"."T;*" SELECT n, 'odd' FROM generate_series(1, 10) AS n;
INSERT INTO shop.parts SELECT n, 'part' FROM generate_series(0, 199) AS n;
REFRESH MATERIALIZED VIEW shop.totals
"""

TABLES_ON_TARGET = """
SELECT n.nspname || '.' || c.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'seren_migrator')
"""


def create(database: Database, script: str) -> None:
    """Run a script statement by statement (none of them holds a semicolon at a line's end)."""
    for statement in script.split(";\n"):
        if statement.strip():
            database.execute(statement)


@pytest.fixture
def shop(source_db: Database, target_db: Database) -> Iterator[Case]:
    create(source_db, SCHEMA)
    yield Case(source_db, target_db)


def migrate(case: Case, **options: Any) -> dict[str, Any]:
    """init and sync with this selection, some changes in between and after; the result of init."""
    case.options = options
    data = case.init().data
    write(case, 1000)
    case.sync()
    write(case, 2000)
    case.wait_until_in_sync()
    return data


def write(case: Case, base: int) -> None:
    """Change every table of the source, the selected ones and the others."""
    create(
        case.source,
        f"""
INSERT INTO shop.customers VALUES ({base}, 'eu'), ({base + 1}, 'us');
UPDATE shop.customers SET region = 'eu' WHERE id = 3;
UPDATE shop.customers SET region = 'us' WHERE id = 4;
INSERT INTO shop.orders (id, customer, note) VALUES ({base}, {base}, 'later');
UPDATE shop.orders SET note = 'changed {base}' WHERE id <= 10;
DELETE FROM shop.archive WHERE id = {base // 1000};
INSERT INTO audit.log (order_id, what) VALUES ({base}, 'later');
UPDATE "Odd.s"."T;*" SET v = 'changed {base}';
DELETE FROM shop.parts WHERE id IN ({base // 1000}, 100 + {base // 1000});
UPDATE shop.parts SET v = 'changed {base}' WHERE id IN (50, 150)
""",
    )


def on_target(case: Case) -> set[str]:
    return {name for (name,) in case.target.execute(TABLES_ON_TARGET)}


def rows(database: Database, table: str, where: str = "true") -> list[tuple[Any, ...]]:
    return database.execute(f"SELECT * FROM {table} AS t WHERE {where} ORDER BY 1")


def same(case: Case, *tables: str) -> None:
    for table in tables:
        assert rows(case.source, table) == rows(case.target, table), table


def left(data: dict[str, Any]) -> set[str]:
    return {item["object"] for item in data["left"]}


def test_one_schema_arrives_alone_and_what_needs_another_is_named(shop: Case) -> None:
    data = migrate(shop, schemas=["shop"])
    same(shop, "shop.customers", "shop.orders", "shop.archive", "shop.parts")
    assert on_target(shop) == {
        f"shop.{name}"
        for name in ("customers", "orders", "archive", "parts", "parts_old", "parts_new", "totals")
    }  # fmt: skip
    assert left(data) >= {
        "table audit.log",
        "schema audit",
        "schema Odd.s",
        "view shop.entries",
        "view shop.entry_count",
        "materialized view shop.logged",
        "function shop.last_entry()",
        "constraint orders_logged_fkey on table shop.orders",
        "extension hstore",
    }
    assert shop.target.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'shop'::regnamespace") == [("plain",)]
    assert shop.target.execute("SELECT obj_description('shop.plain(int)'::regprocedure)") == [("stays a function",)]
    assert shop.target.execute("SELECT n FROM shop.totals") == [(102,)] or shop.target.execute(
        "SELECT n FROM shop.totals"
    ) == [(100,)]
    keys = shop.target.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1")
    assert keys == [("archive_order_id_fkey",), ("orders_customer_fkey",)]
    assert_verified(shop.verify())


def test_an_excluded_schema_stays_behind(shop: Case) -> None:
    data = migrate(shop, exclude_schemas=["audit", '"Odd.s"'])
    same(shop, "shop.customers", "shop.orders", "shop.parts")
    assert "schema audit" in left(data)
    assert not {name for name in on_target(shop) if name.startswith(("audit", "Odd"))}
    assert shop.target.execute("SELECT count(*) FROM pg_extension WHERE extname = 'hstore'") == [(1,)]
    assert_verified(shop.verify())


def test_an_excluded_table_takes_what_depends_on_it_with_it(shop: Case) -> None:
    data = migrate(shop, exclude_tables=["audit.*", "shop.archive"])
    same(shop, "shop.customers", "shop.orders", "shop.parts", '"Odd.s"."T;*"')
    assert {"table audit.log", "table shop.archive"} <= left(data)
    assert not {"audit.log", "shop.archive", "shop.entries"} & on_target(shop)
    assert shop.target.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'audit'") == [(1,)]
    assert_verified(shop.verify())


def test_tables_of_hostile_names_can_be_selected_literally(shop: Case) -> None:
    data = migrate(shop, tables=['"Odd.s"."T;*"', "shop.cust*"])
    same(shop, '"Odd.s"."T;*"', "shop.customers")
    assert on_target(shop) == {"Odd.s.T;*", "shop.customers"}
    assert "table shop.orders" in left(data)
    assert_verified(shop.verify())


def test_excluded_data_leaves_the_table_empty_and_unreplicated(shop: Case) -> None:
    data = migrate(shop, schemas=["shop"], exclude_data=["shop.archive"])
    same(shop, "shop.customers", "shop.orders", "shop.parts")
    assert "rows of shop.archive" in left(data)
    assert shop.target.execute("SELECT count(*) FROM shop.archive") == [(0,)]
    assert_verified(shop.verify())


def test_one_partition_may_come_without_its_rows(shop: Case) -> None:
    data = migrate(shop, exclude_data=["parts_old"])
    same(shop, "shop.parts_new", "shop.orders", "audit.log")
    assert "rows of shop.parts_old" in left(data)
    assert shop.target.execute("SELECT count(*) FROM shop.parts_old") == [(0,)]
    assert_verified(shop.verify())
    # The partitioned table is not published by its root, so a partition that joins later has to be noticed.
    shop.source.execute("CREATE TABLE shop.parts_next PARTITION OF shop.parts FOR VALUES FROM (200) TO (300)")
    shop.source.execute("INSERT INTO shop.parts VALUES (250, 'next')")
    assert shop.status().data["state"] != "in_sync"


ROWS = {"shop.customers": "region = 'eu' AND id > 2 -- only these", "parts": "id >= 50"}


def test_only_the_rows_of_a_predicate_arrive_and_stay_current(shop: Case) -> None:
    shop.source.execute("ALTER TABLE shop.customers REPLICA IDENTITY FULL")
    shop.source.execute("ALTER TABLE shop.orders DROP CONSTRAINT orders_customer_fkey")
    migrate(shop, schemas=["shop"], rows=ROWS)
    # Row 3 has moved into the predicate since the copy, row 4 out of it.
    wanted = rows(shop.source, "shop.customers", "region = 'eu' AND id > 2")
    assert rows(shop.target, "shop.customers") == wanted
    assert {3, 1000, 2000} <= {row[0] for row in wanted}
    assert rows(shop.target, "shop.parts") == rows(shop.source, "shop.parts", "id >= 50")
    same(shop, "shop.orders", "shop.archive")
    assert_verified(shop.verify())
    shop.target.execute("DELETE FROM shop.customers WHERE id = 6")
    assert shop.verify().data["verified"] is False


def test_the_whole_database_arrives_without_a_selection(shop: Case) -> None:
    data = migrate(shop)
    assert data["left"] == []
    assert shop.compare().differences == []


# What the table needs, and how it is named.
REFUSED = {
    "a column's type": ("c audit.mood", "type audit.mood -> schema audit"),
    "a domain over it": ("c shop.d", "type shop.d -> type audit.mood -> schema audit"),
    "an array of it": ("c audit.mood[]", "type audit.mood[] -> type audit.mood -> schema audit"),
    "a default": ("c int DEFAULT audit.f(1)", "function audit.f(integer) -> schema audit"),
    "a check": ("c int CHECK (audit.f(c) > 0)", "function audit.f(integer) -> schema audit"),
    "a generated column": ("c int GENERATED ALWAYS AS (audit.f(id)) STORED", "audit.f(integer) -> schema audit"),
    "an extension's type": ("c public.hstore", "type public.hstore -> "),
    "a sequence of another table": ("c int DEFAULT nextval('audit.log_id_seq')", "sequence audit.log_id_seq -> "),
}


@pytest.mark.parametrize(("column", "needed"), REFUSED.values(), ids=REFUSED.keys())
def test_a_selected_table_that_needs_what_is_not_selected_is_refused_before_anything_is_made(
    shop: Case, target_cluster: Cluster, column: str, needed: str
) -> None:
    shop.source.execute("CREATE TYPE audit.mood AS ENUM ('ok')")
    shop.source.execute("CREATE DOMAIN shop.d AS audit.mood")
    shop.source.execute("CREATE FUNCTION audit.f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
    shop.source.execute(f"CREATE TABLE shop.needs (id int PRIMARY KEY, {column})")
    case = Case(shop.source, Database(target_cluster, "not_there_yet"), {"schemas": ["shop"]})
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.code == "bad_option"
    assert "shop.needs" in caught.value.message
    assert needed in caught.value.message
    assert "selection" in caught.value.remedy
    assert case.left_on_source() == NOTHING
    assert target_cluster.execute("SELECT 1 FROM pg_database WHERE datname = 'not_there_yet'") == []


def test_an_index_over_a_function_that_stays_behind_is_left_and_named(shop: Case) -> None:
    shop.source.execute("CREATE FUNCTION audit.f(n int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT n'")
    shop.source.execute("CREATE INDEX by_f ON shop.orders (audit.f(id))")
    shop.source.execute("COMMENT ON INDEX shop.by_f IS 'gone with its index'")
    shop.source.execute("CREATE FUNCTION audit.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    shop.source.execute("CREATE TRIGGER tr BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION audit.t()")
    shop.source.execute("COMMENT ON TRIGGER tr ON shop.orders IS 'gone with its trigger'")
    shop.options = {"schemas": ["shop"]}
    data = shop.init().data
    assert {"index shop.by_f", "trigger tr on table shop.orders"} <= left(data)


def test_another_selection_does_not_continue_a_migration(shop: Case) -> None:
    shop.options = {"schemas": ["shop"]}
    shop.init()
    shop.options = {"schemas": ["shop", "audit"]}
    with pytest.raises(MigrationError) as caught:
        shop.init()
    assert caught.value.code == "ledger_mismatch"


def test_two_parts_of_a_database_can_be_two_migrations(shop: Case, target_cluster: Cluster) -> None:
    other = Case(shop.source, create_database(target_cluster), {"name": "rest", "exclude_schemas": ["shop", "public"]})
    shop.source.execute("ALTER TABLE audit.log DROP CONSTRAINT log_order_id_fkey")
    shop.options = {"schemas": ["shop"]}
    for case in (shop, other):
        case.init()
        case.sync()
    write(shop, 1000)
    shop.wait_until_in_sync()
    other.wait_until_in_sync()
    same(shop, "shop.orders", "shop.parts")
    same(other, "audit.log", '"Odd.s"."T;*"')
    shop.cleanup()
    assert len(other.left_on_source()["slots"]) == 1
    write(shop, 2000)
    other.wait_until_in_sync()
    same(other, "audit.log")
    other.cleanup()
    assert other.left_on_source() == NOTHING
