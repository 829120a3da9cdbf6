# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The proof that nothing was written on the source while it was compared, taken from its WAL.

A temporary replication slot, which lives as long as its connection, stands before the first snapshot. What the
streams' publications have committed since is read from it without moving it. Nothing is deduced from what is not there
to be read: whatever fails is no proof.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..catalog import OWN_SCHEMA
from ..driver import Row, psycopg, sql
from ..session import Session
from .snapshots import new_transaction_id, wait_until_ended

# How long the transactions that are under way may take to end.
WAIT_S = 10.0
# Changes that are looked at: one is enough to end a fence, the rest is for the report.
_CHANGES_READ = 10_000

_CREATE = "SELECT pg_catalog.pg_create_logical_replication_slot(%(slot)s, 'pgoutput', true) AS made"

# pgoutput, protocol 1: I, U and D name their table by its OID behind the letter, T several behind a count and a byte of
# options. Source: PostgreSQL manual, "Logical Replication Message Formats".
_CHANGES = """
WITH peeked AS (
  SELECT p.data, pg_catalog.chr(pg_catalog.get_byte(p.data, 0)) AS kind
    FROM pg_catalog.pg_logical_slot_peek_binary_changes(
           %(slot)s, NULL, %(limit)s, 'proto_version', '1', 'publication_names', %(publications)s) AS p
), touched AS (
  SELECT ('x' || pg_catalog.encode(pg_catalog.substring(c.data, 2, 4), 'hex'))::bit(32)::bigint AS oid
    FROM peeked AS c WHERE c.kind IN ('I', 'U', 'D')
   UNION ALL
  SELECT ('x' || pg_catalog.encode(pg_catalog.substring(c.data, 7 + 4 * g.n, 4), 'hex'))::bit(32)::bigint
    FROM peeked AS c
   CROSS JOIN LATERAL pg_catalog.generate_series(0, (pg_catalog.length(c.data) - 6) / 4 - 1) AS g(n)
   WHERE c.kind = 'T'
)
SELECT t.oid, coalesce(n.nspname || '.' || c.relname, t.oid::text) AS name, c.relkind IS DISTINCT FROM 'r' AS is_vague,
       (SELECT pg_catalog.count(*) FROM peeked) >= %(limit)s AS is_cut
  FROM touched AS t
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.oid::oid
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname IS DISTINCT FROM %(own_schema)s
 GROUP BY 1, 2, 3 ORDER BY pg_catalog.count(*) DESC, 2
"""

# Who has changed rows and not ended yet, prepared transactions among them. A lock that a fence itself takes is stronger.
_WRITERS = """
SELECT pg_catalog.min(n.nspname || '.' || c.relname) AS name, l.pid
  FROM pg_catalog.pg_locks AS l
  JOIN pg_catalog.pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())
   AND n.nspname <> %(own_schema)s AND n.nspname !~ '^pg_'
   AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
 GROUP BY l.pid ORDER BY 1 LIMIT 1
"""


class NotStill(Exception):
    """Writes have not stopped, or it cannot be proven that they have; and why."""


@dataclass
class Watch:
    """A slot that stands before the snapshots of a run, and what is read from it; safe to share between threads."""

    source: Session
    slot: str
    publications: str
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_still(self, oids: Sequence[int]) -> bool:
        """Return True only when nothing that changed these tables has committed since the slot was made, until now."""
        try:
            changes = self._changes()
        except NotStill:
            return False
        # A change under the name of a partitioned table, or beyond what was read, may be one of these tables'.
        return not any(row["is_vague"] or row["is_cut"] or row["oid"] in oids for row in changes)

    def check(self) -> None:
        """Raise :class:`NotStill` when any published table was changed since, or is being changed now."""
        changes = self._changes()
        if changes:
            more = f" and of {len(changes) - 1} more tables" if len(changes) > 1 else ""
            raise NotStill(f"rows of {changes[0]['name']}{more} were changed on the source while it was compared")
        self.check_writers()

    def check_writers(self) -> None:
        """Raise :class:`NotStill` when a transaction has changed rows and not ended."""
        for row in self._asked(_WRITERS, {"own_schema": OWN_SCHEMA}):
            who = f"the session {row['pid']}" if row["pid"] is not None else "a prepared transaction"
            raise NotStill(f"{who} is changing {row['name']} on the source")

    def _changes(self) -> list[Row]:
        return self._asked(
            _CHANGES,
            {
                "slot": self.slot,
                "limit": _CHANGES_READ,
                "publications": self.publications,
                "own_schema": OWN_SCHEMA,
            },
        )

    def _asked(self, query: str, parameters: Mapping[str, Any]) -> list[Row]:
        with self._lock:
            try:
                return self.source.rows(query, parameters)
            except psycopg.Error as error:
                said = error.diag.message_primary or str(error)
                raise NotStill(f"the source's WAL could not be read: {said}") from None


@contextmanager
def watching(source: Session, control: Session, publications: Sequence[str]) -> Iterator[Watch]:
    """Stand a slot before whatever snapshots are taken inside the block. Raises :class:`NotStill`.

    ``source`` is a connection of its own. Whatever committed before the slot is visible when this yields, also what
    waits for a synchronous standby; whatever commits later is read from it.
    """
    names = ",".join(sql.Identifier(name).as_string(source.connection) for name in publications)
    watch = Watch(source, f"seren_verify_{secrets.token_hex(8)}", names)
    watch.check_writers()
    try:
        source.connection.execute("SELECT pg_catalog.set_config('lock_timeout', %s, false)", (f"{WAIT_S:g}s",))
        source.connection.execute(_CREATE, {"slot": watch.slot})
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        raise NotStill("a transaction that is older than the comparison does not end") from None
    except psycopg.Error as error:
        said = error.diag.message_primary or str(error)
        raise NotStill(
            f"no temporary replication slot can be made on the source, which is needed for the proof: {said}"
        ) from None
    try:
        if not wait_until_ended(control, new_transaction_id(control), WAIT_S):
            raise NotStill("a transaction that is older than the comparison does not end")
        yield watch
    finally:
        source.connection.close()
