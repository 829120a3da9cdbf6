# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Repair of proven differences on the target, while both sides are written to, so that no newer change is lost.

A batch is written in a transaction of the target and left open. Then the source is asked whether the tuples on which
the proofs rest are still untouched. If they are, whatever changes them afterwards is applied after our locks are in
place, so the apply worker waits for us and then changes what we have written; the batch is committed. If one is not,
nothing of the batch stays, and it is tried again without that row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from ..driver import psycopg, sql
from ..endpoint import Side
from ..session import Session
from .hashing import column_hash, text_form
from .mending import Mending
from .naming import Difference
from .pairing import Half, Heap, Unit
from .repair_ground import Ground
from .repair_statements import Texts, delete, insert, lock, settable, update
from .rows import Version, at_places, by_heap
from .scan import Recipe, from_heap, side_columns
from .snapshots import SETTINGS, Place, following, new_transaction_id, wait_until_ended

BATCH_ROWS = 50
BATCH_BYTES = 8 * 1024 * 1024
MAX_ROW_BYTES = 64 * 1024 * 1024
_ENDED_WITHIN_S = 1.0
# We hold locks when an insert meets one that is not finished, and must not be what an apply worker dies of: its search
# for a deadlock begins after a second of waiting.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout TO '100ms'"
_AS_REPLICA = "SET LOCAL session_replication_role TO replica"

SOURCE_CHANGED = "the source has changed the row since"
TARGET_CHANGED = "the target's row was changed since"
IN_THE_WAY = "another row with the same key, or another unique value, is in the way"


@dataclass(frozen=True)
class Job:
    """A difference to repair; ``number`` is the caller's name for it."""

    number: int
    difference: Difference
    mending: Mending


@dataclass(frozen=True)
class Written:
    """Statements of one job, in order of kind: deletions first, so that unique values are free."""

    number: int
    order: int
    statement: sql.Composed
    shown: str  # the same in words, without a value

    @property
    def is_insert(self) -> bool:
        """True for a statement that another row can be in the way of."""
        return self.order == 2


@dataclass
class Batch:
    """Jobs of one table and what stands against some of them, by number."""

    jobs: list[Job]
    against: dict[int, str] = field(default_factory=dict)

    @property
    def open(self) -> list[Job]:
        """Return the jobs that nothing stands against."""
        return [job for job in self.jobs if job.number not in self.against]


@dataclass(frozen=True)
class _Table:
    """What all statements of one table share."""

    unit: Unit
    ground: Ground
    recipe: Recipe

    @property
    def names(self) -> list[str]:
        return [column.name for column in side_columns(self.unit, "source")]


