# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Default privileges: what ALTER DEFAULT PRIVILEGES on the source gives to objects that a role will make.

They come last, so that they give nothing to what the restore makes. What the target had before it keeps: where it has an
entry for the same role, schema and kind, that is only added to, and what it gives beyond the source's is named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from . import acl
from .acl import Acl, Change, Right, Usual
from .attempts import Attempt, Refused, carry_out
from .driver import sql
from .privileges import Lost, grant
from .role_names import RoleNames
from .session import Session

PG_DEFAULT_ACL = 826

# Those for one schema only add to those for all of them.
_DEFAULTS = """
SELECT d.oid::bigint AS oid, r.rolname AS role, n.nspname AS schema, d.defaclobjtype AS kind, d.defaclacl::text[] AS acl
  FROM pg_catalog.pg_default_acl AS d
  JOIN pg_catalog.pg_roles AS r ON r.oid = d.defaclrole
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
 ORDER BY r.rolname, n.nspname, d.defaclobjtype
"""
_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
# What acldefault calls them.
_USUAL = {"S": "s"}


@dataclass(frozen=True)
class Default:
    """Default privileges of a role on a kind of object (a letter), in one schema or (None) everywhere."""

    oid: int
    role: str
    schema: str | None
    kind: str
    acl: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str | None, str]:
        """What they are about."""
        return self.role, self.schema, self.kind


def read(session: Session) -> list[Default]:
    """Return the default privileges of one side."""
    return [Default(**{**row, "acl": tuple(row["acl"])}) for row in session.rows(_DEFAULTS)]


@dataclass(frozen=True)
class Defaults:
    """The changes of one role's default privileges on a kind of object."""

    role: str
    schema: str | None
    kind: str
    changes: Sequence[Change]

    @property
    def shown(self) -> str:
        """What it is about, for people."""
        where = f" in schema {self.schema}" if self.schema is not None else ""
        return f"default privileges of {self.role} on {_KINDS[self.kind].lower()}{where}"


def plan(
    source: Sequence[Default],
    target: Sequence[Default],
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
    here: Mapping[str, Usual],
    there: Mapping[str, Usual],
) -> tuple[list[Defaults], Lost, list[dict[str, str]]]:
    """Return what has to change on the target, and what cannot. Pure."""
    present = {item.key: acl.parse(item.acl) for item in target}
    lost = Lost()
    left: list[dict[str, str]] = []
    wanted: dict[tuple[str, str | None, str], dict[Right, bool]] = {}
    for item in source:
        if (PG_DEFAULT_ACL, item.oid) in left_behind:
            continue
        shown = Defaults(item.role, item.schema, item.kind, ()).shown
        role = names.of(item.role)
        usual = _USUAL.get(item.kind, item.kind)
        if role is None:
            left.append({"object": shown, "reason": f"no role of the target stands for {item.role}"})
            continue
        rights, losses = acl.carried(acl.parse(item.acl), item.role, role, names, here[usual], there[usual])
        lost.add(shown, losses)
        merged = wanted.setdefault((role, item.schema, item.kind), {})
        for right, grantable in rights.items():
            merged[right] = merged.get(right, False) or grantable
    found = []
    for (role, schema, kind), rights in wanted.items():
        usually: Acl = {} if schema is not None else there[_USUAL.get(kind, kind)].of(role)
        before = present.get((role, schema, kind))
        changes = acl.changes(usually if before is None else before, rights, role)
        if before is not None:
            shown = Defaults(role, schema, kind, ()).shown
            left += [_kept(shown, change) for change in changes if not change.gives]
            changes = [change for change in changes if change.gives]
        if changes:
            found.append(Defaults(role, schema, kind, changes))
    return found, lost, left


def _kept(shown: str, change: Change) -> dict[str, str]:
    whose = "PUBLIC" if change.grantee == acl.PUBLIC else change.grantee
    what = f"{', '.join(acl.words(change.letters))}{' WITH GRANT OPTION' if change.grantable else ''}"
    return {
        "object": shown,
        "reason": f"the target's own give {what} to {whose}, which the source's do not; not changed",
    }


def statement(defaults: Defaults, change: Change) -> sql.Composed:
    """Return ALTER DEFAULT PRIVILEGES."""
    where = (
        sql.SQL(" IN SCHEMA {}").format(sql.Identifier(defaults.schema)) if defaults.schema is not None else sql.SQL("")
    )
    words = [sql.SQL(word) for word in acl.words(change.letters)]
    return sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} {}").format(
        sql.Identifier(defaults.role), where, grant(change, words, sql.SQL(_KINDS[defaults.kind]))
    )


def carry(session: Session, planned: Sequence[Defaults]) -> list[Refused]:
    """Carry the changes out; return what the server refused. The caller has a transaction open."""
    return carry_out(
        session,
        [Attempt(defaults.shown, statement(defaults, change)) for defaults in planned for change in defaults.changes],
    )
