# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of all objects after a real migration: nothing differs but what was told, and what differs is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import every_kind
from tests.support.cluster import Cluster
from tests.support.fixtures import create_database
from tests.support.migrations import Case
from tests.support.sweep import sweep
from tests.support.verified import assert_verified


@pytest.fixture
def case(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Case]:
    source = every_kind.load(source_cluster, 15)
    sweep(target_cluster)
    yield Case(source, create_database(target_cluster))
    for cluster in (source_cluster, target_cluster):
        sweep(cluster)


def named(items: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    return {(item["kind"], item["name"], item["what"], *item["attributes"]) for item in items}


def test_verify_finds_every_object_equal_and_tells_what_was_left_out(case: Case) -> None:
    case.source.execute("COMMENT ON CONSTRAINT parent_a ON o.child IS 'it''s \"inherited\"; --'")
    case.init(large_objects="copy")
    case.sync()
    case.wait_until_in_sync()
    data = case.verify().data
    objects = data["objects"]
    assert (objects["status"], objects["different"]) == ("equal", [])
    assert_verified(data)
    expected = named(objects["expected"])
    assert ("trigger", "always_touched on o.plain_table", "changed", "enabled") in expected
    assert ("user mapping", "for ek_reader on server ek_server", "missing") in expected
    assert all(item["reason"] for item in objects["expected"])
    assert {"kind": "policy", "source": 2, "target": 2, "different": 0} in objects["kinds"]

    case.target.execute("ALTER TABLE o.plain_table ALTER COLUMN mood DROP DEFAULT")
    case.target.execute("DROP POLICY visible ON o.plain_table")
    different = {
        ("column", "o.plain_table.mood", "changed", "default"),
        ("policy", "visible on o.plain_table", "missing"),
    }
    result = case.verify(fail_on_difference=True)
    assert named(result.data["objects"]["different"]) == different
    assert (result.data["verified"], result.data["rows_verified"]) == (False, True)
    assert result.error is not None
    assert "policy visible on o.plain_table (missing)" in result.error.message
    assert "column o.plain_table.mood (changed: default)" in result.error.message

    reported = case.verify(objects="report", fail_on_difference=True)
    assert (reported.error, reported.data["verified"]) == (None, True)
    assert named(reported.data["objects"]["different"]) == different
    skipped = case.verify(objects="skip").data
    assert (skipped["verified"], skipped["objects"]["status"]) == (True, "skipped")
    assert_verified(case.verify(tables=("o.child",)))
    only = case.verify(tables=("o.plain_table",)).data["objects"]["different"]
    assert named(only) == different


def test_what_a_selection_leaves_out_is_not_missing(case: Case) -> None:
    case.options["exclude_tables"] = ["o.other_table"]
    case.init(large_objects="skip")
    objects = case.verify().data["objects"]
    assert objects["different"] == []
    assert ("large objects", "of the database", "missing") in named(objects["expected"])


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 18), (14, 15), (17, 18)])
def test_majors_do_not_make_a_difference(
    make_cluster: Callable[..., Cluster], source_major: int, target_major: int
) -> None:
    source = every_kind.load(make_cluster(source_major), min(source_major, target_major))
    case = Case(source, create_database(make_cluster(target_major)))
    case.init(large_objects="copy")
    assert case.verify().data["objects"]["different"] == []
