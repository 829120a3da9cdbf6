# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What one worker process of the copy does: tables, pieces of tables, indexes; each note commits with what it is about.

A table's rows, and the ledger's word that they are there, commit in one transaction on the target; so do an index and
the word about it. A copy that is killed leaves each of them either whole or absent.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from . import transfer
from .copying import CopyTask, copy_in, copy_out, empty
from .driver import pq, psycopg, sql
from .errors import MigrationError
from .migration import Migration, backend_name
from .session import Session
from .transfer import Meter, Refused, Throttle

# Somebody else's lock, for as long as lock_timeout; or two who wait for each other. Both pass.
_LOCKED = ("55P03", "40P01")

# A table that was thought to be small is held in memory up to this size.
HELD_BYTES = 8 * 1024 * 1024

# The file that the snapshot saw, the file of now, and whether the name still leads to this table.
_FILENODES = """
SELECT c.relfilenode::bigint AS seen, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass)::bigint AS now,
       pg_catalog.to_regclass({name})::oid = c.oid AS is_same
  FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}
"""

# Waits for a takeover or the removal of a stream, or they wait for it; so it stands at the end of a transaction.
_CLAIM_HELD = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.migration AS m
                                   WHERE m.id = {id} AND m.epoch = {epoch} AND m.cleaned_at IS NULL FOR SHARE) AS held)
"""
_STREAMS_OPEN = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.stream AS s
                                   WHERE s.migration_id = {id} AND s.number = {stream} AND s.state = 'slot_ready'
                                     FOR SHARE) AS open)
"""
_MARK_COPIED = """
UPDATE seren_migrator.relation AS r
   SET state = 'copied', stream = v.stream, rows = v.rows, bytes = v.bytes, format = v.format,
       finished_at = pg_catalog.clock_timestamp()
  FROM (VALUES {values}) AS v(schema, name, stream, rows, bytes, format)
 WHERE r.migration_id = {id} AND r.schema = v.schema AND r.name = v.name
"""
_MARK_BUILT = """
UPDATE seren_migrator.index_build AS i SET state = v.state, finished_at = pg_catalog.clock_timestamp()
  FROM (VALUES {values}) AS v(classid, objid, state)
 WHERE i.migration_id = {id} AND i.classid = v.classid AND i.objid = v.objid
"""

# A backend whose worker is gone or out of reach must not hold its locks for hours.
_WORKER_SETTINGS = """
SELECT pg_catalog.set_config(s.name, w.value, false)
  FROM (VALUES ('synchronous_commit', 'off'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
               ('tcp_keepalives_count', '6'), ('client_connection_check_interval', '10s'),
               ('standard_conforming_strings', 'on')) AS w(name, value)
  JOIN pg_catalog.pg_settings AS s ON s.name = w.name
"""


@dataclass(frozen=True)
class Indexes:
    """Index statements of one table, and what the ledger notes about them: (classid, objid, state)."""

    statements: bytes = b""
    marks: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class CopyWork:
    """Whole tables to copy in ``snapshot``; ``indexes`` maps OIDs to what is built in the same transaction."""

    tasks: tuple[CopyTask, ...]
    snapshot: str
    indexes: Mapping[int, Indexes] = field(default_factory=dict)


@dataclass(frozen=True)
class EmptyWork:
    """A table to empty before its pieces come."""

    task: CopyTask


@dataclass(frozen=True)
class PieceWork:
    """One piece of a split table to copy in ``snapshot``."""

    task: CopyTask
    snapshot: str


@dataclass(frozen=True)
class SealWork:
    """A split table whose pieces are all there: note it. ``rows`` and ``bytes`` are those of all pieces."""

    task: CopyTask
    rows: int
    bytes: int


@dataclass(frozen=True)
class BuildWork:
    """Indexes to build on a table whose rows are there; ``name`` is for people."""

    oid: int
    name: str
    indexes: Indexes


if TYPE_CHECKING:
    # ansible-test reads this as Python 3.8 would, without | between types.
    Work = Union[CopyWork, EmptyWork, PieceWork, SealWork, BuildWork]  # noqa: UP007


