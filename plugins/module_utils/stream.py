# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Opening and removing a stream: marker tables, publication, slot and snapshot, each recorded before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from . import ledger, replication
from .catalog import OWN_SCHEMA, Catalog, Table
from .claim import Claim
from .driver import psycopg
from .errors import MigrationError
from .ledger import Record
from .migration import Migration, backend_name
from .replication import SlotHold
from .session import Session

LEFT_OVER_WAIT_S = 10


@dataclass(frozen=True)
class OpenStream:
    """A stream whose snapshot can be imported while the block that opened it runs."""

    number: int
    snapshot: str
    consistent_point: str


def create_statements(
    migration: Migration,
    migration_id: str,
    number: int,
    members: Sequence[Table],
    predicates: Mapping[int, str],
    source_major: int,
) -> list[str]:
    """Return the statements, as text for people, that opening a stream runs on the source."""
    names = migration.names(migration_id, number)
    statements = [
        replication.create_own_schema(),
        replication.create_marker(names.marker),
        replication.create_publication(names.publication, members, names.marker, predicates, source_major),
    ]
    shown = [statement.as_string(None) for statement in statements]
    return [*shown, f"CREATE_REPLICATION_SLOT {names.slot} LOGICAL pgoutput EXPORT_SNAPSHOT"]


@contextmanager
def opened(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    catalog: Catalog,
    carried: Sequence[Table],
    predicates: Mapping[int, str],
    *,
    number: int,
    slot_timeout_s: float,
) -> Iterator[OpenStream]:
    """Open stream ``number`` for the row-storing tables ``carried`` and hold its snapshot for the block.

    When the block fails before any table was copied with this stream, everything made here is removed again; when
    some were, the slot stays, because the next run continues with it.
    """
    names = migration.names(claim.id, number)
    if replication.publication_comment(source, names.publication) is not None:
        raise name_taken("publication", names.publication, "source", source)
    claim.add_stream(number, names)
    try:
        _make_markers(claim, source, target, names.marker)
        members = replication.publication_members(catalog, {t.oid for t in carried}, predicates, source.major)
        claim.intend("source", "publication", names.publication)
        with source.transaction():
            source.execute(
                replication.create_publication(names.publication, members, names.marker, predicates, source.major)
            )
            source.execute(
                replication.comment_publication(
                    names.publication, replication.ownership_comment(migration.name, claim.id)
                )
            )
        claim.intend("source", "slot", names.slot)
        with SlotHold(migration, names.slot, slot_timeout_s) as hold:
            _announce(migration, claim, number, hold)
            source.connection.execute(replication.write_marker(names.marker), {"token": "opened"})
            yield OpenStream(number, hold.snapshot, hold.consistent_point)
    except BaseException:
        with suppress(MigrationError, psycopg.Error):
            if not any(relation.stream == number for relation in claim.read().relations):
                remove(migration, claim, _stream(claim, number), target)
        raise


def _announce(migration: Migration, claim: Claim, number: int, hold: SlotHold) -> None:
    """Record that the slot is there; when the claim was lost meanwhile, nobody else knows of it: drop it again."""
    try:
        claim.set_stream(number, "slot_ready", hold.consistent_point)
    except MigrationError:
        with migration.open("source", "undo") as source:
            replication.drop_slot(source, hold.slot)
        raise


def _stream(claim: Claim, number: int) -> ledger.Stream:
    return next(stream for stream in claim.read().streams if stream.number == number)


def _make_markers(claim: Claim, source: Session, target: Session, marker: str) -> None:
    claim.intend("source", "schema", OWN_SCHEMA)
    for session in (source, target):
        claim.intend(session.endpoint.side, "table", marker, OWN_SCHEMA)
        # Two migrations may make our schema at the same moment; IF NOT EXISTS does not see what is uncommitted.
        with suppress(psycopg.errors.UniqueViolation):
            session.execute(replication.create_own_schema())
        session.execute(replication.create_marker(marker))


def name_taken(kind: str, name: str, side: str, session: Session) -> MigrationError:
    """Return the error for an object of ours whose name another one has."""
    drop = replication.drop_publication(name) if kind == "publication" else replication.drop_subscription(name)
    return MigrationError(
        "name_taken",
        f"On the {side} a {kind} {name!r} exists which this migration did not make (another run, or the command-line "
        "tool that used the same names).",
        f"If nothing needs it any more: {session.text(drop)}; or give this migration another name.",
        {"kind": kind, "name": name, "side": side},
    )


