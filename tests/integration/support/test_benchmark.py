# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's own instruments: what it counts, what it compares, and a small run of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.benchmark import copying, dataset, floor
from tests.benchmark.measuring import Cost, measure
from tests.benchmark.report import Run, medians, ratios
from tests.benchmark.settings import BadSetting, Settings
from tests.support.cluster import Cluster
from tests.support.fixtures import create_database

ON_LINUX = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="it reads Linux's /proc")
BURN = "import time\nwhile time.process_time() < 0.5: pass"

# The middle process ends at once; the first one waits until the last one has closed the pipe.
ORPHAN = f"""
import os
r, w = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        exec({BURN!r})
    os._exit(0)
os.close(w)
os.read(r, 1)
"""


def cost_of(tmp_path: Path, code: str, timeout_s: float = 60) -> Cost:
    command = (sys.executable, "-c", code)
    return measure(command, {}, environment=os.environ, timeout_s=timeout_s, log=tmp_path / "log")


@ON_LINUX
def test_cpu_of_children_and_of_orphans_is_counted(tmp_path: Path) -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    assert cost_of(tmp_path, child).client_cpu_s >= 0.5
    assert cost_of(tmp_path, ORPHAN).client_cpu_s >= 0.5


@ON_LINUX
def test_the_highest_memory_of_all_processes_is_seen(tmp_path: Path) -> None:
    code = "import os, time\nheld = bytearray(os.urandom(1)) * (50 * 2**20)\nos.fork()\ntime.sleep(0.5)"
    cost = cost_of(tmp_path, code)
    # The pages that both processes share count once.
    assert 50 * 2**20 <= cost.peak_pss_bytes < 90 * 2**20
    assert max(process.peak_rss_bytes for process in cost.processes) >= 50 * 2**20


@ON_LINUX
def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    cost = cost_of(tmp_path, "import time; print('hanging', flush=True); time.sleep(60)", timeout_s=0.5)
    assert cost.exit_code != 0
    assert cost.output == "hanging\n"


def run(tool: str, number: int, wall_s: float, problem: str = "") -> Run:
    return Run(tool, number, Cost(wall_s, 1.0, {"source": 1.0, "target": 2.0}, 0, (), 0, ""), problem)


def test_ours_is_compared_with_each_tool_by_medians_and_within_rounds() -> None:
    runs = [run("ours", 1, 8), run("psql", 1, 10), run("ours", 2, 9), run("psql", 2, 30), run("psql", 3, 1, "wrong")]
    assert medians(runs)["psql"]["wall_s"] == 20
    assert ratios(runs, "wall_s") == {"psql": {"ratio": 8.5 / 20, "lowest": 0.3, "highest": 0.8}}
    assert ratios(runs, "total_cpu_s")["psql"]["ratio"] == 1.0
    assert ratios(runs[1:2], "wall_s") == {}


def test_settings_come_from_variables_and_are_checked() -> None:
    chosen = Settings.read({"BENCH_JOBS": "4", "BENCH_TOOLS": "ours, floor", "BENCH_DELAY_MS": "20", "BENCH_RUNS": ""})
    assert (chosen.jobs, chosen.index_jobs, chosen.tools, chosen.delay_ms) == (4, 4, ("ours", "floor"), 20)
    assert chosen.runs == Settings.runs
    for wrong in (
        {"BENCH_RUNS": "0"},
        {"BENCH_TOOLS": "ours rsync"},
        {"PGCOPYDB": "/nowhere/pgcopydb"},
        {"BENCH_JOBS": "x"},
    ):
        with pytest.raises(BadSetting, match=next(iter(wrong))):
            Settings.read(wrong)


@ON_LINUX
@pytest.mark.parametrize(
    "tool", ["ours", "floor", *(pytest.param(tool, marks=pytest.mark.slow) for tool in ("dump_psql", "dump_restore"))]
)
def test_a_small_run_is_complete(make_cluster, tool: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source: Cluster = make_cluster(15)
    target: Cluster = make_cluster(15)
    original = create_database(source)
    with original.connect() as connection:
        dataset.small_tables(3).build(connection)
    try:
        expected = copying.shape(original)
        measured = copying.one_run(tool, 1, Settings(pause_s=0), original, target, expected, results=tmp_path)
    finally:
        shutil.rmtree(floor.files_dir(original), ignore_errors=True)
    assert measured.problem == ""
    assert expected["small.table_0003"] == 10
    assert (expected["indexes"], expected["constraints"]) == (6, 3)


@ON_LINUX
def test_a_copy_that_is_not_complete_does_not_count(make_cluster, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source: Cluster = make_cluster(15)
    original = create_database(source)
    original.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    expected = {**copying.shape(original), "public.t": 1}
    measured = copying.one_run(
        "dump_psql", 1, Settings(pause_s=0), original, make_cluster(15), expected, results=tmp_path
    )
    assert measured.problem == "1 difference(s), the first: public.t is 0 instead of 1"
