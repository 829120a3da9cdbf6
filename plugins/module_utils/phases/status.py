# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase status: one honest look at a migration, over a short window. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import database, lag, ledger, partitions, replication
from ..catalog import OWN_SCHEMA
from ..driver import Row, psycopg
from ..errors import MigrationError
from ..gates import Limits
from ..lag import SlotSample, StreamHealth
from ..ledger import Record, Stream
from ..migration import Migration
from ..partitions import NewPartition
from ..progress import Progress, silent
from ..result import Result
from ..session import Session, translated

_WORKERS = """
SELECT pg_catalog.to_jsonb(s) AS worker FROM pg_catalog.pg_stat_subscription AS s WHERE s.subname = ANY (%(names)s)
"""

_ERRORS = """
SELECT s.subname AS subscription, s.apply_error_count AS apply, s.sync_error_count AS sync
  FROM pg_catalog.pg_stat_subscription_stats AS s WHERE s.subname = ANY (%(names)s)
"""

_COPY_PROGRESS = """
SELECT n.nspname AS schema, c.relname AS name, p.bytes_processed AS bytes, p.tuples_processed AS rows
  FROM pg_catalog.pg_stat_progress_copy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.relid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE p.datname = pg_catalog.current_database() AND p.command = 'COPY FROM'
"""


@dataclass(frozen=True)
class StatusOptions:
    """Options of status: how long to watch (seconds) and what counts as in sync."""

    window: float = 2.0
    sample_interval: float = 1.0
    max_lag_bytes: int = 1 << 20
    max_lag_seconds: float = 1.0
    maintenance_db: str = "postgres"


def run(migration: Migration, options: StatusOptions, progress: Progress = silent) -> Result:
    """Return the state of a migration and the evidence for it.

    Data of the result: ``state`` (the architecture's words), ``reasons`` (why it is not in sync), ``lag_bytes``,
    ``lag_seconds``, ``retained_wal_bytes`` (None when unknown), ``tables`` (count per synchronisation state),
    ``slots``, ``workers``, ``errors``, ``streams``, ``progress``, ``samples``, ``left``.
    """
    with translated(migration.redactor):
        try:
            with migration.open("target", "status", read_only=True) as target:
                record = ledger.find(target, migration.name)
                if record is None or record.state == "cleaned":
                    return _absent(record)
                if record.state == "copying":
                    return _copying(target, record)
                with migration.open("source", "status", read_only=True) as source:
                    ledger.check_source(record, source)
                    return _replicating(source, target, record, options)
        except MigrationError as error:
            if database.is_absent(migration, options.maintenance_db, error):
                return _absent(None)
            raise


def _empty(state: str, reasons: list[str]) -> dict[str, Any]:
    return {
        "state": state,
        "reasons": reasons,
        "lag_bytes": None,
        "lag_seconds": None,
        "retained_wal_bytes": None,
        "tables": {},
        "slots": [],
        "workers": [],
        "errors": {"apply": None, "sync": None, "new": None},
        "streams": [],
        "progress": {},
        "samples": [],
        "left": [],
    }


def _absent(record: Record | None) -> Result:
    reason = "no such migration on the target"
    if record is not None:
        reason = f"the migration was cleaned up at {record.cleaned_at}"
    return Result("status", False, _empty("absent", [reason]))


def _progress(record: Record, running: Sequence[Row]) -> dict[str, Any]:
    wanted = [relation for relation in record.relations if relation.state != "skipped"]
    done = [relation for relation in wanted if relation.state == "copied"]
    return {
        "tables": len(wanted),
        "tables_copied": len(done),
        "rows_copied": sum(relation.rows or 0 for relation in done),
        "bytes_copied": sum(relation.bytes or 0 for relation in done),
        "estimated_bytes": sum(relation.estimated_bytes or 0 for relation in wanted),
        "steps": {name: step.state for name, step in sorted(record.steps.items())},
        "running": [dict(row) for row in running],
        "runner": ledger.describe_holder(record.holder) if record.is_held else None,
    }


def _copying(target: Session, record: Record) -> Result:
    reason = "the initial copy is running" if record.is_held else "the initial copy was interrupted; run init again"
    data = _empty("copying", [reason])
    data["progress"] = _progress(record, target.rows(_COPY_PROGRESS))
    data["tables"] = dict(Counter(relation.state for relation in record.relations))
    return Result("status", False, data)


