# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What sync does for tables that were created on the source since init: they join by a stream of their own.

The order is init's, for these tables alone: checks, ledger, publication, slot with snapshot, schema, rows, indexes, the
rest of the schema, sequences, statistics; the subscription comes last. What was begun is finished by the next sync,
whatever its options say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from .. import (
    additions,
    baseline,
    clients,
    database,
    finishing,
    firing,
    inherited_comments,
    needed,
    new_tables,
    security_labels,
    slots,
    stream,
    tuning,
    unsaid,
)
from .. import plan as plans
from ..additions import Addition
from ..bringing import Bringing, Moved, Share, Wanted
from ..catalog import Catalog, Table
from ..claim import Claim
from ..clients import Client
from ..crew import Crew, Sizes
from ..driver import psycopg
from ..errors import MigrationError
from ..ledger import Record, Relation
from ..migration import Migration, Selection
from ..new_tables import NewTable
from ..plan import Plan
from ..post_data import PG_CLASS
from ..preflight import joining
from ..progress import Event, Progress
from ..retention import Retention
from ..role_names import RoleNames
from ..session import Session
from . import validate
from .init_options import InitOptions

REMEDY = "Undo the change on the source and run sync again."
# How often the source's schema may change under our hands before we give up.
MAX_MOVED = 5


@dataclass(frozen=True)
class Found:
    """The tables that would join now: what they are, what the source is like, and what init's options say about them."""

    plan: Plan
    tables: tuple[Table, ...]

    @property
    def oids(self) -> frozenset[int]:
        """Their OIDs."""
        return frozenset(table.oid for table in self.tables)

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(table.qualified for table in self.tables)


def init_options(record: Record, client_bin_dir: str | None, **given: Any) -> InitOptions:
    """Return the options with which init ran, as the ledger knows them; the copy is always the runner's."""
    known = {item.name for item in fields(InitOptions)}
    kept = {key: value for key, value in record.options.items() if key in known}
    changed = {"copy_method": "runner", "resume": True, "check_mode": False, **given}
    if client_bin_dir:
        changed["client_bin_dir"] = client_bin_dir
    return InitOptions(**{**kept, **changed})


def find(
    migration: Migration, options: InitOptions, source: Session, target: Session, record: Record
) -> tuple[Found | None, tuple[NewTable, ...]]:
    """Return what would join, None when there is nothing, and what cannot because the migration has had its name.

    Raises ``target_not_empty`` where the name of a new table is taken on the target, and ``not_ready`` where the rows of
    an unlogged table are not to be copied silently.
    """
    new = new_tables.find(source, target, record)
    remade = tuple(item for item in new if item.is_remade)
    wanted = {item.oid for item in new} - {item.oid for item in remade}
    if not wanted:
        return None, remade
    taken = [item.qualified for item in new if item.is_name_taken]
    if taken:
        raise MigrationError(
            "target_not_empty",
            f"These tables are new on the source, and the target has something else by their names: {', '.join(taken[:10])}.",
            "Rename or drop on the target what nobody needs, and run sync again. Nothing of it is ever overwritten.",
            {"tables": taken},
        )
    plan = plans.read(migration, options, source)
    tables = tuple(table for table in plan.selected.catalog.tables if table.oid in wanted and table.kind in ("r", "p"))
    unlogged = [table.qualified for table in tables if table.stores_rows and table.persistence == "u"]
    if unlogged and options.unlogged_tables == "fail":
        raise MigrationError(
            "not_ready",
            f"These new tables are unlogged, so they cannot be replicated: {', '.join(unlogged[:10])}. The migration was "
            "started with unlogged_tables: fail.",
            "Make them logged (ALTER TABLE ... SET LOGGED), or drop them, and run sync again.",
            {"tables": unlogged},
        )
    return (Found(plan, tables) if tables else None), remade


def gate(migration: Migration, options: InitOptions, oids: Collection[int], streams: int) -> None:
    """Raise ``not_ready`` when one of the tables, or a stream more, must not be; what protects the source always counts."""
    severities = {key: value for key, value in options.severities.items() if key not in validate.PROTECTING}
    skipped = [check for check in options.skip_checks if check not in validate.PROTECTING]
    asked = replace(options, skip_checks=skipped, severities=severities, streams=1)
    findings = joining.look(migration, asked, oids, streams)
    protecting = [finding for finding in findings if finding.check.id in validate.PROTECTING]
    for judged, fail_on in ((findings, options.fail_on), (protecting, "blocker")):
        error = validate.verdict(judged, fail_on)
        if error is not None:
            raise replace(error, message=f"The new tables cannot join. {error.message}")


