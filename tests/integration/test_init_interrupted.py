# SPDX-License-Identifier: GPL-3.0-or-later
"""What init must not do when it is interrupted or surprised: drop what is not ours, lose a table, stop for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import notes, schema
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database
from tests.support.migrations import Case, at_step


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 100) AS n")
    yield Case(source_db, target_db)


def finish(case: Case) -> None:
    case.sync()
    case.wait_until_in_sync()


def test_a_table_that_appeared_on_the_target_is_not_dropped_by_the_next_run(case: Case) -> None:
    def appear() -> None:
        case.target.execute("CREATE TABLE public.a (precious text)")
        case.target.execute("INSERT INTO public.a VALUES ('mine')")

    for _attempt in range(2):
        with pytest.raises(MigrationError) as caught:
            case.init(at_step("dumping the schema", appear if _attempt == 0 else lambda: None))
        assert caught.value.code in ("client_failed", "target_not_empty", "schema_changed")
    assert case.target.execute("SELECT precious FROM public.a") == [("mine",)]
    case.target.execute("DROP TABLE public.a")
    case.init()
    finish(case)
    assert case.compare().differences == []


def test_an_existing_empty_schema_of_the_target_is_used_with_its_function(case: Case) -> None:
    case.source.execute("CREATE SCHEMA app")
    case.source.execute("CREATE TABLE app.t (id int PRIMARY KEY)")
    case.target.execute("CREATE SCHEMA app")
    case.target.execute("CREATE FUNCTION app.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    case.init()
    assert case.target.execute("SELECT app.mine()") == [(1,)]
    assert case.target.execute("SELECT count(*) FROM app.t") == [(0,)]


def test_a_large_object_of_the_target_is_not_replaced_by_the_next_run(case: Case) -> None:
    case.source.execute("SELECT lo_from_bytea(4242, 'theirs')")
    case.target.execute("SELECT lo_from_bytea(4242, 'mine')")
    for _attempt in range(2):
        with pytest.raises(MigrationError) as caught:
            case.init(large_objects="copy")
        assert caught.value.code == "target_not_empty"
    assert case.target.execute("SELECT lo_get(4242)") == [(b"mine",)]
    case.target.execute("SELECT lo_unlink(4242)")
    case.init(large_objects="copy")
    assert case.target.execute("SELECT lo_get(4242)") == [(b"theirs",)]


def test_a_table_whose_name_was_given_to_another_during_the_copy_is_refused(case: Case) -> None:
    def swap() -> None:
        with case.source.connect(autocommit=False) as connection:
            connection.execute("ALTER TABLE a RENAME TO a_old")
            connection.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
            connection.execute("INSERT INTO a VALUES (1, 'other')")

    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copying", swap))
    assert caught.value.code == "schema_changed"


def test_small_tables_that_were_all_truncated_before_their_copy_move_to_a_new_stream(case: Case) -> None:
    tables = "abcdefgh"  # enough for batches of two
    for table in tables[1:]:
        case.source.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        case.source.execute(f"INSERT INTO {table} SELECT generate_series(1, 10)")

    def empty() -> None:
        for table in tables:
            case.source.execute(f"TRUNCATE {table}")
            case.source.execute(f"INSERT INTO {table} (id) VALUES (7)")

    result = case.init(at_step("copying", empty), jobs=1)
    assert [stream["number"] for stream in result.data["streams"]] == [2]
    finish(case)
    assert case.compare().differences == []


def test_an_index_that_a_rewrite_has_replaced_since_the_dump_is_built(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.source.execute("INSERT INTO a SELECT n, repeat('x', 500) FROM generate_series(101, 60000) AS n")
    case.source.execute("CREATE INDEX a_id ON a (id, left(v, 10))")
    original = schema.post_data_script

    def rewrite_first(*arguments: Any) -> Any:
        monkeypatch.setattr(schema, "post_data_script", original)
        case.source.execute("ALTER TABLE a ALTER COLUMN id TYPE int USING id + 0")
        return original(*arguments)

    monkeypatch.setattr(schema, "post_data_script", rewrite_first)
    case.init()
    finish(case)
    assert case.compare().differences == []
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'a' ORDER BY 1"
    assert case.target.execute(indexes) == case.source.execute(indexes)


def test_what_a_deploy_made_during_the_copy_does_not_stop_init(case: Case) -> None:
    def deploy() -> None:
        case.source.execute("CREATE TABLE later (n serial PRIMARY KEY)")
        case.source.execute("CREATE MATERIALIZED VIEW later_view AS SELECT count(*) FROM a")

    case.init(at_step("copying", deploy))
    finish(case)
    assert case.target.execute("SELECT to_regclass('later')") == [(None,)]


def test_a_worker_left_over_by_a_dead_runner_does_not_block_the_next_run(case: Case) -> None:
    def fail() -> None:
        raise RuntimeError("the runner is gone")

    with pytest.raises(RuntimeError):
        case.init(at_step("copying", fail))
    identity = case.target.execute("SELECT id FROM seren_migrator.migration")[0][0]
    with case.target.connect(autocommit=False) as backend:
        backend.execute("SELECT set_config('application_name', %s, false)", (f"seren_migrator {identity[:12]} copy",))
        backend.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
        case.init()
        backend.close()
    finish(case)
    assert case.compare().differences == []


def test_a_worker_cannot_note_a_table_under_a_stream_that_is_going(case: Case) -> None:
    def fail() -> None:
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError):
        case.init(at_step("copying", fail))
    migration_id = case.target.execute("SELECT id FROM seren_migrator.migration")[0][0]
    assert case.target.execute("SELECT state FROM seren_migrator.stream") == [("removed",)]
    statement = notes.sql.SQL(notes.STREAMS_OPEN).format(
        id=notes.sql.Literal(migration_id), stream=notes.sql.Literal(1)
    )
    with pytest.raises(Exception, match="division by zero"):
        case.target.execute(statement)
    assert case.target.execute("SELECT state FROM seren_migrator.relation") == [("pending",)]


def test_a_row_that_the_target_refuses_stops_the_copy_before_the_whole_table_was_sent(case: Case) -> None:
    case.source.execute("CREATE TABLE big (id int PRIMARY KEY, v text)")
    case.source.execute("INSERT INTO big SELECT n, repeat('x', 1000) FROM generate_series(1, 60000) AS n")

    def forbid() -> None:
        case.target.execute("ALTER TABLE big ADD CHECK (id <> 1)")

    sent: list[dict[str, Any]] = []
    progress = at_step("copying", forbid)
    with pytest.raises(MigrationError) as caught:
        case.init(lambda event: (progress(event), sent.append(event.numbers)))
    assert caught.value.code == "copy_failed"
    assert caught.value.details["sqlstate"] == "23514"
    assert "xxxx" not in caught.value.message


def test_memberships_and_settings_of_a_role_are_made_together_with_it(case: Case) -> None:
    case.source.execute("CREATE ROLE staff")
    case.source.execute("CREATE ROLE app LOGIN IN ROLE staff")
    case.source.execute("ALTER ROLE app SET work_mem = '7MB'")
    case.source.execute("ALTER TABLE a OWNER TO app")
    seen: list[tuple[int, int]] = []

    def look() -> None:
        roles = case.target.execute("SELECT count(*) FROM pg_roles WHERE rolname IN ('app', 'staff')")[0][0]
        members = case.target.execute("SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member"
                                      " WHERE r.rolname = 'app'")[0][0]  # fmt: skip
        seen.append((roles, members))

    case.init(at_step("copying", look))
    assert seen == [(2, 1)]
    assert case.target.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'app'") == [(["work_mem=7MB"],)]


def test_statistics_that_cannot_be_collected_fail_no_copy(case: Case) -> None:
    def forbid() -> None:
        case.target.execute("CREATE FUNCTION public.boom(int) RETURNS int IMMUTABLE LANGUAGE plpgsql"
                            " AS 'BEGIN RAISE EXCEPTION ''boom''; END'")  # fmt: skip
        case.target.execute("CREATE STATISTICS public.bad ON (public.boom(id)), id FROM public.a")

    result = case.init(at_step("collecting", forbid))
    assert any(entry["object"] == "statistics of public.a" for entry in result.data["left"])
