# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The steps of a run of verify: pair the tables, carry them through rounds until each is decided, mend what differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from ..catalog import Catalog, Table
from ..driver import psycopg
from ..errors import MigrationError
from ..ledger import Record, Stream
from ..migration import Migration
from ..progress import Event, Progress
from ..selection import Selected, select
from ..verification import certificate
from ..verification.activity import read_activity
from ..verification.comparison import Comparison, Limits, attempt, give_up
from ..verification.cutting import cut
from ..verification.difference_file import DifferenceFile
from ..verification.epochs import Epochs
from ..verification.first_look import FirstLook
from ..verification.hashing import HashRules, ask, conclude, new_seeds
from ..verification.large_objects import LargeObjectsFinding, compare_large_objects
from ..verification.materialized_views import compare_materialized_views
from ..verification.meter import Meter
from ..verification.moment import Moment
from ..verification.objects.expectations import expected
from ..verification.objects.finding import look
from ..verification.objects.scopes import scopes
from ..verification.pace import Bounds, Pace, TimeIsOver
from ..verification.pairing import Carrier, Database, Unit, pair, read_carriers, restricted, units_of
from ..verification.readers import Connections, Pairs
from ..verification.scan import Recipe
from ..verification.sequences import compare_sequences
from ..verification.snapshots import Epoch, Holders, encoding, reading, wait_until_ended
from .verify_findings import PHASE, Findings
from .verify_options import VerifyOptions
from .verify_repair import Mended, Present, mend_until_equal

_BETWEEN_ROUNDS_S = 10.0  # at most, until the transactions of the last round have ended
STRICT_FROM_ROUND = 4  # the rounds before settle nearly everything without a lock
_REASON_IN_DOUBT = "in doubt: changed on the source in every round"
_CANCELED = "57014"

Shapes = Mapping[tuple[str, str], set[tuple[Any, ...]]]  # OID and columns of all that belongs to a table, by its name


