# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables that are created on the source after init: reported by status, brought in by sync when it is told to, exactly."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import sync
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.result import Result
from tests.support.fixtures import Database
from tests.support.inventory import inventory
from tests.support.migrations import NOTHING, Case
from tests.support.schema_dump import schema_differences
from tests.support.verified import assert_verified
from tests.support.writers import PROCESSES, Writers, prepare

WEIRD = '"Weird ""Näme""; --"'
TYPE = '"TABLE ""Näme""; --"'

BASE = (
    "CREATE TABLE a (id int PRIMARY KEY, v text)",
    "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 100) AS n",
    "CREATE TABLE p (id int NOT NULL, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000)",
    "CREATE TYPE old_mood AS ENUM ('glad', 'sad')",
    "CREATE FUNCTION old_default() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''old''::text'",
    "CREATE TABLE bare (id int PRIMARY KEY, v text) PARTITION BY LIST (id)",
)

NEW = (
    "CREATE TYPE mood AS ENUM ('calm', 'wild')",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE FUNCTION new_default() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''new''::text'",
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := coalesce(NEW.v, ''noted''); RETURN NEW; END'",
    "CREATE SEQUENCE shared_id",
    """CREATE TABLE keyed (id serial PRIMARY KEY, m mood DEFAULT 'calm', o old_mood, v text DEFAULT new_default(),
    w text DEFAULT old_default(), n positive, a_id int REFERENCES a, UNIQUE (v, id))""",
    "CREATE TABLE detail (id bigint PRIMARY KEY DEFAULT nextval('shared_id'), keyed_id int REFERENCES keyed, at timestamptz)",
    "CREATE INDEX detail_at ON detail (at) WHERE at IS NOT NULL",
    "CREATE STATISTICS keyed_stats ON m, o FROM keyed",
    "CREATE TRIGGER noted BEFORE INSERT ON keyed FOR EACH ROW EXECUTE FUNCTION note()",
    "ALTER TABLE keyed ENABLE ALWAYS TRIGGER noted",
    "ALTER TABLE detail ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY everyone ON detail USING (keyed_id > 0)",
    "COMMENT ON TABLE keyed IS 'it''s new'",
    "COMMENT ON COLUMN keyed.m IS 'a mood'",
    "GRANT SELECT ON keyed TO PUBLIC",
    "CREATE TABLE inserts_only (n int, v text)",
    "ALTER TABLE inserts_only REPLICA IDENTITY FULL",
    "CREATE TABLE nothing_in_it (id int PRIMARY KEY)",
    "CREATE UNLOGGED TABLE fast (id int PRIMARY KEY, v text)",
    "CREATE TABLE parted (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
    "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')",
    "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2025-02-01') TO ('2025-03-01') PARTITION BY LIST (day)",
    "CREATE TABLE parted_2_rest PARTITION OF parted_2 DEFAULT",
    "CREATE INDEX parted_v ON parted (v)",
    "CREATE TABLE heir (extra text, PRIMARY KEY (id)) INHERITS (a)",
    f"CREATE SCHEMA {WEIRD}",
    f"CREATE TYPE {WEIRD}.{TYPE} AS (x int, y text)",
    f"CREATE TABLE {WEIRD}.{WEIRD} ({WEIRD} serial PRIMARY KEY, c {WEIRD}.{TYPE}, v text)",
    "INSERT INTO keyed (m, o, n, a_id) SELECT 'wild', 'sad', n, n FROM generate_series(1, 100) AS n",
    "INSERT INTO detail (keyed_id, at) SELECT n, now() FROM generate_series(1, 100) AS n",
    "INSERT INTO inserts_only SELECT n, 'x' FROM generate_series(1, 100) AS n",
    "INSERT INTO fast SELECT n, 'x' FROM generate_series(1, 10) AS n",
    "INSERT INTO parted SELECT n, '2025-01-01'::date + n % 58, 'x' FROM generate_series(1, 200) AS n",
    "INSERT INTO heir SELECT n, 'heir', 'extra' FROM generate_series(1001, 1100) AS n",
    f"INSERT INTO {WEIRD}.{WEIRD} (c, v) SELECT ROW(n.i, 'y')::{WEIRD}.{TYPE}, 'x' FROM generate_series(1, 50) AS n(i)",
)
ADDED = [
    'Weird "Näme"; --.Weird "Näme"; --',
    *(
        f"public.{name}"
        for name in (
            *("detail", "fast", "heir", "inserts_only", "keyed", "nothing_in_it", "parted", "parted_1", "parted_2"),
            "parted_2_rest",
        )
    ),
]


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    yield begun(source_db, target_db)


