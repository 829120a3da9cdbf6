# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill init at random moments, run the same command again while the application writes: every row arrives once.

Each kill has a seed, which is printed. `SEREN_MIGRATOR_KILL_SEED=<seed>` chooses the same moments again; what the writers
do meanwhile is never the same twice.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.binaries import client_dir
from tests.support.cluster import Cluster
from tests.support.fixtures import SOURCE_MAJOR, TARGET_MAJOR, Database, create_database, start_cluster_or_skip
from tests.support.kills import Watch, kinds, moments
from tests.support.migrations import Case
from tests.support.playbooks import play, playing
from tests.support.sweep import sweep
from tests.support.writers import PROCESSES, Writers, prepare

RATE = 60
END_S = 120.0
# In which steps a kill shall hit, and within how many seconds after the step's begin.
MOMENTS = (("start", 0.4), ("schema", 0.5), ("copy", 0.9), ("copy", 1.8), ("indexes", 0.8), ("statistics", 0.5))
# Sleeping on the target makes room for a random moment in each step without keeping a core busy.
BULK = """
    CREATE SCHEMA bulk;
    CREATE FUNCTION bulk.slow(n integer, every integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            IF n % every = 0 AND pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN
                PERFORM pg_catalog.pg_sleep(0.01);
            END IF;
            RETURN true;
        END
    $$;
"""
BULK_TABLE = """
    CREATE TABLE bulk.t{n} (id integer PRIMARY KEY, n integer, v text, CHECK (bulk.slow(id, 100)));
    INSERT INTO bulk.t{n} SELECT i, i % 10, repeat('bulk ', 10) FROM generate_series(1, {rows}) AS i;
    CREATE INDEX t{n}_slow ON bulk.t{n} (n, (bulk.slow(id, 200)));
    CREATE INDEX t{n}_n ON bulk.t{n} (n);
"""
BULK_ROWS = (12000, 10000, 8000, 6000, 4000, 2000)
SLOW_DDL = """
    CREATE FUNCTION public.slow_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_catalog.pg_sleep(0.03); END $$;
    CREATE EVENT TRIGGER slow_ddl ON ddl_command_end WHEN tag IN ('CREATE TABLE') EXECUTE FUNCTION public.slow_ddl();
"""
# Each makes another file of a table, or empties it, and keeps or brings rows that replication must not miss. None makes an
# index anew: pg_dump stops where an index is gone that its snapshot shows.
REWRITES = (
    "VACUUM FULL bulk.t4",
    "BEGIN; TRUNCATE bulk.t5; INSERT INTO bulk.t5 SELECT i, 1, 'again' FROM generate_series(1, 900) AS i; COMMIT",
    "ALTER TABLE bulk.t3 ALTER COLUMN v TYPE text USING v || ''",
    "CLUSTER bulk.t5 USING t5_pkey",
    "BEGIN; UPDATE bulk.t4 SET v = 'changed' WHERE id % 7 = 0; DELETE FROM bulk.t3 WHERE id % 13 = 0; COMMIT",
)
REWRITE_EVERY_S = 0.7


class Rewriter:
    """Rewrites the smaller bulk tables, one after the other, until the block ends; goes on after a crash."""

    def __init__(self, source: Database) -> None:
        self._source, self._stop, self.done = source, threading.Event(), 0
        self._thread = threading.Thread(target=self._work, name="rewriter", daemon=True)

    def _work(self) -> None:
        for statement in cycle(REWRITES):
            if self._stop.wait(REWRITE_EVERY_S):
                return
            try:
                with self._source.connect() as connection:
                    connection.execute("SET lock_timeout = '1s'")
                    connection.execute(statement)
                    self.done += 1
            except psycopg.Error:
                continue  # the server was killed, or a worker holds the table

    def __enter__(self) -> Rewriter:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """A source and a target of our own, because they are killed; each rewrite during a copy may cost one more stream."""
    settings = {"max_replication_slots": 40, "max_wal_senders": 40, "max_logical_replication_workers": 40}
    source = start_cluster_or_skip(SOURCE_MAJOR, settings=settings)
    target = start_cluster_or_skip(TARGET_MAJOR, settings={**settings, "max_worker_processes": 60})
    yield source, target
    source.destroy()
    target.destroy()


