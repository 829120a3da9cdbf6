# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The moment that a table's verdict holds for: positions in the source's WAL, and the time. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .snapshots import Epoch


@dataclass(frozen=True)
class Moment:
    """``lsn`` and ``read_at`` (the source's clock) are of the snapshots in which the table was read whole.

    ``last_lsn`` is of those in which the last of its rows in doubt were looked at. ``mode`` is how the snapshots were
    had; they stood for one moment on both sides when ``is_aligned``.
    """

    lsn: str
    last_lsn: str
    read_at: str
    mode: str
    is_aligned: bool

    @classmethod
    def of(cls, epoch: Epoch, mode: str) -> Moment:
        """Return the moment of a table that is read whole in an epoch."""
        return cls(epoch.lsn, epoch.lsn, epoch.taken_at, mode, epoch.alignment == "aligned")

    def until(self, epoch: Epoch, mode: str) -> Moment:
        """Return the moment of a table whose last rows in doubt are looked at in a later epoch."""
        return replace(
            self,
            last_lsn=epoch.lsn,
            mode=mode if self.mode == mode else "live",
            is_aligned=self.is_aligned and epoch.alignment == "aligned",
        )

    def as_data(self) -> dict[str, Any]:
        """Return what a table's line of the report says of it."""
        return {"lsn": self.lsn, "last_lsn": self.last_lsn, "read_at": self.read_at}


NEVER: dict[str, Any] = {"lsn": None, "last_lsn": None, "read_at": None}
