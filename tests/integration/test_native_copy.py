# SPDX-License-Identifier: GPL-3.0-or-later
"""copy_method: subscription, where the servers copy by themselves: exact, resumable, and never waiting for nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import retention, table_sync
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from tests.support import sample
from tests.support.binaries import client_dir
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, WAIT_S, Case, at_step
from tests.support.playbooks import play
from tests.support.preflight import HOSTILE
from tests.support.schema_dump import schema_differences
from tests.support.verified import assert_verified
from tests.support.writers import PROCESSES, Writers, prepare

NATIVE: dict[str, Any] = {"copy_method": "subscription"}
COPYING = "the servers copy"


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("CREATE INDEX a_v ON a (v)")
    source_db.execute("INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 500) AS n")
    yield Case(source_db, target_db)


def wait_for(what: str, condition: Callable[[], Any]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.1)


def finish(case: Case) -> None:
    """What follows init, and the comparison."""
    case.sync()
    case.wait_until_in_sync()
    assert case.compare().differences == []


def killed(case: Case, step: str, before: Callable[[], Any] | None = None) -> None:
    """Run init in a process that is killed when this step is reported; call ``before`` before it subscribes."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def progress(event: Event) -> None:
        if before is not None and event.text.startswith("subscribing"):
            theirs.send("subscribing")
            theirs.recv()
        if event.text.startswith(step):
            os.kill(os.getpid(), signal.SIGKILL)

    child = context.Process(target=case.init, args=(progress,), kwargs=NATIVE)
    child.start()
    if before is not None:
        assert ours.poll(WAIT_S)
        before()
        ours.send("go on")
    child.join(WAIT_S)
    assert child.exitcode == -signal.SIGKILL


# --- the whole way ---------------------------------------------------------------------------------------------


def copy_live(source: Database, target: Database, folder: Path) -> None:
    sample.load(source.dsn, 1, features_of=min(source.cluster.major, target.cluster.major))
    prepare(source.dsn, PROCESSES)
    case = Case(source, target)
    events: list[Event] = []
    with Writers(source.dsn, folder / "journal", 200) as writers:
        writers.wait_for(100)
        result = case.init(events.append, **NATIVE, large_objects="copy", progress_interval=0.5)
        assert result.changed
        assert result.data["state"] == "synced"
        assert case.status().data["state"] in ("catching_up", "in_sync")
        assert not case.init(**NATIVE, large_objects="copy").changed
        synced = case.sync()
        assert (synced.changed, synced.data["state"]) == (False, "synced")
        writers.wait_for(writers.progress().total + 100)
        summary = writers.stop()
    assert set(summary.errors) <= {"40001", "40P01"}, summary
    case.wait_until_in_sync()
    assert writers.verify(source.dsn) == []
    assert writers.verify(target.dsn) == []
    assert case.compare().differences == []
    clients = client_dir(max(source.cluster.major, target.cluster.major))
    assert schema_differences(source.dsn, target.dsn, clients, ("seren_migrator",)) == []
    assert_verified(case.verify())
    told = [event.numbers for event in events if "tables_copied" in event.numbers]
    assert told[-1]["tables_copied"] == told[-1]["tables"] > 0
    assert any(numbers["step"] == "copy" for numbers in told)
    tables = [table for table in result.data["tables"] if table["kind"] == "table"]
    assert all(table["bytes"] is not None and table["rows"] is None for table in tables)
    case.cleanup()
    assert case.left_on_source() == NOTHING
    assert target.execute("SELECT subname FROM pg_subscription") == []
    assert target.execute("SELECT roname FROM pg_replication_origin") == []


def test_every_row_written_while_the_servers_copy_arrives_exactly_once(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    copy_live(source_db, target_db, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 14), (14, 14), (16, 16), (17, 18), (18, 18)])
def test_every_pair_of_majors_copies_live(
    make_cluster: Any, tmp_path: Path, source_major: int, target_major: int
) -> None:
    source, target = make_cluster(source_major), make_cluster(target_major)
    copy_live(create_database(source, "shop"), create_database(target, "shop"), tmp_path)


