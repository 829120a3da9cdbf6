# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The worker processes of a copy, and who does what next: rows first, biggest first, each table's indexes behind it.

What a worker does is ``worker.py``; how the tables travel is ``copying.py``.
"""

from __future__ import annotations

import heapq
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, cast

from . import copying, indexes, worker
from .claim import Claim
from .copying import CopyTask
from .errors import MigrationError
from .ledger import IndexBuild
from .migration import Migration
from .post_data import Script
from .progress import Event, Progress
from .transfer import Throttle
from .work import AnalyzeWork, Answer, BuildWork, CopyWork, EmptyWork, Indexes, PieceWork, SealWork
from .worker import Job

if TYPE_CHECKING:
    from .work import Needed, Work

# How often a table may be locked by the application before the copy gives up on it (each time for LOCK_TIMEOUT).
MAX_ATTEMPTS = 10
TICK_S = 1.0
# Tables whose statistics are collected at a time; nothing else waits long for so many.
ANALYZED_AT_ONCE = 20
# Division by zero: how a statement fails that finds the claim lost.
_CLAIM_LOST = "22012"


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


@dataclass(frozen=True)
class Sizes:
    """How many processes a crew has, and what they may use.

    ``settings`` are for sessions on the target; ``max_rate`` is in bytes per second over all, 0 for no limit.
    """

    jobs: int
    index_jobs: int
    settings: Mapping[str, str] = field(default_factory=dict)
    max_rate: int = 0


@dataclass
class _Member:
    """One worker process and what it is doing."""

    number: int
    process: Any
    pipe: Pipe
    copies: bool
    work: Work | None = None


@dataclass
class _Split:
    """A table that is copied in pieces: how many are out, and what has arrived."""

    task: CopyTask
    pieces: list[CopyTask]
    left: int
    rows: int = 0
    bytes: int = 0
    is_rewritten: bool = False


class Crew:
    """The worker processes; a context manager that never leaves one behind.

    They are started and connected before a stream is opened, so that little time passes between a snapshot and the
    copies made in it. One crew serves all rounds of a run; indexes go on being built between them.
    """

    def __init__(
        self, migration: Migration, claim: Claim, sizes: Sizes, progress: Progress, watch: Callable[[], None]
    ) -> None:
        # fork, explicitly: a module has no importable main, and each worker connects after the fork.
        context = multiprocessing.get_context("fork")
        size = sizes.jobs + sizes.index_jobs
        self._redact = migration.redactor.text
        self._claim = claim
        self._progress = progress
        self._watch = watch
        self._lifeline = os.pipe()
        self._script = Script(b"", ())
        self._builds: dict[int, list[IndexBuild]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._copies: deque[Work] = deque()
        self._ready: list[tuple[float, int, Work]] = []
        self._order = count()
        self._splits: dict[int, _Split] = {}
        self._parallel: Counter[int] = Counter()
        self._filled: set[int] = set()
        self._whole: deque[int] = deque()
        self._analyzed: set[int] = set()
        self._attempts: Counter[str] = Counter()
        self._failed: list[MigrationError] = []
        self._copied: list[Copied] = []
        self._rewritten: list[CopyTask] = []
        self._max_helpers = int(sizes.settings.get("max_parallel_maintenance_workers", 0))
        throttle = Throttle(context, sizes.max_rate) if sizes.max_rate else None
        job = Job(migration, claim.id, claim.epoch, dict(sizes.settings), throttle)
        pipes = [context.Pipe() for _number in range(size)]
        self._members: list[_Member] = []
        with claim.quiet:
            for number in range(size):
                copies = number < sizes.jobs
                close_others = _Closing(pipes, number, self._lifeline[1])
                process = context.Process(
                    target=worker.run,
                    args=(job, copies, pipes[number][1], close_others, self._lifeline[0]),
                    daemon=True,
                )
                process.start()
                self._members.append(_Member(number, process, pipes[number][0], copies))
        os.close(self._lifeline[0])
        for _ours, theirs in pipes:
            theirs.close()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._lifeline[1])
        for member in self._members:
            member.pipe.close()
            member.process.join(timeout=2)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()

    # --- what is to be done ------------------------------------------------------------------------------------

    @property
    def analyzed(self) -> frozenset[tuple[str, str]]:
        """The tables (schema, name) whose statistics were collected after their rows and indexes were there."""
        return frozenset(self._names[oid] for oid in self._analyzed)

    def plan_builds(self, script: Script, builds: Iterable[IndexBuild], names: Mapping[int, tuple[str, str]]) -> None:
        """Tell the crew which indexes belong to which table; ``names`` maps a table's OID to its schema and name."""
        self._script = script
        self._names = dict(names)
        self._builds = {}
        for build in builds:
            if build.state != indexes.DONE:
                self._builds.setdefault(build.table_oid, []).append(build)

    def build(self, oids: Iterable[int]) -> None:
        """Build what is missing on tables whose rows are there."""
        for oid in oids:
            waiting = self._builds.get(oid, [])
            self._filled.add(oid)
            self._note_whole(oid)
            beside = [build for build in waiting if indexes.is_parallel(build)]
            self._parallel[oid] = len(beside)
            for build in beside:
                state = indexes.after_parallel(build).state
                work = Indexes(indexes.parallel(build, self._script), ((*build.key, state),))
                self._push(BuildWork(oid, f"{build.name} on {self._name(oid)}", work), build.bytes)
            if waiting and not beside:
                self._close_table(oid)

    def build_first(self, oids: Collection[int], is_wanted: Callable[[IndexBuild], bool]) -> None:
        """Build some of the indexes of tables that are still empty; return when they are there.

        The others are left for :meth:`build`.
        """
        for oid in oids:
            wanted = [build for build in self._builds.get(oid, []) if is_wanted(build)]
            if wanted:
                marks = tuple((*build.key, indexes.DONE) for build in wanted)
                work = Indexes(indexes.whole(wanted, self._script), marks)
                self._push(BuildWork(oid, f"the keys of {self._name(oid)}", work), 0)
        self._work_until(lambda: not any(is_wanted(build) for oid in oids for build in self._builds.get(oid, [])))

    def work_for(self, seconds: float) -> bool:
        """Go on with what was begun for about this long; return whether anything is left."""
        end_s = time.monotonic() + seconds
        self._work_until(lambda: time.monotonic() >= end_s)
        return bool(self._ready) or any(member.work for member in self._members)

    def copy(
        self, tasks: Sequence[CopyTask], snapshot: str, pieces: Mapping[int, Sequence[CopyTask]] | None = None
    ) -> CopyOutcome:
        """Copy ``tasks`` in ``snapshot``; ``pieces`` maps the OID of a table to split to its pieces.

        Returns when all rows are there; indexes may still be building. Raises ``copy_failed`` or ``schema_changed`` for
        the first table that cannot be copied; what other workers have committed by then stays.
        """
        self._copied, self._rewritten = [], []
        cut = {oid: list(parts) for oid, parts in (pieces or {}).items()}
        copiers = sum(1 for member in self._members if member.copies)
        for batch in copying.batches(tasks, copiers):
            first = batch[0]
            if first.oid in cut:
                self._splits[first.oid] = _Split(first, cut[first.oid], len(cut[first.oid]))
                self._copies.append(EmptyWork(first))
            else:
                small = {task.oid: self._inline(task) for task in batch}
                self._copies.append(CopyWork(batch, snapshot, {oid: made for oid, made in small.items() if made.marks}))
        self._snapshot = snapshot
        self._work_until(lambda: not self._copies and not any(self._is_copying(member) for member in self._members))
        return CopyOutcome(tuple(self._copied), tuple(self._rewritten))

    def finish(self) -> None:
        """Return when every index that was begun is built; raise ``index_failed`` for the first that could not be."""
        self._work_until(lambda: not self._ready and not any(member.work for member in self._members))
        if self._failed:
            raise self._failed[0]

    def forget(self, oids: Collection[int]) -> None:
        """Do not build on these tables now: their rows have to be copied again. What is under way is waited for."""
        self._drop_ready(oids)
        self._work_until(lambda: not any(_is_about(member.work, oids) for member in self._members))
        self._drop_ready(oids)  # what ended meanwhile may have made more to do
        self._analyzed.difference_update(oids)

    def _drop_ready(self, oids: Collection[int]) -> None:
        self._ready = [entry for entry in self._ready if not (isinstance(entry[2], BuildWork) and entry[2].oid in oids)]
        heapq.heapify(self._ready)
        self._filled.difference_update(oids)
        self._whole = deque(oid for oid in self._whole if oid not in oids)

    # --- who does what -----------------------------------------------------------------------------------------

    def _push(self, work: Work, weight: float) -> None:
        heapq.heappush(self._ready, (-weight, next(self._order), work))

    def _name(self, oid: int) -> str:
        return ".".join(self._names[oid]) if oid in self._names else f"the table with OID {oid}"

    def _inline(self, task: CopyTask) -> Indexes:
        """Return what is built in the transaction that copies a table: everything, where the table is not large."""
        waiting = self._builds.get(task.oid, [])
        if task.estimated_bytes > copying.INLINE_INDEX_BYTES or any(b.state != indexes.PENDING for b in waiting):
            return Indexes()
        return Indexes(indexes.whole(waiting, self._script), tuple((*build.key, indexes.DONE) for build in waiting))

    def _work_until(self, is_done: Callable[[], bool]) -> None:
        looked_s = time.monotonic()
        while not is_done():
            self._hand_out()
            busy = {member.pipe: member for member in self._members if member.work is not None}
            for pipe in cast("list[Pipe]", wait(list(busy), timeout=TICK_S)):
                self._take(busy[pipe])
            if time.monotonic() - looked_s >= TICK_S:
                looked_s = time.monotonic()
                self._watch()

    def _hand_out(self) -> None:
        for member in list(self._members):
            if member.work is not None:
                continue
            if member.copies and self._copies:
                member.work = self._copies.popleft()
            elif not member.copies and self._ready:
                member.work = self._with_helpers(heapq.heappop(self._ready)[2])
            elif member.copies and self._may_analyze():
                oids = [self._whole.popleft() for _number in range(min(ANALYZED_AT_ONCE, len(self._whole)))]
                member.work = AnalyzeWork({oid: self._names[oid] for oid in oids})
            else:
                continue
            try:
                member.pipe.send(member.work)
            except OSError:
                self._bury(member)

    def _may_analyze(self) -> bool:
        """True while others finish rows or indexes, and nothing of either waits: statistics shall delay neither."""
        busy = [member.work for member in self._members if member.work is not None]
        is_collecting = any(isinstance(work, AnalyzeWork) for work in busy)
        return bool(self._whole and busy) and not (is_collecting or self._ready)

    def _note_whole(self, oid: int) -> None:
        """Remember a table for its statistics once its rows and all of its indexes are there."""
        if oid in self._filled and oid in self._names and not self._builds.get(oid):
            self._whole.append(oid)

    def _is_copying(self, member: _Member) -> bool:
        return member.copies and member.work is not None and not isinstance(member.work, AnalyzeWork)

    def _bury(self, member: _Member) -> None:
        """Give the work of a process that has ended (killed, or out of memory) back to the others of its kind."""
        work = cast("Work", member.work)
        if isinstance(work, AnalyzeWork):
            member.work = None  # the next piece of work finds it dead again, and goes to another
            return
        self._members.remove(member)
        member.pipe.close()
        member.process.join()
        if not any(other.copies == member.copies for other in self._members):
            raise self._failure(work, Answer("failed", message="every worker process that could do it has ended"))
        if member.copies:
            self._copies.appendleft(work)
        else:
            self._push(work, float("inf"))

    def _with_helpers(self, work: Work) -> Work:
        """Let the server build an index with parallel workers only in place of workers that have nothing to do.

        They cost a quarter more than one process, and make the last, large index ready earlier.
        """
        idle = sum(1 for member in self._members if member.work is None) - 1
        if not isinstance(work, BuildWork) or self._copies or self._ready:
            return work
        return replace(work, helpers=max(0, min(self._max_helpers, idle)))

    def _take(self, member: _Member) -> None:
        work, member.work = member.work, None
        try:
            answers: list[Answer] = member.pipe.recv()
        except (EOFError, ConnectionResetError):
            message = "the worker process ended without an answer (killed, or out of memory)"
            answers = [Answer("failed", message=message)]
        for answer in answers:
            if answer.kind == "failed":
                self._after_failure(cast("Work", work), answer)
                return
            if isinstance(work, CopyWork):
                self._after_copy(work, answer)
            elif isinstance(work, BuildWork):
                self._after_build(work, answer)
            elif isinstance(work, AnalyzeWork):
                self._analyzed |= answer.analyzed
            elif isinstance(work, EmptyWork | PieceWork | SealWork):
                self._after_piece(work, answer)

    def _after_failure(self, work: Work, answer: Answer) -> None:
        """Stop for rows that cannot be copied; for an index only when all rows are there, which are worth more.

        Statistics that were refused are collected after everything else, and told of then.
        """
        if isinstance(work, AnalyzeWork):
            return
        if answer.sqlstate == _CLAIM_LOST:
            self._claim.read()  # raises runner_replaced when that is the reason
        failure = self._failure(work, answer)
        if not isinstance(work, BuildWork):
            raise failure
        self._failed.append(failure)
        self._builds.pop(work.oid, None)
        self._progress(Event("init", failure.message))

    def _retry(self, work: Needed, name: str, answer: Answer) -> bool:
        """Say whether work that met somebody's lock shall be tried again."""
        self._attempts[name] += 1
        if self._attempts[name] >= MAX_ATTEMPTS:
            raise self._failure(work, answer)
        return True

    def _after_copy(self, work: CopyWork, answer: Answer) -> None:
        task = cast("CopyTask", answer.task)
        if answer.kind == "copied":
            self._arrived(task, answer)
            made = work.indexes.get(task.oid)
            if made is None:
                self.build([task.oid])
            else:
                self._builds.pop(task.oid, None)
                self._filled.add(task.oid)
                self._note_whole(task.oid)
        elif answer.kind == "rewritten":
            self._rewritten.append(task)
        elif answer.kind == "again" or self._retry(work, task.qualified, answer):
            made = work.indexes.get(task.oid)
            self._copies.append(CopyWork((task,), work.snapshot, {} if made is None else {task.oid: made}))

    def _arrived(self, task: CopyTask, answer: Answer) -> None:
        self._copied.append(Copied(task, answer.rows, answer.bytes))
        self._progress(Event("init", f"copied {task.qualified}", {"rows": answer.rows, "bytes": answer.bytes}))

    def _after_piece(self, work: EmptyWork | PieceWork | SealWork, answer: Answer) -> None:
        split = self._splits[work.task.oid]
        if answer.kind == "locked" and self._retry(work, work.task.qualified, answer):
            self._copies.append(work)
        elif isinstance(work, EmptyWork):
            self._copies.extendleft(PieceWork(piece, self._snapshot) for piece in reversed(split.pieces))
        elif isinstance(work, SealWork):
            del self._splits[work.task.oid]
            self._arrived(split.task, answer)
            self.build([split.task.oid])
        else:
            split.left -= 1
            split.rows += answer.rows
            split.bytes += answer.bytes
            if answer.kind == "rewritten" and not split.is_rewritten:
                split.is_rewritten = True
                mine = [w for w in self._copies if isinstance(w, PieceWork) and w.task.oid == work.task.oid]
                split.left -= len(mine)
                self._copies = deque(w for w in self._copies if w not in mine)
            if not split.left and split.is_rewritten:
                del self._splits[work.task.oid]
                self._rewritten.append(split.task)
            elif not split.left:
                self._copies.appendleft(SealWork(split.task, split.rows, split.bytes))

    def _after_build(self, work: BuildWork, answer: Answer) -> None:
        if answer.kind == "locked" and (self._builds_elsewhere(work) or self._retry(work, work.name, answer)):
            self._push(work, 0)
            return
        done = {(classid, objid): state for classid, objid, state in work.indexes.marks}
        if work.oid not in self._builds:
            return  # another index of the table has failed
        left = [b for b in self._builds[work.oid] if done.get(b.key) != indexes.DONE]
        self._builds[work.oid] = [indexes.after_parallel(b) if b.key in done else b for b in left]
        if self._parallel[work.oid]:
            self._parallel[work.oid] -= 1
            if not self._parallel[work.oid] and self._builds[work.oid]:
                self._close_table(work.oid)
        self._note_whole(work.oid)

    def _builds_elsewhere(self, work: BuildWork) -> bool:
        """True while another table's index is built: apply may wait for that one with a lock on this table in hand."""
        return any(isinstance(m.work, BuildWork) and m.work.oid != work.oid for m in self._members)

    def _close_table(self, oid: int) -> None:
        """Do what needs the table for itself, before any other table's builds: it takes a moment."""
        closing = [build for build in self._builds[oid] if indexes.is_closing(build)]
        statements = indexes.closing(closing, self._script)
        marks = tuple((*build.key, indexes.DONE) for build in closing)
        self._push(BuildWork(oid, f"the constraints of {self._name(oid)}", Indexes(statements, marks)), float("inf"))

    def _failure(self, work: Needed, answer: Answer) -> MigrationError:
        message = self._redact(answer.message)
        suffix = f" (SQLSTATE {answer.sqlstate} from the {answer.side})" if answer.sqlstate else ""
        details = {"sqlstate": answer.sqlstate, "side": answer.side}
        if isinstance(work, BuildWork):
            return MigrationError(
                "index_failed",
                f"On the target, {work.name} could not be built: {message}{suffix}",
                "Mend the cause and run the same command again: finished tables and indexes are kept.",
                {**details, "index": work.name},
            )
        tasks = list(work.tasks) if isinstance(work, CopyWork) else [work.task]
        table = (answer.task or tasks[0]).qualified
        if answer.side == "source" and answer.sqlstate in ("42P01", "42703", "3F000"):
            return MigrationError(
                "schema_changed",
                f"{table} changed on the source while it was being copied: {message}{suffix}",
                "Undo the change, or run init with resume: false, which drops what it has made on the target and copies "
                "everything again.",
                {**details, "table": table},
            )
        return MigrationError(
            "copy_failed",
            f"{table} could not be copied: {message}{suffix}",
            "Mend the cause and run the same command again: finished tables are kept.",
            {**details, "table": table},
        )


def _is_about(work: Work | None, oids: Collection[int]) -> bool:
    """True for the building of indexes, and the statistics, of these tables."""
    if isinstance(work, AnalyzeWork):
        return any(oid in oids for oid in work.tables)
    return isinstance(work, BuildWork) and work.oid in oids


@dataclass(frozen=True)
class _Closing:
    """In a worker: closes what belongs to the others."""

    pipes: Sequence[tuple[Pipe, Pipe]]
    number: int
    lifeline: int

    def __call__(self) -> None:
        os.close(self.lifeline)
        for other, (ours, theirs) in enumerate(self.pipes):
            ours.close()
            if other != self.number:
                theirs.close()
