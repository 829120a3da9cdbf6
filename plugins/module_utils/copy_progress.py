# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How far an initial copy is: one look at the ledger and at the target's progress views, as numbers with fixed names.

Init's events, a run that follows another one, and status all tell these numbers, from whichever machine.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import ledger, table_sync
from .driver import Row
from .gates import RATE_SPAN_S
from .ledger import Record, Relation
from .progress import Event, Progress
from .session import Session

# A table that several workers copy at the same time has a row for each of them.
_RUNNING = """
SELECT n.nspname AS schema, c.relname AS name,
       sum(p.tuples_processed)::bigint AS rows, sum(p.bytes_processed)::bigint AS bytes
  FROM pg_catalog.pg_stat_progress_copy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE p.datname = pg_catalog.current_database() AND p.command = 'COPY FROM'
 GROUP BY n.nspname, c.relname
 ORDER BY n.nspname, c.relname
"""

_BUILDS = """
SELECT count(*) AS indexes, count(*) FILTER (WHERE b.state = 'done') AS built
  FROM seren_migrator.index_build AS b WHERE b.migration_id = %(id)s
"""

# PostgreSQL tells the index's OID for CREATE INDEX CONCURRENTLY and REINDEX only.
_BUILDING = """
SELECT n.nspname AS schema, c.relname AS "table", i.relname AS name, p.phase,
       p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total
  FROM pg_catalog.pg_stat_progress_create_index AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_class AS i ON i.oid = p.index_relid
 WHERE p.datname = pg_catalog.current_database()
 ORDER BY n.nspname, c.relname, p.pid
"""

# The ledger's last steps, in their order, and what they are called.
_LAST_STEPS = {
    "foreign_keys": "constraints",
    "sequences": "sequences",
    "materialized_views": "materialized_views",
    "analyze": "statistics",
    "security_labels": "database",
    "event_triggers": "database",
    "database": "database",
}


# What the copied tables weighed on the way is taken for all when they are this part of the whole: a tenth.
TELLING_SHARE = 10


@dataclass(frozen=True)
class RunningCopy:
    """A table that is being copied: rows and bytes of the COPY stream so far, and its size on the source's disk."""

    schema: str
    name: str
    rows: int
    bytes: int
    estimated_bytes: int | None


@dataclass(frozen=True)
class BuildingIndex:
    """An index that is being built; ``done`` of ``total`` blocks, or tuples, of this phase. None is unknown."""

    schema: str
    table: str
    name: str | None
    phase: str
    done: int | None
    total: int | None


@dataclass(frozen=True)
class CopyProgress:
    """One look, taken at ``at_s`` on the monotonic clock. Rows and bytes include those of tables being copied.

    ``remaining_bytes`` is what the tables that are not copied yet will weigh on the way, judged by those that are;
    None when there is no telling. ``indexes`` and ``indexes_built`` are None, and left out, where the ledger counts none.
    ``uncopied`` are schema and name of each table whose rows are not committed.
    """

    at_s: float
    step: str | None
    stream: int | None
    tables: int
    tables_copied: int
    rows_copied: int
    bytes_copied: int
    estimated_bytes: int
    remaining_bytes: int | None
    indexes: int | None = None
    indexes_built: int | None = None
    running: tuple[RunningCopy, ...] = ()
    building: tuple[BuildingIndex, ...] = ()
    uncopied: frozenset[tuple[str, str]] = frozenset()

    @property
    def text(self) -> str:
        """Say it in a few words."""
        words = [f"{self.tables_copied} of {self.tables} table(s) copied"]
        if self.running:
            words.append(f"{len(self.running)} being copied")
        if self.building:
            words.append(f"{len(self.building)} index(es) being built")
        return ", ".join(words)

    def numbers(self, earlier: CopyProgress | None = None) -> dict[str, Any]:
        """Return the numbers of an event; rate and time left are those since ``earlier``, unknown without it."""
        rate = None if earlier is None else rate_between(earlier, self)
        left = None if not rate or not self.remaining_bytes else self.remaining_bytes / rate
        indexes = {} if self.indexes is None else {"indexes": self.indexes, "indexes_built": self.indexes_built}
        return {
            "step": self.step,
            "stream": self.stream,
            "tables": self.tables,
            "tables_copied": self.tables_copied,
            "rows_copied": self.rows_copied,
            "bytes_copied": self.bytes_copied,
            "estimated_bytes": self.estimated_bytes,
            "rate_bytes_per_second": None if rate is None else round(rate),
            "eta_seconds": None if left is None else round(left),
            **indexes,
            "running": [asdict(item) for item in self.running],
            "building": [asdict(item) for item in self.building],
        }


