# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Opening and removing streams: marker tables, publications, slots and one snapshot, each recorded before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from . import ledger, replication, slots
from .catalog import OWN_SCHEMA, Catalog, Table
from .claim import Claim
from .driver import psycopg, sql
from .errors import MigrationError
from .ledger import Record
from .migration import Migration, StreamNames, backend_name
from .session import Session
from .side_by_side import both
from .slots import SlotHold

LEFT_OVER_WAIT_S = 10


@dataclass(frozen=True)
class OpenStreams:
    """Streams that share a snapshot, which can be imported while the block that opened them runs."""

    numbers: tuple[int, ...]
    snapshot: str
    consistent_point: str


def to_open(record: Record | None, wanted: int) -> int:
    """Return how many streams the next round of copying may open, when a migration shall have ``wanted``. Pure.

    Streams that carry tables go on and count; what is still to be copied needs at least one new stream.
    """
    if record is None:
        return wanted
    if record.state != "copying" or not (record.pending or not record.is_done("pre_data")):
        return 0
    return max(1, wanted - len(carrying(record)))


def carrying(record: Record) -> list[ledger.Stream]:
    """Return the living streams that carry copied tables; every other one is removed before a round of copying. Pure."""
    used = {relation.stream for relation in record.relations}
    return [stream for stream in record.live_streams if stream.state != "removing" and stream.number in used]


def next_number(record: Record | None) -> int:
    """Return the number of the next stream; numbers are never used again. Pure."""
    return 1 + max((stream.number for stream in record.streams), default=0) if record else 1


def create_statements(
    migration: Migration,
    migration_id: str,
    shares: Mapping[int, Sequence[Table]],
    catalog: Catalog,
    predicates: Mapping[int, str],
    source_major: int,
) -> list[str]:
    """Return the statements, as text for people, that opening streams runs on the source.

    ``shares`` maps the streams' numbers to the row-storing tables that they carry; ``catalog`` is the whole database's.
    """
    names = {number: migration.names(migration_id, number) for number in shares}
    statements = [replication.create_own_schema()]
    for number, share in shares.items():
        members = replication.publication_members(catalog, {t.oid for t in share}, predicates, source_major)
        marker, publication = names[number].marker, names[number].publication
        statements.append(replication.create_marker(marker))
        statements.append(replication.create_publication(publication, members, marker, predicates, source_major))
    first, *further = (item.slot for item in names.values())
    return [
        *(statement.as_string(None) for statement in statements),
        f"CREATE_REPLICATION_SLOT {first} LOGICAL pgoutput EXPORT_SNAPSHOT",
        *(slots.copy_slot(first, slot).as_string(None) for slot in further),
    ]


@contextmanager
def opened(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    catalog: Catalog,
    shares: Mapping[int, Sequence[Table]],
    predicates: Mapping[int, str],
    *,
    slot_timeout_s: float,
) -> Iterator[OpenStreams]:
    """Open streams that share one snapshot, and hold it for the block.

    ``shares`` maps their numbers to the row-storing tables that they carry. All publications come before the first
    slot; that one exports the snapshot, the others are copies of it, so all deliver from the same consistent point.
    When the block fails, each stream with which no table was copied is removed again; where some were, the slot
    stays, because the next run continues with it.
    """
    names = {number: migration.names(claim.id, number) for number in shares}
    for item in names.values():
        if replication.publication_comment(source, item.publication) is not None:
            raise name_taken("publication", item.publication, "source", source)
    is_recorded = False
    slots_of = [item.slot for item in names.values()]
    try:
        with SlotHold(migration, slots_of[0], slot_timeout_s) as hold:

            def make() -> None:
                nonlocal is_recorded
                claim.add_streams(names, _objects(names))
                is_recorded = True
                _make(migration, claim, source, target, catalog, shares, names, predicates)

            # To connect to a far source takes as long as that.
            both(make, hold.connect)
            hold.create()
            _make_further(migration, source, hold, slots_of[1:])
            both(lambda: _announce(migration, claim, hold, names), lambda: _write_markers(source, names))
            yield OpenStreams(tuple(shares), hold.snapshot, hold.consistent_point)
    except BaseException:
        for number in names if is_recorded else ():
            with suppress(MigrationError, psycopg.Error):
                if not any(relation.stream == number for relation in claim.read().relations):
                    remove(migration, claim, _stream(claim, number), target)
        raise


def _objects(names: Mapping[int, StreamNames]) -> list[tuple[str, str, str, str]]:
    """Return everything that opening streams makes, each as side, kind, name and schema."""
    found = [("source", "schema", OWN_SCHEMA, "")]
    for item in names.values():
        found += [(side, "table", item.marker, OWN_SCHEMA) for side in ("source", "target")]
        found += [("source", "publication", item.publication, ""), ("source", "slot", item.slot, "")]
    return found


