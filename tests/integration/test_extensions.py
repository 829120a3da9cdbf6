# SPDX-License-Identifier: GPL-3.0-or-later
"""Extensions: their versions, their comments, and the rows that users keep in their tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H
from tests.support.whole_database import (
    TEXT,
    left,
    one_table,
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    return one_table(source_db, target_db)


KEPT = """
CREATE TABLE parts (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE kinds (code text PRIMARY KEY, is_own boolean DEFAULT false);
CREATE TABLE free (n int, t text, j json);
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text REFERENCES kinds, twice int GENERATED ALWAYS AS (2) STORED);
CREATE SEQUENCE ids;
INSERT INTO kinds VALUES ('own', true), ('shared', true);
INSERT INTO free VALUES (0, 'own', '{}');
SELECT pg_catalog.pg_extension_config_dump('numbered', '');
SELECT pg_catalog.pg_extension_config_dump('kinds', 'WHERE NOT is_own OR code LIKE ''%own%''');
SELECT pg_catalog.pg_extension_config_dump('free', '');
SELECT pg_catalog.pg_extension_config_dump('ids', '');
"""
HELD = """
SELECT (SELECT array_agg(k::text ORDER BY k::text) FROM {0}.kinds AS k),
       (SELECT array_agg(f::text ORDER BY f::text) FROM {0}.free AS f),
       (SELECT array_agg(n::text ORDER BY n::text) FROM {0}.numbered AS n),
       (SELECT last_value FROM {0}.ids)
