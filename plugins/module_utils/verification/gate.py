# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The gate: a lock on our marker tables of the target, at which the apply workers stop at a known commit.

While the workers stand there, the target's snapshot shows exactly the source's commits before the marker's, of every
stream alike. Nothing but our own marker tables is locked or written, and the lock ends with its connection.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..catalog import OWN_SCHEMA
from ..driver import Row, psycopg, sql
from ..ledger import Stream
from ..replication import table_name
from ..session import Session
from .snapshots import (
    Epoch,
    Exported,
    Holders,
    Place,
    SlotPosition,
    begun,
    export,
    hopeless,
    new_transaction_id,
    positions,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    # What holds rows of the source while it is open, and says which tuples these are.
    Locking = Callable[[], AbstractContextManager[frozenset[Place]]]

# The dead-man switch: a gate whose owner has died, or stands still, opens by itself after this time.
DEAD_MAN_S = 10.0
# An apply worker is kept waiting no longer than this; then the gate opens, and is tried again.
HOLD_LIMIT_S = 2.0
ATTEMPTS = 3
# A worker with a shorter timeout could fail at the gate, and a subscription may be disabled by its first error.
_SHORTEST_TIMEOUT_S = 1.0
_LOCK_TIMEOUT = "2s"
_LOOK_AT_SLOTS_EVERY_S = 1.0
_ARRIVAL_S = 10.0
_POLL_MIN_S = 0.004
_POLL_MAX_S = 0.05

# A worker of ours that waits for us: by the OID of its subscription, because the view shows those of all databases.
# Neither one that synchronises a table (relid), nor (from 16 on) one that applies a part in parallel (leader_pid).
_AT_THE_GATE = """
SELECT s.subid::bigint AS oid
  FROM pg_catalog.pg_stat_subscription AS s
 WHERE s.subid = ANY (%(oids)s::oid[]) AND s.relid IS NULL AND s.pid IS NOT NULL
   AND pg_catalog.to_jsonb(s) ->> 'leader_pid' IS NULL
   AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(s.pid))
"""

_SUBSCRIPTIONS = """
SELECT s.subname AS name, s.oid::bigint AS oid, s.subenabled AS is_enabled,
       ARRAY(SELECT c.setting
               FROM pg_catalog.pg_db_role_setting AS r
              CROSS JOIN LATERAL pg_catalog.unnest(r.setconfig) AS c(setting)
              WHERE r.setrole IN (0, s.subowner) AND r.setdatabase IN (0, s.subdbid)
                AND pg_catalog.split_part(c.setting, '=', 1) IN ('lock_timeout', 'transaction_timeout')
              UNION ALL
             SELECT p.name || '=' || p.reset_val || 'ms'
               FROM pg_catalog.pg_settings AS p
              WHERE p.name IN ('lock_timeout', 'transaction_timeout')) AS timeouts
  FROM pg_catalog.pg_subscription AS s
 WHERE s.subname = ANY (%(names)s)
   AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
"""

_UNITS_MS = {"us": 0.001, "ms": 1.0, "": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0, "d": 86_400_000.0}


class NotGated(Exception):
    """The gate cannot be had, and why. ``is_behind``: the target has not come so far, so waiting again is no use."""

    def __init__(self, reason: str, *, is_behind: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_behind = is_behind


class _Again(Exception):
    """The gate was open too early, or came too early; another attempt may succeed."""


def seconds_of(setting: str) -> float:
    """Return the seconds of a timeout as PostgreSQL keeps it (``lock_timeout=500ms``); what we cannot read is 0.001."""
    found = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", setting.partition("=")[2].strip().strip("'"))
    if found is None or found[2] not in _UNITS_MS:
        return 0.001
    try:
        return float(found[1]) * _UNITS_MS[found[2]] / 1000
    except ValueError:
        return 0.001


@dataclass(frozen=True)
class _Mark:
    """One writing of all markers: what each held before, and the positions around its commit."""

    token: str
    previous: Mapping[int, str]
    before_lsn: str
    after_lsn: str


@dataclass
class Gate:
    """The gate of one run. ``open_target`` opens a connection to the target; ``timeout_s`` bounds the whole wait."""

    holders: Holders
    open_target: Callable[[], Session]
    streams: Sequence[Stream]
    timeout_s: float
    tick: Callable[[float], None] = lambda waited_s: None
    _session: Session | None = None
    _oids: list[int] = field(default_factory=list)
    _allowance_s: float = 0.0

    @contextmanager
    def epoch(self, number: int, locking: Locking | None = None) -> Iterator[Epoch]:
        """Open a pair of snapshots with the gate between them, which is open again when this returns.

        ``locking`` is entered right before the source's snapshot and left right after the marker's commit. Raises
        :class:`NotGated`, or psycopg's error when a connection that holds a snapshot is gone.
        """
        current, held = self._attempts(number, locking)
        with held:
            yield current

    def _attempts(self, number: int, locking: Locking | None) -> tuple[Epoch, ExitStack]:
        self._prepare()
        reason = ""
        for _attempt in range(ATTEMPTS):
            with ExitStack() as stack:
                stack.enter_context(begun(self.holders.source))
                stack.enter_context(begun(self.holders.target))
                try:
                    current = self._take(number, locking)
                except _Again as again:
                    reason = str(again)
                    continue
                return current, stack.pop_all()
        raise NotGated(reason)

    # --- before ------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Look, once, whether the gate may be used at all."""
        if self._oids:
            return
        names = [stream.subscription for stream in self.streams]
        rows = self.holders.target.rows(_SUBSCRIPTIONS, {"names": names})
        missing = set(names) - {row["name"] for row in rows}
        if missing or not rows:
            raise NotGated(f"the subscription {min(missing, default='')} does not exist on the target")
        for row in rows:
            if row["is_enabled"] is False:
                raise NotGated(f"the subscription {row['name']} is disabled")
        limits = [(seconds_of(item), item) for row in rows for item in row["timeouts"] if seconds_of(item) > 0]
        shortest, setting = min(limits, default=(60.0, ""))
        if shortest < _SHORTEST_TIMEOUT_S:
            raise NotGated(
                f"{setting} applies to the workers of the subscriptions, which could fail at the gate; at least"
                f" {_SHORTEST_TIMEOUT_S:g} s is needed for their owner and this database"
            )
        self._allowance_s = shortest / 4
        self._oids = sorted(row["oid"] for row in rows)

    # --- one attempt -------------------------------------------------------------------------------------------

    def _take(self, number: int, locking: Locking | None) -> Epoch:
        with self._closed() as present:
            with (locking or _nothing)() as locked:
                source_side = export(self.holders.source)
                free_at = time.monotonic()
                mark = self._mark()
            self._check_order(present, mark)
            started = time.monotonic()
            free_at = self._wait(mark, started, free_at)
            waited_s = time.monotonic() - started
            target_side = export(self.holders.target)
            self._release()
            hold_ms = (time.monotonic() - free_at) * 1000
        return self._as_epoch(number, source_side, target_side, mark, locked, waited_s, hold_ms)

    def _as_epoch(
        self,
        number: int,
        source_side: Exported,
        target_side: Exported,
        mark: _Mark,
        locked: frozenset[Place],
        waited_s: float,
        hold_ms: float,
    ) -> Epoch:
        return Epoch(
            number=number,
            source_snapshot=source_side.snapshot,
            target_snapshot=target_side.snapshot,
            source_xmin=source_side.xmin,
            lsn=mark.before_lsn,
            horizon=new_transaction_id(self.holders.control),
            alignment="aligned",
            reason="",
            waited_s=waited_s,
            taken_at=source_side.taken_at,
            marker_lsn=mark.after_lsn,
            hold_ms=round(hold_ms, 1),
            locked=locked,
        )

    @contextmanager
    def _closed(self) -> Iterator[dict[int, str]]:
        """Close the gate for the block; yields the token that each stream's marker holds on the target."""
        if self._session is None or self._session.connection.closed or self._session.connection.broken:
            self._session = self.open_target()
        tables = sql.SQL(", ").join(sql.SQL("ONLY {}").format(self._table(stream)) for stream in self._in_order)
        dead_man = int(min(DEAD_MAN_S, self._allowance_s) * 1000)
        try:
            rows = self._locked(self._session, tables, dead_man)
            yield {row["number"]: row["token"] for row in rows}
        finally:
            self._open_again()

    def _locked(self, session: Session, tables: sql.Composed, dead_man: int) -> list[Row]:
        try:
            return self._together(
                session,
                sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"),
                sql.SQL("SET LOCAL idle_in_transaction_session_timeout TO {}").format(sql.Literal(dead_man)),
                sql.SQL("SET LOCAL lock_timeout TO {}").format(sql.Literal(_LOCK_TIMEOUT)),
                sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(tables),
                *(self._token(stream) for stream in self._in_order),
            )
        except psycopg.errors.LockNotAvailable:
            raise _Again("a marker table of the target stayed locked by another session") from None
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable) as error:
            raise NotGated(f"the marker tables of the target cannot be locked: {_said(error)}") from None

    def _open_again(self) -> None:
        session = self._session
        if session is None:
            return
        with suppress(psycopg.Error):
            if not session.connection.closed:
                session.connection.execute("ROLLBACK")

    def _release(self) -> None:
        """Open the gate. Only a lock that was held until now proves that no worker has gone on before the snapshot."""
        self._asked(sql.SQL("ROLLBACK"))

    def _asked(self, query: Any, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement inside the gate's transaction; a lost connection has opened the gate."""
        session = self._session
        if session is None or session.connection.pgconn.transaction_status != _IN_TRANSACTION:
            raise _Again("the gate was opened by its dead-man switch")
        try:
            cursor = session.connection.execute(query, params)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            # Among them 25P03, by which the dead-man switch ends the session.
            raise _Again(f"the connection that held the gate was lost: {_said(error)}") from None

    def _mark(self) -> _Mark:
        """Write every stream's marker in one transaction of the source, which waits for no standby."""
        token = secrets.token_hex(16)
        control = self.holders.control
        position = sql.SQL("SELECT 0 AS number, pg_catalog.pg_current_wal_insert_lsn()::text AS token")
        try:
            rows = self._together(
                control,
                sql.SQL("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
                sql.SQL("SET LOCAL synchronous_commit TO local"),
                sql.SQL("SET LOCAL lock_timeout TO {}").format(sql.Literal(_LOCK_TIMEOUT)),
                *(self._token(stream, lock=True) for stream in self._in_order),
                *(self._write(stream, token) for stream in self._in_order),
                position,
                sql.SQL("COMMIT"),
                position,
            )
        except psycopg.errors.LockNotAvailable:
            raise _Again("a marker of the source stayed locked by another session") from None
        except (
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.UndefinedTable,
            psycopg.errors.ReadOnlySqlTransaction,
        ) as error:
            raise NotGated(f"the marker tables of the source cannot be written: {_said(error)}") from None
        finally:
            with suppress(psycopg.Error):
                if control.connection.pgconn.transaction_status != _IDLE:
                    control.connection.execute("ROLLBACK")
        before, after = (row["token"] for row in rows if row["number"] == 0)
        return _Mark(token, {row["number"]: row["token"] for row in rows if row["number"]}, before, after)

    def _check_order(self, present: Mapping[int, str], mark: _Mark) -> None:
        """Make sure that the next marker which arrives is ours: an older one would stop a worker too early."""
        late = [stream for stream in self.streams if present.get(stream.number) != mark.previous.get(stream.number)]
        gone = [stream for stream in self.streams if stream.number not in mark.previous]
        if gone:
            raise NotGated(f"the marker of stream {gone[0].number} is gone on the source")
        if late:
            self._open_again()
            self._await_arrival(mark)
            raise _Again(f"an earlier marker of stream {late[0].number} has not arrived on the target")

    def _await_arrival(self, mark: _Mark) -> None:
        """Give the markers that are under way the time to arrive."""
        session = self._session
        deadline = time.monotonic() + min(_ARRIVAL_S, self.timeout_s)
        while session is not None and time.monotonic() < deadline:
            rows = self._together(session, *(self._token(stream) for stream in self._in_order))
            if len(rows) == len(self.streams) and all(row["token"] == mark.token for row in rows):
                return
            time.sleep(_POLL_MAX_S)

    def _wait(self, mark: _Mark, started: float, free_at: float) -> float:
        """Wait until every worker stands at the gate; return when all of them were last known to be free."""
        active_at = looked_at = started
        limit_s = min(HOLD_LIMIT_S, self._allowance_s)
        pause_s = _POLL_MIN_S
        while True:
            asked_at = time.monotonic()
            there = {row["oid"] for row in self._asked(_AT_THE_GATE, {"oids": self._oids})}
            if there >= set(self._oids):
                return free_at
            now = time.monotonic()
            if not there:
                free_at = asked_at
            elif now - free_at >= limit_s:
                self._open_again()
                self._await_arrival(mark)
                raise _Again(f"not every stream came to the gate within {limit_s:g} seconds of the first")
            if now - looked_at >= _LOOK_AT_SLOTS_EVERY_S or now - started >= self.timeout_s:
                looked_at = now
                active_at = self._check_slots(mark, now, active_at, started)
            self.tick(now - started)
            time.sleep(pause_s)
            pause_s = _POLL_MIN_S if there else min(pause_s * 1.3, _POLL_MAX_S)

    def _check_slots(self, mark: _Mark, now: float, active_at: float, started: float) -> float:
        """Raise when waiting on cannot help; else return when all slots were last seen in use."""
        wanted = [stream.slot for stream in self.streams]
        seen: list[SlotPosition] = positions(self.holders.control, wanted, mark.after_lsn)
        if all(slot.is_active for slot in seen):
            active_at = now
        problem = hopeless(seen, wanted, now - active_at)
        if not problem and now - started >= self.timeout_s:
            problem = f"not within {self.timeout_s:g} seconds"
        if problem:
            raise NotGated(f"the target has not come to {mark.after_lsn}: {problem}", is_behind=True)
        return active_at

    # --- statements --------------------------------------------------------------------------------------------

    @property
    def _in_order(self) -> list[Stream]:
        """The streams in the order in which every run locks them."""
        return sorted(self.streams, key=lambda stream: stream.marker)

    @staticmethod
    def _table(stream: Stream) -> sql.Identifier:
        return table_name(OWN_SCHEMA, stream.marker)

    def _token(self, stream: Stream, *, lock: bool = False) -> sql.Composed:
        query = sql.SQL("SELECT {}::integer AS number, m.token FROM ONLY {} AS m WHERE m.id = 1").format(
            sql.Literal(stream.number), self._table(stream)
        )
        return query + sql.SQL(" FOR UPDATE") if lock else query

    def _write(self, stream: Stream, token: str) -> sql.Composed:
        return sql.SQL("UPDATE ONLY {} SET token = {}, at = pg_catalog.clock_timestamp() WHERE id = 1").format(
            self._table(stream), sql.Literal(token)
        )

    @staticmethod
    def _together(session: Session, *statements: sql.Composable) -> list[Row]:
        """Run statements in one round trip; return the rows of all of them."""
        cursor = psycopg.ClientCursor(session.connection)
        cursor.execute(sql.SQL(";\n").join(statements))
        rows: list[Row] = []
        while True:
            if cursor.description is not None:
                rows += cursor.fetchall()
            if not cursor.nextset():
                return rows


_IDLE, _IN_TRANSACTION = 0, 2  # libpq's PQTRANS_IDLE and PQTRANS_INTRANS


def _nothing() -> AbstractContextManager[frozenset[Place]]:
    return nullcontext(frozenset())


def _said(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).strip()
