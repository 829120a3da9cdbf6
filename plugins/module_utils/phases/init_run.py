# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init does once it holds the claim: the steps in order, each skipped when the ledger says that it is done."""

from __future__ import annotations

from contextlib import suppress

from .. import (
    baseline,
    clients,
    copy_progress,
    database,
    extension_data,
    extensions,
    finishing,
    large_objects,
    native_copy,
    never_carried,
    provider,
    register,
    starting_over,
    stream,
    tuning,
)
from .. import plan as plans
from ..bringing import Bringing, Moved, Share, Wanted
from ..claim import Claim
from ..crew import Crew, Sizes
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..ledger import Record
from ..migration import Migration
from ..plan import Dealt, Plan
from ..progress import Event, Progress
from ..retention import Retention, give_up
from ..session import Session
from .init_options import InitOptions


def carry_out(work: Run, claim: Claim) -> None:
    """Do the work; when it fails and a slot stays for the next run, say so."""
    try:
        work.carry_out()
    except MigrationError as error:
        if error.code == "wal_limit_exceeded":
            with suppress(MigrationError, psycopg.Error):
                give_up(work.migration, claim, work.source, work.target)
        with suppress(MigrationError, psycopg.Error):
            kept = [stream.slot for stream in claim.read().live_streams]
            error.details["slots_kept"] = kept
            if kept:
                error.remedy += (
                    f" Until then the source keeps WAL for the slot(s) {', '.join(kept)}: run init again to continue "
                    "with what is copied, or pg_migration_cleanup to give up."
                )
        raise


