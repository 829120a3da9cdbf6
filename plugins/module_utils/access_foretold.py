# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init would do about owners and privileges, for check mode: what stays behind, and what it changes of the target's own.

What would be granted on objects that init makes is as on the source, and not told one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from . import (
    changed_privileges,
    default_privileges,
    owned,
    ownership,
    policies,
    privileges,
    stronger_owners,
    user_mappings,
)
from .access import homeless
from .acl import Usual
from .owned import Holdings
from .privileges import Lost
from .role_names import RoleNames
from .session import Session


def foretell(
    source: Session,
    target: Session,
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
    made: Collection[int],
    mapping_policy: str,
    *,
    is_there: bool,
) -> tuple[list[str], list[dict[str, str]]]:
    """Return the statements on what the target had before, and what stays behind.

    ``made`` are OIDs of schemas that an earlier run has made; where the target's database is not there yet, ``is_there``
    is false and ``target`` any other database of the server.
    """
    ours = owned.read(source)
    there = owned.read(target) if is_there else Holdings({}, owned.usual(target), ours.owner_of_public)
    _changes, lost = privileges.plan(ours, _imagined(ours, there, names), names, left_behind, (), keep_own=False)
    mappings = user_mappings.plan(user_mappings.read(source, left_behind), names, mapping_policy)
    left = [
        *homeless(ours, names, left_behind),
        *stronger_owners.left(stronger_owners.find(source, target, ours, names, left_behind)),
        *policies.left(policies.read(source, left_behind), names),
        *mappings.left,
    ]
    of_schemas = [
        target.text(ownership.change_owner(handover))
        for handover in ownership.plan(ours, there, names, left_behind)
        if handover.item.kind == "SCHEMA" and handover.item.oid not in made
    ]
    statements: list[str] = []
    if is_there:
        before = frozenset(
            item.name for item in there.objects.values() if item.kind == "SCHEMA" and item.oid not in made
        )
        statements, of_changed = _of_changed(
            source, target, names, left_behind, before, lost, (ours.usual, there.usual)
        )
        left += of_changed
    planned, not_carried, of_defaults = default_privileges.plan(
        default_privileges.read(source),
        default_privileges.read(target) if is_there else [],
        names,
        left_behind,
        ours.usual,
        there.usual,
    )
    lost.merge(not_carried)
    statements += [
        target.text(default_privileges.statement(item, change)) for item in planned for change in item.changes
    ]
    return of_schemas + statements, [*left, *lost.entries(target.major), *of_defaults]


def _imagined(ours: Holdings, there: Holdings, names: RoleNames) -> Holdings:
    """Return the source's objects as the restore would leave them on the target, given to their owners."""
    objects = {
        key: replace(item, owner=names.owner_of(item.owner), acl=None, columns={}) for key, item in ours.objects.items()
    }
    return replace(there, objects=objects)


def _of_changed(
    source: Session,
    target: Session,
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
    before: Collection[str],
    lost: Lost,
    usuals: tuple[Mapping[str, Usual], Mapping[str, Usual]],
) -> tuple[list[str], list[dict[str, str]]]:
    changed = changed_privileges.read(source)
    present = changed_privileges.there(target, changed)
    # Extensions are still to be made.
    known = [
        item for item in changed if item.extension is None or item.key in present or (*item.key[:4], None) in present
    ]
    repeated, not_repeated, left = changed_privileges.plan(known, present, names, left_behind, before, usuals)
    lost.merge(not_repeated)
    left += [item.as_left for item in changed_privileges.not_ours(target, repeated)]
    mine = [item for item in repeated if item.item.is_ours]
    return [target.text(attempt.statement) for attempt in changed_privileges.attempts(target, mine)], left
