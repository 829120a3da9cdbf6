# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The initial copy of rows as a plan: which table travels how, in which pieces and together with which others.

Pure: the statements and the order. Moving the bytes is ``transfer.py``, doing it in worker processes ``worker.py``,
handing out the work ``crew.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .catalog import Table
from .driver import sql
from .selection import Selected

# Tables up to this size share a transaction with others, and a round trip each is all they cost.
SMALL_BYTES = 256 * 1024
BATCH_TABLES = 32
# A table up to this size gets its indexes in the transaction that brings its rows.
INLINE_INDEX_BYTES = 16 * 1024 * 1024

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


@dataclass(frozen=True)
class CopyTask:
    """One table to copy, or a piece of it: where it is, which columns and rows travel, and in which format.

    ``stream`` is the number of the stream in whose snapshot it is read; ``is_carried`` is false for what no stream
    replicates. ``blocks`` (first, end; end None for the rest) makes it a piece of a table that is split.
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
    has_wide_rows: bool = True
    blocks: tuple[int, int | None] | None = None

    @property
    def qualified(self) -> str:
        """``schema.table`` for people."""
        return f"{self.schema}.{self.name}"

    @property
    def is_small(self) -> bool:
        """True when it is not worth a transaction of its own."""
        return self.blocks is None and self.estimated_bytes <= SMALL_BYTES


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
            has_wide_rows=table.has_wide_rows,
        )
        for table in tables
    ]
    return sorted(tasks, key=lambda task: (-task.estimated_bytes, task.schema, task.name))


def batches(tasks: Sequence[CopyTask], jobs: int) -> list[tuple[CopyTask, ...]]:
    """Return what a worker does at a time: a large table alone, small ones together; in the order of ``tasks``.

    Batches stay small enough that every worker gets several, because their tables' sizes are estimates.
    """
    small = [task for task in tasks if task.is_small]
    length = max(1, min(BATCH_TABLES, len(small) // (4 * max(1, jobs))))
    alone = [(task,) for task in tasks if not task.is_small]
    return alone + [tuple(small[start : start + length]) for start in range(0, len(small), length)]


def copy_out(task: CopyTask) -> sql.Composed:
    """Return the source's COPY statement: ``COPY t (columns) TO STDOUT``, or a query where rows are chosen."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in task.columns)
    table = sql.Identifier(task.schema, task.name)
    conditions: list[sql.Composable] = []
    if task.predicate is not None:
        conditions.append(sql.SQL("({}\n)").format(sql.SQL(task.predicate)))
    if task.blocks is not None:
        first, end = task.blocks
        conditions.append(sql.SQL("ctid >= '({},0)'").format(sql.Literal(first)))
        if end is not None:
            conditions.append(sql.SQL("ctid < '({},0)'").format(sql.Literal(end)))
    what: sql.Composable
    if conditions:
        where = sql.SQL(" AND ").join(conditions)
        what = sql.SQL("(SELECT {} FROM ONLY {} WHERE {})").format(columns, table, where)
    elif task.columns:
        what = sql.SQL("{} ({})").format(table, columns)
    else:
        what = table
    return sql.SQL("COPY {} TO STDOUT WITH (FORMAT {})").format(what, sql.SQL(task.format))


def empty(task: CopyTask) -> sql.Composed:
    """Return the target's statement that empties a table before it is filled."""
    return sql.SQL("TRUNCATE ONLY {}").format(sql.Identifier(task.schema, task.name))


def copy_in(task: CopyTask) -> sql.Composed:
    """Return the target's COPY statement; frozen when the whole table comes in the transaction that empties it."""
    table = sql.Identifier(task.schema, task.name)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in task.columns)
    listed = sql.SQL(" ({})").format(columns) if task.columns else sql.SQL("")
    frozen = sql.SQL(", FREEZE" if task.blocks is None else "")
    return sql.SQL("COPY {}{} FROM STDIN WITH (FORMAT {}{})").format(table, listed, sql.SQL(task.format), frozen)
