# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""PostgreSQL's own table synchronisation, as the target shows it: looked at, judged, explained.

What starts it, and what follows it, is in ``native_copy.py``. Source: PostgreSQL manual, "Logical Replication",
"Initial Snapshot", and the catalog pg_subscription_rel.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from . import replication
from .ledger import Record, Relation
from .partitions import JOINING
from .session import Session

Key = tuple[str, str]

# The states of pg_subscription_rel: initialize, data being copied, copy finished, synchronised, ready.
READY = "r"
_BEFORE_COPY_ENDS = ("i", "d")
# What an administrator may end, or a network may drop, now and then, is tried again by the server itself. An error that
# comes this often, over this long, without a table being finished meanwhile, comes to stay.
MAX_ERRORS = 5
ERRORS_SPAN_S = 15.0

_WORKERS = """
SELECT s.pid, s.received_lsn::text AS received, n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_stat_subscription AS s
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = s.relid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE s.subid = %(oid)s::oid AND s.pid IS NOT NULL
"""

# Counted from 15 on.
_ERRORS = """
SELECT s.apply_error_count + s.sync_error_count AS errors
  FROM pg_catalog.pg_stat_subscription_stats AS s WHERE s.subid = %(oid)s::oid
"""

_RUNNING = """
SELECT n.nspname AS schema, c.relname AS name, p.bytes_processed AS bytes, p.tuples_processed AS rows
  FROM pg_catalog.pg_stat_progress_copy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE p.datname = pg_catalog.current_database() AND p.command = 'COPY FROM' AND p.pid = ANY (%(pids)s::integer[])
"""


@dataclass(frozen=True)
class Running:
    """One table that is being copied now; rows and bytes of its COPY so far."""

    schema: str
    name: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Sample:
    """One look at a subscription. ``at_s`` is a monotonic clock.

    ``states`` maps (schema, name) to the letter of pg_subscription_rel; ``pids`` maps tables to the workers that
    synchronise them; ``apply_pid`` is None without an apply worker; ``received`` are the LSNs that the workers stand at;
    ``errors`` counts what workers have failed with, None before 15, which does not count.
    """

    at_s: float
    is_enabled: bool | None
    states: Mapping[Key, str]
    running: tuple[Running, ...]
    pids: Mapping[Key, int]
    apply_pid: int | None
    received: frozenset[str]
    errors: int | None

    @property
    def is_complete(self) -> bool:
        """True when every table is ready, and there is one."""
        return bool(self.states) and set(self.states.values()) == {READY}

    @property
    def finished(self) -> frozenset[Key]:
        """The tables that are ready: copied, and as far as the apply worker is."""
        return frozenset(key for key, state in self.states.items() if state == READY)

    @property
    def stuck(self) -> list[Key]:
        """Tables whose copy has begun and which no worker works on now."""
        return sorted(key for key, state in self.states.items() if state in ("d", "f") and key not in self.pids)

    @property
    def waiting(self) -> list[Key]:
        """Tables that no worker has taken up yet."""
        return sorted(key for key, state in self.states.items() if state == "i")


def joining(record: Record) -> list[Relation]:
    """Return the tables that a subscription is copying by itself."""
    return [relation for relation in record.relations if relation.state == JOINING]


def observed(target: Session, record: Record) -> Record:
    """Return the record with those tables copied that a subscription has finished since a runner noted the last one."""
    copying = {relation.stream for relation in joining(record)}
    finished: set[Key] = set()
    for item in record.live_streams:
        found = replication.find_subscription(target, item.subscription) if item.number in copying else None
        if found is not None:
            states = replication.subscription_tables(target, found.oid)
            finished |= {key for key, state in states.items() if state == READY}
    relations = tuple(
        replace(relation, state="copied")
        if relation.state == JOINING and (relation.schema, relation.name) in finished
        else relation
        for relation in record.relations
    )
    return replace(record, relations=relations)


def read(target: Session, subscription: str) -> Sample | None:
    """Look at a subscription of the connected database once; None when it is gone."""
    found = replication.find_subscription(target, subscription)
    if found is None:
        return None
    oid = {"oid": found.oid}
    found_workers = target.rows(_WORKERS, oid)
    pids = {(row["schema"], row["name"]): row["pid"] for row in found_workers if row["name"] is not None}
    running = target.rows(_RUNNING, {"pids": list(pids.values())}) if pids else []
    return Sample(
        at_s=time.monotonic(),
        is_enabled=found.is_enabled,
        states=replication.subscription_tables(target, found.oid),
        running=tuple(Running(**row) for row in running),
        pids=pids,
        apply_pid=next((row["pid"] for row in found_workers if row["name"] is None), None),
        received=frozenset(row["received"] for row in found_workers if row["received"]),
        errors=target.value(_ERRORS, oid) if target.major >= 15 else None,
    )


