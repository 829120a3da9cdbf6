# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.large_objects import grants, joined, without
from ansible_collections.seren.migrator.plugins.module_utils.role_names import RoleNames

BOTH = (("alice", "SELECT", False), ("alice", "UPDATE", False))


def granted(privileges: tuple[tuple[str, str, bool], ...], names: RoleNames) -> tuple[list[str], list[str]]:
    statements, nobody = grants("alice", privileges, [1, 2], names)
    return [item.as_string(None) for item in statements], nobody


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
    assert granted(BOTH, RoleNames("admin")) == ([], [])
    assert granted((*BOTH, ("", "SELECT", False)), RoleNames("admin")) == (
        ["GRANT SELECT ON LARGE OBJECT 1, 2 TO PUBLIC"],
        [],
    )


def test_what_an_owner_has_given_up_is_taken_from_it() -> None:
    assert granted((("alice", "SELECT", False),), RoleNames("admin"))[0] == [
        'REVOKE ALL ON LARGE OBJECT 1, 2 FROM "alice"',
        'GRANT SELECT ON LARGE OBJECT 1, 2 TO "alice"',
    ]
    assert granted((), RoleNames("admin", owner="boss"))[0] == ['REVOKE ALL ON LARGE OBJECT 1, 2 FROM "boss"']


def test_roles_are_called_as_on_the_target_and_who_is_not_there_is_named() -> None:
    names = RoleNames("admin", {"bob": 'b"b', "carol": None})
    privileges = (*BOTH, ("bob", "UPDATE", True), ("carol", "SELECT", False), ("carol", "UPDATE", False))
    assert granted(privileges, names) == (['GRANT UPDATE ON LARGE OBJECT 1, 2 TO "b""b" WITH GRANT OPTION'], ["carol"])


def test_one_role_that_owns_everything_is_granted_nothing_more() -> None:
    assert granted((*BOTH, ("bob", "SELECT", False)), RoleNames("admin", {"bob": "boss"}, owner="boss")) == ([], [])
