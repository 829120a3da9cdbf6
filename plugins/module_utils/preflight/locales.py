# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of how both sides hold, sort and compare text: encoding, locale, collations."""

from __future__ import annotations

from typing import Any

from ..driver import Row, sql
from ..endpoint import Side
from .check import Check, Outcome, check, check_both, failed, name, passed, statement, statements
from .context import Context
from .sides import Facts

CHECKS: list[Check] = []

# Collations made by users, and collations of the system that columns use.
_COLLATIONS = """
SELECT DISTINCT n.nspname AS schema, c.collname AS name, c.collprovider AS provider,
       n.nspname = 'pg_catalog' AS is_system,
       pg_catalog.to_jsonb(c) ->> 'collcollate' AS locale
  FROM pg_catalog.pg_collation AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE (n.nspname <> 'pg_catalog' AND n.nspname = ANY (%(schemas)s::name[]))
    OR (n.nspname = 'pg_catalog' AND c.collname NOT IN ('default', 'C', 'POSIX')
        AND c.oid IN (SELECT a.attcollation FROM pg_catalog.pg_attribute AS a
                       WHERE a.attrelid = ANY (%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped))
 ORDER BY 1, 2
"""

# What was recorded when indexes were built, and what the operating system or ICU has now. NULL is "tells no version".
_DATABASE_VERSION = """
SELECT d.datcollversion AS recorded, pg_catalog.pg_database_collation_actual_version(d.oid) AS actual
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
"""

_COLLATION_VERSIONS = """
SELECT n.nspname AS schema, c.collname AS name, c.collversion AS recorded,
       pg_catalog.pg_collation_actual_version(c.oid) AS actual
  FROM pg_catalog.pg_collation AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE c.collversion IS NOT NULL
   AND c.oid IN (SELECT a.attcollation FROM pg_catalog.pg_attribute AS a WHERE a.attrelid >= 16384)
 ORDER BY n.nspname, c.collname
"""

_TARGET_COLLATIONS = """
SELECT c.collname AS name, c.collprovider AS provider, pg_catalog.to_jsonb(c) ->> 'collcollate' AS locale
  FROM pg_catalog.pg_collation AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE n.nspname = 'pg_catalog'
"""


@check(CHECKS, "encoding", "The target can hold every character of the source", side="target")
def encoding(context: Context) -> Outcome:
    """V2. Text is converted on its way, so UTF8 takes all encodings that are really one."""
    source = context.source.facts.encoding
    target = source if context.target_database is None else context.target_database.facts.encoding
    remedy = statements(
        statement(
            "CREATE DATABASE {} ENCODING {} TEMPLATE template0",
            name(context.migration.target.dbname),
            sql.Literal("UTF8" if source == "SQL_ASCII" else source),
        )
    )
    if source == "SQL_ASCII":
        return failed(
            "The source is SQL_ASCII: it never checked its bytes, and they cannot be read as text reliably.",
            "Convert the source to a real encoding first (dump, iconv, restore).",
            objects=[f"{source} -> {target}"],
        )
    if source == target:
        return passed(source)
    return failed(
        f"The source is {source}, the target {target}."
        + (" All text is converted on its way." if target == "UTF8" else " Not every character can be converted."),
        f"Use a target database of the same encoding:\n{remedy}",
        objects=[f"{source} -> {target}"],
        severity="warning" if target == "UTF8" else None,
    )


def locale_of(raw: dict[str, Any]) -> dict[str, str]:
    """Return the locale of a pg_database row in words that are the same on all majors (12-18). Pure."""

    def plain(value: Any) -> str:
        text = str(value or "")
        stem, dot, codeset = text.partition(".")
        codeset = codeset.lower().replace("-", "").replace("_", "")
        return {"POSIX": "C"}.get(text, f"{stem}{dot}{codeset}")

    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(str(raw.get("datlocprovider") or "c"), "unknown")
    found = {"provider": provider, "collate": plain(raw.get("datcollate")), "ctype": plain(raw.get("datctype"))}
    if provider != "libc":
        found["locale"] = str(raw.get("datlocale") or raw.get("daticulocale") or "")
    return found


