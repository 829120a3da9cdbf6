# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Privileges that were changed on what no migration makes: the database, schemas that were there before, and what
PostgreSQL itself or an extension has brought.

Only what the source has changed is repeated; everything else stays on the target as it is there. As in PostgreSQL's own
dumps, "changed" is the difference from what initdb or the extension's script has left (pg_init_privs), or from the
default of the source's version; information_schema is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from . import acl
from .acl import Change, Right, Usual
from .attempts import Attempt, Refused, carry_out
from .driver import Row, sql
from .owned import COLUMN
from .privileges import Lost, as_role, grant, is_contested, is_superuser, words
from .role_names import RoleNames
from .session import Session

# Schema public has a default of its own: everybody may use it and, before 15, create in it.
_OBJECTS = """
WITH object(classid, oid, number, kind, namespace, name, arguments, column_name, owner, acl, usual) AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
         c.relnamespace, c.relname, NULL::text, NULL::name, c.relowner, c.relacl,
         CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END
    FROM pg_catalog.pg_class AS c
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   UNION ALL
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, a.attnum, 'TABLE', c.relnamespace, c.relname, NULL, a.attname,
         c.relowner, a.attacl, 'c'
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT a.attisdropped
     AND (a.attacl IS NOT NULL
          OR EXISTS (SELECT 1 FROM pg_catalog.pg_init_privs AS i
                      WHERE i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND i.objoid = c.oid AND i.objsubid = a.attnum))
   UNION ALL
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 0, 'ROUTINE', p.pronamespace, p.proname,
         pg_catalog.oidvectortypes(p.proargtypes), NULL, p.proowner, p.proacl, 'f'
    FROM pg_catalog.pg_proc AS p
   UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, 0, 'TYPE', t.typnamespace, t.typname, NULL, NULL, t.typowner,
         t.typacl, 'T'
    FROM pg_catalog.pg_type AS t
   WHERE t.typacl IS NOT NULL
   UNION ALL
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 0, 'SCHEMA', NULL, n.nspname, NULL, NULL, n.nspowner,
         n.nspacl, 'n'
    FROM pg_catalog.pg_namespace AS n
   WHERE n.nspname NOT IN ('information_schema', 'seren_migrator')
   UNION ALL
  SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, l.oid, 0, 'LANGUAGE', NULL, l.lanname, NULL, NULL, l.lanowner,
         l.lanacl, 'l'
    FROM pg_catalog.pg_language AS l
   UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid, 0, 'FOREIGN DATA WRAPPER', NULL, w.fdwname,
         NULL, NULL, w.fdwowner, w.fdwacl, 'F'
    FROM pg_catalog.pg_foreign_data_wrapper AS w
   UNION ALL
  SELECT 'pg_catalog.pg_database'::pg_catalog.regclass, d.oid, 0, 'DATABASE', NULL, '', NULL, NULL, d.datdba, d.datacl, 'd'
    FROM pg_catalog.pg_database AS d
   WHERE d.datname = pg_catalog.current_database())
SELECT o.classid::oid::bigint AS classid, o.oid::bigint AS oid, o.kind, n.nspname AS schema, o.name, o.arguments,
       o.column_name AS column, o.usual, r.rolname AS owner, e.extname AS extension, o.acl::text[] AS acl,
       pg_catalog.pg_has_role(o.owner, 'USAGE') AS is_ours,
       (CASE WHEN o.usual = 'c' THEN coalesce(i.initprivs, '{}')
             WHEN o.kind = 'SCHEMA' AND o.name = 'public' THEN
               pg_catalog.acldefault('n', o.owner) || pg_catalog.makeaclitem(0, o.owner, 'USAGE', false)
               || CASE WHEN pg_catalog.current_setting('server_version_num')::int < 150000
                       THEN ARRAY[pg_catalog.makeaclitem(0, o.owner, 'CREATE', false)] ELSE '{}' END
             WHEN o.kind = 'DATABASE' OR (e.oid IS NULL AND o.kind = 'SCHEMA' AND o.name !~ '^pg_')
               THEN pg_catalog.acldefault(o.usual::"char", o.owner)
             ELSE coalesce(i.initprivs, pg_catalog.acldefault(o.usual::"char", o.owner)) END)::text[] AS initial,
       pg_catalog.acldefault(CASE o.usual WHEN 'c' THEN 'r' ELSE o.usual END::"char", o.owner)::text[] AS default
  FROM object AS o
  JOIN pg_catalog.pg_roles AS r ON r.oid = o.owner
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = o.namespace
  LEFT JOIN pg_catalog.pg_init_privs AS i ON i.classoid = o.classid AND i.objoid = o.oid AND i.objsubid = o.number
  LEFT JOIN pg_catalog.pg_depend AS d
    ON d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e' AND d.objsubid = 0
   AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
  LEFT JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
"""

