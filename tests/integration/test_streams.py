# SPDX-License-Identifier: GPL-3.0-or-later
"""Several streams that share one snapshot: nothing is lost, nothing is split, nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import slots
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import init
from tests.support import sample
from tests.support.fixtures import Database, create_database
from tests.support.inventory import inventory
from tests.support.migrations import NOTHING, Case, at_step
from tests.support.runner import kill_at, start
from tests.support.verified import assert_verified
from tests.support.writers import PROCESSES, Writers, prepare

TABLES = (
    "CREATE TABLE a (id int PRIMARY KEY, v text)",
    "CREATE TABLE a_line (id int PRIMARY KEY, a_id int REFERENCES a, v text)",
    "CREATE TABLE p (id int NOT NULL, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000)",
    "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000)",
    "CREATE TABLE parent (id int PRIMARY KEY, v text)",
    "CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (parent)",
    "CREATE TABLE keyless (id int, v text)",
    "ALTER TABLE keyless REPLICA IDENTITY FULL",
    "CREATE UNLOGGED TABLE session (id int PRIMARY KEY, v text)",
    "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 300) AS n",
    "INSERT INTO a_line SELECT n, n, 'row ' || n FROM generate_series(1, 300) AS n",
    "INSERT INTO p SELECT n, 'row ' || n FROM generate_series(1, 1999) AS n",
    "INSERT INTO parent SELECT n, 'row ' || n FROM generate_series(1, 100) AS n",
    "INSERT INTO child SELECT n, 'row ' || n, 'more' FROM generate_series(101, 200) AS n",
    "INSERT INTO keyless SELECT n % 10, 'row' FROM generate_series(1, 50) AS n",
    "INSERT INTO session VALUES (1, 'not replicated')",
    "CREATE MATERIALIZED VIEW m AS SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM p) AS n",
)
# What belongs together, by the names of a table of each; and the pairs, asked of the server and not of the product.
CONNECTED = """
SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
 WHERE contype = 'f' AND conparentid = 0 AND (SELECT relkind FROM pg_class WHERE oid = conrelid) = 'r'
   AND (SELECT relkind FROM pg_class WHERE oid = confrelid) = 'r'
UNION ALL
SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits
 WHERE (SELECT relkind FROM pg_class WHERE oid = inhrelid) = 'r'
   AND (SELECT relkind FROM pg_class WHERE oid = inhparent) = 'r'
UNION ALL
SELECT one.relid::text, other.relid::text
  FROM pg_class AS root
 CROSS JOIN LATERAL pg_partition_tree(root.oid) AS one
 CROSS JOIN LATERAL pg_partition_tree(root.oid) AS other
 WHERE root.relkind = 'p' AND NOT root.relispartition AND one.isleaf AND other.isleaf