_LEFT_OVER = """
SELECT a.pid FROM pg_catalog.pg_stat_activity AS a
 WHERE a.datname = pg_catalog.current_database() AND pg_catalog.starts_with(a.application_name, %(name)s)
"""


def end_left_over(claim: Claim, session: Session) -> None:
    """End backends of an earlier runner's workers, which hold locks as long as they do not know that it is gone."""
    name = {"name": backend_name(claim.id, "")}
    for _attempt in range(LEFT_OVER_WAIT_S * 10):
        rows = session.rows(_LEFT_OVER, name)
        if not rows:
            return
        for row in rows:
            session.value("SELECT pg_catalog.pg_terminate_backend(%(pid)s) AS ended", row)
        time.sleep(0.1)


def settle(migration: Migration, claim: Claim, source: Session, target: Session) -> None:
    """Look at what an earlier run has left, before going on.

    A stream whose slot still works and which carries copied tables stays; the tables that it could not copy any more
    leave its publication. Every other one is removed, and its tables have to be copied again.
    """
    for session in (source, target):
        end_left_over(claim, session)
    record = claim.read()
    for stream in record.live_streams:
        carries = stream.state != "removing" and any(r.stream == stream.number for r in record.relations)
        if carries and replication.slot_is_usable(replication.slot_row(source, stream.slot)):
            _narrow(source, record, stream)
            continue
        if carries and record.is_done("post_data"):
            raise slot_lost(stream.slot)
        remove(migration, claim, stream, target, source)
    given_up = [stream.slot for stream in record.streams if stream.state == "removed"]
    if given_up and record.pending and record.is_done("post_data"):
        raise slot_lost(given_up[-1])  # rows cannot be copied into tables that have their foreign keys and triggers


def release(migration: Migration, claim: Claim, source: Session, target: Session, number: int) -> None:
    """Take the tables that are still to be copied out of a stream; a stream that carries nothing goes.

    A partition whose partitioned table is published stays published; the subscription simply will not list it.
    """
    record = claim.read()
    current = next(item for item in record.streams if item.number == number)
    if not any(relation.stream == number for relation in record.relations):
        remove(migration, claim, current, target, source)
    else:
        _narrow(source, record, current)


def _narrow(source: Session, record: Record, current: ledger.Stream) -> None:
    pending = {(relation.schema, relation.name) for relation in record.pending}
    for schema, name in sorted(replication.explicit_members(source, current.publication) & pending):
        source.execute(replication.drop_from_publication(current.publication, schema, name))


def slot_lost(slot: str) -> MigrationError:
    """Return the error for a slot without which the copied data cannot be kept current."""
    return MigrationError(
        "slot_lost",
        f"The replication slot {slot} is gone, or the source has discarded WAL that it still needed; changes are lost "
        "between the copy and now.",
        "Before sync has run: run pg_migration_init with resume: false, which copies everything again. After it: run "
        "pg_migration_cleanup, empty the target and start again. Look at max_slot_wal_keep_size and "
        "idle_replication_slot_timeout of the source, and at its provider's rules for inactive slots.",
        {"slot": slot},
    )


def remove(
    migration: Migration, claim: Claim, stream: ledger.Stream, target: Session, source: Session | None = None
) -> None:
    """Give a stream's tables back and remove everything of it, on both sides; no subscription may use it yet."""
    if source is None:
        with migration.open("source", "undo") as opened_source:
            remove(migration, claim, stream, target, opened_source)
        return
    claim.retire_stream(stream.number)
    replication.drop_slot(source, stream.slot)
    claim.removed("source", "slot", stream.slot)
    comment = replication.publication_comment(source, stream.publication)
    if comment == replication.ownership_comment(migration.name, claim.id):
        source.execute(replication.drop_publication(stream.publication))
    claim.removed("source", "publication", stream.publication)
    for session in (source, target):
        session.execute(replication.drop_marker(stream.marker))
        claim.removed(session.endpoint.side, "table", stream.marker, OWN_SCHEMA)
    claim.set_stream(stream.number, "removed")
