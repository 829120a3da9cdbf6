# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The migration's memory: tables in schema ``seren_migrator`` on the target, so that any runner can go on.

Here belongs reading it and beginning a record; who may go on writing holds a claim (``claim.py``). Intent is written
before an action, its end after it. No secret is ever written here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .catalog import OWN_SCHEMA
from .driver import psycopg
from .errors import MigrationError
from .migration import Migration
from .session import Session

FORMAT = 1
# A holder whose heartbeat is older than this is dead. A dead backend is noticed at once, without this wait.
HEARTBEAT_STALE_S = 30

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS seren_migrator.migration (
  name text PRIMARY KEY,
  id text NOT NULL UNIQUE,
  format integer NOT NULL,
  state text NOT NULL,
  source jsonb NOT NULL,
  target jsonb NOT NULL,
  selection jsonb NOT NULL,
  options jsonb NOT NULL,
  plan jsonb NOT NULL DEFAULT '{}',
  epoch bigint NOT NULL DEFAULT 0,
  holder jsonb,
  heartbeat timestamptz,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  cleaned_at timestamptz)""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.stream (
  migration_id text NOT NULL,
  number integer NOT NULL,
  publication text NOT NULL,
  slot text NOT NULL,
  subscription text NOT NULL,
  marker text NOT NULL,
  consistent_point pg_lsn,
  state text NOT NULL,
  PRIMARY KEY (migration_id, number))""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.relation (
  migration_id text NOT NULL,
  schema text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  source_oid bigint NOT NULL,
  stream integer,
  state text NOT NULL,
  format text,
  rows bigint,
  bytes bigint,
  estimated_bytes bigint,
  finished_at timestamptz,
  PRIMARY KEY (migration_id, schema, name))""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.index_build (
  migration_id text NOT NULL,
  table_oid bigint NOT NULL,
  classid bigint NOT NULL,
  objid bigint NOT NULL,
  name text NOT NULL,
  bytes bigint NOT NULL,
  "create" text,
  attach text,
  is_exclusive boolean NOT NULL,
  is_identity boolean NOT NULL,
  state text NOT NULL,
  finished_at timestamptz,
  PRIMARY KEY (migration_id, classid, objid))""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.object (
  migration_id text NOT NULL,
  side text NOT NULL,
  kind text NOT NULL,
  schema text NOT NULL,
  name text NOT NULL,
  intended_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  removed_at timestamptz,
  PRIMARY KEY (migration_id, side, kind, schema, name))""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.step (
  migration_id text NOT NULL,
  step text NOT NULL,
  state text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}',
  started_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  finished_at timestamptz,
  PRIMARY KEY (migration_id, step))""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.schema_dump (
  migration_id text PRIMARY KEY,
  client_major integer NOT NULL,
  archive bytea NOT NULL)""",
    """
CREATE TABLE IF NOT EXISTS seren_migrator.described (
  migration_id text NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  fingerprint text NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (migration_id, kind, name))""",
)

TABLE_NAMES = ("migration", "stream", "relation", "index_build", "object", "step", "schema_dump", "described")

# to_regclass finds nothing in a schema that our role may not use; that is not the same as no ledger.
EXISTS = """
SELECT EXISTS (SELECT 1
                 FROM pg_catalog.pg_class AS c
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = 'seren_migrator' AND c.relname = 'migration') AS found
"""

# Whoever holds the claim lives when the heartbeat is fresh and the backend that took it is still there.
HOLDER_LIVES = """
(m.heartbeat > pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => %(stale)s)
 AND EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity AS a
              WHERE a.pid = (m.holder ->> 'backend_pid')::integer
                AND (a.backend_start IS NULL OR a.backend_start::text = m.holder ->> 'backend_start')))