@dataclass
class Run:
    """The steps of one run, which share their connections and findings."""

    migration: Migration
    options: VerifyOptions
    progress: Progress
    connections: Connections
    holders: Holders
    findings: Findings
    meter: Meter
    file: DifferenceFile | None = None
    alignment_problem: str = ""
    recipe: Recipe | None = None
    activity: Mapping[int, int] = field(default_factory=dict)  # writes per heap of the source when the run began
    shapes: tuple[Shapes, Shapes] = ({}, {})  # of both sides when the run began
    pace: Pace = field(init=False)

    def say(self, text: str, **numbers: Any) -> None:
        """Report progress."""
        self.progress(Event(PHASE, text, numbers))

    def say_how_far(self, text: str = "") -> None:
        """Report tables, rows, bytes, rates and time left, with ``text`` or in words."""
        words, numbers = self.meter.numbers(is_fresh=not text)
        self.say(text or self.pace.paused or words, **numbers)

    def prepare(self, streams: Sequence[Stream], record: Record | None) -> None:
        """Read both catalogs, ask the known answers, pair the tables, compare the sequences."""
        source, target = self.holders.source, self.holders.target
        self.say("reading the catalogs")
        self.activity = read_activity(source)
        foreign_tables = record.options["foreign_tables"] if record else "create"
        whole = Catalog.read(source)
        selected = select(whole, self.migration.selection, foreign_tables)
        target_catalog = Catalog.read(target)
        _check_distinct(selected.catalog, target_catalog)
        self.shapes = shapes(whole), shapes(target_catalog)
        self.findings.facts.update(
            source=certificate.database(source, whole), target=certificate.database(target, target_catalog)
        )
        with reading(source), reading(target):
            rules = conclude(ask(source), ask(target), encoding(source), encoding(target))
        self.findings.rules = rules
        carriers = read_carriers(source, target, streams)
        self.alignment_problem = alignment_problem(carriers)
        excluded = selected.without_data
        selected = replace(selected, without_data=excluded | skipped_unlogged(selected, record))
        tables = restricted(units_of(selected), selected.catalog, self.options.tables)
        here = Database.read(source, selected.catalog)
        there = Database.read(target, target_catalog)
        units: list[Unit] = []
        for table in tables:
            found = pair(table, selected, here, there, () if self.alignment_problem else carriers, rules)
            if isinstance(found, Unit):
                units.append(found)
            else:
                self.findings.refusals.append(found)
        if not self.options.tables:
            self.findings.left_out = left_out(selected, excluded)
            self.findings.besides.materialized_views = compare_materialized_views(
                selected.catalog, target_catalog, record
            )
        if self.options.objects != "skip":
            self._objects(whole, selected, record, tables if self.options.tables else None)
        self._recall(units, streams, record)
        self.say_how_far("comparing the rows")
        self.findings.besides.sequences = compare_sequences(
            source, target, _wanted_sequences(selected, tables, bool(self.options.tables)), target_catalog
        )

    def _recall(self, units: Sequence[Unit], streams: Sequence[Stream], record: Record | None) -> None:
        """Cut large tables into ranges of their key, and take over what an interrupted run has verified."""
        source, target = self.holders.source, self.holders.target
        resuming, rules = self.findings.resuming, self.findings.rules
        facts = {
            "migration": [self.migration.name, record.id if record is not None else ""],
            "streams": sorted(stream.slot for stream in streams),
            "mode": self.options.mode,
            "strong": self.options.strong,
            "hash": rules.as_data() if rules is not None else {},
            **{f"{side} database": _identity(self.findings.facts[side]) for side in ("source", "target")},
        }
        resuming.recall(facts, source, target, units)
        cut_units, cuts = cut(
            units, source, target, (self.pace.bounds.whole_bytes, self.pace.bounds.part_bytes), resuming.kept.bounds
        )
        self.findings.comparisons += [Comparison(unit) for unit in cut_units]
        resuming.begin(self.findings.started_at, cuts, self.findings.comparisons)
        if resuming.is_asked:
            taken = resuming.as_data(self.findings.comparisons)["tables"]
            why = f": {resuming.reason}" if resuming.reason else ""
            self.say(
                f"going on with an earlier run, which has verified {taken} tables{why}"
                if taken
                else f"beginning anew{why}"
            )

    def _objects(self, whole: Catalog, selected: Selected, record: Record | None, only: Sequence[Table] | None) -> None:
        """Compare all that is not rows: definitions, owners, privileges, comments, of every kind of object."""
        source, target = self.holders.source, self.holders.target
        self.say("comparing the objects")
        here, there = scopes(source, target, self.migration.selection, whole, selected, record)
        redactor = self.migration.redactor
        self.findings.objects = look((source, here), (target, there), expected(record), redactor, only)

    def compare_large_objects(self, record: Record | None) -> None:
        """Compare the large objects, which belong to no table, as the migration was told to treat them."""
        if self.options.tables:
            return
        over = LargeObjectsFinding("unverified", self.pace.deadline_reason)
        if self.pace.is_over:
            self.findings.besides.large_objects = over
            return
        self.say("comparing the large objects")
        policy = record.options.get("large_objects", "fail") if record is not None else "copy"
        with self.pace.interrupting(self.connections.interrupt):
            found = compare_large_objects(policy, self.connections.open, self.connections.stop, self.migration.redactor)
        is_ended = found.status == "error" and self.pace.within(1.0) <= 0
        self.findings.besides.large_objects = over if is_ended else found

    def compare(self, streams: Sequence[Stream]) -> None:
        """Carry the tables through rounds until each is decided, or the rounds are used up."""
        comparisons = self.meter.comparisons = self.findings.comparisons
        comparisons.sort(key=lambda comparison: -comparison.unit.estimated_bytes)
        limits = Limits(
            max_rounds=self.options.max_rounds,
            max_differences=max(self.options.max_differences, self.options.max_repairs if self.is_mending else 0),
            disclosure=self.findings.disclosure,
            file=self.file,
        )
        limits = replace(
            limits,
            range_bytes_min=self.pace.bounds.range_bytes(limits.range_bytes_min),
            range_bytes_max=self.pace.bounds.range_bytes(limits.range_bytes_max),
            before_reading=self.pace.before_reading,
        )
        assert_rules = self.findings.rules or HashRules(refusal="no known answers")
        recipe = self.recipe = Recipe(assert_rules, new_seeds(), self.options.strong)
        with (
            Pairs(self.connections, self.options.jobs) as pairs,
            self._epochs(streams) as epochs,
            self.pace.interrupting(self.connections.interrupt),
        ):
            for number in range(1, self.options.max_rounds + 1):
                undecided = [comparison for comparison in comparisons if not comparison.is_settled]
                if not undecided:
                    break
                try:
                    self._round(number, undecided, epochs, pairs, recipe, limits)
                except TimeIsOver:
                    break
                except psycopg.Error as error:
                    # One of the connections that hold the snapshots is gone.
                    said = self.migration.redactor.text(error.diag.message_primary or str(error)).strip()
                    self.findings.problem = f"the comparison was interrupted: {said}"
                    for comparison in undecided:
                        if not comparison.is_settled:
                            comparison.settle("error", self.findings.problem)
            epochs.conclude()
        self._check_shapes(comparisons)
        # Tables are compared again after a repair; the run is in a mode only when all of it was.
        if epochs.reason or not self.findings.history:
            self.findings.mode, self.findings.mode_reason = epochs.mode, epochs.reason
        others = {c.moment.mode for c in comparisons if c.is_resumed and c.moment} - {epochs.mode}
        if others and epochs.mode != "live":
            self.findings.mode = "live"
            self.findings.mode_reason = "tables that the interrupted run has verified were compared live"
        self.findings.history += epochs.history
        reason = _REASON_IN_DOUBT
        if self.findings.last is not None and self.findings.last.alignment != "aligned":
            reason = self.findings.last.reason
        if self.pace.is_over:
            reason = self.pace.deadline_reason
        for comparison in comparisons:
            give_up(comparison, reason + self._strict_problem(comparison, epochs))
        self.say_how_far()

    def _check_shapes(self, comparisons: Sequence[Comparison]) -> None:
        """Take back what was verified of tables that have got other columns or partitions since: these were not read."""
        verified = [comparison for comparison in comparisons if comparison.status == "verified"]
        if not verified or self.findings.problem:
            return
        try:
            now = shapes(Catalog.read(self.holders.control)), shapes(Catalog.read(self.holders.target))
        except psycopg.Error as error:
            said = self.migration.redactor.text(error.diag.message_primary or str(error)).strip()
            self.findings.problem = f"the comparison was interrupted: {said}"
            return
        for comparison in verified:
            name = comparison.unit.schema, comparison.unit.name
            for side, before, after in zip(("source", "target"), self.shapes, now, strict=True):
                if before.get(name) != after.get(name):
                    reason = f"its columns or partitions were changed on the {side} while it was compared"
                    comparison.settle("unverified", reason)

    def _strict_problem(self, comparison: Comparison, epochs: Epochs) -> str:
        """Say why the strict ending did not settle a table, '' when it was not asked for."""
        if not self.options.strict:
            return ""
        if epochs.mode != "gate":
            return f"; strict needs the gate: {epochs.reason}"
        refused = epochs.strict.refused if epochs.strict is not None else {}
        problem = refused.get((comparison.unit.schema, comparison.unit.name), "")
        return f"; strict: {problem}" if problem else ""

    def _epochs(self, streams: Sequence[Stream]) -> Epochs:
        return Epochs(
            asked=self.options.mode,
            holders=self.holders,
            open_session=self.connections.open,
            streams=streams,
            timeout_s=self.pace.within(self.options.wait_timeout),
            redactor=self.migration.redactor,
            may_write=not self.options.check_mode,
            alignment_problem=self.alignment_problem,
            is_strict=self.options.strict,
            tick=self._waiting,
        )

    def _waiting(self, waited_s: float) -> None:
        self.pace.check()
        self.say("waiting for the target", waited_seconds=round(waited_s, 1))

    def new_pace(self, streams: Sequence[Stream]) -> Pace:
        """Return the pace that the options set."""
        options = self.options
        bounds = Bounds(
            options.max_snapshot_age,
            options.max_rate,
            options.max_lag_bytes,
            options.wait_timeout,
            options.job_timeout,
        )
        slots = [stream.slot for stream in streams]
        return Pace(bounds, lambda: self.connections.open("source", "lag"), slots, self.say)

    def slots_now(self, streams: Sequence[Stream]) -> list[dict[str, Any]]:
        """Return where the streams' slots stand, [] when the source cannot be asked any more."""
        try:
            return certificate.slots(self.holders.control, [stream.slot for stream in streams])
        except psycopg.Error:
            return []

    @property
    def is_mending(self) -> bool:
        """True when differences are to be repaired, or their repair to be written down."""
        return self.options.repair or self.options.repair_sql_path is not None

    def mend(self, streams: Sequence[Stream]) -> None:
        """Repair what is proven to differ, and verify those tables again, until nothing more can be repaired."""
        if not self.is_mending:
            return

        def compare_again(touched: Sequence[Comparison]) -> Sequence[Comparison]:
            again = {comparison.look for comparison in touched}
            fresh = [Comparison(comparison.unit) for comparison in touched]
            untouched = [each for each in self.findings.comparisons if each.look not in again]
            self.findings.comparisons = [*untouched, *fresh]
            self.compare(streams)
            return fresh

        def present() -> Present:
            last = self.findings.last
            reason = last.reason if last is not None else "nothing was compared"
            is_aligned = last is not None and last.alignment == "aligned"
            over = self.pace.deadline_reason if self.pace.is_over else ""
            return Present(self.recipe, self.findings.problem or over or ("" if is_aligned else reason))

        options = self.options
        self.findings.mended = Mended(
            options.repair, options.check_mode, options.max_repairs, options.max_differences, options.repair_sql_path
        )
        problem = mend_until_equal(
            self.migration,
            self.connections,
            self.findings.mended,
            self.findings.comparisons,
            present,
            compare_again,
            self.say,
        )
        self.findings.problem = self.findings.problem or problem

    def _round(
        self,
        number: int,
        undecided: Sequence[Comparison],
        epochs: Epochs,
        pairs: Pairs,
        recipe: Recipe,
        limits: Limits,
    ) -> None:
        """Look at each table once, within as many epochs as that takes: none is used for anything new once it is old."""
        is_strict = number >= min(STRICT_FROM_ROUND, self.options.max_rounds) and number > 1
        waiting = list(undecided)
        while waiting:
            reason = self.pace.pause()
            self.pace.check()
            if reason:
                for comparison in waiting:
                    give_up(comparison, reason)
                return
            if self.findings.last is not None and any(comparison.rounds for comparison in waiting):
                wait_until_ended(self.holders.control, self.findings.last.horizon, _BETWEEN_ROUNDS_S)
            suspects = [(c.unit, dict(c.suspects)) for c in waiting if is_strict and c.is_complete and c.suspects]
            self.pace.begin_epoch()
            with epochs.open(number, suspects) as current:
                self.findings.last, self.findings.rounds = current, number
                self.findings.resuming.see(self.holders.target)
                self.meter.round = number
                waited = round(current.waited_s, 3)
                self.say(f"round {number}", tables_undecided=len(waiting), lsn=current.lsn, waited_seconds=waited)
                while waiting and self.pace.may_begin():
                    share = self.pace.share(waiting)
                    waiting = waiting[len(share) :]
                    self._look_at(share, current, epochs.mode, pairs, recipe, limits)

    def _look_at(
        self, share: Sequence[Comparison], current: Epoch, mode: str, pairs: Pairs, recipe: Recipe, limits: Limits
    ) -> None:
        """Look at some tables in an open epoch."""
        started = time.monotonic()
        for comparison in share:
            before = comparison.moment if comparison.is_complete else None
            comparison.moment = before.until(current, mode) if before is not None else Moment.of(current, mode)
            comparison.begin_round()
        unread = [c for c in share if not c.is_complete]
        look = FirstLook(pairs, current, recipe, limits, self.migration.redactor)
        look.take(unread, self._busy_since(self.activity), self.connections, lambda: self._tick(share))
        self.pace.note(sum(c.unit.estimated_bytes for c in unread), time.monotonic() - started)

        def work(comparison: Comparison) -> Comparison:
            with pairs.one() as lent:
                attempt(comparison, lent, current, recipe, limits, self.migration.redactor)
            return comparison

        self._in_parallel(work, [c for c in share if c.is_complete or c.leaves])
        self.findings.resuming.note(share)
        for comparison in share if self.pace.is_over else ():
            if comparison.status == "error" and comparison.reason.endswith(f"(SQLSTATE {_CANCELED})"):
                comparison.settle("")
                comparison.obstacle = "" if comparison.differing_rows else self.pace.deadline_reason

    def _tick(self, share: Sequence[Comparison]) -> None:
        self.findings.resuming.note(share)
        self.say_how_far()

    def _busy_since(self, before: Mapping[int, int]) -> frozenset[int]:
        """Return the heaps of the source that have been written to since an earlier reading."""
        now = read_activity(self.holders.control)
        return frozenset(oid for oid, writes in now.items() if before.get(oid) != writes)

    def _in_parallel(self, work: Callable[[Comparison], Comparison], undecided: Sequence[Comparison]) -> None:
        with ExitStack() as stack:
            pool = ThreadPoolExecutor(self.options.jobs, thread_name_prefix="verify")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            try:
                for done in as_completed([pool.submit(work, comparison) for comparison in undecided]):
                    comparison = done.result()
                    self.findings.resuming.note([comparison])
                    self.say_how_far(f"{comparison.unit.qualified}: {comparison.status or 'in doubt'}")
            except BaseException:
                # Told to stop: end the queries first, or the threads would go on until the servers answer.
                self.connections.stop()
                raise


