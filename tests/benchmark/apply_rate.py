# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the target applies what was written meanwhile, with one stream and with several.

    python -m tests.benchmark.apply_rate [--streams 1,4] [--groups 4] [--transactions N] [--repeat 3] [--majors 15,17]

Independent groups of tables are written to, all at the same time, while the subscriptions are disabled; then they are
enabled, and the clock runs until the target has applied the last transaction of every stream. The numbers of streams
take turns, each time with fresh databases. The result is checked: every row of the source is on the target.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from tests.support.cluster import Cluster
from tests.support.fixtures import create_database
from tests.support.migrations import Case

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02
TIMEOUT_S = 3600.0
SETTINGS: dict[str, str | int] = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_wal_senders": 20,
    "max_replication_slots": 20,
    "max_worker_processes": 24,
    "max_logical_replication_workers": 16,
}
INITIAL_ROWS = 20_000
# One transaction: a new order with three lines, a change of an older one, and the end of an older line.
GROUP = """
CREATE SCHEMA {group};
CREATE TABLE {group}.orders (id bigint PRIMARY KEY, customer integer NOT NULL, note text, total numeric(12, 2));
CREATE INDEX ON {group}.orders (customer);
CREATE INDEX ON {group}.orders (note);
CREATE INDEX ON {group}.orders (total);
CREATE TABLE {group}.line (
    order_id bigint REFERENCES {group}.orders, number integer, item text, amount numeric(12, 2), PRIMARY KEY (order_id, number)
);
CREATE INDEX ON {group}.line (item);
INSERT INTO {group}.orders SELECT n, n % 1000, md5(n::text), n FROM generate_series(1, {initial}) AS n;
INSERT INTO {group}.line SELECT n, k, md5(k::text), k FROM generate_series(1, {initial}) AS n, generate_series(1, 3) AS k;
CREATE PROCEDURE {group}.work(first bigint, last bigint) LANGUAGE plpgsql AS $work$
BEGIN
    FOR n IN first..last LOOP
        INSERT INTO {group}.orders VALUES (n, n % 1000, md5(n::text), n);
        INSERT INTO {group}.line SELECT n, k, md5(k::text), k FROM generate_series(1, 3) AS k;
        UPDATE {group}.orders SET total = total + 1 WHERE id = 1 + n::bigint * 7919 % {initial};
        DELETE FROM {group}.line WHERE order_id = 1 + n::bigint * 104729 % {initial} AND number = 3;
        COMMIT;
    END LOOP;
END
$work$;
"""
CHANGES_PER_TRANSACTION = 6


@dataclass(frozen=True)
class Run:
    """One measurement: seconds until all was applied, WAL that was written, CPU seconds of each server meanwhile."""

    streams: int
    apply_s: float
    wal_bytes: int
    source_cpu_s: float
    target_cpu_s: float


def cpu_s(postmaster: int | None) -> float:
    """CPU seconds that a server and its processes, the ended ones too, have used."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == postmaster:
                total += sum(int(fields[index]) for index in range(11, 15))
            elif int(fields[1]) == postmaster:
                total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


def name(group: int) -> sql.Identifier:
    return sql.Identifier(f"group_{group}")


def fill(case: Case, group: int, transactions: int) -> None:
    with case.source.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        first = INITIAL_ROWS + 1
        connection.execute(
            sql.SQL("CALL {}.work({}, {})").format(name(group), first, sql.Literal(first + transactions - 1))
        )


def switch(case: Case, subscriptions: Sequence[str], action: str) -> None:
    for subscription in subscriptions:
        case.target.execute(sql.SQL("ALTER SUBSCRIPTION {} {}").format(sql.Identifier(subscription), sql.SQL(action)))


def wait_until_applied(case: Case, markers: Sequence[str]) -> None:
    """Return when the last word written to each stream's marker table has arrived."""
    reading = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT token FROM seren_migrator.{}").format(sql.Identifier(marker)) for marker in markers
    )
    deadline = time.monotonic() + TIMEOUT_S
    with case.target.connect() as connection:
        while {token for (token,) in connection.execute(reading)} != {"end"}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not applied within {TIMEOUT_S:g} seconds")
            time.sleep(POLL_S)


