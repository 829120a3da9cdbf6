# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Roles that the migrated objects refer to, read from the catalogs of the source and made on the target where absent.

Only attributes that differ from the default are written, so that a role without superuser can write them. A role that
exists on the target is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import provider
from .driver import psycopg, sql
from .provider import is_own_role
from .role_names import RoleNames
from .role_policy import RolePolicy, is_predefined
from .session import Session

# Objects may belong to such a role or be granted to it, so it has to be there; it brings nothing else along.
PROVIDERS_OWN = "a role of the source's provider: it arrives without login, attributes, settings and memberships"

# Owners, grantees and policy roles of this database. pg_shdepend leaves out the bootstrap superuser (OID 10), so
# owners are read as well.
_REFERENCED = """
WITH RECURSIVE used(oid) AS (
  SELECT d.refobjid
    FROM pg_catalog.pg_shdepend AS d
    JOIN pg_catalog.pg_database AS b ON b.datname = pg_catalog.current_database()
   WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
     AND (d.dbid = b.oid OR (d.dbid = 0 AND d.objid = b.oid
          AND d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass))
     AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = ANY (%(left_out)s::oid[]))
   UNION
  SELECT c.relowner
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT c.oid = ANY (%(left_out)s::oid[])
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                      WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND e.objid = c.oid AND e.deptype = 'e')
   UNION
  SELECT p.proowner
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
   WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS e
                      WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                        AND e.objid = p.oid AND e.deptype = 'e')
   UNION
  SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'public'),
named(oid) AS (
  SELECT u.oid FROM used AS u
   UNION
  SELECT b.datdba FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database()
   UNION
  SELECT m.roleid FROM pg_catalog.pg_auth_members AS m JOIN named AS k ON k.oid = m.member)
SELECT r.oid IN (SELECT u.oid FROM used AS u) AS is_used,
       r.rolname AS name, r.rolsuper AS superuser, r.rolinherit AS inherit,
       r.rolcreaterole AS createrole, r.rolcreatedb AS createdb, r.rolcanlogin AS login,
       r.rolreplication AS replication, r.rolbypassrls AS bypassrls, r.rolconnlimit AS connection_limit,
       r.rolvaliduntil::text AS valid_until, pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment
  FROM pg_catalog.pg_roles AS r
 WHERE r.oid IN (SELECT k.oid FROM named AS k)
 ORDER BY r.rolname
"""

_MEMBERSHIPS = """
SELECT g.rolname AS granted, u.rolname AS member, pg_catalog.to_jsonb(m) AS options
  FROM pg_catalog.pg_auth_members AS m
  JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
  JOIN pg_catalog.pg_roles AS u ON u.oid = m.member
 WHERE u.rolname = ANY (%(names)s)
 ORDER BY g.rolname, u.rolname
"""

# Settings of a role everywhere (database 0) or in this database.
_SETTINGS = """
SELECT r.rolname AS name, s.setdatabase <> 0 AS in_database, e.entry AS entry
  FROM pg_catalog.pg_db_role_setting AS s
  JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
 CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS e(entry, number)
 WHERE r.rolname = ANY (%(names)s)
   AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d
                              WHERE d.datname = pg_catalog.current_database()))
 ORDER BY r.rolname, s.setdatabase, e.number
"""

# Settings whose stored value is a list of quoted names, each of which has to be given on its own (GUC_LIST_QUOTE).
_LISTS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)
_LIST_ELEMENT = re.compile(r'"((?:[^"]|"")*)"|([^,\s"]+)')

_VERIFIERS = """
SELECT a.rolname AS name, a.rolpassword AS verifier
  FROM pg_catalog.pg_authid AS a
 WHERE a.rolname = ANY (%(names)s) AND a.rolpassword IS NOT NULL
"""


# Policies that name one of these roles; NULL is a policy for everyone.
_POLICIES = """
SELECT p.oid::bigint AS oid, pg_catalog.pg_describe_object('pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, 0) AS shown
  FROM pg_catalog.pg_policy AS p
 WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS r WHERE r.oid = ANY (p.polroles) AND r.rolname = ANY (%(names)s))
   AND NOT p.polrelid = ANY (%(left_out)s::oid[])
 ORDER BY 2
"""


