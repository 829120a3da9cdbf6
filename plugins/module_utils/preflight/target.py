# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of whether the target can take what comes: room, names, extensions, encoding, collations."""

from __future__ import annotations

from typing import Any

from ..driver import sql
from ..migration import bounded, stream_names
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context, Facts

CHECKS: list[Check] = []

# Stream 1 and those that a resume may add.
STREAMS_LOOKED_AT = 16
SHOWN_OBJECTS = 100

_RELATIONS = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = ANY (%(schemas)s::name[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
"""

_EXTENSIONS = """
SELECT e.extname AS name, e.extversion AS version
  FROM pg_catalog.pg_extension AS e
 WHERE e.extname <> 'plpgsql'
 ORDER BY e.extname
"""

_AVAILABLE = """
SELECT a.name, a.default_version, a.installed_version,
       coalesce((SELECT pg_catalog.array_agg(v.version) FROM pg_catalog.pg_available_extension_versions AS v
                  WHERE v.name = a.name), '{}') AS versions,
       coalesce((SELECT v.superuser AND NOT v.trusted FROM pg_catalog.pg_available_extension_versions AS v
                  WHERE v.name = a.name AND v.version = a.default_version), true) AS needs_superuser
  FROM pg_catalog.pg_available_extensions AS a
 WHERE a.name = ANY (%(names)s::name[])
"""

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

_TARGET_COLLATIONS = """
SELECT c.collname AS name, c.collprovider AS provider, pg_catalog.to_jsonb(c) ->> 'collcollate' AS locale
  FROM pg_catalog.pg_collation AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.collnamespace
 WHERE n.nspname = 'pg_catalog'
"""

_EVENT_TRIGGERS = """
SELECT t.evtname AS name
  FROM pg_catalog.pg_event_trigger AS t
 WHERE t.evtenabled <> 'D'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
                      AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY t.evtname
"""

_PUBLICATIONS = """
SELECT p.pubname AS name FROM pg_catalog.pg_publication AS p WHERE p.pubname = ANY (%(names)s::name[]) ORDER BY 1
"""

_SLOTS = """
SELECT s.slot_name AS name, s.active AS is_active
  FROM pg_catalog.pg_replication_slots AS s
 WHERE s.database = pg_catalog.current_database()
   AND (s.slot_name = ANY (%(names)s::name[]) OR s.slot_name ~ %(pattern)s)
 ORDER BY 1
"""

_SUBSCRIPTIONS = """
SELECT s.subname AS name, s.subslotname AS slot
  FROM pg_catalog.pg_subscription AS s
  JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
 WHERE d.datname = pg_catalog.current_database() AND s.subname = ANY (%(names)s::name[])
 ORDER BY 1
"""


@check(CHECKS, "target_empty", "The selected schemas are empty on the target", side="target")
def empty(context: Context) -> Outcome:
    """R15. What this migration itself has made there, by its ledger, does not count."""
    if context.target_database is None:
        return passed("The database does not exist yet.")
    catalog = context.selected.catalog
    rows = context.target_database.rows(_RELATIONS, {"schemas": [schema.name for schema in catalog.schemas]})
    if not rows:
        return passed()
    if context.record is not None:
        return passed(f"{len(rows)} relations, of this migration itself.")
    ours = {(table.schema, table.name) for table in catalog.tables}
    ours |= {(sequence.schema, sequence.name) for sequence in catalog.sequences}
    ours |= {(view.schema, view.name) for view in catalog.materialized_views}
    found = [(row["schema"], row["name"]) for row in rows]
    same = [f"{schema}.{item}" for schema, item in found if (schema, item) in ours]
    others = [f"{schema}.{item}" for schema, item in found if (schema, item) not in ours]
    said = f"The target already holds {len(found)} relations in the selected schemas"
    said += f", {len(same)} of them with the name of a selected one: {', '.join(same[:10])}." if same else "."
    return failed(
        said + " Nothing there is touched, so nothing can be restored either.",
        "Give an empty database, or one that does not exist yet, as target. When this one's contents may go: "
        + statements(
            statement("DROP DATABASE {}", name(context.migration.target.dbname)),
        )
        + " (in another database); init creates it again.",
        objects=[*same, *others][:SHOWN_OBJECTS],
        code="target_not_empty",
    )


def _available(context: Context) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The source's extensions, and what the target knows of them by name."""
    wanted = context.source.rows(_EXTENSIONS)
    rows = context.target.rows(_AVAILABLE, {"names": [row["name"] for row in wanted]}) if wanted else []
    return wanted, {row["name"]: row for row in rows}


@check(CHECKS, "target_extensions", "The target offers the source's extensions", side="target")
def extensions(context: Context) -> Outcome:
    """X15. In a migration of a part of the database an extension may not be needed."""
    wanted, there = _available(context)
    missing = [f"{row['name']} {row['version']}" for row in wanted if row["name"] not in there]
    if not missing:
        return passed(f"{len(wanted)} extensions.")
    return failed(
        "The source uses extensions that cannot be installed on the target.",
        "Install their packages on the target's server (or allow them, with a managed provider), or drop them on the "
        "source.",
        objects=missing,
        severity="warning" if context.migration.selection.is_partial else None,
    )


@check(
    CHECKS, "target_extension_rights", "The role may create the extensions on the target", side="target",
    severity="warning",
)  # fmt: skip
def extension_rights(context: Context) -> Outcome:
    """X15. Providers often allow their administrators more than the extension's control file does."""
    if context.target.role.is_superuser:
        return passed()
    _wanted, there = _available(context)
    is_there = context.target_database is not None
    found = [
        row["name"] for row in there.values() if row["needs_superuser"] and not (is_there and row["installed_version"])
    ]
    if not found:
        return passed()
    return failed(
        f"These extensions are for superusers to create, and {context.target.role.name} is none.",
        "-- on the target, as its administrator\n"
        + statements(*(statement("CREATE EXTENSION IF NOT EXISTS {} CASCADE", name(item)) for item in sorted(found))),
        objects=sorted(found),
    )


@check(
    CHECKS, "target_extension_versions", "Extensions keep their version", side="target", severity="info"
)  # fmt: skip
def extension_versions(context: Context) -> Outcome:
    """X15."""
    wanted, there = _available(context)
    is_there = context.target_database is not None
    found = []
    for row in wanted:
        known = there.get(row["name"])
        if known is not None:
            coming = (known["installed_version"] if is_there else None) or known["default_version"]
            if coming != row["version"]:
                found.append(f"{row['name']} {row['version']} -> {coming}")
    if not found:
        return passed()
    return failed(
        "The target will have other versions of these extensions.",
        "Read their release notes; CREATE EXTENSION ... VERSION on the target, before init, chooses another one.",
        objects=found,
    )


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
    if context.target_database is None:
        return passed("init creates the database with the source's locale, where the target has it.")
    source, target = context.source.facts, context.target_database.facts
    if locale_of(source.raw) == locale_of(target.raw):
        return passed(_described(source))
    return failed(
        f"Source: {_described(source)}. Target: {_described(target)}. Order, upper and lower case, and the bounds of "
        "range partitions over text may differ.",
        "Create the target database from template0 with the source's locale, or let init create it.",
        objects=[f"source: {_described(source)}", f"target: {_described(target)}"],
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


@check(CHECKS, "target_event_triggers", "No event trigger acts on the target", side="target", severity="warning")
def event_triggers(context: Context) -> Outcome:
    """O5."""
    if context.target_database is None:
        return passed("The database does not exist yet.")
    names = [row["name"] for row in context.target_database.rows(_EVENT_TRIGGERS)]
    if not names:
        return passed()
    return failed(
        "These will act on every object that init creates.",
        statements(*(statement("ALTER EVENT TRIGGER {} DISABLE", name(item)) for item in names)),
        objects=names,
    )


@check(CHECKS, "names_taken", "The names of publication, slot and subscription are free", side="both")
def names_taken(context: Context) -> Outcome:
    """S22. Reused only when the ledger says that they are ours; the old command-line tool left the same names."""
    mine = context.migration.name
    record = context.record
    own = {item for stream in record.streams for item in (stream.publication, stream.slot, stream.subscription)} \
        if record else set()  # fmt: skip
    streams = [stream_names(mine, "0" * 32, number) for number in range(1, STREAMS_LOOKED_AT + 1)]
    slug = streams[0].slot.removesuffix("_000000000000_1")
    publications = [
        row["name"]
        for row in context.source.rows(_PUBLICATIONS, {"names": [item.publication for item in streams]})
        if row["name"] not in own
    ]
    slots = [
        row
        for row in context.source.rows(
            _SLOTS, {"names": [bounded(mine, "_sub")], "pattern": f"^{slug}_[0-9a-f]{{12}}_[0-9]+$"}
        )
        if row["name"] not in own
    ]
    subscriptions = []
    if context.target_database is not None:
        names = [item.subscription for item in streams]
        rows = context.target_database.rows(_SUBSCRIPTIONS, {"names": names})
        subscriptions = [row["name"] for row in rows if row["name"] not in own]
    if not publications and not slots and not subscriptions:
        return passed()
    remedies = []
    if subscriptions:
        remedies.append("-- on the target")
    remedies += [
        statements(
            statement("ALTER SUBSCRIPTION {} DISABLE", name(item)),
            statement("ALTER SUBSCRIPTION {} SET (slot_name = NONE)", name(item)),
            statement("DROP SUBSCRIPTION {}", name(item)),
        )
        for item in subscriptions
    ]
    if publications or slots:
        remedies.append("-- on the source")
    remedies += [
        statements(statement("SELECT pg_catalog.pg_drop_replication_slot({})", sql.Literal(row["name"])))
        for row in slots
    ]
    remedies += [statements(statement("DROP PUBLICATION {}", name(item))) for item in publications]
    return failed(
        "Objects with the names that this migration needs exist, and no ledger on this target says that they are ours. "
        "They were left by the database-replicator command line tool, by a target that was dropped, or belong to a run "
        "towards another target, which may be alive. A slot among them keeps WAL on the source.",
        "\n".join(remedies) + "\n-- when nobody needs them; or choose another name for this migration",
        objects=[
            *(f"publication {item}" for item in publications),
            *(f"slot {row['name']}{' (in use)' if row['is_active'] else ''}" for row in slots),
            *(f"subscription {item}" for item in subscriptions),
        ],
        code="name_taken",
    )
