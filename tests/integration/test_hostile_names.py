# SPDX-License-Identifier: GPL-3.0-or-later
"""Names are data: whatever PostgreSQL accepts as a name goes through the whole cycle, in every position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.migration import bounded
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.playbooks import play
from tests.support.schema_dump import catalog_objects, schema_differences
from tests.support.unreachable import altered
from tests.support.verified import assert_verified

NAMES = (
    'Weird "Näme"; --',
    "it's",
    "it''s $$ $1 $tag$",
    "back\\slash \\' \\\\",
    '"quoted"',
    "semi; DROP TABLE x; --",
    "%s %(x)s %% %",
    "{} {0} {{ x }} {% x %}",
    "dot.ted.name",
    " spaces around ",
    "表 🐘 Ünï ñ",
    "ü" * 31 + "!",  # 63 bytes
    "x" * 63,
    "select",
    "1digit",
    "new\nline\ttab",
    "/* comment",
    "*?[a]|(b)^$+-",
    "~/x=y,z:w@v#u&t",
    "E'\\x41'",
)
PASSWORD = "a password of the test"


def statements(number: int, name: str) -> Iterator[sql.Composable]:
    """Give every kind of object in a schema of its own this one name, or a number where names must differ."""
    short = name.encode()[:56].decode(errors="ignore")
    item = {
        "role": sql.Identifier(f"r{number} {short}"),
        "schema": sql.Identifier(name),
        "table": sql.Identifier(name, name),
        "name": sql.Identifier(name),
        "child": sql.Identifier(name, f"c {short}"),
        "parted": sql.Identifier(name, f"p {short}"),
        "part": sql.Identifier(name, f"q {short}"),
        "keyless": sql.Identifier(name, f"k {short}"),
        "sequence": sql.Identifier(name, f"s {short}"),
        "index": sql.Identifier(f"i {short}"),
        "view": sql.Identifier(name, f"v {short}"),
        "matview": sql.Identifier(name, f"m {short}"),
        "type": sql.Identifier(name, f"t {short}"),
        "constraint": sql.Identifier(f"x {short}"),
        "text": sql.Literal(name),
        "nextval": sql.Literal(f"{sql.Identifier(name, f's {short}').as_string(None)}"),
    }
    for text in (
        "CREATE ROLE {role}",
        "CREATE SCHEMA {schema} AUTHORIZATION {role}",
        "CREATE TYPE {type} AS ENUM ({text}, 'other')",
        "CREATE SEQUENCE {sequence}",
        "CREATE TABLE {table} ({name} bigint NOT NULL DEFAULT nextval({nextval}), v text DEFAULT {text}, e {type})",
        "ALTER TABLE {table} ADD g text GENERATED ALWAYS AS (v || {text}) STORED",
        "ALTER TABLE {table} ADD CONSTRAINT {constraint} PRIMARY KEY ({name})",
        "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK (v <> 'forbidden')",
        "CREATE FUNCTION {table}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
        "CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}()",
        "CREATE STATISTICS {table} ON {name}, v FROM {table}",
        "CREATE INDEX {index} ON {table} (v)",
        "CREATE TABLE {child} (id int PRIMARY KEY, {name} bigint REFERENCES {table} ({name}))",
        "CREATE TABLE {parted} ({name} text NOT NULL PRIMARY KEY) PARTITION BY LIST ({name})",
        "CREATE TABLE {part} PARTITION OF {parted} FOR VALUES IN ({text})",
        "CREATE TABLE {keyless} ({name} text)",
        "ALTER TABLE {keyless} REPLICA IDENTITY FULL",
        "INSERT INTO {table} (v, e) SELECT {text}, {text} FROM generate_series(1, 5)",
        "INSERT INTO {child} SELECT n, n FROM generate_series(1, 5) AS n",
        "INSERT INTO {parted} VALUES ({text})",
        "INSERT INTO {keyless} VALUES ({text}), (NULL), ('')",
        "CREATE VIEW {view} AS SELECT {name} FROM {table}",
        "CREATE MATERIALIZED VIEW {matview} AS SELECT {name} FROM {table}",
        "ALTER TABLE {table} OWNER TO {role}",
        "GRANT SELECT ON {child} TO {role}",
        "CREATE POLICY {name} ON {table} TO {role} USING (v = {text})",
        "COMMENT ON COLUMN {table}.{name} IS {text}",
    ):
        yield sql.SQL(text).format(**item)


def write(case: Case, name: str) -> None:
    """Write to the tables of one name after the copy."""
    short = name.encode()[:56].decode(errors="ignore")
    column, text = sql.Identifier(name), sql.Literal(name)
    table, keyless = sql.Identifier(name, name), sql.Identifier(name, f"k {short}")
    for statement in (
        sql.SQL("INSERT INTO {} (v, e) VALUES ({}, 'other')").format(table, text),
        sql.SQL("UPDATE {} SET v = v || 'x', {} = {} + 100 WHERE {} = 6").format(table, column, column, column),
        sql.SQL("UPDATE {} SET {} = {} WHERE {} IS NULL").format(keyless, column, text, column),
        sql.SQL("DELETE FROM {} WHERE {} = ''").format(keyless, column),
    ):
        case.source.execute(statement)


def migrate(case: Case) -> None:
    case.init()
    case.sync()
    case.wait_until_in_sync()


def assert_equal_and_verified(case: Case) -> None:
    assert case.compare().differences == []
    data = case.verify().data
    assert [table for table in data["tables"] if table["status"] != "verified"] == []
    assert_verified(data)


def test_every_kind_of_object_may_have_any_name(source_db: Database, target_db: Database) -> None:
    with source_db.connect() as connection:
        for number, name in enumerate(NAMES):
            for statement in statements(number, name):
                connection.execute(statement)
    case = Case(source_db, target_db)
    case.init()
    for name in NAMES:
        write(case, name)
    case.sync()
    for name in NAMES:
        write(case, name)
    case.wait_until_in_sync()
    assert_equal_and_verified(case)
    clients = target_db.cluster.client_dir
    assert schema_differences(source_db.dsn, target_db.dsn, clients, ("seren_migrator",)) == []
    assert not case.init().changed
    assert not case.sync().changed
    assert case.cleanup().data["left"] == []
    assert case.left_on_source() == NOTHING


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 20) AS n")
    yield Case(source_db, target_db)


MIGRATION_NAMES = (
    'Weird "Näme"; -- it\'s \\ $$',
    "%s %(x)s {} {{ x }} {0} $1",
    "new\nline, a.b.c @:/?#",
    "表" * 30,
    "x" * 200,
)


@pytest.mark.parametrize("name", MIGRATION_NAMES, ids=range(len(MIGRATION_NAMES)))
def test_a_migration_may_have_any_name(case: Case, name: str) -> None:
    case.options = {"name": name}
    migrate(case)
    assert case.left_on_source()["publications"] == [(bounded(name, "_pub"),)]
    assert case.target.execute("SELECT subname FROM pg_subscription") == [(bounded(name, "_sub"),)]
    case.source.execute("INSERT INTO a VALUES (100, 'later')")
    case.source.execute("CREATE TABLE p (id int PRIMARY KEY)")
    assert not case.sync().changed
    case.source.execute("DROP TABLE p")
    case.wait_until_in_sync()
    assert_equal_and_verified(case)
    assert case.cleanup().data["left"] == []
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT subname FROM pg_subscription") == []


def test_long_names_that_begin_alike_do_not_meet(case: Case) -> None:
    case.source.execute("CREATE TABLE b (id int PRIMARY KEY)")
    one = Case(case.source, case.target, {"name": "x" * 80 + "1", "tables": ["a"]})
    two = Case(case.source, create_database(case.target.cluster), {"name": "x" * 80 + "2", "tables": ["b"]})
    migrate(one)
    migrate(two)
    assert len(case.left_on_source()["publications"]) == 2
    one.cleanup()
    case.source.execute("INSERT INTO b VALUES (1)")
    two.wait_until_in_sync()
    assert two.target.execute("SELECT id FROM b") == [(1,)]


def test_an_orphan_of_any_name_is_found_by_its_comment(case: Case) -> None:
    case.options = {"name": MIGRATION_NAMES[0]}
    case.init()
    elsewhere = Case(case.source, create_database(case.target.cluster), case.options)
    assert elsewhere.cleanup(force=True).changed
    assert case.left_on_source() == NOTHING


LOGINS = ('Weird "Näme"; -- it\'s \\ $$ %s', "{} @:/?#=&", "x" * 63, "select", " 表 ")


@pytest.mark.parametrize("name", LOGINS, ids=range(len(LOGINS)))
def test_databases_and_logins_may_have_any_name(source_db: Database, target_db: Database, name: str) -> None:
    """The target database does not exist yet."""
    for database in (source_db, target_db):
        database.cluster.execute(
            sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(sql.Identifier(name), sql.Literal(PASSWORD))
        )
    source = create_database(source_db.cluster, name)
    source.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source.execute(sql.SQL("ALTER TABLE a OWNER TO {}").format(sql.Identifier(name)))
    source.execute("INSERT INTO a VALUES (1, 'row')")
    target = Database(target_db.cluster, name)
    login = {"user": name, "password": PASSWORD}
    case = Case(altered(source, **login), altered(target, **login))
    migrate(case)
    source.execute("INSERT INTO a VALUES (2, 'later')")
    case.wait_until_in_sync()
    assert_equal_and_verified(case)
    assert "table public.a" in catalog_objects(target.dsn)
    assert case.cleanup().data["left"] == []


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_quoted_pattern_selects_exactly_its_name(source_db: Database, target_db: Database, name: str) -> None:
    quoted = sql.Identifier(name).as_string(None)
    source_db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    for table in (name, "other"):
        source_db.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY)").format(sql.Identifier(name, table)))
    case = Case(source_db, target_db, {"tables": [f"{quoted}.{quoted}"], "rows": {f"{quoted}.{quoted}": "id > 0"}})
    planned = case.init(check_mode=True).data["tables"]
    assert [(table["schema"], table["name"]) for table in planned] == [(name, name)]


def test_quoted_patterns_leave_out_exactly_their_names(source_db: Database, target_db: Database) -> None:
    for name in NAMES:
        source_db.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY)").format(sql.Identifier(name)))
        source_db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        source_db.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY)").format(sql.Identifier(name, "t")))
    source_db.execute("CREATE TABLE kept (id int PRIMARY KEY)")
    quoted = [sql.Identifier(name).as_string(None) for name in NAMES]
    options = {"exclude_tables": [f"public.{name}" for name in quoted], "exclude_schemas": quoted}
    case = Case(source_db, target_db, options)
    case.init()
    objects = catalog_objects(target_db.dsn, ("seren_migrator",))
    assert {text for text in objects if text.startswith(("table ", "schema "))} == {
        "schema public",
        "table public.kept",
        "table constraint kept_pkey on public.kept",
    }


def test_the_playbook_takes_any_name(case: Case) -> None:
    name = 'Weird "Näme"; -- it\'s \\ $$ %s {}'
    variables: dict[str, Any] = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migration_name": name,
        "migrate_tables": ['public."a"'],
        "migrate_client_bin_dir": case.bin_dir,
        "migrate_wait_sleep": 1,
    }
    played = play("migrate", variables)
    assert played.code == 0, played.output
    assert_verified(played.result("pg_migration_verify"))
    assert play("migrate", variables).changed == 0
