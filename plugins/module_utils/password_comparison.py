# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Whether those who log in on the source get in on the target with the same password, where both have the role."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from . import role_comparison, role_passwords
from .role_catalog import Roles
from .session import Session
from .side_by_side import both

Left = dict[str, str]

if TYPE_CHECKING:
    # The hashes of the source's and of the target's roles, by name; None where they are not readable.
    Verifiers = tuple[Optional[Mapping[str, str]], Optional[Mapping[str, str]]]  # noqa: UP045


def namesakes_of(standing: Mapping[str, str], fresh: Collection[str], ours: Roles, theirs: Roles) -> list[str]:
    """Return the roles that applications log in with under the same name on both sides, and that are not ours.

    Not the connected role: the password that it has on the target is the one that we were given. Nor the superusers that
    the servers were made with, whose passwords are each server's own.
    """
    same = {called for called, name in standing.items() if called == name} - {*fresh, theirs.connected}
    pairs = [(ours.roles[role], theirs.roles[role]) for role in sorted(same)]
    return [
        here.name for here, there in pairs if here.login and there.login and not here.is_bootstrap | there.is_bootstrap
    ]


def read_verifiers(
    source: Session, target: Session, missing: Collection[str], namesakes: Sequence[str], readers: tuple[Roles, Roles]
) -> Verifiers:
    """Read the hashes that are needed of both sides at the same time; None where the role may not read them."""
    ours, theirs = readers
    of_source, of_target = {*missing, *namesakes}, {*namesakes}

    def read(session: Session, names: Collection[str], reader: Roles) -> Mapping[str, str] | None:
        if not names:
            return {}
        return role_passwords.stored(session, names) if reader.reads_passwords else None

    return both(lambda: read(source, of_source, ours), lambda: read(target, of_target, theirs))


def other_passwords(
    namesakes: Sequence[str], passwords: Mapping[str, str], verifiers: Verifiers
) -> dict[str, list[str]]:
    """Return what is to be told about the passwords of roles that both sides have, where both are known."""
    here, there = verifiers
    if there is None:
        return {}
    return {
        role: role_comparison.password(
            role, passwords.get(role), None if here is None else here.get(role), there.get(role)
        )
        for role in namesakes
        if here is not None or role in passwords
    }


def unknown_passwords(namesakes: Sequence[str], passwords: Mapping[str, str], verifiers: Verifiers) -> list[Left]:
    """Return what is to be told about roles whose passwords cannot be compared."""
    here, there = verifiers
    sides = " and ".join(side for side, known in (("source", here), ("target", there)) if known is None)
    reason = (
        f"exists on the target; whether its password is that of the source cannot be known: the {sides} shows no "
        "hashes of passwords (pg_authid). It was not changed"
    )
    unknown = [role for role in namesakes if there is None or (here is None and role not in passwords)]
    return [{"object": f"password of role {role}", "reason": reason} for role in unknown]