"""


def test_rows_of_users_in_tables_of_extensions_are_copied_once(case: Case, offered: Callable[..., None]) -> None:
    offered("seren_rows", KEPT, source="1.0", target="1.0")
    case.source.execute(
        f"CREATE SCHEMA {H}; CREATE EXTENSION seren_rows SCHEMA {H}; SET search_path = {H};"
        "INSERT INTO kinds VALUES ('tab\t\\ ''\"'); UPDATE kinds SET is_own = NULL WHERE code = 'own';"
        "INSERT INTO free VALUES (1, 'x', '[1]'), (1, 'x', '[1]'), (NULL, NULL, NULL), (0, 'own', '{}');"
        "INSERT INTO numbered (kind) VALUES ('tab\t\\ ''\"'), ('shared'); DELETE FROM numbered WHERE id = 1;"
        "SELECT nextval('ids'), nextval('ids'), nextval('ids')"
    )
    planned = left(case.init(check_mode=True).data)
    data = case.init().data
    said = left(data)
    assert said[f"rows of {HOSTILE}.free (extension seren_rows)"] == "copied once, never replicated"
    # A row that the extension itself has put there is never changed.
    assert said[f"rows of {HOSTILE}.kinds (extension seren_rows)"].endswith("1 row(s) stay as the target has them")
    assert set(planned) == set(said)
    there, here = (side.execute(HELD.format(H))[0] for side in (case.target, case.source))
    assert there[1:] == here[1:]
    assert set(there[0]) ^ set(here[0]) == {"(own,)", "(own,t)"}
    # Again, into the extension that is there now: nothing is doubled.
    case.init(resume=False)
    assert case.target.execute(HELD.format(H))[0] == there


def test_rows_of_extensions_can_stay_behind_or_be_a_reason_to_refuse(case: Case, offered: Callable[..., None]) -> None:
    offered("seren_rows", KEPT, source="1.0", target="1.0")
    case.source.execute("CREATE EXTENSION seren_rows; INSERT INTO free VALUES (5)")
    with pytest.raises(MigrationError) as caught:
        case.init(extension_data="fail")
    assert caught.value.details["checks"] == ["extension_tables"]
    data = case.init(extension_data="skip").data
    assert left(data)["rows of public.free (extension seren_rows)"] == "extension_data: skip"
    assert case.target.execute("SELECT count(*) FROM free") == [(1,)]


def test_rows_that_the_target_s_extension_does_not_take_are_named(case: Case, offered: Callable[..., None]) -> None:
    script = (
        "CREATE TABLE a (id int, gone int); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int);"
        + "".join(f"SELECT pg_catalog.pg_extension_config_dump('{name}', '');" for name in "abc")
    )
    offered("seren_other", script, source="1.0")
    changed = script.replace(", gone int", "").replace("id int PRIMARY KEY", "id int PRIMARY KEY CHECK (id < 5)")
    case.source.execute("CREATE EXTENSION seren_other; INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (1), (9)")
    case.source.execute("INSERT INTO c VALUES (3)")
    other = case.target.cluster
    assert other.installation.root != case.source.cluster.installation.root
    for gone in ("CREATE TABLE c (id int);", "SELECT pg_catalog.pg_extension_config_dump('c', '');"):
        changed = changed.replace(gone, "")
    offered("seren_other", changed, target="1.0")
    said = left(case.init().data)
    assert "lacks the column(s) gone" in said["rows of public.a (extension seren_other)"]
    assert "check constraint" in said["rows of public.b (extension seren_other)"]
    assert "does not make this table" in said["rows of public.c (extension seren_other)"]


def test_jobs_and_what_spreads_rows_stay_behind(case: Case, offered: Callable[..., None]) -> None:
    offered(
        "pg_cron",
        "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigserial PRIMARY KEY, schedule text, command text,"
        " database text, active boolean DEFAULT true, jobname text);"
        "SELECT pg_catalog.pg_extension_config_dump('cron.job', '');",
        source="1.6",
        target="1.6",
    )
    case.source.execute("CREATE EXTENSION pg_cron; INSERT INTO cron.job (schedule) VALUES ('5 * * * *')")
    said = left(case.init(skip_checks=["target_preload"]).data)
    assert "before the cutover" in said["rows of cron.job (extension pg_cron)"]
    assert case.target.execute("SELECT count(*) FROM cron.job") == [(0,)]


@pytest.mark.parametrize("policy", ["default", "source"])
def test_extensions_are_made_in_the_version_that_is_asked_for(
    policy: str, case: Case, offered: Callable[..., None]
) -> None:
    offered("seren_versions", "CREATE FUNCTION v() RETURNS int LANGUAGE sql AS 'SELECT 1';", source="1.0", target="1.0")
    case.source.execute(f"CREATE SCHEMA {H}; CREATE EXTENSION seren_versions SCHEMA {H}")
    offered("seren_versions", "CREATE FUNCTION v() RETURNS int LANGUAGE sql AS 'SELECT 2';", target="2.0")
    case.source.execute('CREATE VIEW uses AS SELECT "Weird ""Näme""; --".v() AS v')
    versions = "SELECT extversion, (SELECT v FROM uses) FROM pg_extension WHERE extname = 'seren_versions'"
    data = case.init(extension_versions=policy).data
    if policy == "source":
        assert data["left"] == []
        assert case.target.execute(versions) == [("1.0", 1)]
    else:
        assert left(data) == {"version 1.0 of extension seren_versions": "the target has 2.0"}
        assert case.target.execute(versions) == [("2.0", 2)]


def test_an_extension_that_only_the_provider_has_stays_behind(case: Case, offered: Callable[..., None]) -> None:
    script = "CREATE TABLE state (id int); SELECT pg_catalog.pg_extension_config_dump('state', '');"
    offered("neon", f"{script} CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';", source="1.0")
    case.source.execute(f"CREATE SCHEMA {H}; CREATE EXTENSION neon SCHEMA {H}; INSERT INTO {H}.state VALUES (1)")
    case.source.execute("COMMENT ON EXTENSION neon IS 'ours'")
    said = left(case.init().data)
    assert said == {"extension neon": "only Neon has it, and nothing that is migrated needs it"}
    assert case.target.execute("SELECT extname FROM pg_extension") == [("plpgsql",)]


def test_an_extension_of_the_provider_that_something_needs_is_refused(case: Case, offered: Callable[..., None]) -> None:
    offered("neon", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';", source="1.0")
    case.source.execute("CREATE EXTENSION neon; CREATE TABLE needs_it (id int PRIMARY KEY, v int DEFAULT f())")
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.details["checks"] == ["target_extensions"]
    case.options["exclude_tables"] = ["needs_it"]
    case.init()


def test_a_comment_of_one_s_own_on_an_extension_arrives(case: Case) -> None:
    own = sql.SQL("COMMENT ON EXTENSION citext IS {0}; COMMENT ON EXTENSION plpgsql IS {0}").format(sql.Literal(TEXT))
    case.source.execute("CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION unaccent")
    case.source.execute(own)
    case.source.execute("COMMENT ON EXTENSION hstore IS NULL; COMMENT ON EXTENSION unaccent IS 'the source''s'")
    case.target.execute("CREATE EXTENSION unaccent; COMMENT ON EXTENSION unaccent IS 'the target''s'")
    said = left(case.init().data)
    assert set(said) == {"comment of extension unaccent"}
    comments = "SELECT extname, obj_description(oid, 'pg_extension') FROM pg_extension ORDER BY 1"
    there = dict(case.target.execute(comments))
    assert there == {"citext": TEXT, "hstore": None, "plpgsql": TEXT, "unaccent": "the target's"}
