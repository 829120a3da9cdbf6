# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How a role that the target has already differs from the one that it stands for. Pure; nothing is ever changed for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from . import role_passwords
from .role_catalog import ATTRIBUTES, Membership, Role, RoleSetting


def attributes(wanted: Role, there: Role, withheld: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return, in words for people, which attributes the target's role has otherwise.

    ``withheld`` says why a role that init makes would lack some of them, too.
    """
    found = []
    for attribute in ATTRIBUTES:
        has = getattr(there, attribute)
        if has != getattr(wanted, attribute):
            why = f" ({withheld[attribute]})" if not has and attribute in withheld else ""
            found.append(f"{'' if has else 'NO'}{attribute.upper()} there{why}")
    if there.connection_limit != wanted.connection_limit:
        found.append(f"CONNECTION LIMIT {there.connection_limit} there, {wanted.connection_limit} here")
    if (there.valid_until or "infinity") != (wanted.valid_until or "infinity"):
        found.append(f"VALID UNTIL {there.valid_until or 'infinity'} there, {wanted.valid_until or 'infinity'} here")
    return found


def password(role: str, given: str | None, here: str | None, there: str | None) -> list[str]:
    """Return, in words for people, what is to be told about a role's password; never the hashes.

    ``here`` and ``there`` are the hashes of the source and the target, None for no password; ``given`` is the password
    of ``role_passwords``, which counts instead of the source's. A hash is made with a salt: only the same one is proof.
    """
    if there is None:
        return ["no password there"] if here is not None or given is not None else []
    if given is not None:
        return [] if role_passwords.is_of(there, role, given) else ["another password there than role_passwords says"]
    if here is None:
        return ["a password there, none here"]
    if here == there:
        return []
    if here.startswith("md5") and there.startswith("md5"):
        return ["another password there"]
    return ["another password there, or the same one hashed anew: who logs in with it may be refused"]


def memberships(wanted: Sequence[Membership], there: Sequence[Membership]) -> list[str]:
    """Return the same for the memberships of one role; both lists are of the target's names."""
    mine, others = merged(wanted), merged(there)
    found = []
    for granted, item in mine.items():
        other = others.get(granted)
        if other is None:
            found.append(f"not a member of {granted} there")
        elif words := _options(item, other):
            found.append(f"member of {granted} {words} there")
    return found + [f"member of {granted} there only" for granted in others if granted not in mine]


def _options(wanted: Membership, there: Membership) -> str:
    words = []
    for option in ("admin", "inherit", "set"):
        ours, theirs = getattr(wanted, option), getattr(there, option)
        if ours != theirs and None not in (ours, theirs):
            words.append(f"with {option.upper()} {str(theirs).upper()}")
    return ", ".join(words)


def settings(wanted: Iterable[RoleSetting], there: Iterable[RoleSetting]) -> list[str]:
    """Return the same for the settings of one role; never a value, because applications keep secrets in them."""
    mine = {(item.in_database, item.name): item.value for item in wanted}
    others = {(item.in_database, item.name): item.value for item in there}
    found = []
    for key, value in mine.items():
        if key not in others:
            found.append(f"no setting {_shown(key)} there")
        elif others[key] != value:
            found.append(f"another value of {_shown(key)} there")
    return found + [f"setting {_shown(key)} there only" for key in others if key not in mine]


def _shown(key: tuple[bool, str]) -> str:
    return key[1] + (" in this database" if key[0] else "")


def merged(found: Iterable[Membership]) -> dict[str, Membership]:
    """Return the memberships of one role by what was granted; several grantors give what any of them gives."""
    result: dict[str, Membership] = {}
    for item in found:
        other = result.get(item.granted)
        result[item.granted] = item if other is None else either(item, other)
    return result


def either(one: Membership, other: Membership) -> Membership:
    """Return what two grants of the same membership give together, without a grantor."""
    inherit = None if one.inherit is None else one.inherit or bool(other.inherit)
    may_set = None if one.set is None else one.set or bool(other.set)
    return Membership(one.granted, one.member, one.admin or other.admin, inherit, may_set)
