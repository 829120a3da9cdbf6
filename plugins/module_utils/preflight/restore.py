# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the target refuses to a role without superuser while the schema is restored.

The schema is restored as a whole or not at all, so one refused statement stops init.
"""

from __future__ import annotations

from .. import event_triggers, languages
from ..driver import Row, sql
from .check import Check, Outcome, Severity, check, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# A cast by a function is made by the owner of one of its types. What PostgreSQL itself makes with a type (an array
# type, a range's constructors, which are "internal") is an internal part of it. 2281 is the type internal.
_SUPERUSER_OBJECTS = """
WITH own_type AS (
  SELECT t.oid
    FROM pg_catalog.pg_type AS t
   WHERE t.oid >= 16384
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                        AND d.objid = t.oid AND d.deptype = 'e')),
object(class, oid, namespace, why, library) AS (
  SELECT 'pg_cast', c.oid, NULL::oid, '', NULL::text
    FROM pg_catalog.pg_cast AS c
   WHERE c.castmethod = 'b' OR (c.castsource NOT IN (SELECT o.oid FROM own_type AS o)
                                AND c.casttarget NOT IN (SELECT o.oid FROM own_type AS o))
   UNION ALL
  SELECT 'pg_type', t.oid, t.typnamespace, 'a base type', NULL
    FROM pg_catalog.pg_type AS t
   WHERE (t.typtype = 'b' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type AS e WHERE e.typarray = t.oid))
      OR (t.typtype = 'p' AND NOT t.typisdefined)
   UNION ALL
  SELECT 'pg_am', a.oid, NULL, '', NULL FROM pg_catalog.pg_am AS a
   UNION ALL
  SELECT 'pg_opclass', o.oid, o.opcnamespace, '', NULL FROM pg_catalog.pg_opclass AS o
   UNION ALL
  SELECT 'pg_opfamily', f.oid, f.opfnamespace, '', NULL
    FROM pg_catalog.pg_opfamily AS f
   WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_opclass AS o WHERE o.opcfamily = f.oid)
   UNION ALL
  SELECT 'pg_ts_parser', p.oid, p.prsnamespace, '', NULL FROM pg_catalog.pg_ts_parser AS p
   UNION ALL
  SELECT 'pg_ts_template', t.oid, t.tmplnamespace, '', NULL FROM pg_catalog.pg_ts_template AS t
   UNION ALL
  SELECT 'pg_foreign_data_wrapper', w.oid, NULL, '', NULL FROM pg_catalog.pg_foreign_data_wrapper AS w
   UNION ALL
  SELECT 'pg_language', l.oid, NULL, '', NULL FROM pg_catalog.pg_language AS l
   UNION ALL
  SELECT 'pg_transform', t.oid, NULL, '', NULL
    FROM pg_catalog.pg_transform AS t
   WHERE t.trftype NOT IN (SELECT o.oid FROM own_type AS o)
   UNION ALL
  SELECT 'pg_proc', p.oid, p.pronamespace,
         CASE WHEN a.aggfnoid IS NOT NULL THEN 'state of type internal'
              WHEN NOT l.lanpltrusted THEN 'language ' || l.lanname
              WHEN p.proleakproof THEN 'LEAKPROOF' ELSE 'SUPPORT' END,
         CASE WHEN l.lanname = 'c' THEN p.probin END
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    LEFT JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = p.oid
   WHERE (NOT l.lanpltrusted AND a.aggfnoid IS NULL) OR p.proleakproof OR p.prosupport <> 0
      OR 2281 IN (a.aggtranstype, a.aggmtranstype))
SELECT k.oid::bigint AS classid, o.oid::bigint AS oid, o.why, o.library,
       pg_catalog.pg_describe_object(k.oid, o.oid, 0) AS shown,
       CASE WHEN o.class = 'pg_proc' THEN o.oid::pg_catalog.regprocedure::text END AS routine
  FROM object AS o
  JOIN pg_catalog.pg_class AS k
    ON k.relname = o.class AND k.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = o.namespace
 WHERE o.oid >= 16384 AND coalesce(n.nspname !~ '^pg_' AND n.nspname <> 'information_schema', true)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = k.oid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
 ORDER BY shown
"""

_SERVERS = """
SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass::bigint AS classid, s.oid::bigint AS oid,
       s.srvname AS name, w.fdwname AS wrapper
  FROM pg_catalog.pg_foreign_server AS s
  JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass
                      AND d.objid = s.oid AND d.deptype = 'e')
 ORDER BY s.srvname
"""

_CLOSED_WRAPPERS = """
SELECT w.fdwname AS name
  FROM pg_catalog.pg_foreign_data_wrapper AS w
 WHERE w.fdwname = ANY (%(names)s::name[]) AND NOT pg_catalog.has_foreign_data_wrapper_privilege(w.oid, 'USAGE')
 ORDER BY w.fdwname
"""

_DEFAULT_PRIVILEGES = """
SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass::bigint AS classid, d.oid::bigint AS oid, r.rolname AS role
  FROM pg_catalog.pg_default_acl AS d
  JOIN pg_catalog.pg_roles AS r ON r.oid = d.defaclrole
 ORDER BY r.rolname
"""

# The privileges of the role itself are what ALTER DEFAULT PRIVILEGES FOR ROLE asks for from 16 on.
_NOT_OURS = """
SELECT r.rolname AS name, r.rolsuper AS is_superuser
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(roles)s::name[]) AND NOT pg_catalog.pg_has_role(r.oid, %(privilege)s)
 ORDER BY r.rolname
"""


def _usual(context: Context) -> Severity | None:
    """None for the check's own severity, which PostgreSQL itself warrants; a provider may allow more."""
    return None if context.target.provider.is_self_hosted else "warning"


