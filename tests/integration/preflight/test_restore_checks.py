# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what a target refuses to a role without superuser, on real servers: where they fire, and their remedies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from tests.integration.test_managed_role import STRICT, AsAdmin, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case as Migrated
from tests.support.preflight import HOSTILE, Case, H, Report, case_id, fires_and_is_cured, run_validate

MORE = "GRANT pg_create_subscription, pg_read_all_settings TO {role};"
EVENT = "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
# What a superuser has made on the source belongs to it.
OWNED = ("target_roles",)

MANAGED_CASES = (
    Case(
        "event_triggers",
        f"{EVENT} CREATE EVENT TRIGGER {H} ON ddl_command_end EXECUTE FUNCTION et()",
        objects=(HOSTILE,),
        also=OWNED,
    ),
    Case(
        "superuser_objects",
        f"""
        CREATE TYPE mood AS ENUM ('good');
        CREATE FUNCTION {H}(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
        CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
        CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood);
        CREATE CAST (text AS int) WITH FUNCTION {H}(text);
        CREATE CAST (text AS bytea) WITHOUT FUNCTION;
        CREATE OPERATOR FAMILY of1 USING btree;
        CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
        CREATE TEXT SEARCH PARSER p1 (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
        CREATE TEXT SEARCH TEMPLATE t1 (lexize = dsimple_lexize);
        CREATE FOREIGN DATA WRAPPER {H};
        CREATE LANGUAGE l1 HANDLER plpgsql_call_handler;
        CREATE TYPE shell;
        CREATE FUNCTION internal(int) RETURNS int LANGUAGE internal AS 'int4abs';
        CREATE FUNCTION supported(int) RETURNS int LANGUAGE sql SUPPORT textlike_support AS 'SELECT 1';
        CREATE AGGREGATE average(numeric) (sfunc = numeric_avg_accum, stype = internal, finalfunc = numeric_avg);
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE DOMAIN small AS int
        """,
        objects=(
            "cast from text to integer",
            "cast from text to bytea",
            "operator family public.of1 for access method btree",
            "access method heap2",
            "text search parser public.p1",
            "text search template public.t1",
            f"foreign-data wrapper {HOSTILE}",
            "language l1",
            "type public.shell (a base type)",
            "function public.internal(integer) (language internal)",
            "function public.supported(integer) (SUPPORT)",
            "function public.average(numeric) (state of type internal)",
        ),
        also=OWNED,
    ),
    Case(
        "superuser_objects",
        f"CREATE FUNCTION {H}(int) RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'",
        objects=(f"function public.{H}(integer) (LEAKPROOF)",),
        cure="source",
        name="leakproof",
        also=OWNED,
    ),
    Case(
        "foreign_data_wrappers",
        f"CREATE EXTENSION postgres_fdw; CREATE SERVER {H} FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE EXTENSION postgres_fdw",
        objects=(f"{HOSTILE} (postgres_fdw)",),
        cure="target",
        also=OWNED,
    ),
    Case(
        "default_privileges",
        f"CREATE ROLE {H}; ALTER DEFAULT PRIVILEGES FOR ROLE {H} GRANT SELECT ON TABLES TO PUBLIC",
        f"CREATE ROLE {H}",
        objects=(HOSTILE,),
        severity="warning",
        cure="target",
    ),
    Case(
        "default_privileges",
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO PUBLIC",
        objects=("postgres",),
        severity="warning",
        name="of a superuser",
    ),
    Case(
        "system_privileges",
        f"CREATE ROLE {H}; GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_waldir() TO {H}, PUBLIC;"
        f"GRANT SELECT ON pg_catalog.pg_stat_database, pg_catalog.pg_authid TO {H}; CREATE EXTENSION pgcrypto;"
        "REVOKE EXECUTE ON FUNCTION digest(text, text) FROM PUBLIC",
        objects=(
            "routine pg_catalog.pg_ls_waldir()",
            "table pg_catalog.pg_authid",
            "table pg_catalog.pg_stat_database",
            "routine public.digest(text, text)",
        ),
        severity="warning",
    ),
    Case(
        "system_privileges",
        f"CREATE ROLE {H}; GRANT SELECT ON pg_catalog.pg_stat_database TO {H} WITH GRANT OPTION;"
        f"GRANT UPDATE (rolname), SELECT (rolname) ON pg_catalog.pg_authid TO {H}",
        f"CREATE ROLE {H}",
        objects=("table pg_catalog.pg_stat_database", "column rolname of table pg_catalog.pg_authid"),
        severity="warning",
        cure="target",
        name="by hand",
    ),
    Case(
        "function_settings",
        f"CREATE FUNCTION {H}(int) RETURNS int LANGUAGE sql SET log_statement = 'all' SET work_mem = '1MB' AS 'SELECT 1';"
        "CREATE PROCEDURE pr() LANGUAGE sql SET \"my.thing\" = 'x' AS 'SELECT 1'",
        objects=(f"public.{H}(integer): log_statement", "public.pr(): my.thing"),
        cure="target",
        also=OWNED,
    ),
    Case(
        "role_settings",
        f"CREATE ROLE {H}; ALTER ROLE {H} SET log_statement = 'all'; ALTER ROLE {H} SET work_mem = '1MB';"
        f"GRANT SELECT ON p TO {H}",
        objects=(f"{HOSTILE}: log_statement",),
        severity="warning",
        cure="target",
    ),
    Case(
        "target_extension_rights",
        f"CREATE SCHEMA {H} AUTHORIZATION owner1; CREATE EXTENSION pageinspect SCHEMA {H}",
        objects=("pageinspect",),
        cure="target",
    ),
)