def _replicating(source: Session, target: Session, record: Record, options: StatusOptions) -> Result:
    streams = record.live_streams
    names = {"names": [stream.subscription for stream in streams]}
    errors_before = _errors(target, names)
    readings = lag.watch(source, [stream.slot for stream in streams], options.window)
    errors_after = _errors(target, names)
    workers = [row["worker"] for row in target.rows(_WORKERS, names)]
    unknown = partitions.find(source, record)
    health = []
    table_states: Counter[str] = Counter()
    for stream in streams:
        looked = _Look(source, target, record, stream, workers, unknown)
        table_states.update(looked.states.values())
        new_errors = _difference(errors_before.get(stream.subscription), errors_after.get(stream.subscription))
        health.append(looked.health(readings, new_errors))
    limits = Limits(options.max_lag_bytes, options.max_lag_seconds)
    if record.state == "copied":
        state, reasons = "copied", ["the copy is complete; sync has not started"]
    elif record.state in ("cut_over", "rolled_back"):
        state, reasons = record.state, []
    else:
        state, reasons = lag.judge(health, limits)
    data = _empty(state, reasons)
    data.update(
        lag_bytes=_worst([item.last_lag_bytes for item in health]),
        lag_seconds=_rounded(_worst([item.lag_seconds for item in health])),
        retained_wal_bytes=_worst([sample.retained_bytes for sample in readings[-1].values()]),
        tables=dict(table_states),
        slots=[_slot(sample) for sample in readings[-1].values()],
        workers=[_worker(worker) for worker in workers],
        errors=_total(errors_after, errors_before, target.major),
        streams=[_stream(stream, item) for stream, item in zip(streams, health, strict=True)],
        progress=_progress(record, []),
        samples=_samples(readings, options.sample_interval),
        left=record.left,
    )
    return Result("status", False, data)