"""


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    for statement in TABLES:
        source_db.execute(statement)
    yield Case(source_db, target_db)


def finish(case: Case) -> None:
    case.sync()
    case.wait_until_in_sync()


def stream_of(case: Case) -> dict[str, int]:
    """The stream that carries each table, as the server writes its name."""
    return dict(
        case.target.execute(
            "SELECT format('%I.%I', schema, name)::regclass::text, stream FROM seren_migrator.relation"
            " WHERE stream IS NOT NULL"
        )
    )


def split_groups(case: Case) -> list[tuple[str, str]]:
    """Tables that belong together and are in different streams."""
    carrier = stream_of(case)
    return [
        (one, other)
        for one, other in case.source.execute(CONNECTED)
        if one in carrier and other in carrier and carrier[one] != carrier[other]
    ]


def write_everywhere(case: Case, first: int) -> None:
    """One transaction over all tables, and a TRUNCATE of tables that refer to each other."""
    with case.source.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO a VALUES (%s, 'late')", [first])
        connection.execute("INSERT INTO a_line VALUES (%s, %s, 'late')", [first, first])
        connection.execute("UPDATE p SET v = %s WHERE id IN (5, 1005)", [f"changed {first}"])
        connection.execute("UPDATE parent SET v = %s WHERE id IN (5, 105)", [f"changed {first}"])
        connection.execute("DELETE FROM keyless WHERE id = %s", [first % 10])
        connection.execute("INSERT INTO keyless VALUES (%s, 'late')", [first])


def slots_of(case: Case) -> list[str]:
    found = case.source.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() ORDER BY 1"
    )
    return [slot for (slot,) in found]


def test_three_streams_bring_everything_written_meanwhile_exactly(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    sample.load(source_db.dsn, 1, features_of=15)
    prepare(source_db.dsn, PROCESSES)
    case = Case(source_db, target_db)
    with Writers(source_db.dsn, tmp_path / "journal", 150) as writers:
        writers.wait_for(100)
        assert len({item["number"] for item in case.init(streams=3).data["streams"]}) >= 3
        case.sync()
        writers.wait_for(writers.progress().total + 200)
        case.wait_until_in_sync()
        assert_verified(case.verify())
        summary = writers.stop()
    assert set(summary.errors) <= {"40001", "40P01"}, summary
    case.wait_until_in_sync()
    assert writers.verify(target_db.dsn) == []
    assert case.compare().differences == []
    assert not case.init(streams=3).changed
    assert not case.sync().changed


def test_streams_share_one_moment_and_keep_together_what_belongs_together(case: Case) -> None:
    # What is written between the opening of the streams and the copy comes with neither the snapshot nor the copy.
    streams = case.init(at_step("copying", lambda: write_everywhere(case, 1001)), streams=3).data["streams"]
    assert [item["number"] for item in streams] == [1, 2, 3]
    assert len({item["consistent_point"] for item in streams}) == 1
    assert sorted(item["slot"] for item in streams) == slots_of(case)
    assert split_groups(case) == []
    assert set(stream_of(case).values()) == {1, 2, 3}
    assert case.target.execute("SELECT n FROM m") == [(300 + 1999,)]  # of one moment, so there was no need to wait
    write_everywhere(case, 1002)
    finish(case)
    case.source.execute("TRUNCATE a CASCADE")
    write_everywhere(case, 1003)
    data = case.wait_until_in_sync()
    assert [item["number"] for item in data["streams"]] == [1, 2, 3]
    assert len(data["workers"]) == 3
    assert case.compare().differences == []
    assert_verified(case.verify())
    assert not case.init(streams=3).changed
    assert not case.sync().changed


def test_cleanup_removes_every_stream_on_both_sides(case: Case) -> None:
    case.init(streams=3)
    finish(case)
    removed = case.cleanup().data["removed"]
    for kind, count in {"slot": 3, "publication": 3, "subscription": 3, "table": 6}.items():
        assert sum(1 for entry in removed if entry["kind"] == kind) == count
    assert case.left_on_source() == NOTHING
    assert case.target.execute("SELECT subname FROM pg_subscription") == []
    assert case.target.execute("SELECT relname FROM pg_class WHERE relname LIKE 'marker_%' AND relkind = 'r'") == []


def test_the_plan_says_which_table_goes_where_and_writes_nothing(case: Case) -> None:
    before = inventory(case.source, True), inventory(case.target, True)
    planned = case.init(streams=3, check_mode=True)
    assert (inventory(case.source, True), inventory(case.target, True)) == before
    plan = planned.data["plan"]
    assert [item["number"] for item in plan["streams"]] == [1, 2, 3]
    assert sum(item["tables"] for item in plan["streams"]) == len(plan["tables"]) == 7
    assert sum(item["groups"] for item in plan["streams"]) == 4
    written = {table["name"]: table["rows_written"] for table in plan["tables"]}
    assert (written["p1"], written["a"]) == (999, 300)
    assert plan["notes"] == []
    foretold = {table["name"]: table["stream"] for table in plan["tables"]}
    case.init(streams=3)
    assert stream_of(case) == foretold


def test_the_plan_shows_the_statements_of_every_stream(case: Case) -> None:
    migration = case.migration()
    init.run(migration, init.InitOptions(streams=2, client_bin_dir=case.bin_dir, check_mode=True))
    text = "\n".join(migration.log.entries)
    assert text.count("CREATE PUBLICATION") == 2
    assert text.count("CREATE_REPLICATION_SLOT") == 1
    assert text.count("pg_copy_logical_replication_slot") == 1


def test_fewer_groups_than_streams_make_fewer_streams_and_say_so(case: Case) -> None:
    case.options["tables"] = ["a", "a_line", "keyless"]
    planned = case.init(streams=4, check_mode=True).data["plan"]
    assert len(planned["streams"]) == 2
    assert "4 streams were asked for" in planned["notes"][0]
    assert len(case.init(streams=4).data["streams"]) == 2
    finish(case)


def test_where_most_is_written_decides(case: Case) -> None:
    for _time in range(200):
        case.source.execute("UPDATE keyless SET v = 'again'")
    planned = case.init(streams=2, check_mode=True).data["plan"]
    by_name = {table["name"]: table["stream"] for table in planned["tables"]}
    assert [name for name, stream in by_name.items() if stream == by_name["keyless"]] == ["keyless"]


@pytest.mark.parametrize(
    ("step", "delay_s"),
    [("opening stream", 0.0), ("opening stream", 0.05), ("copying", 0.0), ("copied", 0.0), ("building indexes", 0.0)],
)
def test_a_killed_copy_with_streams_is_continued(case: Case, step: str, delay_s: float) -> None:
    kill_at(start(case, streams=3), step, delay_s)
    write_everywhere(case, 2001)
    case.init(streams=3)
    write_everywhere(case, 2002)
    finish(case)
    assert case.compare().differences == []
    assert_verified(case.verify())
    case.cleanup()
    assert case.left_on_source() == NOTHING


def test_another_number_of_streams_may_go_on_with_an_interrupted_copy(case: Case) -> None:
    def fail() -> None:
        raise RuntimeError("the runner is gone")

    with pytest.raises(RuntimeError):
        case.init(at_step("copied", fail), streams=3, jobs=1)
    kept = slots_of(case)
    assert len(kept) == 1  # the streams with which nothing was copied have given their slots back
    result = case.init(streams=1)
    assert len(result.data["streams"]) == 2
    assert set(kept) < set(slots_of(case))
    finish(case)
    assert case.compare().differences == []


def test_a_resume_opens_only_as_many_streams_as_are_missing(case: Case) -> None:
    def fail() -> None:
        raise RuntimeError("the runner is gone")

    with pytest.raises(RuntimeError):
        case.init(at_step("copied", fail), streams=3, jobs=1)
    streams = case.init(streams=3).data["streams"]
    assert len(streams) == 3
    assert len({item["consistent_point"] for item in streams}) == 2
    finish(case)
    assert case.compare().differences == []


def test_a_slot_that_cannot_be_copied_leaves_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    real = slots.make_slot_copy

    def taken(source: Any, slot: str, copy: str, point: str) -> None:
        if copy.endswith("_3"):
            source.execute(f"SELECT pg_create_logical_replication_slot('{copy}', 'test_decoding')")
        real(source, slot, copy, point)

    monkeypatch.setattr(slots, "make_slot_copy", taken)
    with pytest.raises(MigrationError) as caught:
        case.init(streams=3)
    assert caught.value.code == "slot_not_copied"
    assert caught.value.details["sqlstate"] == "42710"
    assert {**case.left_on_source(), "schemas": []} == NOTHING
    assert case.target.execute("SELECT DISTINCT state FROM seren_migrator.stream") == [("removed",)]


def test_a_copy_that_does_not_stand_at_the_consistent_point_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = slots.SlotHold.create

    def elsewhere(hold: slots.SlotHold) -> None:
        real(hold)
        hold.consistent_point = "0/1"

    monkeypatch.setattr(slots.SlotHold, "create", elsewhere)
    with pytest.raises(MigrationError) as caught:
        case.init(streams=2)
    assert caught.value.code == "slot_not_copied"
    assert "not at 0/1" in caught.value.message
    assert {**case.left_on_source(), "schemas": []} == NOTHING


def test_more_streams_than_the_servers_have_room_for_are_refused(make_cluster: Any) -> None:
    source = create_database(make_cluster(15, max_replication_slots=2, max_wal_senders=2))
    target = create_database(
        make_cluster(17, max_replication_slots=2, max_logical_replication_workers=2, max_worker_processes=3)
    )
    for statement in TABLES:
        source.execute(statement)
    case = Case(source, target)
    with pytest.raises(MigrationError) as caught:
        case.init(streams=3)
    assert caught.value.code == "not_ready"
    assert set(caught.value.details["checks"]) >= {
        "source_slots",
        "source_walsenders",
        "target_workers",
        "target_origins",
    }
    assert "3 replication slots are needed, one for each stream; 2 of 2 (max_replication_slots) are free" in str(
        caught.value
    )
    assert case.left_on_source() == NOTHING
    assert len(case.init(streams=2).data["streams"]) == 2
    finish(case)
    assert case.compare().differences == []


def test_streams_below_one_are_refused(case: Case) -> None:
    with pytest.raises(MigrationError) as caught:
        case.init(streams=0)
    assert caught.value.code == "bad_option"


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 14), (13, 16), (14, 18), (16, 17), (18, 18)])
def test_slots_are_copied_on_every_major(
    make_cluster: Any, tmp_path: Path, source_major: int, target_major: int
) -> None:
    source, target = create_database(make_cluster(source_major)), create_database(make_cluster(target_major))
    test_three_streams_bring_everything_written_meanwhile_exactly(source, target, tmp_path)
