# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Passwords of roles: the hashes that a source shows, and hashing on our side, so that no server's log sees a password."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .driver import psycopg
from .errors import MigrationError
from .session import Session

_VERIFIERS = """
SELECT a.rolname AS name, a.rolpassword AS verifier
  FROM pg_catalog.pg_authid AS a
 WHERE a.rolname = ANY (%(names)s) AND a.rolpassword IS NOT NULL
"""


def stored(source: Session, names: Collection[str]) -> dict[str, str] | None:
    """Return the stored password hashes of those roles that have one, or None when they cannot be read."""
    try:
        return {row["name"]: row["verifier"] for row in source.rows(_VERIFIERS, {"names": sorted(names)})}
    except psycopg.errors.InsufficientPrivilege:
        return None


def check(given: Mapping[str, Any] | None) -> None:
    """Raise ``bad_option`` for a mapping of roles to passwords that holds something else."""
    for role, password in (given or {}).items():
        if not isinstance(password, str) or not password or "\0" in password:
            raise MigrationError(
                "bad_option",
                f"role_passwords has no password for {role!r}.",
                "Give each role a text that is not empty (in YAML, quote a number), or leave the role out.",
            )


def hashed(session: Session, role: str, password: str) -> str:
    """Return the SCRAM-SHA-256 verifier of a password, as CREATE ROLE takes it. libpq makes it; nothing is sent.

    Source: PostgreSQL manual, libpq, PQencryptPasswordConn.
    """
    made = session.connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode()
