# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Reading a whole catalog as described objects: one round trip, whatever is in it, without superuser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...changed_privileges import SECRET_CATALOGS
from ...driver import Row
from ...session import Session
from . import (
    columns,
    constraints,
    firing,
    foreign,
    operators,
    privileges,
    relations,
    routines,
    spelling,
    text_search,
    types,
    wide,
)
from .described import OF_TARGET, UNKNOWN, Described, Key, Scope, as_text, quoted, secret_digest
from .query import NAMING, Query

# What an object may be a part of comes first.
QUERIES = (
    wide.DATABASE,
    wide.EXTENSIONS,
    wide.DEFAULT_PRIVILEGES,
    wide.CHANGED_PRIVILEGES,
    relations.SCHEMAS,
    types.TYPES,
    types.COLLATIONS,
    relations.RELATIONS,
    columns.COLUMNS,
    relations.SEQUENCES,
    constraints.CONSTRAINTS,
    constraints.INDEXES,
    constraints.STATISTICS,
    firing.TRIGGERS,
    firing.RULES,
    firing.POLICIES,
    firing.EVENT_TRIGGERS,
    routines.ROUTINES,
    routines.LANGUAGES,
    routines.CASTS,
    routines.TRANSFORMS,
    operators.OPERATORS,
    operators.OPERATOR_FAMILIES,
    operators.OPERATOR_CLASSES,
    operators.ACCESS_METHODS,
    operators.CONVERSIONS,
    text_search.CONFIGURATIONS,
    text_search.DICTIONARIES,
    text_search.PARSERS,
    text_search.TEMPLATES,
    foreign.WRAPPERS,
    foreign.SERVERS,
    foreign.USER_MAPPINGS,
)

# Columns that name objects in ways of their own, and are no attributes.
SPECIAL = NAMING | {
    "mapped",
    "is_shown",
    "creator",
    "in_schema",
    "on_kind",
    "initial",
    "owner",
    "roles",
    "database_settings",
}

# The letters of acldefault for what default privileges are on.
_LETTERS = {"tables": "r", "sequences": "s", "functions": "f", "types": "T", "schemas": "n", "large objects": "L"}


def read(session: Session, scope: Scope = Scope()) -> dict[Key, Described]:  # noqa: B008 # frozen
    """Return every object of the connected database by (kind, name), as the session's transaction sees it.

    Extensions' own objects, system objects, our schema, publications and subscriptions are not among them.
    """
    level = min(session.major, scope.level or session.major)
    answers = session.rows_of(
        privileges.DEFAULTS,
        wide.MEMBERS,
        wide.COMMENTS,
        wide.LABELS,
        wide.LARGE_OBJECTS.text,
        wide.LARGE_OBJECT_COMMENTS,
        *(query.for_major(session.major) for query in QUERIES),
        params={"schemas": None if scope.schemas is None else sorted(scope.schemas), "level": level},
    )
    defaults, members, comments, labels, large, large_comments, *described = answers
    reader = privileges.Reader(defaults, scope.names, level)
    # Until 15 everyone might create in public: who took that away has what is the default there since.
    reader_of_secrets = session.connection.info.user if scope.names is not None else None
    reading = _Reading(reader, scope, reader_of_secrets, is_public_older=session.major < 15 <= (scope.newest or 0))
    left_out = {(row["classid"], row["objid"]) for row in members} | set(scope.excluded)
    for query, rows in zip(QUERIES, described):  # noqa: B905 # strict= is for Python 3.10
        reading.add(query, rows, left_out)
    reading.say("comment", ((row["classid"], row["objid"], row["subid"], row["description"]) for row in comments))
    reading.say("security labels", ((row["classid"], row["objid"], row["subid"], row["labels"]) for row in labels))
    reading.add_large_objects(large, large_comments)
    return reading.found


