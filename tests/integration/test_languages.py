# SPDX-License-Identifier: GPL-3.0-or-later
"""Procedural languages that the target has before the migration."""

from __future__ import annotations

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database
from tests.support.migrations import Case

HOSTILE = 'Weird "Näme"; --'
H = sql.Identifier(HOSTILE).as_string(None)
MADE = f"""
CREATE SCHEMA {H};
CREATE FUNCTION {H}.{H}() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION {H}.checks(oid) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE {H} HANDLER {H}.{H} VALIDATOR {H}.checks;
"""
USES = f"CREATE TABLE t (id int PRIMARY KEY); CREATE FUNCTION f() RETURNS int LANGUAGE {H} AS 'BEGIN RETURN 42; END'"
OWNER = "SELECT pg_get_userbyid(lanowner), lanacl::text FROM pg_language WHERE lanname = 'Weird \"Näme\"; --'"


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute(MADE)
    source_db.execute(USES)
    source_db.execute(f"CREATE ROLE app; GRANT USAGE ON LANGUAGE {H} TO app; ALTER LANGUAGE {H} OWNER TO app")
    return Case(source_db, target_db)


def test_a_language_is_made_with_its_functions(case: Case) -> None:
    assert case.init().data["left"] == []
    assert case.target.execute("SELECT f()") == [(42,)]
    assert case.target.execute(OWNER)[0][0] == "app"


@pytest.mark.parametrize("functions", ("in the same schema", "elsewhere"))
def test_a_language_that_the_target_has_in_the_same_way_stays_as_it_is_there(case: Case, functions: str) -> None:
    made = (
        MADE
        if functions == "in the same schema"
        else MADE.replace(f"{H}.", "public.").replace(f"SCHEMA {H}", "SCHEMA s")
    )
    case.target.execute(f"{made} CREATE ROLE other; ALTER LANGUAGE {H} OWNER TO other")
    before = case.target.execute(OWNER)
    for data in (case.init(check_mode=True).data, case.init().data):
        assert [item["object"] for item in data["left"]] == [f"owner and privileges of language {HOSTILE}"]
    assert case.target.execute("SELECT f()") == [(42,)]
    assert case.target.execute(OWNER) == before
    case.sync()
    case.wait_until_in_sync()
    different = case.verify().data["objects"]["different"]
    assert [item for item in different if item["what"] != "extra"] == []
    assert (functions == "elsewhere") == bool(different)  # where the target has put them


def test_starting_over_leaves_a_language_that_was_there(case: Case) -> None:
    case.target.execute(MADE)
    case.init()
    case.init(resume=False)
    assert case.target.execute("SELECT f()") == [(42,)]


def test_a_language_of_that_name_made_of_something_else_stops_init_and_nothing_is_kept(case: Case) -> None:
    case.target.execute(MADE.replace("CREATE TRUSTED", "CREATE"))
    with pytest.raises(MigrationError, match="already exists"):
        case.init()
    assert case.target.execute("SELECT count(*) FROM pg_class WHERE relname = 't'") == [(0,)]
