# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The check of privileges that were changed on what PostgreSQL itself or an extension brought.

pg_dump repeats them on the target, where another role owns these objects, and a newer version may have them no more.
"""

from __future__ import annotations

from ..driver import Row, sql
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# What pg_dump compares: the privileges now, and those that initdb or the extension's script has left (pg_init_privs).
# It leaves information_schema out.
_CHANGED = """
WITH object(classid, oid, kind, namespace, name, arguments, acl, usual) AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
         c.relnamespace, c.relname, NULL, c.relacl,
         pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
    FROM pg_catalog.pg_class AS c
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   UNION ALL
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, 'ROUTINE', p.pronamespace, p.proname,
         pg_catalog.oidvectortypes(p.proargtypes), p.proacl, pg_catalog.acldefault('f', p.proowner)
    FROM pg_catalog.pg_proc AS p
   UNION ALL
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid, 'SCHEMA', NULL, n.nspname, NULL, n.nspacl,
         pg_catalog.acldefault('n', n.nspowner)
    FROM pg_catalog.pg_namespace AS n
   UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, w.oid, 'FOREIGN DATA WRAPPER', NULL, w.fdwname,
         NULL, w.fdwacl, pg_catalog.acldefault('F', w.fdwowner)
    FROM pg_catalog.pg_foreign_data_wrapper AS w),
changed AS (
  SELECT o.*, coalesce(o.acl, o.usual) AS now, coalesce(i.initprivs, o.usual) AS initial, e.extname AS extension
    FROM object AS o
    LEFT JOIN pg_catalog.pg_init_privs AS i ON i.classoid = o.classid AND i.objoid = o.oid AND i.objsubid = 0
    LEFT JOIN pg_catalog.pg_depend AS d
      ON d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e'
     AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
    LEFT JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
   WHERE o.acl IS DISTINCT FROM i.initprivs
     AND (e.oid IS NOT NULL OR o.namespace = 'pg_catalog'::pg_catalog.regnamespace OR o.name = 'pg_catalog')),
difference AS (
  SELECT c.oid, c.classid, x.grantee, x.privilege_type, false AS is_missing
    FROM changed AS c CROSS JOIN LATERAL pg_catalog.aclexplode(c.now) AS x
   WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(c.initial) AS y
                      WHERE y.grantee = x.grantee AND y.privilege_type = x.privilege_type)
   UNION ALL
  SELECT c.oid, c.classid, x.grantee, x.privilege_type, true
    FROM changed AS c CROSS JOIN LATERAL pg_catalog.aclexplode(c.initial) AS x
   WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.aclexplode(c.now) AS y
                      WHERE y.grantee = x.grantee AND y.privilege_type = x.privilege_type))
SELECT c.classid::bigint AS classid, c.oid::bigint AS oid, c.kind, n.nspname AS schema, c.name, c.arguments,
       c.extension, f.privilege_type AS privilege, f.is_missing,
       CASE WHEN f.grantee <> 0 THEN pg_catalog.pg_get_userbyid(f.grantee) END AS grantee,
       EXISTS (SELECT 1 FROM pg_catalog.aclexplode(c.initial) AS x WHERE x.grantee = 0) AS is_open
  FROM difference AS f
  JOIN changed AS c ON c.classid = f.classid AND c.oid = f.oid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.namespace
 WHERE f.grantee = 0 OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS r WHERE r.oid = f.grantee)
 ORDER BY n.nspname, c.name, c.oid, f.is_missing, f.grantee, f.privilege_type
"""

# Whoever has some privilege on an object is answered with a warning when he grants what he may not, else with an error.
_THERE = """
WITH wanted AS (
  SELECT * FROM unnest(%(kinds)s::text[], %(schemas)s::name[], %(names)s::name[], %(arguments)s::text[])
             AS w(kind, schema, name, arguments))
SELECT w.kind, w.schema, w.name, w.arguments, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS is_ours,
       CASE c.relkind
         WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'USAGE, SELECT, UPDATE')
         ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
       END AS is_known
  FROM wanted AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
 WHERE w.kind IN ('TABLE', 'SEQUENCE')
 UNION ALL
SELECT w.kind, w.schema, w.name, w.arguments, pg_catalog.pg_has_role(p.proowner, 'USAGE'),
       pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
  FROM wanted AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid AND p.proname = w.name
 WHERE w.kind = 'ROUTINE' AND pg_catalog.oidvectortypes(p.proargtypes) = w.arguments
 UNION ALL
