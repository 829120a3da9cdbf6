# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase sync: subscriptions on the prepared slots, enabled, and what keeps them complete."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import (
    additions,
    baseline,
    database,
    drift,
    finishing,
    foreign_keys,
    lag,
    ledger,
    materialized_views,
    partitions,
    replication,
    slots,
    stream,
    subscription,
)
from ..catalog import Catalog
from ..claim import Claim, claimed
from ..drift import Drift
from ..driver import sql
from ..errors import MigrationError
from ..ledger import Record, Stream
from ..migration import Migration, Selection
from ..progress import Event, Progress, silent
from ..result import Result
from ..selection import select
from ..session import Session, translated
from ..verification.objects.described import quoted
from . import sync_adding
from .init_options import InitOptions
from .sync_adding import Adding

POLL_S = 0.2


@dataclass(frozen=True)
class SyncOptions:
    """Options of sync. ``timeout`` (seconds) bounds the wait for what needs the streams to have moved on.

    ``add_new_tables`` brings in tables that were created on the source since init, with pg_dump and pg_restore from
    ``client_bin_dir`` (None: as init did); everything else about that is as init was told.
    """

    source_from_target: Mapping[str, Any] | None = None
    replication_role: Mapping[str, Any] | None = None
    subscription_options: Mapping[str, Any] = field(default_factory=dict)
    maintenance_db: str = "postgres"
    timeout: float = 300
    add_new_tables: bool = False
    client_bin_dir: str | None = None
    check_mode: bool = False


def run(migration: Migration, options: SyncOptions, progress: Progress = silent) -> Result:
    """Create and enable the subscriptions of a finished copy; repair what a new partition left open. Idempotent.

    Data of the result: ``subscriptions`` (name, slot, publication, enabled), ``consistent_point`` (of the first
    stream), ``adopted`` (partitions that joined), ``added`` (tables that joined), ``drift`` (what of the source's changes
    since init is not on the target), ``left`` (what stays behind, and why).
    Raises ``not_initialised``, ``name_taken``, ``slot_lost`` and others.
    """
    if options.check_mode and not database.exists(migration, options.maintenance_db):
        return _planned_before_init(migration, options)
    with translated(migration.redactor), migration.open("target", "sync", read_only=options.check_mode) as target:
        record = ledger.find(target, migration.name)
        if options.check_mode and (record is None or record.state in ("cleaned", "copying")):
            return _planned_before_init(migration, options)
        record = _ready(record, migration)
        if record.state in ("cut_over", "rolled_back"):
            return _result(record, target, changed=False, adopted=[], message=f"the migration is {record.state}")
        with migration.open("source", "sync", read_only=options.check_mode) as source:
            ledger.check_source(record, source)
            subscription.refuse_uncarried(record)
            drifted = drift.read(source, record, target)
            drifted.refuse_replaced()
            if options.check_mode:
                drifted = drift.with_objects(drifted, source, target, record)
                return _planned(migration, options, record, drifted, source, target)
            before = _states(target, record)
            with claimed(migration, "sync", "sync") as claim:
                work = _Run(migration, options, progress, claim, source, target, drifted)
                work.carry_out()
                record = claim.read()
            if work.added:
                drifted = drift.read(source, record, target)
            drifted = drift.with_objects(drifted, source, target, record)
            return _result(
                record,
                target,
                changed=work.has_changed,
                adopted=work.adopted,
                added=work.added,
                before=before,
                drifted=drifted,
            )


def _ready(record: Record | None, migration: Migration) -> Record:
    if record is not None and record.state == "cleaned":
        raise MigrationError(
            "migration_cleaned",
            f"The migration {migration.name!r} was cleaned up at {record.cleaned_at}.",
            "Start again with pg_migration_init into an empty target.",
        )
    if record is None or record.state == "copying":
        raise MigrationError(
            "not_initialised",
            f"The migration {migration.name!r} has no finished copy on the target"
            + (f" ({len(record.pending)} table(s) are still to be copied)." if record else "."),
            "Run pg_migration_init first; it continues an interrupted copy.",
        )
    return record


def _states(target: Session, record: Record) -> dict[str, Any]:
    """Return the state of each subscription for the diff."""
    shown: dict[str, Any] = {}
    for item in record.live_streams:
        found = replication.find_subscription(target, item.subscription)
        shown[item.subscription] = "absent" if found is None else "enabled" if found.is_enabled else "disabled"
    return shown


