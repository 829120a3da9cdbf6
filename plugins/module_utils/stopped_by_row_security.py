# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which tables of a subscription refuse its changes, because row security holds for the role that applies them.

PostgreSQL says so in the target's server log alone, and tries again for ever.
"""

from __future__ import annotations

from .driver import sql
from .session import Session

SHOWN = 10

# From 16 on the worker acts as the table's owner, unless the subscription says run_as_owner; before, as the subscription's.
_ACTS_AS = "CASE WHEN s.subrunasowner THEN s.subowner ELSE c.relowner END"
_STOPPED = """
SELECT n.nspname AS schema, c.relname AS name, r.rolname AS role
  FROM pg_catalog.pg_subscription AS s
  JOIN pg_catalog.pg_subscription_rel AS t ON t.srsubid = s.oid
  JOIN pg_catalog.pg_class AS c ON c.oid = t.srrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS r ON r.oid = {acts_as}
 WHERE s.oid = %(oid)s AND c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
   AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))
 ORDER BY n.nspname, c.relname
"""


def troubles(target: Session, subscription: int) -> list[str]:
    """Return, for each role that is stopped, the tables and what to do, as text for people."""
    query = _STOPPED.replace("{acts_as}", _ACTS_AS if target.major >= 16 else "s.subowner")
    tables: dict[str, list[str]] = {}
    for row in target.rows(query, {"oid": subscription}):
        tables.setdefault(row["role"], []).append(f"{row['schema']}.{row['name']}")
    return [
        f"row security holds for {role}, who applies the changes of {_listed(names)}, and stops replication at the first one: "
        + sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(role)).as_string(None)
        + " on the target; it goes on by itself then"
        for role, names in tables.items()
    ]


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
