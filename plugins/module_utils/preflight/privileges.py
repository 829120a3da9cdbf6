# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the connecting role may do on the source."""

from __future__ import annotations

from collections.abc import Mapping

from ..catalog import Table
from ..driver import sql
from ..endpoint import Side
from ..provider import Provider
from .check import Check, Outcome, check, check_both, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# Checks that look at other roles' sessions.
NEED_STATISTICS: Mapping[Side, tuple[str, ...]] = {
    "source": ("source_connections", "source_long_transactions"),
    "target": ("target_connections", "target_worker_processes"),
}

_REPLICATION_ROLE = """
SELECT r.rolreplication OR r.rolsuper AS can_replicate, r.rolcanlogin AS can_login,
       pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT') AS can_connect,
       EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS m
                WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER'))
         AS is_rds_replicator
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = %(name)s
"""

_NOT_MEMBER = """
SELECT o.owner, coalesce(r.rolsuper, false) AS is_superuser
  FROM unnest(%(owners)s::name[]) AS o(owner)
  LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = o.owner
 WHERE NOT pg_catalog.pg_has_role(current_user, o.owner, 'USAGE')
"""

_UNREADABLE = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = ANY (%(oids)s::oid[])
   AND CASE WHEN c.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
            ELSE NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') END
 ORDER BY n.nspname, c.relname
"""

_UNUSABLE_SCHEMAS = """
SELECT n.nspname AS schema
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE')
 ORDER BY n.nspname