SELECT w.kind, w.schema, w.name, w.arguments, pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE, CREATE')
  FROM wanted AS w
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.name
 WHERE w.kind = 'SCHEMA'
 UNION ALL
SELECT w.kind, w.schema, w.name, w.arguments, pg_catalog.pg_has_role(f.fdwowner, 'USAGE'),
       pg_catalog.has_foreign_data_wrapper_privilege(f.oid, 'USAGE')
  FROM wanted AS w
  JOIN pg_catalog.pg_foreign_data_wrapper AS f ON f.fdwname = w.name
 WHERE w.kind = 'FOREIGN DATA WRAPPER'
"""

_INSTALLED = "SELECT e.extname AS name FROM pg_catalog.pg_extension AS e"


def _key(row: Row) -> tuple[str | None, ...]:
    return row["kind"], row["schema"], row["name"], row["arguments"]


def _shown(row: Row) -> str:
    qualified = f"{row['schema']}.{row['name']}" if row["schema"] else row["name"]
    return f"{row['kind'].lower()} {qualified}" + ("" if row["arguments"] is None else f"({row['arguments']})")


def _undo(row: Row) -> sql.Composed:
    """Return the statement that gives the object back a privilege that it had at first, or takes one away."""
    target = sql.Identifier(*(part for part in (row["schema"], row["name"]) if part))
    arguments = sql.SQL("" if row["arguments"] is None else f"({row['arguments']})")
    grantee = sql.SQL("PUBLIC") if row["grantee"] is None else name(row["grantee"])
    template = "GRANT {} ON {} {}{} TO {}" if row["is_missing"] else "REVOKE {} ON {} {}{} FROM {}"
    return statement(template, sql.SQL(row["privilege"]), sql.SQL(row["kind"]), target, arguments, grantee)


@check(
    CHECKS, "system_privileges", "Privileges on objects of PostgreSQL and of extensions can be repeated on the target",
    side="target",
)  # fmt: skip
def system_privileges(context: Context) -> Outcome:
    """X18."""
    if context.unusable_roles.roles:
        return passed("Owners and privileges stay behind, as roles says.")
    rows = context.restored(context.source.rows(_CHANGED))
    if not rows:
        return passed()
    objects = {_key(row): row for row in rows}
    asked = list(zip(*objects, strict=True))
    parameters = dict(zip(("kinds", "schemas", "names", "arguments"), map(list, asked), strict=True))
    there = {_key(row): row for row in context.target.rows(_THERE, parameters)}
    installed: set[str] = set()
    if context.target_database is not None:
        installed = {row["name"] for row in context.target_database.rows(_INSTALLED)}
    is_superuser = context.target.role.is_superuser
    gone, refused, lost = [], [], []
    for key, row in objects.items():
        found = there.get(key)
        comes = row["extension"] is not None and row["extension"] not in installed
        if found is None and not comes:
            gone.append(key)
        elif is_superuser or (found is not None and found["is_ours"]):
            continue
        elif found["is_known"] if found is not None else row["is_open"]:
            lost.append(key)
        else:
            refused.append(key)
    bad = gone or refused or lost
    if not bad:
        return passed("They will be repeated on the target.")
    bad = [*gone, *refused, *lost]
    said = []
    if gone:
        said.append("init would stop, because the target does not know: " + ", ".join(map(_shown, _of(objects, gone))))
    if refused:
        said.append(
            "init would stop, because the role may grant nothing on: " + ", ".join(map(_shown, _of(objects, refused)))
        )
    if lost:
        said.append("lost without an error, on: " + ", ".join(map(_shown, _of(objects, lost))))
    return failed(
        "Privileges were changed on objects that do not belong to a user, and pg_dump repeats that on the target; "
        + "; ".join(said)
        + ".",
        "-- on the source, back to how they were; grant on the target by hand what is needed there\n"
        + statements(*(_undo(row) for row in rows if _key(row) in bad)),
        objects=[_shown(objects[key]) for key in bad],
        severity=None if gone or refused else "warning",
    )


def _of(objects: dict[tuple[str | None, ...], Row], keys: list[tuple[str | None, ...]]) -> list[Row]:
    return [objects[key] for key in keys]