def _errors(target: Session, names: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return (apply, sync) error counts per subscription; empty before 15, which does not count them."""
    if target.major < 15:
        return {}
    return {row["subscription"]: (row["apply"], row["sync"]) for row in target.rows(_ERRORS, names)}


def _difference(before: tuple[int, int] | None, after: tuple[int, int] | None) -> int:
    return 0 if before is None or after is None else sum(after) - sum(before)


def _total(after: dict[str, tuple[int, int]], before: dict[str, tuple[int, int]], major: int) -> dict[str, Any]:
    if major < 15:
        return {"apply": None, "sync": None, "new": None}
    new = sum(_difference(before.get(name), counts) for name, counts in after.items())
    return {"apply": sum(c[0] for c in after.values()), "sync": sum(c[1] for c in after.values()), "new": new}


class _Look:
    """What one stream looks like on both sides at this moment."""

    def __init__(
        self,
        source: Session,
        target: Session,
        record: Record,
        stream: Stream,
        workers: list[dict[str, Any]],
        unknown: Sequence[NewPartition],
    ) -> None:
        self.stream = stream
        self.problems: list[str] = []
        self.troubles: list[str] = []
        self.states: dict[tuple[str, str], str] = {}
        try:
            subscription = replication.find_subscription(target, stream.subscription)
        except psycopg.errors.InsufficientPrivilege:
            self.problems.append("pg_subscription cannot be read by this role, so nothing can be said")
            return
        if subscription is None:
            if record.state != "copied":
                self.problems.append(f"the subscription {stream.subscription} does not exist")
            return
        if not subscription.is_enabled:
            self.problems.append(f"the subscription {stream.subscription} is disabled")
        if subscription.publications != (stream.publication,):
            names = ", ".join(subscription.publications)
            self.problems.append(
                f"the subscription {stream.subscription} reads {names}, not {stream.publication} alone"
            )
        self.states = replication.subscription_tables(target, subscription.oid)
        self._compare_tables(source, record, unknown)
        if subscription.is_enabled and not any(
            worker.get("subname") == stream.subscription and worker.get("pid") and worker.get("relid") is None
            for worker in workers
        ):
            self.troubles.append(
                "no apply worker is running on the target (it failed, or max_logical_replication_workers is used up)"
            )

    def _compare_tables(self, source: Session, record: Record, unknown: Sequence[NewPartition]) -> None:
        expected = {
            (relation.schema, relation.name)
            for relation in record.relations
            if relation.stream == self.stream.number and relation.state != partitions.JOINING
        }
        expected.add((OWN_SCHEMA, self.stream.marker))
        for partition in unknown:
            if partition.stream == self.stream.number and (partition.schema, partition.name) not in self.states:
                self.problems.append(f"{partition} is not subscribed (a new partition?): run sync again")
        for schema, name in sorted(expected - set(self.states)):
            self.problems.append(f"{schema}.{name} is not subscribed any more")
        published = replication.published_tables(source, self.stream.publication)
        for schema, name in sorted(replication.existing(source, expected - published)):
            self.problems.append(f"{schema}.{name} is not published any more (detached?); its changes are lost")

    def health(self, readings: Sequence[dict[str, SlotSample]], new_errors: int) -> StreamHealth:
        """Join what was seen with the readings of the slot."""
        slot = self.stream.slot
        samples = [reading[slot] for reading in readings if slot in reading]
        problems, troubles = list(self.problems), list(self.troubles)
        if len(samples) < len(readings) or not replication.slot_is_usable(samples[-1].raw):
            problems.append(f"the replication slot {slot} is gone or has lost WAL that the target needs")
        elif not samples[-1].is_streaming:
            troubles.append("no WAL sender serves the slot")
        if new_errors:
            troubles.append(f"{new_errors} new apply or sync error(s); the target's server log has the text")
        confirmed = [s.confirmed_position for s in samples if s.confirmed_position is not None]
        history = [(s.at_s, s.insert_position) for s in samples]
        moved = bool(confirmed) and (confirmed[-1] > confirmed[0] or history[-1][1] == history[0][1])
        return StreamHealth(
            number=self.stream.number,
            problems=tuple(problems),
            troubles=tuple(troubles),
            tables_waiting=sum(1 for state in self.states.values() if state != "r"),
            lag_bytes=tuple(s.lag_bytes for s in samples),
            lag_seconds=lag.lag_seconds(history, confirmed[-1]) if confirmed and history else None,
            has_progressed=moved,
        )


def _worst(values: Sequence[Any]) -> Any:
    """Return the largest value, or None when any of them is unknown."""
    return None if not values or None in values else max(values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _slot(sample: SlotSample) -> dict[str, Any]:
    shown = ("slot_name", "active", "active_pid", "wal_status", "safe_wal_size", "confirmed_flush_lsn", "restart_lsn")
    return {
        **{key: sample.raw.get(key) for key in (*shown, "invalidation_reason")},
        "lag_bytes": sample.lag_bytes,
        "retained_wal_bytes": sample.retained_bytes,
        "walsender_state": sample.walsender_state,
    }


def _worker(worker: dict[str, Any]) -> dict[str, Any]:
    shown = (
        "subname",
        "worker_type",
        "pid",
        "leader_pid",
        "relid",
        "received_lsn",
        "latest_end_lsn",
        "latest_end_time",
    )
    return {key: worker.get(key) for key in shown}


def _stream(stream: Stream, health: StreamHealth) -> dict[str, Any]:
    return {
        "number": stream.number,
        "publication": stream.publication,
        "subscription": stream.subscription,
        "slot": stream.slot,
        "consistent_point": stream.consistent_point,
        "lag_bytes": health.last_lag_bytes,
        "lag_seconds": _rounded(health.lag_seconds),
        "tables_waiting": health.tables_waiting,
    }


def _samples(readings: Sequence[dict[str, SlotSample]], interval_s: float) -> list[dict[str, Any]]:
    """Thin the readings out to one per interval; each holds the worst stream's lag."""
    samples: list[dict[str, Any]] = []
    last_s: float | None = None
    start_s = next((s.at_s for reading in readings for s in reading.values()), 0.0)
    for reading in readings:
        at_s = next((sample.at_s for sample in reading.values()), None)
        if at_s is None or (last_s is not None and at_s - last_s < interval_s - lag.TICK_S / 2):
            continue
        last_s = at_s
        samples.append(
            {
                "elapsed": round(at_s - start_s, 3),
                "lag_bytes": _worst([sample.lag_bytes for sample in reading.values()]),
                "insert_position": max(sample.insert_position for sample in reading.values()),
                "confirmed_position": _lowest([sample.confirmed_position for sample in reading.values()]),
            }
        )
    return samples


def _lowest(values: Sequence[Any]) -> Any:
    return None if not values or None in values else min(values)