_MAY_USE_OWN_ROLES = """
SELECT pg_catalog.set_config(s.name, 'set, inherit', false)
  FROM pg_catalog.pg_settings AS s WHERE s.name = 'createrole_self_grant'
"""


@dataclass(frozen=True)
class Role:
    """A role with its attributes. ``verifier`` is the stored password hash, or None where it cannot be read."""

    name: str
    superuser: bool
    inherit: bool
    createrole: bool
    createdb: bool
    login: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    valid_until: str | None
    comment: str | None
    verifier: str | None = None


@dataclass(frozen=True)
class Membership:
    """``member`` belongs to ``granted``; inherit and set options exist from 16 on and are None before."""

    granted: str
    member: str
    admin: bool
    inherit: bool | None
    set: bool | None


@dataclass(frozen=True)
class RoleSetting:
    """``ALTER ROLE ... SET name``, everywhere or only in the migrated database; ``value`` as pg_db_role_setting has it."""

    role: str
    in_database: bool
    name: str
    value: str


@dataclass(frozen=True)
class RolePlan:
    """What to make on the target, and what stays behind with its reason."""

    create: tuple[Role, ...]
    grant: tuple[Membership, ...]
    settings: tuple[RoleSetting, ...]
    left: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Unusable:
    """Roles that objects refer to and that are not on the target, or that we may not give objects to.

    ``policies`` maps the OIDs of the policies that name one of them to their description.
    """

    roles: tuple[str, ...] = ()
    policies: Mapping[int, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[dict[str, str]]:
        """What stays behind because of them, and why."""
        if not self.roles:
            return []
        reason = f"roles: none, and these roles cannot be used on the target: {', '.join(self.roles)}"
        objects = ["owners and privileges", *self.policies.values()]
        return [{"object": item, "reason": reason} for item in objects]


def is_reserved(name: str) -> bool:
    """True for roles that PostgreSQL itself predefines."""
    return name.startswith("pg_")


_NAMES = "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r"

# SET is what ALTER ... OWNER TO needs from 16 on, membership before.
_USABLE = """
SELECT r.rolname AS name, r.rolname = current_user AS is_connected,
       pg_catalog.pg_has_role(r.oid, %(privilege)s) AS can_be_set
  FROM pg_catalog.pg_roles AS r
"""


def names(
    policy: RolePolicy, source: Session, target: Session, *, owner: str | None = None, coming: Collection[str] = ()
) -> RoleNames:
    """Return what each role of the source is called on the target, as the target is now.

    A role that is not there stands for nobody, so init asks once it has made the roles; ``coming`` are names on the target
    that count as if they were there (for a plan). ``owner`` is the role that shall own everything, None to keep owners.
    """
    privilege = "SET" if target.major >= 16 else "MEMBER"
    rows = target.rows(_USABLE, {"privilege": privilege})
    there = {row["name"]: row["can_be_set"] for row in rows}
    connected = next(row["name"] for row in rows if row["is_connected"])
    usable = {name for name, can_be_set in there.items() if can_be_set or policy.kind != "none"} | {*coming}
    privileged: str | None = None
    renamed: dict[str, str | None] = {}
    for row in source.rows(_NAMES):
        role: str = row["name"]
        called = policy.renamed.get(role, role)
        if policy.is_reserved(role) and role not in there:
            if privileged is None:
                privileged = _privileged_role(target)
            called = privileged if provider.is_privileged_role(role) else None
        if called is not None and called not in (there if is_predefined(called) else usable):
            called = None
        if called != role:
            renamed[role] = called
    return RoleNames(connected, renamed, owner)


def _privileged_role(target: Session) -> str:
    """Return what the target's provider gives to administrators instead of superuser, '' where it has no such role."""
    row = target.row(provider.QUERY, provider.parameters())
    if row is None:
        return ""
    return provider.recognise(provider.Evidence.of(row, target.endpoint.params.get("host", ""))).privileged_role


def plan_by_policy(policy: str, source: Session, target: Session, left_out: frozenset[int]) -> RolePlan:
    """Return what to do about roles: nothing where ``policy`` is none, else see :func:`plan`."""
    return RolePlan((), (), (), ()) if policy == "none" else plan(source, target, left_out)


def plan(source: Session, target: Session, left_out: frozenset[int]) -> RolePlan:
    """Compare the roles that the selection refers to with those of the target.

    ``left_out`` are OIDs of source relations that do not take part. Needs no superuser; without the right to read
    pg_authid roles arrive without a password, and ``left`` names them.
    """
    wanted = {row["name"]: row for row in source.rows(_REFERENCED, {"left_out": sorted(left_out)})}
    names = [name for name in wanted if not is_reserved(name)]
    present = {
        row["rolname"]
        for row in target.rows("SELECT r.rolname FROM pg_catalog.pg_roles AS r WHERE r.rolname = ANY (%s)", (names,))
    }
    missing = [name for name in names if name not in present]
    if not missing:
        return RolePlan((), (), (), ())
    verifiers = _verifiers(source, missing)
    create: list[Role] = []
    left: list[dict[str, str]] = []
    for name in missing:
        row = {key: value for key, value in wanted[name].items() if key != "is_used"}
        role = Role(**row, verifier=(verifiers or {}).get(name))
        if is_own_role(name):
            left.append({"object": f"role {name}", "reason": PROVIDERS_OWN})
            create.append(_empty(role))
            continue
        create.append(role)
        if role.superuser:
            left.append({"object": f"role {name}", "reason": "SUPERUSER is never given to a new role"})
        if role.login and verifiers is None:
            left.append(
                {"object": f"role {name}", "reason": "created without a password: the source's is not readable"}
            )
    grants = []
    travelling = [name for name in missing if not is_own_role(name)]
    for row in source.rows(_MEMBERSHIPS, {"names": travelling}):
        if is_own_role(row["granted"]) and row["granted"] not in missing:
            # What it may do there is that server's own affair.
            what = f"membership of {row['member']} in {row['granted']}"
            left.append({"object": what, "reason": "the target's provider has a role of that name"})
            continue
        options: Mapping[str, Any] = row["options"]
        grants.append(
            Membership(
                row["granted"],
                row["member"],
                bool(options["admin_option"]),
                options.get("inherit_option"),
                options.get("set_option"),
            )
        )
    settings = [
        RoleSetting(row["name"], row["in_database"], *row["entry"].split("=", 1))
        for row in source.rows(_SETTINGS, {"names": travelling})
    ]
    return RolePlan(tuple(create), tuple(grants), tuple(settings), tuple(left))


def unusable(policy: str, source: Session, target: Session, left_out: frozenset[int]) -> Unusable:
    """Return the roles without which the selection has to arrive when ``policy`` is "none"; else there are none."""
    if policy != "none":
        return Unusable()
    rows = source.rows(_REFERENCED, {"left_out": sorted(left_out)})
    wanted = [row["name"] for row in rows if row["is_used"]]
    privilege = "SET" if target.major >= 16 else "MEMBER"
    usable = {
        row["rolname"]
        for row in target.rows(
            "SELECT r.rolname FROM pg_catalog.pg_roles AS r"
            " WHERE r.rolname = ANY (%(names)s) AND pg_catalog.pg_has_role(r.oid, %(privilege)s)",
            {"names": wanted, "privilege": privilege},
        )
    }
    names = tuple(name for name in wanted if name not in usable and not is_reserved(name))
    rows = source.rows(_POLICIES, {"names": list(names), "left_out": sorted(left_out)}) if names else []
    return Unusable(names, {row["oid"]: row["shown"] for row in rows})


def _empty(role: Role) -> Role:
    """Return a role of this name that may do nothing, not even log in."""
    return Role(role.name, False, True, False, False, False, False, False, -1, None, role.comment)


def _verifiers(source: Session, names: list[str]) -> dict[str, str] | None:
    """Return the stored password hashes of those roles that have one, or None when they cannot be read."""
    try:
        return {row["name"]: row["verifier"] for row in source.rows(_VERIFIERS, {"names": names})}
    except psycopg.errors.InsufficientPrivilege:
        return None


def create_role(role: Role, *, with_password: bool) -> sql.Composed:
    """Return CREATE ROLE with the attributes that differ from the default; never SUPERUSER."""
    words: list[sql.Composable] = []
    for held, default, word in (
        (role.login, False, "LOGIN"),
        (role.createdb, False, "CREATEDB"),
        (role.createrole, False, "CREATEROLE"),
        (role.replication, False, "REPLICATION"),
        (role.bypassrls, False, "BYPASSRLS"),
        (role.inherit, True, "INHERIT"),
    ):
        if held != default:
            words.append(sql.SQL(word if held else f"NO{word}"))
    if role.connection_limit != -1:
        words.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role.connection_limit)))
    if role.valid_until is not None:
        words.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(role.valid_until)))
    if with_password and role.verifier is not None:
        words.append(sql.SQL("PASSWORD {}").format(sql.Literal(role.verifier)))
    return sql.SQL(" ").join([sql.SQL("CREATE ROLE {}").format(sql.Identifier(role.name)), *words])


