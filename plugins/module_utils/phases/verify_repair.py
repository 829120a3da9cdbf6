# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Repair as a step of verify: which of the proven differences are repaired, or written down, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..driver import psycopg
from ..migration import Migration
from ..session import Session
from ..verification.comparison import Comparison
from ..verification.naming import Difference
from ..verification.readers import Connections
from ..verification.repair import Job, Repairs, Written
from ..verification.repair_ground import Ground, may_be_replica, read_grounds, refusal
from ..verification.repair_origin import origin
from ..verification.repair_script import Script
from ..verification.scan import Recipe

PASSES = 3  # a row may be changed while it is repaired, and then differ once more


@dataclass
class Mended:
    """What became of the differences; by key where there is one, so that a later pass has the last word."""

    is_requested: bool
    is_check_mode: bool
    max_repairs: int
    max_rows: int
    script_path: str | None = None
    reason: str = ""
    tried: int = 0
    rows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    unlisted: int = 0
    has_origin: bool = False
    is_replica: bool = False
    script: Script | None = None

    @property
    def does_write(self) -> bool:
        """True when the target may be changed."""
        return self.is_requested and not self.is_check_mode

    @property
    def changed(self) -> bool:
        """True when rows of the target were changed, or would be."""
        return any(row["status"] in ("repaired", "would_be_repaired", "differs_again") for row in self.rows.values())

    def note(self, difference: Difference, status: str, reason: str = "") -> None:
        """Note what became of a difference; a later pass has the last word on the same key."""
        key = (difference.schema, difference.table, *difference.key.items())
        if not difference.key:
            key = (*key, str(len(self.rows)))
        if key not in self.rows and len(self.rows) >= self.max_repairs + self.max_rows:
            self.unlisted += 1
            return
        self.rows[key] = {
            "schema": difference.schema,
            "table": difference.table,
            "kind": difference.kind,
            "key": dict(difference.key),
            "columns": list(difference.columns),
            "status": status,
            "reason": reason,
        }

    def look_again(self, comparisons: Sequence[Comparison]) -> None:
        """Mark what was repaired and differs all the same."""
        for comparison in comparisons:
            for difference in comparison.differences:
                row = self.rows.get((difference.schema, difference.table, *difference.key.items()))
                if difference.key and row is not None and row["status"] == "repaired":
                    row.update(
                        status="differs_again", reason="it was repaired, and differed again when it was verified"
                    )

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        rows = sorted(self.rows.values(), key=lambda row: (row["schema"], row["table"], tuple(row["key"].values())))
        done = sum(row["status"] in ("repaired", "would_be_repaired") for row in rows)
        return {
            "requested": self.is_requested,
            "reason": self.reason,
            "repaired": done,
            "not_repaired": len(rows) - done + self.unlisted,
            "as_replica": self.is_replica,
            "with_origin": self.has_origin,
            "sql_statements": None if self.script is None else self.script.statements,
            "rows": rows[: self.max_rows],
            "rows_truncated": len(rows) > self.max_rows or self.unlisted > 0,
        }

    def diff(self) -> dict[str, Any]:
        """Return how many rows of each table differed, and how many do when those that were repaired no longer do."""
        before: dict[str, int] = {}
        after: dict[str, int] = {}
        for row in self.rows.values():
            name = f"{row['schema']}.{row['table']}"
            before[name] = before.get(name, 0) + 1
            after[name] = after.get(name, 0) + (row["status"] not in ("repaired", "would_be_repaired"))
        return {"before": {"rows that differ": before}, "after": {"rows that differ": after}}


@dataclass(frozen=True)
class Tools:
    """What a pass works with."""

    source: Session
    control: Session
    target: Session
    repairs: Repairs


@dataclass(frozen=True)
class Present:
    """Where the comparison stands: the recipe of its hashes, and why nothing of it is a proof, '' when it may be."""

    recipe: Recipe | None
    problem: str


