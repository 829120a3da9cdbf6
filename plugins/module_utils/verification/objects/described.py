# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""An object of a database as plain words: its kind, its name for people, and each of its attributes as text. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ...role_names import RoleNames

Key = tuple[str, str]

# What roles that only the target has, or its provider's own ones, may do there with what no migration makes.
OF_TARGET = "privilege of the target's own roles"

# The value of an attribute that the server does not show to our role.
UNKNOWN = "unknown: not readable for our role"

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_RUN = secrets.token_bytes(32)


@dataclass(frozen=True)
class Scope:
    """What of a database is described.

    ``schemas`` are names, None for every user schema; ``excluded`` are objects that do not take part, as
    (classid, objid); ``names`` are the target's names for the roles of this (the source's) database, None where roles
    are called what they are called here; ``level`` is the older major of two that are compared: what PostgreSQL made
    of the same statements only later is left out. ``connected`` is the role of the target's connection: what the
    target's administrator had to grant it there on PostgreSQL's and extensions' objects is not compared. ``strangers``
    and ``reserved`` are as in ``RoleNames``: what these are granted on such objects is told apart.
    """

    schemas: frozenset[str] | None = None
    excluded: frozenset[tuple[int, int]] = frozenset()
    names: RoleNames | None = None
    level: int | None = None
    newest: int | None = None
    connected: str | None = None
    strangers: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Described:
    """One object, or a part of one (a column, a constraint, ...).

    ``kind`` is PostgreSQL's word; ``name`` is unambiguous and as pg_identify_object spells it; ``attributes`` has what
    differs from PostgreSQL's default only: a missing one is None. ``part_of`` is the (kind, name) of the object without
    which this one cannot be. ``notes`` tell which privileges are left out because nobody stands for a role.
    """

    kind: str
    name: str
    classid: int
    objid: int
    attributes: Mapping[str, str | None]
    part_of: Key | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def key(self) -> Key:
        """What finds its counterpart."""
        return (self.kind, self.name)


def quoted(path: Iterable[str]) -> str:
    """Return a qualified name; quoted only where its letters need it, as keywords differ between majors."""
    return ".".join(map(_quoted, path))


@lru_cache(maxsize=4096)
def _quoted(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"'


def as_text(value: Any) -> str | None:
    """Return the value of an attribute: yes or nothing for a truth, JSON for a list, None for nothing."""
    if value is None or value is False or value == "" or value == []:
        return None
    if value is True:
        return "yes"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def secret_digest(value: str) -> str:
    """Return what tells two secrets apart within this process, and tells nobody anything afterwards."""
    return hashlib.blake2b(value.encode(), key=_RUN, digest_size=8).hexdigest()


class _OfThisRun:
    """The names of attributes whose values are digests of this process."""

    def __contains__(self, attribute: object) -> bool:
        name = str(attribute)
        return name == "option values" or (name.startswith("setting ") and "." in name)


OF_THIS_RUN = _OfThisRun()


def fingerprint(*described: Described) -> str:
    """Return a short hash of an object, or of an object with its parts, that stays the same as long as they do."""
    content = [
        (
            item.kind,
            item.name,
            sorted((name, value) for name, value in item.attributes.items() if name not in OF_THIS_RUN),
        )
        for item in sorted(described, key=lambda item: item.key)
    ]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


def whole(described: Mapping[Key, Described]) -> dict[Key, list[Described]]:
    """Return every object that is no part of another one with all of its parts, itself first."""
    found: dict[Key, list[Described]] = {key: [item] for key, item in described.items() if item.part_of is None}
    for item in described.values():
        if item.part_of is not None:
            found.setdefault(top(described, item), []).append(item)
    return found


def top(described: Mapping[Key, Described], item: Described) -> Key:
    """Return what an object is, in the end, a part of, or itself."""
    key = item.key
    while item.part_of is not None:
        key = item.part_of
        if key not in described:
            break
        item = described[key]
    return key


def names_of(items: Sequence[Described]) -> list[str]:
    """Return objects in words, for people."""
    return [f"{item.kind} {item.name}" for item in items]
