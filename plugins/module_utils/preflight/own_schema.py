# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of schema ``seren_migrator`` where another migration, run by another role, has made it already."""

from __future__ import annotations

from ..catalog import OWN_SCHEMA
from ..driver import sql
from ..endpoint import Side
from ..ledger import TABLE_NAMES
from .check import Check, Outcome, check_both, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

_SCHEMA = """
SELECT pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS may_use
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname = %(schema)s
"""

# Each kind of privilege by itself: a list of them asks for any.
_LEDGER = """
SELECT c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relname = ANY (%(tables)s)
   AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
            AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AND pg_catalog.has_table_privilege(c.oid, 'DELETE'))
 ORDER BY c.relname
"""


@check_both(CHECKS, "own_schema", "Schema seren_migrator on the {side}, if it is there, may be used by the role")
def own_schema(context: Context, side: Side) -> Outcome:
    """A migration that another role runs has made it: markers on both sides, the ledger on the target."""
    server = context.server(side)
    if side == "target" and context.target_is_absent:
        return passed("The database will be created.")
    row = server.row(_SCHEMA, {"schema": OWN_SCHEMA})
    if row is None:
        return passed()
    tables: list[str] = []
    if side == "target":
        found = server.rows(_LEDGER, {"schema": OWN_SCHEMA, "tables": list(TABLE_NAMES)})
        tables = [item["name"] for item in found]
    if row["may_use"] and not tables:
        return passed()
    role = name(server.role.name)
    grants: list[sql.Composed] = []
    if not row["may_use"]:
        grants.append(statement("GRANT USAGE, CREATE ON SCHEMA {} TO {}", name(OWN_SCHEMA), role))
    grants += [
        statement("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {}", name(OWN_SCHEMA, item), role)
        for item in tables
    ]
    return failed(
        f"A migration run by role {row['owner']} has made schema {OWN_SCHEMA} on the {side}, and role "
        f"{server.role.name} may not use it.",
        "\n".join(
            [
                comment(f"on the {side}, as {row['owner']}, which made it"),
                statements(*grants),
                comment(f"or run this migration as {row['owner']}, too"),
            ]
        ),
        objects=[OWN_SCHEMA, *(f"{OWN_SCHEMA}.{item}" for item in tables)],
    )
