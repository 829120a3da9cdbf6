# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the connecting role may do on the target: make things, and give them to their owners."""

from __future__ import annotations

from .. import role_making
from ..errors import MigrationError
from ..role_policy import is_predefined
from ..role_statements import create_role
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements, unknown
from .context import Context

CHECKS: list[Check] = []

# Schemas that exist already, in which we may not create.
_UNUSABLE_SCHEMAS = """
SELECT n.nspname AS schema
  FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
 ORDER BY n.nspname
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


# An owner that may not create in a schema is allowed to for a moment, by who may allow it.
_CLOSED = """
SELECT w.schema, w.owner
  FROM unnest(%(schemas)s::name[], %(owners)s::name[]) AS w(schema, owner)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = w.owner
 WHERE NOT coalesce(pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE'), false)
   AND NOT pg_catalog.pg_has_role(n.nspowner, 'USAGE')
   AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE WITH GRANT OPTION')
 ORDER BY w.schema, w.owner
"""

_PASSWORDS = (
    "Log in to the target with each of them before the cut-over.\n"
    "-- or set the passwords there anew: ALTER ROLE ... PASSWORD"
)

_IS_THERE = "SELECT 1 AS found FROM pg_catalog.pg_roles AS r WHERE r.rolname = %(name)s"


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
    """The roles that are to own something on the target, without our own."""
    return sorted({owner for _item, owner in context.handed_over if not is_predefined(owner)})


def _may_give(context: Context) -> str:
    """The kind of membership that ALTER ... OWNER TO asks for."""
    return "SET" if context.target.major >= 16 else "MEMBER"


@check(CHECKS, "role_options", "The options about roles name roles that there are", side="both")
def role_options(context: Context) -> Outcome:
    """The options ``roles`` and ``role_passwords``."""
    error = context.planned_roles
    if not isinstance(error, MigrationError):
        return passed()
    return failed(error.message, error.remedy, objects=error.details.get("roles", ()), code=error.code)


@check(CHECKS, "target_roles", "The roles of the selected objects can be made and used on the target", side="target")
def owners(context: Context) -> Outcome:
    """P12, P13, X1. What init makes it may use; what is there already is never changed for it."""
    role = context.target.role
    if context.options.roles == "none" or role.is_superuser:
        return passed()
    missing = [] if role.can_create_roles else list(context.role_plan.create)
    rows = context.target.rows(_ROLES, {"roles": _owners(context), "privilege": _may_give(context)})
    foreign = [row["role"] for row in rows if row["is_there"] and not row["can_be_set"]]
    if foreign:  # init lets itself use what it may grant
        own = role_making.grantable_to_ourselves(context.target.session, foreign)
        foreign = [item for item in foreign if item not in own]
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
                comment(f"or let one role own everything: owner: {role.name}"),
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
    plan = context.role_plan
    differences = plan.differences
    unsure = [item["object"].removeprefix("password of role ") for item in plan.unknown_passwords]
    if not differences and unsure:
        return unknown(
            "Roles of these names exist on the target. Whether their passwords are those of the source cannot be known, "
            "because not both servers show them (pg_authid); init changes none.",
            _PASSWORDS,
            objects=unsure,
        )
    if not differences:
        return passed()
    return failed(
        "Roles of these names exist on the target and differ; they are used as they are there.",
        "Change them there where it matters (ALTER ROLE, GRANT)."
        "\n-- or let another role stand for one, by a mapping: roles: {NAME: OTHER}",
        objects=[
            *(f"{item['object'].removeprefix('role ')}: {item['reason']}" for item in differences),
            *(f"{item['object']}: {item['reason']}" for item in plan.unknown_passwords),
        ],
    )


@check(
    CHECKS, "role_attributes", "Roles can be made on the target with all that they have", side="target",
    severity="warning",
)  # fmt: skip
def role_attributes(context: Context) -> Outcome:
    """P13, X6. init makes them without what is refused, and lists it under left."""
    plan = context.role_plan
    lost = [
        item
        for item in (*plan.left, *plan.expected)
        if "is not readable" not in item["reason"] and item not in plan.wider
    ]
    if not lost:
        return passed()
    return failed(
        "The target gives these roles less than they have on the source; init lists it under left.",
        "Give them on the target what they need, as its administrator, after init.",
        objects=[f"{item['object']}: {item['reason']}" for item in lost],
    )


@check(
    CHECKS, "wider_memberships", "No membership of a role gives more on the target than on the source", side="target",
    severity="warning",
)  # fmt: skip
def wider_memberships(context: Context) -> Outcome:
    """Before 16 every membership lets its member SET ROLE, and the member's own INHERIT decides about the rest."""
    found = context.role_plan.wider
    if not found:
        return passed()
    return failed(
        f"PostgreSQL {context.target.major} has no INHERIT FALSE and SET FALSE of memberships (16 and later do). Roles that "
        "init makes would get these all the same, with more rights than they have on the source.",
        "Migrate to 16 or later where that matters.\n-- or, on the source before init, where nobody needs it: REVOKE ROLE FROM "
        "MEMBER\n-- or let another role of the target stand for the member, by a mapping: roles: {MEMBER: OTHER}; roles that "
        "the target has already get no memberships",
        objects=[f"{item['object']}: {item['reason']}" for item in found],
    )


@check(CHECKS, "target_owner", "The role that is to own everything is on the target, or will be", side="target")
def sole_owner(context: Context) -> Outcome:
    """The option ``owner``."""
    owner = context.options.sole_owner
    if owner is None or owner in [role.name for role in context.role_plan.create]:
        return passed()
    if context.target.row(_IS_THERE, {"name": owner}) is not None:
        return passed()
    return failed(
        f"owner: {owner} is no role of the target, nor one that init makes there.",
        statements(
            statement("CREATE ROLE {}", name(owner)),
            *(
                [statement("GRANT {} TO {}", name(owner), name(context.target.role.name))]
                if not context.target.role.is_superuser
                else []
            ),
        ),
        objects=[owner],
    )


@check(CHECKS, "target_owner_rights", "The role acts with the rights of each owner on the target", side="target")
def owner_rights(context: Context) -> Outcome:
    """P8. What it has given to an owner it goes on filling and indexing; the subscription acts in its name, too."""
    role = context.target.role
    if role.is_superuser:
        return passed()
    rows = context.target.rows(_NOT_INHERITED, {"roles": _owners(context), "privilege": _may_give(context)})
    found = [row["role"] for row in rows]
    if context.target.major < 16 and not role.inherits_rights:
        # It will be made their member, and may then only SET ROLE.
        found += sorted({item.name for item in context.role_plan.create} & {*_owners(context)})
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


@check(CHECKS, "target_owners", "Each owner may be let into the schemas of its objects on the target", side="target")
def owners_in_schemas(context: Context) -> Outcome:
    """X1. Without superuser ALTER ... OWNER TO asks for CREATE, which init grants for a moment where it may."""
    role, database = context.target.role, context.target_database
    if role.is_superuser or database is None:
        return passed()
    pairs = sorted({(item.schema, owner) for item, owner in context.handed_over if item.schema is not None})
    rows = database.rows(_CLOSED, {"schemas": [pair[0] for pair in pairs], "owners": [pair[1] for pair in pairs]})
    if not rows:
        return passed()
    closed = {(row["schema"], row["owner"]) for row in rows}
    return failed(
        f"Role {role.name} is no superuser, so it can give objects only to owners that may create in their schema, and it "
        "may let these owners into none of these schemas, which are there already.",
        "-- on the target, as its administrator\n"
        + statements(
            *(statement("GRANT CREATE ON SCHEMA {} TO {}", name(row["schema"]), name(row["owner"])) for row in rows)
        )
        + f"\n-- or let everything belong to one role: owner: {role.name}",
        objects=sorted(
            f"{item.shown} ({owner})" for item, owner in context.handed_over if (item.schema, owner) in closed
        ),
    )
