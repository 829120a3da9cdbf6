# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of the copy: a table of many rows and one with a huge row, against the bound that is promised."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmark import copying, dataset
from tests.benchmark.report import MEGABYTE, Run
from tests.benchmark.settings import FOLDER, SSLMODES, Settings

WORKER_MB = 64
BASE_MB = 64
ROWS_HELD = 6


def bound_mb(workers: int, widest_row_mb: float) -> float:
    """What all processes of a copy may use together: 64 MB a worker, six times the widest row, and 64 MB."""
    return workers * WORKER_MB + ROWS_HELD * widest_row_mb + BASE_MB


def check(settings: Settings) -> int:
    """Copy both tables, print each process's peak; 0 when the sum stayed within the bound."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    questions = [
        (dataset.one_table(settings.memory_table_mb), f"a table of {settings.memory_table_mb} MB", 0),
        (dataset.wide_row(settings.memory_row_mb), f"rows of {settings.memory_row_mb} MB", settings.memory_row_mb),
    ]
    good = True
    for sslmode in SSLMODES:  # rows travel in another way where they are encrypted
        chosen = replace(settings, sslmode=sslmode)
        with copying.pair(chosen) as (source, target):
            for wanted, text, row_mb in questions:
                original = dataset.provide(source, wanted, print)
                run = copying.one_run("ours", 1, chosen, original, target, copying.shape(original))
                good = _print(f"{text}, sslmode {sslmode}", run, bound_mb(settings.jobs, row_mb)) and good
    return 0 if good else 1


def _print(text: str, run: Run, limit_mb: float) -> bool:
    peak_mb = run.cost.peak_pss_bytes / MEGABYTE
    is_good = run.is_good and peak_mb <= limit_mb
    print(f"\n== {text}: {run.problem or 'copied'} in {run.cost.wall_s:.1f} s")
    print(
        f"all processes together (PSS, sampled): {peak_mb:.0f} MB, bound {limit_mb:.0f} MB: {'ok' if is_good else 'NOT OK'}"
    )
    print(f"{'peak RSS MB':>12} {'peak PSS MB':>12}  process")
    for process in run.cost.processes:
        print(
            f"{process.peak_rss_bytes / MEGABYTE:12.0f} {process.peak_pss_bytes / MEGABYTE:12.0f}  {process.command[:90]}"
        )
    return is_good