def grant_membership(membership: Membership, target_major: int) -> sql.Composed:
    """Return GRANT role TO role, with the options that the target's major knows and without a grantor."""
    options: list[str] = []
    if membership.admin:
        options.append("ADMIN OPTION" if target_major < 16 else "ADMIN TRUE")
    if target_major >= 16:
        if membership.inherit is not None:
            options.append(f"INHERIT {str(membership.inherit).upper()}")
        if membership.set is not None:
            options.append(f"SET {str(membership.set).upper()}")
    statement = sql.SQL("GRANT {} TO {}").format(sql.Identifier(membership.granted), sql.Identifier(membership.member))
    return statement + sql.SQL(" WITH " + ", ".join(options)) if options else statement


def setting_value(name: str, value: str) -> sql.Composed:
    """Return what follows SET ... TO; the value of a list becomes a list of literals, as in PostgreSQL's own dumps."""
    values = [value]
    if name.lower() in _LISTS:
        values = [quoted.replace('""', '"') or plain for quoted, plain in _LIST_ELEMENT.findall(value)] or [""]
    return sql.SQL(", ").join(sql.Literal(item) for item in values)


def set_role_setting(setting: RoleSetting, database: str) -> sql.Composed:
    """Return ALTER ROLE ... SET."""
    where = sql.SQL(" IN DATABASE {}").format(sql.Identifier(database)) if setting.in_database else sql.SQL("")
    return sql.SQL("ALTER ROLE {}{} SET {} TO {}").format(
        sql.Identifier(setting.role),
        where,
        sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split(".")),
        setting_value(setting.name, setting.value),
    )


