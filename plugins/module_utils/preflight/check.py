# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a check is, what it may answer, and how a topic file declares one.

A check is one function of a :class:`Context`, declared with :func:`check` (or :func:`check_both`, once for each side)
into its topic's list. It answers with :func:`passed`, :func:`failed`, :func:`unknown` or :func:`skipped`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..driver import sql
from ..endpoint import Side
from .context import Context

Severity = Literal["blocker", "warning", "info"]
Status = Literal["pass", "fail", "unknown", "skipped"]
SEVERITIES: tuple[Severity, ...] = ("blocker", "warning", "info")
STATUSES: tuple[Status, ...] = ("pass", "fail", "unknown", "skipped")


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    ``objects`` are names for people; ``remedy`` is SQL to paste, or a sentence; ``severity`` replaces the check's own
    in this case; ``code`` is the error code (``errors.CODES``) to use when nothing else stands in the way; ``needs``
    is the id of the check whose failure made this one impossible.
    """

    status: Status
    objects: tuple[str, ...] = ()
    detail: str = ""
    remedy: str = ""
    severity: Severity | None = None
    code: str = "not_ready"
    needs: str = ""


Function = Callable[[Context], Outcome]


@dataclass(frozen=True)
class Check:
    """One check. ``versions`` are the first and last major of its side's server to which it applies."""

    id: str
    title: str
    side: Literal["source", "target", "both", "controller"]
    severity: Severity
    function: Function
    versions: tuple[int, int] = (0, 99)


@dataclass(frozen=True)
class Finding:
    """A check with its outcome and the severity that counts after the case's and the user's word."""

    check: Check
    outcome: Outcome
    severity: Severity

    @property
    def is_open(self) -> bool:
        """True unless the check passed or was left out on purpose: there is no positive evidence."""
        return self.outcome.status in ("fail", "unknown") or bool(self.outcome.needs)

    def stops(self, severities: Iterable[Severity]) -> bool:
        """True when this finding, having one of these severities, stands in the way."""
        return self.is_open and self.severity in severities

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.check.id,
            "title": self.check.title,
            "side": self.check.side,
            "severity": self.severity,
            "status": self.outcome.status,
            "open": self.is_open,
            "objects": list(self.outcome.objects),
            "detail": self.outcome.detail,
            "remedy": self.outcome.remedy,
        }


def passed(detail: str = "") -> Outcome:
    """There is evidence that all is well."""
    return Outcome("pass", detail=detail)


def failed(
    detail: str,
    remedy: str = "",
    *,
    objects: Iterable[str] = (),
    severity: Severity | None = None,
    code: str = "not_ready",
) -> Outcome:
    """There is evidence of a problem."""
    return Outcome("fail", tuple(objects), detail, first_alternative(remedy), severity, code)


def unknown(detail: str, remedy: str = "", *, objects: Iterable[str] = (), severity: Severity | None = None) -> Outcome:
    """There is no evidence either way: we were not allowed, or not able, to look."""
    return Outcome("unknown", tuple(objects), detail, first_alternative(remedy), severity)


def first_alternative(remedy: str) -> str:
    """Return a remedy in which only the first alternative is live: the others, after ``-- or``, are comments. Pure."""
    first, *others = re.split(r"^(?=-- or\b)", remedy, flags=re.MULTILINE)
    lines = "".join(others).split("\n") if others else []
    return first + "\n".join(line if line.startswith("--") or not line else f"-- {line}" for line in lines)


def skipped(detail: str, *, needs: str = "") -> Outcome:
    """The check was not made; ``needs`` names the failed check that would have had to pass first."""
    return Outcome("skipped", detail=detail, needs=needs)


def check(
    topic: list[Check],
    identifier: str,
    title: str,
    *,
    side: Literal["source", "target", "both", "controller"],
    severity: Severity = "blocker",
    versions: tuple[int, int] = (0, 99),
) -> Callable[[Function], Function]:
    """Declare the decorated function as a check of ``topic``."""

    def declare(function: Function) -> Function:
        topic.append(Check(identifier, title, side, severity, function, versions))
        return function

    return declare


def check_both(
    topic: list[Check], identifier: str, title: str, *, severity: Severity = "blocker"
) -> Callable[[Callable[[Context, Side], Outcome]], Callable[[Context, Side], Outcome]]:
    """Declare two checks, ``source_...`` and ``target_...``; ``{side}`` in the title stands for the side."""

    def declare(function: Callable[[Context, Side], Outcome]) -> Callable[[Context, Side], Outcome]:
        def of_source(context: Context) -> Outcome:
            return function(context, "source")

        def of_target(context: Context) -> Outcome:
            return function(context, "target")

        topic.append(Check(f"source_{identifier}", title.format(side="source"), "source", severity, of_source))
        topic.append(Check(f"target_{identifier}", title.format(side="target"), "target", severity, of_target))
        return function

    return declare


def statements(*parts: sql.Composable) -> str:
    """Return SQL statements as text to paste, one a line."""
    return "\n".join(part.as_string(None) + ";" for part in parts)


def statement(template: str, *parts: sql.Composable) -> sql.Composed:
    """Return one SQL statement; each ``{}`` of the template takes the next part."""
    return sql.SQL(template).format(*parts)


def name(*parts: str) -> sql.Identifier:
    """Return a quoted identifier, qualified when there are several parts."""
    return sql.Identifier(*parts)


def comment(text: str) -> str:
    """Return a comment of SQL. A name in ``text`` may hold a line break, behind which it would be a statement."""
    return "-- " + " ".join(text.splitlines())
