# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Pairs of connections that read both sides of a table at the same time, and the way to stop them all.

Threads suffice: the servers do the work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from ..driver import psycopg, sql
from ..endpoint import Side
from ..migration import Migration
from ..session import Session
from .snapshots import Epoch, prepare, reading

T = TypeVar("T")

READER = "reader"  # the purpose of the connections that compare
_INTERRUPTED = (READER, "large objects")
_CANCEL_TIMEOUT_S = 5.0
_BATCH = 5000


class Connections:
    """Every connection of one run, so that all can be cancelled and closed; a context manager."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        self._lock = threading.Lock()
        self._open: list[Session] = []
        self._readers: list[Session] = []
        self._is_stopped = False

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def open(self, side: Side, purpose: str, *, read_only: bool = True) -> Session:
        """Open a connection to one side, a read-only one as a rule, or raise ``cannot_connect``."""
        session = self._migration.open(side, f"verify {purpose}", read_only=read_only)
        prepare(session)
        with self._lock:
            if self._is_stopped:
                session.connection.close()
            self._open.append(session)
            if purpose in _INTERRUPTED:
                self._readers.append(session)
        return session

    def interrupt(self) -> None:
        """Cancel whatever the readers run; their connections stay."""
        with self._lock:
            sessions = [each for each in self._readers if not each.connection.closed]
        for session in sessions:
            if session.connection.pgconn.transaction_status == _ACTIVE:
                with suppress(psycopg.Error):
                    session.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    def forget(self, session: Session) -> None:
        """Close one connection."""
        with self._lock:
            if session in self._open:
                self._open.remove(session)
            if session in self._readers:
                self._readers.remove(session)
        session.connection.close()

    def stop(self) -> None:
        """Cancel whatever runs and close every connection; threads that read from them end with an error."""
        with self._lock:
            self._is_stopped = True
            sessions, self._open = self._open, []
        for session in sessions:
            if session.connection.closed or session.connection.pgconn.transaction_status == _ACTIVE:
                with suppress(psycopg.Error):
                    session.connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)
        for session in sessions:
            session.connection.close()


_ACTIVE = 1  # libpq's PQTRANS_ACTIVE: a command is in progress


class SortedRows:
    """Rows of one side in the order of their first column, a few thousand at a time, the first of them ready."""

    def __init__(self, session: Session, parts: Sequence[sql.Composed]) -> None:
        self._cursor = session.connection.cursor(name="verify_rows", row_factory=psycopg.rows.tuple_row)
        self._batch: list[tuple[Any, ...]] = []
        if parts:  # a partitioned table may have no partition
            union = sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(part) for part in parts)
            self._cursor.execute(sql.SQL("SELECT * FROM ({}) AS q ORDER BY q.identity").format(union))
            self._batch = self._cursor.fetchmany(_BATCH)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while self._batch:
            yield from self._batch
            self._batch = self._cursor.fetchmany(_BATCH)

    def close(self) -> None:
        """Close the cursor, unless its connection is gone."""
        with suppress(psycopg.Error):
            self._cursor.close()


class Pair:
    """One connection to each side, opened when first needed and again after it broke."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._sessions: dict[Side, Session] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="verify-source")

    def session(self, side: Side) -> Session:
        """Return this pair's connection to one side."""
        session = self._sessions.get(side)
        if session is not None and (session.connection.closed or session.connection.broken):
            self._connections.forget(session)
            session = None
        if session is None:
            session = self._sessions[side] = self._connections.open(side, READER)
        return session

    def both(self, task: Callable[[Side], T]) -> tuple[T, T]:
        """Run a task for the source and for the target at the same time; wait for both, also when one fails."""
        source = self._threads.submit(task, "source")
        try:
            target = task("target")
        except BaseException:
            # The other side may still read; its connection must be idle before it is used again.
            with suppress(Exception):
                source.result()
            raise
        return source.result(), target

    @contextmanager
    def at(self, epoch: Epoch) -> Iterator[None]:
        """Run a block in which both connections see the epoch's snapshots."""
        with (
            reading(self.session("source"), epoch.snapshot("source")),
            reading(self.session("target"), epoch.snapshot("target")),
        ):
            yield

    def tuples(self, side: Side, query: sql.Composed) -> list[tuple[Any, ...]]:
        """Run a query on one side; return its rows as plain tuples."""
        with self.session(side).connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            return cursor.execute(query).fetchall()

    def sorted_rows(self, side: Side, parts: Sequence[sql.Composed]) -> SortedRows:
        """Run queries with the same columns, the first named ``identity``, and return their rows in its order."""
        return SortedRows(self.session(side), parts)

    def close(self) -> None:
        """End the helper thread. The connections belong to :class:`Connections`."""
        self._threads.shutdown(wait=False)


class Pairs:
    """A fixed number of pairs, ``all``, lent to one thread at a time; a context manager."""

    def __init__(self, connections: Connections, count: int) -> None:
        self.all = [Pair(connections) for _number in range(count)]
        self._free: SimpleQueue[Pair] = SimpleQueue()
        for pair in self.all:
            self._free.put(pair)

    def __enter__(self) -> Pairs:
        return self

    def __exit__(self, *exception: object) -> None:
        for pair in self.all:
            pair.close()

    @contextmanager
    def one(self) -> Iterator[Pair]:
        """Lend a pair."""
        pair = self._free.get()
        try:
            yield pair
        finally:
            self._free.put(pair)
