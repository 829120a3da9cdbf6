# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the source's objects that replication does not carry, or that behave in their own way during it."""

from __future__ import annotations

from .. import register
from ..catalog import OWN_SCHEMA
from ..driver import sql
from ..ledger import TABLE_NAMES
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# tgenabled and ev_enabled: A fires always, R in replicas only; both fire while changes are applied.
_FIRING = """
SELECT n.nspname AS schema, c.relname AS table, g.tgname AS name, 'TRIGGER' AS kind
  FROM pg_catalog.pg_trigger AS g
  JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE g.tgrelid = ANY (%(oids)s::oid[]) AND NOT g.tgisinternal AND g.tgenabled IN ('A', 'R')
 UNION ALL
SELECT n.nspname, c.relname, r.rulename, 'RULE'
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE r.ev_class = ANY (%(oids)s::oid[]) AND r.ev_enabled IN ('A', 'R')
 ORDER BY 1, 2, 3
"""

_FORCED_ROW_SECURITY = """
SELECT n.nspname AS schema, c.relname AS name, r.rolname AS owner, r.rolbypassrls AS is_exempt
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
 WHERE c.oid = ANY (%(oids)s::oid[]) AND c.relrowsecurity AND c.relforcerowsecurity
 ORDER BY n.nspname, c.relname
"""
_EXEMPT = """
SELECT r.rolname AS name, r.rolbypassrls OR r.rolsuper AS is_exempt
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(names)s)
"""

# Readable is what we own, or what a grant to us, to one of our roles or to everyone opens.
_UNREADABLE_LARGE_OBJECTS = """
SELECT m.oid::bigint AS oid
  FROM pg_catalog.pg_largeobject_metadata AS m
 WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(m.lomacl) AS a
                    WHERE a.privilege_type = 'SELECT'
                      AND CASE a.grantee WHEN 0 THEN true ELSE pg_catalog.pg_has_role(a.grantee, 'USAGE') END)
 ORDER BY m.oid
 LIMIT 20
"""

_FIRST_LARGE_OBJECTS = (
    "SELECT m.oid::bigint AS oid FROM pg_catalog.pg_largeobject_metadata AS m ORDER BY m.oid LIMIT 20"
)


# Markers of migrations from here, and the ledger of migrations to here, are ours.
_STRANGERS = """
SELECT c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND c.relname !~ '^marker_[0-9a-f]{12}_[0-9]+$' AND c.relname <> ALL (%(ours)s)
 ORDER BY c.relname
"""


@check(CHECKS, "own_schema", "The schema that migrations use for themselves holds nothing else", side="source")
def own_schema(context: Context) -> Outcome:
    """What is in it never travels."""
    chosen = context.migration.selection
    if chosen.schemas or chosen.tables:
        return passed("The selection names what takes part.")
    rows = context.source.rows(_STRANGERS, {"schema": OWN_SCHEMA, "ours": [*TABLE_NAMES, register.TABLE]})
    if not rows:
        return passed()
    return failed(
        f"Migrations keep their own tables in the schema {OWN_SCHEMA} and never copy it, so these would stay behind.",
        statements(statement("ALTER SCHEMA {} RENAME TO my_schema", name(OWN_SCHEMA)))
        + " -- or leave this check out with skip_checks when they may stay",
        objects=[f"{OWN_SCHEMA}.{row['name']}" for row in rows],
    )


@check(CHECKS, "large_objects", "Large objects are treated as wanted", side="source")
def large_objects(context: Context) -> Outcome:
    """O1."""
    count = context.catalog.database.large_objects
    if count == 0:
        return passed("There are none.")
    policy = context.options.large_objects
    if policy == "fail":
        return failed(
            f"The database holds {count} large objects, which logical replication never carries.",
            "Say what shall become of them: large_objects: copy (once, as they are at the time of the copy) or skip.",
            objects=[str(row["oid"]) for row in context.source.rows(_FIRST_LARGE_OBJECTS)],
        )
    hidden = context.source.rows(_UNREADABLE_LARGE_OBJECTS) if policy == "copy" else []
    if hidden:
        return failed(
            f"Role {context.source.role.name} may not read all of the {count} large objects.",
            statements(
                *(
                    statement(
                        "GRANT SELECT ON LARGE OBJECT {} TO {}", sql.Literal(row["oid"]), name(context.source.role.name)
                    )
                    for row in hidden
                )
            )
            + "\n-- or large_objects: skip",
            objects=[str(row["oid"]) for row in hidden],
        )
    return passed(
        f"{count} large objects: {'copied once' if policy == 'copy' else 'left behind'}, as large_objects says."
    )