def _planned_before_init(migration: Migration, options: SyncOptions) -> Result:
    names = migration.names("0" * 32, 1)
    item = Stream(1, names.publication, names.slot, names.subscription, names.marker, None, "intended")
    migration.log.add(
        "target", subscription.create_statement(migration, options, item, item.publication, hidden=True).as_string(None)
    )
    data: dict[str, Any] = {
        "subscriptions": [],
        "consistent_point": None,
        "adopted": [],
        "added": [],
        "drift": [],
        "left": [],
    }
    after = {item.subscription: "enabled"}
    return Result("sync", True, data, {"before": {item.subscription: "absent"}, "after": after})


def _planned(
    migration: Migration, options: SyncOptions, record: Record, drifted: Drift, source: Session, target: Session
) -> Result:
    before = _states(target, record)
    for item in additions.settled_streams(record):
        subscription.check(migration, record, source, target, item)
        if before[item.subscription] == "absent":
            statement = subscription.create_statement(migration, options, item, item.publication, hidden=True)
            migration.log.add("target", statement.as_string(None))
        if before[item.subscription] != "enabled":
            enable = replication.alter_subscription(item.subscription, "ENABLE")
            migration.log.add("target", enable.as_string(None))
    unlisted = [str(found) for found in partitions.find(source, record)]
    unchecked = [key for keys in record.keys_to_validate.values() for key in keys]
    for key in unchecked:
        migration.log.add("target", foreign_keys.validation(key).as_string(None))
    added, number = _planned_addition(migration, options, record, source, target)
    changed = bool(unchecked or unlisted or added) or any(state != "enabled" for state in before.values())
    after = dict.fromkeys([*before, *([migration.names(record.id, number).subscription] if number else [])], "enabled")
    result = _result(record, target, changed=changed, adopted=unlisted, added=added, before=before, drifted=drifted)
    return Result("sync", changed, result.data, {"before": before, "after": after})


def _planned_addition(
    migration: Migration, options: SyncOptions, record: Record, source: Session, target: Session
) -> tuple[list[str], int]:
    """Return the tables that would be brought in, and the number of their stream, 0 without one."""
    if not options.add_new_tables and additions.current(record) is None:
        return [], 0
    as_init = _as_init(options, record)
    return sync_adding.planned(sync_adding.selection_of(migration, record), as_init, record, source, target)


def _as_init(options: SyncOptions, record: Record) -> InitOptions:
    given = {
        "source_from_target": options.source_from_target,
        "replication_role": options.replication_role,
        "maintenance_db": options.maintenance_db,
    }
    return sync_adding.init_options(record, options.client_bin_dir, **given)


