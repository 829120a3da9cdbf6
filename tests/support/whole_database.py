# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a database as a whole share: a migration of one table, properties of all kinds, and how to look at them."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.preflight import H

TEXT = "it's \"quoted\" \\ $$; --\n'); DROP TABLE t; --"
PROPERTIES = """
SELECT datconnlimit, datistemplate, shobj_description(oid, 'pg_database'),
       (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0)
  FROM pg_database AS d WHERE datname = current_database()
"""
LOGGING = f"""
CREATE TABLE ddl_log (id serial PRIMARY KEY, tag text);
CREATE FUNCTION {H}() RETURNS event_trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.ddl_log (tag) VALUES (tg_tag); END $$;
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no DDL here'; END $$;
CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION {H}();
ALTER EVENT TRIGGER always ENABLE ALWAYS;
CREATE EVENT TRIGGER {H} ON ddl_command_end EXECUTE FUNCTION {H}();
COMMENT ON EVENT TRIGGER {H} IS 'logs; --''';
"""
TRIGGERS = """
SELECT evtname, evtevent, evttags, evtfoid::regproc::text, pg_get_userbyid(evtowner),
       obj_description(oid, 'pg_event_trigger')
  FROM pg_event_trigger ORDER BY 1
"""
LARGE = """
SELECT oid::bigint, md5(lo_get(oid)), pg_get_userbyid(lomowner), lomacl::text, obj_description(oid, 'pg_largeobject')
  FROM pg_largeobject_metadata ORDER BY oid
"""


def one_table(source: Database, target: Database) -> Case:
    """A migration of one table, beside what else a database has."""
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source.execute("INSERT INTO t SELECT n, 'row' FROM generate_series(1, 20) AS n")
    return Case(source, target)


def alter(database: Database, change: str, *values: str) -> None:
    """ALTER DATABASE ... of the connected one."""
    words = sql.SQL("ALTER DATABASE {} ").format(sql.Identifier(database.name))
    database.execute(words + sql.SQL(change).format(*map(sql.Literal, values)))


def comment(database: Database, text: str) -> None:
    database.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database.name), sql.Literal(text)))


def furnish(database: Database) -> None:
    """Properties of all kinds, some of them with text that could be mistaken for SQL."""
    comment(database, TEXT)
    alter(database, "CONNECTION LIMIT 100")
    alter(database, 'SET search_path = "$user", "Weird ""Näme""; --", public')
    alter(database, "SET app.jwt = {}", f"secret {TEXT}")
    alter(database, "SET work_mem = '5MB'")
    alter(database, "SET datestyle = {}", "German, YMD")


def left(data: dict[str, Any]) -> dict[str, str]:
    return {item["object"]: item["reason"] for item in data["left"]}


def replicate(case: Case) -> None:
    """sync, then a change that has to arrive."""
    case.sync()
    case.source.execute("INSERT INTO t SELECT max(id) + 1, 'later' FROM t")
    case.wait_until_in_sync()
    assert case.compare().differences == []