"""


@dataclass(frozen=True)
class Stream:
    """One stream. ``state`` is intended, slot_ready, subscribed or removed; the LSN is text or None."""

    number: int
    publication: str
    slot: str
    subscription: str
    marker: str
    consistent_point: str | None
    state: str


@dataclass(frozen=True)
class Relation:
    """One table. ``kind`` is table, unlogged or schema_only; ``state`` is pending, joining or copied.

    ``rows`` and ``bytes`` of a pending one are what its pieces have brought so far, None without any.
    """

    schema: str
    name: str
    kind: str
    source_oid: int
    stream: int | None
    state: str
    format: str | None
    rows: int | None
    bytes: int | None
    estimated_bytes: int | None


@dataclass(frozen=True)
class IndexBuild:
    """One index or constraint of a table, by the source's OIDs; ``bytes`` is its size there.

    ``create`` and ``attach`` are set where a constraint is made of an index (two statements of ours); everything else
    is built by the archive's own statements. ``is_exclusive`` marks what locks the whole table while it is built;
    ``is_identity`` what the replica identity rests on. ``state`` is pending, built (not attached yet) or done.
    """

    table_oid: int
    classid: int
    objid: int
    name: str
    bytes: int
    create: str | None
    attach: str | None
    is_exclusive: bool
    is_identity: bool
    state: str

    @property
    def key(self) -> tuple[int, int]:
        """The object's (classid, objid) on the source."""
        return (self.classid, self.objid)


@dataclass(frozen=True)
class OwnedObject:
    """Something we created, or were about to create, and have not removed."""

    side: str
    kind: str
    schema: str
    name: str


@dataclass(frozen=True)
class Step:
    """A step of a phase and how far it came: started or done."""

    step: str
    state: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """All that the ledger knows about one migration.

    ``state`` is copying, copied, synced or cleaned. ``source`` and ``target`` identify the two databases.
    """

    id: str
    name: str
    state: str
    source: dict[str, Any]
    target: dict[str, Any]
    selection: dict[str, Any]
    options: dict[str, Any]
    plan: dict[str, Any]
    epoch: int
    holder: dict[str, Any] | None
    is_held: bool
    cleaned_at: str | None
    streams: tuple[Stream, ...]
    relations: tuple[Relation, ...]
    objects: tuple[OwnedObject, ...]
    steps: Mapping[str, Step]

    @property
    def live_streams(self) -> tuple[Stream, ...]:
        """The streams that have not been removed."""
        return tuple(stream for stream in self.streams if stream.state != "removed")

    @property
    def pending(self) -> tuple[Relation, ...]:
        """Relations whose rows are still to be copied."""
        return tuple(relation for relation in self.relations if relation.state == "pending")

    @property
    def left(self) -> list[dict[str, str]]:
        """What stayed behind on the source, each with its reason."""
        left: list[dict[str, str]] = [entry for step in self.steps.values() for entry in step.detail.get("left", [])]
        reason = "its tables are carried by different streams; it can be added once they are drained"
        left += [{"object": f"foreign key {name}", "reason": reason} for name in self.postponed_foreign_keys]
        unchecked = [key for keys in self.keys_to_validate.values() for key in keys]
        reason = "added, but its rows are not validated yet; sync does that"
        return left + [
            {"object": f"foreign key {key['name']} on {key['schema']}.{key['table']}", "reason": reason}
            for key in unchecked
        ]

    @property
    def postponed_foreign_keys(self) -> list[str]:
        """Foreign keys that wait because different streams carry their tables, in words."""
        return [name for step in self.steps.values() for name in step.detail.get("postponed_foreign_keys", [])]

    @property
    def resting(self) -> list[dict[str, str]]:
        """Triggers and rules that were disabled until the cutover, and how they were enabled (``firing.Firing``)."""
        return [item for step in self.steps.values() for item in step.detail.get("firing", [])]

    @property
    def keys_to_validate(self) -> dict[str, list[dict[str, str]]]:
        """Foreign keys (schema, table, name) whose rows were not checked yet, by the step that checks them."""
        found: dict[str, list[dict[str, str]]] = {}
        for name, step in sorted(self.steps.items()):
            validation = name.removesuffix("post_data") + "foreign_keys"
            if name.endswith("post_data") and step.state == "done" and not self.is_done(validation):
                found[validation] = step.detail.get("unchecked_foreign_keys", [])
        return found

    def is_done(self, step: str) -> bool:
        """True when the step has ended."""
        return step in self.steps and self.steps[step].state == "done"


