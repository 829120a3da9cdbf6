# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What validate found, as text for a terminal: what stands in the way first, each with its remedy. Pure.

Made from the result's plain data. Other forms of it (HTML, Markdown) are rendered where Ansible runs.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..quantities import count, size

WIDTH = 120
MOST_OBJECTS = 10
MOST_REMEDY_LINES = 12
HEADINGS = {"blocker": "BLOCKERS", "warning": "WARNINGS", "info": "GOOD TO KNOW"}

# Controls of the terminal, and of the direction of writing, which would show something else than what is there.
_INVISIBLE = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C)))


def plain(text: str) -> str:
    """Return text in which nothing acts on the terminal: control characters, line breaks too, are shown as escapes."""
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in ("Cc", "Zl", "Zp") or char in _INVISIBLE
        else char
        for char in text
    )


def listing(name: str, data: Mapping[str, Any]) -> str:
    """Return the text; ``data`` is the phase's result, ``name`` the migration's. Lines are at most 120 wide, but SQL."""
    checks: Sequence[Mapping[str, Any]] = data["checks"]
    found = [check for check in checks if check["status"] in ("fail", "unknown")]
    width = max((len(check["id"]) for check in found), default=0)
    lines = [f"{plain(name)}: {'ready' if data['ready'] else 'not ready'} ({_counts(data['summary'])})"]
    lines += [_side(side, data[side]) for side in ("source", "target")]
    for severity, heading in HEADINGS.items():
        of_severity = [check for check in found if check["severity"] == severity]
        lines += ["", heading] if of_severity else []
        for check in of_severity:
            lines += _finding(check, width)
    skipped = [check for check in checks if check["status"] == "skipped"]
    for heading, is_open in (("COULD NOT BE LOOKED AT", True), ("LEFT OUT", False)):
        lines += _grouped(heading, [check for check in skipped if bool(check["open"]) is is_open])
    lines += _estimate(data["plan"].get("estimate") or {})
    return "\n".join(lines) + "\n"


def _counts(summary: Mapping[str, Any]) -> str:
    still_open = summary["open"]
    parts = [f"{count(summary['pass'], 'check')} passed"]
    parts += [count(still_open[severity], severity) for severity in ("blocker", "warning")]
    parts += [f"{still_open['info']:,} good to know"] if still_open["info"] else []
    parts += [f"{summary[status]:,} {status}" for status in ("unknown", "skipped") if summary[status]]
    return ", ".join(parts)


def _side(side: str, facts: Mapping[str, Any]) -> str:
    endpoint = facts["endpoint"]
    host = f"{endpoint.get('host', '')}:{endpoint.get('port', '5432')}"
    parts = [f"{side}: {endpoint.get('dbname', '')} on {host}"]
    parts.append(f"PostgreSQL {facts['version']}" if facts.get("version") else "not reached")
    if facts.get("bytes") is not None:
        parts.append(size(facts["bytes"]))
    elif facts.get("database_exists") is False:
        parts.append("does not exist yet")
    return plain(", ".join(parts))


def _finding(check: Mapping[str, Any], width: int) -> Iterator[str]:
    """Yield the lines of one finding, its id in a column of its own."""
    said = " ".join((check["detail"] or check["title"]).split())
    marked = f"unknown: {said}" if check["status"] == "unknown" else said
    texts = [(marked, "", "")]
    if check["objects"]:
        texts.append((_some(check["objects"]), "on: ", "    "))
    yield from _columns(check["id"], width, (line for text, *marks in texts for line in _wrapped(text, width, *marks)))
    yield from (f"{' ' * (width + 4)}{line}" for line in _remedy(check["remedy"], width))


def _columns(first: str, width: int, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {first if number == 0 else '':{width}}  {line}"


def _wrapped(text: str, width: int, begin: str = "", further: str = "") -> list[str]:
    return textwrap.wrap(
        plain(text),
        WIDTH - width - 4,
        initial_indent=begin,
        subsequent_indent=further,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _some(objects: Sequence[str]) -> str:
    shown = ", ".join(objects[:MOST_OBJECTS])
    left = len(objects) - MOST_OBJECTS
    return f"{shown} and {left:,} more" if left > 0 else shown


def _remedy(remedy: str, width: int) -> Iterator[str]:
    """Yield the remedy's lines: SQL as it is, to be pasted; words in lines that fit."""
    lines = remedy.split("\n") if remedy else []
    if len(lines) > MOST_REMEDY_LINES:
        lines = [*lines[: MOST_REMEDY_LINES - 1], f"-- ... and {len(lines) - MOST_REMEDY_LINES + 1:,} lines more"]
    begin, further = "do: ", "    "
    for line in lines:
        if line.rstrip().endswith(";"):
            yield f"{begin}{plain(line)}"
        else:
            comment = "-- " if line.startswith("-- ") else ""
            yield from _wrapped(line, width, begin, f"{further}{comment}")
        begin = further


def _grouped(heading: str, checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield checks that were not made, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for check in checks:
        reasons.setdefault(check["detail"], []).append(check["id"])
    yield from ["", heading] if reasons else []
    for reason, ids in reasons.items():
        yield from textwrap.wrap(
            plain(f"{' '.join(reason.split())} ({', '.join(ids)})"),
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )


def _estimate(estimate: Mapping[str, Any]) -> Iterator[str]:
    if not estimate:
        return
    yield from ["", "ESTIMATE"]
    for sentence in estimate["summary"]:
        first, _colon, rest = sentence.partition(": ")
        width = max(len(each.partition(": ")[0]) for each in estimate["summary"])
        yield from _columns(first, width, _wrapped(rest, width))
    largest = [table for table in estimate["largest_tables"] if table["bytes"]]
    if not largest:
        return
    cells = [
        ("unknown" if table["rows"] is None else f"{table['rows']:,}", size(table["bytes"]), table) for table in largest
    ]
    rows_width = max(len("rows"), *(len(rows) for rows, _bytes, _table in cells))
    bytes_width = max(len("size"), *(len(amount) for _rows, amount, _table in cells))
    yield f"  {'rows':>{rows_width}}  {'size':>{bytes_width}}  largest tables"
    for rows, amount, table in cells:
        yield f"  {rows:>{rows_width}}  {amount:>{bytes_width}}  {plain(table['schema'] + '.' + table['name'])}"
