# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own regression database migrates. Needs the suite's SQL: REGRESSION_SQL, see `tests/support/regression.py`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate
from tests.support import regression
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.proof import Policy, differences, unexplained

SUITE = regression.suite()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        SUITE is None, reason=f"{regression.VARIABLE} names no regression suite (src/test/regress of 15)"
    ),
]
LOCALE = "TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
# Less than this, and the suite did not run: a regression database of 15 has about 660 of them.
LEAST_TABLES = 550
LEAST_OBJECTS = 3000

# What cannot migrate, each with the reason.
REMOVED = {
    "DROP TABLE gtest_normal_child, gtest_normal_child2":
        "generated columns under parents whose column is not generated: PostgreSQL forbids them from 16 on",
}  # fmt: skip
POLICIES = (
    Policy(r"^TABLE public\.(gtestxx_4|test_type_diff2_c[12]): |^\"public\"\.\".*\": columns ",
           "a child that got its parents, or a column of theirs, later has the parents' columns first, as after pg_dump"),
    Policy(r"^(TRIGGER public.trigger_parted_p2_2 aft_row: |[-+] trigger aft_row on public.trigger_parted_p2_2: )",
           "ENABLE ALWAYS: disabled on the target until the cutover, named under `left`"),
    Policy(r'^"public"."mvtest_bb": row only', "materialized views are refreshed: this one is stale on the source"),
)  # fmt: skip


@pytest.fixture
def case(source_cluster: Cluster, target_cluster: Cluster, source_db: Database, target_db: Database) -> Iterator[Case]:
    source = create_database(source_cluster, "regression", LOCALE)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:  # nobody but the server's user has to enter it
        assert SUITE is not None
        assert regression.run(source, SUITE, Path(scratch)) == []
    tables = "SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p') AND relpersistence <> 't'"
    assert source.execute(tables)[0][0] >= LEAST_TABLES
    yield Case(source, create_database(target_cluster, "regression", LOCALE))


def prepare(case: Case) -> None:
    """Do what validate asks for: an identity for each table."""
    options = validate.ValidateOptions(client_bin_dir=case.bin_dir, large_objects="copy")
    found = {check["id"]: check for check in validate.run(case.migration(), options).data["checks"]}
    case.source.execute(found["replica_identity"]["remedy"])
    # Of types without equality: FULL lets the source live; UPDATE and DELETE could not be applied, and there are none.
    found = {check["id"]: check for check in validate.run(case.migration(), options).data["checks"]}
    for item in found["replica_identity"]["objects"]:
        case.source.execute(f"ALTER TABLE {item.rpartition(' (')[0]} REPLICA IDENTITY FULL")


def test_the_regression_database_of_postgresql_arrives(case: Case) -> None:
    prepare(case)
    skipped = ("replica_identity_full_types",)
    with pytest.raises(MigrationError) as caught:
        case.init(large_objects="copy", skip_checks=skipped)
    assert caught.value.details["checks"] == ["generated_columns"]
    assert case.left_on_source() == {**NOTHING, "publications": case.left_on_source()["publications"]}
    for statement in REMOVED:
        case.source.execute(statement)
    case.init(large_objects="copy", skip_checks=skipped)
    found = unexplained(differences(case.source, case.target), POLICIES)
    assert not found, "\n".join(found)
    case.sync()
    case.wait_until_in_sync()
    objects = case.verify(objects="compare").data["objects"]
    assert objects["different"] == []
    assert sum(item["source"] for item in objects["kinds"]) > LEAST_OBJECTS