@pytest.fixture
def managed_target(target_db: Database, target_cluster: Cluster) -> AsAdmin:
    """A database that a role with nothing but CREATEDB, CREATEROLE and REPLICATION owns; swept with `target_db`."""
    return managed(target_cluster, STRICT + MORE)


@pytest.fixture
def examine(source_db: Database, managed_target: AsAdmin) -> Callable[..., Report]:
    source_db.execute("CREATE ROLE owner1; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO owner1")

    def run(case: Case) -> Report:
        # The administrator of the target has more rights there than owner1 has on the source.
        options = {"client_bin_dir": str(managed_target.cluster.client_dir), "skip_checks": ["existing_roles"]}
        options.update(case.options)
        return run_validate(source_db.params, managed_target.params, case.selection, **options)

    return run


@pytest.mark.parametrize("case", MANAGED_CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, managed_target: AsAdmin
) -> None:
    fires_and_is_cured(case, examine, source_db, managed_target)


def test_an_extension_for_superusers_is_foreseen_with_its_database_and_its_wrapper(
    source_db: Database, managed_target: AsAdmin, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    source_db.execute(f"CREATE EXTENSION postgres_fdw; CREATE SERVER {H} FOREIGN DATA WRAPPER postgres_fdw")
    absent = f"{source_db.name} {HOSTILE}"[:60]
    params = {**managed_target.params, "dbname": absent}
    options = {"client_bin_dir": str(target_cluster.client_dir), "skip_checks": ["existing_roles"]}
    remedy = run_validate(source_db.params, params, **options)["target_extension_rights"]["remedy"]
    making, inside = remedy.split("-- then, connected to database")
    try:
        for line in making.splitlines():
            if not line.startswith("--"):
                target_cluster.execute(line)
        for line in inside.splitlines()[1:]:
            target_cluster.execute(line, absent)
        report = run_validate(source_db.params, params, **options)
        checks = ("target_extension_rights", "foreign_data_wrappers")
        assert {report[check]["status"] for check in checks} == {"pass"}
    finally:
        target_cluster.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(absent)))


def test_a_superuser_of_the_target_may_do_it_all(
    examine: Callable[[Case], Report], source_db: Database, managed_target: AsAdmin, target_cluster: Cluster
) -> None:
    for case in MANAGED_CASES:
        if case.check not in ("target_extension_rights", "foreign_data_wrappers") and case.name != "of a superuser":
            source_db.execute(case.source.replace(H, f'"{case.check}{case.name}"'))
    client = {"client_bin_dir": str(target_cluster.client_dir), "skip_checks": ["existing_roles"]}
    report = run_validate(source_db.params, target_cluster.params(managed_target.name), **client)
    assert report.with_status("fail", "unknown") == {}


