# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Going on with a comparison that was interrupted: what is taken over from it, and why the rest is not.

A proof holds for the moment at which it was made. So nothing is taken over unless it is asked for, never from a run that
came to its end, and the result says for each table when it was proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..session import Session
from .comparison import Comparison
from .pairing import Unit
from .run_state import Ground, Kept, Name, RunState, fingerprint, fitting, restore, where

_LSN = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn"


@dataclass
class Resuming:
    """What one run remembers, in ``state``, and what it takes over when ``is_asked``. Without a state it does nothing."""

    state: RunState | None = None
    is_asked: bool = False
    reason: str = ""  # why nothing, or not everything, was taken over
    kept: Kept = field(default_factory=Kept)
    _ground: Ground = field(default_factory=lambda: Ground({}, "", ""))
    _target_lsn: str = ""
    _units: Mapping[Name, Unit] = field(default_factory=dict)

    def recall(self, facts: Mapping[str, Any], source: Session, target: Session, units: Sequence[Unit]) -> None:
        """Read what an earlier run has left behind, as far as it fits. ``facts`` are what all proofs rest on."""
        if self.state is None:
            return
        self._units = {(unit.schema, unit.name): unit for unit in units}
        here, there = where(source), where(target)
        self._ground = Ground({**facts, "source timeline": here[0], "target timeline": there[0]}, here[1], there[1])
        if not self.is_asked:
            return
        if facts.get("mode") == "fenced":
            self.reason = "mode fenced speaks of one run from its beginning to its end"
            return
        found, self.reason = self.state.read(self._ground)
        self.kept, changed = fitting(found, self._units)
        if changed:
            names = ", ".join(f"{schema}.{name}" for schema, name in changed[:10])
            self.reason = f"{len(changed)} table(s) are not what they were (OID, columns, key or rows): {names}"

    def begin(self, started_at: str, cuts: Mapping[Name, Sequence[str]], comparisons: Sequence[Comparison]) -> None:
        """Begin the state of this run, and settle what the earlier one has verified."""
        if self.state is None:
            return
        self.state.begin(self._ground, self.kept.started_at or started_at, self.kept)
        for name, bounds in cuts.items():
            if name not in self.kept.bounds:
                self.state.note_cut(name, bounds, fingerprint(self._units[name]), self._ground)
        for comparison in comparisons:
            restore(comparison, self.kept)

    def see(self, target: Session) -> None:
        """Note where the target's WAL ends, when a pair of snapshots has been opened."""
        if self.state is not None:
            self._target_lsn = str(target.value(_LSN))

    def note(self, comparisons: Sequence[Comparison]) -> None:
        """Remember what has been verified."""
        if self.state is not None:
            self.state.note(comparisons, self._target_lsn)

    def finish(self, comparisons: Sequence[Comparison], refused: int) -> None:
        """Remember that everything was verified, when it was."""
        if self.state is not None and not refused and all(c.status == "verified" for c in comparisons):
            self.state.finish()

    def as_data(self, comparisons: Sequence[Comparison]) -> dict[str, Any]:
        """Return what the report says of it."""
        resumed = {(c.unit.schema, c.unit.name) for c in comparisons if c.is_resumed}
        return {
            "asked": self.is_asked,
            "tables": len(resumed),
            "started_at": self.kept.started_at if resumed else None,
            "reason": self.reason,
        }
