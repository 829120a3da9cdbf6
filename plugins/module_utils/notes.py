# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a worker writes to the ledger: statements for the end of the transaction that brings what they are about.

Each of them is one only while the claim is held, and a table's while its stream is open; else the transaction fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .copying import CopyTask
from .driver import sql
from .work import Indexes

# Waits for a takeover or the removal of a stream, or they wait for it; so it stands at the end of a transaction.
_CLAIM_HELD = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.migration AS m
                                   WHERE m.id = {id} AND m.epoch = {epoch} AND m.cleaned_at IS NULL FOR SHARE) AS held)
"""
STREAMS_OPEN = """
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
# What a table's pieces have brought so far, for whoever watches; the table counts only once it is marked as copied.
_ADD_PIECE = """
UPDATE seren_migrator.relation AS r
   SET rows = coalesce(r.rows, 0) + {rows}, bytes = coalesce(r.bytes, 0) + {bytes}
 WHERE r.migration_id = {id} AND r.schema = {schema} AND r.name = {name}
"""
_MARK_BUILT = """
UPDATE seren_migrator.index_build AS i SET state = v.state, finished_at = pg_catalog.clock_timestamp()
  FROM (VALUES {values}) AS v(classid, objid, state)
 WHERE i.migration_id = {id} AND i.classid = v.classid AND i.objid = v.objid
"""


@dataclass
class Arrived:
    """A table that was read from the source; ``data`` holds the rows of a small one."""

    task: CopyTask
    rows: int
    bytes: int
    data: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Notes:
    """The notes of one migration (``id``), under one claim."""

    id: str
    epoch: int

    def claim_held(self) -> sql.Composed:
        """Return what fails when the claim is lost."""
        return self._sql(_CLAIM_HELD)

    def tables(self, arrived: Sequence[Arrived]) -> list[sql.Composable]:
        """Return what notes that the rows of whole tables are there."""
        streams = sorted({item.task.stream for item in arrived})
        return [
            self.claim_held(),
            *(self._sql(STREAMS_OPEN, stream=sql.Literal(number)) for number in streams),
            self._sql(_MARK_COPIED, values=sql.SQL(", ").join(map(_copied, arrived))),
        ]

    def piece(self, task: CopyTask, rows: int, size_bytes: int) -> list[sql.Composable]:
        """Return what notes that a piece of a table is there."""
        values = {"rows": rows, "bytes": size_bytes, "schema": task.schema, "name": task.name}
        return [self.claim_held(), self._sql(_ADD_PIECE, **{key: sql.Literal(value) for key, value in values.items()})]

    def built(self, indexes: Iterable[Indexes]) -> list[sql.Composable]:
        """Return what notes which indexes are there, nothing where there are none."""
        marks = [mark for item in indexes for mark in item.marks]
        if not marks:
            return []
        values = sql.SQL(", ").join(
            sql.SQL("({}, {}, {})").format(*(sql.Literal(value) for value in mark)) for mark in marks
        )
        return [self._sql(_MARK_BUILT, values=values)]

    def _sql(self, statement: str, **values: sql.Composable) -> sql.Composed:
        text = sql.SQL(statement.strip())
        return text.format(id=sql.Literal(self.id), epoch=sql.Literal(self.epoch), **values)


def _copied(item: Arrived) -> sql.Composed:
    """Return the table as a row of VALUES."""
    task = item.task
    return sql.SQL("({}, {}, {}::integer, {}::bigint, {}::bigint, {})").format(
        sql.Literal(task.schema),
        sql.Literal(task.name),
        sql.Literal(task.stream if task.is_carried else None),
        sql.Literal(item.rows),
        sql.Literal(item.bytes),
        sql.Literal(task.format),
    )