class Run:
    """One run of init under its claim: the steps in order, each skipped when the ledger says it is done.

    ``plan`` is what was read of the source a moment ago, if anything; the first round then does not read it again.
    """

    def __init__(
        self,
        migration: Migration,
        options: InitOptions,
        progress: Progress,
        claim: Claim,
        source: Session,
        target: Session,
        retention: Retention,
        plan: Plan | None = None,
    ) -> None:
        self.migration, self.options, self.progress = migration, options, progress
        self.claim, self.source, self.target, self.retention = claim, source, target, retention
        self._fresh_plan = plan
        self.client = clients.choose(clients.find_clients(options.client_bin_dir), source.major, target.major)
        share = Share("init", "", None, f"Undo the change on the source, or {starting_over.REMEDY}")
        self.bringing = Bringing(migration, options, claim, source, target, self.client, progress, share)
        self.left: list[dict[str, str]] = []
        self.notes: list[str] = []
        self._extensions = extensions.ExtensionsPlan()
        self._extension_rows = extension_data.DataPlan((), ())
        self.ticker = copy_progress.Ticker(progress, options.progress_interval)

    def carry_out(self) -> None:
        """Do everything that the ledger does not call done."""
        record = stream.settle(self.migration, self.claim, self.source, self.target)
        starting_over.drop_large_objects(self.claim, record)
        analyzed: frozenset[tuple[str, str]] = frozenset()
        if record.pending or not record.is_done("pre_data") or not record.is_done("post_data"):
            with Crew(self.migration, self.claim, self._sizes(record), self.progress, self._watch) as crew:
                self.bringing.copy_all(crew, record, lambda now: self._copy_round(crew, now))
                if self._is_native:
                    parts = (self.migration, self.claim, self.source, self.target, self.options, self.progress)
                    native_copy.carry_out(*parts, crew)
                self._tell_how_far()
                self.progress(Event("init", "building indexes", {"step": "indexes"}))
                crew.finish()
                analyzed = crew.analyzed
        finishing.finish(self.bringing, self.options, self._step, analyzed)
        # Where the servers copied by themselves, replication goes on since.
        is_synced = self._is_native and native_copy.has_begun(self.claim.read())
        self.claim.set_state("synced" if is_synced else "copied")

    @property
    def _is_native(self) -> bool:
        return self.options.copy_method == "subscription"

    def _sizes(self, record: Record) -> Sizes:
        """Return how many processes work, and with which settings on the target."""
        ours = [relation for relation in record.pending if not self._is_native or relation.kind == "unlogged"]
        # The first round reads the source again, and may find a table that was not there before.
        least = int(self._is_native or not record.is_done("pre_data"))
        jobs = max(least, min(self.options.jobs, len(ours)))
        index_jobs = self.options.index_jobs or self.options.jobs
        return Sizes(jobs, index_jobs, tuning.settings(self.target, index_jobs), self.options.max_rate)

    def _watch(self) -> None:
        """Look after what must not be forgotten while workers work; called about once a second."""
        self.retention.check()
        if not self.ticker.seconds_left:
            self._tell_how_far()

    def _step(self, event: Event) -> None:
        """Tell that a step begins, unless the source must not go on keeping WAL for it."""
        self.retention.check()
        self.progress(event)

    def _tell_how_far(self) -> None:
        if (seen := copy_progress.look(self.target, self.migration.name)) is not None:
            self.ticker.tell(seen[1], more={"retained_wal_bytes": self.retention.retained_bytes})

    def _copy_round(self, crew: Crew, record: Record) -> None:
        """Open a new stream for what is pending and copy it; the first round brings roles and schema as well."""
        fresh, self._fresh_plan = self._fresh_plan, None
        plan = fresh or plans.read(self.migration, self.options, self.source)
        first = not record.is_done("pre_data")
        if first and fresh is None:
            self.claim.replace_relations(plans.relations(plan, self.options))
            record = self.claim.read()
        pending = {relation.source_oid for relation in record.pending}
        self._check_present(plan, record)
        if not first:
            self.bringing.check_target(plan, pending)
        dealt = plans.deal(plan, self.source, record, self.options.streams)
        for note in dealt.notes:
            self.progress(Event("init", note))
        try:
            with self.bringing.opened(plan, dealt) as opened:
                if first:
                    self.progress(Event("init", "dumping the schema", {"step": "schema"}))
                    plan = self.bringing.bring_schema(crew, plan, opened.snapshot, self._before_schema)
                    self.bringing.check_target(plan, pending)
                self._extension_data(plan, record, opened.snapshot)
                self._large_objects(record, opened.snapshot)
                self._copy(crew, plan, pending, opened, dealt)
        except Moved:
            self.progress(Event("init", "the source's schema changed meanwhile; reading it again"))

    def _before_schema(self, reader: Session, plan: Plan) -> Wanted:
        """Do what comes before the schema, whose ``plan`` is the snapshot's as ``reader`` sees it; say what else it needs."""
        place = self.options.maintenance_db
        with database.maintenance_if_any(self.migration, place) as (maintenance, reason):
            # First the register: the cleanup of another migration must not take back what we are about to rely on.
            self._enter_register(plan, maintenance, reason)
            self._roles(plan, maintenance)
        self._plan_extensions(plan, reader)
        left_out = {(item.classid, item.objid) for item in plan.left}
        baseline.keep(self.claim, baseline.seen(reader, self.migration.selection), left_out)
        made, rows = self._extensions, self._extension_rows
        left = [*made.left, *made.differing(), *(() if rows.copy else rows.left)]
        detail = {"left": left, "extension_data": bool(rows.copy)}
        return Wanted(behind=made.behind, extensions=made.statements, detail=detail)

    def _enter_register(self, plan: Plan, maintenance: Session | None, reason: str) -> None:
        """Tell migrations into other databases of the target server what this one will take, where we may."""
        place = self.options.maintenance_db
        begun = register.Begun(
            self.claim.id,
            self.migration.name,
            self.migration.target.dbname,
            str(self.claim.read().source.get("system_identifier")),
            min(self.options.streams, max(1, len(plan.carried))),
        )
        self.claim.intend("target", "registration", place)
        if maintenance is not None:
            reason = register.enter(maintenance, begun)
        if reason:
            self.claim.removed("target", "registration", place)
            self.notes.append(
                f"Migrations into other databases of the target server cannot count on what this one will take: {reason}"
            )

    def _roles(self, plan: Plan, maintenance: Session | None) -> None:
        """Make the roles, and say what stays behind whatever happens."""
        self.bringing.make_roles(plan, maintenance)
        self.left = [*plan.notes, *never_carried.left(self.source, plan.selected.catalog)]
        if self.claim.read().plan.get("created_database"):
            self.left += database.lost_locale(plan.whole.database, self.target.major)
            self._own_database(self.bringing.role_names().owner_of(plan.whole.database.owner))
        self.claim.finish("left", {"left": self.left})

    def _own_database(self, owner: str) -> None:
        """Give a database that we created the owner it has on the source."""
        try:
            self.target.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(self.migration.target.dbname), sql.Identifier(owner)
                )
            )
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
            self.left.append({"object": f"owner {owner} of the database", "reason": str(error.diag.message_primary)})

    def _plan_extensions(self, plan: Plan, reader: Session) -> None:
        """Decide which extensions are made on the target, in which version, and which rows of theirs are copied."""
        left_behind = frozenset((item.classid, item.objid) for item in plan.left)
        found = extensions.read(reader.rows, self.target.rows, is_there=True)
        if not found:
            self._extensions, self._extension_rows = extensions.ExtensionsPlan(), extension_data.DataPlan((), ())
            return
        whose, options = provider.of_server(reader), self.options
        made = extensions.plan(options.extension_versions, reader.rows, found, whose, left_behind)
        rows = extension_data.plan(options.extension_data, reader, whose, left_behind | made.behind)
        self._extensions, self._extension_rows = made, rows

    def _check_present(self, plan: Plan, record: Record) -> None:
        """Refuse to go on when a table that is still to be copied is gone from the source."""
        present = {table.oid for table in plan.selected.catalog.tables}
        for relation in record.pending:
            if relation.source_oid not in present:
                raise MigrationError(
                    "schema_changed",
                    f"{relation.schema}.{relation.name} was dropped, or made anew, on the source during the copy.",
                    f"Undo the change, or {starting_over.REMEDY}",
                    {"table": f"{relation.schema}.{relation.name}"},
                )

    def _large_objects(self, record: Record, snapshot: str) -> None:
        """Copy large objects, before any table, so that they are never forgotten when the tables are done."""
        if self.options.large_objects != "copy" or record.is_done("large_objects"):
            return
        with self.bringing.reader(snapshot) as reader:
            known, present = large_objects.recorded(record), large_objects.ranges(reader)
            large_objects.check_free(self.target, present, known)
            self.claim.begin("large_objects", {"oids": large_objects.joined([*present, *known])})
            # An earlier attempt may have copied what the source has dropped since.
            large_objects.drop(self.claim, large_objects.without(known, present))
            copied = large_objects.copy_all(reader, self.target, self.bringing.role_names())
            self.claim.finish("large_objects", {"oids": present, "left": copied.left})

    def _extension_data(self, plan: Plan, record: Record, snapshot: str) -> None:
        """Copy what users keep in extensions' tables, for the same reason before any table."""
        if record.is_done("pre_data"):
            waits = record.steps["pre_data"].detail.get("extension_data", False) and not record.is_done(
                "extension_data"
            )
        else:
            waits = bool(self._extension_rows.copy)
        if not waits:
            return
        with self.bringing.reader(snapshot) as reader:
            if record.is_done("pre_data"):  # by an earlier run
                self._plan_extensions(plan, reader)
            rows = self._extension_rows
            self.claim.begin("extension_data", {"intended": [item.what for item in rows.copy]})
            left = extension_data.copy_all(reader, self.target, rows)
            self.claim.finish("extension_data", {"left": left})

    def _copy(self, crew: Crew, plan: Plan, pending: set[int], opened: stream.OpenStreams, dealt: Dealt) -> None:
        tables = [table for table in plan.selected.catalog.tables if table.oid in pending]
        by_servers = [table for table in tables if self._is_native and table.oid in dealt.carried]
        tables = [table for table in tables if table not in by_servers]
        self.bringing.copy_rows(crew, plan, tables, opened, dealt)
        if by_servers:
            native_copy.refuse_without_identity(by_servers, self.claim.index_builds())
            given = self.options.subscription_options
            form = native_copy.format_of(by_servers, self.source.major, self.target.major, given)
            native_copy.empty(self.claim, by_servers)
            native_copy.hand_over(self.claim, dealt.stream_of(by_servers), form)
        self.bringing.release(opened)
