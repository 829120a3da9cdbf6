# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The initial copy of rows: worker processes that stream COPY from the source to the target under one snapshot.

A table's rows, and the ledger's word that they are there, commit in one transaction on the target; so a copy that is
killed leaves each table either whole or empty. Nothing touches the disk of the machine that runs this.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import Any, cast

from .catalog import Table
from .claim import Claim
from .driver import pq, psycopg, sql
from .errors import MigrationError
from .migration import Migration, backend_name
from .progress import Event, Progress
from .selection import Selected
from .session import Session

# psycopg hands out one row a call; joining about this much before each write halves the client's work.
BATCH_BYTES = 65536
# How often a table may be locked by the application before the copy gives up on it (each time for LOCK_TIMEOUT).
MAX_ATTEMPTS = 10

# Types whose binary form is the same on every major from 12 to 18. Everything else travels as text.
BINARY_SAFE_TYPES = frozenset(
    f"pg_catalog.{name}"
    for name in (
        *("bool", "bytea", "char", "name", "int8", "int2", "int4", "text", "oid", "float4", "float8", "varchar"),
        *("bpchar", "date", "time", "timestamp", "timestamptz", "interval", "timetz", "numeric", "uuid", "json"),
        *("jsonb", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit"),
        *("point", "lseg", "path", "box", "polygon", "line", "circle"),
    )
) | {"enum"}

# The file that the snapshot saw, the file of now, and whether the name still leads to this table.
_FILENODES = """
SELECT c.relfilenode::bigint AS seen, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass)::bigint AS now,
       pg_catalog.to_regclass({name})::oid = c.oid AS is_same
  FROM pg_catalog.pg_class AS c WHERE c.oid = {oid}
"""

# The rows and this note commit together. It waits for a takeover or the removal of the stream, or they wait for it.
_MARK_COPIED = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.migration AS m
                                   WHERE m.id = {id} AND m.epoch = {epoch} AND m.cleaned_at IS NULL FOR SHARE) AS held);
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.stream AS s
                                   WHERE s.migration_id = {id} AND s.number = {stream} AND s.state = 'slot_ready'
                                     FOR SHARE) AS open);
UPDATE seren_migrator.relation
   SET state = 'copied', stream = {carrier}, rows = {rows}, bytes = {bytes}, format = {format},
       finished_at = pg_catalog.clock_timestamp()
 WHERE migration_id = {id} AND schema = {schema} AND name = {name}
"""

# A backend whose worker is gone or out of reach must not hold its locks for hours.
_WORKER_SETTINGS = """
SELECT pg_catalog.set_config(s.name, w.value, false)
  FROM (VALUES ('synchronous_commit', 'off'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
               ('tcp_keepalives_count', '6'), ('client_connection_check_interval', '10s')) AS w(name, value)
  JOIN pg_catalog.pg_settings AS s ON s.name = w.name
"""


@dataclass(frozen=True)
class CopyTask:
    """One table to copy: where it is, which columns and rows travel, and in which format (``binary`` or ``text``).

    ``stream`` is the number of the stream in whose snapshot it is read; ``is_carried`` is false for what no stream
    replicates.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]
    predicate: str | None
    format: str
    estimated_bytes: int
    stream: int = 1
    is_carried: bool = True

    @property
    def qualified(self) -> str:
        """``schema.table`` for people."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Copied:
    """A table whose rows are on the target and committed. ``bytes`` are those of the COPY stream."""

    task: CopyTask
    rows: int
    bytes: int


@dataclass(frozen=True)
class CopyOutcome:
    """What a round of copying achieved. ``rewritten`` are tables whose rows the snapshot can no longer show."""

    copied: tuple[Copied, ...]
    rewritten: tuple[CopyTask, ...]


def copy_format(table: Table) -> str:
    """Return ``binary`` where every column's type has one binary form on all majors, else ``text``."""
    leaves = {leaf for column in table.copied_columns for leaf in column.leaf_types}
    return "binary" if table.copied_columns and leaves <= BINARY_SAFE_TYPES else "text"


