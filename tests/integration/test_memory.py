# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of init does not grow with a table, and with a row only a few times its width."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmark import copying, dataset, memory, tools
from tests.benchmark.dataset import Dataset
from tests.benchmark.measuring import Cost, measure
from tests.benchmark.settings import SSLMODES, Settings
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="the memory of processes is read from Linux's /proc"
)
JOBS = 2
ROW_MB = 24
TABLE_MB = 220


def copy(source: Database, target: Database, original: Dataset, folder: Path, sslmode: str) -> Cost:
    """Fill the source, copy it by the module in a process of its own, and check that all of it is there."""
    with source.connect() as connection:
        original.build(connection)
    settings = Settings(
        jobs=JOBS,
        index_jobs=JOBS,
        source_major=source.cluster.major,
        target_major=target.cluster.major,
        sslmode=sslmode,
    )
    way = tools.Way(settings, source, target, source.cluster.port, target.cluster.port, folder)
    ready = tools.prepare("ours", way)
    cost = measure(
        ready.command, {}, environment=ready.environment, timeout_s=300, stdin=ready.stdin, log=folder / "output"
    )
    assert cost.exit_code == 0, cost.output
    assert copying.shape(target) == copying.shape(source)
    return cost


@pytest.mark.parametrize("sslmode", SSLMODES)
def test_a_wide_row_is_held_a_few_times_only(make_cluster, tmp_path: Path, sslmode: str) -> None:  # type: ignore[no-untyped-def]
    source: Cluster = make_cluster(15, tls=True)
    target: Cluster = make_cluster(17, tls=True)
    cost = copy(create_database(source), create_database(target), dataset.wide_row(ROW_MB), tmp_path, sslmode)
    assert 0 < cost.peak_pss_bytes <= memory.bound_mb(JOBS, ROW_MB) * 2**20
    widest = max(process.peak_rss_bytes for process in cost.processes)
    assert widest <= (memory.WORKER_MB + memory.ROWS_HELD * ROW_MB) * 2**20


@pytest.mark.slow
@pytest.mark.parametrize("sslmode", SSLMODES)
def test_a_large_table_takes_no_more_memory_than_a_small_one(make_cluster, tmp_path: Path, sslmode: str) -> None:  # type: ignore[no-untyped-def]
    source: Cluster = make_cluster(15, tls=True)
    target: Cluster = make_cluster(17, tls=True)
    cost = copy(create_database(source), create_database(target), dataset.one_table(TABLE_MB), tmp_path, sslmode)
    assert 0 < cost.peak_pss_bytes <= memory.bound_mb(JOBS, 0) * 2**20
    assert max(process.peak_rss_bytes for process in cost.processes) <= memory.WORKER_MB * 2**20
