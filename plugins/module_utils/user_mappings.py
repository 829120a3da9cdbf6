# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""User mappings of foreign servers, whose options hold secrets: made on the target only when that was asked for.

They go from one server to the other and nowhere else: not into the archive, the ledger, the log, or an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .attempts import Attempt, carry_out
from .driver import sql
from .role_names import RoleNames
from .session import Session

PG_FOREIGN_SERVER = 1417

# The view shows options to superusers, to a server's owner (those for PUBLIC) and to the mapped role itself; it shows
# NULL both for none and for those that it hides.
_MAPPINGS = """
SELECT u.srvid::bigint AS server_oid, u.srvname AS server, CASE WHEN u.umuser <> 0 THEN u.usename END AS role,
       u.umoptions::text[] AS options,
       (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user)
         OR (u.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))
         OR (u.usename = current_user AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE')
                                           OR pg_catalog.has_server_privilege(s.oid, 'USAGE'))) AS is_readable
  FROM pg_catalog.pg_user_mappings AS u
  JOIN pg_catalog.pg_foreign_server AS s ON s.oid = u.srvid
 ORDER BY u.srvname, u.usename
"""


@dataclass(frozen=True)
class UserMapping:
    """A mapping; ``role`` is None for PUBLIC. ``options`` are name=value; they are secret."""

    server_oid: int
    server: str
    role: str | None
    options: tuple[str, ...] = field(repr=False)
    is_readable: bool

    @property
    def shown(self) -> str:
        """The mapping for people."""
        return f"user mapping for {self.role or 'PUBLIC'} on server {self.server}"


def read(source: Session, left_behind: Collection[tuple[int, int]]) -> list[UserMapping]:
    """Return the mappings of the servers that travel."""
    rows = [{**row, "options": tuple(row["options"] or ())} for row in source.rows(_MAPPINGS)]
    return [UserMapping(**row) for row in rows if (PG_FOREIGN_SERVER, row["server_oid"]) not in left_behind]


def create(mapping: UserMapping, role: str | None, *, shown: bool) -> sql.Composed:
    """Return CREATE USER MAPPING; without what its options say when it is to be ``shown``."""
    whom = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
    statement = sql.SQL("CREATE USER MAPPING FOR {} SERVER {}").format(whom, sql.Identifier(mapping.server))
    if not mapping.options:
        return statement
    pairs = [option.partition("=") for option in mapping.options]
    options = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal("********" if shown else value))
        for name, _equals, value in pairs
    ]
    return statement + sql.SQL(" OPTIONS ({})").format(sql.SQL(", ").join(options))


def drop(server: str, role: str | None) -> sql.Composed:
    """Return DROP USER MAPPING, for PUBLIC where ``role`` is None."""
    whom = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
    return sql.SQL("DROP USER MAPPING IF EXISTS FOR {} SERVER {}").format(whom, sql.Identifier(server))


@dataclass(frozen=True)
class Outcome:
    """What stays behind and why, and what was made: server and role, None for PUBLIC."""

    left: list[dict[str, str]]
    made: list[tuple[str, str | None]]


@dataclass(frozen=True)
class Plan:
    """What to make, by server and role (None for PUBLIC), and what stays behind."""

    attempts: Mapping[tuple[str, str | None], Attempt]
    left: list[dict[str, str]]


def plan(mappings: Sequence[UserMapping], names: RoleNames, policy: str) -> Plan:
    """Return what is made where ``policy`` is create. Pure."""
    if policy != "create":
        return Plan({}, [{"object": mapping.shown, "reason": "user_mappings: skip"} for mapping in mappings])
    left = []
    attempts: dict[tuple[str, str | None], Attempt] = {}
    for mapping in mappings:
        role = None if mapping.role is None else names.of(mapping.role)
        if mapping.role is not None and role is None:
            reason = f"no role of the target stands for {mapping.role}"
        elif not mapping.is_readable:
            reason = "its options cannot be read by the role of the source's connection"
        elif (mapping.server, role) in attempts:
            reason = f"{role} has another one there"
        else:
            text, shown = (create(mapping, role, shown=hidden) for hidden in (False, True))
            attempts[mapping.server, role] = Attempt(mapping.shown, text, shown)
            continue
        left.append({"object": mapping.shown, "reason": reason})
    return Plan(attempts, left)


def carry(session: Session, mappings: Sequence[UserMapping], names: RoleNames, policy: str) -> Outcome:
    """Make the mappings on the target where ``policy`` is create.

    The caller has a transaction open. What the server says about a refused mapping could quote it, and is not repeated.
    """
    planned = plan(mappings, names, policy)
    refused = carry_out(session, list(planned.attempts.values()))
    unmade = {item.attempt.what for item in refused}
    made = [key for key, attempt in planned.attempts.items() if attempt.what not in unmade]
    return Outcome([*planned.left, *(item.as_left for item in refused)], made)