def begun(source: Database, target: Database, **options: Any) -> Case:
    """A migration that replicates."""
    for statement in BASE:
        source.execute(statement)
    made = Case(source, target, options)
    made.init()
    made.sync()
    made.wait_until_in_sync()
    return made


def differences(case: Case) -> list[str]:
    """What a dump of both sides tells apart, besides what is disabled until the cutover and keys that wait."""
    found: list[str] = schema_differences(case.source.dsn, case.target.dsn, Path(case.bin_dir), ("seren_migrator",))
    return found


def verified(case: Case) -> None:
    data = case.verify().data
    assert_verified(data)


def test_new_tables_join_with_schema_and_rows_and_are_replicated(case: Case) -> None:
    for statement in NEW:
        case.source.execute(statement)
    result = case.sync(add_new_tables=True)
    assert result.data["added"] == ADDED
    assert result.changed
    assert result.data["drift"] == []
    assert not case.sync(add_new_tables=True).changed
    for statement in (
        "UPDATE keyed SET v = 'changed', m = 'calm' WHERE id % 3 = 0",
        "DELETE FROM detail WHERE id % 5 = 0",
        "INSERT INTO inserts_only SELECT n, 'later' FROM generate_series(1, 50) AS n",
        "INSERT INTO nothing_in_it VALUES (1)",
        "UPDATE parted SET day = day + 20 WHERE id % 2 = 0 AND day < '2025-02-01'",
        "UPDATE heir SET v = 'changed' WHERE id % 2 = 0",
        f"UPDATE {WEIRD}.{WEIRD} SET v = 'changed' WHERE {WEIRD} % 2 = 0",
        "UPDATE a SET v = 'changed' WHERE id % 2 = 0",
    ):
        case.source.execute(statement)
    data = case.wait_until_in_sync()
    assert data["drift"] == []
    assert case.compare(sequences="ignore").differences == []
    left = {entry["object"] for entry in data["left"]}
    assert "foreign key keyed_a_id_fkey on public.keyed" in left
    assert "trigger noted on public.keyed" in left
    assert case.target.execute("SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'noted'") == [("D",)]
    assert case.target.execute("SELECT convalidated FROM pg_constraint WHERE conname = 'detail_keyed_id_fkey'") == [
        (True,)
    ]
    lines = [line for line in differences(case) if line[:1] in "+-"]
    assert all("keyed_a_id_fkey" in line or "noted" in line or "REFERENCES public.a" in line for line in lines), lines
    verified_tables = {table["name"] for table in case.verify().data["tables"]}
    assert {"keyed", "parted", "heir"} <= verified_tables
    for name in ("keyed_id_seq", "shared_id"):
        query = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier("public", name))
        assert case.target.execute(query) == case.source.execute(query)
    case.cleanup()
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT subname FROM pg_subscription") == []


