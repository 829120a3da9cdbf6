# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Who owns and who may use what, carried from the source's catalogs to the target: the steps in their order.

It runs twice, inside the transactions of the schema's two sections: before the rows, with what no owner loses on his own
objects, because rows are still to be copied with that; and after them, when everything becomes exactly as it is on the
source. The second pass looks at everything again, and tells what is still otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from . import changed_privileges, default_privileges, owned, ownership, policies, privileges, user_mappings
from .attempts import Refused
from .changed_privileges import Changed
from .owned import Holdings
from .policies import Policy
from .privileges import Lost, summary
from .role_names import RoleNames
from .session import Session
from .side_by_side import both


@dataclass(frozen=True)
class Access:
    """What the source says, what its roles are called on the target, and what of the source does not travel."""

    names: RoleNames
    left_behind: frozenset[tuple[int, int]]
    holdings: Holdings
    changed: Sequence[Changed]


def read(source: Session, names: RoleNames, left_behind: frozenset[tuple[int, int]]) -> Access:
    """Read the source as its transaction sees it."""
    return Access(names, left_behind, owned.read(source), changed_privileges.read(source))


def before_rows(session: Session, access: Access, there_before: Collection[str]) -> None:
    """Give what the first section has made to its owners, and grant what is granted on it.

    ``session`` is on the target, inside the transaction of the restore; ``there_before`` are the schemas that it did not
    make. What is refused here is tried again, and told, after the rows.
    """
    _pass(session, access, there_before, is_last=False)


@dataclass(frozen=True)
class Outcome:
    """What stays behind, and which user mappings were made (their server and role, None for PUBLIC)."""

    left: list[dict[str, str]]
    user_mappings: list[tuple[str, str | None]]


def after_rows(
    session: Session,
    source: Session,
    access: Access,
    there_before: Collection[str],
    named: Sequence[Policy],
    mapping_policy: str,
) -> Outcome:
    """Do the same for everything, once the last section is restored; then the policies ``named``, user mappings, default
    privileges.
    """
    names, left_behind = access.names, access.left_behind
    (target, lost, left, refused), (mapped, usually) = both(
        lambda: _pass(session, access, there_before, is_last=True),
        lambda: (user_mappings.read(source, left_behind), default_privileges.read(source)),
    )
    refused += policies.carry(session, named, names)
    left += policies.left(named, names)
    mappings = user_mappings.carry(session, mapped, names, mapping_policy)
    left += mappings.left
    defaults, not_carried, of_defaults = default_privileges.plan(
        usually,
        default_privileges.read(session),
        names,
        left_behind,
        access.holdings.usual,
        target.usual,
    )
    refused += default_privileges.carry(session, defaults)
    lost.merge(not_carried)
    left = homeless(access.holdings, names, left_behind) + left
    entries = [*left, *lost.entries(session.major), *of_defaults, *(item.as_left for item in refused)]
    return Outcome(_once(entries), mappings.made)


def only(access: Access, chosen: Collection[tuple[int, int]]) -> Access:
    """Return the part of it that is about the ``chosen`` objects of the source, as (classid, objid). Pure."""
    everything = {(item.classid, item.oid) for item in access.holdings.objects.values()}
    return Access(access.names, access.left_behind | (everything - set(chosen)), access.holdings, ())


def after_rows_of(
    session: Session, access: Access, there_before: Collection[str], named: Sequence[Policy]
) -> list[dict[str, str]]:
    """Do what :func:`after_rows` does for a part of it (:func:`only`) with its policies ``named``; return what stays behind."""
    _target, lost, left, refused = _pass(session, access, there_before, is_last=True)
    refused += policies.carry(session, named, access.names)
    left = [*homeless(access.holdings, access.names, access.left_behind), *left, *policies.left(named, access.names)]
    return _once([*left, *lost.entries(session.major), *(item.as_left for item in refused)])


def _pass(
    session: Session, access: Access, there_before: Collection[str], *, is_last: bool
) -> tuple[Holdings, Lost, list[dict[str, str]], list[Refused]]:
    source, names, left_behind = access.holdings, access.names, access.left_behind
    target = owned.read(session)
    handovers = ownership.plan(source, target, names, left_behind)
    refused = ownership.give(session, handovers)
    if handovers:
        target = owned.read(session)
    grants, lost = privileges.plan(source, target, names, left_behind, there_before, keep_own=not is_last)
    refused += privileges.carry(session, grants, lost)
    unlike = _unlike(session, access, there_before, refused, lost) if is_last and (handovers or grants) else []
    changed = access.changed if is_last else [item for item in access.changed if item.is_schema_of_users]
    repeated, not_repeated, left = changed_privileges.plan(
        changed,
        changed_privileges.there(session, changed),
        names,
        left_behind,
        there_before,
        (source.usual, target.usual),
    )
    refused += changed_privileges.carry(session, repeated)
    lost.merge(not_repeated)
    return target, lost, unlike + left, refused


def _unlike(
    session: Session, access: Access, there_before: Collection[str], refused: Sequence[Refused], lost: Lost
) -> list[dict[str, str]]:
    """Look once more: a server may answer a grant that it does not make with a warning alone, or with another grantor."""
    source, names, left_behind = access.holdings, access.names, access.left_behind
    target = owned.read(session)
    told = {item.attempt.what for item in refused}
    regranted = {shown for objects in lost.grantors.values() for shown in objects}
    others, _lost = privileges.plan(source, target, names, left_behind, there_before, keep_own=False)
    found = [
        (item.what, f"the target has left it to {item.item.owner}")
        for item in ownership.plan(source, target, names, left_behind)
    ]
    found += [
        (grants.what(change), "the target has not done it as the source has")
        for grants in others
        for change in grants.changes
        if grants.item.shown not in regranted
    ]
    return [{"object": what, "reason": reason} for what, reason in found if what not in told]


def homeless(source: Holdings, names: RoleNames, left_behind: Collection[tuple[int, int]]) -> list[dict[str, str]]:
    """Return, for each owner for whom nobody stands, what goes to the connecting role instead. Pure."""
    if names.owner is not None:
        return []
    objects: dict[str, list[str]] = {}
    for item in source.objects.values():
        if (item.classid, item.oid) not in left_behind and not item.follows and names.of(item.owner) is None:
            if item.is_public and item.owner == source.owner_of_public:
                continue
            objects.setdefault(item.owner, []).append(item.shown)
    return [
        {
            "object": f"owner {owner}",
            "reason": f"no role of the target stands for it; {names.connected} owns {summary(shown)}",
        }
        for owner, shown in sorted(objects.items())
    ]


def _once(entries: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return list({(entry["object"], entry["reason"]): entry for entry in entries}.values())