def plan_tasks(
    selected: Selected, tables: Iterable[Table], stream_of: Mapping[int, int], carried: Iterable[int] | None = None
) -> list[CopyTask]:
    """Return a task per table, biggest first, so that the last worker to finish is not far behind.

    ``stream_of`` maps a table's OID to the number of its stream; ``carried`` are the OIDs that a stream replicates
    (all, without it).
    """
    replicated = None if carried is None else set(carried)
    tasks = [
        CopyTask(
            oid=table.oid,
            schema=table.schema,
            name=table.name,
            columns=tuple(column.name for column in table.copied_columns),
            predicate=selected.predicates.get(table.oid),
            format=copy_format(table),
            estimated_bytes=table.bytes,
            stream=stream_of[table.oid],
            is_carried=replicated is None or table.oid in replicated,
        )
        for table in tables
    ]
    return sorted(tasks, key=lambda task: (-task.estimated_bytes, task.schema, task.name))


def copy_out(task: CopyTask) -> sql.Composed:
    """Return the source's COPY statement: ``COPY t (columns) TO STDOUT``, or a query where rows are chosen."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in task.columns)
    table = sql.Identifier(task.schema, task.name)
    what: sql.Composable
    if task.predicate is not None:
        what = sql.SQL("(SELECT {} FROM ONLY {} WHERE ({}\n))").format(columns, table, sql.SQL(task.predicate))
    elif task.columns:
        what = sql.SQL("{} ({})").format(table, columns)
    else:
        what = table
    return sql.SQL("COPY {} TO STDOUT WITH (FORMAT {})").format(what, sql.SQL(task.format))


def copy_in(task: CopyTask) -> sql.Composed:
    """Return the target's statements: empty the table and COPY into it frozen, in one transaction."""
    table = sql.Identifier(task.schema, task.name)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in task.columns)
    listed = sql.SQL(" ({})").format(columns) if task.columns else sql.SQL("")
    return sql.SQL("TRUNCATE ONLY {}; COPY {}{} FROM STDIN WITH (FORMAT {}, FREEZE)").format(
        table, table, listed, sql.SQL(task.format)
    )


@dataclass(frozen=True)
class _Answer:
    """What a worker says about one task: copied, rewritten, locked or failed."""

    task: CopyTask
    kind: str
    rows: int = 0
    bytes: int = 0
    sqlstate: str = ""
    message: str = ""
    side: str = ""


class Crew:
    """The worker processes; a context manager that never leaves one behind.

    They are started and connected before the stream is opened, so that little time passes between a snapshot and the
    copies made in it.
    """

    def __init__(self, migration: Migration, claim: Claim, size: int) -> None:
        # fork, explicitly: a module has no importable main, and each worker connects after the fork.
        context = multiprocessing.get_context("fork")
        self._lifeline = os.pipe()
        pipes = [context.Pipe() for _number in range(size)]
        job = _Job(migration, claim.id, claim.epoch)
        self._workers: list[tuple[Any, Pipe]] = []
        with claim.quiet:
            for number in range(size):
                process = context.Process(target=_worker, args=(job, pipes, number, self._lifeline), daemon=True)
                process.start()
                self._workers.append((process, pipes[number][0]))
        os.close(self._lifeline[0])
        for _ours, theirs in pipes:
            theirs.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._lifeline[1])
        for process, pipe in self._workers:
            pipe.close()
            process.join(timeout=2)
            if process.is_alive():
                process.kill()
                process.join()

    def work(self, tasks: Sequence[CopyTask], snapshot: str, progress: Progress) -> CopyOutcome:
        """Hand out the tasks one by one, to be copied in the exported ``snapshot``, and collect the answers.

        Raises ``copy_failed`` or ``schema_changed`` for the first table that cannot be copied; what other workers have
        committed by then stays.
        """
        waiting = deque(tasks)
        attempts: dict[int, int] = {}
        busy: dict[Pipe, CopyTask] = {}
        copied: list[Copied] = []
        rewritten: list[CopyTask] = []
        idle = [pipe for _process, pipe in self._workers]
        while waiting or busy:
            while waiting and idle:
                pipe, task = idle.pop(), waiting.popleft()
                pipe.send((task, snapshot))
                busy[pipe] = task
            for pipe, answer in self._answers(busy):
                task = busy.pop(pipe)
                idle.append(pipe)
                attempts[task.oid] = attempts.get(task.oid, 0) + 1
                if answer.kind == "copied":
                    copied.append(Copied(task, answer.rows, answer.bytes))
                elif answer.kind == "rewritten":
                    rewritten.append(task)
                elif answer.kind == "locked" and attempts[task.oid] < MAX_ATTEMPTS:
                    waiting.append(task)
                else:
                    raise _failure(answer)
                progress(
                    Event(
                        "init",
                        f"{answer.kind} {task.qualified}",
                        {"rows": answer.rows, "bytes": answer.bytes, "tables_left": len(waiting) + len(busy)},
                    )
                )
        return CopyOutcome(tuple(copied), tuple(rewritten))

    def _answers(self, busy: Mapping[Pipe, CopyTask]) -> Iterable[tuple[Pipe, _Answer]]:
        for pipe in cast("list[Pipe]", wait(list(busy))):
            try:
                answer: _Answer = pipe.recv()
            except (EOFError, ConnectionResetError):
                message = "the worker process ended without an answer (killed, or out of memory)"
                answer = _Answer(busy[pipe], "failed", message=message)
            yield pipe, answer