def carry_out(role_plan: RolePlan, target: Session) -> list[dict[str, str]]:
    """Make the planned roles; return what PostgreSQL refused, with the reason. A role made meanwhile is left alone."""
    refused: list[dict[str, str]] = []
    # From 16 on a role without superuser may not give objects to a role that it has made, unless it says so first.
    target.connection.execute(_MAY_USE_OWN_ROLES)
    # All or nothing: a role that is there is never looked at again, so its memberships must be there with it.
    with target.transaction():
        _carry_out(role_plan, target, refused)
    return refused


def _carry_out(role_plan: RolePlan, target: Session, refused: list[dict[str, str]]) -> None:
    for role in role_plan.create:
        try:
            _make(target, role)
        except psycopg.errors.InsufficientPrivilege as error:
            # From 16 on nobody gives what he does not have.
            lesser = replace(role, createrole=False, createdb=False, replication=False, bypassrls=False)
            try:
                _make(target, lesser)
                how = "created without CREATEROLE, CREATEDB, REPLICATION and BYPASSRLS"
            except psycopg.errors.InsufficientPrivilege:
                _make(target, Role(role.name, False, True, False, False, role.login, False, False, -1, None, None))
                how = "created with LOGIN or NOLOGIN only"
            refused.append({"object": f"role {role.name}", "reason": f"{how}: {error.diag.message_primary}"})
    rest = [
        (f"membership of {item.member} in {item.granted}", grant_membership(item, target.major))
        for item in role_plan.grant
    ]
    rest += [
        (f"setting {item.name} of role {item.role}", set_role_setting(item, target.endpoint.dbname))
        for item in role_plan.settings
    ]
    for what, statement in rest:
        try:
            with target.transaction():
                target.execute(statement)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
            refused.append({"object": what, "reason": str(error.diag.message_primary)})


def _make(target: Session, role: Role) -> None:
    """Make a role, unless it was made meanwhile."""
    try:
        with target.transaction():
            target.execute(create_role(role, with_password=True), shown=create_role(role, with_password=False))
            if role.comment:
                comment = sql.SQL("COMMENT ON ROLE {} IS {}")
                target.execute(comment.format(sql.Identifier(role.name), sql.Literal(role.comment)))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return
