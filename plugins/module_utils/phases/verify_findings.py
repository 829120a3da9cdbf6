# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a run of verify has found, and the result that tells it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ..errors import MigrationError
from ..ledger import Record
from ..migration import Migration
from ..result import Result
from ..verification import certificate
from ..verification.besides import Besides
from ..verification.comparison import Comparison
from ..verification.disclosure import KEYS_ONLY, Disclosure
from ..verification.hashing import HashRules
from ..verification.moment import NEVER
from ..verification.objects.finding import SKIPPED, ObjectsFinding
from ..verification.pairing import Refusal
from ..verification.resuming import Resuming
from ..verification.snapshots import Epoch
from ..verification.table_lines import table_lines
from .verify_options import VerifyOptions
from .verify_repair import Mended

PHASE = "verify"
# How many tables an error names; the result names all.
NAMED_IN_MESSAGE = 10


@dataclass
class Findings:
    """What a run has found so far."""

    started_at: str
    comparisons: list[Comparison] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    objects: ObjectsFinding = SKIPPED
    besides: Besides = field(default_factory=Besides)
    rules: HashRules | None = None
    last: Epoch | None = None
    rounds: int = 0
    disclosure: Disclosure = KEYS_ONLY
    mended: Mended | None = None
    mode: str = "live"
    mode_reason: str = ""  # why it is not the mode that was asked for
    history: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # what the certificate says of the two sides
    problem: str = ""  # why not everything could be looked at
    resuming: Resuming = field(default_factory=Resuming)


def nothing_there(reason: str) -> Result:
    """Return the answer of check mode where there is nothing to compare yet."""
    findings = Findings(datetime.now(timezone.utc).isoformat(timespec="seconds"), problem=reason)
    return Result(PHASE, False, {**_data(VerifyOptions(), findings), "certificate": None})


def unfinished(migration: Migration, options: VerifyOptions, record: Record) -> Result:
    """Answer for a copy that is not finished: nothing could be equal yet."""
    pending = len(record.pending)
    if options.check_mode:
        return nothing_there(f"the copy of the migration {migration.name} is not finished")
    raise MigrationError(
        "not_initialised",
        f"The migration {migration.name!r} has no finished copy on the target ({pending} table(s) are still to be copied).",
        "Run pg_migration_init first; it continues an interrupted copy.",
    )


def result(migration: Migration, options: VerifyOptions, findings: Findings) -> Result:
    """Make the result of what was found, sealed by the certificate; an error when equality is not proven and that is to fail."""
    data = _data(options, findings)
    finished_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    data["certificate"] = certificate.issued(migration.name, data, findings.facts, finished_at)
    error = None
    mended = findings.mended
    if not data["verified"] and options.fail_on_difference:
        error = _not_verified(data, findings.besides)
    if mended is None:
        return Result(PHASE, False, data, error=error)
    return Result(PHASE, mended.changed, data, diff=mended.diff() if mended.changed else None, error=error)


def _data(options: VerifyOptions, findings: Findings) -> dict[str, Any]:
    tables = table_lines(findings.comparisons)
    tables += [_refused(refusal) for refusal in findings.refusals]
    tables.sort(key=lambda table: (table["schema"], table["name"]))
    differences = [difference for comparison in findings.comparisons for difference in comparison.differences]
    differences.sort(key=lambda found: (found.schema, found.table, tuple(found.key.values())))
    differing = sum(comparison.differing_rows for comparison in findings.comparisons)
    rows_verified = (
        not findings.problem
        and bool(tables)
        and all(table["status"] == "verified" for table in tables)
        and findings.besides.is_data_equal
    )
    last, resumed = findings.last, [c.moment for c in findings.comparisons if c.is_resumed and c.moment]
    is_aligned = all(moment.is_aligned for moment in resumed) and (
        last.alignment == "aligned" if last is not None else bool(resumed)
    )
    shown = differences[: options.max_differences]
    return {
        "verified": rows_verified
        and not findings.besides.is_failure
        and (options.objects != "compare" or not findings.objects.is_failure),
        "rows_verified": rows_verified,
        "objects": findings.objects.as_data(options.max_differences),
        "mode": findings.mode,
        "mode_reason": findings.mode_reason or findings.problem if findings.mode != options.mode else "",
        "epochs": findings.history,
        "consistency": "aligned" if is_aligned else "unaligned",
        "consistency_reason": findings.problem or (last.reason if last is not None else ""),
        "partial": bool(options.tables),
        "rounds": findings.rounds,
        "lsn": last.lsn if last is not None else None,
        "resumed": findings.resuming.as_data(findings.comparisons),
        "waited_seconds": round(last.waited_s, 3) if last is not None else None,
        "started_at": findings.started_at,
        "tables": tables,
        "differences": [difference.as_data() for difference in shown],
        "in_doubt": [
            {"schema": comparison.unit.schema, "table": comparison.unit.name, "key": findings.disclosure.key(key)}
            for comparison in findings.comparisons
            for key in comparison.doubtful
        ],
        "differences_truncated": differing > len(shown),
        "repair": findings.mended.as_data() if findings.mended is not None else {},
        **findings.besides.as_data(options.max_differences),
        "left_out": findings.left_out,
        "settings": {**findings.rules.as_data(), "bits": 128 if options.strong else 64} if findings.rules else {},
    }


def _refused(refusal: Refusal) -> dict[str, Any]:
    return {
        "schema": refusal.schema,
        "name": refusal.name,
        "status": refusal.status,
        "reason": refusal.reason,
        "source_rows": None,
        "target_rows": None,
        "differing_rows": 0,
        "in_doubt": 0,
        "rounds": 0,
        "method": None,
        "not_compared": [],
        "mapped": [],
        "seconds": 0.0,
        "bytes": None,
        **NEVER,
        "resumed": False,
        "ranges": [],
    }


def _not_verified(data: dict[str, Any], besides: Besides) -> MigrationError:
    bad = [table for table in data["tables"] if table["status"] != "verified"]
    sequences = [item for item in data["sequences"] if item["status"] in ("different", "unverified")]
    counts = Counter(table["status"] for table in bad)
    parts = [f"{count} of {len(data['tables'])} tables {status}" for status, count in sorted(counts.items())]
    if sequences:
        parts.append(f"{len(sequences)} of {len(data['sequences'])} sequences not equal")
    named = [f"{item['schema']}.{item['name']} ({item['status']}: {item['reason']})" for item in [*bad, *sequences]]
    objects = data["objects"]
    if objects["different_count"]:
        parts.append(f"{objects['different_count']} objects differ")
    elif objects["status"] == "error":
        parts.append(objects["reason"])
    named += [
        f"{item['kind']} {item['name']} ({item['what']}{': ' if item['attributes'] else ''}{', '.join(item['attributes'])})"
        for item in objects["different"]
    ]
    for words, names in besides.problems():
        parts.append(words)
        named += names
    first = named[:NAMED_IN_MESSAGE]
    if len(named) > len(first):
        first.append(f"and {len(named) - len(first)} more, in tables, sequences and objects")
    return MigrationError(
        "not_verified",
        "Source and target are not proven equal: "
        + ", ".join(parts or ["no table was compared"])
        + ". "
        + "; ".join(first)
        + ("." if first else ""),
        "Read differences for rows by key, and the reason of each table. Rows that differ need repair or a new copy; an"
        " unverified table needs its reason removed (lag, privileges, row security, a type). An object that differs was changed"
        " on one side since it was migrated: change the other side alike, or give objects: report. Then verify again.",
        {"tables": dict(counts), "differences": len(data["differences"]), "objects": objects["different_count"]},
    )
