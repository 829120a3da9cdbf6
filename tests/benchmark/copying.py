# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy, measured: the contenders take turns on the same two servers, each time into a new, empty database."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.benchmark import dataset, tools
from tests.benchmark import far as network
from tests.benchmark.dataset import Dataset
from tests.benchmark.measuring import Cost, measure
from tests.benchmark.report import HEADER, Run, run_line, summary
from tests.benchmark.servers import KeptCluster
from tests.benchmark.settings import DEFAULT_TOOLS, FOLDER, Settings
from tests.benchmark.tools import Skipped, Way
from tests.support.fixtures import Database

TARGET = "benchmark_target"
DEFAULT_FAR_DELAY_MS = 20.0
SLOT_WAIT_S = 20.0


@dataclass(frozen=True)
class Scenario:
    """What is copied, by whom, and how far away the servers are (a round trip)."""

    name: str
    dataset: Dataset
    tools: tuple[str, ...]
    delay_ms: float = 0.0


def near(settings: Settings) -> int:
    """The reference set, by every tool."""
    delay_ms = settings.delay_ms or 0.0
    name = f"copy of {settings.size_mb} MB" + (f", {delay_ms:g} ms away" if delay_ms else ", local")
    return _perform(
        settings, [Scenario(name, dataset.mixed(settings.size_mb), settings.tools or DEFAULT_TOOLS, delay_ms)]
    )


def far(settings: Settings) -> int:
    """Many small tables, and one large one, with both servers far away."""
    delay_ms = DEFAULT_FAR_DELAY_MS if settings.delay_ms is None else settings.delay_ms
    count, size_mb = settings.small_tables, settings.large_table_mb
    small_tools = settings.tools or ("ours", "pgcopydb", "dump_restore")
    large_tools = settings.tools or ("ours", "pgcopydb")
    scenarios = []
    if count:
        name = f"{count} small tables, {delay_ms:g} ms away"
        scenarios.append(Scenario(name, dataset.small_tables(count), small_tools, delay_ms))
    if size_mb:
        name = f"one table of {size_mb} MB, {delay_ms:g} ms away"
        scenarios.append(Scenario(name, dataset.one_table(size_mb), large_tools, delay_ms))
    return _perform(settings, scenarios)


@contextmanager
def pair(settings: Settings) -> Iterator[tuple[KeptCluster, KeptCluster]]:
    """Both servers, running."""
    tls = settings.sslmode != "disable"
    with (
        KeptCluster(settings.source_major, f"source-{settings.source_major}", tls) as source,
        KeptCluster(settings.target_major, f"target-{settings.target_major}", tls) as target,
    ):
        yield source, target


def _perform(settings: Settings, scenarios: Sequence[Scenario]) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    good = True
    with pair(settings) as (source, target):
        for scenario in scenarios:
            original = dataset.provide(source, scenario.dataset, print)
            runs = _rounds(settings, scenario, original, target)
            good = good and any(run.is_good for run in runs if run.tool == "ours") | ("ours" not in scenario.tools)
    return 0 if good else 1


def _rounds(settings: Settings, scenario: Scenario, original: Database, target: KeptCluster) -> list[Run]:
    """Let the tools take turns, print each run and the result, and write all of it to a file."""
    print(
        f"\n== {scenario.name}: PostgreSQL {settings.source_major} -> {settings.target_major}, {os.cpu_count()} cores, "
        f"sslmode {settings.sslmode}, "
        f"{settings.runs} round(s)\n{HEADER}",
        flush=True,
    )
    expected = shape(original)
    runs: list[Run] = []
    playing = list(scenario.tools)
    for number in range(1, settings.runs + 1):
        for tool in tuple(playing):
            try:
                run = one_run(tool, number, settings, original, target, expected, scenario.delay_ms)
            except Skipped as reason:
                print(f"{tool:<16} skipped: {reason}", flush=True)
                playing.remove(tool)
                continue
            runs.append(run)
            print(run_line(run), flush=True)
    descriptions = {tool: tools.describe(tool, settings) for tool in playing}
    print(summary(runs, descriptions))
    print(f"\nall numbers: {_write(settings, scenario, runs, descriptions)}")
    return runs


