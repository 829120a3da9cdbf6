# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How a phase tells what it is doing: a function that takes one event.

The engine never prints. A test, a notebook or an action plugin passes its own function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Numbers that stay true until an event brings newer ones; rates, times and the like belong to one event only.
LASTING_NUMBERS = frozenset(
    {
        "stream",
        "tables",
        "tables_copied",
        "rows_copied",
        "bytes_copied",
        "estimated_bytes",
        "indexes",
        "indexes_built",
        "retained_wal_bytes",
        "round",
        "tables_done",
        "rows_read",
        "estimated_rows",
        "bytes_read",
        "in_doubt",
        "differing_rows",
    }
)


@dataclass(frozen=True)
class Event:
    """One step: the phase, a short sentence, and numbers (units in their names)."""

    phase: str
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore the event."""
