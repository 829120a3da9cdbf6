# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-external`, played against throw-away servers in the place of a user's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import sample
from tests.support.fixtures import Database
from tests.support.playbooks import REPOSITORY


def external(**variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-m", "external", "tests/external"],
        cwd=REPOSITORY,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


def test_without_servers_the_external_tests_are_skipped_and_say_why() -> None:
    done = external()
    assert done.returncode == 0, done.stdout
    assert "set TEST_SOURCE_URL and TEST_TARGET_URL" in done.stdout
    assert "4 skipped" in done.stdout


@pytest.mark.slow
def test_the_read_only_part_passes_and_writes_nothing(source_db: Database, target_db: Database) -> None:
    sample.load(source_db.dsn, 1)
    done = external(TEST_SOURCE_URL=source_db.url, TEST_TARGET_URL=target_db.url)
    assert done.returncode == 0, done.stdout
    assert "3 passed, 1 skipped" in done.stdout
    assert target_db.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'seren_migrator'") == []


@pytest.mark.slow
def test_the_whole_workflow_runs_when_writing_is_allowed(source_db: Database, target_db: Database) -> None:
    sample.load(source_db.dsn, 1)
    done = external(TEST_SOURCE_URL=source_db.url, TEST_TARGET_URL=target_db.url, TEST_ALLOW_WRITES="1")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
    assert "TASK [seren.migrator.migrate : Copy schema and rows" in done.stdout
    assert str(source_db.params["password"]) not in done.stdout
    assert str(target_db.params["password"]) not in done.stdout
    rows = "SELECT count(*) FROM shop.order_line"
    assert target_db.execute(rows) == source_db.execute(rows)


@pytest.mark.slow
def test_what_stands_in_the_way_is_named(source_db: Database, target_db: Database) -> None:
    target_db.execute("CREATE TABLE in_the_way (id integer PRIMARY KEY)")
    source_db.execute("CREATE TABLE in_the_way (id integer PRIMARY KEY)")
    done = external(TEST_SOURCE_URL=source_db.url, TEST_TARGET_URL=target_db.url, TEST_ALLOW_WRITES="1")
    assert done.returncode == 1, done.stdout
    assert "fail     blocker" in done.stdout
    assert target_db.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'seren_migrator'") == []
