# SPDX-License-Identifier: GPL-3.0-or-later
"""verify as a person watches it: live lines, the progress file, and what is left when nobody watches.

One table is read slowly, because its row predicate sleeps.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_progress import Place, events, host, lines, place, wait_until_gone
from tests.support.fixtures import Database
from tests.support.playbooks import play, playing

__all__ = ["place"]

H = '"Weird ""Näme""; --"'
ROWS = 400


@pytest.fixture
def variables(source_db: Database, target_db: Database) -> dict[str, Any]:
    """Two equal tables, of which one takes about four seconds."""
    for database in (source_db, target_db):
        for table in (H, "quick"):
            database.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v text)")
            database.execute(f"INSERT INTO {table} SELECT n, repeat('x', 500) FROM generate_series(1, {ROWS}) AS n")
            database.execute(f"ANALYZE {table}")
    return {
        "migrate_source": source_db.params,
        "migrate_target": target_db.params,
        "migrate_rows": {f"public.{H}": "pg_sleep(0.01) IS NOT NULL"},
        "migrate_objects": "skip",
        "migrate_progress_interval": 1,
    }


def is_under_way(output: str) -> bool:
    """Two lines while the slow table is read."""
    return sum(line.get("tables") == "2" and line.get("text") != "ended" for line in lines(output)) >= 2


def test_lines_show_tables_rows_bytes_and_rates_and_nothing_is_left_behind(
    variables: dict[str, Any], place: Place, tmp_path: Path
) -> None:
    followed = tmp_path / "progress"
    variables["migrate_progress_path"] = os.fspath(followed)
    with playing("verify", variables, *host(tmp_path)) as run:
        run.wait_for(is_under_way)
        assert place.module_files() == []
        played = run.finish()
    assert played.code == 0, played.output
    shown = lines(played.output)
    assert {line["host"] for line in shown} == {"shop"}
    known = {
        *("migration", "round", "tables_done", "tables", "rows_read", "estimated_rows", "bytes_read"),
        *("estimated_bytes", "in_doubt", "differing_rows", "elapsed", "text"),
    }
    assert known <= set(shown[-1])
    last = shown[-1]
    assert (last["tables_done"], last["tables"], last["rows_read"]) == ("2", "2", str(2 * ROWS))
    assert (last["in_doubt"], last["differing_rows"], last["text"]) == ("0", "0", "ended")
    assert last["bytes_read"] == last["estimated_bytes"] != "0"
    told = events(followed)
    assert (told[-1]["phase"], told[-1]["outcome"]) == ("verify", "ok")
    rates = [event["numbers"]["rate_rows_per_second"] for event in told if "rate_rows_per_second" in event["numbers"]]
    assert any(rates)
    assert len([event for event in told if "table(s) decided" in event["text"]]) >= 3  # one a second
    assert played.result("pg_migration_verify", "shop")["verified"] is True
    assert place.left() == []


@pytest.mark.parametrize("how", ["quiet", "check", "async"])
def test_without_lines_the_result_is_the_same(
    variables: dict[str, Any], place: Place, tmp_path: Path, how: str
) -> None:
    del variables["migrate_rows"]
    path = tmp_path / "progress"
    if how == "async":
        task = {
            "seren.migrator.pg_migration_verify": {
                "source": "{{ migrate_source }}",
                "target": "{{ migrate_target }}",
                "objects": "skip",
                "progress_path": os.fspath(path),
            },
            "async": 600,
            "poll": 1,
        }
        book = tmp_path / "play.yml"
        book.write_text(json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": [task]}]))
        played = play(book, variables, *host(tmp_path))
    else:
        variables.update(migrate_quiet=how == "quiet", migrate_progress_path=os.fspath(path))
        played = play("verify", variables, *(["--check"] if how == "check" else []), *host(tmp_path))
    assert played.code == 0, played.output
    assert lines(played.output) == []
    assert path.exists() == (how != "check")
    result = played.result("pg_migration_verify", "shop")
    assert result["verified"] is (how != "check")  # in check mode there is no migration yet
    assert place.left() == [] or how == "async"  # Ansible's own record of its own job


def test_a_time_limit_ends_the_comparison_with_what_it_has(
    variables: dict[str, Any], place: Place, tmp_path: Path
) -> None:
    variables["migrate_verify_job_timeout"] = 1.5
    played = play("verify", variables, *host(tmp_path))
    assert played.code != 0
    result = played.result("pg_migration_verify", "shop")
    assert (result["code"], result["changed"]) == ("not_verified", False)
    left = [table["reason"] for table in result["tables"] if table["status"] == "unverified"]
    assert left
    assert set(left) == {"deadline: the job_timeout of 1.5 s was over"}
    assert place.left() == []


def test_a_killed_job_is_told_and_nothing_of_it_stays_on_the_servers(
    variables: dict[str, Any], place: Place, tmp_path: Path, source_db: Database
) -> None:
    with playing("verify", variables, *host(tmp_path)) as run:
        run.wait_for(is_under_way)
        processes = place.processes()
        os.kill(place.job(), signal.SIGKILL)
        played = run.finish()
    assert played.code != 0
    result = played.result("pg_migration_verify", "shop")
    assert result["code"] == "runner_lost"
    assert "verify" in result["msg"]
    wait_until_gone(processes)
    end = time.monotonic() + 30
    while source_db.execute("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'seren_migrator verify%'"):
        assert time.monotonic() < end
        time.sleep(0.1)
