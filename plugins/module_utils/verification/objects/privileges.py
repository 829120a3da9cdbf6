# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Privileges as a set of (who, what, grantable), without regard to order, to how they are stored, and to defaults.

``acl`` IS NULL means PostgreSQL's default, which it adds to over the majors (MAINTAIN, 17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...role_names import RoleNames

# What a kind's owner and everyone hold by default. Owner number 10 always exists.
DEFAULTS = """
SELECT t.letter, e.privilege_type AS privilege, e.grantee = 0 AS is_public
  FROM pg_catalog.unnest('{r,s,d,f,l,n,T,F,S,L}'::text[]) AS t(letter)
 CROSS JOIN LATERAL pg_catalog.aclexplode(pg_catalog.acldefault(t.letter::"char", 10)) AS e
"""


def exploded(acl: str) -> str:
    """Return an SQL expression: [grantee or null for PUBLIC, privilege, is grantable, grantor] for each entry, or NULL."""
    return f"""CASE WHEN {acl} IS NOT NULL THEN coalesce((
         SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
                  CASE WHEN e.grantee <> 0 THEN pg_catalog.pg_get_userbyid(e.grantee) END,
                  e.privilege_type, e.is_grantable, pg_catalog.pg_get_userbyid(e.grantor)))
           FROM pg_catalog.aclexplode({acl}) AS e), '[]') END"""


@dataclass(frozen=True)
class Privileges:
    """Privileges in words: ``held`` is what counts, ``grantors`` those that the owner did not give."""

    held: str | None
    grantors: str | None
    notes: tuple[str, ...] = ()


class Reader:
    """Reads the privileges of one server. ``names`` and ``level`` are those of the scope."""

    def __init__(self, defaults: Iterable[Mapping[str, Any]], names: RoleNames | None, level: int) -> None:
        self._names = names
        self._level = level
        self._defaults: dict[str, list[tuple[bool, str]]] = {}
        for row in defaults:
            self._defaults.setdefault(row["letter"], []).append((row["is_public"], row["privilege"]))

    def owner(self, role: str) -> str:
        """Return who is the owner, on the target, of what ``role`` owns."""
        return self._names.owner_of(role) if self._names else role

    def role(self, role: str) -> str | None:
        """Return who stands for a role, None where nobody does."""
        return self._names.of(role) if self._names else role

    def read(self, acl: Sequence[Sequence[Any]] | None, letter: str | None, owner: str | None) -> Privileges:
        """Return the privileges of an object; ``letter`` is its kind's in acldefault, None where none are default."""
        if acl is None:
            acl = [
                [None if public else owner, what, False, owner] for public, what in self._defaults.get(letter or "", [])
            ]
        held: dict[str, dict[str, bool]] = {}
        grantors: set[str] = set()
        nobody: set[str] = set()
        for grantee, privilege, is_grantable, grantor in acl:
            who = "PUBLIC" if grantee is None else self.owner(grantee) if grantee == owner else self.role(grantee)
            if who is None:
                nobody.add(grantee)
                continue
            who = f'"{who}"' if who == "PUBLIC" and grantee is not None else who
            # The owner may grant anyway.
            privileges = held.setdefault(who, {})
            privileges[privilege] = privileges.get(privilege, False) or (is_grantable and grantee != owner)
            if grantor != owner:
                grantors.add(f"{who} {privilege} from {self.role(grantor) or grantor}")
        if self._level < 17:
            _forget_maintain(held, None if owner is None else self.owner(owner))
        return Privileges(
            in_words(held), "; ".join(sorted(grantors)) or None, tuple(_left(role) for role in sorted(nobody))
        )


def _left(role: str) -> str:
    return f"privileges of the role {role}, for which nobody stands on the target"


def _forget_maintain(held: Mapping[str, dict[str, bool]], owner: str | None) -> None:
    """From 17 on MAINTAIN is one of ALL PRIVILEGES of a table: its owner and who holds all others of them hold it as well."""
    others = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
    for who, privileges in held.items():
        if who == owner or others <= set(privileges):
            privileges.pop("MAINTAIN", None)


def in_words(held: Mapping[str, Mapping[str, bool]]) -> str:
    """Return who holds what; an asterisk is the right to grant it on."""
    return (
        "; ".join(
            f"{who}: " + ", ".join(name + ("*" if grantable else "") for name, grantable in sorted(what.items()))
            for who, what in sorted(held.items())
            if what
        )
        or "nobody"
    )