SHAPES = f"""
CREATE SCHEMA "{HOSTILE.replace('"', '""')}";
CREATE TABLE "{HOSTILE.replace('"', '""')}"."{HOSTILE.replace('"', '""')}" ("a ""b" int PRIMARY KEY, "ß" text);
INSERT INTO "{HOSTILE.replace('"', '""')}"."{HOSTILE.replace('"', '""')}" SELECT n, 'x' FROM generate_series(1, 9) AS n;
CREATE TABLE empty (id int PRIMARY KEY);
CREATE TABLE generated (id int PRIMARY KEY, double int GENERATED ALWAYS AS (id * 2) STORED, kept text);
INSERT INTO generated (id, kept) SELECT n, 'k' FROM generate_series(1, 9) AS n;
ALTER TABLE generated DROP COLUMN kept;
CREATE TABLE keyless (id int, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
INSERT INTO keyless SELECT n % 3, 'same' FROM generate_series(1, 9) AS n;
CREATE TABLE only_added (id int);
ALTER TABLE only_added REPLICA IDENTITY FULL;
INSERT INTO only_added SELECT n FROM generate_series(1, 9) AS n;
CREATE TABLE coded (code text NOT NULL, v int);
CREATE UNIQUE INDEX coded_code ON coded (code);
ALTER TABLE coded REPLICA IDENTITY USING INDEX coded_code;
INSERT INTO coded SELECT 'c' || n, n FROM generate_series(1, 9) AS n;
CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
CREATE TABLE part_2_a PARTITION OF part_2 FOR VALUES FROM (100) TO (200);
INSERT INTO part SELECT n, 'p' FROM generate_series(0, 199) AS n;
CREATE TABLE loose (id int, v text) PARTITION BY LIST (v);
CREATE TABLE loose_1 PARTITION OF loose DEFAULT;
ALTER TABLE loose_1 REPLICA IDENTITY FULL;
INSERT INTO loose SELECT n, 'l' FROM generate_series(1, 9) AS n;
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
INSERT INTO parent SELECT n, 'parent' FROM generate_series(1, 9) AS n;
INSERT INTO child SELECT n, 'child' FROM generate_series(11, 19) AS n;
CREATE UNLOGGED TABLE session (id int PRIMARY KEY);
INSERT INTO session SELECT n FROM generate_series(1, 9) AS n;
CREATE TABLE archive (id int PRIMARY KEY);
INSERT INTO archive SELECT n FROM generate_series(1, 9) AS n;
CREATE TABLE referring (id int PRIMARY KEY, parent int REFERENCES part (id));
INSERT INTO referring SELECT n, n FROM generate_series(1, 9) AS n
"""
CHANGES = """
UPDATE keyless SET v = 'changed' WHERE id = 1;
DELETE FROM coded WHERE v < 4;
UPDATE coded SET v = v + 100;
INSERT INTO only_added VALUES (100);
UPDATE part SET v = 'changed' WHERE id % 2 = 0;
DELETE FROM loose WHERE id = 5;
UPDATE parent SET v = v || '!';
INSERT INTO child VALUES (20, 'later');
INSERT INTO generated VALUES (100);
INSERT INTO empty VALUES (1);
DELETE FROM referring WHERE id > 5
"""


def test_tables_of_every_shape_are_copied_and_followed(source_db: Database, target_db: Database) -> None:
    source_db.execute(SHAPES)
    case = Case(source_db, target_db, {"exclude_data": ["archive"]})
    result = case.init(at_step(COPYING, lambda: source_db.execute(CHANGES)), **NATIVE)
    kinds = {table["name"]: table["kind"] for table in result.data["tables"]}
    assert (kinds["session"], kinds["archive"]) == ("unlogged", "schema_only")
    assert target_db.execute("SELECT count(*) FROM archive") == [(0,)]
    source_db.execute(CHANGES.replace("100", "101").replace("(1)", "(2)").replace("(20", "(21"))
    case.sync()
    case.wait_until_in_sync()
    target_db.execute("INSERT INTO archive SELECT n FROM generate_series(1, 9) AS n")  # was to stay empty: see above
    assert case.compare().differences == []
    assert target_db.execute("SELECT count(*) FROM session") == [(9,)]
    listed = target_db.execute("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'")
    assert listed == [(0,)]
    clients = client_dir(max(source_db.cluster.major, target_db.cluster.major))
    assert schema_differences(source_db.dsn, target_db.dsn, clients, ("seren_migrator",)) == []


