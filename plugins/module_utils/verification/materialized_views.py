# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Materialized views: is each one there, and does it answer, on the target as on the source? Pure.

Their rows are not compared: they are derived from tables, and as old as their last REFRESH on each side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..catalog import Catalog
from ..ledger import Record
from .objects.expectations import plain


@dataclass(frozen=True)
class MaterializedViewFinding:
    """One view. ``status`` is verified, different, or expected (left unpopulated by the migration, which has said so)."""

    schema: str
    name: str
    status: str
    reason: str
    source_populated: bool
    target_populated: bool | None

    @property
    def is_failure(self) -> bool:
        """True when the view would not answer as on the source."""
        return self.status == "different"

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "schema": self.schema,
            "name": self.name,
            "status": self.status,
            "reason": self.reason,
            "source_populated": self.source_populated,
            "target_populated": self.target_populated,
        }


def compare_materialized_views(
    source: Catalog, target: Catalog, record: Record | None
) -> list[MaterializedViewFinding]:
    """Compare the state of the materialized views of ``source``, the selected part of its catalog."""
    twins = {(view.schema, view.name): view for view in target.materialized_views}
    left = left_unpopulated(record.left if record else ())
    found = []
    for view in source.materialized_views:
        twin = twins.get((view.schema, view.name))
        there = twin.is_populated if twin is not None else None
        status, reason = "verified", ""
        if there is None:
            status, reason = "different", "the materialized view is missing on the target"
        elif view.is_populated and not there:
            status = "different"
            reason = "not populated on the target, so that every query of it fails: REFRESH MATERIALIZED VIEW there"
            if view.qualified in left:
                status, reason = "expected", left[view.qualified]
        elif there and not view.is_populated:
            status, reason = "different", "populated on the target, but not on the source"
        found.append(MaterializedViewFinding(view.schema, view.name, status, reason, view.is_populated, there))
    return found


def left_unpopulated(left: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the views that the migration could not refresh, as it has told, with the reason."""
    found = {}
    for entry in left:
        if match := re.fullmatch(r"rows of materialized view (?P<name>.+)", entry["object"]):
            found[plain(match["name"])] = found[match["name"]] = entry["reason"]
    return found
