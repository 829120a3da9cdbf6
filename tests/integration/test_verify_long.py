# SPDX-License-Identifier: GPL-3.0-or-later
"""verify over a long time: short epochs, ranges of keys, limits of rate, lag and time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.verification import pace
from ansible_collections.seren.migrator.plugins.module_utils.verification.key_range import ranges
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until, writing
from tests.support.fixtures import Database
from tests.support.verified import assert_verified

HOSTILE = '"Weird ""Näme""; --"'
TABLES = f"""
CREATE SCHEMA {HOSTILE};
CREATE TABLE {HOSTILE}.{HOSTILE} ("k; "" --" bigint PRIMARY KEY, v text);
CREATE TABLE public.event (at timestamptz, id integer, v text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
CREATE TABLE public.event_1 PARTITION OF public.event FOR VALUES FROM (MINVALUE) TO ('2024-03-01');
CREATE TABLE public.event_2 PARTITION OF public.event FOR VALUES FROM ('2024-03-01') TO (MAXVALUE);
CREATE TABLE public.shuffled (id uuid PRIMARY KEY, v text);
CREATE TABLE public.named (name text PRIMARY KEY, v text);
CREATE TABLE public.small (id integer PRIMARY KEY, v text);
"""
ROWS = f"""
INSERT INTO {HOSTILE}.{HOSTILE} SELECT i * 7, repeat('v', 50) FROM generate_series(-10000, 10000) AS i;
INSERT INTO {HOSTILE}.{HOSTILE} VALUES (-9223372036854775808, 'least'), (9223372036854775807, 'greatest');
INSERT INTO public.event SELECT timestamptz '2024-01-01 00:00+00' + i * interval '6 minutes', i, repeat('e', 50)
  FROM generate_series(1, 20000) AS i;
INSERT INTO public.event VALUES ('-infinity', 0, 'first'), ('infinity', 0, 'last');
INSERT INTO public.shuffled SELECT md5(i::text)::uuid, repeat('s', 50) FROM generate_series(1, 10000) AS i;
INSERT INTO public.named SELECT lpad(i::text, 8, '0'), repeat('n', 50) FROM generate_series(1, 10000) AS i;
INSERT INTO public.small SELECT i, 'small' FROM generate_series(1, 100) AS i;
"""

HELD = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'
"""


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    made.both(TABLES)
    source_db.execute(ROWS)
    made.replicate(marker=True)
    made.both("ANALYZE")
    return made


def cut_above(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(pace, "BYTES_PER_S", 1)
    monkeypatch.setattr(pace, "PART_BYTES_MIN", size)


def lines(result: Any) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in result.data["tables"]}


def moving(connection: psycopg.Connection[Any], number: int) -> None:
    """Rows whose keys move from range to range, and come and go at both ends."""
    for statement in (
        'UPDATE {t} SET "k; "" --" = "k; "" --" + 50002 WHERE "k; "" --" = %(low)s',
        'UPDATE {t} SET "k; "" --" = "k; "" --" - 50002 WHERE "k; "" --" = %(low)s + 50002',
        "DELETE FROM {t} WHERE v = 'greatest'",
        "INSERT INTO {t} VALUES (9223372036854775807, 'greatest')",
    ):
        query = sql.SQL(statement).format(t=sql.Identifier('Weird "Näme"; --', 'Weird "Näme"; --'))  # type: ignore[arg-type]
        connection.execute(query, {"low": (number % 1000) * 7})
        connection.commit()


@pytest.mark.parametrize(
    ("type_name", "values"),
    [
        ("int8", ["-9223372036854775808", "-1", "0", "7", "9223372036854775807"]),
        ("date", ["-infinity", "4713-01-01 BC", "0001-01-01", "2024-02-29", "5874897-12-31", "infinity"]),
        ("timestamp", ["-infinity", "4713-01-01 00:00:00 BC", "2024-02-29 12:00:00", "2024-02-29 12:00:00.000001", "infinity"]),
        ("timestamptz", ["-infinity", "0044-03-15 12:00:00+00 BC", "2024-01-01 00:00:00+00", "294276-12-31 23:59:59+00", "infinity"]),
        ("uuid", ["00000000-0000-0000-0000-000000000000", "7fffffff-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ],
)  # fmt: skip
def test_ranges_tile_what_a_server_orders(source_db: Database, type_name: str, values: list[str]) -> None:
    source_db.execute(f'CREATE TABLE public.t ("K; """ {type_name})')
    with source_db.connect() as connection:
        for value in values:
            connection.execute(f"INSERT INTO public.t VALUES (%s::{type_name}), (%s::{type_name})", (value, value))  # type: ignore[arg-type]
        for bounds in ([], values[:1], values[1:-1], values):
            rows = 0
            for span in ranges('K; "', type_name, bounds):
                query = sql.SQL("SELECT count(*) FROM public.t AS k WHERE {}").format(span.condition())
                [(count,)] = connection.execute(query).fetchall()
                rows += count
                assert count % 2 == 0
            assert rows == 2 * len(values)


def test_large_tables_are_compared_in_ranges_while_rows_move_between_them(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_above(monkeypatch, 250_000)
    with writing(pair.source, moving) as counts:
        until(lambda: counts[0] > 5, "the writer")
        for mode in ("gate", "live"):
            result = pair.verify(mode=mode)
            assert_verified(result)
            tables = lines(result)
            for name in ('Weird "Näme"; --', "event"):
                assert len(tables[name]["ranges"]) >= 4, tables[name]
                assert sum(part["source_rows"] for part in tables[name]["ranges"]) == tables[name]["source_rows"]
            # In random order on disk, or in an order that the servers need not share: one range would read it all.
            assert tables["shuffled"]["ranges"] == tables["named"]["ranges"] == tables["small"]["ranges"] == []
    assert tables["event"]["source_rows"] == 20002


def test_damage_in_ranges_is_found_and_their_table_is_not_verified(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_above(monkeypatch, 250_000)
    pair.damage(
        f'DELETE FROM {HOSTILE}.{HOSTILE} WHERE "k; "" --" IN (-9223372036854775808, -700)',
        f'UPDATE {HOSTILE}.{HOSTILE} SET v = NULL WHERE "k; "" --" = 70000',
        f"INSERT INTO {HOSTILE}.{HOSTILE} VALUES (-69999, 'extra')",
        "UPDATE public.event SET v = v || ' ' WHERE id = 0",
    )
    with writing(pair.source, moving):
        result = pair.verify()
    name = 'Weird "Näme"; --'
    assert found(result) == {
        (name, "missing", ("-9223372036854775808",), ()),
        (name, "missing", ("-700",), ()),
        (name, "changed", ("70000",), ("v",)),
        (name, "extra", ("-69999",), ()),
        ("event", "changed", ("-infinity", "0"), ("v",)),
        ("event", "changed", ("infinity", "0"), ("v",)),
    }
    line = lines(result)[name]
    assert line["status"] == "different"
    assert line["differing_rows"] == 4
    assert {part["status"] for part in line["ranges"]} == {"different", "verified"}
    assert line["reason"].startswith("range 1 of ")
    assert not result.data["verified"]


def test_a_target_that_may_hold_null_in_the_key_is_not_cut(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No range holds NULL: rows that are there would not be seen."""
    cut_above(monkeypatch, 250_000)
    table = f"{HOSTILE}.{HOSTILE}"
    pair.target.execute(f'ALTER TABLE {table} DROP CONSTRAINT {HOSTILE[:-1]}_pkey"')
    pair.target.execute(f'CREATE UNIQUE INDEX ON {table} ("k; "" --")')
    pair.target.execute(f'ALTER TABLE {table} ALTER "k; "" --" DROP NOT NULL')
    pair.damage(f"INSERT INTO {table} VALUES (NULL, 'unseen')")
    result = pair.verify()
    line = lines(result)['Weird "Näme"; --']
    assert (line["status"], line["ranges"], line["differing_rows"]) == ("different", [], 1)


def test_tables_that_were_never_analyzed_are_cut_by_a_sample(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_above(monkeypatch, 250_000)
    pair = ReplicatedPair(source_db, target_db)
    pair.both(
        "CREATE TABLE public.fresh (id date, n integer, v text, PRIMARY KEY (id, n)) WITH (autovacuum_enabled = off)"
    )
    source_db.execute(
        "INSERT INTO public.fresh SELECT date '1990-01-01' + i / 10, i, repeat('f', 60) FROM generate_series(1, 20000) AS i"
    )
    pair.replicate()
    result = pair.verify()
    assert_verified(result)
    assert len(lines(result)["fresh"]["ranges"]) >= 4
    assert lines(result)["fresh"]["source_rows"] == 20000


def test_snapshots_are_not_used_for_anything_new_once_they_are_old(pair: ReplicatedPair) -> None:
    result = pair.verify(max_snapshot_age=0.000001)
    assert_verified(result)
    epochs = result.data["epochs"]
    assert [epoch["round"] for epoch in epochs] == [1] * 5  # one for each table
    assert result.data["rounds"] == 1
    assert all(line["rounds"] == 1 for line in result.data["tables"])
    assert {line["lsn"] for line in result.data["tables"]} == {epoch["lsn"] for epoch in epochs}
    assert {line["read_at"] for line in result.data["tables"]} == {epoch["taken_at"] for epoch in epochs}
    with writing(pair.source, moving):
        assert_verified(pair.verify(max_snapshot_age=0.000001))
    assert len(pair.verify().data["epochs"]) == 1


def test_the_pause_for_max_rate_holds_no_snapshot(pair: ReplicatedPair) -> None:
    """Each table costs more seconds than a snapshot's age, so that the next one waits outside."""
    paused: list[int] = []

    def told(event: Event) -> None:
        if event.text.startswith("paused"):
            assert "max_rate is " in event.text
            paused.extend(row[0] for database in (pair.source, pair.target) for row in database.execute(HELD))

    result = pair.verify(max_rate=2 * 2**20, max_snapshot_age=0.1, progress=told)
    assert_verified(result)
    assert paused
    assert set(paused) == {0}


def test_nothing_new_is_begun_while_the_target_is_too_far_behind(pair: ReplicatedPair) -> None:
    seen: list[str] = []
    with pair.target.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE public.small IN SHARE MODE")  # apply waits, readers do not

        def told(event: Event) -> None:
            seen.append(event.text)
            if event.text.startswith("paused"):
                assert "max_lag_bytes is 19.5 KiB" in event.text
                blocker.rollback()

        pair.source.execute("UPDATE public.small SET v = repeat('x', 10000)")
        result = pair.verify(mode="live", max_lag_bytes=20000, progress=told)
    assert_verified(result)
    assert next(text for text in seen if text.startswith(("paused", "round"))).startswith("paused: lag: ")


def test_a_lag_that_does_not_go_leaves_tables_unverified(pair: ReplicatedPair) -> None:
    with pair.target.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE public.small IN SHARE MODE")
        pair.source.execute("UPDATE public.small SET v = repeat('x', 10000)")
        result = pair.verify(mode="live", max_lag_bytes=1000, wait_timeout=1.0)
    assert result.data["epochs"] == []
    for line in result.data["tables"]:
        assert line["status"] == "unverified"
        assert line["reason"].startswith("lag: ")


def test_what_the_time_limit_leaves_is_not_verified(pair: ReplicatedPair) -> None:
    slow = {"rows": {"public.named": "pg_catalog.pg_sleep(0.01) IS NOT NULL"}}
    result = pair.verify(slow, job_timeout=3.0, jobs=1, max_snapshot_age=0.000001)
    assert not result.data["verified"]
    status, reason = status_of(result, "named")
    assert (status, reason) == ("unverified", "deadline: the job_timeout of 3 s was over")
    assert status_of(result, "small") == ("unverified", reason)  # smaller, so it was not reached
    assert status_of(result, 'Weird "Näme"; --') == ("verified", "")
    assert result.data["large_objects"]["status"] == "unverified"
    assert result.data["large_objects"]["reason"] == reason
    # Damage that was proven in time is told.
    pair.damage("DELETE FROM public.event WHERE id = 5")
    result = pair.verify(slow, job_timeout=3.0, jobs=1, max_snapshot_age=0.000001)
    assert status_of(result, "event")[0] == "different"
    assert result.error is not None
    assert result.error.code == "not_verified"


def test_the_time_limit_ends_the_wait_for_the_target(pair: ReplicatedPair) -> None:
    with pair.target.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE public.small IN SHARE MODE")
        pair.source.execute("UPDATE public.small SET v = 'late'")
        for mode in ("live", "gate"):
            result = pair.verify(mode=mode, job_timeout=1.0, wait_timeout=600.0)
            assert {line["status"] for line in result.data["tables"]} == {"unverified"}
    assert_verified(pair.verify(job_timeout=600.0))


@pytest.mark.parametrize(
    "wrong",
    [{"max_snapshot_age": 0.0}, {"job_timeout": -1.0}, {"max_rate": -1}, {"max_lag_bytes": -1}, {"resume": True}],
)
def test_limits_that_leave_no_room_are_refused(source_db: Database, target_db: Database, wrong: dict[str, Any]) -> None:
    with pytest.raises(MigrationError) as caught:
        ReplicatedPair(source_db, target_db).verify(**wrong)
    assert caught.value.code == "bad_option"
    assert next(iter(wrong)) in caught.value.message


def test_a_lane_that_waits_for_bytes_owes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LANE_PAUSE_S", 0.0)
    limited = pace.Pace(
        pace.Bounds(max_snapshot_age_s=5.0, max_rate=1000), lambda: pytest.fail("no lag is asked for"), []
    )
    limited.begin_epoch()
    assert limited.may_begin()
    limited.before_reading("source", 1000)
    assert limited.may_begin()
    limited.before_reading("source", 100_000)
    assert not limited.may_begin()
