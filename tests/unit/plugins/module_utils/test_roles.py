# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.roles import (
    Membership,
    Role,
    create_role,
    grant_membership,
    is_reserved,
)

VERIFIER = "SCRAM-SHA-256$4096:c2FsdA==$a2V5:a2V5"


def statement(*, with_password: bool = True, **fields: Any) -> str:
    known: dict[str, Any] = {
        "superuser": False,
        "inherit": True,
        "createrole": False,
        "createdb": False,
        "login": False,
        "replication": False,
        "bypassrls": False,
        "connection_limit": -1,
        "valid_until": None,
        "comment": None,
    }
    return create_role(Role('R"x', **{**known, **fields}), with_password=with_password).as_string(None)


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
    membership = Membership("group", 'M"x', admin, inherit, may_set)
    assert grant_membership(membership, major).as_string(None) == f'GRANT "group" TO "M""x"{options}'


def test_predefined_roles_are_reserved() -> None:
    assert is_reserved("pg_read_all_data")
    assert not is_reserved("page")
