# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Privileges on what the restore has made: afterwards they are those of the source, neither more nor less.

What the target adds by its own default privileges is taken away again. What was there before the restore belongs to
``changed_privileges.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import acl
from .acl import Change, Losses, Right
from .attempts import Attempt, Refused, carry_out
from .driver import sql
from .owned import COLUMN, Holdings, Owned
from .role_names import RoleNames
from .session import Session

AT_ONCE = 5000
_KINDS = {"VIEW": "TABLE", "MATERIALIZED VIEW": "TABLE", "FOREIGN TABLE": "TABLE", "SERVER": "FOREIGN SERVER"}

_MAY_ACT_AS = """
SELECT r.rolname AS name
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(roles)s::name[]) AND pg_catalog.pg_has_role(r.oid, %(privilege)s)
"""


_IS_SUPERUSER = "SELECT pg_catalog.current_setting('is_superuser')"


@dataclass(frozen=True)
class Grants:
    """The changes of one object's privileges, or of one of its columns."""

    item: Owned
    column: str | None
    changes: Sequence[Change]

    @property
    def shown(self) -> str:
        """The object for people."""
        return self.item.shown if self.column is None else f"column {self.column} of {self.item.shown}"

    def what(self, change: Change) -> str:
        """One of the changes, for people."""
        whose = "PUBLIC" if change.grantee == acl.PUBLIC else change.grantee
        return f"{', '.join(acl.words(change.letters))} on {self.shown} for {whose}"


@dataclass
class Lost:
    """What cannot be repeated, gathered by its cause: the objects of each role, and of each unknown privilege."""

    roles: dict[str, list[str]] = field(default_factory=dict)
    grantors: dict[str, list[str]] = field(default_factory=dict)
    privileges: dict[str, list[str]] = field(default_factory=dict)

    def add(self, shown: str, losses: Losses) -> None:
        """Gather the losses of one object."""
        for found, into in (
            (losses.roles, self.roles), (losses.grantors, self.grantors), (losses.privileges, self.privileges)
        ):  # fmt: skip
            for name in found:
                into.setdefault(name, []).append(shown)

    def merge(self, other: Lost) -> None:
        """Gather what another look has found."""
        for found, into in (
            (other.roles, self.roles), (other.grantors, self.grantors), (other.privileges, self.privileges)
        ):  # fmt: skip
            for name, objects in found.items():
                into.setdefault(name, []).extend(objects)

    def entries(self, target_major: int) -> list[dict[str, str]]:
        """Return what stays behind, one entry a cause."""
        left = [
            {
                "object": f"privileges of role {name}",
                "reason": f"no role of the target stands for it (with roles: none, only those that the connection may SET do): {summary(objects)}",
            }
            for name, objects in sorted(self.roles.items())
        ]
        left += [
            {"object": f"role {name} as the one who has granted", "reason": f"granted by the owner: {summary(objects)}"}
            for name, objects in sorted(self.grantors.items())
        ]
        return left + [
            {"object": f"privilege {word}", "reason": f"PostgreSQL {target_major} does not know it: {summary(objects)}"}
            for letter, objects in sorted(self.privileges.items())
            for word in acl.words([letter])
        ]


def summary(objects: Sequence[str]) -> str:
    """Name objects for people, the first ones when they are many."""
    named = sorted(set(objects))
    rest = len(named) - 5
    return ", ".join(named[:5]) + (f" and {rest} more" if rest > 0 else "")


def plan(
    source: Holdings,
    target: Holdings,
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
    there_before: Collection[str],
    *,
    keep_own: bool,
) -> tuple[list[Grants], Lost]:
    """Return what has to change on the target, and what cannot. Pure.

    ``there_before`` are schemas that the restore did not make. With ``keep_own`` no owner loses a privilege on what is
    his own: rows are still to be copied with it.
    """
    found: list[Grants] = []
    lost = Lost()

    def compare(item: Owned, twin: Owned, column: str | None) -> None:
        usual = COLUMN if column is not None else source.usual[str(item.usual)]
        there = COLUMN if column is not None else target.usual[str(item.usual)]
        if column is None:
            given = None if item.acl is None else acl.parse(item.acl)
            present = there.of(twin.owner) if twin.acl is None else acl.parse(twin.acl)
            if given is None and twin.acl is None:
                return
        else:
            given = acl.parse(item.columns.get(column, ()))
            present = acl.parse(twin.columns.get(column, ()))
        wanted, losses = acl.carried(given, item.owner, twin.owner, names, usual, there, column=column is not None)
        lost.add(item.shown, losses)
        changes = acl.changes(present, wanted, twin.owner, keep_own=keep_own)
        if changes:
            found.append(Grants(twin, column, changes))

    for key, item in source.objects.items():
        twin = target.objects.get(key)
        if twin is None or item.usual is None or (item.classid, item.oid) in left_behind:
            continue
        if item.kind == "SCHEMA" and item.name in there_before:
            continue
        compare(item, twin, None)
        for column in sorted({*item.columns, *twin.columns}):
            compare(item, twin, column)
    return found, lost


def statement(grants: Grants, change: Change, *, as_owner: bool = False) -> sql.Composed:
    """Return the GRANT or REVOKE, as the grantor where that is not the owner, or ``as_owner`` wants it."""
    item = grants.item
    kind = sql.SQL(_KINDS.get(item.kind, item.kind))
    text = grant(change, words(change, grants.column), sql.SQL("{} {}").format(kind, item.reference))
    return text if change.grantor == item.owner and not as_owner else as_role(change.grantor, text)


