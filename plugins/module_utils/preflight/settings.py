# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of settings that the database, its roles and its functions carry, and of the roles' passwords."""

from __future__ import annotations

from collections.abc import Iterable

from .. import database_properties, database_settings
from ..driver import sql
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements, unknown
from .context import Context

CHECKS: list[Check] = []

_OF_FUNCTIONS = """
SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::bigint AS classid, p.oid::bigint AS oid,
       p.oid::pg_catalog.regprocedure::text AS routine, pg_catalog.split_part(c.entry, '=', 1) AS setting
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 CROSS JOIN LATERAL pg_catalog.unnest(p.proconfig) AS c(entry)
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                      AND d.deptype = 'e')
 ORDER BY 3, 4
"""

_KNOWN = """
SELECT w.name, s.context, {} AS may_set
  FROM unnest(%(names)s::text[]) AS w(name)
  LEFT JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = pg_catalog.lower(w.name)
"""
# GRANT SET ON PARAMETER exists from 15 on.
_MAY_SET = {True: "pg_catalog.has_parameter_privilege(w.name, 'SET')", False: "false"}


def unsettable(context: Context, names: Iterable[str]) -> dict[str, bool]:
    """Return which settings the role may not give a value on the target: True where it exists there, but not for it.

    A name with a dot that the server does not know is a placeholder, which only a superuser may give to others.
    """
    wanted = sorted(set(names))
    query = _KNOWN.format(_MAY_SET[context.target.major >= 15])
    found = {}
    for row in context.target.rows(query, {"names": wanted}) if wanted else []:
        is_placeholder = row["context"] is None and "." in row["name"]
        if row["context"] is None and not is_placeholder:
            found[row["name"]] = False
        elif (
            (is_placeholder or row["context"] not in ("user", "backend"))
            and not row["may_set"]
            and not context.target.role.is_superuser
        ):
            found[row["name"]] = True
    return found


def _grants(context: Context, names: Iterable[str]) -> str:
    me = name(context.target.role.name)
    parts = [sql.SQL(".").join(sql.Identifier(part) for part in item.split(".")) for item in sorted(names)]
    return statements(*(statement("GRANT SET ON PARAMETER {} TO {}", part, me) for part in parts))


@check(CHECKS, "function_settings", "The settings of functions can be given on the target", side="target")
def function_settings(context: Context) -> Outcome:
    """X10. CREATE FUNCTION ... SET refuses what the target does not know or its role may not set."""
    rows = context.restored(context.source.rows(_OF_FUNCTIONS))
    bad = unsettable(context, (row["setting"] for row in rows))
    if not bad:
        return passed()
    refused = [item for item, exists in bad.items() if exists]
    if refused == list(bad) and context.target.major >= 15:
        remedy = "-- on the target, as its administrator\n" + _grants(context, refused)
        remedy += "\n-- or take the settings off the functions on the source: ALTER ROUTINE ... RESET"
    else:
        remedy = "-- on the source\n" + statements(
            *(
                statement("ALTER ROUTINE {} RESET {}", sql.SQL(row["routine"]), _qualified(row["setting"]))
                for row in rows
                if row["setting"] in bad
            )
        )
    return failed(
        "These functions carry settings that the target does not know, or that the role may not give there.",
        remedy,
        objects=[f"{row['routine']}: {row['setting']}" for row in rows if row["setting"] in bad],
    )


def _qualified(setting: str) -> sql.Composed:
    return sql.SQL(".").join(sql.Identifier(part) for part in setting.split("."))


@check(
    CHECKS, "role_settings", "The settings of new roles can be given on the target", side="target", severity="warning"
)  # fmt: skip
def role_settings(context: Context) -> Outcome:
    """O8, X6. init makes the roles without what is refused, and lists it under left."""
    planned = context.role_plan.settings
    bad = unsettable(context, (item.name for item in planned))
    if not bad:
        return passed()
    lines = []
    refused = [item for item, exists in bad.items() if exists]
    if refused and context.target.major >= 15:
        lines += ["-- on the target, as its administrator", _grants(context, refused)]
    if len(refused) < len(bad) or not lines:
        lines.append("-- init leaves them behind and lists them under left; set what is needed by hand")
    return failed(
        "These roles will be made without some of their settings, which the target does not know or refuses to the role.",
        "\n".join(lines),
        objects=[f"{item.role}: {item.name}" for item in planned if item.name in bad],
    )


@check(
    CHECKS, "database_settings", "Every setting of the source database can be given to the target's", side="target",
    severity="warning",
)  # fmt: skip
def settings_of_database(context: Context) -> Outcome:
    """O8. init carries over what it may, lists the rest under left, and gives nothing that would hinder itself."""
    wanted = database_properties.Properties.of(context.source.rows(database_properties.QUERY)[0])
    there = database_properties.Properties.of(context.target.rows(database_properties.QUERY)[0])
    if context.target_database is None:
        there = database_properties.new(context.migration.target.dbname, there)
    planned = database_settings.plan(wanted.settings, there.settings, there.access_methods)
    refused = unsettable(context, (item.name for item in planned.give))
    if not there.is_ours:
        refused = {item.name: True for item in planned.give}
    if not planned.left and not refused:
        return passed(f"{len(planned.give)} settings are carried over." if planned.give else "")
    reasons = [f"{item['object']}: {item['reason']}" for item in planned.left]
    target = name(context.migration.target.dbname)
    change = "ALTER DATABASE {} SET {} TO :'value'"
    lines = []
    if not there.is_ours:
        lines += [comment(f"on the target, as {there.owner}, who owns the database")]
    elif refused:
        lines += ["-- on the target, as its administrator; what it does not know stays behind"]
    lines += [statements(statement(change, target, _qualified(item))) for item, exists in refused.items() if exists]
    lines += [comment("init lists what it does not set under left, with what to do at the cut-over")]
    return failed(
        " ".join(
            [
                "These settings of the database itself will not be on the target before somebody sets them.",
                *(f"{reason}." for reason in reasons),
                *(f"setting {item}: the role may not give it, or the target does not know it." for item in refused),
            ]
        ),
        "\n".join(lines),
        objects=[
            *(item.name for item in wanted.settings if item.what in {e["object"] for e in planned.left}),
            *refused,
        ],
    )


@check(
    CHECKS, "password_hashes", "New roles will be able to log in with their passwords", side="source",
    severity="warning",
)  # fmt: skip
def password_hashes(context: Context) -> Outcome:
    """V6, P9. An md5 hash travels as it is, but a target that asks for SCRAM (pg_hba.conf) cannot use it."""
    created = context.role_plan.create
    if not any(item.login for item in created):
        return passed()
    if context.role_plan.without_password:
        return unknown(
            "The passwords of the source's roles cannot be read, so init makes these roles without one.",
            "Give them to init with role_passwords, or on the target before the cut-over: ALTER ROLE ... PASSWORD.",
            objects=context.role_plan.without_password,
        )
    names = [item.name for item in created if item.login and (item.verifier or "").startswith("md5")]
    if not names:
        return passed()
    return failed(
        "The passwords of these roles are stored as md5 hashes. Servers that ask for scram-sha-256 refuse them, and "
        "PostgreSQL 18 warns about them.",
        "-- on the source, with the passwords that the applications know (psql: \\password)\n"
        "SET password_encryption = 'scram-sha-256';\n"
        + statements(*(statement("ALTER ROLE {} PASSWORD :'new_password'", name(item)) for item in names)),
        objects=names,
    )
