# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The initial copy by the servers themselves: a subscription that copies its tables, followed until it has.

Publication, slot, schema and everything after the rows are those of every copy; here belongs what lies between. The
servers go on while no runner lives, so all that a run has to do is to begin, to look, and to finish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from . import drift, replication, slots, stream, subscription, table_sync
from .catalog import Table
from .claim import Claim
from .copying import copy_format
from .crew import Crew
from .driver import psycopg, sql
from .errors import MigrationError
from .ledger import IndexBuild, Record, Relation, Stream
from .migration import Migration
from .partitions import JOINING
from .progress import Event, Progress
from .session import Session
from .table_sync import Sample, Watch, joining

# Subscriptions copy in binary form from this major on, when both servers have it.
BINARY_COPY_MAJOR = 16
POLL_S = 1.0

_HAND_OVER = """
UPDATE seren_migrator.relation AS r
   SET state = %(joining)s, stream = w.number, format = %(format)s, rows = NULL, bytes = NULL
  FROM ROWS FROM (unnest(%(oids)s::bigint[]), unnest(%(numbers)s::integer[])) AS w(oid, number)
 WHERE r.migration_id = %(id)s AND r.state = 'pending' AND r.kind = 'table' AND r.source_oid = w.oid
   AND NOT EXISTS (SELECT 1 FROM seren_migrator.stream AS s
                    WHERE s.migration_id = %(id)s AND s.number = ANY (%(numbers)s) AND s.state <> 'slot_ready')
"""

# What was copied is not told afterwards; what it takes on the target can be measured.
_FINISHED = """
UPDATE seren_migrator.relation AS r
   SET state = 'copied', bytes = pg_catalog.pg_table_size(c.oid::pg_catalog.regclass),
       finished_at = pg_catalog.clock_timestamp()
  FROM ROWS FROM (unnest(%(schemas)s::text[]), unnest(%(names)s::text[])) AS w(schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
 WHERE r.migration_id = %(id)s AND r.state = %(joining)s AND r.schema = w.schema AND r.name = w.name
"""


class Options(subscription.Access, Protocol):
    """The options of init that matter here."""

    @property
    def stall_timeout(self) -> float:
        """Seconds that may pass without any progress."""


@dataclass(frozen=True)
class _Access:
    source_from_target: Mapping[str, Any] | None
    replication_role: Mapping[str, Any] | None
    subscription_options: Mapping[str, Any]


def format_of(tables: Iterable[Table], source_major: int, target_major: int, given: Mapping[str, Any]) -> str:
    """Return ``binary`` or ``text``: how all tables of a subscription will be copied.

    ``given`` are the user's subscription options, whose ``binary`` wins. Without it binary is used where both servers
    copy so (16+) and every column of every table is of a type that has one binary form.
    """
    wanted = {key.lower(): value for key, value in given.items()}.get("binary")
    if wanted is None:
        wanted = all(copy_format(table) == "binary" for table in tables)
    is_binary = str(wanted).lower() in ("true", "on", "1", "yes")
    return "binary" if is_binary and min(source_major, target_major) >= BINARY_COPY_MAJOR else "text"


def subscription_options(options: subscription.Access, form: str) -> subscription.Access:
    """Return the options with which the subscription is created, for a copy in the format ``form``."""
    given = dict(options.subscription_options)
    if form == "binary" and "binary" not in {key.lower() for key in given}:
        given["binary"] = True
    return _Access(options.source_from_target, options.replication_role, given)


def empty(claim: Claim, tables: Iterable[Table]) -> None:
    """Empty those of the tables that hold rows: of a copy whose stream was lost. Never what another runner has copied."""
    target = claim.session
    for table in tables:
        name = sql.Identifier(table.schema, table.name)
        if target.value(sql.SQL("SELECT 1 AS found FROM ONLY {} LIMIT 1").format(name)):
            with target.transaction():
                claim.write("SELECT 1")  # checks the claim, and keeps it to the end of the transaction
                target.execute(sql.SQL("TRUNCATE ONLY {}").format(name))


def hand_over(claim: Claim, stream_of: Mapping[int, int], form: str) -> None:
    """Record which stream is going to copy which tables (by OID) by itself; from now on these streams stay."""
    claim.write(_HAND_OVER, oids=list(stream_of), numbers=list(stream_of.values()), format=form, joining=JOINING)


def statements(migration: Migration, options: Options, migration_id: str, number: int, form: str) -> list[str]:
    """Return the statements, as text for people, that let the servers copy."""
    names = migration.names(migration_id, number)
    item = Stream(number, names.publication, names.slot, names.subscription, names.marker, None, "intended")
    access = subscription_options(options, form)
    create = subscription.create_statement(migration, access, item, item.publication, hidden=True, copy_data=True)
    enable = replication.alter_subscription(item.subscription, "ENABLE")
    return [create.as_string(None), enable.as_string(None)]


def has_begun(record: Record) -> bool:
    """True when a subscription of this migration was created to copy."""
    return record.options.get("copy_method") == "subscription" and any(
        item.state == "subscribed" for item in record.live_streams
    )


