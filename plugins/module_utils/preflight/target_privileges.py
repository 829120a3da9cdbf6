# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the connecting role may do on the target: make things, and give them to their owners."""

from __future__ import annotations

from .. import roles
from ..role_policy import is_predefined
from ..role_statements import create_role
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# Schemas that exist already, in which we may not create.
_UNUSABLE_SCHEMAS = """
SELECT n.nspname AS schema
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
 ORDER BY n.nspname
"""

# Owners that the catalog of tables does not show: of views, routines, types and the like. Members of extensions belong to
# whoever creates these, internal parts (a range type's constructors) come with their whole. The bootstrap superuser (10)
# is pinned, so dependencies do not tell what it owns. Before 15 schema public is its own by default; the target's keeps
# the owner that it has there.
_OTHER_OWNERS = """
SELECT o.classid::bigint AS classid, o.oid::bigint AS oid, r.rolname AS owner
  FROM (SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relowner, c.relnamespace
          FROM pg_catalog.pg_class AS c
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
         UNION ALL
        SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proowner, p.pronamespace
          FROM pg_catalog.pg_proc AS p
         UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner, t.typnamespace
          FROM pg_catalog.pg_type AS t
         WHERE t.typtype IN ('d', 'e', 'r')
         UNION ALL
        SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, n.nspowner, n.oid
          FROM pg_catalog.pg_namespace AS n
         WHERE n.nspname <> 'public' OR n.nspowner <> 10
         UNION ALL
        SELECT d.classid, d.objid, d.refobjid, NULL
          FROM pg_catalog.pg_shdepend AS d
          JOIN pg_catalog.pg_database AS b ON b.oid = d.dbid AND b.datname = pg_catalog.current_database()
         WHERE d.deptype = 'o' AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
           AND d.classid = ANY (ARRAY[
             'pg_catalog.pg_collation', 'pg_catalog.pg_conversion', 'pg_catalog.pg_foreign_data_wrapper',
             'pg_catalog.pg_foreign_server', 'pg_catalog.pg_opclass', 'pg_catalog.pg_operator',
             'pg_catalog.pg_opfamily', 'pg_catalog.pg_statistic_ext', 'pg_catalog.pg_ts_config',
             'pg_catalog.pg_ts_dict']::pg_catalog.regclass[])) AS o(classid, oid, owner, namespace)
  JOIN pg_catalog.pg_roles AS r ON r.oid = o.owner
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = o.namespace
 WHERE NOT r.rolname = ANY (%(known)s::name[]) AND NOT o.oid = ANY (%(left_out)s::oid[])
   AND coalesce(n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator'), true)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
"""

# SET is what ALTER ... OWNER TO needs from 16 on, membership before. To be allowed to grant the role is not enough.
_ROLES = """
SELECT w.role, r.oid IS NOT NULL AS is_there, coalesce(r.rolsuper, false) AS is_superuser,
       coalesce(pg_catalog.pg_has_role(current_user, r.oid, %(privilege)s), false) AS can_be_set
  FROM unnest(%(roles)s::name[]) AS w(role)
  LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = w.role
 ORDER BY w.role
"""