class Repairs:
    """Repairs along two connections to the source and one that may write to the target.

    ``is_replica``: write as replication does, without triggers and foreign keys. ``applied`` takes each statement that
    was committed.
    """

    def __init__(
        self,
        source: Session,
        control: Session,
        target: Session,
        recipe: Recipe,
        *,
        is_replica: bool,
        applied: Callable[[Job, Written], None] = lambda job, written: None,
    ) -> None:
        self._source, self._control, self._target = source, control, target
        self._recipe = recipe
        self._is_replica = is_replica
        self._applied = applied

    def apply(self, unit: Unit, ground: Ground, jobs: Sequence[Job]) -> dict[int, str]:
        """Repair differences of one table; return by number why one was not repaired, '' when it was."""
        table = _Table(unit, ground, self._recipe)
        outcome: dict[int, str] = {}
        waiting = [list(jobs[start : start + BATCH_ROWS]) for start in range(0, len(jobs), BATCH_ROWS)]
        while waiting:
            batch = Batch(waiting.pop(0))
            again = self._try(table, batch)
            if isinstance(again, str):
                if len(batch.open) == 1:
                    batch.against[batch.open[0].number] = again
                    again = []
                else:  # one of them is refused: find out which
                    middle = len(batch.open) // 2
                    waiting[:0] = [batch.open[:middle], batch.open[middle:]]
                    outcome |= batch.against
                    continue
            outcome |= batch.against
            outcome |= {job.number: "" for job in batch.open if job not in again}
            if again:
                waiting.insert(0, again)
        return outcome

    def preview(self, unit: Unit, ground: Ground, jobs: Sequence[Job]) -> Iterator[tuple[Job, str, list[Written]]]:
        """Yield for each difference why it cannot be repaired, or '' and the statements that would do it."""
        table = _Table(unit, ground, self._recipe)
        for start in range(0, len(jobs), BATCH_ROWS):
            waiting = [list(jobs[start : start + BATCH_ROWS])]
            while waiting:
                batch = Batch(waiting.pop(0))
                with following(self._source), following(self._target):
                    written, later = self._compose(table, batch)
                statements: dict[int, list[Written]] = defaultdict(list)
                for each in written:
                    statements[each.number].append(each)
                for job in batch.jobs:
                    if job not in later:
                        yield job, batch.against.get(job.number, ""), statements[job.number]
                if later:
                    waiting.append(later)

    def _try(self, table: _Table, batch: Batch) -> list[Job] | str:
        """Carry one batch through; return the jobs to try again, or the error that stands against one of them."""
        try:
            with following(self._source), self._writing():
                written, later = self._compose(table, batch)
                doing = [job for job in batch.open if job not in later]
                if not doing:
                    return later
                short = self._execute(table, doing, written)
                if short:
                    batch.against |= short
                    return batch.open
                touched = self._touched(table, doing)
                if touched:
                    batch.against |= dict.fromkeys(touched, SOURCE_CHANGED)
                    return batch.open
                self._target.connection.execute("COMMIT")
        except psycopg.Error as error:
            if self._source.connection.closed or self._target.connection.closed:
                raise
            return refused(error)
        for each in written:
            self._applied(next(job for job in doing if job.number == each.number), each)
        return later

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Open a transaction on the target; whatever was not committed in the block is rolled back."""
        begin = ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", SETTINGS, _LOCK_TIMEOUT]
        self._target.connection.execute(";\n".join([*begin, *([_AS_REPLICA] if self._is_replica else [])]))
        try:
            yield
        finally:
            with suppress(psycopg.Error):
                self._target.connection.execute("ROLLBACK")

    # --- reading ---------------------------------------------------------------------------------------------

    def _at(
        self,
        side: Side,
        half: Half,
        values: Sequence[sql.Composable],
        rows: Sequence[Version],
    ) -> dict[Place, tuple[Any, ...]]:
        """Read expressions over some tuples of one side, as they are now."""
        session = self._source if side == "source" else self._target
        found: dict[Place, tuple[Any, ...]] = {}
        for heap, places in by_heap(half, dict.fromkeys(row.place for row in rows)):
            query = sql.SQL("SELECT {}{}").format(
                sql.SQL(", ").join([sql.SQL("k.ctid::pg_catalog.text"), sql.SQL("k.xmin::pg_catalog.text"), *values]),
                from_heap(heap, at_places(places)),
            )
            with session.connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                for ctid, xmin, *rest in cursor.execute(query).fetchall():
                    found[heap.oid, ctid, xmin] = tuple(rest)
        return found

    def _hashes(self, table: _Table, side: Side) -> list[sql.Composable]:
        seeds, rules = table.recipe.seeds, table.recipe.rules
        return [column_hash(c, seeds.column(n), rules, n) for n, c in enumerate(side_columns(table.unit, side))]

    def _compose(self, table: _Table, batch: Batch) -> tuple[list[Written], list[Job]]:
        """Look at both sides and write the statements. What stands against a job is noted in the batch.

        The jobs of the second result would make the batch too large; they are for the next one.
        """
        unit, ground = table.unit, table.ground
        relied = [row for job in batch.open for row in (*job.mending.relied_on, *job.mending.taken)]
        marks = [table.recipe.content(unit.source), table.recipe.generated(unit.source)]
        lengths = sql.SQL("ARRAY[{}]::pg_catalog.int8[]").format(
            sql.SQL(", ").join(
                sql.SQL("pg_catalog.octet_length({})").format(text_form(c)) for c in side_columns(unit, "source")
            )
        )
        here = self._at("source", unit.source, [*marks, lengths], relied)
        touched = [row for job in batch.open for row in job.mending.touched]
        keys = [text_form(unit.target.columns[position]) for position in unit.key]
        marks = [table.recipe.content(unit.target), table.recipe.generated(unit.target)]
        there = self._at("target", unit.target, [*marks, *keys], touched)
        for job in batch.open:
            if any(here.get(row.place, ())[:2] != (row.content, row.generated) for row in job.mending.relied_on):
                batch.against[job.number] = SOURCE_CHANGED
            elif any(there.get(row.place, ())[:2] != (row.content, row.generated) for row in job.mending.touched):
                batch.against[job.number] = TARGET_CHANGED
        columns = self._columns(table, batch)
        later = _too_large(table, batch, here, columns)
        doing = [job for job in batch.open if job not in later]
        texts = self._texts(table, doing, columns)
        written: list[Written] = []
        for job in doing:
            name = f"{unit.schema}.{unit.name}"
            for row in job.mending.deletes:
                statement = delete(unit, table.recipe, row, there[row.place][2:])
                written.append(Written(job.number, 0, statement, f"DELETE of one row of {name}, as it was seen"))
            for source, target in job.mending.updates:
                values = texts[source.place, target.place]
                statement = update(unit, table.recipe, ground, target, there[target.place][2:], values)
                which = ", ".join(values) or "the generated columns"
                written.append(
                    Written(job.number, 1, statement, f"UPDATE of {which} in one row of {name}, as it was seen")
                )
            for source in job.mending.inserts:
                statement = insert(unit, ground, texts[source.place, None])
                written.append(
                    Written(job.number, 2, statement, f"INSERT of one row into {name} ON CONFLICT DO NOTHING")
                )
        written.sort(key=lambda each: each.order)
        return written, later

    def _columns(self, table: _Table, batch: Batch) -> dict[tuple[Place, Place | None], tuple[str, ...]]:
        """Return the columns to set, by the places of source and target; none of a generated-only difference."""
        pairs = [pair for job in batch.open for pair in job.mending.updates]
        every = settable(side_columns(table.unit, "source"), table.ground)
        found: dict[tuple[Place, Place | None], tuple[str, ...]] = {
            (row.place, None): every for job in batch.open for row in job.mending.inserts
        }
        here = self._at("source", table.unit.source, self._hashes(table, "source"), [pair[0] for pair in pairs])
        there = self._at("target", table.unit.target, self._hashes(table, "target"), [pair[1] for pair in pairs])
        for source, target in pairs:
            left, right = here.get(source.place, ()), there.get(target.place, ())
            found[source.place, target.place] = tuple(
                name for name, a, b in zip(table.names, left, right, strict=False) if a != b and name in every
            )
        for job in batch.open:
            for source, target in job.mending.updates:
                fixed = [n for n in found[source.place, target.place] if table.ground.columns[n].is_always_identity]
                if fixed:
                    batch.against[job.number] = f"column {fixed[0]} is GENERATED ALWAYS AS IDENTITY and cannot be set"
        return found

    def _texts(
        self, table: _Table, jobs: Sequence[Job], columns: Mapping[tuple[Place, Place | None], tuple[str, ...]]
    ) -> dict[tuple[Place, Place | None], Texts]:
        """Read the values to set from the source, in one query for each set of columns."""
        wanted: dict[tuple[str, ...], list[tuple[Version, Place | None]]] = defaultdict(list)
        for job in jobs:
            for source, target in job.mending.updates:
                wanted[columns[source.place, target.place]].append((source, target.place))
            for source in job.mending.inserts:
                wanted[columns[source.place, None]].append((source, None))
        by_name = {column.name: column for column in side_columns(table.unit, "source")}
        found: dict[tuple[Place, Place | None], Texts] = {}
        for names, rows in wanted.items():
            forms = [text_form(by_name[name]) for name in names]
            values = self._at("source", table.unit.source, forms, [row for row, _target in rows])
            for row, place in rows:
                found[row.place, place] = dict(zip(names, values.get(row.place, ()), strict=False))
        return found

    # --- writing ---------------------------------------------------------------------------------------------

    def _execute(self, table: _Table, jobs: Sequence[Job], written: Sequence[Written]) -> dict[int, str]:
        """Lock the rows and run the statements in one round trip; return why those fell short that changed no row."""
        touched = [row for job in jobs for row in job.mending.touched]
        heaps = {heap.oid: heap for heap in table.unit.target.heaps}
        locks = [lock(heap, rows) for heap, rows in _of_heap(heaps, touched)]
        cursor = self._target.connection.execute(sql.SQL(";\n").join([*locks, *(each.statement for each in written)]))
        counts = [cursor.rowcount]
        while cursor.nextset():
            counts.append(cursor.rowcount)
        return {
            each.number: IN_THE_WAY if each.is_insert else TARGET_CHANGED
            for each, count in zip(written, counts[len(locks) :], strict=True)
            if count != 1
        }

    def _touched(self, table: _Table, jobs: Sequence[Job]) -> list[int]:
        """Return the jobs whose source tuples are not as they were, now that our locks are in place.

        A raw xmax of 0 is proof. Another may be a finished locker's: then every transaction that could have been
        applied before our locks must have ended, and the tuple still be there.
        """
        rows = [row for job in jobs for row in job.mending.relied_on]
        if not rows:
            return []
        values = [
            sql.SQL("k.xmax::pg_catalog.text"),
            table.recipe.content(table.unit.source),
            table.recipe.generated(table.unit.source),
        ]
        seen = self._at("source", table.unit.source, values, rows)
        may_be_locked = False
        if any(xmax != "0" for xmax, *_rest in seen.values()):
            horizon = new_transaction_id(self._control)
            may_be_locked = wait_until_ended(self._control, horizon, _ENDED_WITHIN_S)
            seen = self._at("source", table.unit.source, values, rows)

        def holds(row: Version) -> bool:
            xmax, *marks = seen.get(row.place, ("",))
            return marks == [row.content, row.generated] and (xmax == "0" or may_be_locked)

        return [job.number for job in jobs if not all(holds(row) for row in job.mending.relied_on)]


def _of_heap(heaps: Mapping[int, Heap], rows: Sequence[Version]) -> list[tuple[Heap, list[Version]]]:
    grouped: dict[int, list[Version]] = defaultdict(list)
    for row in rows:
        grouped[row.heap].append(row)
    return [(heaps[oid], found) for oid, found in sorted(grouped.items())]


def _too_large(
    table: _Table,
    batch: Batch,
    here: Mapping[Place, tuple[Any, ...]],
    columns: Mapping[tuple[Place, Place | None], tuple[str, ...]],
) -> list[Job]:
    """Note the jobs whose values are too large for a statement; return those that must wait for the next batch."""
    position = {name: number for number, name in enumerate(table.names)}
    held = 0
    later: list[Job] = []
    for job in batch.open:
        wanted = [(source.place, target.place) for source, target in job.mending.updates]
        wanted += [(source.place, None) for source in job.mending.inserts]  # type: ignore[misc]
        size = sum(
            here[places[0]][2][position[name]] or 0
            for places in wanted
            for name in columns[places]
            if places[0] in here
        )
        if size > MAX_ROW_BYTES:
            batch.against[job.number] = f"its values take {size} bytes as text, and {MAX_ROW_BYTES} is the limit"
        elif held and held + size > BATCH_BYTES:
            later.append(job)
        else:
            held += size
    return later


def refused(error: psycopg.Error) -> str:
    """Say why a server refused, without a value: only some messages never quote one."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "locked by another transaction on the target"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"no privilege: {error.diag.message_primary}"
    name = error.diag.constraint_name
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(error).__name__).strip()
    return f"the target refused it: {words}{f' of {name}' if name else ''} (SQLSTATE {error.sqlstate})"
