# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Access privileges as values: what an aclitem[] says, what it has to say on another server, and how two differ. Pure.

Source: PostgreSQL manual, "Privileges" (table "ACL Privilege Abbreviations").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from .role_names import RoleNames

PUBLIC = ""
WORDS = {
    "a": "INSERT", "r": "SELECT", "w": "UPDATE", "d": "DELETE", "D": "TRUNCATE", "x": "REFERENCES", "t": "TRIGGER",
    "X": "EXECUTE", "U": "USAGE", "C": "CREATE", "c": "CONNECT", "T": "TEMPORARY", "m": "MAINTAIN",
    "s": "SET", "A": "ALTER SYSTEM",
}  # fmt: skip
_ITEM = re.compile(
    r'(?P<grantee>"(?:[^"]|"")*"|[^="]*)=(?P<letters>[A-Za-z*]*)/(?P<grantor>"(?:[^"]|"")*"|.*)', re.DOTALL
)
_LETTER = re.compile(r"([A-Za-z])(\*?)")


@dataclass(frozen=True)
class Right:
    """One privilege (its letter) of ``grantee``, "" being PUBLIC, given by ``grantor``."""

    grantor: str
    grantee: str
    letter: str


# Each right that is held, and whether it may be given on.
Acl = Mapping[Right, bool]


@dataclass(frozen=True)
class Usual:
    """What a server's major knows of one kind of object: all privileges there are, and PUBLIC's by default."""

    all: frozenset[str]
    public: frozenset[str]

    def of(self, owner: str) -> dict[Right, bool]:
        """Return the default privileges (an ACL that is NULL) of an object of this owner."""
        held = {Right(owner, owner, letter): False for letter in self.all}
        return {**held, **{Right(owner, PUBLIC, letter): False for letter in self.public}}


def parse(items: Sequence[str]) -> dict[Right, bool]:
    """Return an aclitem[] that was read as text[]."""
    found: dict[Right, bool] = {}
    for item in items:
        found.update(_parsed(item))
    return found


@lru_cache(maxsize=4096)
def _parsed(item: str) -> tuple[tuple[Right, bool], ...]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"not an aclitem: {item!r}")
    grantor, grantee = _name(match["grantor"]), _name(match["grantee"])
    letters = _LETTER.findall(match["letters"])
    return tuple((Right(grantor, grantee, letter), bool(star)) for letter, star in letters)