def test_several_streams_copy_side_by_side(case: Case) -> None:
    case.source.execute("CREATE TABLE b AS SELECT * FROM a; ALTER TABLE b ADD PRIMARY KEY (id)")
    write = at_step(COPYING, lambda: case.source.execute("UPDATE a SET v = 'changed'; DELETE FROM b WHERE id > 250"))
    result = case.init(write, **NATIVE, streams=2)
    assert {table["name"]: table["stream"] for table in result.data["tables"]} == {"a": 1, "b": 2}
    finish(case)
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_only_the_rows_of_a_predicate_are_copied(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO a SELECT n, 'v' FROM generate_series(1, 100) AS n")
    case = Case(source_db, target_db, {"rows": {"a": "id > 90"}})
    case.init(at_step(COPYING, lambda: source_db.execute("INSERT INTO a VALUES (0, 'no'), (200, 'yes')")), **NATIVE)
    case.sync()
    case.wait_until_in_sync()
    assert target_db.execute("SELECT count(*), min(id), max(id) FROM a") == [(11, 91, 200)]


def test_a_trigger_that_always_fires_does_not_fire_for_a_replicated_row(case: Case) -> None:
    case.source.execute("CREATE TABLE seen (id int PRIMARY KEY)")
    case.source.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END';"
        "CREATE TRIGGER noted BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION note();"
        "ALTER TABLE a ENABLE ALWAYS TRIGGER noted"
    )
    numbers = iter(range(1000, 2000))

    def write(_event: Event) -> None:
        case.source.execute("INSERT INTO a VALUES (%s, 'x')", (next(numbers),))

    case.init(write, **NATIVE)
    write(Event("", ""))
    finish(case)  # fired on the target too, it would have stopped the apply with a duplicate key
    assert case.target.execute("SELECT tgenabled FROM pg_trigger WHERE tgname = 'noted'") == [("D",)]


# --- check mode, refusals --------------------------------------------------------------------------------------


def test_check_mode_tells_the_plan_and_writes_nothing(case: Case) -> None:
    migration_result = case.init(**NATIVE, check_mode=True)
    plan = migration_result.data["plan"]
    assert plan["copy_method"] == "subscription"
    assert [(table["name"], table["format"]) for table in plan["tables"]] == [("a", "text")]  # the source is 15
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT to_regnamespace('seren_migrator'), to_regclass('a')") == [(None, None)]


def test_the_playbook_takes_the_option_and_shows_no_password(case: Case) -> None:
    given = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migrate_client_bin_dir": case.bin_dir,
        "migrate_copy_method": "subscription",
    }
    planned = play("init", given, "--check")
    assert planned.code == 0, planned.output
    created = [text for text in planned.result("pg_migration_init")["statements"] if "CREATE SUBSCRIPTION" in text]
    assert len(created) == 1
    assert "\"copy_data\" = 'true'" in created[0]
    assert case.source.cluster.password not in planned.output
    done = play("migrate", given)
    assert done.code == 0, done.output
    assert_verified(done.result("pg_migration_verify"))


def test_a_target_that_cannot_reach_the_source_is_refused_before_anything_is_made(case: Case) -> None:
    nowhere = {"host": "127.0.0.1", "port": "1"}
    with pytest.raises(MigrationError) as caught:
        case.init(**NATIVE, source_from_target=nowhere)
    assert caught.value.details["checks"] == ["subscription_probe"]
    assert "source_from_target" in caught.value.remedy
    assert case.left_on_source() == NOTHING
    with pytest.raises(MigrationError) as caught:
        case.init(**NATIVE, source_from_target=nowhere, skip_checks=["subscription_probe"])
    assert caught.value.code == "cannot_connect"
    case.init(**NATIVE)
    finish(case)


