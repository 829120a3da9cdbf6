# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase status: one honest look at a migration, over a short window. Changes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import (
    additions,
    copy_progress,
    database,
    drift,
    lag,
    ledger,
    native_copy,
    partitions,
    replication,
    slots,
    stopped_by_row_security,
    subscription,
)
from ..catalog import OWN_SCHEMA
from ..drift import Drift
from ..driver import psycopg
from ..errors import MigrationError
from ..gates import Limits
from ..lag import SlotSample, StreamHealth
from ..ledger import Record, Stream
from ..migration import Migration
from ..partitions import NewPartition
from ..progress import Progress, silent
from ..replication import Subscription
from ..result import Result
from ..session import Session, translated

# Both views show the subscriptions of all databases, where another one may have the same name as ours. An OID is text in
# JSON.
_WORKERS = """
SELECT pg_catalog.to_jsonb(s) AS worker FROM pg_catalog.pg_stat_subscription AS s WHERE s.subid = ANY (%(oids)s::oid[])
"""

_ERRORS = """
SELECT s.subid::bigint AS oid, s.apply_error_count AS apply, s.sync_error_count AS sync
  FROM pg_catalog.pg_stat_subscription_stats AS s WHERE s.subid = ANY (%(oids)s::oid[])
"""


@dataclass(frozen=True)
class StatusOptions:
    """Options of status: how long to watch (seconds) and what counts as in sync.

    ``schema_drift`` looks at the source's whole catalog; without it only tables are compared, which is quicker.
    """

    window: float = 2.0
    sample_interval: float = 1.0
    max_lag_bytes: int = 1 << 20
    max_lag_seconds: float = 1.0
    maintenance_db: str = "postgres"
    schema_drift: bool = True


def run(migration: Migration, options: StatusOptions, progress: Progress = silent) -> Result:
    """Return the state of a migration and the evidence for it.

    Data of the result: ``state`` (the architecture's words), ``reasons`` (why it is not in sync), ``lag_bytes``,
    ``lag_seconds``, ``retained_wal_bytes`` (None when unknown), ``tables`` (count per synchronisation state),
    ``slots``, ``workers``, ``errors``, ``streams``, ``progress``, ``samples``, ``drift`` (how the source differs from
    what was copied), ``left``; ``warnings`` when tables of the selection are not migrated.
    """
    with translated(migration.redactor):
        try:
            with migration.open("target", "status", read_only=True) as target:
                record = ledger.find(target, migration.name)
                if record is None or record.state == "cleaned":
                    return _absent(record)
                if record.state == "copying":
                    record, data = _copying(target, record, options)
                    if record.state == "copying":
                        return Result("status", False, data)
                with migration.open("source", "status", read_only=True) as source:
                    ledger.check_source(record, source)
                    return _replicating(source, target, record, options)
        except MigrationError as error:
            if database.is_absent(migration, options.maintenance_db, error):
                return _absent(None, f"the target has no database {migration.target.dbname}")
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
        "drift": [],
        "left": [],
    }


def _absent(record: Record | None, reason: str = "no such migration on the target") -> Result:
    if record is not None:
        reason = f"the migration was cleaned up at {record.cleaned_at}"
    return Result("status", False, _empty("absent", [reason]))


def _progress(record: Record, numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        **numbers,
        "steps": {name: step.state for name, step in sorted(record.steps.items())},
        "runner": ledger.describe_holder(record.holder) if record.is_held else None,
    }


def _copying(target: Session, record: Record, options: StatusOptions) -> tuple[Record, dict[str, Any]]:
    """Look twice, a window apart, so that the rate can be told; once at a copy on which nobody works."""
    pace, numbers = copy_progress.Pace(), dict[str, Any]()
    for is_second in (False, True):
        if is_second and not (record.is_held and options.window > 0):
            break
        time.sleep(options.window if is_second else 0)
        seen = copy_progress.look(target, record.name)
        if seen is not None:
            record, look = seen
            numbers = pace.numbers(look)
    reason = "the initial copy is running" if record.is_held else "the initial copy was interrupted; run init again"
    if not record.is_held and native_copy.has_begun(record) and not record.is_done("post_data"):
        reason = "the servers copy by themselves, and no runner follows them; run init again"
    data = _empty("copying", [reason])
    data["progress"] = _progress(record, numbers)
    data["tables"] = dict(Counter(relation.state for relation in record.relations))
    return record, data


def _replicating(source: Session, target: Session, record: Record, options: StatusOptions) -> Result:
    streams = additions.settled_streams(record)
    errors_before = _errors(target, _subscriptions(target, streams))
    readings = lag.watch(source, [stream.slot for stream in record.live_streams], options.window)
    subscriptions = _subscriptions(target, streams)
    errors_after = _errors(target, subscriptions)
    workers = [row["worker"] for row in target.rows(_WORKERS, {"oids": _oids(subscriptions)})]
    unknown = partitions.find(source, record)
    drifted = drift.read(source, record, target)
    if options.schema_drift:
        drifted = drift.with_objects(drifted, source, target, record)
    health = []
    table_states: Counter[str] = Counter()
    for stream in streams:
        looked = _Look(source, target, record, stream, workers, unknown, drifted)
        looked.look_at(subscriptions)
        table_states.update(looked.states.values())
        oid = looked.subscription.oid if looked.subscription else 0
        health.append(looked.health(readings, _difference(errors_before.get(oid), errors_after.get(oid))))
    limits = Limits(options.max_lag_bytes, options.max_lag_seconds)
    if record.state in ("cut_over", "rolled_back"):
        state, reasons = record.state, list[str]()
    elif names := subscription.uncarried(record):
        state, reasons = "broken", [f"{name} was copied, but no stream carries it" for name in names]
    elif record.state == "copied" and not any(item.problems for item in health):
        state, reasons = "copied", ["the copy is complete; sync has not started"]
    else:
        state, reasons = _with_addition(record, *lag.judge(health, limits))
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
        progress=_progress(record, copy_progress.summarise(record, [], [], time.monotonic()).numbers()),
        samples=_samples(readings, options.sample_interval),
        drift=drifted.as_data,
        left=record.left + drifted.left,
    )
    if drifted.warnings:
        data["warnings"] = drifted.warnings
    return Result("status", False, data)