def planned(
    migration: Migration, options: InitOptions, record: Record, source: Session, target: Session
) -> tuple[list[str], int]:
    """Return the tables that a real run would bring in, and their stream's number; log what it would do."""
    begun = additions.current(record)
    if begun is not None:
        migration.log.add("target", f"finish bringing in {', '.join(begun.tables)}")
        return sorted(begun.tables), begun.first_stream
    found, _remade = find(migration, options, source, target, record)
    if found is None:
        return [], 0
    gate(migration, options, found.oids, 1)
    number = stream.next_number(record)
    carried = [table for table in found.plan.carried if table.oid in found.oids]
    for text in stream.create_statements(
        migration, record.id, {number: carried}, found.plan.whole, found.plan.selected.predicates, source.major
    ):
        migration.log.add("source", text)
    wanted = needed.read(source, target, found.oids, additions.restored(record))
    beside = f" with {', '.join(wanted.beside)}" if wanted.beside else ""
    migration.log.add("target", f"pg_restore of {', '.join(found.names)}{beside}")
    return sorted(found.names), number if carried else 0


class Adding:
    """One run of sync that brings new tables in, under its claim."""

    def __init__(
        self,
        migration: Migration,
        options: InitOptions,
        progress: Progress,
        claim: Claim,
        source: Session,
        target: Session,
    ) -> None:
        self.migration, self.options, self.claim = migration, options, claim
        self.source, self.target = source, target
        self.progress: Progress = lambda event: progress(replace(event, phase="sync"))
        self.record = claim.read()

    @cached_property
    def client(self) -> Client:
        """The programs that dump and restore."""
        found = clients.find_clients(self.options.client_bin_dir)
        return clients.choose(found, self.source.major, self.target.major)

    def carry_out(self, *, is_wanted: bool) -> Addition | None:
        """Bring new tables in, as far as their subscription; finish what an earlier run has begun.

        Returns the addition, whose streams are ready to be subscribed; None when there was nothing to do.
        """
        for _attempt in range(MAX_MOVED):
            begun = additions.current(self.record)
            if begun is not None and not self.record.is_done(begun.step("pre_data")):
                self._take_back(begun)
                begun = None
            if begun is None:
                begun = self._begin() if is_wanted else None
            if begun is None:
                return None
            with suppress(Moved):
                self._bring(begun)
                return begun
            self.progress(Event("sync", "the new tables changed meanwhile; reading them again"))
            self.record = self.claim.read()
        raise MigrationError(
            "schema_changed",
            "The new tables changed each time that they were about to be copied.",
            "Run sync again when the source's schema rests.",
        )

    def finished(self, begun: Addition) -> None:
        """Record that an addition is complete: its streams count like any other from now on."""
        self.claim.finish(additions.STEP, begun.detail)
        self.claim.forget_dump()

    # --- begin and take back -----------------------------------------------------------------------------------

    def _begin(self) -> Addition | None:
        """Find the new tables, look at them closely, and record what is going to be done."""
        found, _remade = find(self.migration, self.options, self.source, self.target, self.record)
        if found is None:
            return None
        gate(self.migration, self.options, found.oids, 1)
        begun = Addition(additions.next_number(self.record), found.oids, found.names, stream.next_number(self.record))
        self.progress(Event("sync", f"bringing in {', '.join(begun.tables)}"))
        self.claim.add_relations(additions.STEP, begun.detail, self._relations(found.plan, begun))
        self.record = self.claim.read()
        return begun

    def _relations(self, plan: Plan, begun: Addition) -> list[Relation]:
        return [item for item in plans.relations(plan, self.options) if item.source_oid in begun.oids]

    def _take_back(self, begun: Addition) -> None:
        """Forget an addition of which nothing is on the target yet."""
        self._end_left_over()
        for item in additions.own_streams(self.record, begun):
            stream.remove(self.migration, self.claim, item, self.target, self.source)
        steps = [name for name in self.record.steps if name.startswith(begun.prefix)]
        self.claim.forget_relations(sorted(begun.oids), steps)
        self.claim.finish(additions.STEP, {**begun.detail, "oids": [], "tables": []})
        self.claim.forget_dump()
        self.record = self.claim.read()

    def _end_left_over(self) -> None:
        for session in (self.source, self.target):
            stream.end_left_over(self.claim, session)

    # --- schema and rows ---------------------------------------------------------------------------------------

    def _bring(self, begun: Addition) -> None:
        share = Share("sync", begun.prefix, begun.oids, REMEDY)
        bringing = Bringing(
            self.migration, self.options, self.claim, self.source, self.target, self.client, self.progress, share
        )
        try:
            with Retention(self.migration, self.claim, self.options.max_retained_wal, self.progress) as retention:
                self._copy_all(begun, bringing, retention)
                if not self.record.is_done(begun.step("post_data")):
                    self._post_data(bringing)
                self._finish(begun, bringing)
        except MigrationError as error:
            if error.code == "wal_limit_exceeded":
                with suppress(MigrationError, psycopg.Error):
                    self._give_up(begun)
            raise

    def _give_up(self, begun: Addition) -> None:
        """Free the source of what it keeps for these tables; they are copied again by the next run."""
        for item in additions.own_streams(self.claim.read(), begun):
            stream.remove(self.migration, self.claim, item, self.target, self.source)

    def _copy_all(self, begun: Addition, bringing: Bringing, retention: Retention) -> None:
        self._end_left_over()
        self._settle(begun)
        if self.record.is_done(begun.step("pre_data")) and not self.record.pending and bringing.is_built():
            return
        jobs = max(1, min(self.options.jobs, len(begun.oids)))
        index_jobs = max(1, min(self.options.index_jobs or self.options.jobs, len(begun.oids)))
        sizes = Sizes(jobs, index_jobs, tuning.settings(self.target, index_jobs), self.options.max_rate)
        with Crew(self.migration, self.claim, sizes, self.progress, retention.check) as crew:
            bringing.copy_all(crew, self.record, lambda now: self._round(crew, begun, bringing, now))
            self.progress(Event("sync", "building indexes of the new tables"))
            crew.finish()
        self.record = self.claim.read()

    def _settle(self, begun: Addition) -> None:
        """Keep the streams of an earlier run that carry copied tables and can go on; remove every other one."""
        is_late = self.record.is_done(begun.step("post_data"))
        for item in additions.own_streams(self.record, begun):
            carries = any(relation.stream == item.number for relation in self.record.relations)
            if carries and slots.slot_is_usable(slots.slot_row(self.source, item.slot)):
                if item.state != "subscribed":
                    stream.narrow(self.source, self.record, item)
            elif carries and is_late:
                raise stream.slot_lost(item.slot)
            else:
                stream.remove(self.migration, self.claim, item, self.target, self.source)
        self.record = self.claim.read()

    def _round(self, crew: Crew, begun: Addition, bringing: Bringing, record: Record) -> None:
        """Open a stream for what is to be copied, in its snapshot; the first round brings the schema as well."""
        plan = plans.read(self.migration, self.options, self.source)
        is_first = not record.is_done(begun.step("pre_data"))
        present = {table.oid for table in plan.selected.catalog.tables}
        if is_first and not begun.oids <= present:
            raise Moved
        gone = [relation for relation in record.pending if relation.source_oid not in present]
        if gone:
            self._let_go(gone)
            return
        pending = {relation.source_oid for relation in record.pending}
        if not is_first:
            bringing.check_target(plan, pending)
            gate(self.migration, self.options, pending, 1)
        dealt = plans.deal(plan, self.source, record, 1)

        def before_schema(reader: Session, seen: Plan) -> Wanted:
            wanted = needed.read(reader, self.target, begun.oids, additions.restored(record))
            place = self.options.maintenance_db
            with database.maintenance_if_any(self.migration, place, read_only=True) as (maintenance, _reason):
                bringing.make_roles(seen, maintenance)
            known = baseline.seen(reader, self.migration.selection)
            baseline.add(self.claim, known, lambda item: (item.classid, item.objid) in wanted.objects)
            names = {table.qualified for table in seen.selected.catalog.tables if table.oid in begun.oids}
            notes = [note for note in seen.notes if any(note["object"].endswith(f" {name}") for name in names)]
            return Wanted(only=wanted.objects, detail={"left": notes})

        with _told_as_moved(is_first), bringing.opened(plan, dealt) as opened:
            if is_first:
                plan = bringing.bring_schema(crew, plan, opened.snapshot, before_schema)
            tables = [table for table in plan.selected.catalog.tables if table.oid in pending]
            bringing.copy_rows(crew, plan, tables, opened, dealt)
            bringing.release(opened)

    def _let_go(self, gone: Sequence[Relation]) -> None:
        """Leave tables alone that were dropped on the source before they were copied; the target has them, empty."""
        self.claim.write(
            "UPDATE seren_migrator.relation SET state = 'skipped', kind = 'schema_only'"
            " WHERE migration_id = %(id)s AND source_oid = ANY (%(oids)s) AND state = 'pending'",
            oids=[relation.source_oid for relation in gone],
        )

    # --- what follows the rows ---------------------------------------------------------------------------------

    def _post_data(self, bringing: Bringing) -> None:
        """Restore constraints, triggers and the rest; keys to tables of other streams wait, as init's do."""
        self.progress(Event("sync", "adding constraints and triggers of the new tables"))
        plan = plans.read(self.migration, self.options, self.source)
        bringing.post_data(self.record, plan.selected.catalog, plan.left)
        self.record = self.claim.read()

    def _finish(self, begun: Addition, bringing: Bringing) -> None:
        """Let rest what would fire during apply, set the sequences, collect statistics."""
        record = self.record
        chosen = bringing.restored(record).only or frozenset()
        catalog = plans.read(self.migration, self.options, self.source).selected.catalog
        mine = {(table.schema, table.name) for table in catalog.tables if table.oid in begun.oids}
        if not record.is_done(begun.step("firing")):
            found = firing.find(self.target, sorted({schema_name for schema_name, _name in mine}))
            finishing.let_rest(
                self.claim, self.target, [item for item in found if (item.schema, item.relation) in mine], begun.prefix
            )
        there = Catalog.read(self.target)
        if not record.is_done(begun.step("inherited_comments")):
            joined = replace(catalog, tables=tuple(table for table in catalog.tables if table.oid in begun.oids))
            comments: dict[str, list[dict[str, str]]] = {"left": []}
            with self.claim.step(begun.step("inherited_comments"), comments):
                comments["left"] += inherited_comments.carry(self.source, self.target, joined, there)
        if not record.is_done(begun.step("unsaid")):
            schemas = sorted({schema_name for schema_name, _name in mine})
            self._what_no_dump_says(begun.step("unsaid"), schemas, chosen, bringing.role_names())
        if not record.is_done(begun.step("sequences")):
            own = tuple(item for item in catalog.sequences if (PG_CLASS, item.oid) in chosen)
            with self.claim.step(begun.step("sequences")):
                finishing.set_sequences(self.source, self.target, replace(catalog, sequences=own), there)
        if not record.is_done(begun.step("analyze")):
            self.progress(Event("sync", "collecting statistics of the new tables"))
            relations = tuple(bringing.share.relations(record.relations))
            tables = tuple(table for table in there.tables if (table.schema, table.name) in mine)
            with self.claim.step(begun.step("analyze")):
                finishing.analyze(
                    self.migration,
                    self.target,
                    replace(record, relations=relations),
                    replace(there, tables=tables, materialized_views=()),
                    self.options.jobs,
                )

    def _what_no_dump_says(
        self, step: str, schemas: Sequence[str], chosen: Collection[tuple[int, int]], names: RoleNames
    ) -> None:
        """Bring security labels, missing defaults and switched-off system triggers of the ``chosen`` objects."""
        labels = [
            item
            for item in security_labels.read(self.source.rows(security_labels.QUERY))
            if (item.classid, item.oid) in chosen
        ]
        detail: dict[str, list[dict[str, str]]] = {"left": []}
        with self.claim.step(step, detail):
            detail["left"] += security_labels.carry_over(self.target, labels, names)
            detail["left"] += unsaid.put_right(self.source, self.target, schemas)


@contextmanager
def _told_as_moved(is_first: bool) -> Iterator[None]:
    """Take it for a change of the tables when one cannot be published any more; the ledger knows of no stream then."""
    try:
        yield
    except psycopg.errors.UndefinedTable:
        if not is_first:
            raise
        raise Moved from None


def selection_of(migration: Migration, record: Record) -> Migration:
    """Return the migration with the selection that it was started with."""
    return replace(migration, selection=Selection.from_options(record.selection))