def exists(session: Session) -> bool:
    """True when the target has a ledger."""
    return bool(session.value(EXISTS))


_MIGRATION = (
    "SELECT m.*, coalesce(" + HOLDER_LIVES + ", false) AS is_held"
    "  FROM seren_migrator.migration AS m WHERE m.name = %(name)s"
)
_OF_MIGRATION = "(SELECT m.id FROM seren_migrator.migration AS m WHERE m.name = %(name)s)"
_STREAMS = (
    "SELECT number, publication, slot, subscription, marker, consistent_point::text AS consistent_point, state"
    f"  FROM seren_migrator.stream WHERE migration_id = {_OF_MIGRATION} ORDER BY number"
)
_RELATIONS = (
    "SELECT schema, name, kind, source_oid, stream, state, format, rows, bytes, estimated_bytes"
    f"  FROM seren_migrator.relation WHERE migration_id = {_OF_MIGRATION} ORDER BY schema, name"
)
_OBJECTS = (
    "SELECT side, kind, schema, name FROM seren_migrator.object"
    f" WHERE migration_id = {_OF_MIGRATION} AND removed_at IS NULL ORDER BY intended_at, kind, name"
)
_STEPS = f"SELECT step, state, detail FROM seren_migrator.step WHERE migration_id = {_OF_MIGRATION}"


def _refused() -> MigrationError:
    return MigrationError(
        "ledger_refused",
        f"Schema {OWN_SCHEMA} on the target was made by a migration that another role runs, and ours may not use it.",
        "Run validate: its check target_own_schema names that role and the grants that are missing. Or run this migration "
        "with that role.",
    )


def find(session: Session, name: str) -> Record | None:
    """Read the record of the migration called ``name``, or None. Changes nothing.

    Raises ``ledger_refused`` where our role may not look.
    """
    return read(session, name) if exists(session) else None


def read(session: Session, name: str) -> Record | None:
    """Do the same where the ledger is known to exist, in one round trip."""
    params = {"name": name, "stale": HEARTBEAT_STALE_S}
    try:
        found, streams, relations, objects, steps = session.rows_of(
            _MIGRATION, _STREAMS, _RELATIONS, _OBJECTS, _STEPS, params=params
        )
    except psycopg.errors.InsufficientPrivilege:
        raise _refused() from None
    if not found:
        return None
    row = found[0]
    return Record(
        id=row["id"],
        name=row["name"],
        state="cleaned" if row["cleaned_at"] else row["state"],
        source=row["source"],
        target=row["target"],
        selection=row["selection"],
        options=row["options"],
        plan=row["plan"],
        epoch=row["epoch"],
        holder=row["holder"],
        is_held=row["is_held"],
        cleaned_at=str(row["cleaned_at"]) if row["cleaned_at"] else None,
        streams=tuple(Stream(**stream) for stream in streams),
        relations=tuple(Relation(**relation) for relation in relations),
        objects=tuple(OwnedObject(**item) for item in objects),
        steps={step["step"]: Step(**step) for step in steps},
    )


def index_builds(session: Session, migration_id: str) -> list[IndexBuild]:
    """Return what is built on a migration's tables, and how far it is."""
    return [
        IndexBuild(**row)
        for row in session.rows(
            'SELECT table_oid, classid, objid, name, bytes, "create", attach, is_exclusive, is_identity, state'
            "  FROM seren_migrator.index_build WHERE migration_id = %(id)s ORDER BY table_oid, bytes DESC, name",
            {"id": migration_id},
        )
    ]


def identity(session: Session) -> dict[str, Any]:
    """Return what tells a database from every other one, and how it was reached."""
    row = session.row(
        "SELECT d.oid::bigint AS oid, d.datname AS dbname,"
        " (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() AS s) AS system_identifier"
        "  FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database()"
    )
    return {**(row or {}), **session.endpoint.public(), "version": session.version}