def refuse_without_identity(tables: Iterable[Table], builds: Iterable[IndexBuild]) -> None:
    """Raise ``bad_option`` when the index of a table's replica identity cannot be built by itself, before the rows."""
    built = {build.table_oid for build in builds if build.is_identity}
    names = sorted(table.qualified for table in tables if table.identity_verdict == "ok" and table.oid not in built)
    if names:
        raise MigrationError(
            "bad_option",
            f"The keys of these tables cannot be told from the rest of the schema: {', '.join(names[:10])}.",
            "Use copy_method: runner.",
            {"tables": names[:100]},
        )


def carry_out(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    options: Options,
    progress: Progress,
    crew: Crew,
) -> None:
    """Let the servers copy what was handed over to them and wait until they have; ``crew`` builds the indexes. Idempotent.

    Raises ``cannot_connect`` when the target does not reach the source, ``copy_failed`` for an error that repeats,
    ``copy_stalled`` when nothing moves for ``stall_timeout`` seconds, ``schema_changed``, ``slot_lost``,
    ``replication_broken`` and ``name_taken``.
    """
    record = claim.read()
    waiting = joining(record)
    items = [item for item in record.live_streams if any(relation.stream == item.number for relation in waiting)]
    if waiting:
        progress(Event("init", "building the indexes that changes are applied by", {"step": "indexes"}))
        crew.build_first([relation.source_oid for relation in waiting], lambda build: build.is_identity)
    for item in items:
        _subscribe(migration, claim, source, target, record, item, options, progress)
    resume(claim, target)
    if waiting:
        progress(Event("init", f"the servers copy {len(waiting)} table(s)", {"step": "copy"}))
    watches = {item: Watch(options.stall_timeout) for item in items}
    is_building = False
    while watches:
        for item, watch in list(watches.items()):
            if _look(claim, source, target, item, watch, crew, options, is_building=is_building):
                del watches[item]
        if watches:
            is_building = crew.work_for(POLL_S)


def _subscribe(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    record: Record,
    item: Stream,
    options: Options,
    progress: Progress,
) -> None:
    progress(Event("init", f"subscribing with {item.subscription}", {"step": "copy", "stream": item.number}))
    formats = {relation.format for relation in joining(record) if relation.stream == item.number}
    access = subscription_options(options, "binary" if formats == {"binary"} else "text")

    def statement(publication: str, hidden: bool) -> sql.Composed:
        return subscription.create_statement(migration, access, item, publication, hidden=hidden, copy_data=True)

    dropped = drift.read(source, record).dropped_names
    try:
        subscription.ensure(migration, claim, source, target, record, item, statement, dropped)
    except psycopg.Error as error:
        raise _refused(migration, error) from None


def resume(claim: Claim, target: Session) -> None:
    """Let the subscriptions of the migration work, if there are any.

    Not between the moment when triggers come and the one when those that always fire are put to rest.
    """
    record = claim.read()
    if record.is_done("post_data") != record.is_done("firing"):
        return
    for item in record.live_streams:
        found = replication.find_subscription(target, item.subscription) if item.state == "subscribed" else None
        if found is not None and found.is_enabled is False:
            target.execute(replication.alter_subscription(item.subscription, "ENABLE"))


@contextmanager
def paused(claim: Claim, record: Record, target: Session) -> Iterator[None]:
    """Keep every subscription of the migration that is on already from applying anything during the block.

    Constraints lock several tables at once, which apply may hold in another order; and a trigger that always fires must
    not meet a replicated row before it is put to rest.
    """
    if not has_begun(record):
        yield
        return
    try:
        for item in record.live_streams:
            found = replication.find_subscription(target, item.subscription) if item.state == "subscribed" else None
            if found is not None:
                replication.stop_subscription(target, found)
        yield
    except BaseException:
        with suppress(MigrationError, psycopg.Error):
            resume(claim, target)
        raise
    resume(claim, target)


def _refused(migration: Migration, error: psycopg.Error) -> MigrationError:
    said = migration.redactor.text(error.diag.message_primary or str(error)).strip()
    if (error.sqlstate or "").startswith("08"):
        return MigrationError(
            "cannot_connect",
            f"The target cannot reach the source, which it has to copy from: {said} (SQLSTATE {error.sqlstate})",
            "Let the target server's outgoing addresses in at the source (firewall, access list, pg_hba.conf), or set "
            "source_from_target; copy_method: runner needs no such way for the copy.",
            {"side": "source", "sqlstate": error.sqlstate},
        )
    return MigrationError(
        "database_error",
        f"The target refused to subscribe: {said} (SQLSTATE {error.sqlstate})",
        "The message names the cause; mend it and run the same command again.",
        {"sqlstate": error.sqlstate},
    )


# --- looking ---------------------------------------------------------------------------------------------------