def test_what_a_plain_owner_makes_is_no_concern(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(
        f"GRANT CREATE ON DATABASE {source_db.name} TO owner1; GRANT CREATE ON SCHEMA public TO owner1; SET ROLE owner1;"
        "CREATE TYPE mood AS ENUM ('good'); CREATE TYPE span AS RANGE (subtype = float8); CREATE DOMAIN small AS int;"
        "CREATE FUNCTION of_mood(mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
        "CREATE CAST (mood AS int) WITH FUNCTION of_mood(mood); CREATE TEXT SEARCH DICTIONARY d (template = simple);"
        "CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int); CREATE EXTENSION hstore; CREATE EXTENSION citext;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' SET work_mem = '1MB' AS 'SELECT 1';"
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner1 GRANT SELECT ON TABLES TO PUBLIC"
    )
    assert examine(Case("")).with_status("fail", "unknown") == {}


def test_event_triggers_are_treated_as_the_option_says(
    examine: Callable[[Case], Report], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(MANAGED_CASES[0].source)
    found = examine(Case("", options={"event_triggers": "skip"}))["event_triggers"]
    assert (found["status"], found["detail"]) == ("pass", "Left behind, as event_triggers says.")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    for policy, status in (("copy", "pass"), ("fail", "fail"), ("skip", "pass")):
        found = run_validate(source_db.params, target_db.params, event_triggers=policy, **client)["event_triggers"]
        assert (policy, found["status"]) == (policy, status)


def test_what_the_selection_leaves_behind_is_no_concern(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(
        f"CREATE SCHEMA {H}; SET search_path = {H}; {EVENT}"
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION et();"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql LEAKPROOF SET log_statement = 'all' AS 'SELECT 1'"
    )
    found = {"event_triggers", "superuser_objects", "function_settings"}
    assert found <= set(examine(Case("")).with_status("fail"))
    partial = Case("", selection={"schemas": ["public"]})
    assert found.isdisjoint(examine(partial).with_status("fail", "unknown"))


def test_functions_in_c_need_their_library_on_the_target(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE FUNCTION moved() RETURNS trigger LANGUAGE c"
        " AS '$libdir/moddatetime', 'moddatetime'"
    )
    report = run_validate(source_db.params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report.with_status("fail", "unknown") == {"superuser_objects": "fail"}
    assert report["superuser_objects"]["severity"] == "warning"
    assert "$libdir/moddatetime" in report["superuser_objects"]["remedy"]


def test_a_provider_may_allow_more(
    examine: Callable[[Case], Report], source_db: Database, managed_target: AsAdmin
) -> None:
    managed_target.execute("CREATE ROLE neon_superuser CREATEDB CREATEROLE; GRANT neon_superuser TO owner1")
    source_db.execute(MANAGED_CASES[0].source)
    report = examine(Case(""))
    assert (report["event_triggers"]["status"], report["event_triggers"]["severity"]) == ("fail", "warning")


def test_privileges_on_what_a_newer_major_lacks_are_named(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    source = make_cluster(14)
    database = create_database(source)
    database.execute(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE ROLE backup;"
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_start_backup(text, boolean, boolean), pg_catalog.pg_switch_wal() TO backup"
    )
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    found = run_validate(database.params, target_db.params, **client)["system_privileges"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == ["routine pg_catalog.pg_start_backup(text, boolean, boolean)"]
    left = Migrated(database, target_db).init().data["left"]
    assert [item["object"] for item in left] == [
        "privileges on routine pg_catalog.pg_start_backup(text, boolean, boolean)"
    ]
    granted = "SELECT has_function_privilege('backup', 'pg_switch_wal()', 'EXECUTE')"
    assert target_db.execute(granted) == [(True,)]


def test_settings_that_the_target_does_not_know_stop_a_superuser_too(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        "CREATE TABLE p (id int PRIMARY KEY);"
        f"CREATE FUNCTION {H}() RETURNS int LANGUAGE sql SET force_parallel_mode = off AS 'SELECT 1';"
        f"CREATE ROLE app; ALTER ROLE app SET force_parallel_mode = off; GRANT SELECT ON p TO app"
    )
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    report = run_validate(source_db.params, target_db.params, **client)
    assert report.with_status("fail", "unknown") == {"function_settings": "fail", "role_settings": "fail"}
    assert report["function_settings"]["severity"] == "blocker"
    assert report["role_settings"]["objects"] == ["app: force_parallel_mode"]
    for line in report["function_settings"]["remedy"].splitlines()[1:]:
        source_db.execute(line)
    assert run_validate(source_db.params, target_db.params, **client)["function_settings"]["status"] == "pass"