class _Reading:
    """What has been read so far."""

    def __init__(
        self, reader: privileges.Reader, scope: Scope, reader_of_secrets: str | None, *, is_public_older: bool
    ) -> None:
        self.found: dict[Key, Described] = {}
        self._reader = reader
        self._connected = scope.connected
        self._reader_of_secrets = (
            reader_of_secrets  # the source's connected role: what it may read, init does not carry
        )
        self._strangers = scope.strangers
        self._own = scope.strangers | scope.reserved
        self._is_public_older = is_public_older
        self._at: dict[tuple[int, int, int], Key] = {}

    def add(self, query: Query, rows: Iterable[Row], left_out: set[tuple[int, int]]) -> None:
        """Add the objects of one answer."""
        for row in rows:
            if (row["classid"], row["objid"]) in left_out and row["kind"] != "changed privileges":
                continue
            item = self._described(query, row)
            if item is None or (item.part_of is not None and item.part_of not in self.found):
                continue  # a part of what is left out
            self.found[item.key] = item
            self._at[item.classid, item.objid, row.get("subid", 0)] = item.key

    def say(self, attribute: str, values: Iterable[tuple[int, int, int, Any]]) -> None:
        """Give an attribute to objects that are known by their OIDs."""
        for classid, objid, subid, value in values:
            key = self._at.get((classid, objid, subid))
            if key is not None:
                self.found[key].attributes[attribute] = as_text(value)  # type: ignore[index]

    def add_large_objects(self, groups: Sequence[Row], comments: Sequence[Row]) -> None:
        """Add all large objects as one."""
        if not groups:
            return
        held: dict[str, tuple[int, int]] = {}
        for row in groups:
            owner = self._reader.owner(row["owner"])
            words = f"{owner}; {self._reader.read(row['acl'], 'L', row['owner']).held}"
            count, members = held.get(words, (0, 0))
            held[words] = (count + row["count"], members + int(row["members"]))
        found = Described(
            "large objects",
            "of the database",
            2995,
            0,
            {
                "count": str(sum(count for count, _members in held.values())),
                "OIDs": str(sum(members for _count, members in held.values())),
                "owners and privileges": as_text(
                    [f"{words}: {count} ({members})" for words, (count, members) in sorted(held.items())]
                ),
                "comments": as_text(f"{comments[0]['count']} ({comments[0]['comments']})" if comments else None),
            },
        )
        self.found[found.key] = found

    def _described(self, query: Query, row: Row) -> Described | None:
        kind = row["kind"]
        attributes: dict[str, str | None] = {}
        for name, value in row.items():
            if value is None or name in SPECIAL:
                continue
            text = as_text(value)
            if text is None:
                continue
            if name in query.deparsed:
                text = spelling.expression(text)
            elif name in query.views:
                text = spelling.view(text)
            elif name == "arguments":
                text = spelling.arguments(text)
            attributes[name] = text
        notes: tuple[str, ...] = ()
        if row.get("owner") is not None:
            attributes["owner"] = self._reader.owner(row["owner"])
        if "roles" in row:
            roles, notes = self._roles(row["roles"])
            attributes["roles"] = roles
        if row.get("initial") is not None:
            attributes.update(self._changes(row))
        elif "acl" in row and (row["acl"] is not None or row.get("acl_for")):
            held = self._held(row)
            notes += held.notes
            if "creator" in row and self._says_nothing(row, held):
                return None
            attributes.update({n: v for n, v in (("privileges", held.held), ("grantors", held.grantors)) if v})
        if "option values" in row:
            attributes.update(_secret_options(row))
        attributes.update(_settings(row.get("database_settings") or ()))
        called = self._name(row)
        if called is None or (kind == "changed privileges" and not attributes):
            return None
        if row.get("creator") in self._strangers:
            return Described(OF_TARGET, f"default privileges {called}", row["classid"], row["objid"], {})
        return Described(kind, called, row["classid"], row["objid"], attributes, self._parent(row), notes)

    def _held(self, row: Row) -> privileges.Privileges:
        acl = row["acl"]
        if acl is not None and row["kind"] == "database":
            acl = self._of_migration(acl, row["owner"], "the database")
        return self._reader.read(acl, row.get("acl_for"), row.get("owner") or row.get("acl_owner"))

    def _says_nothing(self, row: Row, held: privileges.Privileges) -> bool:
        """True for default privileges of which nothing is left without the roles for which nobody stands.

        PostgreSQL keeps no entry that says what holds anyway.
        """
        if not held.notes:
            return False
        letter = None if row["in_schema"] else _LETTERS[row["on_kind"]]
        return held.held == self._reader.read([] if letter is None else None, letter, row["acl_owner"]).held

    def _is_ours(self, role: str | None) -> bool:
        return self._connected is not None and role is not None and self._reader.role(role) == self._connected

    def _name(self, row: Row) -> str | None:
        if row.get("label"):
            return str(spelling.expression(row["label"]))
        if "mapped" in row:
            role = "PUBLIC" if row["mapped"] is None else self._reader.role(row["mapped"])
            return None if role is None else f"for {role} on server {quoted(row['path'])}"
        if "creator" in row:
            creator = self._reader.role(row["creator"])
            place = f" in schema {quoted([row['in_schema']])}" if row["in_schema"] else ""
            return None if creator is None else f"for role {creator}{place} on {row['on_kind']}"
        name = quoted(row["path"]) + spelling.unquoted(row.get("suffix") or "")
        return f"{name} on {quoted(row['parent'])}" if row.get("is_named_on_parent") else name

    def _parent(self, row: Row) -> Key | None:
        if not row.get("parent"):
            return None
        parent = quoted(row["parent"])
        if row.get("parent_constraint"):
            return ("constraint", f"{quoted([row['parent_constraint']])} on {parent}")
        return (row["parent_kind"], parent)

    def _roles(self, roles: Sequence[str | None]) -> tuple[str, tuple[str, ...]]:
        """Return whom a policy is for, sorted, and which of its roles nobody stands for."""
        named = [role for role in roles if role is not None]
        here = [self._reader.role(role) for role in named]
        notes = tuple(
            f"the role {role}, for which nobody stands on the target"
            for role in named
            if self._reader.role(role) is None
        )
        words = sorted(role for role in here if role is not None)
        return as_text(words if len(named) == len(roles) else ["PUBLIC"]) or "[]", notes

    def _changes(self, row: Row) -> dict[str, str | None]:
        """Return what was granted and revoked since an object was made by PostgreSQL or by an extension."""
        now, then = ({(item[0], item[1], item[2]) for item in row[name] or ()} for name in ("acl", "initial"))
        if row["kind"] == "schema" and self._is_public_older:
            now, then = (entries - {(None, "CREATE", False)} for entries in (now, then))
        owner = row["acl_owner"]
        found: dict[str, str | None] = {}
        what = row.get("label") or f"{row['kind']} {quoted(row['path'])}"
        for word, entries in (("granted", now - then), ("revoked", then - now)):
            acl = [(*entry, owner) for entry in entries if entry[0] != owner and not self._is_ours(entry[0])]
            if word == "granted":
                if self._reader_of_secrets is not None and what.rpartition(" ")[2] in SECRET_CATALOGS:
                    acl = [entry for entry in acl if entry[0] != self._reader_of_secrets]
                acl = self._of_migration(acl, owner, what)
            if acl:
                found[word] = self._reader.read(acl, None, owner).held
        return found

    def _of_migration(self, acl: Iterable[Sequence[Any]], owner: str, what: str) -> list[tuple[Any, ...]]:
        """Return the entries for roles that a migration answers for; those of the target's own roles are told apart."""
        found: list[tuple[Any, ...]] = []
        for entry in acl:
            grantee, privilege, is_grantable, _grantor = entry
            role = None if grantee is None or grantee == owner else self._reader.role(grantee)
            if role in self._own:
                told = f"{privilege}{'*' if is_grantable else ''} on {what} for {role}"
                self.found[OF_TARGET, told] = Described(OF_TARGET, told, 0, 0, {})
            elif grantee == owner or not self._is_ours(grantee):
                found.append(tuple(entry))
        return found


def _settings(settings: Iterable[str]) -> dict[str, str]:
    """Return the settings of a database by attribute. Applications keep secrets in settings of their own."""
    pairs = ((name, value) for name, _equals, value in (setting.partition("=") for setting in settings))
    return {f"setting {name}": f"not shown ({secret_digest(value)})" if "." in name else value for name, value in pairs}


def _secret_options(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the names of options, and what tells their values apart without telling them."""
    if not row.get("is_shown", True):
        return {"options": UNKNOWN, "option values": UNKNOWN}
    options = row["option values"] or []
    return {
        "options": as_text(sorted(option.split("=", 1)[0] for option in options)),
        "option values": secret_digest("\0".join(options)) if options else None,
    }
