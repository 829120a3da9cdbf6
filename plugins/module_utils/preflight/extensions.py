# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of extensions: what the source uses of them, and whether the target has the same."""

from __future__ import annotations

import re

from ..driver import sql
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements, unknown
from .context import Context
from .offer import Extension
from .sides import RESTART

CHECKS: list[Check] = []

# Tables of these hold what their own scripts, or nobody, put there.
_EXTENSION_TABLES = """
SELECT e.extname AS extension, n.nspname AS schema, c.relname AS name,
       c.oid = ANY (e.extconfig) AND coalesce(e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)], '') = ''
         AS is_data,
       c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0 AS has_rows
  FROM pg_catalog.pg_depend AS d
  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
  JOIN pg_catalog.pg_class AS c ON c.oid = d.objid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
   AND d.deptype = 'e' AND c.relkind IN ('r', 'p')
 ORDER BY e.extname, n.nspname, c.relname
"""

_JOBS = "SELECT j.jobid, j.schedule, j.database AS database FROM cron.job AS j WHERE j.active ORDER BY j.jobid"
# Known only where pg_cron is loaded.
_CRON_DATABASE = "SELECT pg_catalog.current_setting('cron.database_name', true) AS setting"

_PRELOADED = "SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name = 'shared_preload_libraries'"
# Without it: True, CREATE EXTENSION is refused; False, the extension is there and does nothing.
PRELOAD = {
    "citus": True,
    "pg_cron": True,
    "pg_qualstats": False,
    "pg_squeeze": False,
    "pg_stat_kcache": False,
    "pg_stat_monitor": False,
    "pg_stat_statements": False,
    "pg_wait_sampling": False,
    "pgaudit": True,
    "timescaledb": True,
}
SPREADING = ("citus", "timescaledb")
CRON = "pg_cron"


def _arriving(context: Context) -> list[Extension]:
    """The extensions that init creates."""
    return [item for item in context.extensions if (item.classid, item.oid) not in context.left_behind]


@check(CHECKS, "extension_tables", "No row is kept in a table of an extension", side="source", severity="warning")
def extension_tables(context: Context) -> Outcome:
    """R16. Tables that an extension has marked as its users' data (pg_extension_config_dump) count."""
    rows = context.source.rows(_EXTENSION_TABLES)
    data = [row for row in rows if row["is_data"] and row["has_rows"] and row["extension"] != CRON]
    if not data:
        return passed(f"{len(rows)} tables come with their extensions, without rows of users." if rows else "")
    return failed(
        "CREATE EXTENSION makes these tables on the target. Their rows, which are an application's or its "
        "administrator's, are not migrated.",
        "Copy the rows by hand, for instance with COPY, once init has made the extensions.",
        objects=[f"{row['schema']}.{row['name']} ({row['extension']})" for row in data],
    )


@check(CHECKS, "spread_tables", "No extension spreads tables over others", side="source")
def spread_tables(context: Context) -> Outcome:
    """V8. Rows of hypertables and distributed tables lie in tables that a publication of the named one does not reach."""
    names = [item.name for item in context.extensions if item.name in SPREADING]
    if not names:
        return passed()
    return failed(
        "Logical replication of PostgreSQL does not carry hypertables (TimescaleDB) or distributed tables (Citus).",
        "Move those tables with the extension's own means. When it has none here, DROP EXTENSION on the source, or leave "
        "this check out with skip_checks.",
        objects=names,
    )


@check(CHECKS, "scheduled_jobs", "No job runs by itself on the source", side="source", severity="warning")
def scheduled_jobs(context: Context) -> Outcome:
    """O7. pg_cron."""
    if not any(item.name == CRON for item in context.extensions):
        elsewhere = next(iter(context.source.rows(_CRON_DATABASE)), None)
        if elsewhere is None or elsewhere["setting"] in (None, "", context.source.facts.name):
            return passed()
        return unknown(
            f"pg_cron keeps its jobs in the database {elsewhere['setting']}; some may be for this one.",
            comment(f"on the source, in database {elsewhere['setting']}") + "\nSELECT * FROM cron.job;",
        )
    rows = context.source.rows(_JOBS)
    if not rows:
        return passed()
    return failed(
        "The jobs of pg_cron stay behind. On the target they must not run before the cut-over: what they write would "
        "collide with what is replicated.",
        "Schedule them on the target after the cut-over. On the source this writes the statements:\n"
        "SELECT pg_catalog.format('SELECT cron.schedule(%L, %L, %L);', coalesce(jobname, 'job ' || jobid), schedule, command)"
        " FROM cron.job WHERE active;",
        objects=[f"job {row['jobid']} ({row['schedule']})" for row in rows],
    )