@dataclass
class Outcome:
    """One kill: where it was meant to hit, where it did, whether something was really interrupted, what is not right."""

    seed: str
    wanted: str
    hit: str = "end"
    was_interrupted: bool = False
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = "interrupted" if self.was_interrupted else "not interrupted"
        return f"seed {self.seed}: meant for {self.wanted}, hit {self.hit}, {how}: {self.problems or 'exact'}"


def load(source: Database, target: Database) -> None:
    target.execute(SLOW_DDL)
    prepare(source.dsn, PROCESSES)
    with source.connect() as connection:
        connection.execute(BULK)
        for number, rows in enumerate(BULK_ROWS):
            connection.execute(BULK_TABLE.format(n=number, rows=rows).encode())


def kill_once(case: Case, kind: str, step: str, after_s: float, outcome: Outcome, folder: Path) -> None:
    """Kill init once, run it again, replicate, and compare; what is not right goes into `outcome`."""
    given: dict[str, Any] = {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migrate_client_bin_dir": str(client_dir(TARGET_MAJOR)),
        "migrate_jobs": 2,
    }
    kill = kinds(case.source.cluster, case.target.cluster)[kind]
    load(case.source, case.target)
    with Writers(case.source.dsn, folder, RATE, truncate_every_s=1.5) as writers, Rewriter(case.source) as rewriter:
        writers.wait_for(20)
        with playing("init", given) as first:
            with Watch(case.target) as watch:
                watch.wait_for(step, first)
                time.sleep(after_s)
                outcome.hit = watch.step()
                was_running = first.code is None and outcome.hit != "end"
                kill(first, watch)
            if kind == "playbook":
                first.process.wait()
                outcome.was_interrupted = was_running
            else:
                code = first.process.wait(END_S)
                outcome.was_interrupted = was_running and code != 0
            again = play("init", given)
            if again.code != 0:
                outcome.problems.append(f"the same command failed:\n{first.output}\n{again.output}")
                return
        case.sync()
        writers.wait_for(writers.progress().total + 50)
        summary = writers.stop()
    case.wait_until_in_sync()
    outcome.problems += [f"source: {line}" for line in writers.verify(case.source.dsn)]
    outcome.problems += [f"target: {line}" for line in writers.verify(case.target.dsn)]
    outcome.problems += case.compare().differences
    if not rewriter.done or not summary.commits.get("truncate"):
        outcome.problems.append(f"nothing was rewritten: {rewriter.done}, {summary.commits}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["module", "playbook", "everything", "source", "target"])
def test_the_same_command_after_a_kill_ends_with_every_row_once(
    clusters: tuple[Cluster, Cluster], kind: str, tmp_path: Path
) -> None:
    seed = os.environ.get("SEREN_MIGRATOR_KILL_SEED") or secrets.token_hex(4)
    outcomes: list[Outcome] = []
    for number, (step, after_s) in enumerate(moments(f"{seed} {kind}", MOMENTS)):
        outcome = Outcome(seed, f"{step} + {after_s:.2f} s")
        outcomes.append(outcome)
        case = Case(*(create_database(cluster) for cluster in clusters))
        try:
            kill_once(case, kind, step, after_s, outcome, tmp_path / str(number))
        except Exception as error:  # noqa: BLE001 # the other kills are worth seeing, too
            outcome.problems.append(f"{type(error).__name__}: {error}")
        finally:
            for cluster in clusters:
                sweep(cluster)
        print(f"kill of {kind}, {outcome}", flush=True)
    assert [str(outcome) for outcome in outcomes if outcome.problems] == []
    assert sum(outcome.was_interrupted for outcome in outcomes) * 2 >= len(outcomes)
    assert len({outcome.hit for outcome in outcomes} - {"end"}) >= 3