def _with_addition(record: Record, state: str, reasons: list[str]) -> tuple[str, list[str]]:
    """Return the state and its reasons with what an addition of tables that is not finished means for them."""
    begun = additions.current(record)
    if begun is None:
        return state, reasons
    names = ", ".join(begun.tables[:10])
    if record.is_held:
        return ("catching_up" if state == "in_sync" else state), [*reasons, f"new tables are being brought in: {names}"]
    return "broken", [*reasons, f"bringing in new tables was interrupted, run sync again: {names}"]


def _subscriptions(target: Session, streams: Sequence[Stream]) -> dict[int, Subscription | None]:
    """Return each stream's subscription, by the stream's number; nothing when this role may not read them."""
    try:
        return {stream.number: replication.find_subscription(target, stream.subscription) for stream in streams}
    except psycopg.errors.InsufficientPrivilege:
        return {}


def _oids(subscriptions: Mapping[int, Subscription | None]) -> list[int]:
    return [found.oid for found in subscriptions.values() if found]


def _errors(target: Session, subscriptions: Mapping[int, Subscription | None]) -> dict[int, tuple[int, int]]:
    """Return (apply, sync) error counts by the subscription's OID; empty before 15, which does not count them."""
    if target.major < 15:
        return {}
    return {row["oid"]: (row["apply"], row["sync"]) for row in target.rows(_ERRORS, {"oids": _oids(subscriptions)})}


def _difference(before: tuple[int, int] | None, after: tuple[int, int] | None) -> int:
    return 0 if before is None or after is None else sum(after) - sum(before)


def _total(after: dict[int, tuple[int, int]], before: dict[int, tuple[int, int]], major: int) -> dict[str, Any]:
    if major < 15:
        return {"apply": None, "sync": None, "new": None}
    new = sum(_difference(before.get(oid), counts) for oid, counts in after.items())
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
        drifted: Drift,
    ) -> None:
        self.source, self.target, self.record, self.stream = source, target, record, stream
        self.workers, self.unknown, self.drifted = workers, unknown, drifted
        self.has_started = record.state != "copied"
        self.subscription: Subscription | None = None
        self.problems: list[str] = []
        self.troubles: list[str] = []
        self.states: dict[tuple[str, str], str] = {}

    def look_at(self, subscriptions: Mapping[int, Subscription | None]) -> None:
        """Gather what is wrong with this stream."""
        name = self.stream.subscription
        self.problems += [str(item) for item in self.drifted.replaced if item.relation.stream == self.stream.number]
        if self.stream.number not in subscriptions:
            self.problems.append("pg_subscription cannot be read by this role, so nothing can be said")
            return
        found = self.subscription = subscriptions[self.stream.number]
        if found is None:
            if self.has_started or self.stream.state == "subscribed":
                self.problems.append(f"the subscription {name} does not exist")
            return
        self.states = replication.subscription_tables(self.target, found.oid)
        if not self.has_started:
            return  # sync ended on its way, and goes on from there
        if not found.is_enabled:
            self.problems.append(f"the subscription {name} is disabled")
        if found.publications != (self.stream.publication,):
            names = ", ".join(found.publications)
            self.problems.append(f"the subscription {name} reads {names}, not {self.stream.publication} alone")
        self._compare_tables()
        if found.is_enabled and not any(
            worker.get("subid") == str(found.oid) and worker.get("pid") and worker.get("relid") is None
            for worker in self.workers
        ):
            self.troubles.append(
                "no apply worker is running on the target (it failed, or max_logical_replication_workers is used up)"
            )

    def _compare_tables(self) -> None:
        expected = {
            (relation.schema, relation.name)
            for relation in self.record.relations
            if relation.stream == self.stream.number and relation.state != partitions.JOINING
        } - self.drifted.dropped_names
        expected.add((OWN_SCHEMA, self.stream.marker))
        for partition in self.unknown:
            if partition.stream == self.stream.number and (partition.schema, partition.name) not in self.states:
                self.problems.append(f"{partition} is not subscribed (a new partition?): run sync again")
        for schema, name in sorted(expected - set(self.states)):
            self.problems.append(f"{schema}.{name} is not subscribed any more")
        published = replication.published_tables(self.source, self.stream.publication)
        for schema, name in sorted(replication.existing(self.source, expected - published)):
            self.problems.append(f"{schema}.{name} is not published any more (detached?); its changes are lost")

    def health(self, readings: Sequence[dict[str, SlotSample]], new_errors: int) -> StreamHealth:
        """Join what was seen with the readings of the slot."""
        slot = self.stream.slot
        samples = [reading[slot] for reading in readings if slot in reading]
        problems, troubles = list(self.problems), list(self.troubles)
        if len(samples) < len(readings) or not slots.slot_is_usable(samples[-1].raw):
            problems.append(f"the replication slot {slot} is gone or has lost WAL that the target needs")
        elif not samples[-1].is_streaming:
            troubles.append("no WAL sender serves the slot")
        if new_errors:
            troubles.append(f"{new_errors} new apply or sync error(s); the target's server log has the text")
        if troubles and self.subscription is not None and self.has_started:
            troubles += stopped_by_row_security.troubles(self.target, self.subscription.oid)
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
