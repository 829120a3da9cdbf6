# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a phase returns: plain data, which a module hands to Ansible and a notebook reads as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import MigrationError


@dataclass(frozen=True)
class Result:
    """The outcome of one phase.

    ``data`` holds the phase's own results; ``diff`` is {"before": ..., "after": ...} of structured state where the
    phase changed (or in check mode would change) something; ``error`` is set when the phase did its work but its
    finding is a failure (blockers found, data differs), so that the data is returned all the same.
    """

    phase: str
    changed: bool
    data: dict[str, Any] = field(default_factory=dict)
    diff: dict[str, Any] | None = None
    error: MigrationError | None = None
