# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy itself: each way that bytes take, pieces of tables, indexes behind the rows, foreign keys, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import copying, session, wire, worker
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.notes import Arrived
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from tests.support.cluster import Cluster
from tests.support.fixtures import TARGET_MAJOR, Database, create_database
from tests.support.migrations import Case, at_step
from tests.support.schema_dump import schema_differences

ROWS = """
CREATE SCHEMA "Odd; --";
CREATE TABLE wide (id int PRIMARY KEY, v text, b bytea);
ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
INSERT INTO wide SELECT n, repeat(md5(n::text), 200), NULL FROM generate_series(1, 2000) AS n;
INSERT INTO wide VALUES (0, repeat('w', 12000000), decode(repeat('00ff', 3000000), 'hex')), (-1, NULL, ''), (-2, '', NULL);
CREATE TABLE narrow (id bigint PRIMARY KEY, n int, t timestamptz, x numeric);
INSERT INTO narrow SELECT n, n % 7, 'epoch'::timestamptz + n * interval '1 s', n / 3.0 FROM generate_series(1, 60000) AS n;
CREATE TABLE as_text (id int PRIMARY KEY, r int4range, v text);
INSERT INTO as_text SELECT n, int4range(n, n + 5), E'tab\\t, \\\\N, line\\n' || n FROM generate_series(1, 5000) AS n;
CREATE TABLE no_columns ();
ALTER TABLE no_columns REPLICA IDENTITY FULL;
INSERT INTO no_columns SELECT FROM generate_series(1, 3);
CREATE TABLE empty (id int PRIMARY KEY);
CREATE TABLE dropped (id int PRIMARY KEY, gone text, v text);
INSERT INTO dropped SELECT n, 'x', 'y' FROM generate_series(1, 50) AS n;
ALTER TABLE dropped DROP gone, ADD later int DEFAULT 7, ADD twice int GENERATED ALWAYS AS (id * 2) STORED;
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (c int, UNIQUE (id)) INHERITS (parent);
ALTER TABLE child REPLICA IDENTITY USING INDEX child_id_key;
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (2, 'child', 3);
CREATE TABLE "Odd; --"."T""a'b;
--" ("I""d" int PRIMARY KEY, "%s" text);
INSERT INTO "Odd; --"."T""a'b;
--" SELECT n, '%d' FROM generate_series(1, 30) AS n;
CREATE TABLE keyless (n int, v text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
INSERT INTO keyless SELECT 1, 'same' FROM generate_series(1, 40);
"""
SMALL = "CREATE TABLE small_{0} (id int PRIMARY KEY, v text UNIQUE); INSERT INTO small_{0} SELECT n, n FROM generate_series(1, {0}) AS n"


def statements(text: str) -> list[str]:
    return [statement for statement in text.split(";\n") if statement.strip()]


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    with source_db.connect() as connection:
        connection.execute(ROWS)
        for number in range(40):
            connection.execute(SMALL.format(number))
    return Case(source_db, target_db)


def exact(case: Case) -> None:
    """Write a little more, replicate, and compare everything, the schema too."""
    with case.source.connect() as connection:
        connection.execute("INSERT INTO narrow (id) VALUES (-1)")
        connection.execute("UPDATE wide SET v = 'changed' WHERE id = 7")
        connection.execute("DELETE FROM small_5 WHERE id = 1")
        connection.execute("DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless LIMIT 1)")
    case.sync()
    case.wait_until_in_sync()
    assert case.compare().differences == []
    assert same_schema(case) == []
    assert set(index_states(case)) <= {"done"}


def same_schema(case: Case) -> list[str]:
    client = case.target.cluster.client_dir
    return schema_differences(case.source.dsn, case.target.dsn, client, ["seren_migrator"])


def index_states(case: Case) -> list[str]:
    return [state for (state,) in case.target.execute("SELECT DISTINCT state FROM seren_migrator.index_build")]