def _make(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    catalog: Catalog,
    shares: Mapping[int, Sequence[Table]],
    names: Mapping[int, StreamNames],
    predicates: Mapping[int, str],
) -> None:
    """Make the markers on both sides and the publications, in one round trip a side."""
    comment = replication.ownership_comment(migration.name, claim.id)
    markers = [replication.create_own_schema(), *(replication.create_marker(item.marker) for item in names.values())]
    publications: list[sql.Composed] = []
    for number, share in shares.items():
        publication, marker = names[number].publication, names[number].marker
        members = replication.publication_members(catalog, {t.oid for t in share}, predicates, source.major)
        publications += [
            replication.create_publication(publication, members, marker, predicates, source.major),
            replication.comment_publication(publication, comment),
        ]
    for session, statements in ((source, [*markers, *publications]), (target, markers)):
        try:
            session.execute_together(*statements)
        except psycopg.errors.UniqueViolation:
            # Another migration made our schema at the same moment; IF NOT EXISTS does not see what is uncommitted.
            session.execute_together(*statements)


def _write_markers(source: Session, names: Mapping[int, StreamNames]) -> None:
    for item in names.values():
        source.connection.execute(replication.write_marker(item.marker), {"token": "opened"})


def _make_further(migration: Migration, source: Session, hold: SlotHold, further: Sequence[str]) -> None:
    """Copy the held slot. Without the claim nobody knows of what was just made, so it is dropped here and now."""
    made = [hold.slot]
    try:
        for slot in further:
            made.append(slot)
            slots.make_slot_copy(source, hold.slot, slot, hold.consistent_point)
    except MigrationError:
        _drop(migration, made)
        raise


def _announce(migration: Migration, claim: Claim, hold: SlotHold, names: Mapping[int, StreamNames]) -> None:
    """Record that the slots are there; when the claim was lost meanwhile, nobody else knows of them: drop them again."""
    try:
        for number in names:
            claim.set_stream(number, "slot_ready", hold.consistent_point)
    except MigrationError:
        _drop(migration, [item.slot for item in names.values()])
        raise


def _drop(migration: Migration, names: Sequence[str]) -> None:
    with migration.open("source", "undo") as source:
        for slot in names:
            slots.drop_slot(source, slot)


def _stream(claim: Claim, number: int) -> ledger.Stream:
    return next(stream for stream in claim.read().streams if stream.number == number)


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
            session.terminate(row["pid"])
        time.sleep(0.1)


def settle(migration: Migration, claim: Claim, source: Session, target: Session) -> Record:
    """Look at what an earlier run has left, before going on; return what the ledger says then.

    A stream whose slot still works and which carries copied tables stays; the tables that it could not copy any more
    leave its publication. Every other one is removed, and its tables have to be copied again.
    """
    both(lambda: end_left_over(claim, source), lambda: end_left_over(claim, target))
    record = claim.read()
    for stream in record.live_streams:
        carries = stream in carrying(record)
        if carries and slots.slot_is_usable(slots.slot_row(source, stream.slot)):
            narrow(source, record, stream)
            continue
        if carries and record.is_done("post_data"):
            raise slot_lost(stream.slot)
        remove(migration, claim, stream, target, source)
    given_up = [stream.slot for stream in record.streams if stream.state == "removed"]
    if given_up and record.pending and record.is_done("post_data"):
        raise slot_lost(given_up[-1])  # rows cannot be copied into tables that have their foreign keys and triggers
    return claim.read() if record.live_streams else record


def release(migration: Migration, claim: Claim, source: Session, target: Session, number: int) -> None:
    """Take the tables that are still to be copied out of a stream; a stream that carries nothing goes.

    A partition whose partitioned table is published stays published; the subscription simply will not list it.
    """
    record = claim.read()
    current = next(item for item in record.streams if item.number == number)
    if not any(relation.stream == number for relation in record.relations):
        remove(migration, claim, current, target, source)
    else:
        narrow(source, record, current)


def narrow(source: Session, record: Record, current: ledger.Stream) -> None:
    """Take the tables that are still to be copied out of a stream's publication."""
    pending = {(relation.schema, relation.name) for relation in record.pending}
    if not pending:
        return
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
    """Give a stream's tables back and remove everything of it, on both sides."""
    if source is None:
        with migration.open("source", "undo") as opened_source:
            remove(migration, claim, stream, target, opened_source)
        return
    claim.retire_stream(stream.number)
    _remove_subscription(migration, claim, stream, target, source)
    slots.drop_slot(source, stream.slot)
    claim.removed("source", "slot", stream.slot)
    comment = replication.publication_comment(source, stream.publication)
    if comment == replication.ownership_comment(migration.name, claim.id):
        source.execute(replication.drop_publication(stream.publication))
    claim.removed("source", "publication", stream.publication)
    for session in (source, target):
        session.execute(replication.drop_marker(stream.marker))
        claim.removed(session.endpoint.side, "table", stream.marker, OWN_SCHEMA)
    claim.set_stream(stream.number, "removed")


def _remove_subscription(
    migration: Migration, claim: Claim, stream: ledger.Stream, target: Session, source: Session
) -> None:
    """Drop the subscription of a stream whose servers copy by themselves; what it has on the source goes with it."""
    found = replication.find_subscription(target, stream.subscription)
    if found is None or found.comment != replication.ownership_comment(migration.name, claim.id):
        return
    # Recorded first: the slots of its table synchronisation are found by its OID, also by cleanup.
    claim.finish(f"subscription {stream.subscription}", {"oid": found.oid})
    system = claim.read().target.get("system_identifier")
    replication.stop_subscription(target, found)
    slots.end_sync_senders(source, found.oid, system)
    replication.drop_own_subscription(target, stream.subscription)
    slots.drop_sync_slots(source, found.oid, system)
    claim.removed("target", "subscription", stream.subscription)
