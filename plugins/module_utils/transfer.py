# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Simple-query strings and the COPY stream on two open connections, below psycopg's own layers.

libpq hands out one row a call, so the work done per row decides what the client costs. Here belongs how bytes move and
how a server's refusal is read; which statements are sent belongs to ``copying.py``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice, repeat
from operator import itemgetter
from typing import Any

from .driver import pq, psycopg, sql
from .session import Session

# Rows are joined to pieces of about this size: larger ones gain nothing and leave the processor's cache.
BATCH_BYTES = 65536
# So many rows are fetched between two looks at their size. The memory of few is used again and again, which is faster
# than many; where a row may be of any width, two of them must not be much more than one.
ROWS_AT_ONCE, WIDE_ROWS_AT_ONCE = 32, 2

_DATA = itemgetter(1)


class Refused(Exception):
    """A server refused a statement, or its connection was lost (then without SQLSTATE)."""

    def __init__(self, side: str, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.side, self.sqlstate, self.message = side, sqlstate, message


class Throttle:
    """A limit of bytes per second that all workers share; to be made before they are forked.

    ``context`` is their multiprocessing context.
    """

    def __init__(self, context: Any, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        # The time (monotonic clock) at which the next byte may go.
        self._clock = context.Value("d", 0.0)

    def take(self, amount: int, at_most_s: float = float("inf")) -> None:
        """Wait until ``amount`` more bytes fit the limit; what is not waited for, delays the next ones."""
        with self._clock.get_lock():
            begin = max(time.monotonic(), self._clock.value)
            self._clock.value = begin + amount / self._rate
        time.sleep(max(0.0, min(begin - time.monotonic(), at_most_s)))

    def debt_s(self) -> float:
        """Return how many seconds the next byte would have to wait."""
        with self._clock.get_lock():
            return max(0.0, float(self._clock.value) - time.monotonic())


def forward(
    source: Session,
    target: Session,
    out: bytes,
    into: bytes,
    then: bytes,
    moved: Callable[[int], None],
    *,
    has_wide_rows: bool,
) -> tuple[int, int, list[tuple[bytes | None, ...]]]:
    """Run a COPY TO and hand its stream to a COPY FROM; return its bytes, its rows, and the rows of the query after it.

    ``out`` and ``into`` are simple-query strings whose last statement is the COPY; ``then`` is a query and more for the
    source. Raises :class:`Refused`; when the COPY has not begun, both connections are idle then. ``wire.forward`` does
    the same on connections that are not encrypted.
    """
    command(target, into)
    send(source, b"; ".join([out, then]))
    try:
        next_copy(source)
    except Refused:
        abandon(target)
        raise
    size = 0
    for piece in pieces(source, has_wide_rows=has_wide_rows):
        size += len(piece)
        moved(len(piece))
        put(target, piece)
    rows, found = sent(source)
    arrived(target, rows)
    read_to_end(source)
    return size, rows, found


def next_copy(session: Session) -> None:
    """Read results until the server is ready to send, or to receive, the rows of the next COPY."""
    while (result := next_result(session)) is not None:
        if result.status in (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN):
            return
    raise Refused(session.endpoint.side, "", "the server ended the transaction before the copy")


def sent(source: Session) -> tuple[int, list[tuple[bytes | None, ...]]]:
    """Return how many rows a COPY TO has sent, and the rows of the query that follows it in the string."""
    rows = int(_expected(source).command_tuples or 0)
    found = _expected(source)
    width = range(found.nfields)
    return rows, [tuple(found.get_value(row, column) for column in width) for row in range(found.ntuples)]


def arrived(target: Session, rows: int) -> None:
    """End a COPY FROM; raise :class:`Refused` unless it stored ``rows``."""
    try:
        target.connection.pgconn.put_copy_end()
    except psycopg.Error as error:
        raise lost(target, error) from None
    stored = int(_expected(target).command_tuples or 0)
    if stored != rows:
        raise Refused("target", "", f"{rows} rows left the source but {stored} arrived")


def _expected(session: Session) -> Any:
    result = next_result(session)
    if result is None:
        raise Refused(session.endpoint.side, "", "the server said less than it was asked")
    return result


def read_to_end(session: Session) -> None:
    """Read what is left of the results of a string."""
    while next_result(session) is not None:
        pass


def roll_back(session: Session) -> None:
    """End a transaction that has failed, or shall not count."""
    read_to_end(session)
    command(session, b"ROLLBACK")


def send(session: Session, statement: bytes) -> None:
    """Send one simple-query string; its results are read by :func:`next_result`."""
    session.connection.pgconn.send_query(statement)


def next_result(session: Session) -> Any:
    """Return the next result of what was sent, None after the last one; raise :class:`Refused` for an error."""
    result = session.connection.pgconn.get_result()
    if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
        raise refusal(session, result)
    return result


def command(session: Session, statement: sql.Composable | bytes) -> Any:
    """Run one simple-query string and return its last result; raise :class:`Refused` for an error."""
    text = statement if isinstance(statement, bytes) else statement.as_bytes(session.connection)
    result = session.connection.pgconn.exec_(text)
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise refusal(session, result)
    return result


def refusal(session: Session, result: Any) -> Refused:
    """Return what a server said; without its detail, which can hold a row's values, which are nobody's business."""

    def field(which: Any) -> str:
        return (result.error_field(which) or b"").decode(errors="replace")

    message = field(pq.DiagnosticField.MESSAGE_PRIMARY) or session.connection.pgconn.error_message.decode(
        errors="replace"
    )
    return Refused(session.endpoint.side, field(pq.DiagnosticField.SQLSTATE), message.strip())


def pieces(source: Session, *, has_wide_rows: bool) -> Iterator[bytes]:
    """Yield what a running COPY TO sends, until it ends or fails; the next result tells which.

    Memory: about a batch, or twice the widest row. The rows go through C code alone (map, islice, extend, join).
    """
    rows = map(source.connection.pgconn.get_copy_data, repeat(0))
    limit = WIDE_ROWS_AT_ONCE if has_wide_rows else ROWS_AT_ONCE
    held: list[bytes] = []
    size = 0
    at_once = 1
    ended = False
    while not ended:
        chunk: list[tuple[int, Any]] = []
        try:
            chunk.extend(islice(rows, at_once))
        except psycopg.Error:  # asked once more after the end, or the stream broke off
            ended = True
        if chunk and chunk[-1][0] < 0:
            chunk.pop()
            ended = True
        data = b"".join(map(_DATA, chunk)) if len(chunk) != 1 else chunk[0][1]
        if chunk:
            at_once = max(1, min(limit, at_once * 2, BATCH_BYTES * len(chunk) // max(1, len(data))))
        held.append(data)
        size += len(data)
        del chunk, data
        if size >= BATCH_BYTES or (ended and size):
            whole = held[0] if len(held) == 1 else b"".join(held)
            held.clear()
            yield whole
            del whole
            size = 0


def put(target: Session, data: bytes) -> None:
    """Send a piece of a COPY FROM; raise :class:`Refused` when the target has refused an earlier one."""
    pgconn = target.connection.pgconn
    try:
        pgconn.put_copy_data(data)
        if _has_objected(target):
            pgconn.put_copy_end(b"stopped")
            next_result(target)
    except psycopg.Error as error:
        raise lost(target, error) from None


def abandon(target: Session) -> None:
    """Break a COPY FROM off; the transaction around it has failed then."""
    target.connection.pgconn.put_copy_end(b"stopped")
    with suppress(Refused):
        next_result(target)


def lost(session: Session, error: Exception) -> Refused:
    """Return why a stream broke off: the server's last word when there is one."""
    try:
        while next_result(session) is not None:
            pass
    except Refused as refused:
        return refused
    except psycopg.Error:
        pass
    return Refused(session.endpoint.side, "", str(error).strip())


def _has_objected(target: Session) -> bool:
    """True when the target has refused a row: libpq itself would notice only at the end of the whole table.

    Looks at the first byte that waits on a plain connection; an encrypted one cannot be looked into.
    """
    pgconn = target.connection.pgconn
    if pgconn.ssl_in_use:
        return False
    with socket.socket(fileno=os.dup(pgconn.socket)) as peeking:
        try:
            return peeking.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"E"  # ErrorResponse
        except BlockingIOError:
            return False