class Pace:
    """The looks of the last minute, from which rate and time left are measured."""

    def __init__(self) -> None:
        self._looks: deque[CopyProgress] = deque()
        self._last: CopyProgress | None = None

    def numbers(self, look: CopyProgress) -> dict[str, Any]:
        """Take one more look into account and return its numbers."""
        whole = look if self._last is None else with_ended_copies(self._last, self._looks[-1], look)
        self._last = look
        self._looks.append(whole)
        while len(self._looks) > 2 and look.at_s - self._looks[0].at_s > RATE_SPAN_S:
            self._looks.popleft()
        return whole.numbers(self._looks[0])


class Ticker:
    """Tells every ``interval_s`` seconds how far the copy is; for a loop that has something else to wait for."""

    def __init__(self, progress: Progress, interval_s: float) -> None:
        self._progress = progress
        self._interval_s = interval_s
        self._begin = self._next = time.monotonic()
        self._pace = Pace()

    @property
    def seconds_left(self) -> float:
        """Seconds until something is to be told again; 0 when it is time."""
        return max(self._next - time.monotonic(), 0.0)

    def tell(self, look: CopyProgress, prefix: str = "", more: Mapping[str, Any] | None = None) -> None:
        """Tell this look, with ``prefix`` before its text and ``more`` numbers."""
        elapsed = {"elapsed_seconds": round(time.monotonic() - self._begin, 1)}
        self._progress(Event("init", prefix + look.text, {**self._pace.numbers(look), **elapsed, **(more or {})}))
        self._next = time.monotonic() + self._interval_s


def with_ended_copies(seen: CopyProgress, told: CopyProgress, later: CopyProgress) -> CopyProgress:
    """Return ``later`` with the copies that are neither running any more nor committed.

    Between the end of its COPY and its commit a table is in neither place, for a moment, or while its indexes are built
    in the same transaction. ``seen`` is the look before, ``told`` what was made of it in the same way.
    """
    running = {(item.schema, item.name) for item in later.running}
    building = {(item.schema, item.table) for item in later.building}
    just_now = {(item.schema, item.name) for item in seen.running}
    ended = [
        item for item in told.running if (item.schema, item.name) in (later.uncopied - running) & (just_now | building)
    ]
    gained = sum(item.bytes for item in ended)
    return replace(
        later,
        rows_copied=later.rows_copied + sum(item.rows for item in ended),
        bytes_copied=later.bytes_copied + gained,
        remaining_bytes=None if later.remaining_bytes is None else max(later.remaining_bytes - gained, 0) or None,
        running=tuple(sorted([*later.running, *ended], key=lambda item: (item.schema, item.name))),
    )


def rate_between(earlier: CopyProgress, later: CopyProgress) -> float | None:
    """Return bytes per second between two looks, None when it cannot be told.

    It cannot when bytes were taken back in between: a table is copied anew, or its COPY has ended and not committed.
    """
    lasting = later.at_s - earlier.at_s
    gained = later.bytes_copied - earlier.bytes_copied
    return gained / lasting if lasting > 0 and gained >= 0 else None


def look(target: Session, name: str) -> tuple[Record, CopyProgress] | None:
    """Look at the migration ``name`` now; None when the ledger does not know it. Changes nothing."""
    # The ledger is read after the views: a table that is between the two is then in one of them, or in both.
    running, building, there = target.rows_of(_RUNNING, _BUILDING, ledger.EXISTS)
    record = ledger.read(target, name) if there[0]["found"] else None
    if record is None:
        return None
    record = table_sync.observed(target, record)
    return record, summarise(record, running, building, time.monotonic(), target.row(_BUILDS, {"id": record.id}))