def _described(facts: Facts) -> str:
    return ", ".join(f"{key} {value}" for key, value in locale_of(facts.raw).items())


@check(CHECKS, "locale", "Source and target sort and compare text alike", side="both", severity="warning")
def locale(context: Context) -> Outcome:
    """V3."""
    source = context.source.facts
    if context.target_database is None:
        return passed("init creates the database with the source's locale, where the target has it.")
    target = context.target_database.facts
    if locale_of(source.raw) == locale_of(target.raw):
        return passed(_described(source))
    return failed(
        f"Source: {_described(source)}. Target: {_described(target)}. Order, upper and lower case, and the bounds of "
        "range partitions over text may differ.",
        "Create the target database from template0 with the source's locale, or let init create it.",
        objects=[f"source: {_described(source)}", f"target: {_described(target)}"],
    )


def _is_other(row: Row) -> bool:
    return None not in (row["recorded"], row["actual"]) and row["recorded"] != row["actual"]


@check_both(
    CHECKS, "collation_versions", "The {side}'s indexes were built with the collations that it has now",
    severity="warning",
)  # fmt: skip
def collation_versions(context: Context, side: Side) -> Outcome:
    """V4. Indexes over text may be out of order, and unique ones may have let doubles in."""
    server = context.server(side)
    if side == "target" and context.target_database is None:
        return passed("The database does not exist yet.")
    collations = [row for row in server.rows(_COLLATION_VERSIONS) if _is_other(row)]
    database = [row for row in (server.rows(_DATABASE_VERSION) if server.major >= 15 else []) if _is_other(row)]
    if not collations and not database:
        return passed()
    label = name(server.facts.name)
    refresh = [statement("ALTER COLLATION {} REFRESH VERSION", name(row["schema"], row["name"])) for row in collations]
    if database:
        refresh.append(statement("ALTER DATABASE {} REFRESH COLLATION VERSION", label))
    return failed(
        f"The {side}'s collations are of other versions than those with which its indexes were built. Indexes over text "
        "may be out of order; a unique one may hold doubles, which cannot be migrated.",
        f"-- on the {side}; it rebuilds all indexes and locks out writers of a table meanwhile\n"
        + statements(statement("REINDEX DATABASE {}", label), *refresh),
        objects=[
            *(f"database {server.facts.name}: {row['recorded']} -> {row['actual']}" for row in database),
            *(f"{row['schema']}.{row['name']}: {row['recorded']} -> {row['actual']}" for row in collations),
        ],
    )


@check(CHECKS, "collations", "The target has the collations that are used", side="target")
def collations(context: Context) -> Outcome:
    """V5."""
    catalog = context.selected.catalog
    wanted = context.source.rows(
        _COLLATIONS,
        {"schemas": [schema.name for schema in catalog.schemas], "oids": [table.oid for table in catalog.tables]},
    )
    if not wanted:
        return passed()
    there = context.target.rows(_TARGET_COLLATIONS)
    names = {row["name"] for row in there}
    locales = {row["locale"] for row in there if row["provider"] == "c"}
    has_icu = any(row["provider"] == "i" for row in there)
    missing: list[str] = []
    doubtful: list[str] = []
    for row in wanted:
        if row["is_system"]:
            if row["name"] not in names:
                missing.append(row["name"])
        elif row["provider"] == "b" and context.target.major < 17:
            missing.append(f"{row['schema']}.{row['name']} (builtin)")
        elif row["provider"] == "i" and not has_icu:
            missing.append(f"{row['schema']}.{row['name']} (ICU)")
        elif row["provider"] == "c" and row["locale"] not in locales | {"C", "POSIX"}:
            doubtful.append(f"{row['schema']}.{row['name']} ({row['locale']})")
    if not missing and not doubtful:
        return passed(f"{len(wanted)} collations.")
    return failed(
        "These collations are not, or may not be, available on the target.",
        "Install the locales on the target's server and run SELECT pg_import_system_collations('pg_catalog'), or give "
        "the columns another collation.",
        objects=[*missing, *doubtful],
        severity=None if missing else "warning",
    )