def test_new_tables_have_their_owners_privileges_and_policies(source_db: Database, target_db: Database) -> None:
    for role in ("new_owner", "new_reader", "called_otherwise"):
        source_db.cluster.execute(f"CREATE ROLE {role}")
    target_db.cluster.execute("CREATE ROLE stands_for_it")
    source_db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO called_otherwise")
    for statement in BASE:
        source_db.execute(statement)
    case = Case(source_db, target_db)
    case.init(roles={"called_otherwise": "stands_for_it"})
    # What the target gives to every new table must not stay on those that join.
    target_db.execute("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
    for statement in (
        "CREATE TYPE owned_type AS ENUM ('x')",
        "ALTER TYPE owned_type OWNER TO new_owner",
        "CREATE TABLE owned (id serial PRIMARY KEY, t owned_type, v text)",
        "ALTER TABLE owned OWNER TO new_owner",
        "GRANT SELECT (id), UPDATE (v) ON owned TO new_reader WITH GRANT OPTION",
        "GRANT INSERT ON owned TO called_otherwise",
        "GRANT USAGE ON SEQUENCE owned_id_seq TO new_reader",
        "ALTER TABLE owned ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY for_one ON owned FOR SELECT TO called_otherwise USING (id > 0)",
        "INSERT INTO owned (t, v) VALUES ('x', 'y')",
        "GRANT DELETE ON a TO new_reader",
    ):
        source_db.execute(statement)
    assert case.sync(add_new_tables=True).data["added"] == ["public.owned"]
    case.wait_until_in_sync()
    assert target_db.execute("SELECT tableowner::text FROM pg_tables WHERE tablename = 'owned'") == [("new_owner",)]
    assert target_db.execute("SELECT typowner::regrole::text FROM pg_type WHERE typname = 'owned_type'") == [
        ("new_owner",)
    ]
    policy = "SELECT roles::text[], cmd FROM pg_policies WHERE policyname = 'for_one'"
    assert target_db.execute(policy) == [(["stands_for_it"], "SELECT")]
    differing = [item for item in case.verify().data["objects"]["different"] if "owned" in item["name"]]
    assert differing == []
    # A grant on an older table is a change of that one, and is told.
    assert target_db.execute("SELECT has_table_privilege('new_reader', 'a', 'DELETE')") == [(False,)]
    entries = case.status(window=0.3).data["drift"]
    assert [entry["object"] for entry in entries] == ["table public.a"]
    assert "privileges" in entries[0]["attributes"][0]


def test_a_policy_of_a_new_table_that_is_made_anew_during_the_copy_arrives(
    source_db: Database, target_db: Database
) -> None:
    source_db.cluster.execute("CREATE ROLE seen_otherwise")
    target_db.cluster.execute("CREATE ROLE sees_for_it")
    source_db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO seen_otherwise")
    for statement in BASE:
        source_db.execute(statement)
    case = Case(source_db, target_db)
    case.init(roles={"seen_otherwise": "sees_for_it"})
    source_db.execute(f"CREATE TABLE {WEIRD} (id int PRIMARY KEY)")
    policy = f"CREATE POLICY {WEIRD} ON {WEIRD} FOR SELECT TO seen_otherwise"
    source_db.execute(f"{policy} USING (id > 1)")

    def progress(event: Event) -> None:
        if event.text.startswith("adding constraints and triggers of the new tables"):
            source_db.execute(f"DROP POLICY {WEIRD} ON {WEIRD}; {policy} USING (id > 2)")

    sync.run(case.migration(), sync.SyncOptions(add_new_tables=True, client_bin_dir=case.bin_dir), progress)
    found = target_db.execute(
        "SELECT roles::text[], qual FROM pg_policies WHERE cmd = 'SELECT' AND 'sees_for_it' = ANY (roles)"
    )
    assert found == [(["sees_for_it"], "(id > 1)")]


def test_verify_says_verified_afterwards(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id serial PRIMARY KEY, v text)")
    case.source.execute("INSERT INTO n (v) SELECT 'x' FROM generate_series(1, 100)")
    assert not case.verify().data["verified"]
    case.sync(add_new_tables=True)
    case.wait_until_in_sync()
    verified(case)


def test_without_the_option_new_tables_are_told_and_nothing_is_changed(case: Case) -> None:
    case.source.execute(f"CREATE TABLE {WEIRD} (id int)")
    before = inventory(case.target, True)
    data = case.status().data
    assert data["state"] == "in_sync"
    assert [(entry["object"], entry["change"]) for entry in data["drift"]] == [(f"table public.{WEIRD}", "added")]
    assert "add_new_tables" in data["drift"][0]["remedy"]
    assert 'public.Weird "Näme"; --' in data["warnings"][0]
    result = case.sync()
    assert not result.changed
    assert result.data["drift"] == data["drift"]
    assert result.data["warnings"] == data["warnings"]
    assert result.data["added"] == []
    assert inventory(case.target, True) == before


def test_check_mode_lists_the_tables_and_writes_nothing(case: Case) -> None:
    for statement in NEW:
        case.source.execute(statement)
    before = [inventory(side, True) for side in (case.source, case.target)]
    ledger = case.target.execute("SELECT * FROM seren_migrator.step ORDER BY 1, 2")
    migration = case.migration()
    result = sync.run(migration, sync.SyncOptions(add_new_tables=True, client_bin_dir=case.bin_dir, check_mode=True))
    assert result.changed
    assert result.data["added"] == ADDED
    assert any("CREATE PUBLICATION" in text for text in migration.log.entries)
    assert any("type public.mood" in text and "function public.new_default()" in text for text in migration.log.entries)
    assert not any("old_default" in text for text in migration.log.entries)
    assert [inventory(side, True) for side in (case.source, case.target)] == before
    assert case.target.execute("SELECT * FROM seren_migrator.step ORDER BY 1, 2") == ledger


def test_the_selection_is_respected(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE SCHEMA other")
    source_db.execute("CREATE TABLE out_of_it (id int PRIMARY KEY)")
    source_db.execute("CREATE TABLE other.t (id int PRIMARY KEY)")
    case = begun(source_db, target_db, exclude_schemas=["other"], exclude_tables=["out_*"], exclude_data=["a"])
    for name in ("out_later", "other.later", "within"):
        source_db.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    source_db.execute("CREATE TEMP TABLE gone (id int)")
    assert [entry["object"] for entry in case.status().data["drift"]] == ["table public.within"]
    assert case.sync(add_new_tables=True).data["added"] == ["public.within"]
    assert case.status().data["drift"] == []


def test_a_table_whose_name_is_taken_on_the_target_is_refused(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY)")
    case.target.execute("CREATE TABLE n (precious text)")
    case.target.execute("INSERT INTO n VALUES ('mine')")
    before = inventory(case.source, True)
    for check_mode in (True, False):
        with pytest.raises(MigrationError) as caught:
            case.sync(add_new_tables=True, check_mode=check_mode)
        assert caught.value.code == "target_not_empty"
        assert "public.n" in caught.value.message
    assert case.target.execute("SELECT precious FROM n") == [("mine",)]
    assert inventory(case.source, True) == before
    assert "something else of its name" in case.status().data["drift"][0]["detail"]
    case.target.execute("DROP TABLE n")
    assert case.sync(add_new_tables=True).data["added"] == ["public.n"]


def test_a_sequence_whose_name_is_taken_on_the_target_is_refused(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id serial PRIMARY KEY)")
    case.target.execute("CREATE SEQUENCE n_id_seq")
    with pytest.raises(MigrationError) as caught:
        case.sync(add_new_tables=True)
    assert caught.value.code == "target_not_empty"
    assert case.left_on_source()["slots"] == case.source.execute("SELECT slot_name FROM pg_replication_slots")
    assert len(case.left_on_source()["slots"]) == 1
    case.target.execute("DROP SEQUENCE n_id_seq")
    assert case.sync(add_new_tables=True).data["added"] == ["public.n"]


def test_a_table_that_could_not_be_updated_any_more_is_refused(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id int)")
    case.source.execute("INSERT INTO n VALUES (1)")
    for options in ({"check_mode": True}, {}):
        with pytest.raises(MigrationError) as caught:
            case.sync(add_new_tables=True, **options)
        assert caught.value.code == "not_ready"
        assert "public.n" in caught.value.message
    case.source.execute("UPDATE n SET id = 2")
    assert len(case.left_on_source()["slots"]) == 1
    case.source.execute("ALTER TABLE n ADD PRIMARY KEY (id)")
    assert case.sync(add_new_tables=True).data["added"] == ["public.n"]


def test_no_free_slot_is_told_before_anything_is_done(make_cluster: Any) -> None:
    source, target = make_cluster(15, max_replication_slots=1), make_cluster(17)
    for cluster in (source, target):
        cluster.execute("CREATE DATABASE shop")
    case = begun(Database(source, "shop"), Database(target, "shop"))
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY)")
    with pytest.raises(MigrationError) as caught:
        case.sync(add_new_tables=True)
    assert caught.value.code == "not_ready"
    assert "source_slots" in caught.value.details["checks"]
    assert case.status().data["state"] == "in_sync"


def test_a_partition_of_a_table_that_had_none_joins(case: Case) -> None:
    case.source.execute("CREATE TABLE bare_1 PARTITION OF bare FOR VALUES IN (1, 2)")
    case.source.execute("INSERT INTO bare VALUES (1, 'x')")
    assert case.sync(add_new_tables=True).data["added"] == ["public.bare_1"]
    case.source.execute("INSERT INTO bare VALUES (2, 'y')")
    case.source.execute("UPDATE bare SET v = 'z' WHERE id = 1")
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert not case.sync(add_new_tables=True).changed
    case.source.execute("CREATE TABLE bare_3 PARTITION OF bare FOR VALUES IN (3)")
    case.source.execute("INSERT INTO bare VALUES (3, 'x')")
    joined = case.sync(add_new_tables=True).data
    assert joined["adopted"] + joined["added"] == ["public.bare_3"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_a_partition_of_a_table_that_joined_is_adopted(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    case.source.execute("CREATE TABLE n1 PARTITION OF n FOR VALUES FROM (0) TO (10)")
    assert case.sync(add_new_tables=True).data["added"] == ["public.n", "public.n1"]
    case.source.execute("CREATE TABLE n2 PARTITION OF n FOR VALUES FROM (10) TO (20)")
    case.source.execute("INSERT INTO n VALUES (1), (11)")
    assert case.sync().data["adopted"] == ["public.n2"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_tables_join_again_and_again(case: Case) -> None:
    for number in range(3):
        case.source.execute(f"CREATE TABLE n{number} (id int PRIMARY KEY)")
        case.source.execute(f"INSERT INTO n{number} VALUES (1), (2)")
        assert case.sync(add_new_tables=True).data["added"] == [f"public.n{number}"]
    case.source.execute("UPDATE n0 SET id = 7 WHERE id = 1; UPDATE n2 SET id = 7 WHERE id = 1")
    data = case.wait_until_in_sync()
    assert [stream["number"] for stream in data["streams"]] == [1, 2, 3, 4]
    assert case.compare().differences == []
    assert case.target.execute("SELECT count(*) FROM seren_migrator.schema_dump") == [(0,)]


def test_what_nothing_new_needs_is_not_brought(case: Case) -> None:
    case.source.execute("CREATE VIEW later AS SELECT 1 AS one")
    case.source.execute("CREATE FUNCTION later_function() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY)")
    case.sync(add_new_tables=True)
    assert case.target.execute("SELECT to_regclass('later'), to_regproc('later_function')") == [(None, None)]


def test_a_sync_on_a_finished_copy_brings_in_what_came_during_it(source_db: Database, target_db: Database) -> None:
    for statement in BASE:
        source_db.execute(statement)
    case = Case(source_db, target_db)
    case.init()
    source_db.execute("CREATE TABLE n (id int PRIMARY KEY)")
    source_db.execute("INSERT INTO n VALUES (1)")
    assert case.sync(add_new_tables=True).data["added"] == ["public.n"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


# --- while the application writes, and whatever happens ----------------------------------------------------------


def killed_at(case: Case, text: str) -> bool:
    """Run sync in a process of its own and kill it when it tells of this step; False when it never did."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def work() -> None:
        os.setsid()

        def progress(event: Event) -> None:
            theirs.send(event.text)
            if event.text.startswith(text):
                signal.pause()

        sync.run(case.migration(), sync.SyncOptions(add_new_tables=True, client_bin_dir=case.bin_dir), progress)
        theirs.send(None)

    child = context.Process(target=work)
    child.start()
    theirs.close()
    seen: Any = ""
    try:
        while seen is not None and not seen.startswith(text):
            seen = ours.recv()
    except EOFError:
        seen = None
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    return seen is not None


STEPS = (
    "bringing in",
    "opening stream",
    "copying",
    "copied",
    "building indexes",
    "adding constraints",
    "collecting statistics",
    "looking after the subscription seren_migration_sub_",
    "validating",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_was_killed_is_finished_by_the_next_one(case: Case, step: str) -> None:
    for statement in NEW:
        case.source.execute(statement)
    assert killed_at(case, step)
    case.source.execute("UPDATE keyed SET v = 'between' WHERE id % 2 = 0")
    case.source.execute("INSERT INTO inserts_only SELECT n, 'between' FROM generate_series(1, 50) AS n")
    case.source.execute("DELETE FROM detail WHERE id % 7 = 0")
    begun_before = case.target.execute(
        "SELECT count(*) FROM seren_migrator.step WHERE step = 'adding' AND state <> 'done'"
    )
    if begun_before == [(1,)]:
        data = case.status().data
        assert data["state"] == "broken"
        assert any("interrupted" in reason for reason in data["reasons"])
    assert not case.verify(wait_timeout=5).data["verified"] or step == "validating"
    case.sync(add_new_tables=True)
    assert case.target.execute("SELECT count(*) FROM seren_migrator.relation WHERE state = 'pending'") == [(0,)]
    assert not case.sync(add_new_tables=True).changed
    data = case.wait_until_in_sync()
    assert data["drift"] == []
    assert case.compare().differences == []
    streams = case.target.execute("SELECT count(*) FROM seren_migrator.stream WHERE state <> 'removed'")
    assert case.source.execute("SELECT count(*) FROM pg_replication_slots") == streams
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_what_was_begun_is_finished_without_the_option(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY, v text)")
    case.source.execute("INSERT INTO n SELECT n, 'x' FROM generate_series(1, 100) AS n")
    assert killed_at(case, "adding constraints")
    assert case.sync(client_bin_dir=case.bin_dir).data["added"] == ["public.n"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def test_a_table_that_was_dropped_after_an_interruption_does_not_stop_the_others(case: Case) -> None:
    for name in ("n", "dropped"):
        case.source.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
        case.source.execute(f"INSERT INTO {name} VALUES (1)")
    assert killed_at(case, "copying")
    case.source.execute("DROP TABLE dropped")
    case.sync(add_new_tables=True)
    case.wait_until_in_sync()
    assert case.target.execute("SELECT count(*) FROM n") == [(1,)]
    assert case.target.execute("SELECT count(*) FROM dropped") == [(0,)]


def test_two_runs_at_once_do_not_meet(case: Case) -> None:
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY)")
    codes: list[str] = []

    def progress(event: Event) -> None:
        if event.text.startswith("copying") and not codes:
            with pytest.raises(MigrationError) as caught:
                case.sync(add_new_tables=True)
            codes.append(caught.value.code)
            assert case.status().data["state"] == "catching_up"

    sync.run(case.migration(), sync.SyncOptions(add_new_tables=True, client_bin_dir=case.bin_dir), progress)
    assert codes == ["migration_busy"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def at_copy(action: Callable[[], Any]) -> Callable[[Event], None]:
    done: list[bool] = []

    def progress(event: Event) -> None:
        if event.text.startswith("copying") and not done:
            done.append(True)
            action()

    return progress


def test_a_table_that_is_rewritten_before_its_copy_moves_to_a_new_stream(case: Case) -> None:
    for name in "xyz":
        case.source.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
        case.source.execute(f"INSERT INTO {name} VALUES (1), (2)")

    def rewrite() -> None:
        case.source.execute("TRUNCATE y")
        case.source.execute("INSERT INTO y VALUES (7)")

    options = sync.SyncOptions(add_new_tables=True, client_bin_dir=case.bin_dir)
    result: Result = sync.run(case.migration(), options, at_copy(rewrite))
    assert result.data["added"] == ["public.x", "public.y", "public.z"]
    case.wait_until_in_sync()
    assert case.compare().differences == []


def written_while_they_join(source: Database, target: Database, folder: Path) -> None:
    case = begun(source, target)
    prepare(source.dsn, PROCESSES)
    with Writers(source.dsn, folder / "journal", 150) as writers:
        writers.wait_for(100)
        joined = case.sync(add_new_tables=True).data["added"]
        assert {"live.account", "live.item", "live.event", "live.event_2_rest", "live.child", "live.scratch_0"} <= set(
            joined
        )
        done = writers.progress().total
        writers.wait_for(done + 200)
        summary = writers.stop()
    assert set(summary.errors) <= {"40001", "40P01"}, summary
    case.wait_until_in_sync()
    assert writers.verify(source.dsn) == []
    assert writers.verify(target.dsn) == []
    assert case.compare(sequences="ignore").differences == []
    assert not case.sync(add_new_tables=True).changed


def test_rows_written_while_tables_join_arrive_exactly_once(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    written_while_they_join(source_db, target_db, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 16), (13, 18), (17, 15), (18, 18)])
def test_tables_join_between_other_majors(
    make_cluster: Any, tmp_path: Path, source_major: int, target_major: int
) -> None:
    source, target = make_cluster(source_major), make_cluster(target_major)
    source.execute("CREATE DATABASE shop")
    target.execute("CREATE DATABASE shop")
    written_while_they_join(Database(source, "shop"), Database(target, "shop"), tmp_path)


def test_what_no_dump_says_of_a_new_table_comes_along_or_is_named(case: Case) -> None:
    case.source.execute(
        "CREATE TABLE elder (id int PRIMARY KEY, v text DEFAULT 'elder'); CREATE TABLE middle (PRIMARY KEY (id)) INHERITS (elder);"
        f"CREATE TABLE {WEIRD} (PRIMARY KEY (id)) INHERITS (middle); ALTER TABLE middle ALTER v DROP DEFAULT;"
        f"ALTER TABLE {WEIRD} ALTER v DROP DEFAULT; ALTER TABLE elder ALTER v SET DEFAULT 'elder';"
        f"ALTER TABLE middle ALTER v DROP DEFAULT; ALTER TABLE {WEIRD} ALTER v DROP DEFAULT;"
        "INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)"
        f" VALUES ('{WEIRD}'::regclass, 'pg_class'::regclass, 0, 'anon', 'MASKED')"
    )
    result = case.sync(add_new_tables=True)
    assert [item["object"] for item in result.data["left"] if "security label" in item["object"]] == [
        "1 security label(s) of provider anon"
    ]
    defaults = (
        "SELECT attrelid::regclass::text, atthasdef FROM pg_attribute WHERE attname = 'v'"
        f" AND attrelid IN ('elder'::regclass, 'middle'::regclass, '{WEIRD}'::regclass) ORDER BY 1"
    )
    assert case.target.execute(defaults) == case.source.execute(defaults)
