# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The strict ending: the last rows in doubt are locked on the source for a moment, so that they stand still.

Locked from before the source's snapshot until the marker's commit, a row is the same in both snapshots of a gate. The
locks are shared row locks, held for milliseconds and never waited for longer than writers can bear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from ..driver import psycopg, sql
from ..session import Session
from .pairing import Unit
from .rows import can_look_up, lookup
from .snapshots import Place

# All row locks of one attempt are had within this time, or not at all.
BUDGET_MS = 300

_DEADLOCK_TIMEOUT = "SELECT p.setting::integer AS ms FROM pg_catalog.pg_settings AS p WHERE p.name = 'deadlock_timeout'"

_NOT_IN_TIME = "the row locks were not to be had in time"

Suspects = Sequence[tuple[Unit, Mapping[int, tuple[str, ...]]]]


@dataclass
class Strict:
    """Locks rows in doubt. ``refused`` says for each table (schema, name) why its rows could not be locked."""

    open_source: Callable[[], Session]
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    _session: Session | None = None

    @contextmanager
    def locking(self, suspects: Suspects) -> Iterator[frozenset[Place]]:
        """Lock the rows of the suspects on the source for the block; yields those that are locked.

        Nobody who waits for one of our locks is ever part of a deadlock that the server would have to end: we wait for
        less than half of ``deadlock_timeout``, and for nothing once the block runs.
        """
        try:
            yield self._locked(suspects)
        finally:
            if self._session is not None:
                with suppress(psycopg.Error):
                    self._session.connection.execute("ROLLBACK")

    def _locked(self, suspects: Suspects) -> frozenset[Place]:
        try:
            if self._session is None or self._session.connection.closed or self._session.connection.broken:
                self._session = self.open_source()
            session = self._session
            budget_ms = min(BUDGET_MS, int(session.value(_DEADLOCK_TIMEOUT)) // 2)
            deadline = time.monotonic() + budget_ms / 1000
            locked: set[Place] = set()
            session.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            for unit, keys in suspects:
                left_ms = int((deadline - time.monotonic()) * 1000)
                if left_ms < 1:
                    self.refused[unit.schema, unit.name] = _NOT_IN_TIME
                    continue
                locked |= self._lock(session, unit, keys, left_ms)
            return frozenset(locked)
        except psycopg.Error as error:
            for unit, _keys in suspects:
                self.refused[unit.schema, unit.name] = error.diag.message_primary or str(error)
            return frozenset()

    def _lock(self, session: Session, unit: Unit, keys: Mapping[int, tuple[str, ...]], left_ms: int) -> set[Place]:
        name = unit.schema, unit.name
        if not unit.key:
            self.refused[name] = "rows without a key cannot be found to be locked"
            return set()
        if not can_look_up(unit) or not all(keys.values()):
            self.refused[name] = "rows with such a key cannot be found to be locked"
            return set()
        self.refused.pop(name, None)
        found: set[Place] = set()
        limits = sql.SQL("SAVEPOINT a; SET LOCAL lock_timeout TO {0}; SET LOCAL statement_timeout TO {0}")
        session.connection.execute(limits.format(sql.Literal(left_ms)))
        try:
            for heap in unit.source.heaps:
                query = sql.SQL(
                    "SELECT {}::pg_catalog.int8 AS heap, k.ctid::text AS ctid, k.xmin::text AS xmin{} {}"
                ).format(
                    sql.Literal(heap.oid),
                    lookup(unit.source, heap, unit.key, list(keys.values())),
                    sql.SQL("FOR SHARE OF k"),
                )
                found |= {(row["heap"], row["ctid"], row["xmin"]) for row in session.rows(query)}
        except psycopg.errors.InsufficientPrivilege as error:
            self.refused[name] = f"it needs the privilege to update the table: {error.diag.message_primary}"
            found = set()
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.QueryCanceled,
            psycopg.errors.SerializationFailure,
        ):
            self.refused[name] = _NOT_IN_TIME
            found = set()
        session.connection.execute("ROLLBACK TO SAVEPOINT a" if not found else "RELEASE SAVEPOINT a")
        return found
