# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the servers say about the replication itself: is it running, what has it stumbled over?

Equal rows say that nothing was lost up to a position in WAL. That what comes after it will arrive, too, takes a
subscription that is enabled, and a slot that is active and has lost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..driver import Row, psycopg
from ..errors import Redactor
from ..ledger import Stream
from ..session import Session
from ..slots import slot_is_usable

# An apply worker that had an error is started again after wal_retrieve_retry_interval, five seconds unless set otherwise.
PATIENCE_S = 10.0
_POLL_S = 0.5

_SLOTS = """
SELECT pg_catalog.to_jsonb(s) AS slot FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = ANY (%(slots)s)
"""

# The columns differ by version: errors are counted from 15 on, conflicts from 18 on.
_SUBSCRIPTIONS = """
SELECT s.oid::bigint AS oid, s.subname::text AS name, s.subenabled AS is_enabled, {skipped} AS skipped, {counters} AS counters
  FROM pg_catalog.pg_subscription AS s
 WHERE s.subname = ANY (%(names)s)
   AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""
_COUNTERS = """(
  SELECT pg_catalog.to_jsonb(c) FROM pg_catalog.pg_stat_subscription_stats AS c WHERE c.subid = s.oid)"""
_SKIPPED = "CASE WHEN s.subskiplsn <> '0/0' THEN s.subskiplsn::text END"

# Applied without an error although the row was not there: what was to be changed had been lost before.
LOSSES = ("update_missing", "delete_missing", "update_deleted")


@dataclass(frozen=True)
class StreamEvidence:
    """One stream as both sides show it; None is unknown. ``conflicts`` are counts by PostgreSQL's names for them."""

    number: int
    subscription: str
    slot: str
    is_enabled: bool | None
    is_active: bool | None
    wal_status: str | None
    apply_errors: int | None
    sync_errors: int | None
    new_errors: int | None
    conflicts: Mapping[str, int] | None
    counted_since: str | None
    problems: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "number": self.number,
            "subscription": self.subscription,
            "slot": self.slot,
            "enabled": self.is_enabled,
            "active": self.is_active,
            "wal_status": self.wal_status,
            "apply_errors": self.apply_errors,
            "sync_errors": self.sync_errors,
            "new_errors": self.new_errors,
            "conflicts": None if self.conflicts is None else dict(self.conflicts),
            "counted_since": self.counted_since,
        }


@dataclass(frozen=True)
class Evidence:
    """All streams. ``status`` is running, broken, unknown, or none where there is nothing to be running (yet)."""

    status: str
    reason: str = ""
    streams: Sequence[StreamEvidence] = ()
    warnings: Sequence[str] = ()

    @property
    def is_failure(self) -> bool:
        """True unless replication is known to run, or there is none to be running."""
        return self.status not in ("running", "none")

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "status": self.status,
            "reason": self.reason,
            "streams": [stream.as_data() for stream in self.streams],
            "warnings": list(self.warnings),
        }


NONE = Evidence("none", "no stream connects the two sides")


@dataclass
class Witness:
    """Asks both servers when a run begins, and when it ends. Streams without a subscription yet are left out."""

    source: Session
    target: Session
    streams: Sequence[Stream]
    redactor: Redactor
    _before: dict[str, Row] = field(default_factory=dict)

    def begin(self) -> None:
        """Take down the counters, so that new errors can be told from old ones."""
        self.streams = [stream for stream in self.streams if stream.state == "subscribed"]
        if self.streams:
            self._before = self._subscriptions()

    def end(self) -> Evidence:
        """Look again; a slot that is not active for a moment is given some seconds."""
        if not self.streams:
            return NONE
        deadline = time.monotonic() + PATIENCE_S
        try:
            while True:
                slots = self._slots()
                waiting = [s for s in self.streams if not slots.get(s.slot, {"active": True}).get("active")]
                if not waiting or time.monotonic() >= deadline:
                    break
                time.sleep(_POLL_S)
            found = self._subscriptions()
        except psycopg.Error as error:
            said = self.redactor.text(error.diag.message_primary or str(error)).strip()
            return Evidence("unknown", f"the servers could not be asked about replication: {said}")
        return conclude([judged(stream, slots.get(stream.slot), self._before, found) for stream in self.streams])

    def _slots(self) -> dict[str, dict[str, Any]]:
        rows = self.source.rows(_SLOTS, {"slots": [stream.slot for stream in self.streams]})
        return {row["slot"]["slot_name"]: dict(row["slot"]) for row in rows}

    def _subscriptions(self) -> dict[str, Row]:
        is_counted = self.target.major >= 15
        query = _SUBSCRIPTIONS.format(
            skipped=_SKIPPED if is_counted else "NULL::text", counters=_COUNTERS if is_counted else "NULL::jsonb"
        )
        rows = self.target.rows(query, {"names": [stream.subscription for stream in self.streams]})
        return {row["name"]: row for row in rows}