@check(CHECKS, "target_extensions", "The target offers the source's extensions", side="target")
def extensions(context: Context) -> Outcome:
    """X15."""
    arriving = _arriving(context)
    missing = [f"{item.name} {item.version}" for item in arriving if item.offered is None]
    if not missing:
        return passed(f"{len(arriving)} extensions.")
    provider = context.source.provider
    own = [item.name for item in arriving if item.offered is None and provider.owns_extension(item.name)]
    return failed(
        "The source uses extensions that cannot be installed on the target."
        + (f" Only {provider.title} has {', '.join(own)}." if own else ""),
        "Install their packages on the target's server (or allow them, with a managed provider), or drop them on the "
        "source.",
        objects=missing,
    )


@check(CHECKS, "target_extension_rights", "The role may create the extensions on the target", side="target")
def extension_rights(context: Context) -> Outcome:
    """X15. Providers often allow their administrators more than the extension's control file does."""
    if context.target.role.is_superuser:
        return passed()
    found = [item for item in _arriving(context) if item.needs_superuser and not item.installed]
    if not found:
        return passed()
    schemas = sorted({item.schema for item in found} - {"public", "pg_catalog"})
    return failed(
        f"These extensions are for superusers to create, and {context.target.role.name} is none.",
        "-- on the target, as its administrator\n"
        + statements(
            *(statement("CREATE SCHEMA IF NOT EXISTS {}", name(item)) for item in schemas),
            *(
                statement("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE", name(item.name), name(item.schema))
                for item in found
            ),
        ),
        objects=[item.name for item in found],
        severity=None if context.target.provider.is_self_hosted else "warning",
    )


@check(CHECKS, "target_extension_schemas", "Extensions are in the same schemas on the target", side="target")
def extension_schemas(context: Context) -> Outcome:
    """X15. What is restored names an extension's objects with the schema that they have on the source."""
    moved = [item for item in _arriving(context) if item.installed_schema not in (None, item.schema)]
    if not moved:
        return passed()
    parts = [
        statements(statement("ALTER EXTENSION {} SET SCHEMA {}", name(item.name), name(item.schema)))
        if item.is_relocatable
        else statements(
            statement("DROP EXTENSION {}", name(item.name)),
            statement("CREATE EXTENSION {} SCHEMA {}", name(item.name), name(item.schema)),
        )
        for item in moved
    ]
    return failed(
        "The target has these extensions in other schemas, so what uses them cannot be restored, or will not find them.",
        "-- on the target\n" + "\n".join(parts),
        objects=[f"{item.name}: {item.schema} -> {item.installed_schema}" for item in moved],
        severity=None if any(item.is_used for item in moved) else "warning",
    )


def parts_of_version(text: str) -> list[int]:
    """Return the numbers in a version, for comparing. Pure."""
    return [int(part) for part in re.findall(r"\d+", text)]


@check(CHECKS, "target_extension_versions", "No extension is older on the target", side="target", severity="warning")
def extension_versions(context: Context) -> Outcome:
    """X15."""
    arriving = [item for item in _arriving(context) if item.coming is not None and item.coming != item.version]
    older = [item for item in arriving if parts_of_version(item.coming or "") < parts_of_version(item.version)]
    if not older:
        newer = ", ".join(f"{item.name} {item.version} -> {item.coming}" for item in arriving)
        return passed(f"Newer there: {newer}." if newer else "")
    return failed(
        "The target has older versions of these extensions, which may lack what the source uses.",
        "Install newer packages on the target's server. Where an extension is already created on the target, update it: "
        "ALTER EXTENSION ... UPDATE.",
        objects=[f"{item.name} {item.version} -> {item.coming}" for item in older],
    )


@check(
    CHECKS, "target_preload", "The target has loaded the libraries that extensions need from its start", side="target",
    severity="warning",
)  # fmt: skip
def preload(context: Context) -> Outcome:
    """X15. The setting is hidden from roles without pg_read_all_settings."""
    wanted = [item for item in _arriving(context) if item.name in PRELOAD and item.offered and not item.installed]
    if not wanted:
        return passed()
    row = context.target.row(_PRELOADED)
    if row is None:
        return unknown(
            "The role may not see shared_preload_libraries.",
            "-- on the target, as its administrator\n"
            + statements(statement("GRANT pg_read_all_settings TO {}", name(context.target.role.name))),
            objects=[item.name for item in wanted],
        )
    present = [item.strip().strip('"') for item in row["setting"].split(",") if item.strip()]
    lacking = [item for item in wanted if item.name not in present]
    if not lacking:
        return passed()
    stops = [item.name for item in lacking if PRELOAD[item.name]]
    libraries = [*present, *(item.name for item in lacking)]
    words = context.target.provider.how_to_set("shared_preload_libraries", ",".join(libraries), restarts=True)
    return failed(
        (f"CREATE EXTENSION is refused for {', '.join(stops)}. " if stops else "")
        + "These extensions work only where their libraries are loaded when the server starts.",
        # A list: one string for all of them would name one library, and the server would not start again.
        words
        or statements(
            statement(
                "ALTER SYSTEM SET shared_preload_libraries = {}",
                sql.SQL(", ").join(sql.Literal(item) for item in libraries),
            )
        )
        + f"\n{RESTART}",
        objects=[item.name for item in lacking],
        severity="blocker" if stops else None,
    )
