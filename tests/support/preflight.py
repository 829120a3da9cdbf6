# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the validate phase in a test, look at what one check said, and see that its remedy cures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate
from ansible_collections.seren.migrator.plugins.module_utils.progress import silent
from tests.support.cluster import Cluster
from tests.support.fixtures import Database

HOSTILE = 'Weird "Näme"; --'
H = sql.Identifier(HOSTILE).as_string(None)


@dataclass(frozen=True)
class Report:
    """The result of one run of validate."""

    data: dict[str, Any]
    error: MigrationError | None
    statements: list[str]
    text: str

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
    """Run validate between two servers, given as libpq keywords; it measures only what the options say."""
    job = migration(source, target, **(selection or {}))
    result = validate.run(job, validate.ValidateOptions(**{"wal_window": 0, **options}), silent)
    assert result.changed is False
    return Report(result.data, result.error, job.log.entries, (result.diff or {})["prepared"])


@dataclass(frozen=True)
class Case:
    """SQL that makes one check fire; ``cure`` says where its remedy, which is plain SQL, is run, '' when it is not.

    ``also`` names checks that fire together with it.
    """

    check: str
    source: str = ""
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    severity: str = "blocker"
    cure: str = ""
    name: str = ""
    also: tuple[str, ...] = ()


def case_id(case: Case) -> str:
    """The name of a case for pytest."""
    return f"{case.check}: {case.name}" if case.name else case.check


def fires_and_is_cured(case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database) -> None:
    """Make a case, see that its check and no other one fires, then run the remedy and see that it passes."""
    if case.source:
        source_db.execute(case.source)
    if case.target:
        target_db.execute(case.target)
    report = examine(case)
    found = report[case.check]
    assert found["status"] == "fail"
    assert found["severity"] == case.severity
    assert set(found["objects"]) >= set(case.objects)
    assert found["detail"]
    assert found["remedy"]
    # It is this check that fires, and no other one by mistake.
    others = {check: report[check]["detail"] for check in report.with_status("fail", "unknown")}
    assert set(others) - set(case.also) == {case.check}, others
    if case.severity == "blocker":
        assert report.error is not None
        assert case.check in str(report.error)
        assert report.data["ready"] is False
    else:
        assert report.error is None
        assert report.data["ready"] is True
    if case.cure:
        cure(found["remedy"], source_db if case.cure == "source" else target_db)
        assert examine(case)[case.check]["status"] == "pass"


def cure(remedy: str, database: Database) -> None:
    """Paste a remedy's SQL, up to its first alternative, as a person would: one statement a line, in one session.

    What psql would ask variables for, such as a new password, is chosen here.
    """
    with database.connect() as connection:
        for line in remedy.split("\n-- or")[0].splitlines():
            if not line.startswith("--"):
                connection.execute(re.sub(r":'\w+'", "'chosen'", line))


@pytest.fixture
def ready(source_db: Database, target_db: Database, target_cluster: Cluster) -> dict[str, Any]:
    """Arguments of run_validate for a pair that is ready."""
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    return {
        "source": source_db.params,
        "target": target_db.params,
        "client_bin_dir": str(target_cluster.client_dir),
    }