def mend_until_equal(
    migration: Migration,
    connections: Connections,
    mended: Mended,
    comparisons: Sequence[Comparison],
    present: Callable[[], Present],
    compare_again: Callable[[Sequence[Comparison]], Sequence[Comparison]],
    say: Callable[[str], None],
) -> str:
    """Repair, and compare the repaired tables again, until nothing more can be repaired; return what interrupted it."""
    todo = comparisons
    with ExitStack() as stack:
        if mended.script_path is not None:
            mended.script = stack.enter_context(Script(mended.script_path))
        for _pass in range(PASSES):
            now = present()
            if now.problem or now.recipe is None:
                mended.reason = now.problem
                break
            say("repairing" if mended.does_write else "looking at what could be repaired")
            try:
                touched = mend(migration, connections, now.recipe, mended, todo)
            except psycopg.Error as error:
                said = migration.redactor.text(error.diag.message_primary or str(error)).strip()
                mended.reason = f"the repair was interrupted: {said}"
                return mended.reason
            if not touched:
                break
            todo = compare_again(touched)
            mended.look_again(todo)
    return ""


def mend(
    migration: Migration, connections: Connections, recipe: Recipe, mended: Mended, comparisons: Sequence[Comparison]
) -> list[Comparison]:
    """Repair what is proven, or write it down; return the tables in which rows were repaired."""
    found = [comparison for comparison in comparisons if comparison.differences]
    if not found:
        return []
    source, control = connections.open("source", "repair"), connections.open("source", "repair control")
    target = connections.open("target", "repair", read_only=not mended.does_write)
    try:
        mended.is_replica = may_be_replica(target)
        grounds = read_grounds(target, [comparison.unit for comparison in found])
        with ExitStack() as stack:
            if mended.does_write:
                mended.has_origin = stack.enter_context(origin(target, migration.name))
            said: set[str] = set()

            def applied(job: Job, written: Written) -> None:
                if written.shown not in said:
                    said.add(written.shown)
                    target.log.add("target", written.shown)

            repairs = Repairs(source, control, target, recipe, is_replica=mended.is_replica, applied=applied)
            tools = Tools(source, control, target, repairs)
            return [
                comparison
                for comparison in found
                if _mend_table(tools, mended, comparison, grounds.get((comparison.unit.schema, comparison.unit.name)))
            ]
    finally:
        for session in (source, control, target):
            connections.forget(session)


def _mend_table(tools: Tools, mended: Mended, comparison: Comparison, ground: Ground | None) -> bool:
    """Mend one table; return whether a row of it was repaired."""
    jobs: list[Job] = []
    for difference in comparison.differences:
        if difference.mending is None or not difference.mending.steps:
            mended.note(difference, "not_repaired", "it is not proven between aligned snapshots")
        elif mended.tried >= mended.max_repairs:
            mended.note(difference, "not_repaired", f"max_repairs is {mended.max_repairs}")
        else:
            mended.tried += 1
            jobs.append(Job(len(jobs), difference, difference.mending))
    unit = comparison.unit
    if mended.script is not None and ground is not None and jobs:
        problem = refusal(ground, is_replica=True)
        if problem:
            _note_all(mended, jobs, "not_repaired", problem)
            return False
        with mended.script.table(unit, ground):
            for job, reason, written in tools.repairs.preview(unit, ground, jobs):
                mended.note(job.difference, "not_repaired" if reason else "written", reason)
                mended.script.add(job.difference, [] if reason else written, tools.target.connection)
    if not mended.is_requested or not jobs:
        return False
    problem = refusal(ground, is_replica=mended.is_replica)
    if problem or ground is None:
        _note_all(mended, jobs, "not_repaired", problem)
        return False
    if not mended.does_write:
        for job, reason, written in tools.repairs.preview(unit, ground, jobs):
            mended.note(job.difference, "not_repaired" if reason else "would_be_repaired", reason)
            for each in [] if reason else written:
                if not tools.target.log.entries or tools.target.log.entries[-1] != f"target: {each.shown}":
                    tools.target.log.add("target", each.shown)
        return False
    reasons = tools.repairs.apply(unit, ground, jobs)
    for job in jobs:
        reason = reasons[job.number]
        mended.note(job.difference, "not_repaired" if reason else "repaired", reason)
    return not all(reasons.values())


def _note_all(mended: Mended, jobs: Sequence[Job], status: str, reason: str) -> None:
    for job in jobs:
        mended.note(job.difference, status, reason)
