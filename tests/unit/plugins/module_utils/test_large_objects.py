# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.acl import Change
from ansible_collections.seren.migrator.plugins.module_utils.large_objects import grants, joined, without
from ansible_collections.seren.migrator.plugins.module_utils.role_names import RoleNames

BOTH = "alice=rw/alice"


def granted(*items: str, names: RoleNames) -> tuple[list[Change], set[str]]:
    found, losses = grants("alice", items, names)
    return found, losses.roles


def test_ranges_that_touch_or_overlap_become_one() -> None:
    assert joined([[5, 9], [1, 3], [4, 4], [8, 12], [20, 20]]) == [[1, 12], [20, 20]]
    assert joined([]) == []


def test_what_is_gone_is_known_and_not_present() -> None:
    assert without([[1, 10], [20, 29], [40, 49]], [[3, 4], [8, 22], [45, 60]]) == [[1, 2], [5, 7], [23, 29], [40, 44]]
    assert without([[1, 3], [5, 9]], [[1, 9]]) == []
    assert without([[5, 9]], [[1, 2], [20, 30]]) == [[5, 9]]
    assert without([[5, 9]], []) == [[5, 9]]
    assert without([], [[1, 2]]) == []
    assert without([[1, 2], [4, 9], [11, 12]], [[2, 5], [9, 11]]) == [[1, 1], [6, 8], [12, 12]]


def test_what_an_owner_has_by_itself_is_not_granted() -> None:
    assert granted(BOTH, names=RoleNames("admin")) == ([], set())
    found = granted(BOTH, "=r/alice", names=RoleNames("admin"))
    assert found == ([Change(True, "alice", "", ("r",), False)], set())


def test_what_an_owner_has_given_up_is_taken_from_it() -> None:
    given_up = [Change(False, "alice", "alice", ("w",), False)]
    assert granted("alice=r/alice", names=RoleNames("admin")) == (given_up, set())
    assert granted("alice=r/alice", names=RoleNames("admin", owner="boss")) == ([], set())


def test_roles_are_called_as_on_the_target_and_who_is_not_there_is_named() -> None:
    names = RoleNames("admin", {"bob": 'b"b', "carol": None})
    found = granted(BOTH, "bob=w*/alice", "carol=rw/alice", "dave=w/bob", names=names)
    assert found == (
        [Change(True, "alice", 'b"b', ("w",), True), Change(True, 'b"b', "dave", ("w",), False)],
        {"carol"},
    )


def test_one_role_that_owns_everything_is_granted_nothing_more() -> None:
    names = RoleNames("admin", {"bob": "boss"}, owner="boss")
    assert granted(BOTH, "bob=r/alice", names=names) == ([], set())