def test_another_copy_method_than_the_one_begun_with_is_refused(case: Case) -> None:
    killed(case, COPYING)
    with pytest.raises(MigrationError) as caught:
        case.init()
    assert caught.value.code == "ledger_mismatch"
    assert "copy_method: subscription" in caught.value.remedy
    case.init(**NATIVE)
    assert not case.init().changed  # it is finished: how, does not matter any more
    finish(case)


def test_a_target_14_does_not_look_at_row_predicates_when_it_copies(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    case = Case(source_db, Database(make_cluster(14), "postgres"), {"rows": {"a": "id > 1"}})
    with pytest.raises(MigrationError) as caught:
        case.init(**NATIVE)
    assert caught.value.details["checks"] == ["row_predicates"]


# --- interruptions ---------------------------------------------------------------------------------------------


STEPS = (
    "opening stream",
    "dumping the schema",
    "building the indexes that changes",
    "subscribing",
    COPYING,
    "building indexes",
    "adding constraints",
    "collecting",
)


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_the_same_command_goes_on(case: Case, step: str) -> None:
    case.source.execute("CREATE UNLOGGED TABLE u AS SELECT n FROM generate_series(1, 9) AS n")
    killed(case, step)
    case.source.execute("UPDATE a SET v = 'changed' WHERE id < 10")
    assert case.status().data["state"] == "copying"
    case.init(**NATIVE)
    case.source.execute("DELETE FROM a WHERE id > 490")
    finish(case)
    assert [len(rows) for rows in case.left_on_source().values()] == [1, 1, 1]
    case.cleanup()
    assert case.left_on_source() == NOTHING


@pytest.mark.parametrize("side", ["source", "target"])
def test_after_a_crash_of_a_server_the_same_command_goes_on(case: Case, side: str) -> None:
    crashed = getattr(case, side).cluster
    with pytest.raises(MigrationError) as caught:
        case.init(at_step(COPYING, lambda: crashed.restart("immediate")), **NATIVE)
    assert caught.value.code in ("database_error", "cannot_connect")
    case.init(**NATIVE)
    finish(case)


def test_the_servers_go_on_while_no_runner_lives(case: Case) -> None:
    case.source.execute("CREATE TABLE held (id int PRIMARY KEY)")
    case.source.execute("INSERT INTO held VALUES (1)")
    with case.source.connect(autocommit=False) as blocker:
        killed(case, COPYING, lambda: blocker.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE"))
        states = case.status().data["tables"]
        assert states.get("joining", 0) >= 1
        blocker.rollback()
    wait_for("the servers' copy", lambda: case.status().data["tables"] == {"copied": 2})
    sampled = case.status().data
    assert sampled["state"] == "copying"
    assert "the servers copy by themselves" in sampled["reasons"][0]
    case.init(**NATIVE)
    finish(case)


def test_cleanup_in_the_middle_of_the_copy_leaves_nothing(case: Case) -> None:
    case.source.execute("CREATE TABLE held (id int PRIMARY KEY)")
    with case.source.connect(autocommit=False) as blocker:
        killed(case, COPYING, lambda: blocker.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE"))
        slots = "SELECT 1 FROM pg_replication_slots WHERE slot_name ~ '^pg_[0-9]+_sync_'"
        wait_for("the slot of a table's copy", lambda: case.source.execute(slots))
        case.cleanup()  # the open transaction holds up the making of that slot, but not us
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT subname FROM pg_subscription") == []


# --- what would never end by itself ------------------------------------------------------------------------------


def test_without_a_free_worker_the_run_ends_with_the_cause_and_goes_on_later(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    source_db.execute("INSERT INTO a VALUES (1)")
    cluster = make_cluster(17, max_logical_replication_workers=1)
    case = Case(source_db, Database(cluster, "postgres"))
    with pytest.raises(MigrationError) as caught:
        case.init(**NATIVE)
    assert caught.value.details["checks"] == ["target_workers"]
    with pytest.raises(MigrationError) as caught:
        case.init(**NATIVE, skip_checks=["target_workers"], stall_timeout=4)
    assert caught.value.code == "copy_stalled"
    assert any("max_logical_replication_workers" in cause for cause in caught.value.details["causes"])
    assert "public.a" in caught.value.details["tables"]
    cluster.restart(settings={"max_logical_replication_workers": 4})
    case.init(**NATIVE)
    finish(case)


def test_an_error_that_repeats_ends_the_run_and_names_the_table(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sync, "ERRORS_SPAN_S", 2)

    def forbid() -> None:
        case.target.execute("ALTER TABLE a ADD CONSTRAINT forbidding CHECK (id <> 7)")

    with pytest.raises(MigrationError) as caught:
        case.init(at_step("subscribing", forbid), **NATIVE)
    assert caught.value.code == "copy_failed"
    assert "public.a" in caught.value.details["tables"]
    assert "server log" in caught.value.remedy
    case.target.execute("ALTER TABLE a DROP CONSTRAINT forbidding")
    case.init(**NATIVE)
    finish(case)


def test_a_column_added_during_the_copy_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sync, "ERRORS_SPAN_S", 2)
    alter = at_step("subscribing", lambda: case.source.execute("ALTER TABLE a ADD COLUMN late int"))
    with pytest.raises(MigrationError) as caught:
        case.init(alter, **NATIVE)
    assert caught.value.code == "schema_changed"
    assert "public.a has other columns (late)" in caught.value.message
    case.source.execute("ALTER TABLE a DROP COLUMN late")
    case.init(**NATIVE)
    finish(case)


def test_a_transaction_that_holds_up_a_table_s_slot_is_named(case: Case) -> None:
    with case.source.connect(autocommit=False) as writer:

        def write() -> None:
            writer.execute("INSERT INTO a VALUES (9999, 'open')")

        with pytest.raises(MigrationError) as caught:
            case.init(at_step("subscribing", write), **NATIVE, stall_timeout=12)
        assert caught.value.code == "copy_stalled"
        assert any(f"pid {writer.info.backend_pid}" in cause for cause in caught.value.details["causes"])
        writer.commit()
    case.init(**NATIVE)
    finish(case)


def test_a_subscription_that_somebody_disables_is_not_waited_for(case: Case) -> None:
    with case.source.connect(autocommit=False) as blocker:

        def progress(event: Event) -> None:
            if event.text.startswith("subscribing"):
                blocker.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")
            if event.text.startswith(COPYING):
                case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")

        with pytest.raises(MigrationError) as caught:
            case.init(progress, **NATIVE)
    assert caught.value.code == "replication_broken"
    case.init(**NATIVE)
    finish(case)


def test_after_the_loss_of_the_slot_everything_is_copied_again(case: Case) -> None:
    killed(case, COPYING)
    wait_for("the servers' copy", lambda: case.status().data["tables"] == {"copied": 1})
    case.target.execute("ALTER SUBSCRIPTION seren_migration_sub DISABLE")
    dropping = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
    wait_for("the end of the slot", lambda: case.source.execute(dropping))
    case.source.execute("DELETE FROM a WHERE id > 400")  # nobody will ever tell the target
    result = case.init(**NATIVE)
    assert [item["number"] for item in result.data["streams"]] == [2]
    finish(case)
    case.cleanup()
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT subname FROM pg_subscription") == []


def test_more_wal_than_allowed_ends_the_copy_and_frees_the_source(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "INTERVAL_S", 0.0)
    with case.source.connect(autocommit=False) as blocker:

        def block() -> None:
            blocker.execute("LOCK TABLE a IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(MigrationError) as caught:
            case.init(at_step("subscribing", block), **NATIVE, max_retained_wal=1)
    assert caught.value.code == "wal_limit_exceeded"
    left = case.left_on_source()
    assert (left["slots"], left["publications"]) == ([], [])
    assert case.target.execute("SELECT subname FROM pg_subscription") == []
    case.init(**NATIVE)
    finish(case)


def test_a_copy_by_the_servers_is_started_over_by_the_runner(case: Case) -> None:
    killed(case, COPYING)
    case.init(resume=False)
    assert case.target.execute("SELECT subname FROM pg_subscription") == []
    finish(case)
    case.cleanup()
    assert case.left_on_source() == NOTHING
