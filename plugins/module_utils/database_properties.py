# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What belongs to the database itself: comment, settings, template mark, connection limit; read, compare, carry over.

What the target's database does not have yet is set; what it has otherwise is never changed, but named. Its owner and its
privileges are not made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import database_settings
from .attempts import Attempt
from .database_settings import Setting, SettingsPlan
from .driver import sql
from .role_names import RoleNames
from .session import Session

STEP = "database"
# initdb gives these to the databases that it makes, whatever they are used for.
_USUAL_COMMENTS = ("default administrative connection database", "default template for new databases")
# What sync, status and verify open at the same time, beside the workers of the copy and of the subscription.
MORE_CONNECTIONS = 16

QUERY = """
SELECT d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner, d.datconnlimit AS connection_limit,
       d.datistemplate AS is_template, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       t.spcname AS tablespace, pg_catalog.pg_has_role(d.datdba, 'USAGE') AS is_ours,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS is_superuser,
       ARRAY(SELECT c.entry
               FROM pg_catalog.pg_db_role_setting AS s
              CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) WITH ORDINALITY AS c(entry, number)
              WHERE s.setdatabase = d.oid AND s.setrole = 0
              ORDER BY c.number) AS settings,
       ARRAY(SELECT a.amname::text FROM pg_catalog.pg_am AS a WHERE a.amtype = 't') AS access_methods
  FROM pg_catalog.pg_database AS d
  JOIN pg_catalog.pg_tablespace AS t ON t.oid = d.dattablespace
 WHERE d.datname = pg_catalog.current_database()
"""


@dataclass(frozen=True)
class Properties:
    """One side's database; ``is_ours`` when the connected role has the rights of its owner."""

    name: str
    owner: str
    connection_limit: int
    is_template: bool
    comment: str | None
    tablespace: str
    is_ours: bool
    is_superuser: bool
    settings: tuple[Setting, ...]
    access_methods: frozenset[str]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Properties:
        """Return the properties of the one row of :data:`QUERY`."""
        parts = {
            "settings": tuple(Setting.of(entry) for entry in row["settings"]),
            "access_methods": frozenset(row["access_methods"]),
        }
        return cls(**{**row, **parts})


@dataclass(frozen=True)
class PropertiesPlan:
    """The statements, in their order, and what stays behind with its reason."""

    attempts: tuple[Attempt, ...]
    left: tuple[dict[str, str], ...]
    settings: SettingsPlan


def read(session: Session) -> Properties:
    """Read the connected database's properties."""
    return Properties.of(session.rows(QUERY)[0])


def new(name: str, like: Properties) -> Properties:
    """Return the properties of a database that ``like``'s connection would create as ``name``. Pure."""
    access_methods = like.access_methods
    return Properties(name, like.owner, -1, False, None, "pg_default", True, like.is_superuser, (), access_methods)


def plan(
    source: Properties, target: Properties, names: RoleNames, *, created: bool, connections: int
) -> PropertiesPlan:
    """Compare both databases and decide. Pure.

    ``created`` is whether init has made the target's; ``connections`` is how many the copy opens there.
    """
    left: list[dict[str, str]] = []
    wanted: list[Attempt] = []
    me = sql.Identifier(target.name)
    owner = names.owner_of(source.owner)
    if not created and target.owner != owner:
        left.append(_kept(f"owner {owner} of the database", f"it was there before, and belongs to {target.owner}"))
    if source.tablespace != "pg_default":
        left.append(_kept(f"tablespace {source.tablespace} of the database", "tablespaces are not migrated"))
    if source.comment not in (None, target.comment, *_USUAL_COMMENTS):
        if target.comment is None:
            words = sql.SQL("COMMENT ON DATABASE {} IS {}").format(me, sql.Literal(source.comment))
            wanted.append(Attempt("comment of the database", words))
        else:
            left.append(_kept("comment of the database", "the target's database has another one, which is not changed"))
    if source.is_template and not target.is_template:
        if created:
            mark = sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true").format(me)
            wanted.append(Attempt("template mark of the database", mark))
        else:
            left.append(_kept("template mark of the database", "the target's database has none, which is not changed"))
    settings = database_settings.plan(source.settings, target.settings, target.access_methods)
    wanted += [database_settings.attempt(target.name, item) for item in settings.give]
    left += settings.left
    # Last of all: from now on it counts.
    limit = f"connection limit {source.connection_limit} of the database"
    if source.connection_limit != target.connection_limit and source.connection_limit >= -1:
        if target.connection_limit != -1:
            reason = f"the target's database has the limit {target.connection_limit}, which is not changed"
            left.append(
                _kept(limit if source.connection_limit != -1 else "unlimited connections of the database", reason)
            )
        elif not target.is_superuser and source.connection_limit < connections + MORE_CONNECTIONS:
            reason = "not set before the cutover: the migration itself may need more. Set it then: ALTER DATABASE ..."
            left.append(_kept(limit, reason))
        else:
            change = sql.SQL("ALTER DATABASE {} WITH CONNECTION LIMIT {}")
            wanted.append(Attempt(limit, change.format(me, sql.Literal(source.connection_limit))))
    return PropertiesPlan(tuple(wanted), tuple(left), settings)


def _kept(what: str, reason: str) -> dict[str, str]:
    return {"object": what, "reason": reason}