def _name(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


@dataclass
class Losses:
    """What an ACL says that the target cannot repeat: for roles that nobody stands for, and in unknown words."""

    roles: set[str] = field(default_factory=set)
    grantors: set[str] = field(default_factory=set)
    privileges: set[str] = field(default_factory=set)


def carried(
    acl: Acl | None, owner: str, new_owner: str, names: RoleNames, here: Usual, there: Usual, *, column: bool = False
) -> tuple[dict[Right, bool], Losses]:
    """Return what an object's ACL on the source (``here``) has to be on the target (``there``), and what is lost.

    None is the default. What a newer major has invented goes to the owner alone, as by default. What the owner took from
    himself stays taken when his stand-in owns the object; another owner (option ``owner``) has
    everything, and needs nothing of a ``column``. Rights that several roles hold which have one stand-in are merged.
    """
    losses = Losses()
    if acl is None:
        return there.of(new_owner), losses
    keeps_own = names.of(owner) == new_owner
    own = frozenset() if keeps_own or column else there.all
    wanted = {Right(new_owner, new_owner, letter): False for letter in own}
    for (grantor, grantee), held in _by_pair(acl).items():
        if grantee == owner:
            if not keeps_own:
                continue
            receiver: str | None = new_owner
        else:
            receiver = PUBLIC if grantee == PUBLIC else names.of(grantee)
        if receiver is None:
            losses.roles.add(grantee)
            continue
        giver = new_owner if grantor == owner else names.of(grantor)
        if giver is None:
            losses.grantors.add(grantor)
            giver = new_owner
        if receiver == giver and receiver != new_owner:
            continue  # two roles that have one stand-in
        if receiver == new_owner and grantee != owner:
            continue  # the owner has it anyway
        letters = _of_owner(held, here, there) if grantee == owner else held
        if set(held) != here.all:  # all that there are stay all that there are
            losses.privileges |= set(letters) - there.all
        for letter, grantable in letters.items():
            if letter in there.all:
                right = Right(giver, receiver, letter)
                wanted[right] = wanted.get(right, False) or grantable
    return wanted, losses


def _by_pair(acl: Acl) -> dict[tuple[str, str], dict[str, bool]]:
    pairs: dict[tuple[str, str], dict[str, bool]] = {}
    for right, grantable in acl.items():
        pairs.setdefault((right.grantor, right.grantee), {})[right.letter] = grantable
    return pairs


def _of_owner(held: Mapping[str, bool], here: Usual, there: Usual) -> dict[str, bool]:
    """Return what an owner holds, with what only the target's major knows, unless he has taken everything from himself."""
    return {**dict.fromkeys(there.all - here.all, False), **held} if held else {}


@dataclass(frozen=True)
class Change:
    """Privileges (letters) to give, or to take, as ``grantor``; ``grantable`` is about the grant option.

    Of what is taken, ``grantable`` true takes the grant option only.
    """

    gives: bool
    grantor: str
    grantee: str
    letters: tuple[str, ...]
    grantable: bool


def changes(present: Acl, wanted: Acl, owner: str, *, keep_own: bool = False) -> list[Change]:
    """Return what turns ``present`` into ``wanted``, in an order in which each grantor may act.

    With ``keep_own`` nothing is taken from the owner himself.
    """
    taken: dict[Right, bool] = {}  # whether the grant option alone
    for right, grantable in present.items():
        if keep_own and right.grantee == owner:
            continue
        if right not in wanted:
            taken[right] = False
        elif grantable and not wanted[right]:
            taken[right] = True
    missing = {
        right: grantable
        for right, grantable in wanted.items()
        if right not in present or (grantable and not present[right])
    }
    stays = {right: grantable for right, grantable in present.items() if right not in taken}
    revokes: list[Change] = []
    # Leaves first: a grantee's own grants before what lets him grant.
    for layer in reversed(list(_layers({right: present[right] for right in taken}, stays, owner))):
        revokes += _grouped(False, {right: taken[right] for right in layer}, owner)
    grants: list[Change] = []
    for layer in _layers(missing, {r: g for r, g in present.items() if r in wanted}, owner):
        grants += _grouped(True, layer, owner)
    return revokes + grants


def _layers(rights: Acl, present: Acl, owner: str) -> Iterator[Acl]:
    """Yield rights so that who passes a privilege on has it, with grant option, before; what none reaches is last."""
    may_give = {(right.grantee, right.letter) for right, grantable in present.items() if grantable}
    waiting = dict(rights)
    while waiting:
        ready = {r: g for r, g in waiting.items() if r.grantor == owner or (r.grantor, r.letter) in may_give} or waiting
        yield ready
        may_give |= {(right.grantee, right.letter) for right, grantable in ready.items() if grantable}
        waiting = {right: grantable for right, grantable in waiting.items() if right not in ready}


def _grouped(gives: bool, rights: Acl, owner: str) -> list[Change]:
    grouped: dict[tuple[str, str, bool], set[str]] = {}
    for right, grantable in rights.items():
        grouped.setdefault((right.grantor, right.grantee, grantable), set()).add(right.letter)
    # An owner's grants to himself come first: he may have taken everything from himself.
    ordered = sorted(grouped.items(), key=lambda item: (not gives or item[0][1] != owner, item[0]))
    return [Change(gives, *key[:2], tuple(sorted(letters)), key[2]) for key, letters in ordered]


def words(letters: Iterable[str]) -> list[str]:
    """Return privileges as GRANT calls them."""
    return [WORDS.get(letter, letter) for letter in letters]
