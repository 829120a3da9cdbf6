# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How far the target is behind: samples of slots and subscriptions, and what they mean.

Lag is the source's WAL *insert* position minus the slot's ``confirmed_flush_lsn``: the write position misses
asynchronous commits, and the positions of pg_stat_replication miss WAL that was never sent. What cannot be measured is
None, never 0.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .gates import Limits
from .session import Session

# How often positions are read inside a window; lag in seconds is interpolated between two readings.
TICK_S = 0.2

_SLOTS = """
SELECT s.slot_name AS slot, pg_catalog.to_jsonb(s) AS raw,
       (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS insert_position,
       (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS confirmed_position,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), s.restart_lsn)::bigint AS retained_bytes,
       r.state AS walsender_state
  FROM pg_catalog.pg_replication_slots AS s
  LEFT JOIN pg_catalog.pg_stat_replication AS r ON r.pid = s.active_pid
 WHERE s.slot_name = ANY (%(slots)s)
"""


@dataclass(frozen=True)
class SlotSample:
    """One reading of one slot. Positions are WAL byte positions; ``at_s`` is a monotonic clock."""

    at_s: float
    slot: str
    raw: Mapping[str, Any]
    insert_position: int
    confirmed_position: int | None
    retained_bytes: int | None
    walsender_state: str | None

    @property
    def lag_bytes(self) -> int | None:
        """WAL not yet confirmed by the target, or None when the slot has no position."""
        return None if self.confirmed_position is None else max(0, self.insert_position - self.confirmed_position)

    @property
    def is_streaming(self) -> bool:
        """True while a walsender serves the slot. Its state is hidden from roles without pg_read_all_stats."""
        return bool(self.raw.get("active")) and self.walsender_state in (None, "streaming", "catchup")


def read_slots(source: Session, slots: Sequence[str]) -> dict[str, SlotSample]:
    """Read the named slots once; a slot that is not there is missing from the answer."""
    at_s = time.monotonic()
    return {row["slot"]: SlotSample(at_s=at_s, **row) for row in source.rows(_SLOTS, {"slots": list(slots)})}


def watch(source: Session, slots: Sequence[str], window_s: float) -> list[dict[str, SlotSample]]:
    """Read the named slots every :data:`TICK_S` for ``window_s`` seconds; return the readings in order."""
    readings = [read_slots(source, slots)]
    end = time.monotonic() + window_s
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(TICK_S, left))
        readings.append(read_slots(source, slots))
    return readings


def lag_seconds(history: Sequence[tuple[float, int]], confirmed: int) -> float | None:
    """Return how long ago the source stood where the target stands now.

    ``history`` holds (seconds, insert position) in order, the last one now. Zero bytes is zero seconds. None when the
    target's position is older than the history.
    """
    now_s, now_position = history[-1]
    if confirmed >= now_position:
        return 0.0
    for (before_s, before), (after_s, after) in reversed(list(pairwise(history))):
        if before <= confirmed < after:
            passed = (confirmed - before) / (after - before)
            return now_s - (before_s + passed * (after_s - before_s))
    return None


@dataclass(frozen=True)
class StreamHealth:
    """Everything that decides one stream's state, gathered over a window.

    ``problems`` are facts that no waiting will mend; ``troubles`` are facts that keep the stream from moving;
    ``lag_seconds`` is None when unknown; ``tables_waiting`` counts tables that are not in state ``r``.
    """

    number: int
    problems: tuple[str, ...]
    troubles: tuple[str, ...]
    tables_waiting: int
    lag_bytes: tuple[int | None, ...]
    lag_seconds: float | None
    has_progressed: bool

    @property
    def last_lag_bytes(self) -> int | None:
        """The lag of the last reading."""
        return self.lag_bytes[-1] if self.lag_bytes else None


def judge(streams: Sequence[StreamHealth], limits: Limits) -> tuple[str, list[str]]:
    """Return the state word of a migration with subscriptions, and why it is not ``in_sync``.

    Pure. A state is ``in_sync`` only on positive evidence from every stream during the whole window.
    """
    problems = [f"stream {s.number}: {text}" for s in streams for text in s.problems]
    if problems or not streams:
        return "broken", problems or ["the migration has no stream"]
    stalled = [f"stream {s.number}: {text}" for s in streams for text in s.troubles]
    behind: list[str] = []
    for health in streams:
        reasons = _behind(health, limits)
        behind += [f"stream {health.number}: {text}" for text in reasons]
        if reasons and not health.has_progressed and not health.tables_waiting:
            stalled.append(f"stream {health.number}: the target confirmed nothing new while the source moved on")
    if stalled:
        return "stalled", stalled + behind
    return ("catching_up", behind) if behind else ("in_sync", [])


def _behind(health: StreamHealth, limits: Limits) -> list[str]:
    reasons = []
    if health.tables_waiting:
        reasons.append(f"{health.tables_waiting} table(s) are still being copied")
    known = [value for value in health.lag_bytes if value is not None]
    if len(known) < len(health.lag_bytes) or not known:
        reasons.append("the lag in bytes is not known")
    elif max(known) > limits.max_lag_bytes:
        reasons.append(f"{max(known)} bytes behind")
    if health.lag_seconds is None:
        reasons.append("the lag in seconds is not known: it is longer than the window that was watched")
    elif health.lag_seconds > limits.max_lag_seconds:
        reasons.append(f"{health.lag_seconds:.1f} seconds behind")
    return reasons