Trouble = Literal["disabled", "errors", "stalled"]


class Watch:
    """Decides from one sample after the other whether the servers still get anywhere. Pure."""

    def __init__(self, stall_timeout_s: float) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._moved_at_s: float | None = None
        self._signature: Any = None
        self._finished: frozenset[Key] = frozenset()
        self._errors = 0
        self._first_error_at_s: float | None = None

    def look(self, sample: Sample, *, is_building: bool = False) -> Trouble | None:
        """Return what is wrong, or None while there is reason to wait.

        ``is_building``: we are building an index, for which apply may have to wait; that is no standstill.
        """
        if sample.is_enabled is False:
            return "disabled"
        if self._moved_at_s is None or sample.finished != self._finished:
            self._finished, self._errors, self._first_error_at_s = sample.finished, sample.errors or 0, None
        signature = _signature(sample)
        if self._moved_at_s is None or is_building or signature != self._signature:
            self._moved_at_s, self._signature = sample.at_s, signature
        new = (sample.errors or 0) - self._errors
        if new > 0 and self._first_error_at_s is None:
            self._first_error_at_s = sample.at_s
        if (
            new >= MAX_ERRORS
            and self._first_error_at_s is not None
            and sample.at_s - self._first_error_at_s >= ERRORS_SPAN_S
        ):
            return "errors"
        return "stalled" if sample.at_s - self._moved_at_s > self.stall_timeout_s else None


def _signature(sample: Sample) -> Any:
    """Return what changes while the servers get on.

    Where the workers stand counts only once no table waits for its copy: the apply worker moves on beside tables that
    nobody copies.
    """
    copying = any(state in _BEFORE_COPY_ENDS for state in sample.states.values())
    return dict(sample.states), sample.running, None if copying else sample.received


# --- causes ----------------------------------------------------------------------------------------------------

_TARGET_LIMITS = """
SELECT (SELECT s.setting::integer FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_logical_replication_workers')
         AS workers,
       (SELECT s.setting::integer FROM pg_catalog.pg_settings AS s
         WHERE s.name = 'max_sync_workers_per_subscription') AS sync_workers,
       (SELECT s.setting::integer FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_worker_processes') AS processes,
       (SELECT count(*) FROM pg_catalog.pg_stat_subscription AS s WHERE s.pid IS NOT NULL) AS running
"""

_SOURCE_LIMITS = """
SELECT (SELECT s.setting::integer FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_replication_slots') AS slots,
       (SELECT s.setting::integer FROM pg_catalog.pg_settings AS s WHERE s.name = 'max_wal_senders') AS senders,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots_used,
       (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS senders_used
"""

# A slot is made for each table that is synchronised; it waits for every transaction that has written.
_WRITING = """
SELECT pg_catalog.array_agg(a.pid ORDER BY a.xact_start) AS pids
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
   AND a.xact_start < pg_catalog.clock_timestamp() - '10 s'::pg_catalog.interval
"""

_BLOCKED = """
SELECT pg_catalog.pg_blocking_pids(p.pid) AS blockers FROM unnest(%(pids)s::integer[]) AS p(pid)
"""


def causes(source: Session, target: Session, sample: Sample) -> list[str]:
    """Return, in words, what can be seen that keeps the workers from starting or from getting on. Changes nothing."""
    found = []
    limits = target.row(_TARGET_LIMITS) or {}
    all_taken = limits["running"] >= limits["workers"]
    if sample.apply_pid is None:
        found.append("no apply worker runs on the target")
    if limits["sync_workers"] == 0 and (sample.waiting or sample.stuck):
        found.append("max_sync_workers_per_subscription is 0 on the target")
    if all_taken:
        found.append(f"all {limits['workers']} max_logical_replication_workers of the target are taken")
    elif sample.apply_pid is None and sample.is_enabled:
        found.append(f"max_worker_processes ({limits['processes']}) of the target may be used up")
    there = source.row(_SOURCE_LIMITS) or {}
    if there["slots_used"] >= there["slots"]:
        found.append(f"all {there['slots']} max_replication_slots of the source are in use")
    if there["senders_used"] >= there["senders"]:
        found.append(f"all {there['senders']} max_wal_senders of the source are in use")
    writing = source.value(_WRITING)
    if writing and any(state in _BEFORE_COPY_ENDS for state in sample.states.values()):
        writers = ", ".join(map(str, writing[:5]))
        found.append(f"open transactions on the source hold up the tables' slots (pid {writers})")
    pids = [pid for pid in (*sample.pids.values(), sample.apply_pid) if pid is not None]
    rows = target.rows(_BLOCKED, {"pids": pids}) if pids else []
    blockers = sorted({pid for row in rows for pid in row["blockers"]} - set(pids))
    if blockers:
        found.append(f"workers on the target wait for locks of pid {', '.join(map(str, blockers[:5]))}")
    return found
