# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils import role_comparison
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases.validate import ValidateOptions
from ansible_collections.seren.migrator.plugins.module_utils.role_catalog import (
    Membership,
    Role,
    Roles,
    RoleSetting,
    referenced,
)
from ansible_collections.seren.migrator.plugins.module_utils.role_policy import is_predefined, policy
from ansible_collections.seren.migrator.plugins.module_utils.role_statements import (
    create_role,
    grant_membership,
    revoke_from_maker,
    set_role_setting,
)
from ansible_collections.seren.migrator.plugins.module_utils.roles import in_order

VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"


def statement(*, with_password: bool = True, **fields: Any) -> str:
    return create_role(Role('R"x', **fields), with_password=with_password).as_string(None)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"login": True}, " LOGIN"),
        ({"inherit": False}, " NOINHERIT"),
        ({"superuser": True}, ""),
        ({"createdb": True, "createrole": True}, " CREATEDB CREATEROLE"),
        ({"replication": True, "bypassrls": True}, " REPLICATION BYPASSRLS"),
        ({"connection_limit": 0}, " CONNECTION LIMIT 0"),
        ({"valid_until": "2030-01-01 00:00:00+00"}, " VALID UNTIL '2030-01-01 00:00:00+00'"),
        ({"valid_until": "infinity"}, " VALID UNTIL 'infinity'"),
        ({"login": True, "verifier": VERIFIER}, f" LOGIN PASSWORD '{VERIFIER}'"),
    ],
)
def test_only_what_differs_from_the_default_is_written_and_never_superuser(fields: dict[str, Any], words: str) -> None:
    assert statement(**fields) == f'CREATE ROLE "R""x"{words}'


def test_what_is_shown_holds_no_verifier() -> None:
    assert "SCRAM" not in statement(login=True, verifier=VERIFIER, with_password=False)
    assert "SCRAM" not in repr(Role("r", verifier=VERIFIER))


@pytest.mark.parametrize(
    ("admin", "inherit", "may_set", "major", "options"),
    [
        (False, None, None, 14, ""),
        (False, None, None, 17, ""),
        (True, None, None, 15, " WITH ADMIN OPTION"),
        (True, None, None, 16, " WITH ADMIN TRUE"),
        (True, True, False, 15, " WITH ADMIN OPTION"),
        (True, False, True, 17, " WITH ADMIN TRUE, INHERIT FALSE, SET TRUE"),
        (False, True, True, 18, " WITH INHERIT TRUE, SET TRUE"),
        (False, True, True, 14, ""),
    ],
)
def test_a_membership_has_the_options_that_the_target_knows(
    admin: bool, inherit: bool | None, may_set: bool | None, major: int, options: str
) -> None:
    membership = Membership("group", 'M"x', admin, inherit, may_set, "boss")
    assert grant_membership(membership, major).as_string(None) == f'GRANT "group" TO "M""x"{options}'
    whole = grant_membership(membership, major, with_grantor=True).as_string(None)
    assert whole == f'GRANT "group" TO "M""x"{options} GRANTED BY "boss"'


def test_the_maker_of_a_role_keeps_what_making_it_gives_by_itself() -> None:
    assert revoke_from_maker("r", 'm"', 15).as_string(None) == 'REVOKE "r" FROM "m"""'
    assert revoke_from_maker("r", "m", 16).as_string(None) == 'REVOKE "r" FROM "m" GRANTED BY "m"'


@pytest.mark.parametrize(
    ("name", "value", "given"),
    [
        ("search_path", '"$user", public, "a ""b, c", ""', "'$user', 'public', 'a \"b, c', ''"),
        ("work_mem", "8MB", "'8MB'"),
        ("DateStyle", "ISO, YMD", "'ISO, YMD'"),
    ],
)
def test_lists_of_names_are_given_element_by_element(name: str, value: str, given: str) -> None:
    shown = set_role_setting(RoleSetting("r", True, name, value), 'd"b').as_string(None)
    assert shown == f'ALTER ROLE "r" IN DATABASE "d""b" SET "{name}" TO {given}'


def test_predefined_roles_are_known_by_their_prefix() -> None:
    assert is_predefined("pg_read_all_data")
    assert not is_predefined("page")


# --- the policy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["referenced", "all", "none"])
def test_a_policy_may_be_a_word(word: str) -> None:
    found = policy(ValidateOptions(roles=word))
    assert (found.kind, found.renamed, found.reserved) == (word, {}, None)


def test_a_mapping_renames_and_null_is_nobody() -> None:
    found = policy(ValidateOptions(roles={"a": "b", "c": None}))
    assert found.kind == "referenced"
    assert found.renamed == {"a": "b", "c": None}


