# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Who owns what on the target: each object that the restore has made is given to its owner, without superuser.

An owner needs CREATE on the schema at that moment: it is granted where it is missing, and taken back. Privileges belong
to ``privileges.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .attempts import Attempt, Refused, carry_out
from .driver import sql
from .owned import Holdings, Owned
from .role_names import RoleNames
from .session import Session

AT_ONCE = 5000

# A superuser gives to whom he likes.
_MAY_NOT_CREATE = """
SELECT w.schema, w.owner
  FROM unnest(%(schemas)s::name[], %(owners)s::name[]) AS w(schema, owner)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_roles AS r ON r.rolname = w.owner
 WHERE NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
   AND NOT (SELECT u.rolsuper FROM pg_catalog.pg_roles AS u WHERE u.rolname = current_user)
 ORDER BY w.schema, w.owner
"""

# Before 17 a multirange does not follow its range.
_MULTIRANGES = """
SELECT n.nspname AS schema, m.typname AS name, o.rolname AS owner
  FROM pg_catalog.pg_range AS g
  JOIN pg_catalog.pg_type AS t ON t.oid = g.rngtypid
  JOIN pg_catalog.pg_type AS m ON m.oid = g.rngmultitypid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = m.typnamespace
  JOIN pg_catalog.pg_roles AS o ON o.oid = t.typowner
 WHERE m.typowner <> t.typowner AND t.oid = ANY (%(ranges)s::oid[])
 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Handover:
    """An object of the target and the role that is to own it."""

    item: Owned
    owner: str

    @property
    def what(self) -> str:
        """What it is about, for people."""
        return f"owner {self.owner} of {self.item.shown}"


def plan(
    source: Holdings, target: Holdings, names: RoleNames, left_behind: Collection[tuple[int, int]]
) -> list[Handover]:
    """Return what on the target has another owner than it should have. Pure.

    Schema public keeps the owner that it has there as long as the source's has its version's default owner.
    """
    found = []
    for key, item in source.objects.items():
        twin = target.objects.get(key)
        if twin is None or item.follows or (item.classid, item.oid) in left_behind:
            continue
        if item.is_public and item.owner == source.owner_of_public:
            continue
        owner = names.owner_of(item.owner)
        if twin.owner != owner:
            found.append(Handover(twin, owner))
    return found


def change_owner(handover: Handover) -> sql.Composed:
    """Return ALTER ... OWNER TO."""
    return sql.SQL("ALTER {} {} OWNER TO {}").format(
        sql.SQL(handover.item.kind), handover.item.reference, sql.Identifier(handover.owner)
    )


def give(session: Session, handovers: Sequence[Handover]) -> list[Refused]:
    """Give every object to its owner; return what the server refused. The caller has a transaction open.

    Schemas come last, so that what is in them can be given by their present owner.
    """
    if not handovers:
        return []
    inside = [handover for handover in handovers if handover.item.kind != "SCHEMA"]
    pairs = sorted({(handover.item.schema, handover.owner) for handover in inside if handover.item.schema is not None})
    parameters = {"schemas": [pair[0] for pair in pairs], "owners": [pair[1] for pair in pairs]}
    lacking = [(row["schema"], row["owner"]) for row in session.rows(_MAY_NOT_CREATE, parameters)] if pairs else []
    attempts = [
        *(_create_on(pair, "GRANT CREATE ON SCHEMA {} TO {}") for pair in lacking),
        *map(_attempt, inside),
        *(_create_on(pair, "REVOKE CREATE ON SCHEMA {} FROM {}") for pair in lacking),
        *(_attempt(handover) for handover in handovers if handover.item.kind == "SCHEMA"),
    ]
    refused = carry_out(session, attempts, AT_ONCE)
    ranges = [handover.item.oid for handover in inside if handover.item.kind == "TYPE"]
    if ranges and session.major < 17:
        multiranges = [
            Attempt(
                f"owner {row['owner']} of type {row['schema']}.{row['name']}",
                sql.SQL("ALTER TYPE {} OWNER TO {}").format(
                    sql.Identifier(row["schema"], row["name"]), sql.Identifier(row["owner"])
                ),
            )
            for row in session.rows(_MULTIRANGES, {"ranges": ranges})
        ]
        refused += carry_out(session, multiranges)
    return refused


def _attempt(handover: Handover) -> Attempt:
    return Attempt(handover.what, change_owner(handover))


def _create_on(pair: tuple[str, str], statement: str) -> Attempt:
    schema, owner = pair
    what = f"CREATE on schema {schema} for {owner}, while it is given what it owns there"
    return Attempt(what, sql.SQL(statement).format(sql.Identifier(schema), sql.Identifier(owner)))