_CHANGED = (
    _OBJECTS
    + """
 WHERE o.acl IS DISTINCT FROM i.initprivs
   AND (o.kind = 'DATABASE' OR (o.kind = 'SCHEMA' AND o.acl IS NOT NULL) OR e.oid IS NOT NULL
        OR n.nspname = 'pg_catalog'
        OR (o.kind IN ('LANGUAGE', 'FOREIGN DATA WRAPPER') AND o.oid < 16384))
 ORDER BY n.nspname, o.name, o.oid, o.number
"""
)

_THERE = (
    _OBJECTS
    + """
  JOIN unnest(%(kinds)s::text[], %(schemas)s::text[], %(names)s::text[], %(arguments)s::text[], %(columns)s::text[])
         AS w(kind, schema, name, arguments, column_name)
    ON w.kind = o.kind AND w.schema IS NOT DISTINCT FROM n.nspname::text AND w.name = o.name::text
   AND w.arguments IS NOT DISTINCT FROM o.arguments AND w.column_name IS NOT DISTINCT FROM o.column_name::text
"""
)

# What nobody may read by default, because of the passwords in it.
SECRET_CATALOGS = ("pg_authid", "pg_shadow", "pg_subscription", "pg_user_mapping")

_STILL_HERE = """
SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CONNECT')
       AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS still_here
"""


# Kind, schema, name, arguments and column.
Key = tuple[str, "str | None", str, "str | None", "str | None"]


@dataclass(frozen=True)
class Changed:
    """An object, or a column of one, with its privileges, and those that it had at first; both as aclitem[] in text."""

    classid: int
    oid: int
    kind: str
    schema: str | None
    name: str
    arguments: str | None
    column: str | None
    usual: str
    owner: str
    extension: str | None
    now: tuple[str, ...]
    initial: tuple[str, ...]
    is_ours: bool

    @property
    def key(self) -> Key:
        """What names the same object on the other side."""
        return self.kind, self.schema, self.name, self.arguments, self.column

    @property
    def shown(self) -> str:
        """The object for people."""
        qualified = self.name if self.schema is None else f"{self.schema}.{self.name}"
        arguments = "" if self.arguments is None else f"({self.arguments})"
        column = "" if self.column is None else f"column {self.column} of "
        return f"{column}{self.kind.lower()} {qualified}{arguments}".rstrip()

    @property
    def is_schema_of_users(self) -> bool:
        """True for schemas that neither PostgreSQL nor an extension has made."""
        return self.kind == "SCHEMA" and self.extension is None and not self.name.startswith("pg_")


@dataclass(frozen=True)
class Repeated:
    """An object of the target and what has to change there."""

    item: Changed
    changes: Sequence[Change]


def read(source: Session) -> list[Changed]:
    """Return what the source has changed, and all user schemas that have privileges.

    Not what the connected role was granted on catalogs that hold secrets: that was for the migration (the check
    ``source_passwords`` asks for it), and nobody shall read secrets on the target because of it.
    """
    connected = source.connection.info.user
    return [_without(_changed(row), connected) for row in source.rows(_CHANGED)]


def _without(item: Changed, connected: str) -> Changed:
    if item.schema != "pg_catalog" or item.name not in SECRET_CATALOGS or connected == item.owner:
        return item
    kept = tuple(each for each in item.now if all(right.grantee != connected for right in acl.parse([each])))
    return replace(item, now=kept)


def _changed(row: Row) -> Changed:
    values = {**row}
    own, usually = values.pop("acl"), values.pop("default")
    values["now"] = tuple(own if own is not None else () if row["column"] is not None else usually)
    values["initial"] = tuple(row["initial"])
    return Changed(**values)


def there(target: Session, items: Sequence[Changed]) -> dict[Key, Changed]:
    """Return the same objects as the target has them, by key."""
    return there_by_key(target, [item.key for item in items])


def there_by_key(target: Session, wanted: Sequence[Key]) -> dict[Key, Changed]:
    """Return the objects of these keys that the target has."""
    # A column without privileges is not in the list, but its table is.
    keys = list(dict.fromkeys(key for item in wanted for key in (item, (*item[:4], None))))
    words = ("kinds", "schemas", "names", "arguments", "columns")
    parameters = {word: [key[number] for key in keys] for number, word in enumerate(words)}
    return {item.key: item for item in map(_changed, target.rows(_THERE, parameters))} if keys else {}


