# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which objects of both sides a migration is answerable for, and what the roles of the source are called on the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import left_behind, role_policy, roles
from ...catalog import Catalog
from ...ledger import Record
from ...migration import Selection
from ...role_names import RoleNames
from ...selection import Selected
from ...session import Session
from .described import Scope


@dataclass(frozen=True)
class _Recorded:
    """The options about roles that a migration was started with."""

    roles: Any
    reserved_roles: Sequence[str] | None


def scopes(
    source: Session, target: Session, selection: Selection, whole: Catalog, selected: Selected, record: Record | None
) -> tuple[Scope, Scope]:
    """Return the scopes of the source and of the target.

    ``whole`` is the source's catalog, ``selected`` what takes part of it. Where schemas were chosen, others are nobody's
    business here, also on the target.
    """
    schemas = None
    if selection.schemas or selection.exclude_schemas:
        schemas = frozenset(item.name for item in selected.catalog.schemas)
    excluded = frozenset((item.classid, item.objid) for item in left_behind.read(source, whole, selected))
    level, newest = sorted((source.major, target.major))
    names = names_of(source, target, record.options if record else {})
    return (
        Scope(schemas, excluded, names, level, newest, names.connected, reserved=names.reserved),
        Scope(
            schemas,
            level=level,
            newest=newest,
            connected=names.connected,
            strangers=names.strangers,
            reserved=names.reserved,
        ),
    )


def names_of(source: Session, target: Session, options: Mapping[str, Any]) -> RoleNames:
    """Return what the roles of the source are called on the target, for a migration with these options."""
    policy = role_policy.policy(_Recorded(options.get("roles", "referenced"), options.get("reserved_roles")))
    owner = options.get("owner")
    return roles.names(policy, source, target, owner=None if owner in (None, "", "keep") else owner)