def judged(
    stream: Stream, slot: Mapping[str, Any] | None, before: Mapping[str, Row], after: Mapping[str, Row]
) -> StreamEvidence:
    """Return what one stream's slot and subscription say. Pure."""
    found = after.get(stream.subscription)
    problems: list[str] = []
    if found is None:
        problems.append(f"the subscription {stream.subscription} does not exist on the target")
    elif not found["is_enabled"]:
        problems.append(f"the subscription {stream.subscription} is disabled: ALTER SUBSCRIPTION ... ENABLE")
    if found is not None and found["skipped"]:
        problems.append(f"the subscription {stream.subscription} is told to skip the transaction at {found['skipped']}")
    if slot is None:
        problems.append(f"the replication slot {stream.slot} does not exist on the source")
    elif not slot_is_usable(slot):
        problems.append(f"the replication slot {stream.slot} has lost WAL that the target needs")
    elif not slot.get("active"):
        problems.append(f"no WAL sender serves the replication slot {stream.slot}: the target's server log says why")
    counters = found["counters"] if found is not None else None
    earlier = before.get(stream.subscription)
    return StreamEvidence(
        number=stream.number,
        subscription=stream.subscription,
        slot=stream.slot,
        is_enabled=None if found is None else found["is_enabled"],
        is_active=None if slot is None else slot.get("active"),
        wal_status=None if slot is None else slot.get("wal_status"),
        apply_errors=None if counters is None else counters.get("apply_error_count"),
        sync_errors=None if counters is None else _sync_errors(counters),
        new_errors=_new_errors(earlier["counters"] if earlier is not None else None, counters),
        conflicts=_conflicts(counters),
        counted_since=None if counters is None else counters.get("stats_reset"),
        problems=tuple(problems),
    )


def _sync_errors(counters: Mapping[str, Any]) -> int | None:
    count: int | None = counters.get(
        "sync_error_count", counters.get("sync_table_error_count")
    )  # the latter from 19 on
    return count


def _new_errors(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> int | None:
    """Return the errors since the run began; None when they are not counted, or were set back meanwhile."""
    if before is None or after is None or before.get("stats_reset") != after.get("stats_reset"):
        return None
    return sum(
        (counters.get("apply_error_count") or 0) * sign + (_sync_errors(counters) or 0) * sign
        for counters, sign in ((after, 1), (before, -1))
    )


def _conflicts(counters: Mapping[str, Any] | None) -> dict[str, int] | None:
    if counters is None:
        return None
    found = {key[len("confl_") :]: count for key, count in sorted(counters.items()) if key.startswith("confl_")}
    return found or None


def conclude(streams: Sequence[StreamEvidence]) -> Evidence:
    """Put it into words. Pure."""
    warnings: list[str] = []
    for stream in streams:
        if stream.new_errors:
            warnings.append(
                f"the subscription {stream.subscription} had {stream.new_errors} apply or sync error(s) while it was"
                " compared; the target's server log has their text"
            )
        lost = {name: count for name in LOSSES if (count := (stream.conflicts or {}).get(name))}
        if lost:
            since = f" since {stream.counted_since}" if stream.counted_since else " since it was created"
            counts = ", ".join(f"{count} {name}" for name, count in lost.items())
            warnings.append(
                f"the subscription {stream.subscription} met conflicts{since}: {counts}. Each one is an UPDATE or DELETE"
                " whose row the target did not have: it was lost there before, or somebody else writes to the target."
                " With writes stopped, verify in mode fenced shows whether anything of it is left"
            )
    problems = [problem for stream in streams for problem in stream.problems]
    return Evidence("broken" if problems else "running", "; ".join(problems), tuple(streams), tuple(warnings))