"""


@check(CHECKS, "source_replication_attribute", "The roles that replicate have the REPLICATION attribute", side="source")
def replication_attribute(context: Context) -> Outcome:
    """P1, P6. The attribute is not inherited; on RDS and Aurora membership in rds_replication takes its place."""
    role, provider = context.source.role, context.source.provider
    lacking: list[str] = []
    remedies: list[sql.Composed] = []
    grant = provider.rules.grant_replication
    if not (role.can_replicate or role.is_superuser or role.is_rds_replicator):
        lacking.append(role.name)
        remedies += [statement(grant, name(role.name))] if grant else []
    chosen = context.options.replication_role
    if chosen:
        user = str(chosen["user"])
        row = context.source.row(_REPLICATION_ROLE, {"name": user})
        if row is None:
            lacking.append(f"{user} (does not exist)")
            if grant:
                remedies.append(statement("CREATE ROLE {} LOGIN PASSWORD :'new_password'", name(user)))
                remedies.append(statement(grant, name(user)))
        else:
            can_replicate = row["can_replicate"] or row["is_rds_replicator"]
            if not can_replicate or not row["can_login"]:
                lacking.append(user)
                remedies += [] if row["can_login"] else [statement("ALTER ROLE {} LOGIN", name(user))]
                remedies += [] if can_replicate or not grant else [statement(grant, name(user))]
            if not row["can_connect"]:
                lacking.append(f"{user} (CONNECT)")
                database = name(context.source.facts.name)
                remedies.append(statement("GRANT CONNECT ON DATABASE {} TO {}", database, name(user)))
    if not lacking:
        return passed()
    return failed(
        "Replication slots and connections need REPLICATION on the role itself.",
        "\n".join(part for part in (statements(*remedies), _note(provider)) if part),
        objects=lacking,
    )


def _note(provider: Provider) -> str:
    return f"-- {provider.title}: {provider.replication_note}" if provider.replication_note else ""


@check(CHECKS, "source_create_privilege", "The role may create a publication on the source", side="source")
def create_on_source(context: Context) -> Outcome:
    """P2."""
    role = context.source.role
    if role.is_superuser or role.can_create_in_database:
        return passed()
    database = context.source.facts.name
    return failed(
        f"Role {role.name} has no CREATE on database {database}, which CREATE PUBLICATION and CREATE SCHEMA need.",
        statements(statement("GRANT CREATE ON DATABASE {} TO {}", name(database), name(role.name))),
        objects=[database],
    )


def _published(context: Context) -> list[Table]:
    """The tables that a publication may name: those with rows to replicate, and the roots of partitions."""
    catalog = context.selected.catalog
    found = {table.oid: table for table in context.selected.data_tables}
    found.update({root.oid: root for root in map(catalog.root_of, context.selected.data_tables)})
    return sorted(found.values(), key=lambda table: table.qualified)


@check(CHECKS, "source_table_owner", "The role has the rights of each selected table's owner", side="source")
def table_owner(context: Context) -> Outcome:
    """P3: only an owner can add a table to a publication."""
    tables = _published(context)
    rows = context.source.rows(_NOT_MEMBER, {"owners": sorted({table.owner for table in tables})})
    owners = sorted(row["owner"] for row in rows)
    if not owners:
        return passed()
    role = name(context.source.role.name)
    superusers = [row["owner"] for row in rows if row["is_superuser"]]  # nobody should have to be made one for this
    grants = [statement("GRANT {} TO {}", name(owner), role) for owner in owners if owner not in superusers]
    parts = [statements(*grants)] if grants else []
    if superusers:
        parts.append(comment(f"superusers, so give their tables to another role: {', '.join(sorted(superusers))}"))
    return failed(
        f"A table can only be published with its owner's rights; missing are those of {', '.join(owners)}.",
        "\n".join(parts),
        objects=[table.qualified for table in tables if table.owner in owners],
    )


@check(CHECKS, "source_readable", "The role may read all that is selected", side="source")
def readable(context: Context) -> Outcome:
    """P4."""
    catalog, server = context.selected.catalog, context.source
    schemas = [
        row["schema"]
        for row in server.rows(_UNUSABLE_SCHEMAS, {"schemas": [schema.name for schema in catalog.schemas]})
    ]
    wanted = [t.oid for t in catalog.tables if t.kind != "f"] + [sequence.oid for sequence in catalog.sequences]
    relations = server.rows(_UNREADABLE, {"oids": wanted})
    if not schemas and not relations:
        return passed()
    role = name(context.source.role.name)
    if context.source.major >= 14:
        remedy = statements(statement("GRANT pg_read_all_data TO {}", role))
    else:
        grants = [statement("GRANT USAGE ON SCHEMA {} TO {}", name(schema), role) for schema in schemas]
        for row in relations:
            kind = sql.SQL("SEQUENCE" if row["kind"] == "S" else "TABLE")
            grants.append(statement("GRANT SELECT ON {} {} TO {}", kind, name(row["schema"], row["name"]), role))
        remedy = statements(*grants)
    return failed(
        "USAGE on schemas, or SELECT on tables or sequences, is missing.",
        remedy,
        objects=[*schemas, *(f"{row['schema']}.{row['name']}" for row in relations)],
    )


@check(CHECKS, "source_row_security", "No row is hidden from the role by row security", side="source")
def row_security(context: Context) -> Outcome:
    """P5."""
    tables = (*context.selected.data_tables, *context.selected.unlogged_tables)
    hidden = [table.qualified for table in tables if table.row_security_active]
    if not hidden:
        return passed()
    role = context.source.role.name
    return failed(
        f"Row security policies apply to role {role}: rows would be left behind.",
        statements(statement("ALTER ROLE {} BYPASSRLS", name(role))),
        objects=hidden,
    )


@check(
    CHECKS,
    "source_passwords",
    "The passwords of roles that init makes on the target can be read",
    side="source",
    severity="warning",
)
def passwords(context: Context) -> Outcome:
    """P9. Only superusers read them by default, and most providers give that to nobody."""
    wanted = context.role_plan.without_password
    if not wanted:
        return passed()
    me = name(context.source.role.name)
    ways = [
        statements(statement("GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO {}", me)),
        "-- or give init their passwords, from a vault: role_passwords",
        "-- or give them passwords on the target, between init and the cut-over:",
        statements(*(statement("ALTER ROLE {} PASSWORD :'new_password'", name(item)) for item in wanted)),
    ]
    return failed(
        "These roles log in; they will be made on the target without a password, because the source does not show theirs.",
        "\n".join(ways),
        objects=wanted,
    )


@check_both(
    CHECKS, "statistics_privilege", "The role sees what all sessions on the {side} are doing", severity="warning"
)
def statistics_privilege(context: Context, side: Side) -> Outcome:
    """P14. Without it the server shows other roles' sessions without what they do, and reports no error."""
    server = context.server(side)
    if server.role.reads_all_statistics:
        return passed()
    return failed(
        "Without pg_read_all_stats these checks see other sessions only in part, and answer unknown when that matters.",
        statements(statement("GRANT pg_read_all_stats TO {}", name(server.role.name))),
        objects=NEED_STATISTICS[side],
    )
