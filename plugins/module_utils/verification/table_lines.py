# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""One line of the report for each table, also for those that were compared in ranges of their key. Pure.

A table is verified only when each of its ranges is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .comparison import Comparison

# The first of these that any range has is the table's.
_WORST_FIRST = ("different", "error", "unverified", "", "verified")
_REASONS_NAMED = 3


def table_lines(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return the lines; ``ranges`` is empty for a table that was compared as a whole."""
    by_table: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        by_table.setdefault((comparison.unit.schema, comparison.unit.name), []).append(comparison)
    return [_line(parts) for parts in by_table.values()]


def _line(parts: Sequence[Comparison]) -> dict[str, Any]:
    lines = [part.as_data() for part in parts]
    if parts[0].unit.span is None:
        return {**lines[0], "ranges": []}
    parts = sorted(parts, key=_number)
    lines = [part.as_data() for part in parts]
    status = min((line["status"] for line in lines), key=_WORST_FIRST.index)
    return {
        **lines[0],
        "status": status,
        "reason": _reason(parts, status),
        **{name: _sum(lines, name) for name in ("source_rows", "target_rows", "differing_rows", "in_doubt", "seconds")},
        "rounds": max(line["rounds"] for line in lines),
        **{name: _first(lines, name) for name in ("lsn", "read_at")},
        "last_lsn": max((line["last_lsn"] for line in lines if line["last_lsn"]), key=_position, default=None),
        "resumed": any(line["resumed"] for line in lines),
        "ranges": [
            {
                "number": _number(part),
                **{
                    name: line[name] for name in ("status", "reason", "source_rows", "target_rows", "rounds", "resumed")
                },
                **{name: line[name] for name in ("lsn", "last_lsn", "read_at")},
            }
            for part, line in zip(parts, lines, strict=True)
        ],
    }


def _number(part: Comparison) -> int:
    return part.unit.span.number if part.unit.span is not None else 0


def _reason(parts: Sequence[Comparison], status: str) -> str:
    if status == "verified":
        return ""
    named = [
        f"range {_number(part)} of {len(parts)}: {part.reason or 'not compared'}"
        for part in parts
        if part.status == status
    ]
    more = len(named) - _REASONS_NAMED
    return "; ".join([*named[:_REASONS_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _sum(lines: Sequence[dict[str, Any]], name: str) -> Any:
    """Return the sum, None when any part is unknown."""
    values = [line[name] for line in lines]
    total = None if any(value is None for value in values) else sum(values)
    return round(total, 3) if isinstance(total, float) else total


def _first(lines: Sequence[dict[str, Any]], name: str) -> Any:
    """Return what the range says that was read first."""
    known = [line for line in lines if line["lsn"]]
    return min(known, key=lambda line: _position(line["lsn"]))[name] if known else None


def _position(lsn: str) -> tuple[int, int]:
    high, _slash, low = lsn.partition("/")
    return int(high, 16), int(low, 16)