def _look(
    claim: Claim,
    source: Session,
    target: Session,
    item: Stream,
    watch: Watch,
    crew: Crew,
    options: Options,
    *,
    is_building: bool,
) -> bool:
    """Note which tables of a stream are ready and begin their other indexes; return whether all of them are."""
    sample = table_sync.read(target, item.subscription)
    record = claim.read()
    waiting = {(r.schema, r.name): r for r in joining(record) if r.stream == item.number}
    if sample is None or waiting.keys() - sample.states.keys():
        raise _broken(item, waiting.keys() - (sample.states.keys() if sample else set()))
    done = sorted(waiting.keys() & sample.finished)
    if done and _note(claim, done):
        crew.build([waiting.pop(key).source_oid for key in done])
    if not slots.slot_is_usable(slots.slot_row(source, item.slot)):
        raise stream.slot_lost(item.slot)
    if sample.is_complete and not waiting:
        return True
    trouble = watch.look(sample, is_building=is_building)
    if trouble is not None:
        raise _explained(source, target, record, item, sample, trouble, options)
    return False


def _note(claim: Claim, done: Sequence[tuple[str, str]]) -> bool:
    try:
        claim.write(
            _FINISHED, schemas=[schema for schema, _name in done], names=[name for _schema, name in done],
            joining=JOINING,
        )  # fmt: skip
    except psycopg.errors.LockNotAvailable:
        return False  # a table is locked just now; the next look notes it
    return True


def _broken(item: Stream, missing: Iterable[tuple[str, str]]) -> MigrationError:
    names = ", ".join(f"{schema}.{name}" for schema, name in sorted(missing)[:10])
    return MigrationError(
        "replication_broken",
        f"The subscription {item.subscription} was dropped, or does not list these tables any more: {names}.",
        subscription.START_AGAIN,
        {"subscription": item.subscription},
    )


def _explained(
    source: Session,
    target: Session,
    record: Record,
    item: Stream,
    sample: Sample,
    trouble: table_sync.Trouble,
    options: Options,
) -> MigrationError:
    """Return the error for a copy that will not end by itself, with every cause that can be seen."""
    if trouble == "disabled":
        return MigrationError(
            "replication_broken",
            f"The subscription {item.subscription} was disabled while it copied (by somebody, or by disable_on_error).",
            f"Look for its last error in the target's server log and mend it. {_GO_ON}",
            {"subscription": item.subscription},
        )
    changed = _changed(source, target, record)
    if changed:
        return MigrationError(
            "schema_changed",
            f"These tables changed on the source, so that their rows do not fit the target any more: {changed}.",
            "Undo the change on the source and run the same command again, or clean up with pg_migration_cleanup, empty "
            "the target and start again.",
        )
    unfinished = sample.stuck or sorted(set(sample.states) - sample.finished)
    names = [f"{schema}.{name}" for schema, name in unfinished]
    found = table_sync.causes(source, target, sample)
    seen = f" Seen: {'; '.join(found)}." if found else ""
    details = {"tables": names[:100], "causes": found, "subscription": item.subscription, "errors": sample.errors}
    where = f"The target's server log has each error, beside the name of the subscription {item.subscription}."
    if trouble == "errors":
        return MigrationError(
            "copy_failed",
            f"The servers' own copy fails again and again: {sample.errors} errors so far; not finished: "
            f"{', '.join(names[:10])}.{seen}",
            f"{where} Mend the cause. {_GO_ON}",
            details,
        )
    return MigrationError(
        "copy_stalled",
        f"The servers' own copy has not moved for {options.stall_timeout:g} seconds; not finished: "
        f"{', '.join(names[:10])}.{seen}",
        f"{where} Mend the cause, or give it more time (stall_timeout). {_GO_ON}",
        details,
    )


_GO_ON = "The same command goes on then; the servers try again by themselves meanwhile."


def _changed(source: Session, target: Session, record: Record) -> str:
    """Name the tables, still to be copied, that are others on the source than when the target got its schema."""
    drifted = drift.read(source, record)
    waiting = {relation.source_oid: relation for relation in joining(record)}
    found = [str(item) for item in drifted.replaced if item.relation.source_oid in waiting]
    found += [f"{r.schema}.{r.name} was dropped" for r in drifted.dropped if r.source_oid in waiting]
    there, here = (_columns(session, waiting.values()) for session in (source, target))
    for key in sorted(there.keys() & here.keys()):
        if differing := sorted({name for name, _type in there[key] ^ here[key]}):
            found.append(f"{'.'.join(key)} has other columns ({', '.join(differing)})")
    return "; ".join(found[:10])


# Takes no lock on a table, as reading a table's size would.
_COLUMNS = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS column,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type
  FROM ROWS FROM (unnest(%(schemas)s::text[]), unnest(%(names)s::text[])) AS w(schema, name)
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE a.attgenerated = ''
"""


def _columns(session: Session, relations: Iterable[Relation]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    keys = [(relation.schema, relation.name) for relation in relations]
    parameters = {"schemas": [schema for schema, _name in keys], "names": [name for _schema, name in keys]}
    columns: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in session.rows(_COLUMNS, parameters):
        columns.setdefault((row["schema"], row["name"]), set()).add((row["column"], row["type"]))
    return columns