@dataclass(frozen=True)
class Answer:
    """What a worker says about one table or one build.

    ``kind`` is copied, rewritten, locked (by the application, for as long as lock_timeout), again (not tried), done or
    failed.
    """

    kind: str
    task: CopyTask | None = None
    rows: int = 0
    bytes: int = 0
    sqlstate: str = ""
    message: str = ""
    side: str = ""


@dataclass(frozen=True)
class Job:
    """What every worker of a crew has in common. ``settings`` are for its sessions on the target."""

    migration: Migration
    id: str
    epoch: int
    settings: Mapping[str, str]
    meter: Meter
    throttle: Throttle | None = None


def run(job: Job, number: int, copies: bool, pipe: Any, close_others: Callable[[], None], lifeline: int) -> None:
    """Be a worker process to its end; never returns into the code that forked it. ``copies``: it needs the source."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close_others()
        # The read ends when the module dies, however it dies; this process must not outlive it.
        threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
        _serve(job, number, copies, pipe)
        code = 0
    except (EOFError, BrokenPipeError):
        code = 0
    finally:
        os._exit(code)


def _end_with_parent(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(3)


def _serve(job: Job, number: int, copies: bool, pipe: Any) -> None:
    work: Work | None = None
    try:
        with job.migration.open("target", "copy") as target:
            _prepare(job, target)
            for name, value in job.settings.items():
                target.connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
            if not copies:
                while True:
                    work = pipe.recv()
                    pipe.send(_Worker(job, number, target, target).do(work))
                    work = None
            with job.migration.open("source", "copy") as source:
                _prepare(job, source)
                while True:
                    work = pipe.recv()
                    pipe.send(_Worker(job, number, source, target).do(work))
                    work = None
    except (Refused, MigrationError, psycopg.Error) as error:
        if work is None:  # it could not even connect: the first work is answered with the reason
            work = pipe.recv()
        sqlstate = getattr(error, "sqlstate", None) or ""
        side = error.side if isinstance(error, Refused) else "connection"
        task = getattr(error, "task", None) or _first_task(work)
        message = job.migration.redactor.text(str(error)).strip()
        pipe.send([Answer("failed", task, sqlstate=sqlstate, message=message, side=side)])


def _first_task(work: Work) -> CopyTask | None:
    if isinstance(work, CopyWork):
        return work.tasks[0]
    return None if isinstance(work, BuildWork) else work.task


def _prepare(job: Job, session: Session) -> None:
    session.connection.execute(_WORKER_SETTINGS)
    session.rename(backend_name(job.id, "copy"))
    session.connection.pgconn.nonblocking = 0


class _AboutTable(Refused):
    """A refusal that is known to be about one table of several."""

    def __init__(self, refused: Refused, task: CopyTask) -> None:
        super().__init__(refused.side, refused.sqlstate, refused.message)
        self.task = task


@dataclass
class _Arrived:
    """A table that was read from the source; ``data`` holds the rows of a small one."""

    task: CopyTask
    rows: int
    bytes: int
    data: list[Any] = field(default_factory=list)


class _Worker:
    """One piece of work on one pair of connections."""

    def __init__(self, job: Job, number: int, source: Session, target: Session) -> None:
        self.job, self.number, self.source, self.target = job, number, source, target
        self.bytes = self.rows = 0

    def do(self, work: Work) -> list[Answer]:
        """Carry out one piece of work."""
        self.job.meter.write(self.number, 0, 0)
        if isinstance(work, CopyWork):
            return self._copy(work)
        if isinstance(work, PieceWork):
            return [self._piece(work)]
        if isinstance(work, EmptyWork):
            return [self._short(work.task, [empty(work.task), self._sql(_CLAIM_HELD)])]
        if isinstance(work, SealWork):
            return [self._seal(work)]
        return [self._build(work)]

    # --- whole tables ------------------------------------------------------------------------------------------

    def _copy(self, work: CopyWork) -> list[Answer]:
        """Copy whole tables: a large one by itself, small ones together."""
        if len(work.tasks) == 1 and not work.tasks[0].is_small:
            return [self._copy_large(work.tasks[0], work)]
        answers: list[Answer] = []
        held: list[_Arrived] = []
        waiting = list(work.tasks)
        transfer.send(self.source, self._reading(work))
        try:
            while waiting:
                self._next_copy(self.source)
                self._copy_small(waiting[0], work, held, answers)
                waiting.pop(0)
            _read_to_end(self.source)
        except Refused as refused:
            if refused.side == "target" or refused.sqlstate not in _LOCKED:
                about = refused.task if isinstance(refused, _AboutTable) else (waiting or work.tasks)[0]
                raise _AboutTable(refused, about) from None
            # The application holds the table exclusively; what was read before it is good.
            _roll_back(self.source)
            answers.append(_answer("locked", waiting[0], refused))
            answers += [Answer("again", task) for task in waiting[1:]]
        self._store(held, work, answers)
        return answers

    def _copy_large(self, task: CopyTask, work: CopyWork) -> Answer:
        """Stream a table; nothing but a piece of it is ever in memory."""
        try:
            self._begin_streaming(task)
        except Refused as refused:
            if refused.sqlstate not in _LOCKED:
                raise
            _roll_back(self.target)
            return _answer("locked", task, refused)
        transfer.send(self.source, self._reading(work))
        try:
            self._next_copy(self.source)
        except Refused as refused:
            if refused.sqlstate not in _LOCKED:
                raise
            _roll_back(self.source)
            transfer.abandon(self.target)
            _roll_back(self.target)
            return _answer("locked", task, refused)
        size = self._stream(has_wide_rows=task.has_wide_rows)
        answer = self._end_streaming(task, size, work)
        _read_to_end(self.source)
        return answer

    def _copy_small(self, task: CopyTask, work: CopyWork, held: list[_Arrived], answers: list[Answer]) -> None:
        """Read a table into memory; should it turn out to be larger than it was thought to be, stream it."""
        data: list[bytes] = []
        size = 0
        for piece, rows in transfer.pieces(self.source, has_wide_rows=task.has_wide_rows):
            data.append(bytes(piece))
            size += len(piece)
            self._count(len(piece), rows)
            if size > HELD_BYTES:
                self._store(held, work, answers)
                held.clear()
                self._begin_streaming(task)
                for first in data:
                    transfer.put(self.target, first)
                data.clear()
                answers.append(self._end_streaming(task, size + self._stream(has_wide_rows=task.has_wide_rows), work))
                return
        rows_sent = _rows(self._result(self.source))
        if self._is_unchanged(self._result(self.source)):
            held.append(_Arrived(task, rows_sent, size, data))
        else:
            answers.append(Answer("rewritten", task))

    def _reading(self, work: CopyWork) -> bytes:
        parts: list[sql.Composable] = [self._begin(work.snapshot)]
        for task in work.tasks:
            parts += [copy_out(task), self._filenodes(task)]
        parts.append(sql.SQL("COMMIT"))
        return sql.SQL("; ").join(parts).as_bytes(self.source.connection)

    def _begin(self, snapshot: str) -> sql.Composed:
        return sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}").format(
            sql.Literal(snapshot)
        )

    def _filenodes(self, task: CopyTask) -> sql.Composed:
        qualified = sql.Identifier(task.schema, task.name).as_string(None)
        return sql.SQL(_FILENODES).format(oid=sql.Literal(task.oid), name=sql.Literal(qualified))

    def _next_copy(self, session: Session) -> None:
        """Read results until the server is ready to send, or to receive, the rows of the next table."""
        waited_for = (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN)
        while (result := transfer.next_result(session)) is not None:
            if result.status in waited_for:
                return
        raise Refused(session.endpoint.side, "", "the server ended the transaction before the copy")

    def _begin_streaming(self, task: CopyTask) -> None:
        transfer.command(self.target, sql.SQL("; ").join([sql.SQL("BEGIN"), empty(task), copy_in(task)]))

    def _stream(self, *, has_wide_rows: bool) -> int:
        """Move the rest of a running COPY from the source to the target; return its bytes."""
        size = 0
        for piece, rows in transfer.pieces(self.source, has_wide_rows=has_wide_rows):
            size += len(piece)
            self._count(len(piece), rows)
            transfer.put(self.target, piece)
        return size

    def _end_streaming(self, task: CopyTask, size: int, work: CopyWork) -> Answer:
        """Compare both ends of a stream; commit the table with its small indexes and its note."""
        rows = self._agreed_rows()
        if not self._is_unchanged(self._result(self.source)):
            _roll_back(self.target)
            return Answer("rewritten", task)
        transfer.command(
            self.target, self._ending([_Arrived(task, rows, size)], [work.indexes.get(task.oid, Indexes())])
        )
        return Answer("copied", task, rows, size)

    def _agreed_rows(self) -> int:
        """Return the rows that left the source, which must be as many as have arrived on the target."""
        sent = _rows(self._result(self.source))
        transfer.end(self.target)
        stored = _rows(self._result(self.target))
        if sent != stored:
            raise Refused("target", "", f"{sent} rows left the source but {stored} arrived")
        return sent

    def _store(self, held: Sequence[_Arrived], work: CopyWork, answers: list[Answer]) -> None:
        """Store small tables that were held, with their indexes, in one transaction and one simple-query string."""
        if not held:
            return
        parts: list[bytes] = [b"BEGIN"]
        for arrived in held:
            parts.append(empty(arrived.task).as_bytes(self.target.connection))
            if arrived.rows:
                parts.append(copy_in(arrived.task).as_bytes(self.target.connection))
        indexes = [work.indexes.get(arrived.task.oid, Indexes()) for arrived in held]
        about = held[0].task
        try:
            transfer.send(self.target, b"; ".join(parts) + b"; " + self._ending(held, indexes))
            for arrived in held:
                if not arrived.rows:
                    continue
                about = arrived.task
                self._next_copy(self.target)
                transfer.put(self.target, b"".join(arrived.data))
                transfer.end(self.target)
                stored = _rows(self._result(self.target))
                if stored != arrived.rows:
                    raise Refused("target", "", f"{arrived.rows} rows left the source but {stored} arrived")
            _read_to_end(self.target)
        except Refused as refused:
            if refused.sqlstate not in _LOCKED:
                raise _AboutTable(refused, about) from None
            _roll_back(self.target)
            answers += [_answer("locked", arrived.task, refused) for arrived in held]
            return
        answers += [Answer("copied", arrived.task, arrived.rows, arrived.bytes) for arrived in held]

    # --- pieces of tables --------------------------------------------------------------------------------------

    def _piece(self, work: PieceWork) -> Answer:
        """Copy a piece into a table that was emptied before; the table counts only once all pieces are there."""
        task = work.task
        transfer.send(self.source, self._reading(CopyWork((task,), work.snapshot)))
        try:
            self._next_copy(self.source)
        except Refused as refused:
            if refused.sqlstate not in _LOCKED:
                raise
            _roll_back(self.source)
            return _answer("locked", task, refused)
        transfer.command(self.target, sql.SQL("; ").join([sql.SQL("BEGIN"), copy_in(task)]))
        size = self._stream(has_wide_rows=task.has_wide_rows)
        rows = self._agreed_rows()
        is_unchanged = self._is_unchanged(self._result(self.source))
        _read_to_end(self.source)
        if not is_unchanged:
            _roll_back(self.target)
            return Answer("rewritten", task)
        transfer.command(self.target, sql.SQL("; ").join([self._sql(_CLAIM_HELD), sql.SQL("COMMIT")]))
        return Answer("copied", task, rows, size)

    def _seal(self, work: SealWork) -> Answer:
        arrived = _Arrived(work.task, work.rows, work.bytes)
        transfer.command(self.target, b"BEGIN; " + self._ending([arrived], []))
        return Answer("copied", work.task, work.rows, work.bytes)

    # --- indexes -----------------------------------------------------------------------------------------------

    def _build(self, work: BuildWork) -> Answer:
        statements = b"BEGIN;\n" + work.indexes.statements + b"\n"
        ending = sql.SQL("; ").join([self._sql(_CLAIM_HELD), *self._built([work.indexes]), sql.SQL("COMMIT")])
        return self._short(None, statements + ending.as_bytes(self.target.connection))

    def _short(self, task: CopyTask | None, statements: Sequence[sql.Composable] | bytes) -> Answer:
        """Run one transaction on the target; a lock that somebody holds there is no failure yet."""
        try:
            if isinstance(statements, bytes):
                transfer.command(self.target, statements)
            else:
                transfer.command(self.target, sql.SQL("; ").join([sql.SQL("BEGIN"), *statements, sql.SQL("COMMIT")]))
        except Refused as refused:
            _roll_back(self.target)
            return _answer("locked" if refused.sqlstate in _LOCKED else "failed", task, refused)
        return Answer("done", task)

    # --- the ledger's notes ------------------------------------------------------------------------------------

    def _ending(self, arrived: Sequence[_Arrived], indexes: Sequence[Indexes]) -> bytes:
        """Return the end of a transaction that brings tables: indexes, the claim, the notes, COMMIT."""
        encode = self.target.connection
        values = [
            sql.SQL("({})").format(
                sql.SQL(", ").join(
                    [
                        sql.Literal(item.task.schema),
                        sql.Literal(item.task.name),
                        sql.SQL("{}::integer").format(sql.Literal(item.task.stream if item.task.is_carried else None)),
                        sql.SQL("{}::bigint").format(sql.Literal(item.rows)),
                        sql.SQL("{}::bigint").format(sql.Literal(item.bytes)),
                        sql.Literal(item.task.format),
                    ]
                )
            )
            for item in arrived
        ]
        streams = sorted({item.task.stream for item in arrived})
        parts: list[sql.Composable] = [
            self._sql(_CLAIM_HELD),
            *(self._sql(_STREAMS_OPEN, stream=sql.Literal(number)) for number in streams),
            self._sql(_MARK_COPIED, values=sql.SQL(", ").join(values)),
            *self._built(indexes),
            sql.SQL("COMMIT"),
        ]
        built = b"\n".join(item.statements for item in indexes if item.statements)
        return built + b"\n" + sql.SQL("; ").join(parts).as_bytes(encode)

    def _built(self, indexes: Sequence[Indexes]) -> list[sql.Composable]:
        marks = [mark for item in indexes for mark in item.marks]
        if not marks:
            return []
        values = sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(*(sql.Literal(value) for value in mark)) for mark in marks
        )
        return [self._sql(_MARK_BUILT, values=values)]

    def _sql(self, statement: str, **values: sql.Composable) -> sql.Composed:
        text = sql.SQL(statement.strip())
        return text.format(id=sql.Literal(self.job.id), epoch=sql.Literal(self.job.epoch), **values)

    # --- small things ------------------------------------------------------------------------------------------

    def _count(self, moved: int, rows: int) -> None:
        self.bytes += moved
        self.rows += rows
        self.job.meter.write(self.number, self.bytes, self.rows)
        if self.job.throttle is not None:
            self.job.throttle.take(moved)

    def _result(self, session: Session) -> Any:
        """Return the next result, which must be there."""
        result = transfer.next_result(session)
        if result is None:
            raise Refused(session.endpoint.side, "", "the server said less than it was asked")
        return result

    def _is_unchanged(self, result: Any) -> bool:
        """Return False when the table was rewritten since the snapshot; raise when its name leads elsewhere.

        A rewrite makes COPY return nothing or too little, without an error.
        """
        if result.ntuples != 1 or result.get_value(0, 2) != b"t":
            raise Refused("source", "42P01", "another table has taken its name")
        return bool(result.get_value(0, 0) == result.get_value(0, 1))


def _rows(result: Any) -> int:
    return int(result.command_tuples or 0)


def _answer(kind: str, task: CopyTask | None, refused: Refused) -> Answer:
    return Answer(kind, task, sqlstate=refused.sqlstate, message=refused.message, side=refused.side)


def _read_to_end(session: Session) -> None:
    while transfer.next_result(session) is not None:
        pass


def _roll_back(session: Session) -> None:
    """End a transaction that has failed, or shall not count."""
    _read_to_end(session)
    transfer.command(session, sql.SQL("ROLLBACK"))