@check(CHECKS, "event_triggers", "Event triggers are treated as wanted, and the role may create them", side="target")
def event_trigger_policy(context: Context) -> Outcome:
    """O5, X8. Several providers let their administrators do it all the same."""
    policy = context.options.event_triggers
    found = event_triggers.read(context.source.rows(event_triggers.QUERY))
    names = [
        item.name for item in event_triggers.plan("copy", found, context.source.provider, context.left_behind).make
    ]
    if not names or policy == "skip":
        return passed("Left behind, as event_triggers says." if names else "")
    if policy == "fail":
        return failed(
            "The source has event triggers.",
            "Say what shall become of them: event_triggers: copy (disabled until the cut-over) or skip.",
            objects=names,
        )
    if context.target.role.is_superuser:
        return passed(f"{len(names)} are made on the target, and disabled until the cut-over.")
    return failed(
        f"Event triggers are for superusers to create, and {context.target.role.name} is none.",
        "event_triggers: skip leaves them behind; create them on the target at the cut-over, as its administrator, or migrate "
        "with a superuser of the target.\n-- or on the source\n"
        + statements(*(statement("DROP EVENT TRIGGER {}", name(item)) for item in names)),
        objects=names,
        severity=_usual(context),
    )


@check(CHECKS, "superuser_objects", "The role may create every object of the source on the target", side="target")
def superuser_objects(context: Context) -> Outcome:
    """X9. A superuser may, and has to have the libraries of functions in C."""
    rows = context.restored(context.source.rows(_SUPERUSER_OBJECTS))
    if context.target_database is not None:
        there = languages.skipped(languages.present(context.source.session, context.target_database.session))
        rows = [row for row in rows if (row["classid"], row["oid"]) not in there]
    role = context.target.role
    if role.is_superuser:
        libraries = [row for row in rows if row["library"]]
        if not libraries:
            return passed()
        return failed(
            "These functions are written in C and belong to no extension; nothing tells whether the target has their "
            "libraries before one of them is called.",
            "Install the libraries on the target's server: "
            + ", ".join(sorted({row["library"] for row in libraries}))
            + ".",
            objects=[row["shown"] for row in libraries],
            severity="warning",
        )
    if not rows:
        return passed()
    leakproof = [row["routine"] for row in rows if row["why"] == "LEAKPROOF"]
    others = any(row["why"] != "LEAKPROOF" for row in rows)
    remedies = []
    if leakproof:
        remedies.append("-- on the source")
        remedies.append(
            statements(*(statement("ALTER FUNCTION {} NOT LEAKPROOF", sql.SQL(item)) for item in leakproof))
        )
    if others:
        remedies.append(
            "-- Drop on the source what nothing needs, or make an extension of it that the target's administrator "
            "installs there."
        )
    remedies.append("-- or migrate with a superuser of the target")
    return failed(
        f"PostgreSQL lets only superusers create these, and {role.name} is none on the target.",
        "\n".join(remedies),
        objects=[f"{row['shown']} ({row['why']})" if row["why"] else row["shown"] for row in rows],
        severity=_usual(context),
    )


@check(
    CHECKS, "foreign_data_wrappers", "The role may use the foreign-data wrappers of its servers on the target",
    side="target",
)  # fmt: skip
def foreign_data_wrappers(context: Context) -> Outcome:
    """O4. A wrapper that the target does not have yet comes with its extension, see target_extension_rights."""
    servers = context.restored(context.source.rows(_SERVERS))
    if context.target.role.is_superuser or context.target_database is None:
        return passed()
    wrappers = sorted({row["wrapper"] for row in servers})
    closed = [row["name"] for row in context.target_database.rows(_CLOSED_WRAPPERS, {"names": wrappers})]
    if not closed:
        return passed()
    me = name(context.target.role.name)
    return failed(
        "CREATE SERVER needs USAGE on these foreign-data wrappers.",
        "-- on the target, as its administrator\n"
        + statements(*(statement("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}", name(item), me) for item in closed)),
        objects=[f"{row['name']} ({row['wrapper']})" for row in servers if row["wrapper"] in closed],
    )


@check(
    CHECKS, "default_privileges", "The role may act for those who have default privileges on the target",
    side="target", severity="warning",
)  # fmt: skip
def default_privileges(context: Context) -> Outcome:
    """O9, X7. What it may not give stays behind, and is named."""
    role = context.target.role
    if role.is_superuser:
        return passed()
    found: list[Row] = context.restored(context.source.rows(_DEFAULT_PRIVILEGES))
    wanted = {called for row in found if (called := context.names.of(row["role"])) is not None}
    privilege = "USAGE" if context.target.major >= 16 else "MEMBER"
    rows = context.target.rows(_NOT_OURS, {"roles": sorted(wanted), "privilege": privilege})
    if not rows:
        return passed()
    grants = [
        statement("GRANT {} TO {}", name(row["name"]), name(role.name)) for row in rows if not row["is_superuser"]
    ]
    superusers = [row["name"] for row in rows if row["is_superuser"]]  # nobody should have to be made one for this
    parts = ["-- on the target, as its administrator\n" + statements(*grants)] if grants else []
    if superusers:
        parts.append(comment(f"superusers, for whom only a superuser may do it: {', '.join(superusers)}"))
    return failed(
        f"ALTER DEFAULT PRIVILEGES FOR ROLE needs the rights of that role, and {role.name} has not those of "
        f"{', '.join(row['name'] for row in rows)}: their default privileges stay behind.",
        "\n".join(parts),
        objects=[row["name"] for row in rows],
    )
