# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the connecting roles may do on both sides."""

from __future__ import annotations

from .. import roles
from ..catalog import Table
from ..driver import sql
from ..provider import Provider
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

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
SELECT o.owner
  FROM unnest(%(owners)s::name[]) AS o(owner)
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
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND NOT pg_catalog.has_schema_privilege(n.oid, %(privilege)s)
 ORDER BY n.nspname
"""

# SET is what ALTER ... OWNER TO needs from 16 on, membership before. To be allowed to grant the role is not enough.
_ROLES = """
SELECT w.role, r.oid IS NOT NULL AS is_there,
       coalesce(pg_catalog.pg_has_role(current_user, r.oid, %(privilege)s), false) AS can_be_set
  FROM unnest(%(roles)s::name[]) AS w(role)
  LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = w.role
 ORDER BY w.role
"""


# Owners of objects in a schema that is not theirs. Members of extensions belong to whoever creates these.
_OWNERS_IN_SCHEMAS = """
SELECT n.nspname AS schema, pg_catalog.pg_get_userbyid(o.owner) AS owner, min(o.name) AS example
  FROM (SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relnamespace, c.relowner, c.relname::text
          FROM pg_catalog.pg_class AS c
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT c.oid = ANY (%(left_out)s::oid[])
         UNION ALL
        SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.pronamespace, p.proowner, p.proname::text
          FROM pg_catalog.pg_proc AS p
         UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typnamespace, t.typowner, t.typname::text
          FROM pg_catalog.pg_type AS t
         WHERE t.typtype IN ('d', 'e', 'r')) AS o(classid, oid, namespace, owner, name)
  JOIN pg_catalog.pg_namespace AS n ON n.oid = o.namespace
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND n.nspowner <> o.owner
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e')
 GROUP BY n.nspname, o.owner
 ORDER BY 1, 2
"""

_MAY_CREATE = """
SELECT w.schema, w.owner, n.oid IS NOT NULL AS is_there,
       CASE WHEN n.oid IS NULL OR r.oid IS NULL THEN false
            ELSE pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') END AS may_create
  FROM unnest(%(schemas)s::name[], %(owners)s::name[]) AS w(schema, owner)
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = w.owner
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
                remedies.append(statement("CREATE ROLE {} LOGIN PASSWORD '...'", name(user)))
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
    return failed(
        f"A table can only be published with its owner's rights; missing are those of {', '.join(owners)}.",
        statements(*(statement("GRANT {} TO {}", name(owner), role) for owner in owners)),
        objects=[table.qualified for table in tables if table.owner in owners],
    )


