# SPDX-License-Identifier: GPL-3.0-or-later
"""Access privileges as values: reading, carrying to other names and majors, and the order of changes."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import acl
from ansible_collections.seren.migrator.plugins.module_utils.acl import Change, Right, Usual
from ansible_collections.seren.migrator.plugins.module_utils.role_names import RoleNames

OLD = Usual(frozenset("arw"), frozenset())
NEW = Usual(frozenset("arwm"), frozenset())
FUNCTION = Usual(frozenset("X"), frozenset("X"))
SAME = RoleNames("me")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("app=ar*/boss", {Right("boss", "app", "a"): False, Right("boss", "app", "r"): True}),
        ("=U/boss", {Right("boss", "", "U"): False}),
        ('"Weird ""Näme""; --"=r/"a=b/c"', {Right("a=b/c", 'Weird "Näme"; --', "r"): False}),
        ('"a=b"=/boss', {}),
    ],
)
def test_an_aclitem_is_read_whatever_the_names_hold(item: str, expected: dict[Right, bool]) -> None:
    assert acl.parse([item]) == expected


def test_what_is_no_aclitem_is_refused() -> None:
    with pytest.raises(ValueError, match="aclitem"):
        acl.parse(["boss"])


def carried(items: list[str] | None, names: RoleNames = SAME, new_owner: str = "boss") -> dict[Right, bool]:
    given = None if items is None else acl.parse(items)
    return acl.carried(given, "boss", new_owner, names, OLD, NEW)[0]


def test_the_default_becomes_the_default_of_the_target() -> None:
    assert carried(None) == NEW.of("boss")
    assert carried(["boss=arw/boss"]) == NEW.of("boss")
    assert FUNCTION.of("boss") == acl.parse(["boss=X/boss", "=X/boss"])


def test_nobody_but_the_owner_gets_what_a_newer_major_has_invented() -> None:
    assert carried(["boss=ar/boss", "app=arw/boss"]) == acl.parse(["boss=arm/boss", "app=arw/boss"])
    assert carried(["app=arw/boss"]) == acl.parse(["app=arw/boss"])


def test_a_privilege_that_the_target_does_not_know_is_lost_and_named_unless_it_was_one_of_all() -> None:
    names = SAME
    wanted, losses = acl.carried(acl.parse(["boss=arwm/boss", "app=m/boss"]), "boss", "boss", names, NEW, OLD)
    assert (wanted, losses.privileges) == (OLD.of("boss"), {"m"})
    assert acl.carried(acl.parse(["app=arwm/boss"]), "boss", "boss", names, NEW, OLD)[1].privileges == set()


def test_two_roles_with_one_stand_in_are_merged() -> None:
    names = RoleNames("me", {"one": "app", "two": "app"})
    found = carried(["boss=arw/boss", "one=r*/boss", "two=ra/boss", "two=r/one"], names)
    assert found == {**NEW.of("boss"), **acl.parse(["app=ar*/boss"])}


def test_a_role_that_nobody_stands_for_is_lost_and_its_grants_become_the_owners() -> None:
    names = RoleNames("me", {"gone": None})
    given = acl.parse(["boss=arw/boss", "gone=r*/boss", "app=r/gone"])
    wanted, losses = acl.carried(given, "boss", "boss", names, OLD, NEW)
    assert wanted == {**NEW.of("boss"), **acl.parse(["app=r/boss"])}
    assert (losses.roles, losses.grantors) == ({"gone"}, {"gone"})


def test_a_new_owner_has_everything_and_the_old_one_nothing() -> None:
    names = RoleNames("me", owner="all")
    found = carried(["boss=r/boss", "app=r/boss", "all=a/boss"], names, "all")
    assert found == {**NEW.of("all"), **acl.parse(["app=r/all"])}


def test_what_is_passed_on_is_granted_after_what_it_rests_on() -> None:
    wanted = acl.parse(["boss=arw/boss", "a=r*/boss", "b=r*/a", "c=r/b"])
    found = acl.changes(OLD.of("boss"), wanted, "boss")
    assert [(change.grantor, change.grantee) for change in found] == [("boss", "a"), ("a", "b"), ("b", "c")]
    assert acl.changes(wanted, wanted, "boss") == []


def test_what_was_passed_on_is_taken_before_what_it_rests_on() -> None:
    present = acl.parse(["boss=arw/boss", "a=r*/boss", "b=r*/a", "c=r/b", "keeps=w*/boss", "d=w/keeps"])
    wanted = acl.parse(["boss=arw/boss", "a=r/boss", "keeps=w*/boss"])
    found = acl.changes(present, wanted, "boss")
    order = [(change.grantor, change.grantee) for change in found]
    assert order.index(("b", "c")) < order.index(("a", "b")) < order.index(("boss", "a"))
    assert sorted(order) == [("a", "b"), ("b", "c"), ("boss", "a"), ("keeps", "d")]


def test_what_is_too_much_is_taken_first_and_a_grant_option_alone() -> None:
    present = acl.parse(["boss=arw/boss", "a=r*/boss", "b=w/boss"])
    wanted = acl.parse(["boss=aw/boss", "a=r/boss", "c=w/boss"])
    assert acl.changes(present, wanted, "boss") == [
        Change(False, "boss", "a", ("r",), True),
        Change(False, "boss", "b", ("w",), False),
        Change(False, "boss", "boss", ("r",), False),
        Change(True, "boss", "c", ("w",), False),
    ]
    kept = acl.changes(present, wanted, "boss", keep_own=True)
    assert Change(False, "boss", "boss", ("r",), False) not in kept
