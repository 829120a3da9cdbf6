# SPDX-License-Identifier: GPL-3.0-or-later
"""verify that is killed and goes on: what was proven is not read again, the rest is, and nothing that does not fit is used."""

from __future__ import annotations

import json
import random
import stat
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.verification import pace, run_state
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until, writing
from tests.support import verifying
from tests.support.fixtures import Database
from tests.support.verified import assert_verified

HOSTILE = '"Weird ""Näme""; --"'
TABLES = f"""
CREATE SCHEMA {HOSTILE};
CREATE TABLE {HOSTILE}.{HOSTILE} ("k; "" --" bigint PRIMARY KEY, v text);
CREATE TABLE public.plain (id integer PRIMARY KEY, v text);
CREATE TABLE public.log (v text);
ALTER TABLE public.log REPLICA IDENTITY FULL;
CREATE TABLE public.slow (id integer PRIMARY KEY, v text);
"""
ROWS = f"""
INSERT INTO {HOSTILE}.{HOSTILE} SELECT i, repeat('v', 50) FROM generate_series(1, 20000) AS i;
INSERT INTO public.plain SELECT i, repeat('p', 50) FROM generate_series(1, 10000) AS i;
INSERT INTO public.log SELECT 'line ' || i % 100 FROM generate_series(1, 2000) AS i;
INSERT INTO public.slow SELECT i, 'slow' FROM generate_series(1, 20) AS i;
"""
# A part of the first table is about a fifth of it. With a tiny age of snapshots each table is handed out by itself.
CONSTANTS = {"BYTES_PER_S": 1, "PART_BYTES_MIN": 400_000}
# The smallest table comes last, and takes ten seconds.
SLOW = {"rows": {"public.slow": "pg_catalog.pg_sleep(0.5) IS NOT NULL"}}


@pytest.fixture
def pair(source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch) -> ReplicatedPair:
    for name, value in CONSTANTS.items():
        monkeypatch.setattr(pace, name, value)
    made = ReplicatedPair(source_db, target_db)
    made.both(TABLES)
    source_db.execute(ROWS)
    made.replicate(marker=True)
    made.both("ANALYZE")
    return made


def migration_of(pair: ReplicatedPair, **selection: Any) -> dict[str, Any]:
    return {"source": pair.source.params, "target": pair.target.params, **selection}