def measure(
    source: Cluster, target: Cluster, streams: int, groups: int, transactions: int, options: dict[str, str]
) -> Run:
    case = Case(create_database(source), create_database(target))
    for group in range(groups):
        case.source.execute(sql.SQL(GROUP).format(group=name(group), initial=sql.Literal(INITIAL_ROWS)))
    case.source.execute("ANALYZE")
    opened = case.init(streams=streams).data["streams"]
    if len(opened) != streams:
        raise RuntimeError(f"{len(opened)} streams instead of {streams}: more groups are needed")
    case.sync(subscription_options=options)
    case.wait_until_in_sync()
    subscriptions, markers = [item["subscription"] for item in opened], [item["marker"] for item in opened]
    switch(case, subscriptions, "DISABLE")
    position = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    before = case.source.execute(position)[0][0]
    with ThreadPoolExecutor(groups) as pool:
        list(pool.map(lambda group: fill(case, group, transactions), range(groups)))
    for marker in markers:
        case.source.execute(sql.SQL("UPDATE seren_migrator.{} SET token = 'end'").format(sql.Identifier(marker)))
    wal_bytes = case.source.execute(position)[0][0] - before
    case.source.execute("CHECKPOINT")
    case.target.execute("CHECKPOINT")
    cpu = cpu_s(source.pid), cpu_s(target.pid)
    started = time.monotonic()
    switch(case, subscriptions, "ENABLE")
    wait_until_applied(case, markers)
    elapsed_s = time.monotonic() - started
    used = cpu_s(source.pid) - cpu[0], cpu_s(target.pid) - cpu[1]
    differences = case.compare().differences
    if differences:
        raise RuntimeError(f"source and target differ: {differences[:5]}")
    case.cleanup()
    for side in (case.source, case.target):
        side.cluster.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(side.name)))
    return Run(streams, elapsed_s, wal_bytes, *used)


def show(runs: Sequence[Run], changes: int) -> None:
    print(f"\n{'streams':>7} {'runs':>4} {'apply s':>8} {'changes/s':>10} {'source CPU s':>12} {'target CPU s':>12}")
    medians: dict[int, float] = {}
    for streams in dict.fromkeys(run.streams for run in runs):
        mine = [run for run in runs if run.streams == streams]
        medians[streams] = statistics.median(run.apply_s for run in mine)
        source_s, target_s = (
            statistics.median(getattr(run, f"{side}_cpu_s") for run in mine) for side in ("source", "target")
        )
        print(
            f"{streams:>7} {len(mine):>4} {medians[streams]:>8.1f} {changes / medians[streams]:>10.0f}"
            f" {source_s:>12.1f} {target_s:>12.1f}"
        )
    first = next(iter(medians))
    for streams, seconds in medians.items():
        if streams != first:
            print(f"{streams} streams apply {medians[first] / seconds:.2f} times as fast as {first}")
    print(
        f"Both servers share {os.cpu_count()} processors: no run can take less than its CPU seconds divided by that. Each "
        "stream's WAL sender decodes all of the WAL, so the source's CPU grows with the streams, and streams gain most "
        "where the apply process waits for something else than a processor, or where many processors are free."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark.apply_rate", description="The rate of apply")
    parser.add_argument(
        "--streams", default="1,4", help="numbers of streams, the first is what others are compared with"
    )
    parser.add_argument("--groups", type=int, default=4, help="groups of tables, each written to by one process")
    parser.add_argument("--transactions", type=int, default=30_000, help="of each group, six changes each")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--synchronous-commit", action="store_true", help="let apply wait for the disk at each commit")
    parser.add_argument("--majors", default="15,17", help="source and target")
    options = parser.parse_args(arguments)
    numbers = [int(number) for number in options.streams.split(",")]
    source_major, target_major = (int(major) for major in options.majors.split(","))
    changes = options.groups * options.transactions * CHANGES_PER_TRANSACTION
    print(
        f"PostgreSQL {source_major} to {target_major}: {options.groups} groups, {options.transactions} transactions each, "
        f"about {changes} changes"
    )
    subscription = {"synchronous_commit": "on"} if options.synchronous_commit else {}
    runs: list[Run] = []
    with Cluster(source_major, SETTINGS) as source, Cluster(target_major, SETTINGS) as target:
        for turn in range(options.repeat):
            for streams in numbers if turn % 2 == 0 else reversed(numbers):
                run = measure(source, target, streams, options.groups, options.transactions, subscription)
                runs.append(run)
                print(
                    f"{streams} stream(s): {run.apply_s:.1f} s for {run.wal_bytes / 1e6:.0f} MB of WAL; CPU "
                    f"{run.source_cpu_s:.1f} s source, {run.target_cpu_s:.1f} s target",
                    flush=True,
                )
    show(sorted(runs, key=lambda run: numbers.index(run.streams)), changes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