def one_run(
    tool: str,
    number: int,
    settings: Settings,
    original: Database,
    target: KeptCluster,
    expected: Mapping[str, Any],
    delay_ms: float = 0.0,
    results: Path = FOLDER,
) -> Run:
    """Measure one tool once, in a new database; what it leaves on both sides is removed again.

    Its output stays in the folder `results`.
    """
    folder = results / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    copy = Database(target, TARGET)
    _remove(original, target)
    target.execute(f"CREATE DATABASE {TARGET} TEMPLATE template0")
    with ExitStack() as stack:
        ports = [original.cluster.port, target.port]
        if delay_ms:
            ports = stack.enter_context(network.delayed(ports, delay_ms))
        way = Way(settings, original, copy, ports[0], ports[1], folder)
        ready = tools.prepare(tool, way)
        for cluster in (original.cluster, target):
            cluster.execute("CHECKPOINT")
        time.sleep(settings.pause_s)
        cost = measure(
            ready.command,
            {"source": original.cluster.pid or 0, "target": target.pid or 0},
            environment=ready.environment,
            timeout_s=settings.timeout_s,
            stdin=ready.stdin,
            log=results / f"{tool}.log",
        )
    problem = _problem(cost, copy, expected)
    _remove(original, target)
    return Run(tool, number, cost, problem)


def _problem(cost: Cost, copy: Database, expected: Mapping[str, Any]) -> str:
    """What is wrong with a copy, empty when nothing is."""
    if cost.exit_code != 0:
        last = (cost.output.strip().splitlines() or ["no output"])[-1]
        return f"exit code {cost.exit_code}: {_message(last)[:300]}"
    try:
        found = shape(copy)
    except psycopg.Error as error:
        return f"the copy cannot be read: {error}"
    wrong = [key for key in expected if found.get(key) != expected[key]]
    if wrong:
        key = wrong[0]
        return f"{len(wrong)} difference(s), the first: {key} is {found.get(key)} instead of {expected[key]}"
    return ""


def _message(text: str) -> str:
    """The message of a module's result; any other text as it is."""
    try:
        return str(json.loads(text)["msg"])
    except (ValueError, KeyError, TypeError):
        return text


def shape(database: Database) -> dict[str, int]:
    """What each copy must have: the rows of each table, counted by scanning it, its indexes and its constraints."""
    ours = "n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')"
    counted = {
        "indexes": "SELECT count(*) FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid"
        f" JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE i.indisvalid AND {ours}",
        "constraints": "SELECT count(*) FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_namespace AS n"
        f" ON n.oid = k.connamespace WHERE k.convalidated AND {ours}",
    }
    found = {name: int(database.execute(query)[0][0]) for name, query in counted.items()}
    return {**found, **dataset.row_counts(database)}


def _remove(original: Database, target: KeptCluster) -> None:
    """Drop the copy, and what a tool may have left on the source."""
    target.execute(f"DROP DATABASE IF EXISTS {TARGET} WITH (FORCE)")
    end = time.monotonic() + SLOT_WAIT_S
    while original.execute("SELECT 1 FROM pg_catalog.pg_replication_slots"):
        original.execute(
            "SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE active"
        )
        original.execute(
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE NOT active"
        )
        if time.monotonic() > end:
            raise RuntimeError("a replication slot on the source cannot be dropped")
    for (name,) in original.execute("SELECT pubname FROM pg_catalog.pg_publication"):
        original.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(name)))
    original.execute("DROP SCHEMA IF EXISTS seren_migrator, pgcopydb CASCADE")


def _write(settings: Settings, scenario: Scenario, runs: Sequence[Run], descriptions: Mapping[str, str]) -> Path:
    words = "".join(letter if letter.isalnum() else "-" for letter in scenario.name)
    file = FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{words}.json"
    data = {
        "scenario": scenario.name,
        "settings": asdict(settings),
        "cores": os.cpu_count(),
        "tools": descriptions,
        "runs": [run.as_data() for run in runs],
    }
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return file
