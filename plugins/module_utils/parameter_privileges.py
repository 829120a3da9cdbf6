# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Privileges on configuration parameters (``GRANT SET | ALTER SYSTEM ON PARAMETER``, from 15 on), of the roles that init makes.

They belong to the server, as roles do. What roles that are there already may do, or PUBLIC, is told and never changed.
Source: PostgreSQL manual, "pg_parameter_acl".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from . import acl
from .acl import Change, Right, Usual
from .attempts import Attempt, Refused
from .driver import sql
from .privileges import grant
from .role_names import RoleNames
from .session import Session

Left = dict[str, str]

SINCE = 15
_USUAL = Usual(frozenset({"s", "A"}), frozenset())

# The bootstrap superuser (OID 10) owns every parameter; who he is called may differ on both sides.
_GRANTED = """
SELECT p.parname AS parameter, p.paracl::text[] AS acl FROM pg_catalog.pg_parameter_acl AS p ORDER BY p.parname
"""
_OWNER = "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r WHERE r.oid = 10"


@dataclass(frozen=True)
class Parameters:
    """The privileges on parameters that somebody was granted on one server, each with its grant option."""

    owner: str
    held: Mapping[str, Mapping[Right, bool]]


@dataclass(frozen=True)
class ParameterGrant:
    """Privileges on one parameter to be given to a new role of the target; ``owner`` is that of all parameters there."""

    parameter: str
    change: Change
    owner: str

    @property
    def shown(self) -> str:
        """What results call it."""
        return _shown(self.parameter, self.change.grantee, self.change.letters)

    def statement(self) -> sql.Composed:
        """Return the GRANT, as its grantor where that is not the owner of all parameters."""
        parameter = sql.Identifier(*self.parameter.split("."))
        words = [sql.SQL(word) for word in acl.words(self.change.letters)]
        text = grant(self.change, words, sql.SQL("PARAMETER {}").format(parameter))
        if self.change.grantor == self.owner:
            return text
        return sql.SQL("SET LOCAL ROLE {};\n{};\nRESET ROLE").format(sql.Identifier(self.change.grantor), text)


@dataclass(frozen=True)
class ParameterPlan:
    """What to give on the target, and what is known to stay behind."""

    grants: tuple[ParameterGrant, ...] = ()
    left: tuple[Left, ...] = ()


def read(session: Session) -> Parameters:
    """Read them; a server before 15 has none."""
    if session.major < SINCE:
        return Parameters("", {})
    owner, granted = session.rows_of(_OWNER, _GRANTED)
    return Parameters(owner[0]["name"], {row["parameter"]: acl.parse(row["acl"]) for row in granted})


def plan(
    ours: Parameters,
    theirs: Parameters,
    names: RoleNames,
    known: Collection[str],
    fresh: Collection[str],
    target_major: int,
) -> ParameterPlan:
    """Return what becomes of the source's privileges on the target. Pure.

    ``known`` are the roles of the source that take part, ``fresh`` those of the target that are ours to complete.
    """
    grants: list[ParameterGrant] = []
    left: list[Left] = []
    owner = theirs.owner or names.connected
    for parameter, held in ours.held.items():
        taking_part = {
            right: option
            for right, option in held.items()
            if right.grantee != ours.owner and (right.grantee in known or right.grantee == acl.PUBLIC)
        }
        carried, losses = acl.carried(taking_part, ours.owner, owner, names, _USUAL, _USUAL)
        wanted = {right: option for right, option in carried.items() if right.grantee != owner}
        present = theirs.held.get(parameter, {})
        missing = [right for right, option in wanted.items() if not _has(present, right, with_option=option)]
        if target_major < SINCE:
            reason = f"PostgreSQL {target_major} has no privileges on parameters"
            left += _each(parameter, [right for right in missing if right.grantee in fresh], reason)
            continue
        reason = "everybody on the target's server would have it: grant it there if that is wanted"
        left += _each(parameter, [right for right in missing if right.grantee == acl.PUBLIC], reason)
        reason = "the role is on the target without it, and was not changed"
        others = [right for right in missing if right.grantee not in fresh and right.grantee != acl.PUBLIC]
        left += _each(parameter, others, reason)
        left += [
            _of_grantor(grantor, parameter, f"nobody stands for it on the target: granted by {owner}")
            for grantor in sorted(losses.grantors)
        ]
        given = {right: option for right, option in wanted.items() if right.grantee in fresh}
        changes = acl.changes(present, {**present, **given}, owner)
        grants += [ParameterGrant(parameter, change, owner) for change in changes]
    return ParameterPlan(tuple(grants), tuple(left))


