# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The right of one runner to work on a migration: an epoch that each of its writes checks, and a heartbeat.

PostgreSQL's advisory locks are per database and die with a failover; this is a row of the ledger, which is why every
write to the ledger goes through a :class:`Claim`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from .driver import psycopg, sql
from .errors import MigrationError
from .ledger import (
    HEARTBEAT_STALE_S,
    HOLDER_LIVES,
    INSERT_INDEX_BUILDS,
    INSERT_RELATIONS,
    IndexBuild,
    Record,
    Relation,
    describe_holder,
    find,
    index_builds,
    kept_dump,
    read,
    relations_as_json,
)
from .migration import Migration, StreamNames
from .session import Session

HEARTBEAT_INTERVAL_S = 5

# Division by zero: it fails together with what is sent in the same round trip.
_HELD = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.migration AS m
                                   WHERE m.id = %(id)s AND m.epoch = %(epoch)s FOR SHARE) AS held)
"""

_DONE_MARK = """
SELECT 1 / (SELECT count(*) FROM (SELECT 1 FROM seren_migrator.migration AS m
                                   WHERE m.id = {id} AND m.epoch = {epoch} FOR SHARE) AS held);
INSERT INTO seren_migrator.step AS s (migration_id, step, state, detail, finished_at)
SELECT {id}, {step}, 'done', {detail}::jsonb || pg_catalog.jsonb_build_object('created', (
         SELECT coalesce(pg_catalog.jsonb_agg(c.oid::bigint), '[]')
           FROM (SELECT r.oid, r.xmin FROM pg_catalog.pg_class AS r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
                  UNION ALL SELECT p.oid, p.xmin FROM pg_catalog.pg_proc AS p
                  UNION ALL SELECT t.oid, t.xmin FROM pg_catalog.pg_type AS t WHERE t.typtype IN ('e', 'd', 'r')
                  UNION ALL SELECT n.oid, n.xmin FROM pg_catalog.pg_namespace AS n
                  UNION ALL SELECT e.oid, e.xmin FROM pg_catalog.pg_extension AS e
                  UNION ALL SELECT l.oid, l.xmin FROM pg_catalog.pg_language AS l
                  UNION ALL SELECT d.oid, d.xmin FROM pg_catalog.pg_default_acl AS d) AS c(oid, made_by)
          WHERE c.made_by = pg_catalog.pg_current_xact_id()::xid),
         'default_privileges', (SELECT coalesce(pg_catalog.jsonb_agg(d.oid::bigint), '[]')
                                  FROM pg_catalog.pg_default_acl AS d)), pg_catalog.now()
ON CONFLICT (migration_id, step)
  DO UPDATE SET state = 'done', detail = s.detail || excluded.detail, finished_at = pg_catalog.now();
"""

# What came after the mark, in the same transaction, and is to be taken back with the rest.
_ADD_TO_MARK = """
UPDATE seren_migrator.step AS s
   SET detail = s.detail || {detail}::jsonb || pg_catalog.jsonb_build_object('created', (s.detail->'created') || (
         SELECT coalesce(pg_catalog.jsonb_agg(d.oid::bigint), '[]')
           FROM pg_catalog.pg_default_acl AS d
          WHERE NOT (s.detail->'default_privileges') @> pg_catalog.to_jsonb(d.oid::bigint)))
 WHERE s.migration_id = {id} AND s.step = {step}