@check(CHECKS, "unlogged_tables", "Unlogged tables are treated as wanted", side="source")
def unlogged_tables(context: Context) -> Outcome:
    """R6."""
    tables = context.selected.unlogged_tables
    policy = context.options.unlogged_tables
    if not tables or policy == "skip":
        return passed("Created empty, as unlogged_tables says." if tables else "There are none.")
    names = [table.qualified for table in tables]
    logged = statements(*(statement("ALTER TABLE {} SET LOGGED", name(t.schema, t.name)) for t in tables))
    if policy == "fail":
        return failed(
            "Unlogged tables are selected, whose changes are never replicated.",
            f"{logged}\n-- or unlogged_tables: copy (once) or skip",
            objects=names,
        )
    return failed(
        "These tables are copied once; what is written to them afterwards is not replicated, because they are unlogged.",
        f"{logged}\n-- or unlogged_tables: skip",
        objects=names,
        severity="warning",
    )


@check(CHECKS, "foreign_tables", "Foreign tables are treated as wanted", side="source")
def foreign_tables(context: Context) -> Outcome:
    """O4. Their rows live elsewhere and stay there."""
    tables = [table.qualified for table in context.selected.catalog.tables if table.kind == "f"]
    if not tables:
        return passed("There are none.")
    if context.options.foreign_tables == "fail":
        return failed(
            "Foreign tables are selected; only their definitions can be moved, without the secrets of user mappings.",
            "Say what shall become of them: foreign_tables: create or skip.",
            objects=tables,
        )
    foreign = {table.oid for table in context.selected.catalog.tables if table.kind == "f"}
    readers = [
        view.qualified
        for view in context.selected.catalog.materialized_views
        if view.is_populated and foreign & set(view.reads_tables)
    ]
    if readers and context.options.foreign_tables == "create":
        return failed(
            "These materialized views read foreign tables. User mappings are not migrated, because they hold secrets, "
            "so the views stay empty on the target; init lists them under left.",
            "After init create the user mappings on the target and refresh the views; or foreign_tables: skip.",
            objects=readers,
            severity="warning",
        )
    return passed(f"{len(tables)} foreign tables, as foreign_tables says: {context.options.foreign_tables}.")


@check(
    CHECKS,
    "partitions",
    "Partitions are published through their root",
    side="source",
    severity="info",
    versions=(12, 12),
)
def partitions(context: Context) -> Outcome:
    """R7. Only 12 lacks it."""
    roots = [
        table.qualified for table in context.selected.catalog.tables if table.kind == "p" and not table.is_partition
    ]
    if not roots:
        return passed()
    return failed(
        "PostgreSQL 12 cannot publish a partitioned table, so its partitions are published one by one: one that is "
        "created later is not replicated.",
        "Create the partitions of the coming days in advance.",
        objects=roots,
    )


@check(
    CHECKS,
    "always_triggers",
    "No trigger or rule fires while changes are applied",
    side="source",
    severity="info",
)
def always_triggers(context: Context) -> Outcome:
    """O6. ENABLE ALWAYS and ENABLE REPLICA fire in the subscription's worker, so their effects would be doubled."""
    oids = [table.oid for table in context.selected.data_tables]
    rows = context.source.rows(_FIRING, {"oids": oids})
    if not rows:
        return passed()
    return failed(
        "These would fire on the target too, for rows on which they have already acted on the source.",
        "Nothing to do: init disables them on the target, and lists them under left. Enable them at the cut-over.",
        objects=[f"{row['schema']}.{row['table']}: {row['kind'].lower()} {row['name']}" for row in rows],
    )


