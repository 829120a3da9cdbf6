# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The SQL of a repair: each statement names one tuple of the target and holds only while that tuple is what was seen.

The guard is the tuple's place, the transaction that wrote it, the text of its key and the hash of its content. So a row
that anyone has changed since, to whatever value, is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..driver import sql
from .hashing import HashedColumn, text_form
from .pairing import Heap, Unit
from .repair_ground import Ground, TargetColumn
from .rows import Version
from .scan import Recipe

Texts = Mapping[str, "str | None"]


def literal(column: TargetColumn, text: str | None) -> sql.Composed:
    """Return a value of a column from its text form. ``"char"`` has gone through integer, see :func:`.hashing.text_form`."""
    if column.type == '"char"':
        return sql.SQL('{}::pg_catalog.int4::"char"').format(sql.Literal(text))
    # Type names come from format_type, quoted by the server.
    return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(column.type))


def settable(columns: Sequence[HashedColumn], ground: Ground) -> tuple[str, ...]:
    """Return the names of the columns that a statement may set, in order."""
    return tuple(c.name for c in columns if c.name in ground.columns and not ground.columns[c.name].is_generated)


def _heap(unit: Unit, row: Version) -> Heap:
    return next(heap for heap in unit.target.heaps if heap.oid == row.heap)


def guard(unit: Unit, recipe: Recipe, row: Version, key: Sequence[str | None]) -> sql.Composed:
    """Return the condition that a row of the target is the tuple that was seen."""
    half = unit.target
    parts: list[sql.Composable] = [
        sql.SQL("k.ctid = {}::pg_catalog.tid").format(sql.Literal(row.ctid)),
        sql.SQL("k.xmin = {}::pg_catalog.xid").format(sql.Literal(row.xmin)),
    ]
    for position, text in zip(unit.key, key, strict=False):
        parts.append(
            sql.SQL('{} = ({} COLLATE pg_catalog."C")').format(text_form(half.columns[position]), sql.Literal(text))
        )
    parts.append(sql.SQL("{} = {}").format(recipe.content(half), sql.Literal(row.content)))
    parts.append(sql.SQL("{} = {}").format(recipe.generated(half), sql.Literal(row.generated)))
    return sql.SQL("\n   AND ").join(parts)


def lock(heap: Heap, rows: Sequence[Version]) -> sql.Composed:
    """Return the statement that locks some rows, or fails at once when another transaction holds one."""
    places = "{" + ",".join(f'"{row.ctid}"' for row in rows) + "}"
    return sql.SQL(
        "SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ONLY {} AS k WHERE k.ctid = ANY({}::pg_catalog.tid[])"
        " FOR UPDATE OF k NOWAIT) AS q"
    ).format(sql.Identifier(heap.schema, heap.name), sql.Literal(places))


def delete(unit: Unit, recipe: Recipe, row: Version, key: Sequence[str | None]) -> sql.Composed:
    """Return the statement that removes a row."""
    heap = _heap(unit, row)
    return sql.SQL("DELETE FROM ONLY {} AS k\n WHERE {}").format(
        sql.Identifier(heap.schema, heap.name), guard(unit, recipe, row, key)
    )


def update(
    unit: Unit, recipe: Recipe, ground: Ground, row: Version, key: Sequence[str | None], texts: Texts
) -> sql.Composed:
    """Return the statement that sets the columns of ``texts``; without any, that computes the generated columns anew."""
    heap = _heap(unit, row)
    settings = [
        sql.SQL("{} = {}").format(sql.Identifier(name), literal(ground.columns[name], text))
        for name, text in texts.items()
    ] or [
        sql.SQL("{0} = k.{0}").format(sql.Identifier(name))
        for name in settable(unit.target.columns, ground)
        if not ground.columns[name].is_always_identity
    ]
    return sql.SQL("UPDATE ONLY {} AS k\n   SET {}\n WHERE {}").format(
        sql.Identifier(heap.schema, heap.name), sql.SQL(", ").join(settings), guard(unit, recipe, row, key)
    )


def insert(unit: Unit, ground: Ground, texts: Texts) -> sql.Composed:
    """Return the statement that adds a row, unless one with the same key, or another unique value, is there."""
    columns = {name: ground.columns[name] for name in texts}
    into = sql.SQL("INSERT INTO {}").format(sql.Identifier(unit.schema, unit.name))
    if not texts:
        return into + sql.SQL(" DEFAULT VALUES ON CONFLICT DO NOTHING")
    overriding = any(column.is_always_identity for column in ground.columns.values())
    return into + sql.SQL(" ({}){}\nVALUES ({})\n    ON CONFLICT DO NOTHING").format(
        sql.SQL(", ").join(map(sql.Identifier, texts)),
        sql.SQL(" OVERRIDING SYSTEM VALUE" if overriding else ""),
        sql.SQL(", ").join(literal(columns[name], text) for name, text in texts.items()),
    )
