# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole migration of a database that is written to all the time, through the playbook, judged by others.

The judges are the writers' own journals and a comparison of sorted dumps; our own verify is only one of three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import sample
from tests.support.binaries import client_dir
from tests.support.compare import compare_data
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.playbooks import play
from tests.support.schema_dump import schema_differences
from tests.support.verified import assert_verified
from tests.support.writers import PROCESSES, Writers, prepare

IGNORED = ("seren_migrator",)


def variables(source: Database, target: Database) -> dict[str, Any]:
    major = max(source.cluster.major, target.cluster.major)
    return {"source_url": source.url, "target_url": target.url, "migrate_client_bin_dir": str(client_dir(major))}


def migrate_live(source: Database, target: Database, folder: Path, rate: float = 250) -> None:
    """Migrate under writers, then judge."""
    # Towards an older target, only what both majors know can be migrated.
    sample.load(source.dsn, 1, features_of=min(source.cluster.major, target.cluster.major))
    prepare(source.dsn, PROCESSES)
    given = variables(source, target)
    with Writers(source.dsn, folder / "journal", rate) as writers:
        writers.wait_for(200)
        first = play("migrate", given)
        assert first.code == 0, first.output
        again = play("migrate", given)
        assert again.code == 0, again.output
        assert again.changed == 0
        summary = writers.stop()
    assert summary.total > 1000, summary  # paced at `rate` a second; how fast the machine is, is not the question here
    assert set(summary.errors) <= {"40001", "40P01"}, summary
    Case(source, target).wait_until_in_sync()
    assert writers.verify(source.dsn) == []
    assert writers.verify(target.dsn) == []
    assert compare_data(source.dsn, target.dsn, sequences="ignore", materialized_views=False).differences == []
    clients = client_dir(max(source.cluster.major, target.cluster.major))
    different = schema_differences(source.dsn, target.dsn, clients, IGNORED)
    if source.cluster.major >= 17 > target.cluster.major:
        # Privileges on tables are spelled otherwise before 17, which does not know MAINTAIN.
        different = [line for line in different if " ON TABLE " not in line]
    assert different == []
    verified = play("verify", given)
    assert verified.code == 0, verified.output
    assert_verified(verified.result("pg_migration_verify"))


def test_every_row_written_during_the_migration_arrives_exactly_once(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    migrate_live(source_db, target_db, tmp_path)


PAIRS = [(15, 14), (14, 15), (15, 16), (16, 17), (17, 17), (17, 18), (18, 18), (15, 18), (12, 17), (13, 16), (17, 16)]


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), PAIRS)
def test_every_pair_of_majors_migrates_live(
    make_cluster: Any, tmp_path: Path, source_major: int, target_major: int
) -> None:
    source, target = make_cluster(source_major), make_cluster(target_major)
    source.execute("CREATE DATABASE shop")
    target.execute("CREATE DATABASE shop")
    migrate_live(Database(source, "shop"), Database(target, "shop"), tmp_path)