@pytest.mark.parametrize("bad", ["some", "", 7, ["a"], {"a": 1}, {"a": ""}, {"": "a"}, {1: "a"}, {"pg_monitor": "a"}])
def test_another_policy_is_refused(bad: Any) -> None:
    with pytest.raises(MigrationError) as caught:
        policy(ValidateOptions(roles=bad))
    assert caught.value.code == "bad_option"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("reserved", "role", "expected"),
    [
        (None, "rds_superuser", True),
        (None, "neon_superuser", True),
        (None, "app", False),
        ([], "rds_superuser", False),
        (["house_*"], "house_admin", True),
        (["house_*"], "houses", False),
        (["a.b"], "axb", False),
        (["house_*"], "mapped", False),
        (None, "azure_mapped", False),
    ],
)
def test_reserved_roles(reserved: list[str] | None, role: str, expected: bool) -> None:
    options = ValidateOptions(roles={"mapped": "x", "azure_mapped": "y"}, reserved_roles=reserved)
    assert policy(options).is_reserved(role) is expected


# --- who takes part ------------------------------------------------------------------------------------------------


def server(*memberships: Membership, connected: str = "postgres") -> Roles:
    names = {name for item in memberships for name in (item.granted, item.member)}
    return Roles({name: Role(name) for name in names}, memberships, (), connected, is_superuser=True)


def test_members_and_groups_of_the_roles_that_are_used_take_part() -> None:
    roles = server(
        Membership("team", "ann"),
        Membership("ann", "anns_job"),
        Membership("company", "team"),
        Membership("other", "ann"),
        Membership("other", "stranger"),
    )
    assert referenced(roles, {"team"}, ()) == {"team", "ann", "anns_job", "company", "other"}


def test_whoever_only_administers_a_role_does_not_take_part_with_it() -> None:
    roles = server(Membership("team", "admin", admin=True, inherit=False, set=False))
    assert referenced(roles, {"team"}, ()) == {"team"}
    assert referenced(roles, {"admin"}, ()) == {"admin"}


def test_the_reading_role_and_members_of_closed_roles_do_not_take_part() -> None:
    roles = server(Membership("team", "me"), Membership("rds_superuser", "ann"), connected="me")
    assert referenced(roles, {"team", "rds_superuser"}, {"rds_superuser"}) == {"team", "rds_superuser"}
    assert referenced(roles, {"team", "me"}, ()) == {"team", "me"}


def test_whoever_grants_has_got_the_admin_option_before() -> None:
    first = Membership("g", "a", admin=True)
    second = Membership("g", "b", admin=True, grantor="a")
    third = Membership("g", "c", grantor="b")
    stranger = Membership("g", "d", grantor="gone")
    assert in_order([third, second, stranger, first]) == [first, second, third, stranger]


# --- comparison ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({}, ["NOLOGIN there"]),
        ({"login": True}, []),
        ({"login": True, "bypassrls": True, "inherit": False}, ["NOINHERIT there", "BYPASSRLS there"]),
        ({"login": True, "connection_limit": 3}, ["CONNECTION LIMIT 3 there, -1 here"]),
        ({"login": True, "valid_until": "infinity"}, []),
        ({"login": True, "valid_until": "2030-01-01"}, ["VALID UNTIL 2030-01-01 there, infinity here"]),
    ],
)
def test_attributes_that_differ_are_named(there: dict[str, Any], words: list[str]) -> None:
    assert role_comparison.attributes(Role("r", login=True), Role("r", **there)) == words


def test_memberships_that_differ_are_named() -> None:
    ours = [Membership("a", "r"), Membership("b", "r", admin=True), Membership("c", "r", False, True, True)]
    theirs = [Membership("b", "r", False, True, True), Membership("c", "r", False, False, True), Membership("d", "r")]
    assert role_comparison.memberships(ours, theirs) == [
        "not a member of a there",
        "member of b with ADMIN FALSE there",
        "member of c with INHERIT FALSE there",
        "member of d there only",
    ]


def test_several_grantors_give_together() -> None:
    found = role_comparison.merged(
        [Membership("g", "m", True, False, False, "a"), Membership("g", "m", False, True, True, "b")]
    )
    assert found == {"g": Membership("g", "m", True, True, True)}


def test_settings_that_differ_are_named_without_their_values() -> None:
    ours = [RoleSetting("r", False, "work_mem", "1"), RoleSetting("r", True, "my.key", "secret")]
    theirs = [RoleSetting("r", False, "work_mem", "2"), RoleSetting("r", True, "other", "secret")]
    found = role_comparison.settings(ours, theirs)
    assert found == [
        "another value of work_mem there",
        "no setting my.key in this database there",
        "setting other in this database there only",
    ]
