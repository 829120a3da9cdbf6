# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The roles of a server as its catalogs show them to everybody: attributes, memberships, settings; and who uses what.

Passwords are not here, see ``role_passwords``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .changed_privileges import SECRET_CATALOGS
from .session import Session

_ROLES = """
SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolinherit AS inherit,
       r.rolcreaterole AS createrole, r.rolcreatedb AS createdb, r.rolcanlogin AS login,
       r.rolreplication AS replication, r.rolbypassrls AS bypassrls, r.rolconnlimit AS connection_limit,
       r.rolvaliduntil::text AS valid_until, pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment,
       r.oid = 10 AS is_bootstrap
  FROM pg_catalog.pg_roles AS r
 ORDER BY r.rolname
"""

# The bootstrap superuser (OID 10) is the grantor where nobody in particular is; before 16 a grantor may be gone.
_MEMBERSHIPS = """
SELECT g.rolname AS granted, u.rolname AS member, b.rolname AS grantor, pg_catalog.to_jsonb(m) AS options
  FROM pg_catalog.pg_auth_members AS m
  JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
  JOIN pg_catalog.pg_roles AS u ON u.oid = m.member
  LEFT JOIN pg_catalog.pg_roles AS b ON b.oid = m.grantor AND b.oid <> 10
 ORDER BY g.rolname, u.rolname, b.rolname
"""

# Settings of a role everywhere (database 0) or in one database.
_SETTINGS = """
SELECT r.rolname AS name, s.setdatabase <> 0 AS in_database, e.entry AS entry
  FROM pg_catalog.pg_db_role_setting AS s
  JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
 CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS e(entry, number)
 WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = %(database)s))
 ORDER BY r.rolname, s.setdatabase, e.number
"""

_CONNECTED = """
SELECT current_user::text AS name, r.rolsuper,
       pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolname', 'SELECT')
       AND pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS reads_passwords
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = current_user
"""

# Owners, grantees and policy roles of this database. pg_shdepend leaves out the bootstrap superuser (OID 10), so
# owners are read as well.
_USED = """
WITH used(oid) AS (
  SELECT d.refobjid
    FROM pg_catalog.pg_shdepend AS d
    JOIN pg_catalog.pg_database AS b ON b.datname = pg_catalog.current_database()
   WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
     AND (d.dbid = b.oid OR (d.dbid = 0 AND d.objid = b.oid
          AND d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass))
     AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = ANY (%(left_out)s::oid[]))
     -- What our own role may read for the migration makes it no role of the database.
     AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'
              AND d.refobjid = (SELECT me.oid FROM pg_catalog.pg_roles AS me WHERE me.rolname = current_user)
              AND d.objid = ANY ((%(secret)s)::pg_catalog.regclass[]::oid[]))
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
  SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'public'
   UNION
  SELECT b.datdba FROM pg_catalog.pg_database AS b WHERE b.datname = pg_catalog.current_database())
SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r JOIN used AS u ON u.oid = r.oid
"""

_OWNERS = """
SELECT DISTINCT r.rolname AS name
  FROM pg_catalog.pg_shdepend AS d
  JOIN pg_catalog.pg_roles AS r ON r.oid = d.refobjid
  JOIN pg_catalog.pg_database AS b ON b.datname = pg_catalog.current_database()
 WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype = 'o' AND d.dbid = b.oid
   AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = ANY (%(left_out)s::oid[]))
"""

ATTRIBUTES = ("superuser", "inherit", "createrole", "createdb", "login", "replication", "bypassrls")