def _failure(answer: _Answer) -> MigrationError:
    details = {"table": answer.task.qualified, "sqlstate": answer.sqlstate, "side": answer.side}
    suffix = f" (SQLSTATE {answer.sqlstate} from the {answer.side})" if answer.sqlstate else ""
    if answer.side == "source" and answer.sqlstate in ("42P01", "42703", "3F000"):
        return MigrationError(
            "schema_changed",
            f"{answer.task.qualified} changed on the source while it was being copied: {answer.message}{suffix}",
            "Undo the change, or remove the migration with pg_migration_cleanup, empty the target and start again.",
            details,
        )
    return MigrationError(
        "copy_failed",
        f"{answer.task.qualified} could not be copied: {answer.message}{suffix}",
        "Mend the cause and run the same command again: finished tables are kept.",
        details,
    )


# --- in the worker processes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    migration: Migration
    id: str
    epoch: int


def _worker(job: _Job, pipes: Sequence[tuple[Pipe, Pipe]], number: int, lifeline: tuple[int, int]) -> None:
    """Run one worker to its end; never returns into the code that forked it."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(lifeline[1])
        # The read ends when the module dies, however it dies; this process must not outlive it.
        threading.Thread(target=_end_with_parent, args=(lifeline[0],), daemon=True).start()
        for other, (ours, theirs) in enumerate(pipes):
            ours.close()
            if other != number:
                theirs.close()
        _serve(job, pipes[number][1])
        code = 0
    except (EOFError, BrokenPipeError):
        code = 0
    finally:
        os._exit(code)


def _end_with_parent(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(3)


def _serve(job: _Job, pipe: Pipe) -> None:
    redact = job.migration.redactor.text
    task: CopyTask | None = None
    try:
        with job.migration.open("source", "copy") as source, job.migration.open("target", "copy") as target:
            for session in (source, target):
                session.connection.execute(_WORKER_SETTINGS)
                session.rename(backend_name(job.id, "copy"))
                session.connection.pgconn.nonblocking = 0
            while True:
                task, snapshot = pipe.recv()
                pipe.send(_copy(job, task, snapshot, source, target))
                task = None
    except (_Refused, MigrationError, psycopg.Error) as error:
        if task is None:  # it could not even connect: the first task is answered with the reason
            task, _snapshot = pipe.recv()
        side = error.side if isinstance(error, _Refused) else "connection"
        sqlstate = getattr(error, "sqlstate", None) or ""
        pipe.send(_Answer(task, "failed", 0, 0, sqlstate, redact(str(error)).strip(), side))


class _Refused(Exception):
    """A server refused one of a worker's statements."""

    def __init__(self, side: str, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.side, self.sqlstate, self.message = side, sqlstate, message


def _copy(job: _Job, task: CopyTask, snapshot: str, source: Session, target: Session) -> _Answer:
    """Copy one table in one transaction a side; the source's locks are gone as soon as the table is done."""
    begin = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; ").format(
        sql.Literal(snapshot)
    )
    try:
        _command(source, begin + copy_out(task))
    except _Refused as refused:
        if refused.sqlstate != "55P03":  # lock_not_available: the application holds the table exclusively
            raise
        _command(source, sql.SQL("ROLLBACK"))
        return _Answer(task, "locked", 0, 0, refused.sqlstate, refused.message, "source")
    _command(target, sql.SQL("BEGIN; ") + copy_in(task))
    moved = _transfer(source, target)
    sent, stored = _finish(source), _finish(target)
    if sent != stored:
        raise _Refused("target", "", f"{sent} rows left the source but {stored} arrived")
    qualified = sql.Identifier(task.schema, task.name).as_string(None)
    result = _command(source, sql.SQL(_FILENODES).format(oid=sql.Literal(task.oid), name=sql.Literal(qualified)))
    seen, now, is_same = (result.get_value(0, column) for column in range(3))
    _command(source, sql.SQL("COMMIT"))
    if result.ntuples != 1 or is_same != b"t":
        raise _Refused("source", "42P01", "another table has taken its name")
    if seen != now:
        # A rewrite since the snapshot makes COPY return nothing or too little, without an error.
        _command(target, sql.SQL("ROLLBACK"))
        return _Answer(task, "rewritten")
    marked = _command(
        target,
        sql.SQL(_MARK_COPIED).format(
            id=sql.Literal(job.id),
            epoch=sql.Literal(job.epoch),
            stream=sql.Literal(task.stream),
            carrier=sql.Literal(task.stream if task.is_carried else None),
            rows=sql.Literal(stored),
            bytes=sql.Literal(moved),
            format=sql.Literal(task.format),
            schema=sql.Literal(task.schema),
            name=sql.Literal(task.name),
        ),
    )
    if marked.command_tuples != 1:
        raise _Refused("target", "", "another runner has taken this migration over")
    _command(target, sql.SQL("COMMIT"))
    return _Answer(task, "copied", stored, moved)


