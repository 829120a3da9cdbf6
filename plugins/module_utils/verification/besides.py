# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What must hold besides rows and definitions, together: sequences, large objects, materialized views, replication.

How each is found out has a file of its own; here they are gathered, put into words, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .evidence import NONE, Evidence
from .large_objects import NOT_ASKED, LargeObjectsFinding
from .materialized_views import MaterializedViewFinding
from .sequences import SequenceFinding, without_excuse

NAMED = 10


@dataclass
class Besides:
    """What a run has found out besides."""

    sequences: list[SequenceFinding] = field(default_factory=list)
    large_objects: LargeObjectsFinding = NOT_ASKED
    materialized_views: list[MaterializedViewFinding] = field(default_factory=list)
    replication: Evidence = NONE

    def writes_have_stopped(self, since: str) -> None:
        """Take back what is forgiven only while the source is written to."""
        self.sequences = without_excuse(self.sequences, since)

    @property
    def is_data_equal(self) -> bool:
        """True when what the tables do not hold is proven equal as well, or nobody asked."""
        return not self.large_objects.is_failure and not any(item.is_failure for item in self.sequences)

    @property
    def is_failure(self) -> bool:
        """True when the whole cannot be verified because of any of this."""
        return (
            not self.is_data_equal
            or self.replication.is_failure
            or any(view.is_failure for view in self.materialized_views)
        )

    def as_data(self, limit: int) -> dict[str, Any]:
        """Return it as results show it, with at most ``limit`` large objects; ``warnings`` only where there are some."""
        warnings = list(self.warnings())
        return {
            "sequences": [item.as_data() for item in self.sequences],
            "large_objects": self.large_objects.as_data(limit),
            "materialized_views": [view.as_data() for view in self.materialized_views],
            "replication": self.replication.as_data(),
            **({"warnings": warnings} if warnings else {}),
        }

    def warnings(self) -> Iterator[str]:
        """Yield what does not count and is worth knowing all the same."""
        yield from self.replication.warnings
        ahead = [f"{item.schema}.{item.name}" for item in self.sequences if item.is_behind_column_only]
        if ahead:
            more = f" and {len(ahead) - NAMED} more" if len(ahead) > NAMED else ""
            names = ", ".join(ahead[:NAMED]) + more
            yield f"sequences that are still to hand out values which their columns hold already, on both sides: {names}"

    def problems(self) -> Iterator[tuple[str, list[str]]]:
        """Yield what is not proven, without the sequences: a few words, and what is named."""
        if self.large_objects.is_failure:
            status, reason = self.large_objects.status, self.large_objects.reason
            yield f"large objects {status}", [f"large objects ({status}: {reason})"]
        views = [view for view in self.materialized_views if view.is_failure]
        if views:
            named = [f"materialized view {view.schema}.{view.name} ({view.reason})" for view in views]
            yield f"{len(views)} of {len(self.materialized_views)} materialized views not as on the source", named
        if self.replication.is_failure:
            yield f"replication {self.replication.status}", [self.replication.reason]
