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
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from . import transfer, wire
from .copying import CopyTask, copy_in, copy_out, empty
from .driver import psycopg, sql
from .errors import MigrationError
from .migration import Migration, backend_name
from .notes import Arrived, Notes
from .session import Session
from .transfer import Refused, Throttle
from .wire import Wire
from .work import AnalyzeWork, Answer, BuildWork, CopyWork, EmptyWork, Indexes, PieceWork, SealWork

if TYPE_CHECKING:
    from .work import Work

# Somebody else's lock, for as long as lock_timeout; or two who wait for each other. Both pass.
_LOCKED = ("55P03", "40P01")

# Tables that were thought to be small are held in memory up to about this size, all together.
HELD_BYTES = 8 * 1024 * 1024

# The file that the snapshot saw, the file of now, and whether the name still leads to this table.
_FILENODES = """
SELECT c.relfilenode::bigint AS seen, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass)::bigint AS now,
       pg_catalog.to_regclass({name})::oid = c.oid AS is_same
  FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}
"""

# Of inheritance parents ANALYZE reads the children too, which may still be empty or locked.
_ANALYZED_ALONE = """
SELECT v.oid FROM (VALUES {tables}) AS v(oid, schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = v.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = v.name
 WHERE c.relkind = 'r' AND NOT c.relhassubclass
"""

# A backend whose worker is gone or out of reach must not hold its locks for hours.
_WORKER_SETTINGS = """
SELECT pg_catalog.set_config(s.name, w.value, false)
  FROM (VALUES ('synchronous_commit', 'off'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
               ('tcp_keepalives_count', '6'), ('standard_conforming_strings', 'on'), ('client_min_messages', 'error')) AS w(name, value)
  JOIN pg_catalog.pg_settings AS s ON s.name = w.name
"""


@dataclass(frozen=True)
class Job:
    """What every worker of a crew has in common. ``settings`` are for its sessions on the target."""

    migration: Migration
    id: str
    epoch: int
    settings: Mapping[str, str]
    throttle: Throttle | None = None