"""

_INTEND = """
INSERT INTO seren_migrator.object (migration_id, side, kind, name, schema)
SELECT %(id)s, o.* FROM unnest(%(sides)s::text[], %(kinds)s::text[], %(names)s::text[], %(schemas)s::text[]) AS o
ON CONFLICT (migration_id, side, kind, schema, name) DO UPDATE SET removed_at = NULL
"""


class Claim:
    """The right of this runner to work on one migration; every write of the ledger goes through it.

    Holds the runner's ledger connection (``session``). Use :func:`claimed` to get one.
    """

    def __init__(self, session: Session, name: str, migration_id: str, epoch: int) -> None:
        self.session = session
        self.name = name
        self.id = migration_id
        self.epoch = epoch
        # Held while the heartbeat speaks to the server; whoever forks holds it, so that no child inherits half a word.
        self.quiet = threading.Lock()

    def key(self, **values: Any) -> dict[str, Any]:
        """Return the parameters that name this claim, with others."""
        return {"id": self.id, "epoch": self.epoch, **values}

    def write(self, statement: str, **values: Any) -> None:
        """Run one statement of the ledger in a transaction that checks the claim, in one round trip."""
        try:
            psycopg.ClientCursor(self.session.connection).execute(f"{_HELD};\n{statement}", self.key(**values))
        except psycopg.errors.DivisionByZero:
            raise replaced(self.name) from None

    def read(self) -> Record:
        """Read the record again."""
        record = read(self.session, self.name)
        if record is None or record.id != self.id or record.epoch != self.epoch:
            raise replaced(self.name)
        return record

    def set_state(self, state: str) -> None:
        """Write the migration's state."""
        self.write("UPDATE seren_migrator.migration SET state = %(state)s WHERE id = %(id)s", state=state)

    def intend(self, side: str, kind: str, name: str, schema: str = "") -> None:
        """Record that an object is about to be created."""
        self.intend_all([(side, kind, name, schema)])

    def intend_all(self, objects: Sequence[tuple[str, str, str, str]]) -> None:
        """Record that objects, each as side, kind, name and schema, are about to be created."""
        self.write(_INTEND, **_columns(objects))

    def removed(self, side: str, kind: str, name: str, schema: str = "") -> None:
        """Record that an object is gone."""
        self.write(
            "UPDATE seren_migrator.object SET removed_at = pg_catalog.now() WHERE migration_id = %(id)s"
            " AND side = %(side)s AND kind = %(kind)s AND schema = %(schema)s AND name = %(name)s",
            side=side,
            kind=kind,
            schema=schema,
            name=name,
        )

    def removed_all(self, side: str, kind: str, objects: Sequence[tuple[str, str]]) -> None:
        """Record that objects of one kind, each as name and schema, are gone."""
        names, schemas = (list(values) for values in zip(*objects, strict=True))
        self.write(
            "UPDATE seren_migrator.object AS o SET removed_at = pg_catalog.now()"
            "  FROM unnest(%(names)s::text[], %(schemas)s::text[]) AS g(name, schema)"
            " WHERE o.migration_id = %(id)s AND o.side = %(side)s AND o.kind = %(kind)s"
            " AND o.name = g.name AND o.schema = g.schema",
            side=side,
            kind=kind,
            names=names,
            schemas=schemas,
        )

    def add_streams(self, streams: Mapping[int, StreamNames], objects: Sequence[tuple[str, str, str, str]]) -> None:
        """Record the intent to open streams, and the ``objects`` of which they will consist (as :meth:`intend_all`)."""
        names = list(streams.values())
        self.write(
            "INSERT INTO seren_migrator.stream (migration_id, number, publication, slot, subscription, marker, state)"
            " SELECT %(id)s, s.*, 'intended' FROM unnest(%(numbers)s::integer[], %(publications)s::text[],"
            f" %(slots)s::text[], %(subscriptions)s::text[], %(markers)s::text[]) AS s;\n{_INTEND}",
            numbers=list(streams),
            publications=[item.publication for item in names],
            slots=[item.slot for item in names],
            subscriptions=[item.subscription for item in names],
            markers=[item.marker for item in names],
            **_columns(objects),
        )

    def set_stream(self, number: int, state: str, consistent_point: str | None = None) -> None:
        """Write a stream's state and, when given, its consistent point."""
        self.write(
            "UPDATE seren_migrator.stream SET state = %(state)s,"
            " consistent_point = coalesce(%(lsn)s::pg_lsn, consistent_point)"
            " WHERE migration_id = %(id)s AND number = %(number)s",
            number=number,
            state=state,
            lsn=consistent_point,
        )

    def replace_relations(self, relations: Sequence[Relation]) -> None:
        """Write the relations anew, after another reading of the source; nothing may have been copied yet."""
        self.write(
            "DELETE FROM seren_migrator.relation WHERE migration_id = %(id)s AND state <> 'copied';\n"
            f"{INSERT_RELATIONS}",
            relations=relations_as_json(relations),
        )

    def replace_index_builds(self, builds: Sequence[IndexBuild], oids: Collection[int] | None = None) -> None:
        """Write anew what is to be built on the tables ``oids`` (None: on all); nothing may have been built there yet."""
        self.write(
            "DELETE FROM seren_migrator.index_build WHERE migration_id = %(id)s"
            " AND (%(oids)s::bigint[] IS NULL OR table_oid = ANY (%(oids)s::bigint[]));\n"
            f"{INSERT_INDEX_BUILDS}",
            oids=None if oids is None else sorted(oids),
            builds=json.dumps([asdict(build) for build in builds], ensure_ascii=False),
        )

    def add_relations(self, step: str, detail: Mapping[str, Any], relations: Sequence[Relation]) -> None:
        """Write relations that join the migration, and the step that brings them, together."""
        with self.session.transaction():
            self.begin(step, detail)
            self.write(INSERT_RELATIONS, relations=relations_as_json(relations))

    def forget_relations(self, source_oids: Collection[int], steps: Collection[str]) -> None:
        """Forget relations whose rows were not copied, and steps, together."""
        with self.session.transaction():
            self.write(
                "DELETE FROM seren_migrator.relation WHERE migration_id = %(id)s AND source_oid = ANY (%(oids)s)"
                " AND state <> 'copied'",
                oids=list(source_oids),
            )
            self.write(
                "DELETE FROM seren_migrator.step WHERE migration_id = %(id)s AND step = ANY (%(steps)s)",
                steps=list(steps),
            )

    def index_builds(self) -> list[IndexBuild]:
        """Read what is built on the tables, and how far it is."""
        return index_builds(self.session, self.id)

    def reset_relations(self, stream: int) -> None:
        """Give a stream's relations back: their rows have to be copied again, by another stream."""
        self.write(
            "UPDATE seren_migrator.relation SET state = 'pending', stream = NULL, rows = NULL, bytes = NULL"
            " WHERE migration_id = %(id)s AND stream = %(number)s",
            number=stream,
        )

    def forget_pieces(self) -> None:
        """Forget what pieces of tables have brought that are not whole: a new round copies these tables anew."""
        self.write(
            "UPDATE seren_migrator.relation SET rows = NULL, bytes = NULL"
            " WHERE migration_id = %(id)s AND state = 'pending' AND bytes IS NOT NULL"
        )

    def reset_tables(self, source_oids: Sequence[int]) -> None:
        """Give single relations back: their rows have to be copied again, by another stream."""
        self.write(
            "UPDATE seren_migrator.relation SET state = 'pending', stream = NULL, rows = NULL, bytes = NULL"
            " WHERE migration_id = %(id)s AND source_oid = ANY (%(oids)s)",
            oids=list(source_oids),
        )

    @contextmanager
    def step(self, step: str, detail: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Record that a step starts, run the block, record that it is done."""
        self.begin(step)
        yield
        self.finish(step, detail)

    def begin(self, step: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record that a step starts, with what shall be known about it whether or not it ends."""
        self.write(
            "INSERT INTO seren_migrator.step (migration_id, step, state, detail)"
            " VALUES (%(id)s, %(step)s, 'started', %(detail)s)"
            " ON CONFLICT (migration_id, step) DO UPDATE SET state = 'started', detail = excluded.detail,"
            " started_at = pg_catalog.now(), finished_at = NULL",
            step=step,
            detail=json.dumps(detail or {}),
        )

    def finish(self, step: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record that a step is done, with what is worth keeping about it."""
        self.finish_all({step: detail or {}})

    def finish_all(self, details: Mapping[str, Mapping[str, Any]]) -> None:
        """Record that steps are done, each with what is worth keeping about it, together."""
        self.write(
            "INSERT INTO seren_migrator.step (migration_id, step, state, detail, finished_at)"
            " SELECT %(id)s, d.step, 'done', d.detail::jsonb, pg_catalog.now()"
            "   FROM unnest(%(steps)s::text[], %(details)s::text[]) AS d(step, detail)"
            " ON CONFLICT (migration_id, step) DO UPDATE SET state = 'done', detail = excluded.detail,"
            " finished_at = pg_catalog.now()",
            steps=list(details),
            details=[json.dumps(detail) for detail in details.values()],
        )

    def done_mark(self, step: str, detail: Mapping[str, Any] | None = None) -> sql.Composed:
        """Return the statements that record a step as done, to run in the transaction that does it.

        They fail (division by zero) when the claim is lost. To ``detail`` they add ``created``: the OIDs of everything
        that this transaction has made outside of savepoints, and ``default_privileges``: those of all default privileges that are there.
        """
        return sql.SQL(_DONE_MARK).format(
            id=sql.Literal(self.id),
            epoch=sql.Literal(self.epoch),
            step=sql.Literal(step),
            detail=sql.Literal(json.dumps(detail or {})),
        )

    def added_to_mark(self, step: str, detail: Mapping[str, Any]) -> sql.Composed:
        """Return the statement that adds to a mark of this transaction, and to ``created`` the default privileges since."""
        return sql.SQL(_ADD_TO_MARK).format(
            id=sql.Literal(self.id), step=sql.Literal(step), detail=sql.Literal(json.dumps(detail))
        )

    def retire_stream(self, number: int) -> None:
        """Mark a stream as being removed and give its relations back, in one transaction.

        A worker's last word about a table waits for this, or this for it; so no table can be copied by a stream that
        is going away.
        """
        with self.session.transaction():
            self.set_stream(number, "removing")
            self.reset_relations(number)

    def keep_dump(self, client_major: int, archive: bytes) -> None:
        """Keep the archive of the schema (without secrets), so that another runner can restore the rest."""
        self.write(
            "INSERT INTO seren_migrator.schema_dump (migration_id, client_major, archive)"
            " VALUES (%(id)s, %(major)s, %(archive)s)"
            " ON CONFLICT (migration_id) DO UPDATE SET client_major = %(major)s, archive = %(archive)s",
            major=client_major,
            archive=archive,
        )

    def kept_dump(self) -> bytes:
        """Return the archive of the schema."""
        archive = kept_dump(self.session, self.id)
        if archive is None:
            raise LookupError("the ledger has lost the archive of the schema")
        return archive

    def forget_dump(self) -> None:
        """Remove the archive of the schema, which nobody needs once replication has begun."""
        self.write("DELETE FROM seren_migrator.schema_dump WHERE migration_id = %(id)s")

    def bury(self) -> None:
        """Leave a tombstone: the migration was cleaned up."""
        self.write(
            "UPDATE seren_migrator.migration SET cleaned_at = pg_catalog.now(), holder = NULL, heartbeat = NULL"
            " WHERE id = %(id)s"
        )


def _columns(objects: Sequence[tuple[str, str, str, str]]) -> dict[str, list[str]]:
    """Return objects, each as side, kind, name and schema, as the values of the statement that intends them."""
    sides, kinds, names, schemas = (list(values) for values in zip(*objects, strict=True))
    return {"sides": sides, "kinds": kinds, "names": names, "schemas": schemas}


def replaced(name: str) -> MigrationError:
    """Return the error of a runner that has lost its claim."""
    return MigrationError(
        "runner_replaced",
        f"Another runner has taken over the migration {name!r}; this one stopped before it could interfere.",
        "Watch the other runner with pg_migration_status, or run the same command again once it has ended.",
    )


def ledger_purpose(command: str) -> str:
    """Return what the connection of a claim is for."""
    return f"{command} ledger"


@contextmanager
def claimed(
    migration: Migration,
    command: str,
    fingerprint: str,
    *,
    buried: bool = False,
    opening: Callable[[], Session] | None = None,
) -> Iterator[Claim]:
    """Take the migration's claim for the length of the block, or raise ``migration_busy``.

    ``command`` is the phase for people; ``fingerprint`` tells whether two commands are the same; ``buried`` takes a
    migration that was cleaned up, too; ``opening`` gives a connection to the target that is for the ledger alone. The
    claim's own connection stays open, and a second one beats every few seconds, until the block ends.
    """
    with migration.open("target", ledger_purpose(command)) if opening is None else opening() as session:
        row = session.row(
            "UPDATE seren_migrator.migration AS m SET epoch = m.epoch + 1,"
            " heartbeat = pg_catalog.clock_timestamp(),"
            " holder = pg_catalog.jsonb_build_object('command', %(command)s::text, 'fingerprint', %(fingerprint)s::text,"
            " 'host', %(host)s::text, 'pid', %(pid)s::integer, 'since', pg_catalog.clock_timestamp()::text,"
            " 'backend_pid', pg_catalog.pg_backend_pid(), 'backend_start', (SELECT a.backend_start::text"
            "   FROM pg_catalog.pg_stat_activity AS a WHERE a.pid = pg_catalog.pg_backend_pid()))"
            " WHERE m.name = %(name)s AND (m.cleaned_at IS NULL OR %(buried)s)"
            " AND NOT coalesce(" + HOLDER_LIVES + ", false)"
            " RETURNING m.id, m.epoch",
            {
                "command": command,
                "fingerprint": fingerprint,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "name": migration.name,
                "buried": buried,
                "stale": HEARTBEAT_STALE_S,
            },
        )
        if row is None:
            record = find(session, migration.name)
            raise MigrationError(
                "migration_busy",
                f"The migration {migration.name!r} is being worked on by "
                f"{describe_holder(record.holder if record else None)}.",
                "Wait until it has ended, or stop it; a runner that died is replaced by itself after "
                f"{HEARTBEAT_STALE_S} seconds at most.",
                {"holder": record.holder if record else None},
            )
        held = Claim(session, migration.name, row["id"], row["epoch"])
        stop = threading.Event()
        beat = threading.Thread(target=_beat, args=(migration, held, stop), daemon=True)
        beat.start()
        try:
            yield held
        finally:
            stop.set()
            beat.join(timeout=HEARTBEAT_INTERVAL_S)
            _release(held)


def _beat(migration: Migration, held: Claim, stop: threading.Event) -> None:
    """Renew the heartbeat until told to stop; a lost connection is opened again. The first one came with the claim."""
    stop.wait(HEARTBEAT_INTERVAL_S)
    while not stop.is_set():
        try:
            with held.quiet:
                session = migration.open("target", "heartbeat")
            with session:
                while not stop.is_set():
                    with held.quiet:
                        session.connection.execute(
                            "UPDATE seren_migrator.migration SET heartbeat = pg_catalog.clock_timestamp()"
                            " WHERE id = %(id)s AND epoch = %(epoch)s",
                            held.key(),
                        )
                    stop.wait(HEARTBEAT_INTERVAL_S)
        except (MigrationError, psycopg.Error):
            stop.wait(1)


def _release(held: Claim) -> None:
    """Give the claim back; a connection that is gone has given it back already."""
    with suppress(psycopg.Error):
        held.session.connection.execute(
            "UPDATE seren_migrator.migration SET holder = NULL, heartbeat = NULL"
            " WHERE id = %(id)s AND epoch = %(epoch)s",
            held.key(),
        )
