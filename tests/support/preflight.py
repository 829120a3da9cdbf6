# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the validate phase in a test and look at what one check said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate
from ansible_collections.seren.migrator.plugins.module_utils.progress import silent

HOSTILE = 'Weird "Näme"; --'


@dataclass(frozen=True)
class Report:
    """The result of one run of validate."""

    data: dict[str, Any]
    error: MigrationError | None
    statements: list[str]

    def __getitem__(self, check: str) -> dict[str, Any]:
        """What the check with this id said."""
        return {item["id"]: item for item in self.data["checks"]}[check]

    def with_status(self, *statuses: str) -> dict[str, str]:
        """Ids of the checks with one of these statuses, and their status."""
        return {item["id"]: item["status"] for item in self.data["checks"] if item["status"] in statuses}


def migration(source: Mapping[str, Any], target: Mapping[str, Any], **selection: Any) -> Migration:
    """A migration between two servers, given as libpq keywords."""
    return Migration.from_options({"source": source, "target": target, **selection})


def run_validate(
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    selection: Mapping[str, Any] | None = None,
    **options: Any,
) -> Report:
    """Run validate between two servers, given as libpq keywords."""
    job = migration(source, target, **(selection or {}))
    result = validate.run(job, validate.ValidateOptions(**options), silent)
    assert result.changed is False
    return Report(result.data, result.error, job.log.entries)
