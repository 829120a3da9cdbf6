# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison, measured: a narrow and a wide table, equal on two servers that are read at the same time.

The contenders are what others do: a digest of all rows in order (the tool that this collection replaces), the sum of
32-bit hashes of whole rows (pgcopydb), and as the floor a scan that only counts.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.seren.migrator.plugins.modules.pg_migration_verify import SPEC
from tests.benchmark import copying, dataset
from tests.benchmark.dataset import Dataset
from tests.benchmark.measuring import Cost, measure
from tests.benchmark.report import HEADER, Run, run_line, summary
from tests.benchmark.servers import KeptCluster
from tests.benchmark.settings import FOLDER, VERIFY_TOOLS, Settings
from tests.benchmark.tools import Ready, Way
from tests.support.fixtures import Database

MODULE = "ansible_collections.seren.migrator.plugins.modules.pg_migration_verify"
# A text has at most 1 GB: the digest of all rows needs pieces.
ROWS_PER_DIGEST = 2_000_000
DESCRIPTIONS = {
    "ours": "module pg_migration_verify, objects: skip, jobs {jobs}: 64-bit typed hashes, each row of {bits} located",
    "ours_strong": "the same with strong: true, 128 bits",
    "ordered_md5": f"md5(string_agg(t::text, '' ORDER BY id)), {ROWS_PER_DIGEST} rows each (a text has at most 1 GB)",
    "sum_hashtext": "sum(hashtext(t::text)): 32 bits a row, and finds no row",
    "count": "count(*) by a sequential scan: the floor",
}


@dataclass(frozen=True)
class Question:
    """One table of `rows` rows."""

    table: str
    rows: int


def compare(settings: Settings) -> int:
    """Let the contenders take turns on each table; 0 when ours was good at least once for each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    good = True
    with copying.pair(settings) as (source, target):
        for question in (Question("narrow", settings.verify_rows), Question("wide", settings.verify_rows)):
            made = dataset.for_verification(question.table, question.rows)
            sides = [dataset.provide(cluster, made, print) for cluster in (source, target)]
            runs = _rounds(settings, question, made, sides, (source, target))
            good = good and any(run.is_good for run in runs if run.tool == "ours")
    return 0 if good else 1


def _rounds(
    settings: Settings,
    question: Question,
    made: Dataset,
    sides: Sequence[Database],
    servers: tuple[KeptCluster, KeptCluster],
) -> list[Run]:
    print(
        f"\n== {question.table}: {question.rows} rows on both sides, PostgreSQL {settings.source_major} and"
        f" {settings.target_major}, {os.cpu_count()} cores, {settings.runs} round(s)\n{HEADER}",
        flush=True,
    )
    runs: list[Run] = []
    tools = settings.tools or VERIFY_TOOLS
    for number in range(1, settings.runs + 1):
        for tool in tools:
            folder = FOLDER / "run"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
            ready = _prepare(tool, question, Way(settings, *sides, servers[0].port, servers[1].port, folder))
            time.sleep(settings.pause_s)
            cost = measure(
                ready.command,
                {"source": servers[0].pid or 0, "target": servers[1].pid or 0},
                environment=ready.environment,
                timeout_s=settings.timeout_s,
                stdin=ready.stdin,
                log=FOLDER / f"verify_{tool}.log",
            )
            runs.append(Run(tool, number, cost, _problem(tool, cost, folder)))
            print(run_line(runs[-1]), flush=True)
    descriptions = {tool: DESCRIPTIONS[tool].format(jobs=settings.jobs, bits=question.table) for tool in tools}
    print(summary(runs, descriptions))
    file = FOLDER / f"verify_{made.name}.json"
    file.write_text(json.dumps([run.as_data() for run in runs], indent=2, default=str), encoding="utf-8")
    print(f"\nall numbers: {file}")
    return runs


def _prepare(tool: str, question: Question, way: Way) -> Ready:
    if tool.startswith("ours"):
        arguments: dict[str, object] = {
            "source": way.params("source"),
            "target": way.params("target"),
            "jobs": way.settings.jobs,
            "only": [f"public.{question.table}"],
            **({"mode": "live"} if "mode" in SPEC else {}),
            "objects": "skip",
            "strong": tool == "ours_strong",
            "_ansible_remote_tmp": str(way.folder),
        }
        stdin = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        return Ready((sys.executable, "-m", MODULE), way.environment(), stdin)
    statements = _statements(tool, question)
    sides = [
        shlex.join(["psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-o", str(way.folder / side)])
        + " "
        + shlex.join([*(word for text in statements for word in ("-c", text)), "--dbname", way.conninfo(side)])
        for side in ("source", "target")
    ]
    script = f"{sides[0]} & first=$!; {sides[1]}; second=$?; wait $first && exit $second"
    return Ready(("bash", "-c", script), way.environment())


def _statements(tool: str, question: Question) -> list[str]:
    table = f"public.{question.table}"
    if tool == "sum_hashtext":
        return [f"SELECT sum(hashtext(t::text)) FROM {table} AS t"]
    if tool == "count":
        return ["SET enable_indexonlyscan = off", f"SELECT count(*) FROM {table}"]
    return [
        f"SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM {table} AS t"
        f" WHERE id > {start} AND id <= {start + ROWS_PER_DIGEST}"
        for start in range(0, question.rows, ROWS_PER_DIGEST)
    ]


def _problem(tool: str, cost: Cost, folder: Path) -> str:
    """What is wrong with a run, empty when it has found both sides equal."""
    last = (cost.output.strip().splitlines() or ["no output"])[-1]
    if cost.exit_code != 0:
        return f"exit code {cost.exit_code}: {last[:300]}"
    if tool.startswith("ours"):  # it fails unless equality is proven
        return ""
    answers = {(folder / side).read_text(encoding="utf-8") for side in ("source", "target")}
    return "" if len(answers) == 1 and answers != {""} else "the two sides answered differently"
