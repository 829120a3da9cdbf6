# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of whether the role can fence a side at the cutover: lock its tables, keep clients out, end their sessions."""

from __future__ import annotations

from ..driver import sql
from ..endpoint import Side
from ..provider import is_own_role
from .check import Check, Outcome, check, check_both, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# Who may be connected to this database, and whose sessions we may not end: pg_signal_backend covers all but superusers'.
_OUT_OF_REACH = """
SELECT r.rolname AS role, r.rolsuper AS is_superuser, s.pids
  FROM pg_catalog.pg_roles AS r
 CROSS JOIN LATERAL (
   SELECT coalesce(pg_catalog.array_agg(a.pid ORDER BY a.pid), '{}') AS pids
     FROM pg_catalog.pg_stat_activity AS a
    WHERE a.usesysid = r.oid AND a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
      AND coalesce(a.backend_type, 'client backend') = 'client backend') AS s
 WHERE r.rolcanlogin AND pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT')
   AND CASE WHEN r.rolsuper THEN s.pids <> '{}'
            ELSE NOT pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')
             AND NOT pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE') END
 ORDER BY r.rolname
"""

_OWNER = """
SELECT o.rolname AS owner, o.rolsuper AS is_superuser
  FROM pg_catalog.pg_database AS d
  JOIN pg_catalog.pg_roles AS o ON o.oid = d.datdba
 WHERE d.datname = pg_catalog.current_database() AND NOT pg_catalog.pg_has_role(current_user, o.oid, 'USAGE')
"""

# Any of these admits LOCK TABLE ... IN EXCLUSIVE MODE; SELECT alone does not. MAINTAIN exists from 17 on.
_NOT_LOCKABLE = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s::oid[]) AND NOT pg_catalog.has_table_privilege(c.oid, %(privileges)s)
 ORDER BY n.nspname, c.relname
"""


@check(CHECKS, "source_lock_privilege", "The role may lock each selected table", side="source", severity="warning")
def lock_privilege(context: Context) -> Outcome:
    """P15. An owner, too, can have lost these privileges."""
    privileges = "UPDATE, DELETE, TRUNCATE" + (", MAINTAIN" if context.source.major >= 17 else "")
    oids = [table.oid for table in context.selected.data_tables]
    rows = context.source.rows(_NOT_LOCKABLE, {"oids": oids, "privileges": privileges})
    if not rows:
        return passed()
    role = name(context.source.role.name)
    kind = sql.SQL("MAINTAIN" if context.source.major >= 17 else "UPDATE")
    return failed(
        "The cut-over locks these tables against writers, which SELECT alone does not allow.",
        statements(
            *(statement("GRANT {} ON TABLE {} TO {}", kind, name(row["schema"], row["name"]), role) for row in rows)
        ),
        objects=[f"{row['schema']}.{row['name']}" for row in rows],
    )


@check(
    CHECKS,
    "source_database_owner",
    "The role may change the settings of the source database",
    side="source",
    severity="warning",
)
def database_owner(context: Context) -> Outcome:
    """P11. ALTER DATABASE ... SET keeps new sessions from writing, and is for the owner."""
    rows = context.source.rows(_OWNER)
    if not rows:
        return passed()
    owner, role, database = rows[0]["owner"], context.source.role.name, context.source.facts.name
    return failed(
        f"Database {database} belongs to {owner}, so {role} cannot make new sessions read-only at the cut-over (ALTER "
        "DATABASE ... SET). Locks and triggers then have to stop all writers.",
        # Nobody should have to be made a superuser for this.
        statements(
            statement("ALTER DATABASE {} OWNER TO {}", name(database), name(role))
            if rows[0]["is_superuser"]
            else statement("GRANT {} TO {}", name(owner), name(role))
        ),
        objects=[f"{database} ({owner})"],
    )


@check_both(CHECKS, "client_sessions", "The role may end the sessions of clients on the {side}", severity="warning")
def client_sessions(context: Context, side: Side) -> Outcome:
    """P10. At the cutover the source's clients have to go; the target's only on the way back. Providers' own may stay."""
    if side == "target" and not context.options.rollback:
        return passed("Nobody has to leave the target, unless rollback is wanted.")
    server = context.source if side == "source" else context.target_database
    if server is None:
        return passed("The database does not exist yet.")
    if server.role.is_superuser:
        return passed()
    rows = [row for row in server.rows(_OUT_OF_REACH) if not is_own_role(row["role"])]
    others = [row["role"] for row in rows if not row["is_superuser"]]
    if others:
        return failed(
            f"Role {server.role.name} may not end the sessions of these roles, and without that they can go on using the "
            f"{side} after the cut-over.",
            statements(statement("GRANT pg_signal_backend TO {}", name(server.role.name))),
            objects=others,
        )
    if not rows:
        return passed()
    pids = [pid for row in rows for pid in row["pids"]]
    return failed(
        "Superusers are connected, whose sessions only a superuser may end.",
        "-- before the cut-over, as a superuser\n"
        + statements(*(statement("SELECT pg_catalog.pg_terminate_backend({})", sql.Literal(pid)) for pid in pids)),
        objects=[f"{row['role']} ({', '.join(f'pid {pid}' for pid in row['pids'])})" for row in rows],
        severity="info",
    )
