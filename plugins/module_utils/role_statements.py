# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The statements that make a role, its memberships and its settings. Pure."""

from __future__ import annotations

import re

from .driver import sql
from .errors import MASK
from .role_catalog import Membership, Role, RoleSetting

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
# A role is locked out by these where a library is missing.
LIBRARY_SETTINGS = frozenset(("local_preload_libraries", "session_preload_libraries"))
_LIST_ELEMENT = re.compile(r'"((?:[^"]|"")*)"|([^,\s"]+)')

# What only who has it himself may give (from 16 on), or only superusers (before).
POWERS = ("createdb", "createrole", "replication", "bypassrls")


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


def give_power(role: str, power: str) -> sql.Composed:
    """Return ALTER ROLE that gives one of :data:`POWERS`."""
    return sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(power.upper()))


def give_password(role: str, verifier: str) -> sql.Composed:
    """Return ALTER ROLE that gives a password by its hash; not to be shown."""
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))


def comment_role(role: str, comment: str) -> sql.Composed:
    """Return COMMENT ON ROLE."""
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(comment))


def grant_membership(membership: Membership, target_major: int, *, with_grantor: bool = False) -> sql.Composed:
    """Return GRANT role TO role, with the options that the target's major knows."""
    options: list[str] = []
    if membership.admin:
        options.append("ADMIN OPTION" if target_major < 16 else "ADMIN TRUE")
    if target_major >= 16:
        if membership.inherit is not None:
            options.append(f"INHERIT {str(membership.inherit).upper()}")
        if membership.set is not None:
            options.append(f"SET {str(membership.set).upper()}")
    parts = [sql.SQL("GRANT {} TO {}").format(sql.Identifier(membership.granted), sql.Identifier(membership.member))]
    if options:
        parts.append(sql.SQL("WITH {}").format(sql.SQL(", ".join(options))))
    if with_grantor and membership.grantor is not None:
        parts.append(sql.SQL("GRANTED BY {}").format(sql.Identifier(membership.grantor)))
    return sql.SQL(" ").join(parts)


def grant_ourselves(role: str, target_major: int) -> sql.Composed:
    """Return the GRANT with which who administers a role, or before 16 makes roles, may give objects to it."""
    grant = sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role))
    return grant if target_major < 16 else sql.SQL("{} WITH INHERIT TRUE, SET TRUE").format(grant)


def revoke_from_maker(role: str, member: str, target_major: int) -> sql.Composed:
    """Return the REVOKE that takes a maker's rights back: all before 16, then all but what making it gives by itself."""
    revoke = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(member))
    if target_major < 16:
        return revoke
    return sql.SQL("{} GRANTED BY {}").format(revoke, sql.Identifier(member))


def list_elements(value: str) -> list[str]:
    """Return the elements of a stored list of quoted names."""
    return [quoted.replace('""', '"') or plain for quoted, plain in _LIST_ELEMENT.findall(value)]


def setting_value(name: str, value: str) -> sql.Composed:
    """Return what follows SET ... TO; the value of a list becomes a list of literals, as in PostgreSQL's own dumps."""
    values = (list_elements(value) or [""]) if name.lower() in _LISTS else [value]
    return sql.SQL(", ").join(sql.Literal(item) for item in values)


def shown_value(name: str, value: str) -> sql.Composable:
    """Return what is shown instead of :func:`setting_value`: applications keep secrets in settings of their own."""
    return sql.Literal(MASK) if "." in name else setting_value(name, value)


# The server's own words may quote the value: "invalid value for parameter ...".
_REFUSED_SETTING = {
    "22023": "the target does not accept its value",
    "42501": "the role of the connection may not set it",
    "42704": "the target does not know it",
}


def setting_refusal(sqlstate: str) -> str:
    """Return why a server refuses a setting, without a word of its value."""
    return f"{_REFUSED_SETTING.get(sqlstate, 'the target refuses it')} (SQLSTATE {sqlstate})"


def set_role_setting(setting: RoleSetting, database: str, *, shown: bool = False) -> sql.Composed:
    """Return ALTER ROLE ... SET, or how it is ``shown``."""
    where = sql.SQL(" IN DATABASE {}").format(sql.Identifier(database)) if setting.in_database else sql.SQL("")
    return sql.SQL("ALTER ROLE {}{} SET {} TO {}").format(
        sql.Identifier(setting.role),
        where,
        sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split(".")),
        (shown_value if shown else setting_value)(setting.name, setting.value),
    )
