# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Row security policies for roles that are called otherwise on the target, or that nobody stands for there.

All others come with the archive of the schema, which names roles as the source does. Row security itself, its being
enabled and forced, always comes from there. Which they are and what they say is read in the snapshot of the archive and
kept in the ledger: the application may make a policy anew before the last section is restored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .attempts import Attempt, Refused, carry_out
from .driver import sql
from .role_names import RoleNames
from .session import Session

PG_POLICY = 3256

# The roles of a policy for everybody are {0}.
_POLICIES = """
SELECT p.oid::bigint AS oid, n.nspname AS schema, c.relname AS table, p.polname AS name, p.polcmd AS command,
       p.polpermissive AS is_permissive, pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS using,
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS with_check,
       pg_catalog.obj_description(p.oid, 'pg_policy') AS comment,
       ARRAY(SELECT r.rolname FROM pg_catalog.pg_roles AS r WHERE r.oid = ANY (p.polroles) ORDER BY r.rolname)::text[]
         AS roles
  FROM pg_catalog.pg_policy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE p.polroles <> '{0}'
 ORDER BY n.nspname, c.relname, p.polname
"""
_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}


@dataclass(frozen=True)
class Policy:
    """A policy of the source, with its expressions as SQL."""

    oid: int
    schema: str
    table: str
    name: str
    command: str
    is_permissive: bool
    using: str | None
    with_check: str | None
    comment: str | None
    roles: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The policy for people."""
        return f"policy {self.name} on table {self.schema}.{self.table}"


def read(source: Session, left_behind: Collection[tuple[int, int]]) -> list[Policy]:
    """Return the policies that travel and name roles, as the transaction of ``source`` sees them."""
    found = [Policy(**{**row, "roles": tuple(row["roles"])}) for row in source.rows(_POLICIES)]
    return [policy for policy in found if (PG_POLICY, policy.oid) not in left_behind]


def as_data(policies: Iterable[Policy]) -> list[dict[str, Any]]:
    """Return them for the ledger."""
    return [asdict(policy) for policy in policies]


def kept(detail: Mapping[str, Any]) -> list[Policy]:
    """Return the policies that a step's detail holds."""
    return [Policy(**{**item, "roles": tuple(item["roles"])}) for item in detail["policies"]]


def renamed(policies: Iterable[Policy], names: RoleNames, left_behind: Collection[tuple[int, int]]) -> list[Policy]:
    """Return those that still travel and name a role which is not called so on the target. Pure."""
    return [
        policy
        for policy in policies
        if (PG_POLICY, policy.oid) not in left_behind and any(names.of(role) != role for role in policy.roles)
    ]


def left(policies: Sequence[Policy], names: RoleNames) -> list[dict[str, str]]:
    """Return what of them stays behind because of missing roles. Pure."""
    entries = []
    for policy in policies:
        missing = names.without(policy.roles)
        if missing:
            what = policy.shown if len(missing) == len(policy.roles) else f"{policy.shown} for {', '.join(missing)}"
            reason = f"no role of the target stands for {', '.join(missing)}"
            entries.append({"object": what, "reason": reason})
    return entries


def create(policy: Policy, names: RoleNames) -> sql.Composed | None:
    """Return CREATE POLICY, and its comment, for the roles that stand for those of the source; None without any."""
    roles = sorted({name for role in policy.roles if (name := names.of(role)) is not None})
    if not roles:
        return None
    table = sql.Identifier(policy.schema, policy.table)
    parts = [
        sql.SQL("CREATE POLICY {} ON {}").format(sql.Identifier(policy.name), table),
        sql.SQL("AS {} FOR {}").format(
            sql.SQL("PERMISSIVE" if policy.is_permissive else "RESTRICTIVE"), sql.SQL(_COMMANDS[policy.command])
        ),
        sql.SQL("TO {}").format(sql.SQL(", ").join(map(sql.Identifier, roles))),
    ]
    # Expressions are PostgreSQL's own spelling of what it has parsed.
    if policy.using is not None:
        parts.append(sql.SQL("USING ({})").format(sql.SQL(policy.using)))
    if policy.with_check is not None:
        parts.append(sql.SQL("WITH CHECK ({})").format(sql.SQL(policy.with_check)))
    statement = sql.SQL(" ").join(parts)
    if policy.comment is None:
        return statement
    comment = sql.SQL("COMMENT ON POLICY {} ON {} IS {}")
    return statement + sql.SQL(";\n") + comment.format(sql.Identifier(policy.name), table, sql.Literal(policy.comment))


def carry(session: Session, policies: Sequence[Policy], names: RoleNames) -> list[Refused]:
    """Make these policies on the target; return what it refused. The caller has a transaction open."""
    statements = [(policy, create(policy, names)) for policy in policies]
    return carry_out(session, [Attempt(policy.shown, text) for policy, text in statements if text is not None])
