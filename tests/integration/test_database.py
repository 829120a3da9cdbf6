# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to the database as a whole: its properties and settings, event triggers, extensions, labels, large objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils import attempts, event_triggers, large_objects
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import PASSWORD, PROVIDER, AsAdmin, managed
from tests.support.binaries import distribution
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.label_provider import build_label_provider
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H
from tests.support.sweep import sweep

TEXT = "it's \"quoted\" \\ $$; --\n'); DROP TABLE t; --"
PROPERTIES = """
SELECT datconnlimit, datistemplate, shobj_description(oid, 'pg_database'),
       (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0)
  FROM pg_database AS d WHERE datname = current_database()
"""


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO t SELECT n, 'row' FROM generate_series(1, 20) AS n")
    return Case(source_db, target_db)


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


# --- properties and settings ---------------------------------------------------------------------------------------


def test_properties_of_the_database_arrive_in_one_that_was_there(case: Case) -> None:
    furnish(case.source)
    migration = case.migration()
    planned = case.init(check_mode=True).data
    assert case.target.execute(PROPERTIES) == [(-1, False, None, None)]
    assert planned["plan"]["left"] == []
    data = case.init().data
    assert data["left"] == []
    assert case.target.execute(PROPERTIES) == case.source.execute(PROPERTIES)
    for setting in ("search_path", "app.jwt", "DateStyle"):
        assert case.target.execute(f"SHOW {setting}") == case.source.execute(f"SHOW {setting}")
    assert "secret" not in str(migration.log.entries)
    assert "secret" not in str(case.target.execute("SELECT detail::text FROM seren_migrator.step"))
    assert not case.init().changed
    replicate(case)


def test_values_of_applications_settings_are_never_shown(case: Case) -> None:
    furnish(case.source)
    for check_mode in (True, False):
        migration = case.migration()
        case.migration = lambda migration=migration: migration  # type: ignore[method-assign]
        case.init(check_mode=check_mode)
        assert any('SET "app"."jwt"' in entry for entry in migration.log.entries)
        assert "secret" not in str(migration.log.entries)