def check_source(record: Record, source: Session) -> None:
    """Raise ``ledger_mismatch`` when the source is not the database that the migration was started with."""
    now = identity(source)
    if any(now[key] != record.source.get(key) for key in ("oid", "dbname", "system_identifier")):
        raise MigrationError(
            "ledger_mismatch",
            f"The target's ledger knows the migration {record.name!r} from another source: database "
            f"{record.source.get('dbname')!r} of system {record.source.get('system_identifier')}.",
            "Use the source it was started with, or give this migration another name.",
        )


def install(session: Session) -> None:
    """Create the ledger's schema and tables where they are missing; two runners may both come here."""
    if exists(session):
        return
    try:
        # One string of several statements is one transaction.
        session.execute(";".join([f"CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA}", *_TABLES]))
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject):
        if not exists(session):  # else another migration was quicker: IF NOT EXISTS does not see what is uncommitted
            raise


_BURY_TOMBSTONE = "DELETE FROM seren_migrator.migration WHERE name = %(name)s AND cleaned_at IS NOT NULL"
_REGISTER = """
INSERT INTO seren_migrator.migration (name, id, format, state, source, target, selection, options, plan)
VALUES (%(name)s, %(id)s, %(format)s, 'copying', %(source)s, %(target)s, %(selection)s, %(options)s, %(plan)s)
"""


def register(
    session: Session,
    migration: Migration,
    *,
    source: Mapping[str, Any],
    target: Mapping[str, Any],
    options: Mapping[str, Any],
    plan: Mapping[str, Any],
    relations: Sequence[Relation],
) -> None:
    """Write a new migration with its plan and its relations; a tombstone of the same name gives way."""
    values = {
        "id": uuid.uuid4().hex,
        "name": migration.name,
        "format": FORMAT,
        "source": json.dumps(source),
        "target": json.dumps(target),
        "selection": json.dumps(migration.selection.as_data()),
        "options": json.dumps(options),
        "plan": json.dumps(plan),
        "relations": relations_as_json(relations),
    }
    # One string of several statements is one transaction, and one round trip.
    psycopg.ClientCursor(session.connection).execute(f"{_BURY_TOMBSTONE};\n{_REGISTER};\n{INSERT_RELATIONS}", values)


# What is to be built on a migration's tables, as a JSON array.
INSERT_INDEX_BUILDS = """
INSERT INTO seren_migrator.index_build
       (migration_id, table_oid, classid, objid, name, bytes, "create", attach, is_exclusive, is_identity, state)
SELECT %(id)s, b.table_oid, b.classid, b.objid, b.name, b.bytes, b."create", b.attach, b.is_exclusive, b.is_identity, b.state
  FROM pg_catalog.jsonb_to_recordset(%(builds)s::jsonb)
    AS b(table_oid bigint, classid bigint, objid bigint, name text, bytes bigint, "create" text, attach text,
         is_exclusive boolean, is_identity boolean, state text)
"""


# Relations of a migration that are not there yet, as a JSON array.
INSERT_RELATIONS = """
INSERT INTO seren_migrator.relation (migration_id, schema, name, kind, source_oid, state, estimated_bytes)
SELECT %(id)s, r.schema, r.name, r.kind, r.source_oid, r.state, r.estimated_bytes
  FROM pg_catalog.jsonb_to_recordset(%(relations)s::jsonb)
    AS r(schema text, name text, kind text, source_oid bigint, state text, estimated_bytes bigint)
"""


def relations_as_json(relations: Sequence[Relation]) -> str:
    """Return relations as the statement that writes them takes them."""
    return json.dumps([asdict(relation) for relation in relations], ensure_ascii=False)


def kept_dump(session: Session, migration_id: str) -> bytes | None:
    """Return the archive of the schema that a migration has restored, or None."""
    archive = session.value(
        "SELECT archive FROM seren_migrator.schema_dump WHERE migration_id = %(id)s", {"id": migration_id}
    )
    return None if archive is None else bytes(archive)


def describe_holder(holder: Mapping[str, Any] | None) -> str:
    """Return who holds a claim, for people."""
    if not holder:
        return "an unknown runner"
    return f"{holder.get('command')} on {holder.get('host')}, process {holder.get('pid')}, since {holder.get('since')}"
