# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Logical replication slots: read them, make one with an exported snapshot, copy it, drop it.

Which slots there are to be, and when they may go, belongs to ``stream``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .driver import dict_row, pq, psycopg, sql
from .errors import MigrationError
from .migration import Migration
from .session import Session, cannot_connect

# Transactions for which the creation of a slot waits; a pure reader has no backend_xid and does not count.
_XID_HOLDERS = """
SELECT a.pid, a.usename, a.datname, a.state, (pg_catalog.now() - a.xact_start)::text AS age
  FROM pg_catalog.pg_stat_activity AS a
 WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
 ORDER BY a.xact_start
"""


def slot_row(source: Session, slot: str) -> dict[str, Any] | None:
    """Return the slot's row of pg_replication_slots as plain data (columns differ by version), or None."""
    row = source.row(
        "SELECT pg_catalog.to_jsonb(s) AS slot FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = %(slot)s",
        {"slot": slot},
    )
    return None if row is None else dict(row["slot"])


def slot_is_usable(row: Mapping[str, Any] | None) -> bool:
    """True only for a slot that exists, is logical, and has lost nothing (wal_status exists from 13 on)."""
    if row is None or row.get("slot_type") != "logical" or row.get("confirmed_flush_lsn") is None:
        return False
    return row.get("wal_status") not in ("lost", "unreserved") and not row.get("invalidation_reason")


def drop_slot(source: Session, slot: str, *, terminate: bool = True) -> bool:
    """Drop a slot when it is there; a walsender that still uses it is ended first. Return True when one was dropped."""
    row = slot_row(source, slot)
    if row is None:
        return False
    if terminate and row.get("active_pid"):
        source.terminate(row["active_pid"])
    for attempt in range(50):
        try:
            source.execute("SELECT pg_catalog.pg_drop_replication_slot(%(slot)s)", {"slot": slot})
            return True
        except psycopg.errors.ObjectInUse:
            if attempt == 49:
                raise
            source.value("SELECT pg_catalog.pg_sleep(0.1) AS slept")
        except psycopg.errors.UndefinedObject:
            return False
    return False


def copy_slot(slot: str, copy: str) -> sql.Composed:
    """Return the statement that makes a permanent slot ``copy`` which delivers from where ``slot`` stands."""
    return sql.SQL("SELECT pg_catalog.pg_copy_logical_replication_slot({}, {}, false)").format(
        sql.Literal(slot), sql.Literal(copy)
    )


_COPY_AGREES = "SELECT %(here)s::pg_lsn = %(wanted)s::pg_lsn AS agrees"


def make_slot_copy(source: Session, slot: str, copy: str, consistent_point: str) -> None:
    """Copy a logical slot that nobody has read from, and prove that the copy delivers from ``consistent_point`` too.

    Works while the slot's exported snapshot is held, so one snapshot serves all copies. Raises ``slot_not_copied``.
    Source: PostgreSQL manual, "Replication Management Functions" (12-18).
    """
    try:
        source.execute(copy_slot(slot, copy))
    except psycopg.Error as error:
        said = source.log.redactor.text(error.diag.message_primary or str(error)).strip()
        raise _not_copied(slot, copy, said, error.sqlstate) from None
    row = slot_row(source, copy)
    if row is None or not slot_is_usable(row) or row.get("temporary") is not False or row.get("plugin") != "pgoutput":
        raise _not_copied(slot, copy, "the copy is not a permanent, working slot of pgoutput", None)
    if row.get("restart_lsn") is None or not source.value(
        _COPY_AGREES, {"here": row["confirmed_flush_lsn"], "wanted": consistent_point}
    ):
        said = f"the copy stands at {row['confirmed_flush_lsn']}, not at {consistent_point}"
        raise _not_copied(slot, copy, said, None)


def _not_copied(slot: str, copy: str, reason: str, sqlstate: str | None) -> MigrationError:
    return MigrationError(
        "slot_not_copied",
        f"The replication slot {slot} could not be copied to {copy}: {reason}"
        + (f" (SQLSTATE {sqlstate})" if sqlstate else ""),
        "Each stream needs a slot: raise max_replication_slots or drop slots that nobody needs; or set streams to 1, "
        "which copies no slot.",
        {"slot": slot, "copy": copy, "sqlstate": sqlstate},
    )


_SYNC_SLOTS = """
SELECT s.slot_name, s.active_pid FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name ~ %(pattern)s
"""


def _sync_slots(subscription_oid: int, target_system: str | None) -> str:
    """Return a pattern for the slots of a subscription's table synchronisation."""
    return f"^pg_{subscription_oid}_sync_[0-9]+_{target_system}$"


