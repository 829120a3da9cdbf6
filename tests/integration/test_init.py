# SPDX-License-Identifier: GPL-3.0-or-later
"""init against real servers: what the application does during the copy, what dies during it, what it must refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.fixtures import Database
from tests.support.migrations import NOTHING, Case, at_step
from tests.support.runner import kill_at, start
from tests.support.verified import assert_verified

TABLES = """
CREATE TABLE a (id int PRIMARY KEY, v text);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a, v text);
CREATE TABLE keyless (n int, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE p (id int NOT NULL, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000);
ALTER TABLE p1 CLUSTER ON p1_pkey;
INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 500) AS n;
INSERT INTO b SELECT n, n, 'row ' || n FROM generate_series(1, 500) AS n;
INSERT INTO keyless SELECT n % 10, 'row' FROM generate_series(1, 100) AS n;
INSERT INTO p SELECT n, 'row ' || n FROM generate_series(1, 1999) AS n;
CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM a;
"""


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            source_db.execute(statement)
    yield Case(source_db, target_db)


def finish(case: Case) -> None:
    case.sync()
    case.wait_until_in_sync()


def test_a_copy_followed_by_sync_holds_every_row(case: Case) -> None:
    result = case.init()
    assert result.changed
    assert {(t["name"], t["rows"]) for t in result.data["tables"]} == {
        ("a", 500), ("b", 500), ("keyless", 100), ("p1", 999), ("p2", 1000),
    }  # fmt: skip
    case.source.execute("INSERT INTO a VALUES (501, 'later'); DELETE FROM p WHERE id = 1; UPDATE keyless SET v = 'x'")
    finish(case)
    assert case.compare().differences == []


def test_a_second_run_changes_nothing(case: Case) -> None:
    case.init()
    assert not case.init().changed
    case.sync()
    assert not case.sync().changed
    assert not case.init().changed


def test_a_trigger_that_always_fires_does_not_double_its_effects(case: Case) -> None:
    case.source.execute("CREATE TABLE audit (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int)")
    case.source.execute(
        "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN INSERT INTO public.audit (id) VALUES (NEW.id); RETURN NEW; END'"
    )
    case.source.execute("CREATE TRIGGER audit AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION audit()")
    case.source.execute("ALTER TABLE p ENABLE ALWAYS TRIGGER audit")
    result = case.init()
    assert [entry["object"] for entry in result.data["left"]] == ["trigger audit on public.p"]
    finish(case)
    case.source.execute("INSERT INTO p VALUES (0, 'audited once')")
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert case.target.execute("SELECT count(*) FROM audit") == [(1,)]


# What the application may do to a table between the snapshot and its copy. COPY would return nothing, or old columns.
REWRITES = {
    "truncate": "TRUNCATE keyless; INSERT INTO keyless VALUES (7, 'after the truncate')",
    "truncate two tables": "TRUNCATE a, b; INSERT INTO a VALUES (1, 'new')",
    "vacuum full": "VACUUM FULL a",
    "cluster": "CLUSTER p1",
    "truncate one partition": "TRUNCATE p1; INSERT INTO p VALUES (5, 'new')",
    "truncate the whole partitioned table": "TRUNCATE p; INSERT INTO p VALUES (5, 'new'), (1500, 'new')",
}


@pytest.mark.parametrize("statements", REWRITES.values(), ids=REWRITES.keys())
def test_a_table_rewritten_during_the_copy_moves_to_a_new_stream(case: Case, statements: str) -> None:
    def rewrite() -> None:
        for statement in statements.split("; "):
            case.source.execute(statement)

    result = case.init(at_step("dumping the schema", rewrite))
    assert len(result.data["streams"]) == 2
    case.source.execute("INSERT INTO a VALUES (777, 'later'); INSERT INTO keyless VALUES (8, 'later')")
    case.source.execute("INSERT INTO p VALUES (777, 'later') ON CONFLICT (id) DO UPDATE SET v = excluded.v")
    finish(case)
    assert case.compare().differences == []
    assert_verified(case.verify())


def test_a_table_that_is_truncated_all_the_time_is_copied_all_the_same(case: Case) -> None:
    ended = threading.Event()

    def truncate() -> None:
        with case.source.connect() as connection:
            while not ended.wait(0.5):
                connection.execute("TRUNCATE keyless")
                connection.execute("INSERT INTO keyless VALUES (1, 'again')")

    writer = threading.Thread(target=truncate)
    writer.start()
    try:
        result = case.init()
        case.sync()
    finally:
        ended.set()
        writer.join()
    assert result.data["state"] == "copied"
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_a_column_type_changed_during_the_copy_is_refused(case: Case) -> None:
    def change() -> None:
        case.source.execute("ALTER TABLE a ALTER COLUMN v TYPE varchar(50)")
        case.source.execute("ALTER TABLE a ALTER COLUMN id TYPE bigint")

    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copying", change))
    assert caught.value.code == "schema_changed"
    assert "public.a" in caught.value.message


def test_a_partition_attached_with_rows_during_the_copy_arrives(case: Case) -> None:
    def attach() -> None:
        case.source.execute("CREATE TABLE p3 (LIKE p INCLUDING ALL)")
        case.source.execute("INSERT INTO p3 SELECT n, 'attached' FROM generate_series(2000, 2099) AS n")
        case.source.execute("ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (2000) TO (3000)")
        case.source.execute("INSERT INTO p VALUES (2500, 'through the root')")

    case.init(at_step("dumping the schema", attach))
    case.source.execute("INSERT INTO p VALUES (2501, 'before sync')")
    adopted = case.sync().data["adopted"]
    assert adopted == ["public.p3"]
    case.source.execute("INSERT INTO p VALUES (2502, 'after sync')")
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert case.target.execute("SELECT count(*) FROM p3") == [(103,)]
    assert not case.sync().changed


def test_a_partition_created_during_sync_is_reported_and_repaired(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (9000) TO (10000)")
    case.source.execute("INSERT INTO p VALUES (9001, 'new partition')")
    data = case.status().data
    assert data["state"] == "broken"
    assert any("public.p9" in reason for reason in data["reasons"])
    assert case.sync().data["adopted"] == ["public.p9"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_a_partition_attached_where_partitions_are_published_one_by_one_arrives(case: Case) -> None:
    case.options["exclude_data"] = ["p1"]
    case.init()
    case.source.execute("CREATE TABLE p3 (LIKE p INCLUDING ALL)")
    case.source.execute("INSERT INTO p3 SELECT n, 'attached' FROM generate_series(2000, 2099) AS n")
    case.source.execute("ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (2000) TO (3000)")
    assert case.sync().data["adopted"] == ["public.p3"]
    case.source.execute("INSERT INTO p VALUES (2501, 'later')")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT count(*) FROM p3") == [(101,)]
    assert case.target.execute("SELECT count(*) FROM p1") == [(0,)]


def test_a_partition_detached_during_sync_is_broken(case: Case) -> None:
    case.init()
    finish(case)
    case.source.execute("ALTER TABLE p DETACH PARTITION p2")
    data = case.status().data
    assert data["state"] == "broken"
    assert any("public.p2 is not published any more" in reason for reason in data["reasons"])


def test_a_table_created_while_the_slot_waits_is_part_of_the_migration(case: Case) -> None:
    def create() -> None:
        case.source.execute("CREATE TABLE late (id int PRIMARY KEY)")
        case.source.execute("INSERT INTO late VALUES (1)")

    case.init(at_step("opening stream", create))
    finish(case)
    assert case.compare().differences == []
    assert case.target.execute("SELECT id FROM late") == [(1,)]


# Where the run is killed: right after this step is reported, and this many seconds later.
KILLS = [
    ("opening stream", 0.0),
    ("opening stream", 0.1),
    ("dumping the schema", 0.0),
    ("dumping the schema", 0.2),
    ("copied", 0.0),
    ("copied", 0.05),
    ("building indexes", 0.0),
    ("building indexes", 0.15),
    ("refreshing", 0.0),
    ("collecting", 0.0),
]


@pytest.mark.parametrize(("step", "delay_s"), KILLS)
def test_a_killed_copy_is_continued_by_the_same_command(case: Case, step: str, delay_s: float) -> None:
    kill_at(start(case), step, delay_s)
    case.source.execute("INSERT INTO a VALUES (900, 'after the kill'); DELETE FROM b WHERE id = 7")
    case.source.execute("UPDATE p SET v = 'after the kill' WHERE id IN (3, 1003)")
    case.init()
    finish(case)
    assert case.compare().differences == []
    assert_verified(case.verify())
    # Tables that the kill has parted are carried by two streams, and the key between them waits.
    streams = case.target.execute("SELECT DISTINCT stream FROM seren_migrator.relation WHERE name IN ('a', 'b')")
    keys = case.target.execute("SELECT conname FROM pg_constraint WHERE contype = 'f'")
    assert keys == ([("b_a_id_fkey",)] if len(streams) == 1 else [])
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_the_same_command_follows_a_run_that_is_alive(case: Case) -> None:
    case.source.execute("INSERT INTO a SELECT n, repeat('x', 200) FROM generate_series(1000, 200000) AS n")
    process = start(case)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("dumping"):
            break
    seen: list[Any] = []
    result = case.init(lambda event: seen.append(event.text))
    assert any(text.startswith("following init on") for text in seen)
    assert result.data["state"] == "copied"
    assert process.wait(timeout=60) == 0


def test_two_runs_started_at_the_same_moment_end_with_one_copy(case: Case) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = [outcome.result() for outcome in [pool.submit(case.init) for _number in range(2)]]
    assert sorted(result.changed for result in results) == [False, True]
    assert {result.data["state"] for result in results} == {"copied"}
    finish(case)
    assert case.compare().differences == []


def test_another_command_is_refused_while_a_run_is_alive(case: Case) -> None:
    case.source.execute("INSERT INTO a SELECT n, repeat('x', 200) FROM generate_series(1000, 200000) AS n")
    process = start(case)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("dumping"):
            break
    with pytest.raises(MigrationError) as caught:
        case.init(large_objects="copy")
    assert caught.value.code == "migration_busy"
    assert process.wait(timeout=60) == 0


def test_a_failure_before_any_table_is_copied_leaves_nothing_on_the_source(case: Case) -> None:
    def sabotage() -> None:
        case.target.execute("CREATE TABLE public.a (other text)")

    with pytest.raises(MigrationError) as caught:
        case.init(at_step("dumping the schema", sabotage))
    assert caught.value.details["slots_kept"] == []
    assert {**case.left_on_source(), "schemas": []} == NOTHING


def test_a_failure_in_the_middle_of_the_copy_names_the_slot_that_stays(case: Case) -> None:
    def sabotage() -> None:
        case.source.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '% copy'"
        )

    case.source.execute("INSERT INTO a SELECT n, repeat('x', 200) FROM generate_series(1000, 150000) AS n")
    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copied", sabotage))
    kept = caught.value.details["slots_kept"]
    assert [(slot,) for slot in kept] == case.left_on_source()["slots"]
    assert kept[0] in caught.value.remedy
    case.init()
    finish(case)
    assert case.compare().differences == []
