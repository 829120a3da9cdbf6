# SPDX-License-Identifier: GPL-3.0-or-later
"""The play: two servers, a sample that is written to, one run of ansible-playbook, the proof, an empty stage."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support import playbooks, sample
from tests.support.binaries import cache_dir, client_dir, install
from tests.support.cluster import Cluster
from tests.support.demo import evidence, interruption, kept, report
from tests.support.demo.watching import Watcher
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.writers import PROCESSES, Writers, prepare

SOURCE_MAJOR = 15
TARGET_MAJOR = 17
DATABASE = "shop"
DEFAULT_SCALE = 3
COMMITS_BEFOREHAND = 100
# Each TRUNCATE during the copy costs a stream of its own; on a slow machine too many would keep the copy from ending.
TRUNCATE_EVERY_S = 6.0


def perform(scale: int, keep: bool) -> bool:
    """Show the whole play; whether everything was proven. Nothing is left behind, unless `keep`."""
    if keep:
        kept.require_none()
    _fetch_programs()
    with tempfile.TemporaryDirectory(prefix="seren_migrator_demo_") as folder, ExitStack() as stage:
        clusters = [_started(major, stage) for major in (SOURCE_MAJOR, TARGET_MAJOR)]
        stage.callback(interruption.ignore)  # called first: what follows the play is not to be interrupted
        source = create_database(clusters[0], DATABASE)
        case = Case(source, Database(clusters[1], DATABASE))  # the migration creates it there
        variables = _variables(case)
        is_proven = _migrate_and_judge(case, variables, Path(folder), scale)
        if keep:
            interruption.ignore()
            print(kept.keep(clusters, case, variables))
            stage.pop_all()
    return is_proven


def _migrate_and_judge(case: Case, variables: Mapping[str, Any], folder: Path, scale: int) -> bool:
    print(f"Loading the sample at scale {scale} into PostgreSQL {SOURCE_MAJOR} ...", flush=True)
    sample.load(case.source.dsn, scale)
    prepare(case.source.dsn, PROCESSES)
    writers = Writers(case.source.dsn, folder / "journal", truncate_every_s=TRUNCATE_EVERY_S)
    with ExitStack() as stage:
        stage.callback(writers.kill)
        writers.start()
        before = writers.wait_for(COMMITS_BEFOREHAND)
        print(f"{PROCESSES} applications write to it, {writers.rate:g} transactions a second, and will not pause.\n")
        with Watcher(case, writers) as watcher:
            begin = time.monotonic()
            print("$ ansible-playbook seren.migrator.migrate -e @variables.json", flush=True)
            played = playbooks.show("migrate", variables)
            seconds = time.monotonic() - begin
        print("\nThe applications stop. Judging what arrived ...", flush=True)
        summary = writers.stop()
        claims, rows = evidence.gather(case, evidence.Run(played, seconds, before, summary, writers, watcher))
    print(report.render(claims, rows))
    return all(claim.is_proven for claim in claims)


def _fetch_programs() -> None:
    """Name what is about to be downloaded; it takes a while, once."""
    absent = [major for major in (SOURCE_MAJOR, TARGET_MAJOR) if not (cache_dir() / f"pg{major}").exists()]
    if absent:
        majors = " and ".join(map(str, absent))
        print(f"Fetching PostgreSQL {majors} into {cache_dir()}, once ...", flush=True)
    for major in (SOURCE_MAJOR, TARGET_MAJOR):
        install(major)


def _started(major: int, stage: ExitStack) -> Cluster:
    cluster = Cluster(major)
    stage.callback(cluster.destroy)
    print(f"Starting a throw-away PostgreSQL {major} ...", flush=True)
    return cluster.start()


def _variables(case: Case) -> dict[str, Any]:
    return {
        "source_url": case.source.url,
        "target_url": case.target.url,
        "migrate_client_bin_dir": str(client_dir(TARGET_MAJOR)),
        "migrate_jobs": 2,
        "migrate_progress_interval": 1,
        "migrate_wait_sleep": 1,
    }
