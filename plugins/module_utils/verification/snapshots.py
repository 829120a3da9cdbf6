# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Ordered snapshots: what the target's snapshot shows includes all that the source's shows, while both are written to.

An *epoch* is one such pair, with the position in WAL that lies between them and the horizon that a proof needs. Here
belong the session settings too, because values only compare when both sides print and read them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..driver import psycopg
from ..ledger import Stream
from ..session import Session

Alignment = Literal["aligned", "behind", "none"]

# SET LOCAL, so that the settings also hold behind a transaction pooler. Any user may change each of them.
# enable_sort: the planner takes every row for a group of its own and would sort wide rows.
SETTINGS = """
SELECT pg_catalog.set_config(s.name, w.value, true)
  FROM (VALUES ('extra_float_digits', '3'), ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'),
               ('TimeZone', 'UTC'), ('bytea_output', 'hex'), ('lc_monetary', 'C'), ('search_path', ''),
               ('quote_all_identifiers', 'off'), ('row_security', 'off'), ('xmloption', 'content'),
               ('standard_conforming_strings', 'on'), ('client_encoding', 'UTF8'), ('statement_timeout', '0'),
               ('lock_timeout', '2s'), ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
               ('jit', 'off'), ('synchronize_seqscans', 'off'), ('enable_sort', 'off'), ('work_mem', '64MB'))
         AS w(name, value)
  JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = pg_catalog.lower(w.name)
"""
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_EXPORT = """
SELECT pg_catalog.pg_export_snapshot() AS snapshot,
       pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()) AS xmin,
       pg_catalog.clock_timestamp() AS taken_at
"""
_SNAPSHOT_XMIN = "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot()) AS xmin"
# The insert position: a commit that a snapshot shows has its record before it, also an asynchronous one.
_POSITION = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn"
_SLOTS = """
SELECT s.slot_name AS slot, s.active AS is_active, s.confirmed_flush_lsn::text AS confirmed_flush_lsn,
       coalesce(s.confirmed_flush_lsn >= %(lsn)s::pg_catalog.pg_lsn, false) AS is_past,
       coalesce(pg_catalog.to_jsonb(s) ->> 'wal_status', '') AS wal_status
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.slot_name = ANY(%(slots)s)
"""
_NUDGE = "SELECT pg_catalog.pg_logical_emit_message(true, 'seren_migrator', 'verify') AS lsn"
_NEW_TRANSACTION_ID = "SELECT pg_catalog.txid_current() AS horizon"

NUDGE_AFTER_S = 0.25
NUDGE_EVERY_S = 2.0
INACTIVE_LIMIT_S = 30.0  # an apply worker that is not back by then will not come back by waiting
_POLL_MIN_S = 0.01
_POLL_MAX_S = 0.25


@contextmanager
def reading(session: Session, snapshot: str = "") -> Iterator[None]:
    """Run a block in a read-only REPEATABLE READ transaction with the pinned settings; it always ends in ROLLBACK.

    With ``snapshot`` the transaction sees what the exporting one sees.
    """
    with begun(session):
        if snapshot:
            # Identifiers of snapshots come from the server: digits and dashes. The command takes no parameters.
            session.connection.execute("SET TRANSACTION SNAPSHOT '" + snapshot.replace("'", "") + "'")
        session.connection.execute(SETTINGS)
        yield


@contextmanager
def begun(session: Session) -> Iterator[None]:
    """Run a block in a read-only REPEATABLE READ transaction whose first query will take its snapshot."""
    session.connection.execute(_BEGIN)
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            session.connection.execute("ROLLBACK")


@contextmanager
def following(session: Session) -> Iterator[None]:
    """Run a block in a read-only transaction with the pinned settings in which each statement sees the present."""
    session.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
    try:
        session.connection.execute(SETTINGS)
        yield
    finally:
        with suppress(psycopg.Error):
            session.connection.execute("ROLLBACK")


def prepare(session: Session) -> None:
    """Ready a new session for reading: no server-side prepared statements, and no scan that outlives its client."""
    session.connection.prepare_threshold = None
    with suppress(psycopg.Error):
        # From 14 on, where the platform can do it.
        session.connection.execute("SET client_connection_check_interval TO '2s'")


