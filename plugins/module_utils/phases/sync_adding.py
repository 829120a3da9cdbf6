# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What sync does for tables that were created on the source since init: they join by a stream of their own.

The order is init's, for these tables alone: checks, ledger, publication, slot with snapshot, schema, rows, indexes, the
rest of the schema, sequences, statistics; the subscription comes last. What was begun is finished by the next sync,
whatever its options say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from .. import (
    access,
    additions,
    baseline,
    clients,
    copying,
    finishing,
    firing,
    foreign_keys,
    indexes,
    inherited_comments,
    needed,
    new_tables,
    policies,
    role_lock,
    role_making,
    role_policy,
    roles,
    schema,
    security_labels,
    slots,
    splitting,
    stream,
    tuning,
    unsaid,
)
from .. import plan as plans
from ..additions import Addition
from ..catalog import Catalog, Table
from ..claim import Claim
from ..clients import Client
from ..crew import Crew, Sizes
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..ledger import Record, Relation
from ..migration import Migration, Selection, backend_name
from ..new_tables import NewTable
from ..plan import Dealt, Plan
from ..post_data import PG_CLASS, PG_CONSTRAINT, Script
from ..preflight import joining
from ..progress import Event, Progress
from ..retention import Retention
from ..role_names import RoleNames
from ..roles import RolePlan
from ..schema import Archive
from ..session import Session
from . import validate
from .init_options import InitOptions
from .init_run import MAX_ROUNDS

REMEDY = "Undo the change on the source and run sync again."
# How often the source's schema may change under our hands before we give up.
MAX_MOVED = 5


