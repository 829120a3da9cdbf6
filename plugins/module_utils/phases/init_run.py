# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init does once it holds the claim: the steps in order, each skipped when the ledger says that it is done."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from .. import (
    access,
    baseline,
    clients,
    copy_progress,
    copying,
    database,
    extension_data,
    extensions,
    finishing,
    foreign_keys,
    indexes,
    languages,
    large_objects,
    native_copy,
    never_carried,
    policies,
    provider,
    putting_back,
    register,
    role_lock,
    role_making,
    role_policy,
    roles,
    schema,
    splitting,
    starting_over,
    stream,
    tuning,
)
from .. import plan as plans
from ..catalog import Catalog
from ..claim import Claim
from ..crew import Crew, Sizes
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..ledger import Record, Relation
from ..migration import Migration, backend_name
from ..plan import Dealt, Plan
from ..post_data import Script
from ..progress import Event, Progress
from ..retention import Retention, give_up
from ..role_names import RoleNames
from ..roles import RolePlan
from ..schema import Archive
from ..session import Session
from .init_options import InitOptions

# A table that the application rewrites again and again is copied with a new stream each time, up to this often.
MAX_ROUNDS = 20


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
        self.left: list[dict[str, str]] = []
        self.notes: list[str] = []
        self._extensions = extensions.ExtensionsPlan()
        self._extension_rows = extension_data.DataPlan((), ())
        self.ticker = copy_progress.Ticker(progress, options.progress_interval)

    def carry_out(self) -> None:
        """Do everything that the ledger does not call done."""
        starting_over.drop_large_objects(self.claim)
        stream.settle(self.migration, self.claim, self.source, self.target)
        record = self.claim.read()
        analyzed: frozenset[tuple[str, str]] = frozenset()
        if record.pending or not record.is_done("pre_data") or not record.is_done("post_data"):
            with Crew(self.migration, self.claim, self._sizes(record), self.progress, self._watch) as crew:
                self._copy_all(crew)
                if self._is_native:
                    parts = (self.migration, self.claim, self.source, self.target, self.options, self.progress)
                    native_copy.carry_out(*parts, crew)
                self._tell_how_far()
                self.progress(Event("init", "building indexes", {"step": "indexes"}))
                crew.finish()
                analyzed = crew.analyzed
        servers = (self.source, self.target)
        finishing.finish(self.migration, self.claim, *servers, self.client, self.options, self._step, analyzed)
        # Where the servers copied by themselves, replication goes on since.
        self.claim.set_state("synced" if native_copy.has_begun(self.claim.read()) else "copied")

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

    def _copy_all(self, crew: Crew) -> None:
        rounds = 0
        record = self.claim.read()
        if record.is_done("pre_data"):
            self._plan_builds(crew, record)
            crew.build(relation.source_oid for relation in record.relations if relation.state == "copied")
        while record.pending or not record.is_done("pre_data"):
            if rounds == MAX_ROUNDS:
                raise _rewritten_too_often(record)
            rounds += 1
            try:
                self._copy_round(crew, record)
            except _Moved:
                self.progress(Event("init", "the source's schema changed meanwhile; reading it again"))
            record = self.claim.read()

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
            self._check_target(plan, pending)
        dealt = plans.deal(plan, self.source, record, self.options.streams)
        self._say_opening(dealt)
        with stream.opened(
            self.migration,
            self.claim,
            self.source,
            self.target,
            plan.whole,
            dealt.tables(plan.whole),
            plan.selected.predicates,
            slot_timeout_s=self.options.slot_timeout,
        ) as opened:
            if first:
                plan = self._schema(crew, plan, pending, opened.snapshot)
            self._extension_data(plan, record, opened.snapshot)
            self._large_objects(plan, record, opened.snapshot)
            self._copy(crew, plan, pending, opened, dealt)

    def _say_opening(self, dealt: Dealt) -> None:
        for note in dealt.notes:
            self.progress(Event("init", note))
        numbers = ", ".join(str(number) for number in dealt.shares)
        self.progress(Event("init", f"opening stream {numbers} for {len(dealt.carried)} table(s)"))

    def _schema(self, crew: Crew, plan: Plan, pending: set[int], snapshot: str) -> Plan:
        """Bring what the rows need, as the snapshot shows it; return the plan as the snapshot shows it."""
        self.progress(Event("init", "dumping the schema", {"step": "schema"}))
        with (
            ThreadPoolExecutor(1) as pool,
            self.migration.open("source", "snapshot reader", read_only=True) as reader,
        ):
            # pg_dump waits for the source most of the time; meanwhile all else that comes before the restore.
            dump = pool.submit(schema.dump, self.migration, self.client, snapshot, plan.whole, plan.selected, plan.left)
            self._import(reader, snapshot)
            seen = plans.read(self.migration, self.options, reader)
            if plans.shape(seen) != plans.shape(plan):
                raise _Moved
            # First the register: the cleanup of another migration must not take back what we are about to rely on.
            self._enter_register(seen)
            self._roles(seen)
            self._plan_extensions(seen, reader)
            left_out = {(item.classid, item.objid) for item in seen.left}
            baseline.keep(self.claim, baseline.seen(reader, self.migration.selection), left_out)
            with self.migration.open("target", "restore") as restoring:
                self._pre_data(crew, seen, dump.result(), reader, restoring)
            self._check_target(seen, pending)
        return seen

    def _enter_register(self, plan: Plan) -> None:
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
        try:
            with database.maintenance(self.migration, place) as session:
                reason = register.enter(session, begun)
        except MigrationError as error:
            reason = error.message
        if reason:
            self.claim.removed("target", "registration", place)
            self.notes.append(
                f"Migrations into other databases of the target server cannot count on what this one will take: {reason}"
            )

    def _import(self, reader: Session, snapshot: str) -> None:
        reader.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))

    def _roles(self, plan: Plan) -> None:
        """Make the roles, one migration at a time on a server: those of ten databases are the same ones."""
        policy, left_out = role_policy.policy(self.options), plan.selected.left_out

        def planned(made: Collection[str]) -> RolePlan:
            return roles.plan(
                policy,
                self.source,
                self.target,
                left_out,
                database=self.migration.target.dbname,
                passwords=self.options.role_passwords,
                made=made,
            )

        with role_lock.held(self.migration, self.options.maintenance_db):
            role_making.carry_out(self.migration, self.claim, self.target, planned)
        self.left = [*plan.notes, *never_carried.left(self.source, plan.selected.catalog)]
        if self.claim.read().plan.get("created_database"):
            self.left += database.lost_locale(plan.whole.database, self.target.major)
            self._own_database(self._role_names().owner_of(plan.whole.database.owner))
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

    def _pre_data(self, crew: Crew, plan: Plan, content: bytes, reader: Session, restoring: Session) -> None:
        """Keep the archive of the schema, plan the indexes, restore what the rows need in the session ``restoring``.

        ``reader`` sees the snapshot, too; its locks on the catalogs are in nobody's way.
        """
        self.claim.keep_dump(self.client.major, content)
        made, rows = self._extensions, self._extension_rows
        there = languages.present(reader, restoring)
        archive = self._archive(content, plan.left, made.behind | languages.skipped(there))
        script = schema.post_data_script(self.migration, archive)
        relations = plans.relations(plan, self.options)
        filled = {item.source_oid for item in relations if item.state != "skipped"}
        stored = [table for table in plan.selected.catalog.tables if table.oid in filled]
        # A restore script in SQL_ASCII has bytes of any encoding, which only a session of its own kind may read.
        readable = plan.whole.database.encoding != "SQL_ASCII"
        builds = indexes.read(reader, stored, script) if readable else []
        self.claim.replace_index_builds(builds)
        source = access.read(reader, self._role_names(), archive.skipped)
        named = policies.as_data(policies.read(reader, archive.skipped))
        reader.connection.execute("COMMIT")
        left = [*made.left, *made.differing(), *(() if rows.copy else rows.left), *(item.as_left for item in there)]
        detail = {
            "skipped": sorted(archive.skipped),
            "policies": named,
            "left": left,
            "extension_data": bool(rows.copy),
        }
        mark = self.claim.done_mark("pre_data", detail)

        def and_then(session: Session, there_before: frozenset[str]) -> None:
            found = {putting_back.DETAIL: access.before_rows(session, source, there_before)}
            session.connection.execute(self.claim.added_to_mark("pre_data", found))

        schema.restore_pre_data(self.migration, restoring, archive, mark, and_then, made.statements)
        crew.plan_builds(script, builds, _names(relations))

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

    def _archive(
        self, content: bytes, left: Sequence[schema.LeftObject], behind: frozenset[tuple[int, int]]
    ) -> Archive:
        return Archive(content, self.client, schema.skips(left, ()) | behind, backend_name(self.claim.id, "restore"))

    def _plan_builds(self, crew: Crew, record: Record) -> None:
        """Tell the crew what an earlier run has left to build, from the ledger and the archive that it keeps."""
        builds = self.claim.index_builds()
        waiting = [build for build in builds if build.state != indexes.DONE]
        script = Script(b"", ())
        if waiting:
            # What was skipped then, not what the selection would leave out of the source as it is today.
            skipped = frozenset((classid, objid) for classid, objid in record.steps["pre_data"].detail["skipped"])
            name = backend_name(self.claim.id, "restore")
            archive = Archive(self.claim.kept_dump(), self.client, skipped, name)
            script = schema.post_data_script(self.migration, archive)
        crew.plan_builds(script, waiting, _names(record.relations))

    def _role_names(self) -> RoleNames:
        """Return what roles are called on the target, once those that were missing are made."""
        policy = role_policy.policy(self.options)
        return roles.names(policy, self.source, self.target, owner=self.options.sole_owner)

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

    def _check_target(self, plan: Plan, pending: set[int]) -> None:
        """Refuse to copy into a table whose columns are no longer those of the source."""
        there = Catalog.read(self.target).by_name
        for table in plan.selected.catalog.tables:
            if table.oid not in pending:
                continue
            twin = there.get((table.schema, table.name))
            columns = {(c.name, c.type) for c in table.copied_columns}
            if twin is None or {(c.name, c.type) for c in twin.copied_columns} != columns:
                raise MigrationError(
                    "schema_changed",
                    f"{table.qualified} on the target is missing or has other columns than on the source: the "
                    "source's schema changed after it was copied.",
                    f"Undo the change on the source, or {starting_over.REMEDY}",
                    {"table": table.qualified},
                )

    def _large_objects(self, plan: Plan, record: Record, snapshot: str) -> None:
        """Copy large objects, before any table, so that they are never forgotten when the tables are done."""
        if self.options.large_objects != "copy" or record.is_done("large_objects"):
            return
        with self.migration.open("source", "snapshot reader", read_only=True) as reader:
            self._import(reader, snapshot)
            known, present = large_objects.recorded(record), large_objects.ranges(reader)
            large_objects.check_free(self.target, present, known)
            self.claim.begin("large_objects", {"oids": large_objects.joined([*present, *known])})
            # An earlier attempt may have copied what the source has dropped since.
            large_objects.drop(self.claim, large_objects.without(known, present))
            copied = large_objects.copy_all(reader, self.target, self._role_names())
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
        with self.migration.open("source", "snapshot reader", read_only=True) as reader:
            self._import(reader, snapshot)
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
        tasks = copying.plan_tasks(plan.selected, tables, dealt.stream_of(tables), dealt.carried)
        self.progress(Event("init", f"copying {len(tasks)} table(s)", {"stream": dealt.first, "step": "copy"}))
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
        if by_servers:
            native_copy.refuse_without_identity(by_servers, self.claim.index_builds())
            given = self.options.subscription_options
            form = native_copy.format_of(by_servers, self.source.major, self.target.major, given)
            native_copy.empty(self.claim, by_servers)
            native_copy.hand_over(self.claim, dealt.stream_of(by_servers), form)
        for number in opened.numbers:
            stream.release(self.migration, self.claim, self.source, self.target, number)


def _names(relations: Sequence[Relation]) -> dict[int, tuple[str, str]]:
    return {relation.source_oid: (relation.schema, relation.name) for relation in relations}


def _rewritten_too_often(record: Record) -> MigrationError:
    names = ", ".join(f"{relation.schema}.{relation.name}" for relation in record.pending[:10])
    return MigrationError(
        "rewritten_too_often",
        f"The application rewrote these tables (TRUNCATE, VACUUM FULL, ALTER) each time they were copied: {names}.",
        "Pause that job for the length of the copy and run the same command again; finished tables are kept.",
    )


class _Moved(Exception):
    """The source's schema changed between publishing and the snapshot."""
