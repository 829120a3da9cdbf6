# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Reading rows from the source for a few seconds, as the copy would, to see how fast they come. They are thrown away.

Over as many connections as the copy will have, each in a read-only transaction, bounded in time and in bytes.
"""

from __future__ import annotations

import math
import select
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from .catalog import Table
from .copying import CopyTask, copy_out
from .driver import psycopg
from .estimate import CopySample, Read, estimated_rows
from .migration import Migration
from .session import Session
from .transfer import Refused, next_result, send

# A sample shall not cost much where every byte that leaves a cloud does.
MAX_BYTES = 512 * 2**20
# The sample never queues up behind somebody who holds a table.
LOCK_TIMEOUT = "1s"
CANCEL_TIMEOUT_S = 5.0
# So many rows between two looks at the clock.
ROWS_AT_ONCE = 64
CONNECTION_LOST = ("08", "57P")

_LIMITS = """
SELECT pg_catalog.set_config('lock_timeout', %(lock)s, false) AS lock,
       pg_catalog.set_config('statement_timeout', %(statement)s, false) AS statement
"""


def order(tasks: Sequence[CopyTask], tables: Mapping[int, Table]) -> list[CopyTask]:
    """Return the tasks that tell something, in the order in which they are read: the largest tables, known ones first.

    Of a table that was never analysed, or with a predicate, it is not known which part of it was read. Pure.
    """

    def is_vague(task: CopyTask) -> bool:
        return task.predicate is not None or estimated_rows(tables[task.oid]) is None

    return sorted(
        (task for task in tasks if tables[task.oid].bytes > 0),
        key=lambda task: (is_vague(task), -task.estimated_bytes, task.schema, task.name),
    )


def measure(
    migration: Migration,
    tasks: Sequence[CopyTask],
    tables: Mapping[int, Table],
    *,
    seconds: float,
    connections: int,
    max_bytes: int = MAX_BYTES,
) -> CopySample:
    """Read rows of the tasks' tables for about ``seconds``; ``tables`` has each task's table by OID.

    Raises ``cannot_connect``; :class:`transfer.Refused`, or psycopg.Error, when the source lets nothing be read.
    """
    waiting = deque(order(tasks, tables))
    connections = max(1, min(connections, len(waiting)))
    sessions: list[Session] = []

    def connect(_number: int) -> None:
        session = migration.open("source", "sample", read_only=True)
        sessions.append(session)
        # A second stop, on the server, for the case that the first does not reach it.
        limit_ms = math.ceil((seconds + CANCEL_TIMEOUT_S) * 1000)
        session.rows(_LIMITS, {"lock": LOCK_TIMEOUT, "statement": str(limit_ms)})

    with ThreadPoolExecutor(connections) as pool:
        try:
            list(pool.map(connect, range(connections)))
            begun = time.monotonic()
            end = begun + seconds

            def read(session: Session) -> tuple[list[Read], Refused | None, float]:
                return (*_read(session, waiting, tables, end, max_bytes // connections), time.monotonic())

            found = list(pool.map(read, sessions))
        finally:
            for session in sessions:
                session.connection.close()
    reads = tuple(each for some, _refused, _ended in found for each in some)
    refusals = [refused for _reads, refused, _ended in found if refused is not None]
    if refusals and not reads:
        raise refusals[0]
    return CopySample(max(ended for *_rest, ended in found) - begun, connections, reads)


def _read(
    session: Session, waiting: deque[CopyTask], tables: Mapping[int, Table], end: float, left: int
) -> tuple[list[Read], Refused | None]:
    """Read table after table over one connection; return what was read, and why a table could not be."""
    reads: list[Read] = []
    refused = None
    while waiting and left > 0 and time.monotonic() < end:
        try:
            task = waiting.popleft()
            read = _read_table(session, task, tables[task.oid], end, left)
        except IndexError:
            break  # another connection was quicker
        except Refused as refusal:  # a table that is locked, or not for this role
            refused = refusal
            if not refusal.sqlstate or refusal.sqlstate.startswith(CONNECTION_LOST):
                break
            _read_to_end(session, end)
            continue
        reads.append(read)
        left -= read.stream_bytes
        if not read.is_complete:
            break
    return reads, refused


def _read_table(session: Session, task: CopyTask, table: Table, end: float, left: int) -> Read:
    """Read rows until the table, the time or the bytes are over. The rest is cancelled; the connection is spent then.

    Below psycopg's own layers, and without waiting anywhere for longer than until ``end``.
    """
    pgconn = session.connection.pgconn
    send(session, copy_out(task).as_bytes(session.connection))
    rows = size = length = 0
    if _next_result(session, end) is not None:
        while size < left and time.monotonic() < end:
            for _each in range(ROWS_AT_ONCE):
                length, _row = pgconn.get_copy_data(1)
                if length <= 0:
                    break
                rows, size = rows + 1, size + length
            if length < 0 or (length == 0 and not _news(session, end)):
                break
    done = _next_result(session, end + CANCEL_TIMEOUT_S) if length < 0 else None
    if done is None:
        with suppress(psycopg.Error):
            session.connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        return Read(table, rows, size, is_complete=False, has_predicate=task.predicate is not None)
    _read_to_end(session, end)
    return Read(table, int(done.command_tuples or 0), size, is_complete=True)


def _read_to_end(session: Session, end: float) -> None:
    """Read what is left of the answer, so that the connection can be asked again."""
    while _next_result(session, end + CANCEL_TIMEOUT_S) is not None:
        pass


def _next_result(session: Session, end: float) -> Any:
    """Return the next result; None when there is none before ``end``. Raises :class:`Refused`."""
    while session.connection.pgconn.is_busy():
        if not _news(session, end):
            return None
    return next_result(session)


def _news(session: Session, end: float) -> bool:
    """Wait for something from the server, and take it in; False when nothing came before ``end``."""
    pgconn = session.connection.pgconn
    poll = select.poll()  # unlike select(), for a descriptor of any number
    poll.register(pgconn.socket, select.POLLIN)
    is_readable = bool(poll.poll(max(0.0, end - time.monotonic()) * 1000))
    if is_readable:
        pgconn.consume_input()
    return is_readable