def kinds(path: Path) -> list[tuple[str, str]]:
    """What the file tells of: (kind, table)."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []
    return [(line["kind"], line.get("name", "")) for line in lines if "kind" in line]


def killed_in_the_slow_table(pair: ReplicatedPair, path: Path) -> None:
    """Run until everything but the slow table is proven, and kill the process there."""
    process = verifying.start(
        migration_of(pair, **SLOW), pair.streams, CONSTANTS, state_path=str(path), max_snapshot_age=0.01
    )
    try:
        until(lambda: {"plain", "log"} <= {name for _kind, name in kinds(path)}, "the proofs", 60)
    finally:
        process.kill()
        process.wait()
    assert ("verified", "slow") not in kinds(path)


def resumed(pair: ReplicatedPair, path: Path, **options: Any) -> Any:
    return pair.verify(
        SLOW if "selection" not in options else options.pop("selection"), state_path=str(path), resume=True, **options
    )


def test_what_a_killed_run_has_proven_is_not_read_again(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    killed_in_the_slow_table(pair, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # Damage in a table that was proven: the proof is of before, and says so. In the other it is found.
    pair.damage("DELETE FROM public.plain WHERE id = 1", "UPDATE public.slow SET v = 'damaged' WHERE id = 20")
    [(now,)] = pair.source.execute("SELECT pg_current_wal_insert_lsn()::text")
    result = resumed(pair, path)
    assert found(result) == {("slow", "changed", ("20",), ("v",))}
    tables = {line["name"]: line for line in result.data["tables"]}
    for name in ('Weird "Näme"; --', "plain", "log"):
        assert (tables[name]["status"], tables[name]["resumed"]) == ("verified", True)
        assert pair.source.execute(f"SELECT '{tables[name]['last_lsn']}'::pg_lsn <= '{now}'::pg_lsn") == [(True,)]
    assert not tables["slow"]["resumed"]
    assert len(tables['Weird "Näme"; --']["ranges"]) > 2
    assert tables['Weird "Näme"; --']["source_rows"] == 20000
    assert (result.data["resumed"]["tables"], result.data["resumed"]["reason"]) == (3, "")
    assert not result.data["verified"]
    # Only what was verified stays so: the damaged table is looked at again, and all of them without resume.
    pair.damage("UPDATE public.slow SET v = 'slow' WHERE id = 20")
    assert_verified(resumed(pair, path))
    assert found(pair.verify(state_path=str(path))) == {("plain", "missing", ("1",), ())}


def test_a_run_that_has_verified_everything_is_not_continued(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert_verified(pair.verify(state_path=str(path)))
    pair.damage("DELETE FROM public.plain WHERE id = 1")
    result = resumed(pair, path, selection=None)
    assert found(result) == {("plain", "missing", ("1",), ())}
    assert result.data["resumed"]["reason"] == "the earlier run had verified every table"


@pytest.mark.parametrize("changed", ["oid", "column", "key"])
def test_a_table_that_is_another_one_now_is_read_again(pair: ReplicatedPair, tmp_path: Path, changed: str) -> None:
    path = tmp_path / "state"
    killed_in_the_slow_table(pair, path)
    pair.damage("DELETE FROM public.log WHERE ctid = (SELECT min(ctid) FROM public.log)")
    if changed == "oid":
        with pair.target.connect(autocommit=False) as connection:
            connection.execute("CREATE TABLE public.again (LIKE public.log INCLUDING ALL)")
            connection.execute("INSERT INTO public.again SELECT * FROM public.log")
            connection.execute("DROP TABLE public.log")
            connection.execute("ALTER TABLE public.again RENAME TO log")
            connection.commit()
        subscription = psycopg.sql.Identifier(pair.streams[0].subscription).as_string(None)
        pair.target.execute(f"ALTER SUBSCRIPTION {subscription} REFRESH PUBLICATION WITH (copy_data = false)")
        until(
            lambda: pair.target.execute("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == [(0,)],
            "the tables",
        )
    elif changed == "column":
        pair.both("ALTER TABLE public.log ADD COLUMN more text")
    else:
        pair.both("ALTER TABLE public.log ADD COLUMN id serial")
        pair.both("ALTER TABLE public.log DROP COLUMN id")
        pair.both("ALTER TABLE public.log ALTER COLUMN v TYPE varchar")
    result = resumed(pair, path)
    assert status_of(result, "log")[0] == "different"
    assert "1 table(s) are not what they were" in result.data["resumed"]["reason"]
    assert "public.log" in result.data["resumed"]["reason"]
    tables = {line["name"]: line for line in result.data["tables"]}
    assert tables["plain"]["resumed"]
    assert not tables["log"]["resumed"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "live"}, "mode is another one now"),
        ({"strong": True}, "strong is another one now"),
        ({"mode": "fenced"}, "mode fenced speaks of one run"),
        ({"streams": []}, "streams is another one now"),
    ],
)
def test_a_run_that_does_not_fit_is_not_continued(
    pair: ReplicatedPair, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "state"
    killed_in_the_slow_table(pair, path)
    pair.damage("DELETE FROM public.plain WHERE id = 1")
    result = resumed(pair, path, **options)
    assert reason in result.data["resumed"]["reason"]
    assert result.data["resumed"]["tables"] == 0
    assert status_of(result, "plain")[0] in ("different", "unverified")


def test_another_database_is_not_continued(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    killed_in_the_slow_table(pair, path)
    lines = path.read_text().splitlines(keepends=True)
    # WAL that ends before what was proven: a disk that was put back.
    ahead = [lines[0]]
    for line in lines[1:]:
        content = json.loads(line)
        del content["sum"]
        content["target_lsn"] = "FFFFFFFF/0"
        ahead.append(json.dumps({**content, "sum": run_state._sum(content)}) + "\n")
    path.write_text("".join(ahead))
    result = resumed(pair, path, selection=None)
    assert_verified(result)
    assert "WAL of the target ends before" in result.data["resumed"]["reason"]


def test_a_torn_or_changed_line_is_not_believed(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    killed_in_the_slow_table(pair, path)
    pair.damage("DELETE FROM public.log WHERE ctid = (SELECT min(ctid) FROM public.log)")
    lines = path.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"log"' in line and '"verified"' in line)
    whole = "".join(lines)
    for torn in ("".join(lines[:at]) + lines[at][:-20], whole.replace(lines[at], lines[at].replace("2000", "2001"))):
        assert torn != whole
        path.write_text(torn)
        assert status_of(resumed(pair, path, selection=None), "log")[0] == "different"


def test_a_file_of_something_else_is_left_alone(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("something else\n")
    for options in ({}, {"resume": True}):
        with pytest.raises(MigrationError) as caught:
            pair.verify(state_path=str(path), **options)
        assert caught.value.code == "bad_option"
    assert path.read_text() == "something else\n"
    link = tmp_path / "link"
    link.symlink_to(path)
    for wrong in (link, tmp_path / "absent" / "state", tmp_path):
        with pytest.raises(MigrationError) as caught:
            pair.verify(state_path=str(wrong))
        assert caught.value.code == "bad_option"


def test_two_runs_do_not_share_a_file(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    process = verifying.start(migration_of(pair, **SLOW), pair.streams, CONSTANTS, state_path=str(path))
    try:
        until(lambda: bool(kinds(path)), "the file", 60)
        with pytest.raises(MigrationError, match="another run"):
            resumed(pair, path)
    finally:
        process.kill()
        process.wait()


def test_check_mode_neither_reads_nor_writes_the_file(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert_verified(pair.verify(state_path=str(path), check_mode=True))
    assert not path.exists()


def writer(connection: psycopg.Connection[Any], number: int) -> None:
    key = random.randint(1, 19998)  # not the row that is lost: one that moves meanwhile may be missed, see docs, Limits
    connection.execute(f'UPDATE {HOSTILE}.{HOSTILE} SET v = %s WHERE "k; "" --" = %s', (str(number), key))  # type: ignore[arg-type]
    connection.execute(f'UPDATE {HOSTILE}.{HOSTILE} SET "k; "" --" = - "k; "" --" WHERE "k; "" --" = %s', (key,))  # type: ignore[arg-type]
    connection.execute("INSERT INTO public.log VALUES ('line 1')")


@pytest.mark.slow
def test_kills_at_random_moments_end_in_the_right_verdict(pair: ReplicatedPair, tmp_path: Path) -> None:
    path = tmp_path / "state"
    migration = migration_of(pair, rows={"public.slow": "pg_catalog.pg_sleep(0.1) IS NOT NULL"})
    pair.damage(f'DELETE FROM {HOSTILE}.{HOSTILE} WHERE "k; "" --" = 19999', "DELETE FROM public.slow WHERE id = 3")
    with writing(pair.source, writer):
        for _turn in range(6):
            process = verifying.start(
                migration, pair.streams, CONSTANTS, state_path=str(path), resume=True, max_snapshot_age=0.01
            )
            time.sleep(random.uniform(1.0, 4.0))
            process.kill()
            process.wait()
        result = verifying.result_of(
            verifying.start(
                migration, pair.streams, CONSTANTS, state_path=str(path), resume=True, max_snapshot_age=0.01
            )
        )["data"]
    seen = {(item["table"], item["kind"], *item["key"].values()) for item in result["differences"]}
    assert {item for item in seen if item[0] == "slow"} == {("slow", "missing", "3")}
    assert {line["name"]: line["status"] for line in result["tables"]} == {
        'Weird "Näme"; --': "different",
        "plain": "verified",
        "log": "verified",
        "slow": "different",
    }
    assert len(seen) == 2