def test_an_absent_database_is_made_with_all_of_its_properties(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    source = create_database(source_cluster, 'Odd "db"; --')
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    furnish(source)
    alter(source, "IS_TEMPLATE true")
    case = Case(source, Database(target_cluster, source.name))
    try:
        assert case.init(check_mode=True).data["plan"]["left"] == []
        assert case.init().data["left"] == []
        assert case.target.execute(PROPERTIES) == source.execute(PROPERTIES)
        case.cleanup()
    finally:
        for database in (source, case.target):
            alter(database, "IS_TEMPLATE false")
        sweep(target_cluster)
        sweep(source_cluster)


@pytest.fixture
def with_icu() -> Iterator[Cluster]:
    """A server of 15 that knows ICU; the wheels do not."""
    installation = distribution(15)
    if installation is None:
        pytest.skip("no PostgreSQL 15 of the distribution")
    with Cluster(15, installation=installation) as cluster:
        yield cluster


def test_a_locale_of_icu_arrives_where_the_target_has_it_and_else_is_named(
    with_icu: Cluster, target_cluster: Cluster
) -> None:
    options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kf-upper' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
    source = create_database(with_icu, options=options)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    with pytest.raises(MigrationError) as caught:
        Case(source, Database(target_cluster, source.name)).init()
    assert "locale" in caught.value.message
    assert "create the database by hand" in caught.value.remedy
    assert target_cluster.execute("SELECT 1 FROM pg_database WHERE datname = %s", parameters=[source.name]) == []
    assert source.execute("SELECT 1 FROM pg_replication_slots") == []
    with Cluster(15, installation=with_icu.installation) as other:
        target = Database(other, source.name)
        assert Case(source, target).init(skip_checks=["subscription_probe"]).data["left"] == []
        locale = "SELECT datlocprovider, daticulocale, datcollate, datctype FROM pg_database WHERE datname = current_database()"
        assert target.execute(locale) == source.execute(locale) == [("i", "de-u-kf-upper", "C", "C.UTF-8")]


def test_what_the_target_s_database_has_otherwise_is_named_and_never_changed(case: Case) -> None:
    furnish(case.source)
    alter(case.source, "IS_TEMPLATE true")
    comment(case.target, "its own")
    alter(case.target, "CONNECTION LIMIT 50")
    alter(case.target, "SET work_mem = '7MB'")
    alter(case.target, "SET app.jwt = 'hidden'")
    before = case.target.execute(PROPERTIES)[0]
    try:
        data = case.init().data
    finally:
        alter(case.source, "IS_TEMPLATE false")
    assert set(left(data)) == {
        "comment of the database",
        "template mark of the database",
        "connection limit 100 of the database",
        "setting app.jwt of the database",
        "setting work_mem of the database",
    }
    assert "hidden" not in str(data)
    after = case.target.execute(PROPERTIES)[0]
    assert after[:3] == before[:3]
    assert set(before[3]) < set(after[3])
    assert {entry.split("=")[0] for entry in after[3]} == {"app.jwt", "work_mem", "search_path", "DateStyle"}


def test_what_would_hinder_the_migration_waits_and_is_named(case: Case) -> None:
    waiting = ("default_transaction_read_only", "lock_timeout", "transaction_timeout", "array_nulls", "xmloption")
    case.source.execute("CREATE TABLE arrays (id int PRIMARY KEY, a int[], x xml)")
    for name, value in (
        ("default_transaction_deferrable", "on"),
        ("lock_timeout", "1ms"),
        ("array_nulls", "off"),
        ("xmloption", "document"),
        ("default_transaction_isolation", "serializable"),
        ("statement_timeout", "3h"),
        ("session_preload_libraries", "auto_explain"),
        ("temp_tablespaces", "pg_default"),
        ("neon.something", "1"),
        ("cron.log_run", "1"),
    ):
        alter(case.source, f"SET {name} = {{}}", value)
    data = case.init().data
    said = left(data)
    assert case.target.execute(PROPERTIES)[0][3] == ["statement_timeout=3h"]
    assert "until" not in said
    assert set(said) == {
        f"setting {name} of the database"
        for name in (
            "default_transaction_deferrable", "lock_timeout", "array_nulls", "xmloption", "default_transaction_isolation",
            "session_preload_libraries", "temp_tablespaces", "neon.something", "cron.log_run",
        )
    }  # fmt: skip
    assert "cutover" in said["setting lock_timeout of the database"]
    step = case.target.execute("SELECT detail -> 'waiting_settings' FROM seren_migrator.step WHERE step = 'database'")
    assert set(step[0][0]) & set(waiting) == {"lock_timeout", "array_nulls", "xmloption"}
    replicate(case)
    case.source.execute("INSERT INTO arrays VALUES (1, ARRAY[1, NULL, 3], XMLPARSE (CONTENT 'a<b/>'))")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT a, x::text FROM arrays") == [([1, None, 3], "a<b/>")]


def test_a_read_only_source_database_does_not_make_the_target_read_only(case: Case) -> None:
    alter(case.source, "SET default_transaction_read_only = on")
    data = case.init(skip_checks=["source_read_only"]).data
    assert "setting default_transaction_read_only of the database" in left(data)
    assert case.target.execute("SHOW default_transaction_read_only") == [("off",)]


@pytest.mark.parametrize("limit", [3, 500])
def test_a_connection_limit_that_would_stop_a_managed_migration_waits(
    limit: int, source_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'row')")
    alter(source_db, f"CONNECTION LIMIT {limit}")
    comment(source_db, TEXT)
    alter(source_db, "SET app.jwt = 'secret'")
    alter(source_db, "SET work_mem = '5MB'")
    alter(source_db, "SET log_statement = 'all'")
    target = managed(target_cluster, PROVIDER)
    try:
        data = Case(source_db, target).init(roles="none").data
        named = set(left(data))
        assert {"setting app.jwt of the database", "setting log_statement of the database"} <= named
        assert (f"connection limit {limit} of the database" in named) == (limit == 3)
        there = target.execute(PROPERTIES)[0]
        assert there == (-1 if limit == 3 else limit, False, TEXT, ["work_mem=5MB"])
    finally:
        sweep(target_cluster)


def test_a_run_that_died_before_its_last_word_goes_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(case.source)
    case.source.execute(LOGGING)

    def die(*_arguments: Any, **_options: Any) -> None:
        raise MigrationError("database_error", "died")

    carry_over = attempts.carry_out

    def half(session: Any, wanted: Any) -> Any:
        carry_over(session, wanted[:2])
        die()

    with monkeypatch.context() as patched:
        patched.setattr(attempts, "carry_out", half)
        patched.setattr(event_triggers, "carry_over", lambda *_arguments: None)
        with pytest.raises(MigrationError, match="died"):
            case.init()
    assert case.target.execute(PROPERTIES) != case.source.execute(PROPERTIES)
    case.init()
    assert case.target.execute(PROPERTIES) == case.source.execute(PROPERTIES)
    assert case.target.execute("SELECT evtname FROM pg_event_trigger ORDER BY 1") == [(HOSTILE,), ("always",)]


# --- event triggers ------------------------------------------------------------------------------------------------

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
REFUSING = """
CREATE EVENT TRIGGER refusing ON ddl_command_start WHEN TAG IN ('CREATE SUBSCRIPTION', 'CREATE TABLE', 'DROP TABLE')
  EXECUTE FUNCTION refuse()
"""
TRIGGERS = """
SELECT evtname, evtevent, evttags, evtfoid::regproc::text, pg_get_userbyid(evtowner),
       obj_description(oid, 'pg_event_trigger')
  FROM pg_event_trigger ORDER BY 1
"""


def test_event_triggers_arrive_and_rest_until_the_cutover(case: Case) -> None:
    case.source.execute(LOGGING)
    case.source.execute(REFUSING)
    case.source.execute("ALTER EVENT TRIGGER refusing DISABLE")
    data = case.init().data
    case.target.execute("SELECT 1")
    assert case.target.execute(TRIGGERS) == case.source.execute(TRIGGERS)
    assert case.target.execute("SELECT DISTINCT evtenabled FROM pg_event_trigger") == [("D",)]
    said = left(data)
    assert "ENABLE ALWAYS" in said["event trigger always"]
    assert said[f"event trigger {HOSTILE}"].endswith("ENABLE")
    assert "event trigger refusing" not in said
    known = case.target.execute(
        "SELECT detail -> 'event_triggers' FROM seren_migrator.step WHERE step = 'event_triggers'"
    )
    assert {item["name"]: item["enabled"] for item in known[0][0]} == {"always": "A", HOSTILE: "O", "refusing": "D"}
    # What they would have written on the target would now collide with what comes.
    case.source.execute("DROP EVENT TRIGGER refusing")
    replicate(case)
    case.source.execute("CREATE TABLE more (id int PRIMARY KEY)")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT * FROM ddl_log") == case.source.execute("SELECT * FROM ddl_log")
    assert not case.init().changed


def test_event_triggers_can_stay_behind(case: Case) -> None:
    case.source.execute(LOGGING)
    data = case.init(event_triggers="skip").data
    assert left(data) == {
        "event trigger always": "event_triggers: skip",
        f"event trigger {HOSTILE}": "event_triggers: skip",
    }
    assert case.target.execute(TRIGGERS) == []


def test_an_event_trigger_of_the_target_is_not_changed(case: Case) -> None:
    case.source.execute(LOGGING)
    case.target.execute(
        "CREATE SCHEMA own; CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION own.f()"
    )
    data = case.init().data
    assert "which is not changed" in left(data)["event trigger always"]
    assert case.target.execute("SELECT evtfoid::regproc::text, evtenabled FROM pg_event_trigger ORDER BY 1")[-1] == (
        "own.f",
        "O",
    )
    case.init(resume=False)
    assert ("own.f",) in case.target.execute("SELECT evtfoid::regproc::text FROM pg_event_trigger")


def test_starting_over_takes_our_event_triggers_back(case: Case) -> None:
    case.source.execute(LOGGING)
    case.init()
    case.source.execute("DROP EVENT TRIGGER always")
    assert any("DROP EVENT TRIGGER" in text for text in planned_statements(case))
    case.init(resume=False)
    assert case.target.execute(TRIGGERS) == case.source.execute(TRIGGERS)


def test_starting_over_leaves_an_event_trigger_that_took_the_name_of_ours(case: Case) -> None:
    case.source.execute(LOGGING)
    case.init()
    case.target.execute(
        "DROP EVENT TRIGGER always; CREATE SCHEMA own;"
        "CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER always ON ddl_command_end EXECUTE FUNCTION own.f()"
    )
    theirs = case.target.execute("SELECT oid, evtname FROM pg_event_trigger WHERE evtname = 'always'")
    assert not any("DROP EVENT TRIGGER" in text and "always" in text for text in planned_statements(case))
    assert "which is not changed" in left(case.init(resume=False).data)["event trigger always"]
    assert case.target.execute("SELECT oid, evtname FROM pg_event_trigger WHERE evtname = 'always'") == theirs
    assert (HOSTILE,) in case.target.execute("SELECT evtname FROM pg_event_trigger")


def test_an_event_trigger_that_was_on_the_target_keeps_its_owner(case: Case) -> None:
    case.source.execute(LOGGING)
    owner = f'{case.target.name} "dba"'
    name = sql.Identifier(owner).as_string(None)
    case.target.execute(
        "CREATE SCHEMA own; CREATE FUNCTION own.f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f"CREATE EVENT TRIGGER always ON sql_drop EXECUTE FUNCTION own.f(); CREATE ROLE {name} SUPERUSER;"
        f"ALTER EVENT TRIGGER always OWNER TO {name}"
    )
    try:
        case.init()
        query = "SELECT pg_get_userbyid(evtowner) FROM pg_event_trigger WHERE evtname = 'always'"
        assert case.target.execute(query) == [(owner,)]
    finally:
        case.target.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def planned_statements(case: Case) -> list[str]:
    migration = case.migration()
    case.migration = lambda: migration  # type: ignore[method-assign]
    case.init(resume=False, check_mode=True)
    del case.migration
    return migration.log.entries


def test_a_managed_target_refuses_event_triggers_and_can_do_without(
    source_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    source_db.execute(LOGGING)
    case = Case(source_db, managed(target_cluster, STRICT_TARGET))
    try:
        with pytest.raises(MigrationError) as caught:
            case.init(roles="none")
        assert caught.value.details["checks"] == ["event_triggers"]
        case.init(roles="none", event_triggers="skip")
        assert case.target.execute(TRIGGERS) == []
    finally:
        sweep(target_cluster)


STRICT_TARGET = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT pg_monitor, pg_create_subscription TO {role};
"""


# --- extensions ----------------------------------------------------------------------------------------------------

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


# --- labels, publications ------------------------------------------------------------------------------------------


def test_labels_of_a_provider_that_is_not_loaded_are_listed_together(case: Case) -> None:
    case.source.execute(f"CREATE TABLE {H} (id int PRIMARY KEY, {H} text); CREATE EXTENSION citext")
    case.source.execute(
        "INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)"
        f" SELECT '{H}'::regclass::oid, 'pg_class'::regclass::oid, n, provider, 'MASKED'"
        f"   FROM unnest(ARRAY['anon', %s]) AS provider, generate_series(0, 2) AS n"
        " UNION ALL SELECT 'citext'::regtype::oid, 'pg_type'::regclass::oid, 0, 'anon', 'of an extension'"
        " UNION ALL SELECT 'public'::regnamespace::oid, 'pg_namespace'::regclass::oid, 0, 'anon', 'of a schema'",
        [HOSTILE],
    )
    said = left(case.init().data)
    assert set(said) == {f"{count} security label(s) of provider {name}" for count, name in ((4, "anon"), (3, HOSTILE))}
    assert f"column public.{H}.{H}" in said["4 security label(s) of provider anon"]
    assert case.target.execute("SELECT count(*) FROM pg_seclabel") == [(0,)]


LABELS = """
SELECT i.type, i.identity, s.label
  FROM (SELECT classoid, objoid, objsubid, label FROM pg_seclabel
         UNION ALL SELECT classoid, objoid, 0, label FROM pg_shseclabel) AS s
 CROSS JOIN LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) AS i
 WHERE i.type <> 'database' ORDER BY 1, 2
"""


def test_labels_arrive_where_their_provider_is_loaded(case: Case, make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(17)
    provider = 'seren "label"; --'
    library = build_label_provider(cluster, provider.replace('"', '\\"'))
    cluster.execute(sql.SQL("ALTER SYSTEM SET session_preload_libraries = {}").format(sql.Literal(str(library))))
    cluster.execute("SELECT pg_reload_conf()")
    case = Case(case.source, create_database(cluster))
    case.source.execute(
        f"CREATE ROLE {H}; CREATE ROLE was_there; CREATE SCHEMA {H}; CREATE TABLE {H}.{H} (id int PRIMARY KEY, {H} text);"
        f"CREATE FUNCTION {H}(int, text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1';"
        f"CREATE AGGREGATE {H}.total(*) (sfunc = int8inc, stype = bigint, initcond = '0'); CREATE DOMAIN {H}.small AS int;"
        f"CREATE VIEW {H}.v AS SELECT 1 AS {H}; CREATE SEQUENCE {H}.s; GRANT SELECT ON t TO {H}, was_there"
    )
    cluster.execute("CREATE ROLE was_there")
    case.source.execute(
        sql.SQL(
            "INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)"
            " SELECT o.objid, o.classid, o.number, {provider}, {label} FROM (VALUES"
            " ('{h}.{h}'::regclass::oid, 'pg_class'::regclass::oid, 0), ('{h}.{h}'::regclass, 'pg_class'::regclass, 2),"
            " ('{h}'::regproc, 'pg_proc'::regclass, 0), ('{h}.total'::regproc, 'pg_proc'::regclass, 0),"
            " ('{h}.small'::regtype, 'pg_type'::regclass, 0), ('{h}.v'::regclass, 'pg_class'::regclass, 0),"
            " ('{h}.v'::regclass, 'pg_class'::regclass, 1), ('{h}.s'::regclass, 'pg_class'::regclass, 0),"
            " ('{h}'::regnamespace, 'pg_namespace'::regclass, 0)) AS o(objid, classid, number)"
        ).format(provider=sql.Literal(provider), label=sql.Literal(TEXT), h=sql.SQL(H))
    )
    case.source.execute(
        sql.SQL(
            "INSERT INTO pg_shseclabel (objoid, classoid, provider, label)"
            " SELECT o.objid, o.classid, {}, 'shared' FROM (SELECT r.oid, 'pg_authid'::regclass FROM pg_roles AS r"
            " WHERE r.rolname IN ('was_there', {}) UNION ALL SELECT d.oid, 'pg_database'::regclass FROM pg_database AS d"
            " WHERE d.datname = current_database()) AS o(objid, classid)"
        ).format(sql.Literal(provider), sql.Literal(HOSTILE))
    )
    try:
        data = case.init().data
        assert left(data) == {
            "security label of role was_there": "the role was on the target before, and is not changed"
        }
        expected = [row for row in case.source.execute(LABELS) if row[1] != "was_there"]
        assert len(expected) == 10
        assert case.target.execute(LABELS) == expected
        of_database = "SELECT label FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass"
        assert case.target.execute(of_database) == [("shared",)]
    finally:
        case.source.execute("DELETE FROM pg_shseclabel")


def test_what_never_travels_is_listed(case: Case) -> None:
    case.source.execute(f"CREATE PUBLICATION {H} FOR TABLE t")
    case.source.execute(
        f"CREATE SUBSCRIPTION {H} CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false, slot_name=NONE)"
    )
    assert set(left(case.init().data)) == {f"publication {HOSTILE}", f"subscription {HOSTILE}"}
    assert case.target.execute("SELECT count(*) FROM pg_subscription") == [(0,)]
    replicate(case)


# --- large objects -------------------------------------------------------------------------------------------------

LARGE = """
SELECT oid::bigint, md5(lo_get(oid)), pg_get_userbyid(lomowner), obj_description(oid, 'pg_largeobject'),
       CASE WHEN lomacl IS NOT NULL THEN ARRAY(SELECT a::text FROM unnest(lomacl) AS a ORDER BY 1) END
  FROM pg_largeobject_metadata ORDER BY oid
"""


def test_large_objects_arrive_with_owners_privileges_and_comments(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all sizes around the limits of a piece, a round and a batch."""
    monkeypatch.setattr(large_objects, "OBJECTS_AT_ONCE", 7)
    monkeypatch.setattr(large_objects, "SMALL_BYTES", 100)
    monkeypatch.setattr(large_objects, "BYTES_AT_ONCE", 1400)
    case.source.execute(f"CREATE ROLE owner1; CREATE ROLE {H}; CREATE ROLE reader")
    for number, size in enumerate((0, 1, 99, 100, 101, 199, 200, 201, 1399, 1400, 1401, 2800, 5000, 100000)):
        case.source.execute(
            "SELECT lo_from_bytea(%s, convert_to(repeat('x', %s), 'UTF8'))", [5000 + number + (number > 6), size]
        )
    case.source.execute("SELECT lo_create(4294967295), lo_from_bytea(2147483648, '\\x00ff')")
    case.source.execute(
        sql.SQL("COMMENT ON LARGE OBJECT 5000 IS {0}; COMMENT ON LARGE OBJECT 4294967295 IS {0}").format(
            sql.Literal(TEXT)
        )
    )
    case.source.execute(
        f"ALTER LARGE OBJECT 5000 OWNER TO {H}; ALTER LARGE OBJECT 2147483648 OWNER TO owner1;"
        f"GRANT SELECT ON LARGE OBJECT 5000 TO owner1; GRANT ALL ON LARGE OBJECT 5002 TO {H} WITH GRANT OPTION;"
        f"GRANT UPDATE ON LARGE OBJECT 4294967295 TO PUBLIC; REVOKE UPDATE ON LARGE OBJECT 2147483648 FROM owner1;"
        "GRANT SELECT ON LARGE OBJECT 2147483648 TO reader; REVOKE ALL ON LARGE OBJECT 5010 FROM postgres"
    )
    data = case.init(large_objects="copy").data
    assert case.target.execute(LARGE) == case.source.execute(LARGE)
    assert left(data) == {"16 large object(s)": "copied once, never replicated"}
    case.init(large_objects="copy", resume=False)
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_large_objects_that_an_earlier_attempt_left_are_replaced(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_objects, "OBJECTS_AT_ONCE", 3)
    case.source.execute(
        "SELECT count(lo_from_bytea(n, convert_to('object ' || n, 'UTF8'))) FROM generate_series(900, 909) AS n"
    )
    give = large_objects._give_rights
    calls: list[int] = []

    def dying(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise MigrationError("database_error", "died")
        give(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(large_objects, "_give_rights", dying)
        with pytest.raises(MigrationError, match="died"):
            case.init(large_objects="copy")
    assert case.target.execute("SELECT count(*) FROM pg_largeobject_metadata") == [(6,)]
    case.source.execute("SELECT lo_put(900, 0, 'changed'), lo_unlink(901), lo_unlink(905)")
    case.target.execute("SELECT lo_from_bytea(2000, 'mine')")
    case.init(large_objects="copy")
    case.target.execute("SELECT lo_unlink(2000)")
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_ten_thousand_small_large_objects_take_few_round_trips(case: Case) -> None:
    case.source.execute(
        "SELECT count(lo_from_bytea(20000 + n * 2, convert_to('object ' || n, 'UTF8'))) FROM generate_series(1, 10000) AS n"
    )
    with case.migration().open_both("test") as (source, target):
        names = large_objects.RoleNames("postgres")
        rounds = 0

        def counting(execute: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                nonlocal rounds
                rounds += 1
                return execute(*arguments, **options)

            return run

        for connection in (source.connection, target.connection):
            connection.execute = counting(connection.execute)  # type: ignore[method-assign]
        source.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        assert large_objects.copy_all(source, target, names).count == 10000
        assert rounds < 150
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_large_objects_of_a_managed_role_arrive_with_their_rights(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    source, target = managed(source_cluster, PROVIDER), managed(target_cluster, PROVIDER)
    case = Case(source, target)
    try:
        source.execute("CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO owner1")
        source.execute("CREATE ROLE app; CREATE ROLE reader; GRANT app, reader TO owner1")
        source.as_admin("SELECT lo_from_bytea(4711, 'mine'), lo_from_bytea(4712, 'of the app')")
        source.as_admin("ALTER LARGE OBJECT 4712 OWNER TO app; COMMENT ON LARGE OBJECT 4711 IS 'mine'")
        source.as_admin(
            "GRANT SELECT ON LARGE OBJECT 4711, 4712 TO reader; GRANT SELECT ON LARGE OBJECT 4712 TO owner1"
        )
        # Who has passed something on stays the one who has granted it.
        source.execute(
            f"CREATE ROLE {H}; GRANT {H} TO owner1; SET ROLE owner1; GRANT UPDATE ON LARGE OBJECT 4711 TO {H} WITH GRANT OPTION;"
            f"SET ROLE {H}; GRANT UPDATE ON LARGE OBJECT 4711 TO reader; RESET ROLE"
        )
        source.execute("GRANT SELECT ON TABLE public.t TO reader, app")
        data = case.init(large_objects="copy").data
        assert left(data) == {"2 large object(s)": "copied once, never replicated"}
        assert target.execute(LARGE) == source.execute(LARGE)
    finally:
        sweep(source_cluster)
        sweep(target_cluster)


def test_who_has_granted_on_large_objects_is_named_where_we_may_not_act_as_that_role(
    source_db: Database, target_cluster: Cluster
) -> None:
    target = managed(target_cluster, PROVIDER)
    assert isinstance(target, AsAdmin)
    try:
        source_db.execute(
            f"CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE reader; CREATE ROLE {H}; SELECT lo_from_bytea(4711, 'x');"
            f"GRANT SELECT ON LARGE OBJECT 4711 TO {H} WITH GRANT OPTION; SET ROLE {H};"
            "GRANT SELECT ON LARGE OBJECT 4711 TO reader; RESET ROLE"
        )
        target.execute(f"CREATE ROLE reader; CREATE ROLE {H}")
        said = left(Case(source_db, target).init(roles="none", large_objects="copy").data)
        assert said[f"role {HOSTILE} as the one who has granted of 1 large object(s)"] == "granted by the owner"
        may = "SELECT grantee::regrole::text FROM pg_largeobject_metadata, aclexplode(lomacl) WHERE grantee <> lomowner ORDER BY 1"
        assert target.execute(may) == source_db.execute(may)
    finally:
        sweep(target_cluster)


def test_the_admin_of_a_managed_target_can_log_in_meanwhile(source_db: Database, target_cluster: Cluster) -> None:
    """Nothing that was carried over keeps anybody out."""
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    furnish(source_db)
    alter(source_db, "SET session_preload_libraries = 'auto_explain'")
    target = managed(target_cluster, PROVIDER)
    assert isinstance(target, AsAdmin)
    try:
        Case(source_db, target).init(roles="none")
        with psycopg.connect(target_cluster.dsn(target.name, target.role, PASSWORD)) as connection:
            assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
    finally:
        sweep(target_cluster)


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 18), (13, 16), (14, 15), (16, 17), (17, 18)])
def test_all_of_it_between_other_majors(
    source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    source = create_database(make_cluster(source_major), 'Odd "db"; --')
    case = Case(source, Database(make_cluster(target_major), source.name))
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'row')")
    source.execute(f"CREATE ROLE {H}; SELECT lo_from_bytea(4711, 'mine'), lo_from_bytea(4712, '')")
    source.execute(f"ALTER LARGE OBJECT 4711 OWNER TO {H}; GRANT SELECT ON LARGE OBJECT 4712 TO {H}")
    furnish(source)
    source.execute(LOGGING)
    data = case.init(large_objects="copy").data
    assert {item for item in left(data) if "event trigger" not in item} == {"2 large object(s)"}
    for query in (PROPERTIES, TRIGGERS, LARGE):
        assert case.target.execute(query) == source.execute(query)
    replicate(case)
    assert not case.init(large_objects="copy").changed


def test_what_lay_in_another_tablespace_is_named(case: Case, source_cluster: Cluster) -> None:
    with case.source.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute(f"CREATE TABLESPACE {H} LOCATION ''")
    try:
        case.source.execute(
            f"CREATE INDEX {H} ON t (v) TABLESPACE {H}; CREATE TABLE there (id int PRIMARY KEY) TABLESPACE {H}"
        )
        said = left(case.init().data)
        assert set(said) == {f"tablespace of index public.{HOSTILE}", "tablespace of table public.there"}
        assert f"in tablespace {HOSTILE} on the source" in said["tablespace of table public.there"]
    finally:
        case.source.execute("DROP TABLE there, t")
        source_cluster.execute(f"DROP TABLESPACE {H}")