def words(change: Change, column: str | None) -> list[sql.Composable]:
    """Return the privileges of a change as GRANT writes them, for a column where there is one."""
    plain = [sql.SQL(word) for word in acl.words(change.letters)]
    if column is None:
        return [*plain]
    return [sql.SQL("{} ({})").format(word, sql.Identifier(column)) for word in plain]


def as_role(name: str, text: sql.Composable) -> sql.Composed:
    """Return a statement that is carried out as another role."""
    return sql.SQL("SET LOCAL ROLE {};\n{};\nRESET ROLE").format(sql.Identifier(name), text)


def grant(change: Change, written: Iterable[sql.Composable], what: sql.Composable) -> sql.Composed:
    """Return GRANT or REVOKE of these privileges, as :func:`words` writes them, on ``what``."""
    privileges = sql.SQL(", ").join(written)
    if change.gives:
        option = sql.SQL(" WITH GRANT OPTION" if change.grantable else "")
        return sql.SQL("GRANT {} ON {} TO {}{}").format(privileges, what, role(change.grantee), option)
    option = sql.SQL("GRANT OPTION FOR " if change.grantable else "")
    return sql.SQL("REVOKE {}{} ON {} FROM {}").format(option, privileges, what, role(change.grantee))


def role(name: str) -> sql.Composable:
    """Return a grantee as GRANT calls it."""
    return sql.SQL("PUBLIC") if name == acl.PUBLIC else sql.Identifier(name)


def carry(session: Session, planned: Sequence[Grants], lost: Lost) -> list[Refused]:
    """Carry the changes out; return what the server refused. The caller has a transaction open.

    What was granted by another than the owner is granted by that role where we may act as it, else by the owner, which
    ``lost`` then tells.
    """
    privilege = "SET" if session.major >= 16 else "MEMBER"
    others = {c.grantor for grants in planned for c in grants.changes if c.grantor != grants.item.owner}
    usable: set[str] = set()
    if others:
        rows = session.rows(_MAY_ACT_AS, {"roles": sorted(others), "privilege": privilege})
        usable = {row["name"] for row in rows}
    # What others passed on is taken first: an owner cannot take what lets them. Then owners' grants, on all objects: who
    # passes something on may need to reach it through its schema.
    by_owner: list[Attempt] = []
    shared: list[tuple[Grants, Change]] = []
    contested = {item.item.key for item in planned if is_contested(item.item.owner, _held(item.item), item.changes)}
    if contested and is_superuser(session):
        contested = set()
    passed_on: list[tuple[Grants, Change]] = []
    taken_first: list[tuple[Grants, Change]] = []
    for grants in sorted(planned, key=lambda item: item.item.kind != "SCHEMA"):
        for change in grants.changes:
            if change.grantor == grants.item.owner and grants.item.key in contested:
                shared.append((grants, change))
            elif change.grantor == grants.item.owner:
                by_owner.append(_attempt(grants, change))
            elif change.grantor in usable:
                (passed_on if change.gives else taken_first).append((grants, change))
            else:
                lost.grantors.setdefault(change.grantor, []).append(grants.item.shown)
                by_owner.append(_attempt(grants, _by_owner(grants, change)))
    refused = _pass_on(session, taken_first, lost)
    refused += carry_out(session, by_owner, AT_ONCE) + _as_owner(session, shared)
    return refused + _pass_on(session, passed_on, lost)


def is_contested(owner: str, held: Mapping[Right, bool], changes: Sequence[Change]) -> bool:
    """True where somebody else than the owner can, or will, grant, too.

    Of several roles of ours that may grant, PostgreSQL takes the one that comes first, unless we are a superuser. Pure.
    """
    return any(is_option and right.grantee != owner for right, is_option in held.items()) or any(
        change.grantable and change.grantee != owner for change in changes
    )


def is_superuser(session: Session) -> bool:
    """True when the session's role is one now."""
    return bool(session.value(_IS_SUPERUSER) == "on")


def _held(item: Owned) -> dict[Right, bool]:
    held = {**acl.parse(item.acl or ())}
    for column in item.columns.values():
        held.update(acl.parse(column))
    return held


def _as_owner(session: Session, shared: Sequence[tuple[Grants, Change]]) -> list[Refused]:
    """Grant as the owner itself; in our own name what it may not, because it cannot reach its object."""
    attempts = [_attempt(grants, change, as_owner=True) for grants, change in shared]
    pairs = dict(zip(map(id, attempts), shared, strict=True))
    refused = carry_out(session, attempts, AT_ONCE)
    return carry_out(session, [_attempt(*pairs[id(refusal.attempt)]) for refusal in refused], AT_ONCE)


def _pass_on(session: Session, passed_on: Sequence[tuple[Grants, Change]], lost: Lost) -> list[Refused]:
    """Grant as those who have granted it on the source; as the owner what they may not, or no longer, grant."""
    attempts = [_attempt(grants, change) for grants, change in passed_on]
    pairs = dict(zip(map(id, attempts), passed_on, strict=True))
    again = []
    for refusal in carry_out(session, attempts, AT_ONCE):
        grants, change = pairs[id(refusal.attempt)]
        lost.grantors.setdefault(change.grantor, []).append(grants.item.shown)
        again.append(_attempt(grants, _by_owner(grants, change)))
    return carry_out(session, again, AT_ONCE)


def _by_owner(grants: Grants, change: Change) -> Change:
    return Change(change.gives, grants.item.owner, change.grantee, change.letters, change.grantable)


def _attempt(grants: Grants, change: Change, *, as_owner: bool = False) -> Attempt:
    return Attempt(grants.what(change), statement(grants, change, as_owner=as_owner))