def summarise(
    record: Record, running: Sequence[Row], building: Sequence[Row], at_s: float, builds: Row | None = None
) -> CopyProgress:
    """Put together what the ledger and the two views said. Other people's copies and indexes are left out.

    ``builds`` has the number of ``indexes``, and of those that are ``built``; None where they are not known.
    """
    indexes, built = (builds["indexes"], builds["built"]) if builds else (None, None)
    wanted = {(item.schema, item.name): item for item in record.relations if item.state != "skipped"}
    copied = [item for item in wanted.values() if item.state == "copied"]
    # What pieces of a table have brought counts for as long as somebody is bringing the others.
    now = {
        key: RunningCopy(*key, item.rows or 0, item.bytes, item.estimated_bytes)
        for key, item in wanted.items()
        if item.state != "copied" and item.bytes and record.is_held
    }
    for row in running:
        key = (row["schema"], row["name"])
        if key in wanted and wanted[key].state != "copied":
            before = now.get(key, RunningCopy(*key, 0, 0, wanted[key].estimated_bytes))
            now[key] = replace(before, rows=before.rows + (row["rows"] or 0), bytes=before.bytes + (row["bytes"] or 0))
    return CopyProgress(
        at_s=at_s,
        step=current_step(record, has_indexes_left=indexes != built),
        stream=max((stream.number for stream in record.live_streams), default=None),
        tables=len(wanted),
        tables_copied=len(copied),
        rows_copied=sum(item.rows or 0 for item in copied) + sum(item.rows for item in now.values()),
        bytes_copied=sum(item.bytes or 0 for item in copied) + sum(item.bytes for item in now.values()),
        estimated_bytes=sum(item.estimated_bytes or 0 for item in wanted.values()),
        remaining_bytes=_remaining(list(wanted.values()), now),
        indexes=indexes,
        indexes_built=built,
        running=tuple(now[key] for key in sorted(now)),
        building=tuple(_build(row) for row in building if (row["schema"], row["table"]) in wanted),
        uncopied=frozenset(key for key, item in wanted.items() if item.state != "copied"),
    )


def current_step(record: Record, *, has_indexes_left: bool) -> str | None:
    """Return what init is doing, or was when it was interrupted; None between two steps, and when it has finished."""
    started = {name for name, step in record.steps.items() if step.state == "started"}
    if not record.is_done("pre_data"):
        return "schema" if record.is_done("roles") else "roles"
    if "large_objects" in started:
        return "large_objects"
    if record.pending or table_sync.joining(record):
        return "copy"
    if has_indexes_left:
        return "indexes"
    if not record.is_done("post_data"):
        return "constraints"
    return next((word for name, word in _LAST_STEPS.items() if name in started), None)


def _remaining(wanted: Sequence[Relation], running: Mapping[tuple[str, str], RunningCopy]) -> int | None:
    """Return the bytes still to come: what is on the disk, times what the copied tables weighed for each byte there."""
    measured = [item for item in wanted if item.state == "copied" and item.bytes and item.estimated_bytes]
    on_disk = sum(item.estimated_bytes or 0 for item in measured)
    # A few small tables, half-empty pages, say nothing about the rest.
    is_telling = on_disk * TELLING_SHARE >= sum(item.estimated_bytes or 0 for item in wanted) and on_disk > 0
    weight = sum(item.bytes or 0 for item in measured) / on_disk if is_telling else 1.0
    left = 0.0
    for item in wanted:
        if item.state != "copied":
            current = running.get((item.schema, item.name))
            left += max((item.estimated_bytes or 0) * weight - (current.bytes if current else 0), 0.0)
    return round(left) or None


def _build(row: Row) -> BuildingIndex:
    """Tuples are counted once the table has been read, blocks while it is."""
    done, total = row["tuples_done"], row["tuples_total"]
    if not total:
        done, total = row["blocks_done"], row["blocks_total"]
    if not total:
        done = total = None
    return BuildingIndex(row["schema"], row["table"], row["name"], row["phase"], done, total)
