# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Tables that joined a migration after its copy: what the ledger says about them. Pure.

Each time that sync brings tables in is an addition. It has a number, steps of its own, and at least one new stream, which
counts like any other one only when the addition is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .ledger import Record, Stream

# The step that says whether an addition is under way, and which tables it brings.
STEP = "adding"


@dataclass(frozen=True)
class Addition:
    """One addition: its tables (OIDs on the source, names for people), and the first stream that was opened for it."""

    number: int
    oids: frozenset[int]
    tables: tuple[str, ...]
    first_stream: int

    @property
    def prefix(self) -> str:
        """What the names of its steps begin with."""
        return f"added_{self.number}_"

    def step(self, name: str) -> str:
        """Return the name of one of its steps."""
        return self.prefix + name

    @property
    def detail(self) -> Mapping[str, Any]:
        """What the ledger keeps about it."""
        return {
            "number": self.number,
            "oids": sorted(self.oids),
            "tables": list(self.tables),
            "first_stream": self.first_stream,
        }


def current(record: Record) -> Addition | None:
    """Return the addition that was begun and is not finished, or None."""
    return None if record.is_done(STEP) else _last(record)


def next_number(record: Record) -> int:
    """Return the number of the next addition; numbers are never used again."""
    last = _last(record)
    return 1 if last is None else last.number + 1


def _last(record: Record) -> Addition | None:
    step = record.steps.get(STEP)
    if step is None:
        return None
    detail = step.detail
    return Addition(detail["number"], frozenset(detail["oids"]), tuple(detail["tables"]), detail["first_stream"])


def settled_streams(record: Record) -> tuple[Stream, ...]:
    """Return the living streams without those of an addition that is under way."""
    begun = current(record)
    return tuple(item for item in record.live_streams if begun is None or item.number < begun.first_stream)


def own_streams(record: Record, begun: Addition) -> tuple[Stream, ...]:
    """Return the living streams of an addition that is under way."""
    return tuple(item for item in record.live_streams if item.number >= begun.first_stream)


def restored(record: Record) -> frozenset[int]:
    """Return the OIDs, on the target, of everything that was restored there by init and by additions."""
    return frozenset(oid for step in record.steps.values() for oid in step.detail.get("created", []))