def shapes(catalog: Catalog) -> Shapes:
    """Return what a comparison reads of each table, partitioned ones by their root. Pure."""
    found: dict[tuple[str, str], set[tuple[Any, ...]]] = {}
    for table in catalog.tables:
        root = catalog.root_of(table)
        columns = tuple((column.name, column.type, column.generated) for column in table.columns)
        found.setdefault((root.schema, root.name), set()).add((table.oid, columns))
    return found


def alignment_problem(carriers: Sequence[Carrier]) -> str:
    """Say why streams that exist cannot align two snapshots, '' when they can or there are none."""
    for carrier in carriers:
        if carrier.subscribed is None:
            return f"stream {carrier.stream.number} has no subscription on the target (yet)"
    return ""


def skipped_unlogged(selected: Selected, record: Record | None) -> frozenset[int]:
    """Return the OIDs of unlogged tables whose rows the migration was told to leave behind.

    Nothing else is left out because the ledger says so: a permanent table that was not copied is a finding.
    """
    skipped = {(r.schema, r.name) for r in (record.relations if record else ()) if r.kind == "schema_only"}
    return frozenset(table.oid for table in selected.unlogged_tables if (table.schema, table.name) in skipped)


def left_out(selected: Selected, excluded: frozenset[int]) -> list[dict[str, str]]:
    """List what is not compared on purpose, with the reason; ``excluded`` are the OIDs that exclude_data names."""
    found: list[dict[str, str]] = []

    def add(kind: str, schema: str, name: str, reason: str) -> None:
        found.append({"kind": kind, "schema": schema, "name": name, "reason": reason})

    for table in selected.catalog.tables:
        if table.kind == "f":
            add("foreign table", table.schema, table.name, "its rows live on another server")
        elif table.oid in selected.without_data:
            add("table", table.schema, table.name, "exclude_data" if table.oid in excluded else "unlogged_tables: skip")
    for view in selected.catalog.materialized_views:
        add("materialized view", view.schema, view.name, "derived from tables, as old as its last REFRESH on each side")
    if selected.left_out:
        add("tables", "", "", f"{len(selected.left_out)} tables are not selected")
    return found


def _wanted_sequences(selected: Selected, tables: Sequence[Table], is_partial: bool) -> list[Any]:
    oids = {table.oid for table in tables}
    return [item for item in selected.catalog.sequences if not is_partial or item.owning_table in oids]


def _check_distinct(source: Catalog, target: Catalog) -> None:
    here, there = source.database, target.database
    if (here.system_identifier, here.oid, here.started) == (there.system_identifier, there.oid, there.started):
        raise MigrationError(
            "verify_failed",
            f"Source and target are one and the same database, {here.name}.",
            "Name two databases; a database is always equal to itself.",
        )


def _identity(side: Mapping[str, Any]) -> list[Any]:
    return [side["system_identifier"], side["database"], side["database_oid"]]