@dataclass(frozen=True)
class Role:
    """A role with its attributes. ``verifier`` is the password hash that it is to have, None for none.

    ``is_bootstrap`` is true of the superuser that a server was made with.
    """

    name: str
    superuser: bool = False
    inherit: bool = True
    createrole: bool = False
    createdb: bool = False
    login: bool = False
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = -1
    valid_until: str | None = None
    comment: str | None = None
    is_bootstrap: bool = False
    verifier: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Membership:
    """``member`` belongs to ``granted``; inherit and set options exist from 16 on and are None before.

    ``grantor`` is None where that is the bootstrap superuser, or nobody any more.
    """

    granted: str
    member: str
    admin: bool = False
    inherit: bool | None = None
    set: bool | None = None
    grantor: str | None = None

    @property
    def may_use(self) -> bool:
        """True where the member has, or may take, the rights of the role; to administer it is another matter."""
        return self.inherit is not False or self.set is not False

    @property
    def shown(self) -> str:
        """What results call it."""
        return f"membership of {self.member} in {self.granted}"


@dataclass(frozen=True)
class RoleSetting:
    """``ALTER ROLE ... SET name``, everywhere or only in the migrated database; ``value`` as pg_db_role_setting has it."""

    role: str
    in_database: bool
    name: str
    value: str

    @property
    def shown(self) -> str:
        """What results call it; values may be secrets of applications."""
        return f"setting {self.name} of role {self.role}" + (" in this database" if self.in_database else "")


@dataclass(frozen=True)
class Roles:
    """The roles of one server; the settings are those everywhere and in one database."""

    roles: Mapping[str, Role]
    memberships: tuple[Membership, ...]
    settings: tuple[RoleSetting, ...]
    connected: str
    is_superuser: bool
    reads_passwords: bool = False


def read(session: Session, database: str) -> Roles:
    """Read the roles of a server, in one round trip; settings in ``database`` count, too."""
    found, memberships, settings, connected = session.rows_of(
        _ROLES, _MEMBERSHIPS, _SETTINGS, _CONNECTED, params={"database": database}
    )
    return Roles(
        {row["name"]: Role(**row) for row in found},
        tuple(_membership(row["granted"], row["member"], row["grantor"], row["options"]) for row in memberships),
        tuple(RoleSetting(row["name"], row["in_database"], *row["entry"].split("=", 1)) for row in settings),
        connected[0]["name"],
        connected[0]["rolsuper"],
        connected[0]["reads_passwords"],
    )


def _membership(granted: str, member: str, grantor: str | None, options: Mapping[str, Any]) -> Membership:
    inherit, may_set = options.get("inherit_option"), options.get("set_option")
    return Membership(granted, member, bool(options["admin_option"]), inherit, may_set, grantor)


def used(source: Session, left_out: Collection[int]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the roles that own, or are granted, something in the database, and those of them that own something.

    ``left_out`` are relations not to look at. The bootstrap superuser is in the first of the two only.
    """
    secret = [f"pg_catalog.{name}" for name in SECRET_CATALOGS]
    found, owners = source.rows_of(_USED, _OWNERS, params={"left_out": sorted(left_out), "secret": secret})
    return frozenset(row["name"] for row in found), frozenset(row["name"] for row in owners)


def referenced(roles: Roles, used_names: Collection[str], closed: Collection[str]) -> frozenset[str]:
    """Return the roles that are used, those who have their rights by membership, and all roles that these belong to. Pure.

    Nobody is reached as a member of one of ``closed``: half the server may be members of what a provider, or PostgreSQL,
    brings. The role with which we read is only its administrator's tool, unless it is used itself.
    """
    below = {item.granted: set[str]() for item in roles.memberships}
    above = {item.member: set[str]() for item in roles.memberships}
    for item in roles.memberships:
        if item.may_use:
            above[item.member].add(item.granted)
        if item.may_use and item.granted not in closed and item.member != roles.connected:
            below[item.granted].add(item.member)
    return _reach(_reach(used_names, below), above)


def _reach(start: Iterable[str], edges: Mapping[str, set[str]]) -> frozenset[str]:
    found, waiting = set(start), list(start)
    while waiting:
        fresh = edges.get(waiting.pop(), set()) - found
        found |= fresh
        waiting += fresh
    return frozenset(found)