class _Run:
    """One run of sync under its claim; afterwards it knows what joined and whether anything was changed."""

    def __init__(
        self,
        migration: Migration,
        options: SyncOptions,
        progress: Progress,
        claim: Claim,
        source: Session,
        target: Session,
        drifted: Drift,
    ) -> None:
        self.migration, self.options, self.progress = migration, options, progress
        self.claim, self.source, self.target, self.drifted = claim, source, target, drifted
        self.adopted: list[str] = []
        self.added: list[str] = []
        self.has_changed = False

    def carry_out(self) -> None:
        """Subscribe, enable, adopt, add, and what only replication that has begun makes possible."""
        record = self.claim.read()
        worked = False
        settled = additions.settled_streams(record)
        for item in settled:
            if not slots.slot_is_usable(slots.slot_row(self.source, item.slot)):
                raise stream.slot_lost(item.slot)
            worked |= self._subscribe(record, item)
        for item in settled:
            worked |= self._enable(item)
        if record.state == "copied":
            self.claim.set_state("synced")
        if additions.current(record) is None:
            self.claim.forget_dump()  # init cannot start over any more
        self.adopted = self._adopt(record)
        if not record.is_done("materialized_views"):
            self._refresh_views(record)
            worked = True
        worked |= self._validate_foreign_keys(record)
        self.added = self._add(record)
        if self.added:
            self._validate_foreign_keys(self.claim.read())
        self.has_changed = worked or bool(self.adopted or self.added)

    def _add(self, record: Record) -> list[str]:
        """Bring in tables that are new, when that is wanted or was begun, and subscribe to their stream."""
        if not self.options.add_new_tables and additions.current(record) is None:
            return []
        migration = sync_adding.selection_of(self.migration, record)
        as_init = _as_init(self.options, record)
        adding = Adding(migration, as_init, self.progress, self.claim, self.source, self.target)
        begun = adding.carry_out(is_wanted=self.options.add_new_tables)
        if begun is None:
            return []
        record = self.claim.read()
        for item in additions.own_streams(record, begun):
            self._subscribe(record, item)
            self._enable(item)
        adding.finished(begun)
        return sorted(begun.tables)

    def _subscribe(self, record: Record, item: Stream) -> bool:
        self.progress(Event("sync", f"looking after the subscription {item.subscription}"))

        def statement(publication: str, hidden: bool) -> sql.Composed:
            return subscription.create_statement(self.migration, self.options, item, publication, hidden=hidden)

        return subscription.ensure(
            self.migration,
            self.claim,
            self.source,
            self.target,
            record,
            item,
            statement,
            self.drifted.dropped_names,
        )

    def _enable(self, item: Stream) -> bool:
        found = replication.find_subscription(self.target, item.subscription)
        if found is not None and found.is_enabled:
            return False
        self.target.execute(replication.alter_subscription(item.subscription, "ENABLE"))
        return True

    def _adopt(self, record: Record) -> list[str]:
        """Bring partitions that were attached since the copy into their stream."""
        found = partitions.find(self.source, record)
        if found:
            self.progress(Event("sync", f"adopting {', '.join(str(item) for item in found)}"))
            selection = Selection.from_options(record.selection)
            selected = select(Catalog.read(self.source), selection, record.options["foreign_tables"])
            partitions.adopt(self.claim, self.source, self.target, record, found, selected.predicates)
            names = {("table", quoted([item.schema, item.name])) for item in found}
            baseline.add(self.claim, baseline.seen(self.source, selection), lambda item: item.key in names)
        return [str(item) for item in found]

    def _refresh_views(self, record: Record) -> None:
        """Refresh materialized views once every stream has passed the highest consistent point.

        Before that, tables of different streams show different moments of the source.
        """
        self._wait_for_consistency(record)
        detail: dict[str, list[dict[str, str]]] = {"left": []}
        with self.claim.step("materialized_views", detail):
            selected = select(Catalog.read(self.source), self.migration.selection, record.options["foreign_tables"])
            detail["left"] += materialized_views.refresh(self.target, selected.catalog, Catalog.read(self.target))

    def _validate_foreign_keys(self, record: Record) -> bool:
        """Check rows against the keys that init has added unchecked; what was corrected on the source may be on its way."""
        jobs = record.options.get("jobs") or 1

        def validate() -> bool:
            return finishing.validate_foreign_keys(
                self.migration, self.claim, record, self.target, jobs, self.progress, phase="sync"
            )

        try:
            return validate()
        except MigrationError as error:
            if error.code != "constraint_violated":
                raise
        now = self.source.value("SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint AS now")
        self._wait_until_confirmed(record, now, "rows that violate a foreign key may still be corrected")
        return validate()

    def _wait_for_consistency(self, record: Record) -> None:
        points = [item.consistent_point for item in additions.settled_streams(record) if item.consistent_point]
        highest = self.source.value(
            "SELECT max((p.lsn - '0/0'::pg_lsn)::bigint) AS highest FROM unnest(%(points)s::pg_lsn[]) AS p(lsn)",
            {"points": points},
        )
        self._wait_until_confirmed(record, highest, "the materialized views were not refreshed")

    def _wait_until_confirmed(self, record: Record, position: int, consequence: str) -> None:
        """Wait until every stream has confirmed a position of the source's WAL (bytes)."""
        slots = [item.slot for item in additions.settled_streams(record)]
        end = time.monotonic() + self.options.timeout
        while True:
            samples = lag.read_slots(self.source, slots)
            if len(samples) == len(slots) and all((s.confirmed_position or 0) >= position for s in samples.values()):
                return
            if time.monotonic() > end:
                raise MigrationError(
                    "lag_timeout",
                    f"The streams did not pass the point to wait for within {self.options.timeout:g} seconds: {consequence}.",
                    "Look at pg_migration_status, then run sync again.",
                    {"slots": {name: sample.lag_bytes for name, sample in samples.items()}},
                )
            time.sleep(POLL_S)


def _result(
    record: Record,
    target: Session,
    *,
    changed: bool,
    adopted: list[str],
    added: list[str] | None = None,
    before: dict[str, Any] | None = None,
    drifted: Drift | None = None,
    message: str = "",
) -> Result:
    subscriptions = []
    for item in record.live_streams:
        found = replication.find_subscription(target, item.subscription)
        subscriptions.append(subscription.as_data(item, found))
    data: dict[str, Any] = {
        "subscriptions": subscriptions,
        "consistent_point": record.live_streams[0].consistent_point if record.live_streams else None,
        "adopted": adopted,
        "added": added or [],
        "drift": drifted.as_data if drifted else [],
        "left": record.left + (drifted.left if drifted else []),
        "state": record.state,
    }
    if message:
        data["msg"] = message
    if drifted and (warnings := drifted.warnings):
        data["warnings"] = warnings
    after = _states(target, record)
    return Result("sync", changed, data, {"before": before or after, "after": after})
