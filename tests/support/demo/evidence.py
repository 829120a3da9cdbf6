# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo takes as proof. Only verify is the product's own; the other judges share nothing with it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.binaries import client_dir
from tests.support.demo.report import Claim, bytes_text
from tests.support.demo.watching import Watcher
from tests.support.migrations import Case
from tests.support.playbooks import Played
from tests.support.schema_dump import schema_differences
from tests.support.writers import Summary, Writers

IN_SYNC_TIMEOUT_S = 60.0
SHOWN = 10
PRODUCT_SCHEMA = "seren_migrator"
# Serialization failures and deadlocks are between the writers themselves; a real application repeats them too.
BETWEEN_WRITERS = {"40001", "40P01"}


@dataclass(frozen=True)
class Run:
    """What happened: the playbook and how long it took, the commits before it, and what the writers did in all."""

    played: Played
    seconds: float
    commits_before: int
    summary: Summary
    writers: Writers
    watcher: Watcher


def gather(case: Case, run: Run) -> tuple[list[Claim], dict[str, int]]:
    """The claims in the order in which they are shown, and the number of rows of each table."""
    claims = [_playbook(run), _applications(run)]
    if run.played.code != 0:
        return claims, {}
    claims.append(_in_sync(case, run))
    claims.append(_journals(case, run))
    rows, compared = _comparison(case)
    claims += [compared, _schema(case), _verify(run)]
    return claims, rows


def _playbook(run: Run) -> Claim:
    is_done = run.played.code == 0
    found = f"done in {run.seconds:.0f} s" if is_done else f"ended with exit code {run.played.code}"
    return Claim("the playbook went through all phases", found, is_done)


def _applications(run: Run) -> Claim:
    summary = run.summary
    serious = {state: count for state, count in summary.errors.items() if state not in BETWEEN_WRITERS}
    found = f"no statement failed, the slowest transaction took {summary.longest_s:.2f} s"
    if serious:
        found = ", ".join(f"{count} x SQLSTATE {state}" for state, count in serious.items())
    return Claim("the applications were not disturbed", found, not serious, summary.messages if serious else ())


def _in_sync(case: Case, run: Run) -> Claim:
    """Not one byte behind: everything that was committed has been confirmed by the target."""
    text = "the target caught up"
    begin = time.monotonic()
    status: dict[str, Any] = {}
    while time.monotonic() < begin + IN_SYNC_TIMEOUT_S:
        try:
            status = case.status(max_lag_bytes=0, window=1.0).data
        except MigrationError as error:
            return Claim(text, str(error), False)
        if status["state"] == "in_sync" and status["lag_bytes"] == 0:
            most = run.watcher.max_lag_bytes
            during = "" if most is None else f", at most {bytes_text(most)} seen while it was written to"
            return Claim(text, f"in_sync, lag 0 bytes{during}", True)
    lag_bytes = "unknown" if status.get("lag_bytes") is None else status["lag_bytes"]
    reasons = tuple(str(reason) for reason in status.get("reasons", ()))
    return Claim(text, f"{status.get('state')}, lag {lag_bytes} bytes", False, reasons)


def _journals(case: Case, run: Run) -> Claim:
    """Both sides hold exactly the rows that follow from the writers' own notes."""
    problems = [
        f"{side}: {problem}"
        for side, dsn in (("source", case.source.dsn), ("target", case.target.dsn))
        for problem in run.writers.verify(dsn)
    ]
    total, during = run.summary.total, run.summary.total - run.commits_before
    found = f"{during:,} committed meanwhile ({total:,} in all), each is there exactly once"
    if problems:
        found = f"{len(problems)} deviations from the journals of {total:,} transactions"
    return Claim("no transaction was lost or doubled", found, during > 0 and not problems, tuple(problems[:SHOWN]))


def _comparison(case: Case) -> tuple[dict[str, int], Claim]:
    """Sorted dumps of all tables side by side. Sequences are set at cutover, views follow their last refresh."""
    result = case.compare()
    count = len(result.differences)
    found = f"{sum(result.rows.values()):,} rows of {len(result.rows)} tables, {count or 'no'} differences"
    claim = Claim(
        "sorted dumps of all rows are equal", found, bool(result.rows) and not count, tuple(result.differences[:SHOWN])
    )
    return result.rows, claim


def _schema(case: Case) -> Claim:
    clients = client_dir(max(case.source.cluster.major, case.target.cluster.major))
    differences = schema_differences(case.source.dsn, case.target.dsn, clients, (PRODUCT_SCHEMA,))
    found = f"{len(differences) or 'no'} differences"
    return Claim("the schemas are equal", found, not differences, tuple(differences[:SHOWN]))


def _verify(run: Run) -> Claim:
    """The playbook's own verdict, reached while the applications were writing."""
    text = "verify says so too, under writes"
    try:
        result = run.played.result("pg_migration_verify")
    except IndexError:
        return Claim(text, "there is no result", False)
    counts = Counter(table["status"] for table in result.get("tables", ()))
    states = ", ".join(f"{count} tables {state}" for state, count in counts.items())
    is_verified = result.get("verified") is True and set(counts) == {"verified"}
    found = f"verified, {counts['verified']} tables (a partitioned one is one)" if is_verified else f"not: {states}"
    return Claim(text, found, is_verified)
