# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of whether the target is free for what comes: room, names, nothing that interferes."""

from __future__ import annotations

from ..driver import sql
from ..migration import bounded, stream_names
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

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
