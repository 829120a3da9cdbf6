# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Half-open ranges of a key, which tile it: each row of a table lies in exactly one of them, on both sides alike.

The first has no lower limit and the last none above, so that no value is left out, infinite ones included. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..driver import sql

# Types that both servers order alike, whatever their locale, and the type by which a limit is compared.
ORDERED_ALIKE = {
    "smallint": "int8",
    "integer": "int8",
    "bigint": "int8",
    "date": "date",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "uuid": "uuid",
}


@dataclass(frozen=True)
class KeyRange:
    """Range ``number`` of ``count``: values of ``column`` from ``lower`` up to, not including, ``upper``.

    The limits are text forms under the pinned settings, None where there is none; ``type`` is one of PostgreSQL's own.
    The column holds no NULL on either side.
    """

    column: str
    type: str
    lower: str | None
    upper: str | None
    number: int = 1
    count: int = 1

    def condition(self) -> sql.Composed:
        """Return the condition that a row ``k`` lies in the range."""
        column = sql.SQL("k.{}").format(sql.Identifier(self.column))
        limits: list[sql.Composable] = [
            sql.SQL("{} {} {}::{}").format(
                column, sql.SQL(operator), sql.Literal(limit), sql.Identifier("pg_catalog", self.type)
            )
            for operator, limit in ((">=", self.lower), ("<", self.upper))
            if limit is not None
        ]
        return sql.SQL(" AND ").join(limits) if limits else sql.SQL("{}").format(sql.SQL("true"))


def ranges(column: str, type_name: str, bounds: Sequence[str]) -> tuple[KeyRange, ...]:
    """Return the ranges between ``bounds``, which are ascending, each once."""
    limits = [None, *bounds, None]
    return tuple(
        KeyRange(column, type_name, lower, upper, number, len(bounds) + 1)
        for number, (lower, upper) in enumerate(pairwise(limits), start=1)
    )


def spread(values: Sequence[tuple[str, float]], parts: int) -> tuple[str, ...]:
    """Choose at most ``parts - 1`` bounds that cut weighted ``values``, in their order, into about equal weights.

    A value may come more than once; it is chosen once at most.
    """
    total = sum(weight for _value, weight in values)
    chosen: list[str] = []
    before, goal = 0.0, 1
    for value, weight in values:
        if before > 0 and before >= total * goal / parts and value not in chosen[-1:]:
            chosen.append(value)
            goal = int(before * parts / total) + 1
            if goal >= parts:
                break
        before += weight
    return tuple(chosen)