def _command(session: Session, statement: sql.Composable) -> Any:
    """Send one simple-query string and return its last result; raise what the server says otherwise."""
    result = session.connection.pgconn.exec_(statement.as_bytes(session.connection))
    good = (
        pq.ExecStatus.COMMAND_OK,
        pq.ExecStatus.TUPLES_OK,
        pq.ExecStatus.COPY_OUT,
        pq.ExecStatus.COPY_IN,
    )
    if result.status not in good:
        raise _refusal(session, result)
    return result


def _refusal(session: Session, result: Any) -> _Refused:
    def field(which: Any) -> str:
        return (result.error_field(which) or b"").decode(errors="replace")

    # The detail can hold a row's values, which are nobody's business.
    message = field(pq.DiagnosticField.MESSAGE_PRIMARY) or session.connection.pgconn.error_message.decode(
        errors="replace"
    )
    return _Refused(session.endpoint.side, field(pq.DiagnosticField.SQLSTATE), message.strip())


def _transfer(source: Session, target: Session) -> int:
    """Move the COPY stream from one connection to the other; return its bytes. Memory: one batch and one row."""
    get, put = source.connection.pgconn.get_copy_data, target.connection.pgconn.put_copy_data
    moved = size = 0
    batch: list[Any] = []
    try:
        while True:
            length, data = get(0)
            if length <= 0:
                break
            batch.append(data)
            size += length
            if size >= BATCH_BYTES:
                put(b"".join(batch))
                moved += size
                size = 0
                batch.clear()
                if _has_objected(target):
                    target.connection.pgconn.put_copy_end(b"stopped")
                    raise _refusal(target, target.connection.pgconn.get_result())
        if batch:
            put(b"".join(batch))
            moved += size
        target.connection.pgconn.put_copy_end()
    except psycopg.Error:
        # The server that stopped the stream has said why: ask the target first, then the source.
        for session in (target, source):
            result = session.connection.pgconn.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise _refusal(session, result) from None
        raise
    return moved


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


def _finish(session: Session) -> int:
    """Read the results of a COPY to their end and return the number of rows."""
    rows = 0
    while (result := session.connection.pgconn.get_result()) is not None:
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise _refusal(session, result)
        rows = result.command_tuples or 0
    return rows
