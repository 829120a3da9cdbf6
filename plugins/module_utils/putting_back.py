# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init changes of what the target had before: owners of schemas, and privileges on what no migration makes.

It is remembered by the ledger in the transaction that changes it, and put back when the copy starts over. Put back is only
what init has changed: what somebody has granted or taken there besides, before or since, stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import acl, changed_privileges
from .acl import Right
from .attempts import Attempt, Refused, carry_out
from .changed_privileges import Key, Repeated
from .driver import sql
from .ledger import Record
from .owned import Holdings
from .ownership import Handover
from .session import Session

# What a step of the ledger calls it.
DETAIL = "there_before"


def remembered(
    before: Holdings, handovers: Sequence[Handover], repeated: Sequence[Repeated], there_before: Collection[str]
) -> list[dict[str, Any]]:
    """Return, for the ledger, how it was there before it is changed. Pure.

    ``before`` is the target then. ``touched`` are the privileges that are given or taken, each as grantee and letter.
    """
    given = {
        item.item.name: item.owner
        for item in handovers
        if item.item.kind == "SCHEMA" and item.item.name in there_before
    }
    schemas = {item.name: item for item in before.objects.values() if item.kind == "SCHEMA"}
    touched: dict[Key, set[tuple[str, str]]] = {}
    found: dict[Key, tuple[str, tuple[str, ...]]] = {}
    for item in repeated:
        key = item.item.key
        touched[key] = {(change.grantee, letter) for change in item.changes for letter in change.letters}
        found[key] = (item.item.owner, item.item.now)
    for name, owner in given.items():
        # The new owner's own privileges and those that he had before become one.
        key = ("SCHEMA", None, name, None, None)
        touched.setdefault(key, set()).update((owner, letter) for letter in before.usual["n"].all)
    for key in touched:
        if key[0] == "SCHEMA" and (schema := schemas.get(key[2])) is not None:
            usual = before.usual["n"].of(schema.owner)
            found[key] = (schema.owner, schema.acl if schema.acl is not None else _items(usual))
    return [
        {
            "key": list(key),
            "owner": found[key][0],
            "acl": list(found[key][1]),
            "touched": sorted(map(list, touched[key])),
            "is_given": key[0] == "SCHEMA" and key[2] in given,
        }
        for key in touched
    ]


def _items(rights: Iterable[Right]) -> tuple[str, ...]:
    """Return privileges as aclitem[] in text."""

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"' if name else ""

    return tuple(f"{quoted(right.grantee)}={right.letter}/{quoted(right.grantor)}" for right in rights)


def of(record: Record) -> list[dict[str, Any]]:
    """Return what the ledger remembers: how it was at first, and everything that was changed since."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for step in ("pre_data", "post_data"):
        if step not in record.steps:
            continue
        for item in record.steps[step].detail.get(DETAIL, []):
            first = found.setdefault(tuple(item["key"]), {**item, "touched": [], "is_given": False})
            first["touched"] = [*first["touched"], *item["touched"]]
            first["is_given"] = first["is_given"] or item["is_given"]
    return list(found.values())


def plan(target: Session, items: Sequence[Mapping[str, Any]]) -> tuple[list[Attempt], list[Repeated]]:
    """Return what gives schemas back, and the privileges that are to be changed then. Changes nothing."""
    keys: list[Key] = [(*item["key"],) for item in items]
    present = changed_privileges.there_by_key(target, keys)
    back: list[Attempt] = []
    found: list[Repeated] = []
    for key, item in zip(keys, items, strict=True):
        twin = present.get(key) or present.get((*key[:4], None))
        if twin is None:  # it was dropped since
            continue
        owner = twin.owner
        if item["is_given"] and owner != item["owner"]:
            owner = item["owner"]
            statement = sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(sql.Identifier(twin.name), sql.Identifier(owner))
            back.append(Attempt(f"owner {owner} of {twin.shown}", statement))
        # A column without privileges is found as its table.
        held = acl.parse(twin.now) if twin.column == key[4] else {}
        now = {_owned_by(right, twin.owner, owner): option for right, option in held.items()}
        before = {_owned_by(right, item["owner"], owner): option for right, option in acl.parse(item["acl"]).items()}
        wanted = dict(now)
        for grantee, letter in item["touched"]:
            right = Right(owner, grantee, letter)
            wanted.pop(right, None)
            if right in before:
                wanted[right] = before[right]
        changes = acl.changes(now, wanted, owner)
        if changes:
            found.append(Repeated(replace(twin, owner=owner, column=key[4]), changes))
    return back, found


def _owned_by(right: Right, owner: str, other: str) -> Right:
    """Return the right as it is when ``other`` owns the object instead of ``owner``."""
    grantor = other if right.grantor == owner else right.grantor
    return Right(grantor, other if right.grantee == owner else right.grantee, right.letter)


def put_back(target: Session, items: Sequence[Mapping[str, Any]]) -> list[Refused]:
    """Put it back; return what the server refused. The caller has a transaction open."""
    if not items:
        return []
    back, _changes = plan(target, items)
    refused = carry_out(target, back)
    _back, changes = plan(target, items)
    return refused + changed_privileges.carry(target, changes)


def statements(target: Session, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the same as statements for people. Changes nothing."""
    if not items:
        return []
    back, changes = plan(target, items)
    return [target.text(attempt.statement) for attempt in (*back, *changed_privileges.attempts(target, changes))]
