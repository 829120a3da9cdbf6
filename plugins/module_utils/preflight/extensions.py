# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of extensions: what the source uses of them, and whether the target has the same."""

from __future__ import annotations

import re

from .. import database, extension_data
from ..driver import sql
from ..extensions import CRON, SPREADING, Extension
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements, unknown
from .context import Context
from .sides import RESTART

CHECKS: list[Check] = []

# Where the extensions list what they have spread; asked only of those that may be read.
_SPREAD = {
    "citus": (
        "pg_catalog.pg_dist_partition",
        "SELECT d.logicalrelid::text AS name FROM pg_catalog.pg_dist_partition AS d",
    ),
    "timescaledb": (
        "_timescaledb_catalog.hypertable",
        "SELECT h.schema_name || '.' || h.table_name AS name FROM _timescaledb_catalog.hypertable AS h",
    ),
}
_CAN_BE_ASKED = """
SELECT w.name
  FROM unnest(%(names)s::text[]) AS w(name)
 WHERE CASE WHEN pg_catalog.to_regclass(w.name) IS NULL THEN false
            ELSE pg_catalog.has_table_privilege(pg_catalog.to_regclass(w.name), 'SELECT') END
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


# The wrappers that foreign servers use, and that come with an extension.
_WRAPPERS = """
SELECT DISTINCT w.fdwname AS name, e.extname AS extension
  FROM pg_catalog.pg_foreign_server AS s
  JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
  JOIN pg_catalog.pg_depend AS d ON d.classid = w.tableoid AND d.objid = w.oid AND d.deptype = 'e'
  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
 ORDER BY w.fdwname
"""


def _arriving(context: Context) -> list[Extension]:
    """The extensions that init creates."""
    return list(context.extensions_plan.arriving)


@check(
    CHECKS, "extension_tables", "No row of users is kept in a table of an extension", side="source", severity="warning"
)
def extension_tables(context: Context) -> Outcome:
    """R16. Tables that an extension has marked as its users' data (pg_extension_config_dump), as far as its condition goes."""
    tables = extension_data.read(context.source.rows(extension_data.QUERY))
    left_behind = context.left_behind | context.extensions_plan.behind
    chosen, never = extension_data.eligible(tables, context.source.provider, left_behind)
    # The jobs of pg_cron have a check of their own.
    chosen += [item for item, _reason in never if item.extension != CRON]
    if not chosen:
        return passed()
    hidden = [item for item in chosen if not item.is_readable]
    readable = [item for item in chosen if item.is_readable]
    query = extension_data.holding(readable).as_string(None) if readable else ""
    used = {row["oid"] for row in context.source.rows(query)} if query else set()
    data = [item for item in readable if item.oid in used]
    policy = context.options.extension_data
    if policy == "skip" or not (data or hidden):
        return passed(
            f"{len(data)} tables and sequences hold some, left behind as extension_data says." if data else ""
        )
    objects = [f"{item.schema}.{item.name} ({item.extension})" for item in (*data, *hidden)]
    if policy == "fail":
        return failed(
            "Extensions' tables hold rows of users, which are never replicated.",
            "Say what shall become of them: extension_data: copy (once, as they are at the time of the copy) or skip.",
            objects=objects,
            severity="blocker",
        )
    if not data:
        return unknown(
            f"Role {context.source.role.name} may not read these tables of extensions, so what they hold stays behind.",
            "-- on the source\n"
            + statements(
                *(
                    statement("GRANT SELECT ON {} TO {}", name(item.schema, item.name), name(context.source.role.name))
                    for item in hidden
                )
            ),
            objects=objects,
        )
    said = "init copies the rows of users in these tables of extensions once; what is written to them later is not replicated."
    kept = [item for item, _reason in never if item in data]
    if kept:
        said += f" Those of {', '.join(sorted({item.extension for item in kept}))} stay behind."
    if hidden:
        said += f" Role {context.source.role.name} may not read all of them; left will list these."
    if not context.target.role.is_superuser:
        said += " Where the target's role may not write to such a table, left will list it."
    return failed(said, "Copy what changes later by hand at the cut-over; or extension_data: skip.", objects=objects)