@pytest.fixture(params=["socket to socket", "through libpq"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways on a connection that is not encrypted; the workers are forked, so they inherit it."""
    if request.param == "through libpq":
        monkeypatch.setattr(wire, "is_open", lambda _session: False)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_every_kind_of_table_arrives_exactly(case: Case) -> None:
    result = case.init()
    rows = {(table["name"], table["rows"], table["format"]) for table in result.data["tables"]}
    assert {("narrow", 60000, "binary"), ("as_text", 5000, "text"), ("no_columns", 3, "text")} <= rows
    exact(case)


@pytest.mark.usefixtures("way")
def test_a_table_that_is_larger_than_was_thought_is_not_held_in_memory(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "SMALL_BYTES", 1 << 30)
    monkeypatch.setattr(worker, "HELD_BYTES", 100_000)
    case.init(jobs=1)
    exact(case)


def test_encrypted_connections_are_copied_over_too(source_cluster: Cluster, case: Case) -> None:
    with Cluster(TARGET_MAJOR, tls=True) as encrypted:
        target = create_database(encrypted)
        over = Case(case.source, target, {"target": {**target.params, "sslmode": "require"}})
        over.init()
        assert over.target.execute("SELECT count(*) FROM narrow") == [(60000,)]
        exact(over)


# --- pieces ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
def test_a_large_table_is_copied_in_pieces_and_counts_once(case: Case) -> None:
    case.source.execute("TRUNCATE wide")  # or the others would keep the workers busy for longer
    case.source.execute("DELETE FROM narrow WHERE id BETWEEN 1000 AND 30000")
    case.source.execute("UPDATE narrow SET n = n + 1 WHERE id % 3 = 0")  # tuples in other blocks than their rows' first
    plan = case.init(check_mode=True, jobs=3, split_tables_larger_than=1 << 20).data["plan"]
    assert {table["name"]: table["pieces"] for table in plan["tables"]}["narrow"] > 1
    result = case.init(jobs=3, split_tables_larger_than=1 << 20)
    assert [table["rows"] for table in result.data["tables"] if table["name"] == "narrow"] == [60000 - 29001]
    exact(case)


def test_a_split_table_that_is_rewritten_meanwhile_moves_as_a_whole(case: Case) -> None:
    def rewrite() -> None:
        with case.source.connect() as connection:
            connection.execute("SET statement_timeout = '60s'")
            while not case.target.execute("SELECT 1 FROM pg_stat_progress_copy WHERE relid = 'narrow'::regclass"):
                time.sleep(0.02)
            connection.execute("VACUUM FULL narrow")  # waits for the first pieces, and the next ones for it

    case.source.execute("TRUNCATE wide")
    rewriter = threading.Thread(target=rewrite)
    case.init(at_step("copying", rewriter.start), jobs=2, split_tables_larger_than=1 << 18, max_rate=1 << 20)
    rewriter.join()
    streams = case.target.execute("SELECT name, stream FROM seren_migrator.relation WHERE name = 'narrow'")
    assert streams == [("narrow", 2)]
    exact(case)


def test_a_split_table_that_was_begun_is_emptied_by_the_next_run(case: Case) -> None:
    case.source.execute("TRUNCATE wide")

    def cut() -> None:
        while not case.target.execute("SELECT count(*) > 0 FROM narrow")[0][0]:
            time.sleep(0.02)
        case.source.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '% copy'"
        )

    cutter = threading.Thread(target=cut)
    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copying", cutter.start), jobs=2, split_tables_larger_than=1 << 18, max_rate=1 << 20)
    cutter.join()
    assert caught.value.code == "copy_failed"
    assert case.target.execute("SELECT count(*) > 0 FROM narrow") == [(True,)]
    case.init(jobs=2, split_tables_larger_than=1 << 18)
    exact(case)


# --- indexes and constraints -----------------------------------------------------------------------------------

INDEXED = """
CREATE EXTENSION btree_gist;
CREATE TABLE i (id int, a int NOT NULL, b text NOT NULL, r int4range, CONSTRAINT "i pk;
x" PRIMARY KEY (id) INCLUDE (b) WITH (fillfactor=70) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO i SELECT n, n, n::text, int4range(n, n + 1) FROM generate_series(1, 3000) AS n;
ALTER TABLE i ADD CONSTRAINT i_a UNIQUE (a);
ALTER TABLE i ADD CONSTRAINT i_r EXCLUDE USING gist (a WITH =, r WITH &&) WHERE (a > 5);
CREATE UNIQUE INDEX "i b;
y" ON i (b COLLATE "C" DESC) WHERE b <> E'\\n--\\n-- TOC entry';
CREATE INDEX i_e ON i ((a + id), lower(b));
ALTER INDEX i_e ALTER COLUMN 1 SET STATISTICS 500;
ALTER TABLE i CLUSTER ON i_a;
ALTER TABLE i REPLICA IDENTITY USING INDEX i_a;
COMMENT ON INDEX i_e IS 'an index';
COMMENT ON CONSTRAINT i_a ON i IS 'a constraint';
CREATE TABLE q (id int, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE q_a PARTITION OF q FOR VALUES IN ('a');
CREATE TABLE q_b PARTITION OF q FOR VALUES IN ('b');
CREATE INDEX q_id ON q (id);
CREATE UNIQUE INDEX q_b_only ON q_b (id);
INSERT INTO q SELECT n, (ARRAY['a', 'b'])[1 + n % 2] FROM generate_series(1, 2000) AS n;
CREATE TABLE refers (id int PRIMARY KEY, q_id int, k text, i_a int REFERENCES i (a), FOREIGN KEY (q_id, k) REFERENCES q);
INSERT INTO refers SELECT n, n, (ARRAY['a', 'b'])[1 + n % 2], n FROM generate_series(1, 2000) AS n;
ALTER TABLE refers ADD CONSTRAINT never_checked FOREIGN KEY (id) REFERENCES i (a) NOT VALID;
COMMENT ON CONSTRAINT never_checked ON refers IS 'a foreign key';
CREATE TABLE parted (id int, i_a int REFERENCES i (a)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
ALTER TABLE parted REPLICA IDENTITY FULL;
ALTER TABLE parted_1 REPLICA IDENTITY FULL;
INSERT INTO parted SELECT n, n FROM generate_series(1, 50) AS n;
CREATE MATERIALIZED VIEW mv AS SELECT id, a FROM i;
CREATE UNIQUE INDEX mv_id ON mv (id);
CREATE STATISTICS i_s ON a, b FROM i
"""


@pytest.fixture
def indexed(source_db: Database, target_db: Database) -> Case:
    with source_db.connect() as connection:
        connection.execute(INDEXED)
        connection.execute(ROWS)
        for number in range(40):
            connection.execute(SMALL.format(number))
    return Case(source_db, target_db)


@pytest.fixture(params=["with the rows", "behind the rows"])
def building(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Indexes of small tables are built in the copy's transaction; of large ones by the builders."""
    if request.param == "behind the rows":
        monkeypatch.setattr(copying, "INLINE_INDEX_BYTES", -1)
    return str(request.param)


@pytest.mark.usefixtures("building")
def test_indexes_constraints_and_what_hangs_on_them_are_the_same(indexed: Case) -> None:
    indexed.init(index_jobs=3)
    assert index_states(indexed) == ["done"]
    unchecked = indexed.target.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated")
    assert unchecked == [("never_checked",)]
    exact(indexed)


@pytest.mark.parametrize("kept", ["constraint", "index"])
def test_an_index_that_cannot_be_built_is_named_and_built_by_the_next_run(
    indexed: Case, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setattr(copying, "INLINE_INDEX_BYTES", -1)
    name = {"constraint": "i_a", "index": "i_e"}[kept]
    with pytest.raises(MigrationError) as caught:
        indexed.init(at_step("copying", lambda: indexed.target.execute(f"CREATE TABLE public.{name} (in_the_way int)")))
    assert caught.value.code == "index_failed"
    assert name in caught.value.message
    assert "public.i" in caught.value.message
    indexed.target.execute(f"DROP TABLE public.{name}")
    filenodes = "SELECT relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'i'"
    before = set(indexed.target.execute(filenodes))
    indexed.init()
    assert before
    assert before <= set(indexed.target.execute(filenodes))  # what was built has been kept
    exact(indexed)


def test_a_builder_that_loses_its_connection_stops_neither_rows_nor_other_indexes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "INLINE_INDEX_BYTES", -1)
    holder = case.target.connect(autocommit=False)
    waiting = "FROM pg_stat_activity WHERE query LIKE '%CREATE UNIQUE INDEX%narrow%' AND wait_event_type = 'Lock'"

    def cut() -> None:
        while not case.target.execute(f"SELECT pg_terminate_backend(pid) {waiting}"):
            time.sleep(0.02)
        holder.rollback()

    cutter = threading.Thread(target=cut)

    def hold() -> None:
        holder.execute("LOCK TABLE narrow IN ACCESS EXCLUSIVE MODE")
        cutter.start()

    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copied public.narrow", hold), jobs=1, index_jobs=1)
    cutter.join()
    holder.close()
    assert caught.value.code == "index_failed"
    assert case.target.execute("SELECT DISTINCT state FROM seren_migrator.relation") == [("copied",)]
    assert case.target.execute("SELECT name FROM seren_migrator.index_build WHERE state <> 'done'") == [
        ("narrow_pkey",)
    ]
    case.init()
    exact(case)


def test_a_runner_that_was_replaced_while_it_copied_says_so(case: Case) -> None:
    epoch = "UPDATE seren_migrator.migration SET epoch = epoch + 1"
    with pytest.raises(MigrationError) as caught:
        case.init(at_step("copied public.wide", lambda: case.target.execute(epoch)), jobs=1)
    assert caught.value.code == "runner_replaced"


def test_small_tables_whose_rows_are_wide_are_not_held_all_at_once(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "is_open", lambda _session: False)
    for number in range(16):
        source_db.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, v text)")
        source_db.execute(f"INSERT INTO t{number} VALUES (1, repeat('x', 3000000))")  # 35 kB on the disk
    for number in range(48):
        source_db.execute(f"CREATE TABLE e{number} (id int PRIMARY KEY)")
    store = worker._Worker._store

    def watched(self: worker._Worker, arrived: list[Arrived], *others: object) -> None:
        # In a forked process, so told by the target.
        size = sum(item.bytes for item in arrived)
        target_db.execute("INSERT INTO seren_migrator.held VALUES (%s)", [size])
        store(self, arrived, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(worker._Worker, "_store", watched)
    case = Case(source_db, target_db)
    case.init(at_step("opening", lambda: target_db.execute("CREATE TABLE seren_migrator.held (n bigint)")), jobs=1)
    held = [size for (size,) in target_db.execute("SELECT n FROM seren_migrator.held")]
    assert max(held) <= worker.HELD_BYTES + 3_000_100
    exact_rows = target_db.execute("SELECT count(*) FROM seren_migrator.relation WHERE state = 'copied'")
    assert exact_rows == [(64,)]


def test_foreign_keys_are_validated_by_sync_when_asked(indexed: Case) -> None:
    left = indexed.init(validate_foreign_keys="after_sync").data["left"]
    waiting = {"foreign key refers_i_a_fkey on public.refers"}
    assert waiting <= {entry["object"] for entry in left}
    assert len(indexed.target.execute("SELECT 1 FROM pg_constraint WHERE contype = 'f' AND NOT convalidated")) == 2
    planned = indexed.sync(check_mode=True)
    assert planned.changed
    result = indexed.sync()
    assert not waiting & {entry["object"] for entry in result.data["left"]}
    unchecked = indexed.target.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated")
    assert unchecked == [("never_checked",)]
    assert not indexed.sync().changed
    exact(indexed)


def test_rows_that_break_a_foreign_key_are_reported_with_key_and_remedy(indexed: Case) -> None:
    with indexed.source.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO refers (id, i_a) VALUES (-1, -1)")
    with pytest.raises(MigrationError) as caught:
        indexed.init()
    assert caught.value.code == "constraint_violated"
    assert caught.value.details["constraint"] == "refers_i_a_fkey"
    assert "after_sync" in caught.value.remedy
    indexed.source.execute("DELETE FROM refers WHERE id = -1")
    indexed.init(validate_foreign_keys="after_sync")
    indexed.sync()
    indexed.wait_until_in_sync()
    indexed.sync()
    exact(indexed)


# --- limits and locks ------------------------------------------------------------------------------------------


def test_all_workers_together_keep_to_the_rate(case: Case) -> None:
    began = time.monotonic()
    result = case.init(jobs=3, max_rate=8 << 20)
    # A pause comes after each piece, so the last one, 8 MB at most in a batch of small tables, may come for nothing.
    assert time.monotonic() - began >= (result.data["copied_bytes"] - (13 << 20)) / (8 << 20)
    exact(case)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("table", ["small_7", "narrow"])
def test_a_table_that_the_application_has_locked_is_tried_again(
    case: Case, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOCK_TIMEOUT", "700ms")
    monkeypatch.setattr(copying, "SMALL_BYTES", 100_000)
    with case.source.connect() as holder:

        def lock() -> None:
            holder.execute("BEGIN")
            holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            threading.Timer(2, holder.execute, ["ROLLBACK"]).start()

        case.init(at_step("copying", lock))
        exact(case)


@pytest.mark.usefixtures("way")
def test_a_table_that_stays_locked_ends_the_copy_with_its_name(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOCK_TIMEOUT", "100ms")
    with case.source.connect(autocommit=False) as holder:
        with pytest.raises(MigrationError) as caught:
            case.init(at_step("copying", lambda: holder.execute("LOCK TABLE small_7 IN ACCESS EXCLUSIVE MODE")))
        assert caught.value.code == "copy_failed"
        assert caught.value.details["table"] == "public.small_7"
        assert caught.value.details["sqlstate"] == "55P03"
    case.init()
    exact(case)


@pytest.mark.usefixtures("way")
def test_all_small_tables_may_be_truncated_meanwhile(case: Case) -> None:
    small = ", ".join(f"small_{number}" for number in range(40))
    case.init(at_step("copying", lambda: case.source.execute(f"TRUNCATE {small}; INSERT INTO small_3 VALUES (1, 'x')")))
    streams = case.target.execute("SELECT DISTINCT stream FROM seren_migrator.relation WHERE name LIKE 'small_%'")
    assert streams == [(2,)]
    exact(case)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("table", ["small_7", "narrow"])
def test_a_table_that_is_truncated_meanwhile_moves_to_another_stream(case: Case, table: str) -> None:
    case.init(at_step("copying", lambda: case.source.execute(f"TRUNCATE {table}; INSERT INTO {table} (id) VALUES (1)")))
    streams = case.target.execute("SELECT stream FROM seren_migrator.relation WHERE name = %s", [table])
    assert streams == [(2,)]
    exact(case)


MORE_STATISTICS = """
CREATE STATISTICS as_text_s ON id, v FROM as_text;
CREATE INDEX dropped_e ON dropped (lower(v));
CREATE FUNCTION boom(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''boom %'', $1; END';
"""
COLLECTED = "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' AND analyze_count > 0"


@contextmanager
def last_index_held(case: Case, until: Callable[[], bool]) -> Iterator[Callable[[Event], None]]:
    """A listener that holds up the index of `narrow`, from when its rows are there until a condition is true."""
    holder = case.target.connect(autocommit=False)

    def wait() -> None:
        end = time.monotonic() + 20
        while not until() and time.monotonic() < end:
            time.sleep(0.05)
        holder.rollback()

    waiter = threading.Thread(target=wait)

    def hold() -> None:
        holder.execute("LOCK TABLE narrow IN ACCESS EXCLUSIVE MODE")
        waiter.start()

    yield at_step("copied public.narrow", hold)
    waiter.join()
    holder.close()


def test_statistics_of_finished_tables_are_collected_once_beside_the_last_indexes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "INLINE_INDEX_BYTES", -1)
    case.source.execute(MORE_STATISTICS)
    early: set[str] = set()

    def is_collected() -> bool:
        early.update(name for (name,) in case.target.execute(COLLECTED))
        return {"small_5", "as_text", "dropped"} <= early

    with last_index_held(case, is_collected) as listener:
        case.init(listener)
    assert {"small_5", "as_text", "dropped"} <= early
    assert not early & {"narrow", "parent"}  # its index, its children are not there yet
    counts = dict(
        case.target.execute("SELECT relname, analyze_count FROM pg_stat_user_tables WHERE schemaname = 'public'")
    )
    assert counts["small_5"] == counts["narrow"] == counts["parent"] == 1
    assert case.target.execute("SELECT count(*) FROM pg_statistic_ext_data") == [(1,)]
    assert case.target.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'dropped_e'") == [(1,)]
    assert case.target.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'parent' AND inherited") == [(2,)]
    exact(case)


def test_statistics_that_are_refused_beside_the_last_indexes_are_told_of_at_the_end(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "INLINE_INDEX_BYTES", -1)
    case.source.execute(MORE_STATISTICS)

    def forbid() -> None:
        case.target.execute("CREATE STATISTICS bad ON (boom(id)), id FROM small_5")

    forbidding = at_step("copied public.small_5", forbid)
    with last_index_held(case, lambda: "boom 1" in case.target.cluster.log()) as holding:
        result = case.init(lambda event: (forbidding(event), holding(event)))
    assert [entry["object"] for entry in result.data["left"]] == ["statistics of public.small_5"]
    uncollected = "SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public' AND analyze_count = 0"
    assert case.target.execute(uncollected) == [("small_5",)]
