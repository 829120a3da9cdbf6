# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Comparing the described objects of two databases: what is missing, extra or changed, and what was expected. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .described import UNKNOWN, Described, Key

SHOWN_LENGTH = 400


@dataclass(frozen=True)
class Difference:
    """One object that is not the same on both sides.

    ``what`` is missing (on the target), extra (there), changed, or unknown where a side does not show what it has.
    ``attributes`` maps the names of those that differ to their values on the source and on the target. ``reason`` says
    why it was expected, '' when it was not.
    """

    kind: str
    name: str
    what: str
    attributes: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    reason: str = ""

    def as_data(self) -> dict[str, Any]:
        """Return it as results show it."""
        data: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "what": self.what,
            "attributes": {
                name: {"source": _shown(a), "target": _shown(b)} for name, (a, b) in self.attributes.items()
            },
        }
        return {**data, "reason": self.reason} if self.reason else data

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.what}{': ' if self.attributes else ''}{', '.join(self.attributes)})"


def _shown(value: str | None) -> str | None:
    """Return the value of an attribute, the beginning of a long one."""
    if value is None or len(value) <= SHOWN_LENGTH:
        return value
    digest = hashlib.blake2b(value.encode(), digest_size=4).hexdigest()
    return f"{value[:SHOWN_LENGTH]} ... ({len(value)} characters, {digest})"


@dataclass(frozen=True)
class Expected:
    """One thing that is not compared, on purpose, with the reason.

    It applies to every object of ``kind`` (any where it is None) whose name ``name`` accepts (any where it is None)
    and that passes ``test``. Without ``attributes`` the object may be missing, extra or changed as ``what`` says; with them
    only these may differ.
    """

    reason: str
    kind: str | None = None
    name: str | Callable[[str], bool] | None = None
    attributes: frozenset[str] = frozenset()
    what: frozenset[str] = frozenset({"missing"})
    test: Callable[[Difference], bool] | None = None

    def covers(self, difference: Difference) -> bool:
        """True when it applies to the object of a difference."""
        if self.kind is not None and self.kind != difference.kind:
            return False
        if self.test is not None and not self.test(difference):
            return False
        if self.name is None:
            return True
        return self.name(difference.name) if callable(self.name) else self.name == difference.name


def compare(
    source: Mapping[Key, Described], target: Mapping[Key, Described], expected: Sequence[Expected] = ()
) -> list[Difference]:
    """Return every difference, those that were expected with their reason. Parts of what is missing go without saying."""
    found: list[Difference] = []
    for key in sorted(source.keys() | target.keys()):
        here, there = source.get(key), target.get(key)
        if here is None or there is None:
            item, side = (here, target) if here is not None else (there, source)
            if item is not None and (item.part_of is None or item.part_of in side):
                found += _settled(Difference(*key, "extra" if here is None else "missing"), expected)
            continue
        if here.attributes == there.attributes and UNKNOWN not in here.attributes.values():
            continue
        found += _settled(_changed(here, there), expected)
    return found


def _changed(here: Described, there: Described) -> Difference:
    names = sorted(here.attributes.keys() | there.attributes.keys())
    pairs = {name: (here.attributes.get(name), there.attributes.get(name)) for name in names}
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] or UNKNOWN in pair}
    return Difference(here.kind, here.name, "changed", differing)


def _settled(difference: Difference, expected: Sequence[Expected]) -> list[Difference]:
    """Return a difference split into what was not expected, what is unknown and what was expected, by reason."""
    matching = [item for item in expected if item.covers(difference)]
    if difference.what != "changed":
        reason = next((i.reason for i in matching if not i.attributes and difference.what in i.what), "")
        return [Difference(difference.kind, difference.name, difference.what, {}, reason)]
    parts: dict[tuple[str, str], dict[str, tuple[str | None, str | None]]] = {}
    for name, pair in difference.attributes.items():
        reason = next(
            (i.reason for i in matching if (name in i.attributes) or (not i.attributes and "changed" in i.what)), ""
        )
        parts.setdefault(("unknown" if UNKNOWN in pair else "changed", reason), {})[name] = pair
    return [
        Difference(difference.kind, difference.name, what, values, reason)
        for (what, reason), values in sorted(parts.items())
    ]