@check(CHECKS, "spread_tables", "No extension spreads tables over others", side="source")
def spread_tables(context: Context) -> Outcome:
    """V8. Rows of hypertables and distributed tables lie in tables that a publication of the named one does not reach."""
    names = [item.name for item in context.extensions if item.name in SPREADING]
    if not names:
        return passed()
    places = [_SPREAD[item][0] for item in names]
    known = {row["name"] for row in context.source.rows(_CAN_BE_ASKED, {"names": places})}
    hidden = [item for item in names if _SPREAD[item][0] not in known]
    spread = [row["name"] for item in names if item not in hidden for row in context.source.rows(_SPREAD[item][1])]
    if not spread and not hidden:
        return passed(f"{', '.join(names)}: installed, and nothing is spread.")
    return failed(
        "Logical replication of PostgreSQL does not carry hypertables (TimescaleDB) or distributed tables (Citus)."
        + (f" Whether there are some cannot be asked of {', '.join(hidden)}." if hidden else ""),
        "Move those tables with the extension's own means. When it has none here, DROP EXTENSION on the source, or leave "
        "this check out with skip_checks.",
        objects=[*hidden, *spread],
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
        behind = [item["object"] for item in context.extensions_plan.left]
        return passed(f"{len(arriving)} extensions." + (f" Left behind: {', '.join(behind)}." if behind else ""))
    provider = context.source.provider
    own = [item.name for item in arriving if item.offered is None and provider.owns_extension(item.name)]  # and needed
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
    coming = {item.name for item in found}
    wrappers = [row["name"] for row in context.source.rows(_WRAPPERS) if row["extension"] in coming]
    me = name(context.target.role.name)
    return failed(
        f"These extensions are for superusers to create, and {context.target.role.name} is none.",
        "-- on the target, as its administrator\n"
        + _database_first(context)
        + statements(
            *(statement("CREATE SCHEMA IF NOT EXISTS {}", name(item)) for item in schemas),
            *(
                statement("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE", name(item.name), name(item.schema))
                for item in found
            ),
            # As soon as the wrapper is there, the check foreign_data_wrappers asks for this.
            *(statement("GRANT USAGE ON FOREIGN DATA WRAPPER {} TO {}", name(item), me) for item in wrappers),
        ),
        objects=[item.name for item in found],
        severity=None if context.target.provider.is_self_hosted else "warning",
    )


def _database_first(context: Context) -> str:
    """Return the statements that make the target's database where there is none yet to create extensions in."""
    if not context.target_is_absent:
        return ""
    dbname, target = context.migration.target.dbname, context.target
    making = database.create_statement(dbname, context.catalog.database, target.major)
    owning = statement("ALTER DATABASE {} OWNER TO {}", name(dbname), name(target.role.name))
    return statements(making, owning) + "\n" + comment(f"then, connected to database {dbname}") + "\n"


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
    """X15. With extension_versions: source, none may have another version."""
    arriving = [item for item in _arriving(context) if item.coming is not None and item.coming != item.version]
    if context.options.extension_versions == "source":
        return _same_versions([item for item in arriving if item.installed or item.version not in item.versions])
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


def _same_versions(others: list[Extension]) -> Outcome:
    if not others:
        return passed("Every extension gets the version that it has on the source.")
    update = [item for item in others if item.installed]
    remedy = "extension_versions: default takes the target's versions."
    if update:
        remedy += "\n-- or on the target, where it knows the version\n" + statements(
            *(statement("ALTER EXTENSION {} UPDATE TO {}", name(item.name), name(item.version)) for item in update)
        )
    return failed(
        "extension_versions: source asks for the versions of the source. The target does not offer them, or has created the "
        "extension in another one, which init never changes.",
        remedy,
        objects=[
            f"{item.name} {item.version} ("
            + (f"installed: {item.installed}" if item.installed else f"offered: {', '.join(sorted(item.versions))}")
            + ")"
            for item in others
        ],
        severity="blocker",
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
