# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the options say about roles: which are made on the target, which are called otherwise there, which never travel.

Pure. What a role is called in the end also depends on what is there; that is ``roles.names``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import MigrationError
from .provider import is_own_role

KINDS = ("referenced", "all", "none")
_REMEDY = "Give referenced, all, none, or a mapping of the source's role names to the target's."


class Options(Protocol):
    """The options that matter here."""

    @property
    def roles(self) -> Any:
        """One of :data:`KINDS`, or a mapping."""

    @property
    def reserved_roles(self) -> Sequence[str] | None:
        """Patterns of names, None for what is known of the providers."""


@dataclass(frozen=True)
class RolePolicy:
    """``kind`` is one of :data:`KINDS`; ``renamed`` maps roles of the source to what they are called on the target.

    There None means that nobody stands for the role. ``reserved`` are the patterns of the names that are a provider's own
    (``*`` stands for any characters), None for the names that are known of the providers.
    """

    kind: str = "referenced"
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    reserved: tuple[str, ...] | None = None

    def is_reserved(self, role: str) -> bool:
        """True for a role that a provider keeps for itself, unless the mapping says what becomes of it."""
        if role in self.renamed:
            return False
        if self.reserved is None:
            return is_own_role(role)
        return any(_pattern(text).fullmatch(role) for text in self.reserved)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def is_predefined(role: str) -> bool:
    """True for roles that PostgreSQL itself predefines; nobody else may use such a name."""
    return role.startswith("pg_")


def policy(options: Options) -> RolePolicy:
    """Return what the options say. Raises ``bad_option``."""
    given, reserved = options.roles, options.reserved_roles
    patterns = None if reserved is None else tuple(str(text) for text in reserved)
    if patterns is not None and "" in patterns:
        raise MigrationError("bad_option", "reserved_roles holds an empty name.", "Leave it out.")
    if isinstance(given, str):
        if given not in KINDS:
            raise MigrationError("bad_option", f"roles is {given!r}.", _REMEDY)
        return RolePolicy(given, reserved=patterns)
    if not isinstance(given, Mapping):
        raise MigrationError("bad_option", f"roles is {type(given).__name__}, not a word or a mapping.", _REMEDY)
    renamed: dict[str, str | None] = {}
    for role, target in given.items():
        if not isinstance(role, str) or not role or not (target is None or isinstance(target, str)):
            raise MigrationError("bad_option", f"roles maps {role!r} to {target!r}: both have to be names.", _REMEDY)
        if is_predefined(role):
            raise MigrationError(
                "bad_option", f"roles maps {role}, which every PostgreSQL predefines.", "Leave it out of the mapping."
            )
        if target == "":
            raise MigrationError(
                "bad_option",
                f"roles maps {role} to an empty name.",
                "Give the name of a role of the target, or null where nobody is to stand for it.",
            )
        renamed[role] = target
    return RolePolicy("referenced", renamed, patterns)