def run(job: Job, copies: bool, pipe: Any, close_others: Callable[[], None], lifeline: int) -> None:
    """Be a worker process to its end; never returns into the code that forked it. ``copies``: it needs the source."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close_others()
        # The read ends when the module dies, however it dies; this process must not outlive it.
        threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
        while True:  # an index that failed with its connection is not the last one: connect again
            _serve(job, copies, pipe)
    except (EOFError, BrokenPipeError):
        code = 0
    finally:
        os._exit(code)


def _end_with_parent(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(3)


def _serve(job: Job, copies: bool, pipe: Any) -> None:
    work: Work | None = None
    try:
        with job.migration.open("target", "copy") as target:
            _prepare(job, target)
            for name, value in job.settings.items():
                target.connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
            with job.migration.open("source", "copy") if copies else nullcontext(target) as source:
                if copies:
                    _prepare(job, source)
                is_wired = copies and wire.is_open(source) and wire.is_open(target)
                while True:
                    work = pipe.recv()
                    pipe.send(_Worker(job, source, target, is_wired=is_wired).do(work))
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
    return None if isinstance(work, BuildWork | AnalyzeWork) else work.task


def _prepare(job: Job, session: Session) -> None:
    session.connection.execute(_WORKER_SETTINGS)
    with suppress(psycopg.Error):  # servers on systems that cannot tell refuse it
        session.connection.execute("SELECT pg_catalog.set_config('client_connection_check_interval', '10s', false)")
    session.rename(backend_name(job.id, "copy"))
    session.connection.pgconn.nonblocking = 0


class _AboutTable(Refused):
    """A refusal that is known to be about one table of several."""

    def __init__(self, refused: Refused, task: CopyTask) -> None:
        super().__init__(refused.side, refused.sqlstate, refused.message)
        self.task = task


class _Worker:
    """One piece of work on one pair of connections; ``is_wired`` when nothing encrypts them."""

    def __init__(self, job: Job, source: Session, target: Session, *, is_wired: bool) -> None:
        self.job, self.source, self.target, self.is_wired = job, source, target, is_wired
        self.notes = Notes(job.id, job.epoch)
        self.bytes = 0

    def do(self, work: Work) -> list[Answer]:
        """Carry out one piece of work."""
        if isinstance(work, CopyWork):
            return self._copy(work)
        if isinstance(work, PieceWork):
            return [self._piece(work)]
        if isinstance(work, EmptyWork):
            return [self._short(work.task, [empty(work.task), self.notes.claim_held()])]
        if isinstance(work, SealWork):
            return [self._seal(work)]
        if isinstance(work, AnalyzeWork):
            return [self._analyze(work)]
        return [self._build(work)]

    # --- large tables and pieces -------------------------------------------------------------------------------

    def _copy_large(self, task: CopyTask, work: CopyWork) -> Answer:
        """Stream a table; nothing but a piece of it is ever in memory."""
        try:
            size, rows, is_unchanged = self._stream(task, work.snapshot, [empty(task), copy_in(task)])
        except Refused as refused:
            return self._locked(task, refused)
        if not is_unchanged:
            transfer.roll_back(self.target)
            return Answer("rewritten", task)
        arrived = Arrived(task, rows, size)
        transfer.command(self.target, self._ending([arrived], [work.indexes.get(task.oid, Indexes())]))
        return Answer("copied", task, rows, size)

    def _piece(self, work: PieceWork) -> Answer:
        """Copy a piece into a table that was emptied before; the table counts only once all pieces are there."""
        task = work.task
        try:
            size, rows, is_unchanged = self._stream(task, work.snapshot, [copy_in(task)])
        except Refused as refused:
            return self._locked(task, refused)
        if not is_unchanged:
            transfer.roll_back(self.target)
            return Answer("rewritten", task)
        transfer.command(self.target, sql.SQL("; ").join([*self.notes.piece(task, rows, size), sql.SQL("COMMIT")]))
        return Answer("copied", task, rows, size)

    def _seal(self, work: SealWork) -> Answer:
        arrived = Arrived(work.task, work.rows, work.bytes)
        transfer.command(self.target, b"BEGIN; " + self._ending([arrived], []))
        return Answer("copied", work.task, work.rows, work.bytes)

    def _stream(self, task: CopyTask, snapshot: str, into: Sequence[sql.Composable]) -> tuple[int, int, bool]:
        """Run a COPY on both sides; return bytes, rows, and whether the table is still the one that the snapshot saw.

        The target's transaction is open then, the source's has ended.
        """
        out = self._joined(self.source, [self._begin(snapshot), copy_out(task)])
        then = self._joined(self.source, [self._filenodes(task), sql.SQL("COMMIT")])
        arrival = self._joined(self.target, [sql.SQL("BEGIN"), *into])
        if self.is_wired:
            with Wire(self.source) as source, Wire(self.target) as target:
                size, rows, said = wire.forward(source, target, out, arrival, then, self._moved)
            return size, rows, _is_unchanged(said.rows)
        size, rows, found = transfer.forward(
            self.source, self.target, out, arrival, then, self._moved, has_wide_rows=task.has_wide_rows
        )
        return size, rows, _is_unchanged(found)

    def _locked(self, task: CopyTask, refused: Refused) -> Answer:
        """Return the answer for a COPY that met a lock before it began; raise everything else."""
        if refused.sqlstate not in _LOCKED or self.bytes:
            raise refused
        for session in (self.source, self.target):
            transfer.roll_back(session)
        return _answer("locked", task, refused)

    # --- small tables ------------------------------------------------------------------------------------------

    def _copy(self, work: CopyWork) -> list[Answer]:
        """Copy whole tables: a large one by itself, small ones together."""
        if len(work.tasks) == 1 and not work.tasks[0].is_small:
            return [self._copy_large(work.tasks[0], work)]
        if self.is_wired and len(work.tasks) > 1:
            try:
                return self._copy_batch(work)
            except Refused as refused:
                if refused.sqlstate not in _LOCKED:
                    raise
                for session in (self.source, self.target):  # the way below finds out which table is locked
                    transfer.roll_back(session)
        return self._copy_together(work)

    def _copy_batch(self, work: CopyWork) -> list[Answer]:
        """Copy small tables with one simple-query string a side, and a second one that completes and notes them."""
        out: list[sql.Composable] = [self._begin(work.snapshot)]
        into: list[sql.Composable] = [sql.SQL("BEGIN")]
        for task in work.tasks:
            out += [copy_out(task), self._filenodes(task)]
            into += [empty(task), copy_in(task)]
        out.append(sql.SQL("COMMIT"))
        with Wire(self.source) as source, Wire(self.target) as target:
            sent, stored = wire.forward_batch(
                source, target, self._joined(self.source, out), self._joined(self.target, into), self._moved
            )
        answers: list[Answer] = []
        arrived: list[Arrived] = []
        undone: list[sql.Composable] = []
        for task, rows, size, row in zip(work.tasks, stored.copied, sent.sizes, sent.rows, strict=True):
            if _is_unchanged([row]):
                arrived.append(Arrived(task, rows, size))
                answers.append(Answer("copied", task, rows, size))
            else:
                undone.append(empty(task))
                answers.append(Answer("rewritten", task))
        if not arrived:
            transfer.roll_back(self.target)
            return answers
        indexes = [work.indexes.get(item.task.oid, Indexes()) for item in arrived]
        before = b"".join(self._joined(self.target, [statement]) + b"; " for statement in undone)
        transfer.command(self.target, before + self._ending(arrived, indexes))
        return answers

    def _copy_together(self, work: CopyWork) -> list[Answer]:
        """Copy small tables through libpq: read with one string, hold, and store with one string."""
        answers: list[Answer] = []
        held: list[Arrived] = []
        waiting = list(work.tasks)
        out: list[sql.Composable] = [self._begin(work.snapshot)]
        for task in waiting:
            out += [copy_out(task), self._filenodes(task)]
        transfer.send(self.source, self._joined(self.source, [*out, sql.SQL("COMMIT")]))
        try:
            while waiting:
                transfer.next_copy(self.source)
                self._copy_small(waiting[0], work, held, answers)
                waiting.pop(0)
            transfer.read_to_end(self.source)
        except Refused as refused:
            if refused.side == "target" or refused.sqlstate not in _LOCKED:
                about = refused.task if isinstance(refused, _AboutTable) else (waiting or work.tasks)[0]
                raise _AboutTable(refused, about) from None
            # The application holds the table exclusively; what was read before it is good.
            transfer.roll_back(self.source)
            answers.append(_answer("locked", waiting[0], refused))
            answers += [Answer("again", task) for task in waiting[1:]]
        self._store(held, work, answers)
        return answers

    def _copy_small(self, task: CopyTask, work: CopyWork, held: list[Arrived], answers: list[Answer]) -> None:
        """Read a table into memory; should it turn out to be larger than it was thought to be, stream it."""
        data: list[bytes] = []
        size = 0
        pieces = transfer.pieces(self.source, has_wide_rows=task.has_wide_rows)
        for piece in pieces:
            data.append(bytes(piece))
            size += len(piece)
            self._moved(len(piece))
            if size > HELD_BYTES:
                break
        else:
            rows, found = transfer.sent(self.source)
            if _is_unchanged(found):
                held.append(Arrived(task, rows, size, data))
            else:
                answers.append(Answer("rewritten", task))
            if sum(item.bytes for item in held) > HELD_BYTES:
                self._store(held, work, answers)
                held.clear()
            return
        self._store(held, work, answers)
        held.clear()
        transfer.command(self.target, self._joined(self.target, [sql.SQL("BEGIN"), empty(task), copy_in(task)]))
        for piece in chain(data, pieces):
            transfer.put(self.target, piece)
        rows, found = transfer.sent(self.source)
        transfer.arrived(self.target, rows)
        if _is_unchanged(found):
            indexes = work.indexes.get(task.oid, Indexes())
            transfer.command(self.target, self._ending([Arrived(task, rows, size)], [indexes]))
            answers.append(Answer("copied", task, rows, size))
        else:
            transfer.roll_back(self.target)
            answers.append(Answer("rewritten", task))

    def _store(self, held: Sequence[Arrived], work: CopyWork, answers: list[Answer]) -> None:
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
                transfer.next_copy(self.target)
                transfer.put(self.target, b"".join(arrived.data))
                transfer.arrived(self.target, arrived.rows)
            transfer.read_to_end(self.target)
        except Refused as refused:
            if refused.sqlstate not in _LOCKED:
                raise _AboutTable(refused, about) from None
            transfer.roll_back(self.target)
            answers += [_answer("locked", arrived.task, refused) for arrived in held]
            return
        answers += [Answer("copied", arrived.task, arrived.rows, arrived.bytes) for arrived in held]

    # --- indexes -----------------------------------------------------------------------------------------------

    def _build(self, work: BuildWork) -> Answer:
        begin = f"BEGIN; SET LOCAL max_parallel_maintenance_workers = {work.helpers:d};\n".encode()
        statements = begin + work.indexes.statements + b"\n"
        ending = self._joined(
            self.target, [self.notes.claim_held(), *self.notes.built([work.indexes]), sql.SQL("COMMIT")]
        )
        return self._short(None, statements + ending)

    def _short(self, task: CopyTask | None, statements: Sequence[sql.Composable] | bytes) -> Answer:
        """Run one transaction on the target; a lock that somebody holds there is no failure yet."""
        try:
            if isinstance(statements, bytes):
                transfer.command(self.target, statements)
            else:
                transfer.command(self.target, sql.SQL("; ").join([sql.SQL("BEGIN"), *statements, sql.SQL("COMMIT")]))
        except Refused as refused:
            if self.target.connection.closed:
                raise
            transfer.roll_back(self.target)
            return _answer("locked" if refused.sqlstate in _LOCKED else "failed", task, refused)
        return Answer("done", task)

    # --- statistics --------------------------------------------------------------------------------------------

    def _analyze(self, work: AnalyzeWork) -> Answer:
        """Collect statistics of those tables that have no children; what is refused is tried again at the end."""
        rows = sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(*(sql.Literal(value) for value in (oid, *table)))
            for oid, table in work.tables.items()
        )
        try:
            found = transfer.command(self.target, sql.SQL(_ANALYZED_ALONE).format(tables=rows))
            oids = frozenset(int(found.get_value(row, 0)) for row in range(found.ntuples))
            if oids:
                names = sql.SQL(", ").join(sql.Identifier(*work.tables[oid]) for oid in sorted(oids))
                transfer.command(self.target, sql.SQL("ANALYZE {}").format(names))
        except Refused as refused:
            if self.target.connection.closed:
                raise
            return _answer("failed", None, refused)
        return Answer("analyzed", analyzed=oids)

    # --- small things ------------------------------------------------------------------------------------------

    def _ending(self, arrived: Sequence[Arrived], indexes: Sequence[Indexes]) -> bytes:
        """Return the end of a transaction that brings tables: their indexes, what the ledger notes, COMMIT."""
        built = b"\n".join(item.statements for item in indexes if item.statements)
        notes = [*self.notes.tables(arrived), *self.notes.built(indexes), sql.SQL("COMMIT")]
        return built + b"\n" + self._joined(self.target, notes)

    def _begin(self, snapshot: str) -> sql.Composed:
        return sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}").format(
            sql.Literal(snapshot)
        )

    def _filenodes(self, task: CopyTask) -> sql.Composed:
        qualified = sql.Identifier(task.schema, task.name).as_string(None)
        return sql.SQL(_FILENODES).format(oid=sql.Literal(task.oid), name=sql.Literal(qualified))

    def _joined(self, session: Session, statements: Sequence[sql.Composable]) -> bytes:
        return sql.SQL("; ").join(statements).as_bytes(session.connection)

    def _moved(self, size: int) -> None:
        self.bytes += size
        if self.job.throttle is not None:
            self.job.throttle.take(size)


def _is_unchanged(found: Sequence[Sequence[bytes | None]]) -> bool:
    """Return False when a table was rewritten since the snapshot; raise when its name leads elsewhere.

    ``found`` is what :data:`_FILENODES` returned. A rewrite makes COPY return nothing or too little, without an error.
    """
    if len(found) != 1 or found[0][2] != b"t":
        raise Refused("source", "42P01", "another table has taken its name")
    seen, now, _is_same = found[0]
    return seen == now


def _answer(kind: str, task: CopyTask | None, refused: Refused) -> Answer:
    return Answer(kind, task, sqlstate=refused.sqlstate, message=refused.message, side=refused.side)
