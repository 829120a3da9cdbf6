# SPDX-License-Identifier: GPL-3.0-or-later
"""`resume: false`: what init has made is taken back and copied anew; nothing of anybody else's is touched."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import starting_over, stream
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases.init import InitOptions, fingerprint
from tests.support import sample
from tests.support.binaries import client_dir
from tests.support.compare import compare
from tests.support.fixtures import Database
from tests.support.inventory import inventory
from tests.support.migrations import NOTHING, Case, at_step

TABLES = """
    CREATE SCHEMA app;
    CREATE TABLE app.customer (id integer PRIMARY KEY, name text);
    CREATE TABLE app.purchase (id serial PRIMARY KEY, customer_id integer REFERENCES app.customer, at date NOT NULL DEFAULT now());
    CREATE TABLE app.team (id integer PRIMARY KEY);
    CREATE VIEW app.teams AS SELECT t.id, c.name FROM app.team AS t JOIN app.customer AS c ON t.id = c.id GROUP BY t.id, c.id;
    INSERT INTO app.customer SELECT n, 'customer ' || n FROM generate_series(1, 100) AS n;
    INSERT INTO app.purchase (customer_id) SELECT 1 + n % 100 FROM generate_series(1, 500) AS n;
"""


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute(TABLES)
    yield Case(source_db, target_db)


def interrupted(case: Case, step: str = "copying", **options: Any) -> None:
    def fail() -> None:
        raise RuntimeError("the runner is gone")

    with pytest.raises(RuntimeError):
        case.init(at_step(step, fail), **options)


def refused(init: Callable[[], object]) -> MigrationError:
    with pytest.raises(MigrationError) as caught:
        init()
    return caught.value


def is_exact(case: Case) -> None:
    """Replicate what the copy brought and a little more, then compare rows and schema."""
    case.sync()
    case.source.execute("INSERT INTO app.customer SELECT 1 + max(id), 'since' FROM app.customer")
    case.wait_until_in_sync()
    assert case.compare().differences == []
    clients = client_dir(case.target.cluster.major)
    assert compare(case.source.dsn, case.target.dsn, sequences="ignore", client_dir=clients) == []


def test_indexes_of_partitions_that_wait_to_be_attached_are_ours(case: Case) -> None:
    with case.source.connect() as connection:
        connection.execute("CREATE TABLE app.event (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
        connection.execute(
            "CREATE TABLE app.event_1 PARTITION OF app.event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
        )
        connection.execute("CREATE INDEX ON app.event (at)")
        connection.execute("INSERT INTO app.event SELECT n, '2026-05-05' FROM generate_series(1, 100) AS n")
    interrupted(case, "adding constraints")
    waiting = case.target.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'app.event_1'::regclass")
    assert waiting == [(2,)]
    case.init(resume=False)
    is_exact(case)


@pytest.mark.parametrize("step", ["copying", "building", "collecting", "done"])
def test_a_copy_begins_anew_from_each_of_its_steps(case: Case, step: str) -> None:
    if step == "done":
        case.init()
    else:
        interrupted(case, step)
    before = case.target.execute("SELECT 'app.customer'::regclass::oid")
    case.source.execute("ALTER TABLE app.customer ADD COLUMN email text DEFAULT 'none'")
    case.source.execute("DROP TABLE app.purchase")
    result = case.init(resume=False)
    assert result.changed
    assert result.data["state"] == "copied"
    assert len(result.data["streams"]) == 1
    assert case.target.execute("SELECT 'app.customer'::regclass::oid") != before
    assert len(case.left_on_source()["slots"]) == 1
    assert case.target.execute("SELECT to_regclass('app.purchase')") == [(None,)]
    is_exact(case)
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_a_change_of_the_schema_names_the_cure_and_the_cure_helps(case: Case) -> None:
    interrupted(case)
    case.source.execute("ALTER TABLE app.customer ADD COLUMN email text DEFAULT 'none'")
    error = refused(case.init)
    assert error.code == "schema_changed"
    assert "resume: false" in error.remedy
    case.init(resume=False)
    is_exact(case)


def objects(database: Database) -> list[tuple[Any, ...]]:
    """Everything in the database that is not the server's and not of the migration's own schema."""
    return database.execute("""
        SELECT o.type, o.identity
          FROM (SELECT classid, objid FROM pg_depend UNION SELECT refclassid, refobjid FROM pg_depend) AS d(classid, objid),
               LATERAL pg_identify_object(d.classid, d.objid, 0) AS o
         WHERE d.objid >= 16384 AND o.schema IS DISTINCT FROM 'seren_migrator' AND o.identity !~ 'seren_migrator|pg_toast'
         ORDER BY 1, 2
    """)


def test_everything_of_the_sample_is_taken_back_and_comes_again(source_db: Database, target_db: Database) -> None:
    case = Case(source_db, target_db)
    sample.load(source_db.dsn, 1)
    before = objects(target_db)
    case.init()
    between: list[Any] = []
    case.init(at_step("opening stream", lambda: between.append(objects(target_db))), resume=False)
    assert between == [before]
    case.sync()
    case.wait_until_in_sync()
    clients = client_dir(target_db.cluster.major)
    assert compare(source_db.dsn, target_db.dsn, sequences="ignore", materialized_views=False, client_dir=clients) == []


def test_an_extra_table_in_our_schema_stays(case: Case) -> None:
    case.init()
    case.target.execute("CREATE TABLE app.extra (precious text)")
    case.target.execute("INSERT INTO app.extra VALUES ('mine')")
    case.init(resume=False)
    assert case.target.execute("SELECT precious FROM app.extra") == [("mine",)]
    case.target.execute("DROP TABLE app.extra")
    is_exact(case)


def test_a_schema_that_was_there_before_stays_with_what_is_in_it(case: Case) -> None:
    case.target.execute("CREATE SCHEMA app")
    before = case.target.execute("SELECT 'app'::regnamespace::oid")
    case.init()
    case.init(resume=False)
    assert case.target.execute("SELECT 'app'::regnamespace::oid") == before


ON_TOP = {
    "view": ("CREATE VIEW public.mine AS SELECT * FROM app.customer", "view public.mine depends on"),
    "view of another user": (
        (
            "CREATE ROLE other; CREATE SCHEMA other AUTHORIZATION other; GRANT USAGE ON SCHEMA app TO other;"
            " GRANT SELECT ON app.customer TO other; SET ROLE other; CREATE VIEW other.v AS SELECT * FROM app.customer"
        ),
        "view other.v depends on table app.customer",
    ),
    "foreign key": (
        "CREATE TABLE public.mine (id integer REFERENCES app.customer)",
        "constraint mine_id_fkey on table public.mine depends on index app.customer_pkey",
    ),
    "index": ("CREATE INDEX mine ON app.customer (name)", "index app.mine"),
    "trigger": (
        (
            "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER mine BEFORE INSERT ON app.customer FOR EACH ROW EXECUTE FUNCTION public.f()"
        ),
        "trigger mine on table app.customer",
    ),
    "policy": ("CREATE POLICY mine ON app.customer USING (true)", "policy mine on table app.customer"),
    "child": ("CREATE TABLE public.mine () INHERITS (app.customer)", "table public.mine depends on table app.customer"),
    "another table under its name": (
        "DROP TABLE app.purchase; CREATE TABLE app.purchase (precious text)",
        "table app.purchase",
    ),
}


@pytest.mark.parametrize("what", list(ON_TOP))
def test_what_somebody_made_on_top_of_ours_is_named_and_nothing_is_changed(case: Case, what: str) -> None:
    statements, named = ON_TOP[what]
    case.init()
    case.target.execute(statements)
    before = inventory(case.source), inventory(case.target)
    ledger = (
        case.target.execute("SELECT * FROM seren_migrator.stream"),
        case.target.execute("SELECT * FROM seren_migrator.relation ORDER BY schema, name"),
    )
    error = refused(lambda: case.init(resume=False))
    assert error.code == "cannot_start_over"
    assert any(named in item for item in error.details["objects"]), error.details
    assert (inventory(case.source), inventory(case.target)) == before
    assert (case.target.execute("SELECT * FROM seren_migrator.stream"), case.target.execute(
        "SELECT * FROM seren_migrator.relation ORDER BY schema, name"
    )) == ledger  # fmt: skip
    if what == "view":
        assert case.init().changed is False
        case.target.execute("DROP VIEW public.mine")
        case.init(resume=False)
        is_exact(case)


def test_a_partition_that_somebody_attached_is_not_dropped_with_its_root(case: Case) -> None:
    case.source.execute("CREATE TABLE app.event (id integer, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    case.source.execute("CREATE TABLE app.event_1 PARTITION OF app.event FOR VALUES FROM (0) TO (10)")
    case.init()
    case.target.execute("CREATE TABLE app.mine PARTITION OF app.event FOR VALUES FROM (10) TO (20)")
    case.target.execute("INSERT INTO app.mine VALUES (15)")
    error = refused(lambda: case.init(resume=False))
    assert error.code == "cannot_start_over"
    assert any("app.mine" in item for item in error.details["objects"])
    assert case.target.execute("SELECT id FROM app.event") == [(15,)]


def test_large_objects_that_were_copied_go_and_others_stay(case: Case) -> None:
    for oid in (5000, 5001, 5002, 7000):
        case.source.execute("SELECT lo_from_bytea(%s, 'theirs')", [oid])
    case.target.execute("SELECT lo_from_bytea(6000, 'mine')")
    case.init(large_objects="copy")
    case.source.execute("SELECT lo_unlink(5001)")
    case.init(large_objects="copy", resume=False)
    found = case.target.execute("SELECT oid::int FROM pg_largeobject_metadata ORDER BY oid")
    assert found == [(5000,), (5002,), (6000,), (7000,)]
    assert case.target.execute("SELECT lo_get(6000)") == [(b"mine",)]


def test_default_privileges_of_the_first_copy_are_not_given_to_the_tables_of_the_second(case: Case) -> None:
    case.source.execute("CREATE ROLE reader")
    case.source.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader")
    case.source.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    case.source.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader")
    case.source.execute("CREATE ROLE other")
    case.target.execute("CREATE ROLE other")
    case.target.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO other")
    case.init()
    granted = case.target.execute("SELECT relacl::text FROM pg_class WHERE oid = 'app.customer'::regclass")
    between: list[Any] = []
    look = "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl"
    case.init(at_step("opening stream", lambda: between.append(case.target.execute(look))), resume=False)
    assert between == [[("S", "{other=U/postgres}")]]
    assert case.target.execute("SELECT relacl::text FROM pg_class WHERE oid = 'app.customer'::regclass") == granted
    # 17 knows MAINTAIN, written m.
    is_equal = (
        "SELECT defaclobjtype, replace(defaclacl::text, 'Dxtm', 'Dxt') FROM pg_default_acl WHERE defaclobjtype <> 'S'"
    )
    is_equal += " ORDER BY 1, 2"
    assert case.target.execute(is_equal) == case.source.execute(is_equal)


def test_after_sync_it_is_refused_with_the_way_out(case: Case) -> None:
    case.init()
    case.sync()
    before = inventory(case.target)
    error = refused(lambda: case.init(resume=False))
    assert error.code == "cannot_start_over"
    assert "pg_migration_cleanup" in error.remedy
    assert inventory(case.target) == before
    assert case.init().changed is False


def test_a_living_runner_is_not_disturbed(case: Case) -> None:
    errors: list[MigrationError] = []

    def try_it() -> None:
        errors.append(refused(lambda: case.init(resume=False)))

    case.init(at_step("copying", try_it))
    assert [error.code for error in errors] == ["migration_busy"]
    is_exact(case)


def test_check_mode_shows_what_would_be_dropped_and_changes_nothing(case: Case) -> None:
    case.source.execute("ANALYZE")  # before autovacuum does it in between
    case.init()
    before = inventory(case.source), inventory(case.target)
    migration = case.migration()
    from ansible_collections.seren.migrator.plugins.module_utils.phases import init

    options = InitOptions(client_bin_dir=case.bin_dir, resume=False, check_mode=True)
    result = init.run(migration, options)
    assert result.changed
    assert result.data["plan"]["start_over"] is True
    assert "target: DROP TABLE IF EXISTS app.customer" in migration.log.entries
    assert {table["name"] for table in result.data["tables"]} == {"customer", "purchase", "team"}
    assert (inventory(case.source), inventory(case.target)) == before


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("place", ["before", "after"])
def test_killed_while_it_starts_over_either_command_ends_well(case: Case, place: str, resume: bool) -> None:
    """`before`: what was restored is dropped but nothing is committed; `after`: committed, its streams still there."""
    case.init()

    def begin() -> None:
        def die(*_arguments: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        if place == "before":
            starting_over._reset = die
        else:
            stream.settle = die
        case.init(resume=False)

    process = get_context("fork").Process(target=begin)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    case.init(resume=resume)
    is_exact(case)
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_two_commands_that_differ_in_resume_alone_are_told_apart(case: Case) -> None:
    migration = case.migration()
    assert fingerprint(migration, InitOptions()) != fingerprint(migration, InitOptions(resume=False))
    assert fingerprint(migration, InitOptions()) == fingerprint(migration, InitOptions(max_retained_wal=5, jobs=9))


def test_without_a_migration_it_is_an_ordinary_beginning(case: Case) -> None:
    assert case.init(resume=False).data["state"] == "copied"
    is_exact(case)