@dataclass(frozen=True)
class SlotPosition:
    """What the source says about one slot while we wait."""

    slot: str
    is_active: bool
    confirmed_flush_lsn: str | None
    is_past: bool
    wal_status: str


def all_past(seen: Sequence[SlotPosition], wanted: Sequence[str]) -> bool:
    """True when every slot exists and has confirmed the position; a missing slot or position is "not yet"."""
    return bool(wanted) and {slot.slot for slot in seen if slot.is_past} >= set(wanted)


def hopeless(seen: Sequence[SlotPosition], wanted: Sequence[str], inactive_s: float) -> str:
    """Say why waiting on cannot help, '' when it may."""
    missing = set(wanted) - {slot.slot for slot in seen}
    if missing:
        return f"replication slot {min(missing)} does not exist"
    for slot in seen:
        if slot.wal_status == "lost":
            return f"replication slot {slot.slot} has lost WAL"
        if not slot.is_past and not slot.is_active and inactive_s >= INACTIVE_LIMIT_S:
            return f"replication slot {slot.slot} has not been in use for {inactive_s:.0f} seconds"
    return ""


class Stillness(Protocol):
    """What knows whether tables were written since before an epoch's source snapshot."""

    def is_still(self, oids: Sequence[int]) -> bool:
        """Return True only when nothing that changed these tables of the source has committed since, until now."""


Place = tuple[int, str, str]  # a tuple of a heap: OID, ctid, xmin


@dataclass(frozen=True)
class Epoch:
    """A pair of snapshots that are open, or were.

    ``lsn`` lies between them; ``source_xmin``: every transaction below it had ended for the source's snapshot;
    ``horizon`` is a transaction id of the source above that of every transaction that the target's snapshot contains.
    ``alignment``: *aligned* when the target had confirmed ``lsn`` before its snapshot, *behind* when it did not in time,
    *none* when there is no stream; ``reason`` says why not aligned.

    Behind a closed gate the target's snapshot shows exactly the commits before the marker's: all of those up to ``lsn``,
    none after ``marker_lsn`` (None without a gate). The gate held the target's apply for at most ``hold_ms``.
    ``taken_at`` is the source's clock at its snapshot. ``locked`` are tuples of the source that nobody could change
    between the two snapshots; ``stillness`` is set while writes are said to have stopped.
    """

    number: int
    source_snapshot: str
    target_snapshot: str
    source_xmin: int
    lsn: str
    horizon: int
    alignment: Alignment
    reason: str
    waited_s: float
    taken_at: str = ""
    marker_lsn: str | None = None
    hold_ms: float | None = None
    locked: frozenset[Place] = frozenset()
    stillness: Stillness | None = field(default=None, compare=False)

    def is_still(self, oids: Sequence[int]) -> bool:
        """True when nothing was written to these tables of the source between the two snapshots, as far as we know."""
        return self.stillness is not None and self.alignment == "aligned" and self.stillness.is_still(oids)

    def snapshot(self, side: str) -> str:
        """Return the snapshot of one side."""
        return self.source_snapshot if side == "source" else self.target_snapshot


@dataclass(frozen=True)
class Holders:
    """The three connections of a run that hold snapshots and look at the source's present state."""

    source: Session
    control: Session
    target: Session


@contextmanager
def epoch(
    holders: Holders,
    number: int,
    streams: Sequence[Stream],
    wait_timeout_s: float,
    *,
    may_nudge: bool,
    alignment_problem: str = "",
    tick: Callable[[float], None] = lambda waited_s: None,
    stillness: Stillness | None = None,
) -> Iterator[Epoch]:
    """Open a pair of ordered snapshots: source, position, wait for every stream, target, horizon. Closed on exit.

    Without ``streams`` nothing is waited for. ``alignment_problem`` says why they cannot align although they exist.
    ``tick`` is called while it waits, with the seconds waited. Workers import the snapshots by :func:`reading`.
    ``stillness`` knows whether tables were written since before this.
    """
    with reading(holders.source):
        source_side = export(holders.source)
        lsn = str(holders.control.value(_POSITION))
        started = time.monotonic()
        alignment: Alignment = "none"
        reason = alignment_problem or "no stream to align with"
        if streams and alignment_problem:
            alignment = "behind"
        elif streams:
            reason = wait_for(
                holders.control,
                [stream.slot for stream in streams],
                lsn,
                wait_timeout_s,
                may_nudge=may_nudge,
                tick=tick,
            )
            alignment = "behind" if reason else "aligned"
        waited_s = time.monotonic() - started
        with reading(holders.target):
            yield Epoch(
                number=number,
                source_snapshot=source_side.snapshot,
                target_snapshot=export(holders.target).snapshot,
                source_xmin=source_side.xmin,
                lsn=lsn,
                horizon=new_transaction_id(holders.control),
                alignment=alignment,
                reason=reason,
                waited_s=waited_s,
                taken_at=source_side.taken_at,
                stillness=stillness,
            )