class _Moved(Exception):
    """The new tables changed between their first reading and the snapshot."""


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
            with suppress(_Moved):
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
        try:
            with Retention(self.migration, self.claim, self.options.max_retained_wal, self.progress) as retention:
                self._copy_all(begun, retention)
                if not self.record.is_done(begun.step("post_data")):
                    self._post_data(begun)
                self._finish(begun)
        except MigrationError as error:
            if error.code == "wal_limit_exceeded":
                with suppress(MigrationError, psycopg.Error):
                    self._give_up(begun)
            raise

    def _give_up(self, begun: Addition) -> None:
        """Free the source of what it keeps for these tables; they are copied again by the next run."""
        for item in additions.own_streams(self.claim.read(), begun):
            stream.remove(self.migration, self.claim, item, self.target, self.source)

    def _copy_all(self, begun: Addition, retention: Retention) -> None:
        self._end_left_over()
        self._settle(begun)
        builds = [item for item in self.claim.index_builds() if item.table_oid in begun.oids]
        is_built = all(item.state == indexes.DONE for item in builds)
        if self.record.is_done(begun.step("pre_data")) and not self.record.pending and is_built:
            return
        jobs = max(1, min(self.options.jobs, len(begun.oids)))
        index_jobs = max(1, min(self.options.index_jobs or self.options.jobs, len(begun.oids)))
        sizes = Sizes(jobs, index_jobs, tuning.settings(self.target, index_jobs), self.options.max_rate)
        with Crew(self.migration, self.claim, sizes, self.progress, retention.check) as crew:
            if self.record.is_done(begun.step("pre_data")):
                self._plan_builds(crew, begun)
                crew.build(r.source_oid for r in self._own_relations(begun) if r.state == "copied")
            rounds = 0
            while self.record.pending or not self.record.is_done(begun.step("pre_data")):
                if rounds == MAX_ROUNDS:
                    raise _rewritten_too_often(self.record)
                rounds += 1
                self._round(crew, begun)
                self.record = self.claim.read()
            self.progress(Event("sync", "building indexes of the new tables"))
            crew.finish()

    def _own_relations(self, begun: Addition) -> list[Relation]:
        return [item for item in self.record.relations if item.source_oid in begun.oids]

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

    def _round(self, crew: Crew, begun: Addition) -> None:
        """Open a stream for what is to be copied, in its snapshot; the first round brings the schema as well."""
        plan = plans.read(self.migration, self.options, self.source)
        is_first = not self.record.is_done(begun.step("pre_data"))
        present = {table.oid for table in plan.selected.catalog.tables}
        if is_first and not begun.oids <= present:
            raise _Moved
        gone = [relation for relation in self.record.pending if relation.source_oid not in present]
        if gone:
            self._let_go(gone)
            return
        pending = {relation.source_oid for relation in self.record.pending}
        if not is_first:
            self._check_target(plan, pending)
            gate(self.migration, self.options, pending, 1)
        dealt = plans.deal(plan, self.source, self.record, 1)
        self.progress(Event("sync", f"opening stream {dealt.first} for {len(dealt.carried)} new table(s)"))
        with (
            _told_as_moved(is_first),
            stream.opened(
                self.migration,
                self.claim,
                self.source,
                self.target,
                plan.whole,
                dealt.tables(plan.whole),
                plan.selected.predicates,
                slot_timeout_s=self.options.slot_timeout,
            ) as opened,
        ):
            if is_first:
                plan = self._schema(begun, plan, opened.snapshot)
                self.record = self.claim.read()
                self._plan_builds(crew, begun)
            self._copy(crew, plan, pending, opened, dealt)

    def _let_go(self, gone: Sequence[Relation]) -> None:
        """Leave tables alone that were dropped on the source before they were copied; the target has them, empty."""
        self.claim.write(
            "UPDATE seren_migrator.relation SET state = 'skipped', kind = 'schema_only'"
            " WHERE migration_id = %(id)s AND source_oid = ANY (%(oids)s) AND state = 'pending'",
            oids=[relation.source_oid for relation in gone],
        )

    def _schema(self, begun: Addition, plan: Plan, snapshot: str) -> Plan:
        """Restore the tables and what they need, as the snapshot shows them; return the plan that it shows."""
        with (
            ThreadPoolExecutor(1) as pool,
            self.migration.open("source", "snapshot reader", read_only=True) as reader,
        ):
            dump = pool.submit(schema.dump, self.migration, self.client, snapshot, plan.whole, plan.selected, plan.left)
            reader.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            reader.connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            seen = plans.read(self.migration, self.options, reader)
            if _shape(seen, begun.oids) != _shape(plan, begun.oids):
                raise _Moved
            wanted = needed.read(reader, self.target, begun.oids, additions.restored(self.record))
            self._roles(seen)
            known = baseline.seen(reader, self.migration.selection)
            baseline.add(self.claim, known, lambda item: (item.classid, item.objid) in wanted.objects)
            self._pre_data(begun, seen, dump.result(), reader, wanted.objects)
        return seen

    def _roles(self, plan: Plan) -> None:
        """Make the roles that are missing, as init does."""
        policy, left_out = role_policy.policy(self.options), plan.selected.left_out

        def planned(made: Collection[str]) -> RolePlan:
            database = self.migration.target.dbname
            passwords = self.options.role_passwords
            return roles.plan(
                policy, self.source, self.target, left_out, database=database, passwords=passwords, made=made
            )

        with role_lock.held(self.migration, self.options.maintenance_db):
            role_making.carry_out(self.migration, self.claim, self.target, planned)

    def _names(self) -> RoleNames:
        """Return what roles are called on the target, once those that were missing are made."""
        policy = role_policy.policy(self.options)
        return roles.names(policy, self.source, self.target, owner=self.options.sole_owner)

    def _pre_data(
        self,
        begun: Addition,
        plan: Plan,
        content: bytes,
        reader: Session,
        chosen: frozenset[tuple[int, int]],
    ) -> None:
        self.claim.keep_dump(self.client.major, content)
        archive = self._archive(content, plan, chosen)
        script = schema.post_data_script(self.migration, archive)
        filled = {item.source_oid for item in self._relations(plan, begun) if item.state != "skipped"}
        stored = [table for table in plan.selected.catalog.tables if table.oid in filled]
        readable = plan.whole.database.encoding != "SQL_ASCII"
        self.claim.add_index_builds(indexes.read(reader, stored, script) if readable else [])
        on_source = access.only(access.read(reader, self._names(), archive.skipped), chosen)
        named = policies.read(reader, archive.skipped)
        reader.connection.execute("COMMIT")
        names = {table.qualified for table in plan.selected.catalog.tables if table.oid in begun.oids}
        notes = [note for note in plan.notes if any(note["object"].endswith(f" {name}") for name in names)]
        detail = {
            "objects": sorted(chosen),
            "skipped": sorted(archive.skipped),
            "policies": policies.as_data(item for item in named if (policies.PG_POLICY, item.oid) in chosen),
            "left": notes,
        }
        mark = self.claim.done_mark(begun.step("pre_data"), detail)

        def and_then(session: Session, there_before: frozenset[str]) -> None:
            access.before_rows(session, on_source, there_before)

        with self.migration.open("target", "restore") as restoring:
            schema.restore_pre_data(self.migration, restoring, archive, mark, and_then, {})

    def _archive(self, content: bytes, plan: Plan, chosen: frozenset[tuple[int, int]]) -> Archive:
        skipped = schema.skips(plan.left, ())
        return Archive(content, self.client, skipped, backend_name(self.claim.id, "restore"), chosen)

    def _chosen(self, begun: Addition) -> frozenset[tuple[int, int]]:
        """Return what was restored, as (classid, objid) on the source."""
        detail = self.record.steps[begun.step("pre_data")].detail
        return frozenset((classid, objid) for classid, objid in detail["objects"])

    def _plan_builds(self, crew: Crew, begun: Addition) -> None:
        builds = [item for item in self.claim.index_builds() if item.table_oid in begun.oids]
        waiting = [build for build in builds if build.state != indexes.DONE]
        script = Script(b"", ())
        if waiting:
            detail = self.record.steps[begun.step("pre_data")].detail
            skipped = frozenset((classid, objid) for classid, objid in detail["skipped"])
            name = backend_name(self.claim.id, "restore")
            archive = Archive(self.claim.kept_dump(), self.client, skipped, name, self._chosen(begun))
            script = schema.post_data_script(self.migration, archive)
        names = {item.source_oid: (item.schema, item.name) for item in self._own_relations(begun)}
        crew.plan_builds(script, waiting, names)

    def _check_target(self, plan: Plan, pending: set[int]) -> None:
        """Refuse to copy into a table whose columns are no longer those of the source."""
        there = Catalog.read(self.target).by_name
        for table in plan.selected.catalog.tables:
            twin = there.get((table.schema, table.name))
            columns = {(c.name, c.type) for c in table.copied_columns}
            if table.oid in pending and (twin is None or {(c.name, c.type) for c in twin.copied_columns} != columns):
                raise MigrationError(
                    "schema_changed",
                    f"The new table {table.qualified} changed on the source after its schema had come to the target, "
                    "and before its rows had.",
                    REMEDY,
                    {"table": table.qualified},
                )

    def _copy(self, crew: Crew, plan: Plan, pending: set[int], opened: stream.OpenStreams, dealt: Dealt) -> None:
        tables = [table for table in plan.selected.catalog.tables if table.oid in pending]
        tasks = copying.plan_tasks(plan.selected, tables, dealt.stream_of(tables), dealt.carried)
        self.progress(Event("sync", f"copying {len(tasks)} new table(s)"))
        self.claim.forget_pieces()
        limit = self.options.split_tables_larger_than
        pieces = splitting.pieces(self.source, tasks, limit_bytes=limit, jobs=self.options.jobs)
        outcome = crew.copy(tasks, opened.snapshot, pieces)
        if outcome.rewritten:
            moved = {task.oid for task in outcome.rewritten}
            copied = {done.task.oid for done in outcome.copied}
            parted = foreign_keys.rewritten_too(self.source, plan.selected.catalog, moved, copied)
            crew.forget(parted)
            self.claim.reset_tables(sorted(parted))
        for number in opened.numbers:
            stream.release(self.migration, self.claim, self.source, self.target, number)

    # --- what follows the rows ---------------------------------------------------------------------------------

    def _post_data(self, begun: Addition) -> None:
        """Restore constraints, triggers and the rest; keys to tables of other streams wait, as init's do."""
        self.progress(Event("sync", "adding constraints and triggers of the new tables"))
        plan = plans.read(self.migration, self.options, self.source)
        catalog, chosen = plan.selected.catalog, self._chosen(begun)
        carried = {item.source_oid: item.stream for item in self.record.relations if item.stream is not None}
        mine = [key for key in catalog.foreign_keys if (PG_CONSTRAINT, key.oid) in chosen]
        postponed = [key for key in foreign_keys.postponed(catalog, carried) if key in mine]
        unchecked = [key for key in foreign_keys.checked_later(catalog, postponed) if key in mine]
        names, left_behind = self._names(), schema.skips(plan.left, ())
        # The archive and what it left out are of the snapshot; the source has moved on.
        restored = self.record.steps[begun.step("pre_data")].detail
        named = policies.renamed(policies.kept(restored), names, left_behind)
        left_then = frozenset((classid, objid) for classid, objid in restored["skipped"])
        by_us = {(policies.PG_POLICY, policy.oid) for policy in named}
        skipped = schema.skips(plan.left, postponed) | left_then | by_us
        name = backend_name(self.claim.id, "restore")
        archive = Archive(self.claim.kept_dump(), self.client, skipped, name, chosen)
        script = schema.post_data_script(self.migration, archive)
        built = {build.key for build in self.claim.index_builds() if build.state == indexes.DONE}
        detail = {
            "postponed_foreign_keys": [finishing.key_name(catalog, key) for key in postponed],
            "unchecked_foreign_keys": [foreign_keys.as_data(catalog, key) for key in unchecked],
        }
        step = begun.step("post_data")
        self.claim.begin(step, detail)
        remaining = script.without(built, {key.oid for key in unchecked})
        on_source = access.only(access.read(self.source, names, left_behind), chosen)
        # What the restore of these tables has made is ours; any other schema was there before.
        made = set(restored["created"])
        there_before = frozenset(item.name for item in Catalog.read(self.target).schemas if item.oid not in made)

        def and_then(session: Session) -> None:
            left = access.after_rows_of(session, on_source, there_before, named)
            session.connection.execute(self.claim.added_to_mark(step, {"left": left}))

        schema.restore_post_data(self.migration, archive, remaining, self.claim.done_mark(step), and_then)
        self.record = self.claim.read()

    def _finish(self, begun: Addition) -> None:
        """Let rest what would fire during apply, set the sequences, collect statistics."""
        record = self.record = self.claim.read()
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
            self._what_no_dump_says(begun, sorted({schema_name for schema_name, _name in mine}))
        if not record.is_done(begun.step("sequences")):
            chosen = self._chosen(begun)
            own = tuple(item for item in catalog.sequences if (PG_CLASS, item.oid) in chosen)
            with self.claim.step(begun.step("sequences")):
                finishing.set_sequences(self.source, self.target, replace(catalog, sequences=own), there)
        if not record.is_done(begun.step("analyze")):
            self.progress(Event("sync", "collecting statistics of the new tables"))
            relations = tuple(self._own_relations(begun))
            tables = tuple(table for table in there.tables if (table.schema, table.name) in mine)
            with self.claim.step(begun.step("analyze")):
                finishing.analyze(
                    self.migration,
                    self.target,
                    replace(record, relations=relations),
                    replace(there, tables=tables, materialized_views=()),
                    self.options.jobs,
                )

    def _what_no_dump_says(self, begun: Addition, schemas: Sequence[str]) -> None:
        """Bring security labels, missing defaults and switched-off system triggers of the new tables."""
        chosen = self._chosen(begun)
        labels = [
            item
            for item in security_labels.read(self.source.rows(security_labels.QUERY))
            if (item.classid, item.oid) in chosen
        ]
        detail: dict[str, list[dict[str, str]]] = {"left": []}
        with self.claim.step(begun.step("unsaid"), detail):
            detail["left"] += security_labels.carry_over(self.target, labels, self._names())
            detail["left"] += unsaid.put_right(self.source, self.target, schemas)


@contextmanager
def _told_as_moved(is_first: bool) -> Iterator[None]:
    """Take it for a change of the tables when one cannot be published any more; the ledger knows of no stream then."""
    try:
        yield
    except psycopg.errors.UndefinedTable:
        if not is_first:
            raise
        raise _Moved from None


def _shape(plan: Plan, oids: Collection[int]) -> list[Any]:
    """Return what must not change about the new tables between publishing and the snapshot."""
    return [
        (table.oid, table.schema, table.name, table.kind, table.parents, [(c.name, c.type) for c in table.columns])
        for table in plan.selected.catalog.tables
        if table.oid in oids
    ]


def _rewritten_too_often(record: Record) -> MigrationError:
    names = ", ".join(f"{relation.schema}.{relation.name}" for relation in record.pending[:10])
    return MigrationError(
        "rewritten_too_often",
        f"The application rewrote these tables (TRUNCATE, VACUUM FULL, ALTER) each time they were copied: {names}.",
        "Pause that job for a moment and run sync again; finished tables are kept.",
    )


def selection_of(migration: Migration, record: Record) -> Migration:
    """Return the migration with the selection that it was started with."""
    return replace(migration, selection=Selection.from_options(record.selection))