def plan(
    source: Sequence[Changed],
    target: Mapping[Key, Changed],
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
    there_before: Collection[str],
    usuals: tuple[Mapping[str, Usual], Mapping[str, Usual]],
) -> tuple[list[Repeated], Lost, list[dict[str, str]]]:
    """Return what has to change on the target, what cannot, and what stays behind. Pure.

    ``there_before`` are the schemas that the restore did not make; ``usuals`` belong to the source and to the target.
    """
    found: list[Repeated] = []
    lost = Lost()
    left: list[dict[str, str]] = []
    for item in source:
        if (item.classid, item.oid) in left_behind or (item.is_schema_of_users and item.name not in there_before):
            continue
        twin = target.get(item.key) or target.get((*item.key[:4], None))
        here, over_there = (COLUMN if item.usual == "c" else usual[item.usual] for usual in usuals)
        owner = item.owner if twin is None else twin.owner
        now, losses = acl.carried(acl.parse(item.now), item.owner, owner, names, here, over_there)
        initial, _none = acl.carried(acl.parse(item.initial), item.owner, owner, names, here, over_there)
        lost.add(item.shown, losses)
        given = {_by(owner, r): g for r, g in now.items() if r not in initial or (g and not initial[r])}
        taken = [_by(owner, right) for right in initial if right not in now]
        if twin is None:
            if given or taken:
                left.append({"object": f"privileges on {item.shown}", "reason": "the target has no such object"})
            continue
        # A column that has no privileges on the target is found as its table.
        present = acl.parse(twin.now) if twin.column == item.column else {}
        changes = _changes(given, taken, {_by(owner, right): option for right, option in present.items()}, owner)
        if changes:
            found.append(Repeated(replace(twin, column=item.column), changes))
    return found, lost, left


def _by(owner: str, right: Right) -> Right:
    return Right(owner, right.grantee, right.letter)


def _changes(
    given: Mapping[Right, bool], taken: Sequence[Right], present: Mapping[Right, bool], owner: str
) -> list[Change]:
    revokes: dict[str, set[str]] = {}
    for right in taken:
        if right in present:
            revokes.setdefault(right.grantee, set()).add(right.letter)
    grants: dict[tuple[str, bool], set[str]] = {}
    for right, option in given.items():
        if right not in present or (option and not present[right]):
            grants.setdefault((right.grantee, option), set()).add(right.letter)
    return [
        *(Change(False, owner, grantee, tuple(sorted(letters)), False) for grantee, letters in sorted(revokes.items())),
        *(Change(True, owner, key[0], tuple(sorted(letters)), key[1]) for key, letters in sorted(grants.items())),
    ]


def statement(session: Session, item: Changed, change: Change) -> sql.Composed:
    """Return the GRANT or REVOKE."""
    names = [session.endpoint.dbname] if item.kind == "DATABASE" else [item.schema, item.name]
    reference: sql.Composable = sql.Identifier(*(name for name in names if name is not None))
    if item.arguments is not None:
        reference = sql.SQL("{}({})").format(reference, sql.SQL(item.arguments))
    return grant(change, words(change, item.column), sql.SQL("{} {}").format(sql.SQL(item.kind), reference))


def carry(session: Session, planned: Sequence[Repeated]) -> list[Refused]:
    """Carry the changes out; return what is refused. The caller has a transaction open.

    Whoever may not grant is answered with a warning at times, so that is not tried where we are not the owner. What would
    lock us out of the database is taken back.
    """
    ours = [item for item in planned if item.item.is_ours]
    refused = not_ours(session, planned)
    of_database = [item for item in ours if item.item.kind == "DATABASE"]
    refused += carry_out(session, attempts(session, [item for item in ours if item not in of_database]))
    of_its_own = attempts(session, of_database)
    if not of_its_own:
        return refused
    try:
        with session.transaction():
            not_taken = carry_out(session, of_its_own)
            if not session.value(_STILL_HERE):
                raise _LockedOut
    except _LockedOut:
        reason = "the role of the target's connection could not connect, or create schemas, any more"
        return refused + [Refused(attempt, reason, "") for attempt in of_its_own]
    return refused + not_taken


class _LockedOut(Exception):
    """The changes would have taken our own rights on the database."""


def not_ours(session: Session, planned: Sequence[Repeated]) -> list[Refused]:
    """Return the changes that are not tried, because only the owner may make them."""
    return [
        Refused(attempt, f"only its owner on the target, {item.item.owner}, may change them", "42501")
        for item in planned
        if not item.item.is_ours
        for attempt in attempts(session, [item])
    ]


def attempts(session: Session, planned: Sequence[Repeated]) -> list[Attempt]:
    """Return the statements that make the changes, as the owner where PostgreSQL could take another of our roles."""
    contested = [is_contested(item.item.owner, acl.parse(item.item.now), item.changes) for item in planned]
    if any(contested) and is_superuser(session):
        contested = [False for _item in planned]
    found = []
    for item, is_by_owner in zip(planned, contested, strict=True):
        for change in item.changes:
            text = statement(session, item.item, change)
            text = as_role(item.item.owner, text) if is_by_owner else text
            found.append(Attempt(f"privileges on {item.item.shown}", text))
    return found