def refusals(grants: Sequence[ParameterGrant], theirs: Parameters, mine: Collection[str], connected: str) -> list[Left]:
    """Return what a role without superuser will not be able to grant; ``mine`` are the roles whose rights it has. Pure."""

    def may_grant(item: ParameterGrant, letter: str) -> bool:
        present = theirs.held.get(item.parameter, {})
        return any(_has(present, Right("", role, letter), with_option=True) for role in mine)

    return [
        {"object": item.shown, "reason": f"{connected} may not grant it on the target"}
        for item in grants
        if not all(may_grant(item, letter) for letter in item.change.letters)
    ]


def carry(
    session: Session, grants: Sequence[ParameterGrant], attempt: Callable[[Sequence[Attempt]], list[Refused]]
) -> list[Left]:
    """Give what the server accepts; return what stays behind. The caller has a transaction open.

    What another role has granted is granted in our own name where that role may not grant it.
    """
    if not grants:
        return []
    refused = _try(grants, attempt)
    there = read(session)
    again = {
        item: replace(item, change=replace(item.change, grantor=item.owner))
        for item in grants
        if item.change.grantor != item.owner and _lacking(item, there)
    }
    if again:
        refused.update(_try(list(again.values()), attempt))
        there = read(session)
    left: list[Left] = []
    for item in grants:
        # Who may not grant at all is at times answered with a warning, so what counts is what is there.
        lacking = _lacking(item, there)
        reason = refused.get(again.get(item, item)) or "nobody that this connection may act as may grant it"
        left += _each(item.parameter, lacking, reason)
        if item in again and not lacking:
            reason = refused.get(item, "it may not grant them on the target")
            left.append(_of_grantor(item.change.grantor, item.parameter, f"granted by another: {reason}"))
    return left


def _try(
    grants: Sequence[ParameterGrant], attempt: Callable[[Sequence[Attempt]], list[Refused]]
) -> dict[ParameterGrant, str]:
    """Return what is refused, with the reasons."""
    tries = [Attempt(str(number), item.statement()) for number, item in enumerate(grants)]
    return {grants[int(item.attempt.what)]: item.reason for item in attempt(tries)}


def _lacking(item: ParameterGrant, there: Parameters) -> list[Right]:
    """Return what of a grant its grantee does not have."""
    change, present = item.change, there.held.get(item.parameter, {})
    rights = [Right(change.grantor, change.grantee, letter) for letter in change.letters]
    return [right for right in rights if not _has(present, right, with_option=change.grantable)]


def _has(present: Mapping[Right, bool], wanted: Right, *, with_option: bool) -> bool:
    """Return whether a grantee holds a privilege, whoever gave it."""
    return any(
        (right.grantee, right.letter) == (wanted.grantee, wanted.letter) and (option or not with_option)
        for right, option in present.items()
    )


def _each(parameter: str, rights: Sequence[Right], reason: str) -> list[Left]:
    by_grantee: dict[str, set[str]] = {}
    for right in rights:
        by_grantee.setdefault(right.grantee, set()).add(right.letter)
    return [
        {"object": _shown(parameter, grantee, sorted(letters)), "reason": reason}
        for grantee, letters in sorted(by_grantee.items())
    ]


def _of_grantor(grantor: str, parameter: str, reason: str) -> Left:
    return {"object": f"grantor {grantor} of privileges on parameter {parameter}", "reason": reason}


def _shown(parameter: str, grantee: str, letters: Sequence[str]) -> str:
    return f"{', '.join(acl.words(letters))} on parameter {parameter} for {grantee or 'PUBLIC'}"
