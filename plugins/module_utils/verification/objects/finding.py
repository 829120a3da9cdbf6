# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What verify finds out about the objects of both sides: read at the same time, compared, put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ...catalog import Table
from ...driver import psycopg
from ...errors import Redactor
from ...session import Session
from ..snapshots import reading
from . import reading as catalog
from .comparing import Difference, Expected, compare
from .described import Described, Key, Scope, quoted, top

# What was dropped between the snapshot and the question is "not found" deep inside PostgreSQL.
_ATTEMPTS = 3


@dataclass(frozen=True)
class ObjectsFinding:
    """The outcome. ``status`` is equal, different, unknown (some attribute is hidden from us), error or skipped."""

    status: str
    reason: str = ""
    kinds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    different: Sequence[Difference] = ()
    expected: Sequence[Difference] = ()

    @property
    def is_failure(self) -> bool:
        """True unless every object is proven equal, or nobody asked."""
        return self.status not in ("equal", "skipped")

    def as_data(self, limit: int) -> dict[str, Any]:
        """Return it as results show it, with at most ``limit`` differences of each sort."""
        differing = Counter(item.kind for item in self.different)
        return {
            "status": self.status,
            "reason": self.reason,
            "kinds": [
                {"kind": kind, "source": source, "target": target, "different": differing[kind]}
                for kind, (source, target) in sorted(self.kinds.items())
            ],
            "different": [item.as_data() for item in self.different[:limit]],
            "different_count": len(self.different),
            "expected": [item.as_data() for item in self.expected[:limit]],
            "expected_count": len(self.expected),
        }


SKIPPED = ObjectsFinding("skipped", "not asked for")


def look(
    source: tuple[Session, Scope],
    target: tuple[Session, Scope],
    expected: Sequence[Expected],
    redactor: Redactor,
    only: Iterable[Table] | None = None,
) -> ObjectsFinding:
    """Read both catalogs at the same time, and compare them; with ``only`` these tables and what is on them."""
    with ThreadPoolExecutor(1, thread_name_prefix="verify-objects") as pool:
        there = pool.submit(_read, *target)
        try:
            sides = (_read(*source), there.result())
        except psycopg.Error as error:
            there.exception()
            said = redactor.text(error.diag.message_primary or str(error)).strip()
            return ObjectsFinding("error", f"the catalogs could not be read: {said}")
    if only is not None:
        wanted = {quoted((table.schema, table.name)) for table in only}
        sides = (_narrowed(sides[0], wanted), _narrowed(sides[1], wanted))
    return conclude(*sides, expected)


def conclude(
    source: Mapping[Key, Described], target: Mapping[Key, Described], expected: Sequence[Expected]
) -> ObjectsFinding:
    """Compare what both sides hold. Pure."""
    found = compare(source, target, expected)
    different = [item for item in found if not item.reason]
    here, there = (Counter(kind for kind, _name in side) for side in (source, target))
    status = "different" if any(item.what != "unknown" for item in different) else "unknown" if different else "equal"
    return ObjectsFinding(
        status,
        {"equal": "", "unknown": "some attributes are not readable for our role"}.get(status, ""),
        {kind: (here[kind], there[kind]) for kind in here.keys() | there.keys()},
        different,
        [item for item in found if item.reason],
    )


def _read(session: Session, scope: Scope) -> dict[Key, Described]:
    for _attempt in range(_ATTEMPTS - 1):
        with (
            suppress(psycopg.errors.InternalError_, psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable),
            reading(session),
        ):
            return catalog.read(session, scope)
    with reading(session):
        return catalog.read(session, scope)


def _narrowed(described: Mapping[Key, Described], wanted: set[str]) -> dict[Key, Described]:
    keys = {(kind, name) for kind in ("table", "foreign table") for name in wanted}
    return {key: item for key, item in described.items() if top(described, item) in keys}