def drop_sync_slots(source: Session, subscription_oid: int, target_system: str | None) -> None:
    """Drop the slots that table synchronisation may have left (pg_<subscription>_sync_<table>_<target's system>).

    Subscriptions of two targets easily have the same OID; the system identifier tells them apart. Nothing of ours
    reads from them any more, so one that stays active is waited for and never ended.
    """
    for row in source.rows(_SYNC_SLOTS, {"pattern": _sync_slots(subscription_oid, target_system)}):
        drop_slot(source, row["slot_name"], terminate=False)


def end_sync_senders(source: Session, subscription_oid: int, target_system: str | None) -> None:
    """End what still serves the table synchronisation of a subscription that was stopped.

    A WAL sender that makes a slot waits for every open transaction, also when its client is gone; DROP SUBSCRIPTION
    would wait for it.
    """
    for _attempt in range(50):
        rows = source.rows(_SYNC_SLOTS, {"pattern": _sync_slots(subscription_oid, target_system)})
        active = [row["active_pid"] for row in rows if row["active_pid"] is not None]
        if not active:
            return
        for pid in active:
            source.terminate(pid)
        source.value("SELECT pg_catalog.pg_sleep(0.1) AS slept")


@dataclass
class SlotHold:
    """A new logical slot, and the connection that keeps its exported snapshot alive.

    A context manager: :meth:`connect`, then :meth:`create`; after that the snapshot may be imported while the block
    runs. The slot outlives the block.
    ``consistent_point`` is the LSN from which the slot delivers: the snapshot shows exactly what came before.
    Source: PostgreSQL manual, "Streaming Replication Protocol", CREATE_REPLICATION_SLOT.
    """

    migration: Migration
    slot: str
    lock_timeout_s: float
    snapshot: str = ""
    consistent_point: str = ""
    _connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> SlotHold:
        return self

    def connect(self) -> None:
        """Open the connection; nothing is made yet. Raises ``cannot_connect``."""
        endpoint = self.migration.source
        params = endpoint.connect_params("seren_migrator snapshot")
        try:
            self._connection = psycopg.connect(
                autocommit=True,
                row_factory=dict_row,
                **{**params, "replication": "database"},  # type: ignore[arg-type]
            )
        except psycopg.Error as error:
            raise cannot_connect(endpoint, error, self.migration.redactor) from None
        # Idle for hours is this connection's job. The lock timeout bounds the wait for running transactions.
        settings = {
            "statement_timeout": 0,
            "idle_in_transaction_session_timeout": 0,
            "lock_timeout": int(self.lock_timeout_s * 1000),
        }
        if self._connection.info.server_version >= 140000:
            settings["idle_session_timeout"] = 0
        if self._connection.info.server_version >= 170000:
            settings["transaction_timeout"] = 0
        self._command("; ".join(f"SET {name} = {value}" for name, value in settings.items()))

    def create(self) -> None:
        """Make the slot and export its snapshot."""
        created = self._command(f'CREATE_REPLICATION_SLOT "{self.slot}" LOGICAL pgoutput EXPORT_SNAPSHOT')
        self.migration.log.add("source", f"CREATE_REPLICATION_SLOT {self.slot} LOGICAL pgoutput EXPORT_SNAPSHOT")
        self.consistent_point, self.snapshot = created[1], created[2]

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def is_alive(self) -> bool:
        """True while the connection that holds the snapshot is open, as far as the socket tells."""
        connection = self._connection
        return connection is not None and not connection.closed

    def _command(self, command: str) -> list[str]:
        """Run a replication command in the simple protocol, the only one a walsender accepts; return its first row."""
        if self._connection is None:
            raise ConnectionError("the snapshot's connection is not open")
        pgconn = self._connection.pgconn
        result = pgconn.exec_(command.encode())
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise self._refused(result)
        if result.ntuples == 0:
            return []
        return [(result.get_value(0, column) or b"").decode() for column in range(result.nfields)]

    def _refused(self, result: Any) -> MigrationError:
        sqlstate = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if sqlstate == "55P03":  # lock_not_available
            with self.migration.open("source", "blockers", read_only=True) as source:
                blockers = source.rows(_XID_HOLDERS)
            return MigrationError(
                "slot_timeout",
                f"The replication slot {self.slot} could not be created within {self.lock_timeout_s:g} seconds, because"
                f" {len(blockers)} transaction(s) that have written are still open on the source.",
                "End them (SELECT pg_terminate_backend(pid)) or wait, and run again; slot_timeout sets how long to "
                "wait. Prepared transactions count too.",
                {"sqlstate": sqlstate, "transactions": blockers},
            )
        return MigrationError(
            "database_error",
            f"The source refused to create the replication slot {self.slot}: {self.migration.redactor.text(said)}"
            f" (SQLSTATE {sqlstate})",
            "Run pg_migration_validate; it tests slots, WAL senders, wal_level and the REPLICATION attribute.",
            {"sqlstate": sqlstate},
        )