# Roles that we may give objects to, and whose rights we have only after SET ROLE.
_NOT_INHERITED = """
SELECT r.rolname AS role
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(roles)s::name[])
   AND pg_catalog.pg_has_role(current_user, r.oid, %(privilege)s)
   AND NOT pg_catalog.pg_has_role(current_user, r.oid, 'USAGE')
 ORDER BY r.rolname
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
    rows = context.target_database.rows(_UNUSABLE_SCHEMAS, {"schemas": wanted})
    schemas = [row["schema"] for row in rows]
    if not schemas:
        return passed()
    role = name(context.target.role.name)
    return failed(
        "The role may not create tables in these schemas, which exist already.",
        statements(*(statement("GRANT USAGE, CREATE ON SCHEMA {} TO {}", name(schema), role) for schema in schemas)),
        objects=schemas,
    )


def _owners(context: Context) -> list[str]:
    """The roles that are to own something on the target, by the names that they have there, without our own."""
    catalog = context.selected.catalog
    used = {table.owner for table in catalog.tables}
    used |= {sequence.owner for sequence in catalog.sequences}
    used |= {view.owner for view in catalog.materialized_views}
    known = {"known": [*used, context.target.role.name], "left_out": sorted(context.selected.left_out)}
    used |= {row["owner"] for row in context.restored(context.source.rows(_OTHER_OWNERS, known))}
    called = {context.role_plan.names.owner_of(owner) for owner in used}
    return sorted(owner for owner in called - {context.target.role.name} if not is_predefined(owner))


def _may_give(context: Context) -> str:
    """The kind of membership that ALTER ... OWNER TO asks for."""
    return "SET" if context.target.major >= 16 else "MEMBER"


@check(CHECKS, "target_roles", "The roles of the selected objects can be made and used on the target", side="target")
def owners(context: Context) -> Outcome:
    """P12, P13, X1. What init makes it may use; what is there already is never changed for it."""
    role = context.target.role
    if context.options.roles == "none" or role.is_superuser:
        return passed()
    missing = [] if role.can_create_roles else list(context.role_plan.create)
    rows = context.target.rows(_ROLES, {"roles": _owners(context), "privilege": _may_give(context)})
    foreign = [row["role"] for row in rows if row["is_there"] and not row["can_be_set"]]
    if not missing and not foreign:
        return passed()
    me = name(role.name)
    superusers = [row["role"] for row in rows if row["is_superuser"] and row["role"] in foreign]
    if missing and context.target.major >= 16:
        making = [statement("ALTER ROLE {} CREATEROLE", me)]
    else:  # what is there is never changed, so it needs its attributes
        making = [create_role(item, with_password=False) for item in missing]
        making += [statement("GRANT {} TO {}", name(item.name), me) for item in missing]
    grants = [
        *making,
        *(statement("GRANT {} TO {}", name(item), me) for item in foreign if item not in superusers),
    ]
    parts = [statements(*grants)] if grants else []
    if superusers:  # nobody should have to be made a superuser for this
        of_superusers = (
            f"superusers there, so give what they own to another role on the source: {', '.join(superusers)}"
        )
        parts.append(comment(of_superusers))
    names = [item.name for item in missing]
    return failed(
        f"Role {role.name} cannot make all roles that the selected objects refer to, or give objects to them: "
        + "; ".join(
            part
            for part in (
                f"missing, and it may not create them: {', '.join(names)}" if names else "",
                f"present, but it is not a member: {', '.join(foreign)}" if foreign else "",
            )
            if part
        )
        + ".",
        "\n".join(
            [
                *parts,
                comment(f"or let {role.name} own what is theirs, by a mapping: roles: {{NAME: null}}"),
                "-- or leave owners out: roles: none",
            ]
        ),
        objects=[*names, *foreign],
    )


@check(
    CHECKS, "existing_roles", "Roles that the target has already are like those of the source", side="target",
    severity="warning",
)  # fmt: skip
def existing_roles(context: Context) -> Outcome:
    """O8. init never changes them, and lists what is different under left."""
    differences = context.role_plan.differences
    if not differences:
        return passed()
    return failed(
        "Roles of these names exist on the target and differ; they are used as they are there.",
        "Change them there where it matters (ALTER ROLE, GRANT)."
        "\n-- or let another role stand for one, by a mapping: roles: {NAME: OTHER}",
        objects=[f"{item['object'].removeprefix('role ')}: {item['reason']}" for item in differences],
    )


@check(
    CHECKS, "role_attributes", "Roles can be made on the target with all that they have", side="target",
    severity="warning",
)  # fmt: skip
def role_attributes(context: Context) -> Outcome:
    """P13, X6. init makes them without what is refused, and lists it under left."""
    plan = context.role_plan
    lost = [item for item in (*plan.left, *plan.expected) if "without a password" not in item["reason"]]
    if not lost:
        return passed()
    return failed(
        "The target gives these roles less than they have on the source; init lists it under left.",
        "Give them on the target what they need, as its administrator, after init.",
        objects=[f"{item['object']}: {item['reason']}" for item in lost],
    )


@check(CHECKS, "target_owner_rights", "The role acts with the rights of each owner on the target", side="target")
def owner_rights(context: Context) -> Outcome:
    """P8. What it has given to an owner it goes on filling and indexing; the subscription acts in its name, too."""
    role = context.target.role
    if role.is_superuser or context.unusable_roles.roles:
        return passed()
    rows = context.target.rows(_NOT_INHERITED, {"roles": _owners(context), "privilege": _may_give(context)})
    found = [row["role"] for row in rows]
    if not found:
        return passed()
    me = name(role.name)
    if context.target.major >= 16:
        remedy = statements(
            *(statement("GRANT {} TO {} WITH INHERIT TRUE, SET TRUE", name(item), me) for item in found)
        )
    else:
        remedy = statements(statement("ALTER ROLE {} INHERIT", me))
    return failed(
        f"Role {role.name} is a member of these owners but does not inherit their rights: it could give them tables, and "
        "then neither fill them nor replicate into them.",
        remedy,
        objects=found,
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
    if context.target_database is None:
        # init gives the new database its owner before the objects; before 15 everybody may create in its public.
        pairs = [
            (schema, owner)
            for schema, owner in pairs
            if schema != "public" or (context.target.major >= 15 and owner != context.catalog.database.owner)
        ]
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