@check(
    CHECKS,
    "foreign_keys_outside",
    "No foreign key leads out of the selection",
    side="source",
    severity="warning",
)
def foreign_keys_outside(context: Context) -> Outcome:
    """R10."""
    inside = context.selected.catalog.by_oid
    by_oid = context.catalog.by_oid
    found = [
        key
        for key in context.catalog.foreign_keys
        if key.table in inside and key.referenced not in inside and key.parent == 0
    ]
    if not found:
        return passed()
    return failed(
        "The referenced tables stay behind, so these foreign keys cannot be created on the target.",
        "Select the referenced tables too, or do without these foreign keys.",
        objects=[
            f"{inside[key.table].qualified}: {key.name}"
            + (f" -> {by_oid[key.referenced].qualified}" if key.referenced in by_oid else "")
            for key in found
        ],
    )


@check(
    CHECKS,
    "target_row_security",
    "Row security will not stop the apply on the target",
    side="target",
    severity="warning",
)
def forced_row_security(context: Context) -> Outcome:
    """F13. From 16 on the worker acts as the table's owner, before as the subscription's, which are we."""
    role = context.target.role
    oids = [table.oid for table in context.selected.data_tables]
    rows = context.source.rows(_FORCED_ROW_SECURITY, {"oids": oids})
    if not rows:
        return passed()
    is_ours = context.target.major < 16 or not any(item.kind == "TABLE" for item, _owner in context.handed_over)
    if is_ours:
        stopped = [] if role.is_superuser or role.bypasses_row_security else rows
        exempted, later = [role.name], []
    else:
        owners = {row["owner"]: context.names.owner_of(row["owner"]) for row in rows}
        there = {
            row["name"]: row["is_exempt"]
            for row in context.target.rows(_EXEMPT, {"names": sorted(set(owners.values()))})
        }
        # Only a superuser gives BYPASSRLS to a role that it makes, and nobody is made a superuser.
        stopped = [row for row in rows if not there.get(owners[row["owner"]], row["is_exempt"] and role.is_superuser)]
        exempted = sorted({owners[row["owner"]] for row in stopped})
        later = [item for item in exempted if item not in there]
    if not stopped:
        return passed()
    return failed(
        "Row security is forced on these tables, and the first change to one of them stops replication, unless the role "
        f"that applies it bypasses row security: {', '.join(exempted)}.",
        "\n".join(
            [
                "-- on the target",
                *(_bypass(item) for item in exempted if item not in later),
                *(comment(f"between init and sync, when the role is there: {_bypass(item)}") for item in later),
            ]
        )
        + "\n-- or on the source, until the cut-over\n"
        + statements(
            *(
                statement("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", name(row["schema"], row["name"]))
                for row in stopped
            )
        ),
        objects=[f"{row['schema']}.{row['name']}" for row in stopped],
    )


@check(
    CHECKS,
    "target_hidden_rows",
    "verify will see all rows on the target",
    side="target",
    severity="warning",
)
def hidden_rows(context: Context) -> Outcome:
    """F13. Forced row security holds for the owner as well; verify calls a table unverified whose rows it may not see."""
    role = context.target.role
    if role.is_superuser or role.bypasses_row_security:
        return passed()
    oids = [table.oid for table in (*context.selected.data_tables, *context.selected.unlogged_tables)]
    rows = context.source.rows(_FORCED_ROW_SECURITY, {"oids": oids})
    if not rows:
        return passed()
    return failed(
        f"Row security is forced on these tables, and role {role.name} does not bypass it on the target, so verify will end "
        "unverified for them.",
        "-- on the target, as its administrator\n"
        + _bypass(role.name)
        + "\n-- or run verify with a role of the target that has BYPASSRLS",
        objects=[f"{row['schema']}.{row['name']}" for row in rows],
    )


def _bypass(role: str) -> str:
    return statements(statement("ALTER ROLE {} BYPASSRLS", name(role)))