@dataclass(frozen=True)
class Exported:
    """An exported snapshot: its identifier, its xmin, and the server's clock when it was taken."""

    snapshot: str
    xmin: int
    taken_at: str


def export(session: Session) -> Exported:
    """Export the snapshot of the session's transaction."""
    row: dict[str, Any] = session.row(_EXPORT) or {}
    return Exported(str(row["snapshot"]), int(row["xmin"]), row["taken_at"].isoformat(timespec="milliseconds"))


def positions(source: Session, slots: Sequence[str], lsn: str) -> list[SlotPosition]:
    """Read where some slots stand, and whether they have confirmed ``lsn``."""
    return [SlotPosition(**row) for row in source.rows(_SLOTS, {"lsn": lsn, "slots": list(slots)})]


def wait_for(
    source: Session,
    slots: Sequence[str],
    lsn: str,
    timeout_s: float,
    *,
    may_nudge: bool,
    tick: Callable[[float], None] = lambda waited_s: None,
) -> str:
    """Wait until every slot has confirmed ``lsn``. Return '' then, else the reason with the last observation."""
    started = time.monotonic()
    active_at = started
    nudge_at = started + NUDGE_AFTER_S
    pause_s = _POLL_MIN_S
    while True:
        seen = positions(source, slots, lsn)
        if all_past(seen, slots):
            return ""
        now = time.monotonic()
        if all(slot.is_active or slot.is_past for slot in seen):
            active_at = now
        problem = hopeless(seen, slots, now - active_at)
        if not problem and now - started >= timeout_s:
            problem = f"not within {timeout_s:g} seconds"
        if problem:
            behind = next((slot for slot in seen if not slot.is_past), None)
            at = f"; {behind.slot} stands at {behind.confirmed_flush_lsn}" if behind else ""
            return f"the target has not confirmed {lsn}: {problem}{at}"
        if may_nudge and now >= nudge_at:
            nudge(source)
            nudge_at = now + NUDGE_EVERY_S
        tick(now - started)
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _POLL_MAX_S)


def nudge(source: Session) -> None:
    """Write an empty message to WAL, so that the slots of an idle system move on. Where that is refused, nothing happens.

    It commits locally, so that a synchronous standby that is absent cannot hold us.
    """
    with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction), source.transaction():
        source.connection.execute("SET LOCAL synchronous_commit TO local")
        source.connection.execute(_NUDGE)


def new_transaction_id(source: Session) -> int:
    """Take a transaction id and roll back: the upper bound of a snapshot is not enough (see the horizon of an epoch)."""
    source.connection.execute("BEGIN READ ONLY")
    try:
        return int(source.value(_NEW_TRANSACTION_ID))
    finally:
        source.connection.execute("ROLLBACK")


def current_xmin(session: Session) -> int:
    """Return the oldest transaction id that a snapshot taken now counts as running."""
    return int(session.value(_SNAPSHOT_XMIN))


def wait_until_ended(source: Session, horizon: int, timeout_s: float) -> bool:
    """Wait until every transaction below ``horizon`` has ended on the source; False when some outlive the timeout."""
    deadline = time.monotonic() + timeout_s
    while current_xmin(source) < horizon:
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def encoding(session: Session) -> str:
    """Return the encoding of the connected database."""
    return str(session.value("SELECT pg_catalog.current_setting('server_encoding') AS encoding"))
