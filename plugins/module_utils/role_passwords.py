# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Passwords of roles: the hashes that a server shows, and hashing on our side, so that no server's log sees a password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
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

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")


def stored(session: Session, names: Collection[str]) -> dict[str, str] | None:
    """Return the stored password hashes of those roles that have one, or None when they cannot be read."""
    try:
        return {row["name"]: row["verifier"] for row in session.rows(_VERIFIERS, {"names": sorted(names)})}
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


def is_of(verifier: str, role: str, password: str) -> bool:
    """Return whether a stored hash is that of a password. Pure.

    Source: RFC 5803 for SCRAM, and PostgreSQL manual, pg_authid, for md5.
    """
    if verifier.startswith("md5"):
        digest = hashlib.md5(password.encode() + role.encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(f"md5{digest}", verifier)
    found = _SCRAM.fullmatch(verifier)
    if found is None:
        return False
    prepared = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", prepared, base64.b64decode(found[2]), int(found[1]))
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return hmac.compare_digest(stored_key, base64.b64decode(found[3]))