@check(CHECKS, "source_readable", "The role may read all that is selected", side="source")
def readable(context: Context) -> Outcome:
    """P4."""
    catalog, server = context.selected.catalog, context.source
    schemas = [
        row["schema"]
        for row in server.rows(
            _UNUSABLE_SCHEMAS, {"schemas": [schema.name for schema in catalog.schemas], "privilege": "USAGE"}
        )
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


@check(CHECKS, "target_create_privilege", "The role may create schemas on the target", side="target")
def create_on_target(context: Context) -> Outcome:
    """P12. Before the database exists: may the role create it."""
    role, target = context.target.role, context.target_database
    dbname = context.migration.target.dbname
    if target is None:
        if role.is_superuser or role.can_create_databases:
            return passed(f"Database {dbname} will be created.")
        return failed(
            f"Database {dbname} does not exist, and role {role.name} may not create it.",
            statements(statement("ALTER ROLE {} CREATEDB", name(role.name)))
            + "\n-- or: "
            + statements(statement("CREATE DATABASE {} OWNER {}", name(dbname), name(role.name))),
            objects=[dbname],
        )
    if role.is_superuser or role.can_create_in_database:
        return passed()
    return failed(
        f"Role {role.name} has no CREATE on database {dbname}.",
        statements(statement("GRANT CREATE ON DATABASE {} TO {}", name(dbname), name(role.name))),
        objects=[dbname],
    )


@check(CHECKS, "target_schema_privilege", "The role may create objects in the target's schemas", side="target")
def create_in_schemas(context: Context) -> Outcome:
    """X19. From 15 on nobody but the database's owner may create in schema public of a new database."""
    if context.target_database is None:
        return passed("The database will be created.")
    wanted = [schema.name for schema in context.selected.catalog.schemas]
    rows = context.target_database.rows(_UNUSABLE_SCHEMAS, {"schemas": wanted, "privilege": "CREATE"})
    schemas = [row["schema"] for row in rows]
    if not schemas:
        return passed()
    role = name(context.target.role.name)
    return failed(
        "The role may not create tables in these schemas, which exist already.",
        statements(*(statement("GRANT USAGE, CREATE ON SCHEMA {} TO {}", name(schema), role) for schema in schemas)),
        objects=schemas,
    )


@check(CHECKS, "target_roles", "The roles of the selected objects can be made and used on the target", side="target")
def owners(context: Context) -> Outcome:
    """P12, P13, X1."""
    role = context.target.role
    if context.options.roles != "referenced" or role.is_superuser:
        return passed()
    catalog = context.selected.catalog
    used = {schema.owner for schema in catalog.schemas} | {table.owner for table in catalog.tables}
    used |= {sequence.owner for sequence in catalog.sequences}
    used |= {view.owner for view in catalog.materialized_views}
    wanted = sorted(owner for owner in used - {role.name} if not roles.is_reserved(owner))
    planned = roles.plan(context.source.session, context.target.session, context.selected.left_out)
    missing = [] if role.can_create_roles else [item.name for item in planned.create]
    privilege = "SET" if context.target.major >= 16 else "MEMBER"
    rows = context.target.rows(_ROLES, {"roles": wanted, "privilege": privilege})
    foreign = [row["role"] for row in rows if row["is_there"] and not row["can_be_set"]]
    if not missing and not foreign:
        return passed()
    me = name(role.name)
    return failed(
        f"Role {role.name} cannot make all roles that the selected objects refer to, or give objects to them: "
        + "; ".join(
            part
            for part in (
                f"missing, and it may not create roles: {', '.join(missing)}" if missing else "",
                f"present, but it is not a member: {', '.join(foreign)}" if foreign else "",
            )
            if part
        )
        + ".",
        statements(
            *(statement("CREATE ROLE {}", name(item)) for item in missing),
            *(statement("GRANT {} TO {}", name(item), me) for item in (*missing, *foreign)),
        )
        + "\n-- or leave owners out: roles: none",
        objects=[*missing, *foreign],
    )


@check(CHECKS, "target_owners", "Each owner may create in the schemas of its objects on the target", side="target")
def owners_in_schemas(context: Context) -> Outcome:
    """X1. Without superuser ALTER ... OWNER TO asks for that, and privileges are restored last."""
    role, left_out = context.target.role, context.selected.left_out
    source, target = context.source.session, context.target.session
    if role.is_superuser or roles.unusable(context.options.roles, source, target, left_out).roles:
        return passed()
    parameters = {
        "left_out": sorted(left_out),
        "schemas": [schema.name for schema in context.selected.catalog.schemas],
    }
    found = {(row["schema"], row["owner"]): row["example"] for row in source.rows(_OWNERS_IN_SCHEMAS, parameters)}
    pairs = [pair for pair in found if pair[1] != role.name]
    rows = target.rows(_MAY_CREATE, {"schemas": [pair[0] for pair in pairs], "owners": [pair[1] for pair in pairs]})
    lacking = [row for row in rows if not row["may_create"] or context.target_database is None]
    lacking.sort(key=lambda row: (row["schema"], row["owner"]))
    if not lacking:
        return passed()
    grants = [
        statement("GRANT CREATE ON SCHEMA {} TO {}", name(row["schema"]), name(row["owner"]))
        for row in lacking
        if row["is_there"]
    ]
    return failed(
        f"Role {role.name} is no superuser, so it can give objects only to owners that may create in their schema.",
        (statements(*grants) if grants else "Give these schemas to the owner of what is in them, on the source.")
        + "\n-- or leave owners out: roles: none",
        objects=[f"{row['schema']}.{found[row['schema'], row['owner']]} ({row['owner']})" for row in lacking],
    )
