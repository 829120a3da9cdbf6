# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase init: roles, schema and rows of the source, copied under the snapshot of a replication slot.

The order is the architecture's: gate, plan, ledger, publication, slot with snapshot, schema, parallel copy, indexes
and constraints, sequences, materialized views, statistics. Whatever dies on the way, the same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .. import (
    clients,
    copy_progress,
    copying,
    database,
    finishing,
    foreign_keys,
    indexes,
    large_objects,
    ledger,
    native_copy,
    roles,
    schema,
    starting_over,
    stream,
    tuning,
)
from .. import plan as plans
from ..catalog import Catalog
from ..claim import Claim, claimed
from ..copying import CopyTask
from ..crew import Crew, Sizes
from ..dealing import Share
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..ledger import Record
from ..migration import Migration, backend_name
from ..plan import Dealt, Plan
from ..post_data import Script
from ..preflight.server import EXTRA_CONNECTIONS
from ..progress import Event, Progress, silent
from ..result import Result
from ..retention import Retention, give_up
from ..schema import Archive
from ..selection import select
from ..session import Session, translated
from ..write_rate import WriteRate
from . import validate

# A table that the application rewrites again and again is copied with a new stream each time, up to this often.
MAX_ROUNDS = 20
FOLLOW_INTERVAL_S = 1.0
# How often two runners may cross each other's way before one gives up.
MAX_OVERTAKEN = 5
_START_OVER = "run init with resume: false, which drops what it has made on the target and copies everything again."
# What the gate says about a target, or a source, on which a migration was cleaned up.
_AFTER_CLEANUP = ("not_ready", "target_not_empty", "name_taken")


@dataclass(frozen=True)
class InitOptions(validate.ValidateOptions):
    """Options of init: validate's, for its gate and its policies, and those of the copy.

    ``slot_timeout`` is in seconds, ``split_tables_larger_than`` in bytes (0: never), ``max_rate`` in bytes per second
    (0: no limit); ``validate_foreign_keys`` is before_sync or after_sync; ``progress_interval`` is in seconds, between
    two words about the same long step; ``max_retained_wal`` is the bytes of WAL that the source may keep for the copy
    (None: no limit); ``resume`` False takes back what an earlier run has made and begins anew. Where the servers copy by
    themselves, ``subscription_options`` are PostgreSQL's, and ``stall_timeout`` is how many seconds they may stand
    still.
    """

    slot_timeout: float = 60
    progress_interval: float = 10
    split_tables_larger_than: int = 10 * 2**30
    max_rate: int = 0
    resume: bool = True
    max_retained_wal: int | None = None
    validate_foreign_keys: str = "before_sync"
    subscription_options: Mapping[str, Any] = field(default_factory=dict)
    stall_timeout: float = 600
    check_mode: bool = False


def run(migration: Migration, options: InitOptions, progress: Progress = silent) -> Result:
    """Copy the selected part of the source to the target, ready for sync. Idempotent; continues what was interrupted.

    Data of the result: ``tables`` (schema, name, stream, rows, bytes, format), ``streams``, ``copied_bytes``,
    ``elapsed`` (seconds), ``rate`` (bytes per second), ``left`` (what stayed behind, and why), ``warnings`` (where the
    source had to keep much WAL), ``plan`` (check mode).
    Raises MigrationError: ``not_ready``, ``migration_busy``, ``ledger_mismatch``, ``copy_failed`` and others.
    """
    started = time.monotonic()
    with translated(migration.redactor):
        for _attempt in range(MAX_OVERTAKEN):
            try:
                return _attempt_once(migration, options, progress, started)
            except _Overtaken:
                progress(Event("init", "another runner was quicker; following it"))
        raise MigrationError(
            "migration_busy",
            f"Other runners of the migration {migration.name!r} came and went {MAX_OVERTAKEN} times meanwhile.",
            "Run one command at a time.",
        )


def _attempt_once(migration: Migration, options: InitOptions, progress: Progress, started: float) -> Result:
    target_exists = database.exists(migration, options.maintenance_db)
    record = _find(migration) if target_exists else None
    follows = record is not None and record.state == "copying" and record.is_held and not options.check_mode
    if record is not None and follows:
        record = _follow(migration, options, record, progress)
    starts_over = not options.resume and record is not None and record.state != "cleaned"
    if follows and record is not None and record.state != "copying":
        starts_over = False  # the same command has just done it
    if record is not None and starts_over:
        starting_over.refuse_too_late(record)
    elif record is not None and record.state not in ("copying", "cleaned"):
        with migration.open("source", "init", read_only=True) as source:
            _check_same(record, migration, options, source)
        return _finished(record, changed=False, elapsed_s=time.monotonic() - started)
    try:
        _pass_gate(migration, options, record)
    except MigrationError:
        if record is None and not options.check_mode and _has_begun(migration, options):
            raise _Overtaken from None  # what the gate found in the way is another runner's first work
        raise
    if options.check_mode:
        return _planned(migration, options, record, target_exists)
    if not target_exists:
        database.create(migration, options.maintenance_db)
    with migration.open("source", "init") as source, migration.open("target", "init") as target:
        if record is None or record.state == "cleaned":
            _register(migration, options, source, target, created=not target_exists)
        else:
            _check_same(record, migration, options, source)
        try:
            with (
                claimed(migration, "init", fingerprint(migration, options)) as claim,
                Retention(migration, claim, options.max_retained_wal, progress) as retention,
            ):
                work = _Run(migration, options, progress, claim, source, target, retention)
                if starts_over:
                    progress(Event("init", "taking back what was copied"))
                    starting_over.start_over(migration, claim, source, target, work.client)
                    numbers = _numbers(plans.read(migration, options, source))
                    starting_over.rewrite_plan(claim, _recorded(options), numbers)
                _carry_out(work, claim)
                record = claim.read()
        except MigrationError as error:
            if error.code == "migration_busy":
                raise _Overtaken from None  # it has the claim by now, and will be followed
            raise
    return _finished(record, changed=True, elapsed_s=time.monotonic() - started, warnings=retention.warnings)


class _Overtaken(Exception):
    """Another runner of this migration was quicker between two looks at the ledger."""


def _has_begun(migration: Migration, options: InitOptions) -> bool:
    if not database.exists(migration, options.maintenance_db):
        return False
    late = _find(migration)
    return late is not None and late.state == "copying"


def _pass_gate(migration: Migration, options: InitOptions, record: Record | None) -> None:
    """Run validate's gate; after a cleanup say so, because the target then holds what the migration had copied."""
    try:
        validate.gate(migration, options)
    except MigrationError as error:
        if record is None or record.state != "cleaned" or error.code not in _AFTER_CLEANUP:
            raise
        raise MigrationError(
            "migration_cleaned",
            f"The migration {migration.name!r} was cleaned up at {record.cleaned_at}; what it had copied stays on the "
            f"target. {error.message}",
            "To begin anew, empty the selected schemas of the target, or use a new database, and run init again.",
            error.details,
        ) from None


def fingerprint(migration: Migration, options: InitOptions) -> str:
    """Return a digest that two equal commands share; no secret goes into it in a form that could be recovered."""
    facts: dict[str, Any] = {
        "source": migration.source.public(),
        "target": migration.target.public(),
        "selection": migration.selection.as_data(),
        "policies": [options.large_objects, options.unlogged_tables, options.foreign_tables, options.roles],
        "foreign_keys": options.validate_foreign_keys,
        "streams": options.streams,
        "copy_method": options.copy_method,
    }
    if not options.resume:
        facts["resume"] = False
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


# --- the target's database and the ledger ----------------------------------------------------------------------


def _find(migration: Migration) -> Record | None:
    with migration.open("target", "init", read_only=True) as target:
        return ledger.find(target, migration.name)


def _check_same(record: Record, migration: Migration, options: InitOptions, source: Session) -> None:
    ledger.check_source(record, source)
    if record.selection != json.loads(json.dumps(migration.selection.as_data())):
        raise MigrationError(
            "ledger_mismatch",
            f"The migration {migration.name!r} was started with another selection of schemas, tables or rows.",
            "Use the same selection, or clean up with pg_migration_cleanup and start again.",
            {"recorded": record.selection, "given": migration.selection.as_data()},
        )
    recorded = record.options.get("copy_method", "runner")
    if options.resume and record.state == "copying" and recorded != options.copy_method:
        raise MigrationError(
            "ledger_mismatch",
            f"The migration {migration.name!r} was started with copy_method: {recorded}, and its copy is not finished.",
            f"Go on with copy_method: {recorded}, or {_START_OVER}",
            {"recorded": recorded, "given": options.copy_method},
        )


def _register(migration: Migration, options: InitOptions, source: Session, target: Session, *, created: bool) -> None:
    plan = plans.read(migration, options, source)
    ledger.install(target)
    try:
        ledger.register(
            target,
            migration,
            source=ledger.identity(source),
            target=ledger.identity(target),
            options=_recorded(options),
            plan={**_numbers(plan), "created_database": created},
            relations=plans.relations(plan, options),
        )
    except psycopg.errors.UniqueViolation:
        raise _Overtaken from None


def _numbers(plan: Plan) -> dict[str, int]:
    return {"tables": len(plan.carried), "bytes": sum(table.bytes for table in plan.carried)}


def _recorded(options: InitOptions) -> dict[str, Any]:
    """Return the options that the ledger keeps: policies and numbers, nothing that could hold a secret."""
    secret = {"source_from_target", "replication_role"}
    return {key: value for key, value in asdict(options).items() if key not in secret}


def _follow(migration: Migration, options: InitOptions, record: Record, progress: Progress) -> Record | None:
    """Wait for a living runner of the same command; refuse beside a different one."""
    holder = record.holder or {}
    # A runner that has started over does what one that goes on wants; not the other way round.
    same = {fingerprint(migration, replace(options, resume=resume)) for resume in {options.resume, False}}
    if holder.get("fingerprint") not in same:
        raise MigrationError(
            "migration_busy",
            f"The migration {migration.name!r} is being worked on by {ledger.describe_holder(holder)}, with other "
            "options than these.",
            "Wait for it or stop it, or run the same command to follow it.",
            {"holder": holder},
        )
    current: Record | None = record
    ticker = copy_progress.Ticker(progress, options.progress_interval)
    with migration.open("target", "init", read_only=True) as target:
        while current is not None and current.is_held and current.state == "copying":
            seen = copy_progress.look(target, migration.name)
            if seen is not None and not ticker.seconds_left:
                ticker.tell(seen[1], f"following {ledger.describe_holder(holder)}: ")
            time.sleep(FOLLOW_INTERVAL_S)
            current = None if seen is None else seen[0]
    return _find(migration)


# --- planning --------------------------------------------------------------------------------------------------


def _planned(migration: Migration, options: InitOptions, record: Record | None, target_exists: bool) -> Result:
    """Return what a real run would do, without doing it."""
    index_jobs = options.index_jobs or options.jobs
    starts_over = not options.resume and record is not None and record.state != "cleaned"
    with migration.open("source", "init", read_only=True) as source:
        plan = plans.read(migration, options, source)
        maintenance = migration.target if target_exists else migration.target.with_database(options.maintenance_db)
        with Session.open(maintenance, migration.log, purpose="init", read_only=True) as target:
            majors = (source.major, target.major)
            role_plan = _role_plan(options, source, target, plan)
            if not target_exists:
                statement = database.create_statement(migration.target.dbname, plan.whole.database, target.major)
                migration.log.add("target", statement.as_string(None))
            for role in role_plan.create:
                migration.log.add("target", roles.create_role(role, with_password=False).as_string(None))
            for membership in role_plan.grant:
                migration.log.add("target", roles.grant_membership(membership, target.major).as_string(None))
            for setting in role_plan.settings:
                migration.log.add("target", roles.set_role_setting(setting, migration.target.dbname).as_string(None))
            settings = tuning.settings(target, index_jobs)
            if record is not None and starts_over:
                client = clients.choose(clients.find_clients(options.client_bin_dir), source.major, target.major)
                for text in starting_over.planned(migration, record, target, client):
                    migration.log.add("target", text)
        going_on = record if record and record.state == "copying" and not starts_over else None
        dealt = plans.deal(plan, source, going_on, options.streams)
        migration_id = going_on.id if going_on else "0" * 32
        for text in stream.create_statements(
            migration,
            migration_id,
            dealt.tables(plan.whole),
            plan.whole,
            plan.selected.predicates,
            source.major,
        ):
            migration.log.add("source", text)
        carried = [table for table in plan.carried if table.oid in dealt.carried]
        tasks = copying.plan_tasks(plan.selected, carried, dealt.stream_of(carried))
        is_native = options.copy_method == "subscription"
        pieces = {} if is_native else _pieces(source, tasks, options)
        notes = [*dealt.notes, *([] if is_native else _unsplit(source.major, tasks, options))]
    migration.log.add("target", "pg_restore --section=pre-data")
    by_servers = None
    if is_native and carried:
        by_servers = native_copy.format_of(carried, *majors, options.subscription_options)
        for number in dealt.shares:
            for text in native_copy.statements(migration, options, migration_id, number, by_servers):
                migration.log.add("target", text)
    migration.log.add("target", "pg_restore --section=post-data")
    tables = [
        {
            "schema": task.schema,
            "name": task.name,
            "estimated_rows": plan.whole.by_oid[task.oid].estimated_rows,
            "estimated_bytes": task.estimated_bytes,
            "format": by_servers or task.format,
            "stream": task.stream,
            "pieces": len(pieces.get(task.oid, [task])),
            **_written(dealt.rates.get(task.oid)),
        }
        for task in tasks
    ]
    summary = {
        "start_over": starts_over,
        "create_database": not target_exists,
        "create_roles": [role.name for role in role_plan.create],
        "publication": migration.names("0" * 32, dealt.first).publication,
        "tables": tables,
        "streams": [_share(migration, number, share, dealt) for number, share in dealt.shares.items()],
        "notes": notes,
        "estimated_bytes": sum(task.estimated_bytes for task in tasks),
        "copy_method": options.copy_method,
        "jobs": options.jobs,
        "index_jobs": index_jobs,
        "connections": {
            "source": options.jobs + EXTRA_CONNECTIONS,
            "target": options.jobs + index_jobs + EXTRA_CONNECTIONS,
        },
        "settings": settings,
        "left": plan.notes + list(role_plan.left),
    }
    before = {"state": record.state if record else "absent"}
    after = {"state": "copied", "tables": len(tables), "roles": summary["create_roles"]}
    data = {"plan": summary, "tables": tables, "streams": [], "copied_bytes": 0, "left": summary["left"]}
    return Result("init", True, data, {"before": before, "after": after})


def _written(rate: WriteRate | None) -> dict[str, Any]:
    """Say how much is written to a table, where it was looked at because it decides which stream carries the table."""
    if rate is None:
        return {"rows_written": None, "rows_written_per_second": None}
    return {"rows_written": rate.rows, "rows_written_per_second": round(rate.rows_per_second, 1)}


def _share(migration: Migration, number: int, share: Share, dealt: Dealt) -> dict[str, Any]:
    known = WriteRate(share.rows, share.rows_per_second) if dealt.rates else None
    return {
        "number": number,
        "publication": migration.names("0" * 32, number).publication,
        "tables": len(share.oids),
        "groups": share.groups,
        "estimated_bytes": share.bytes,
        **_written(known),
    }


def _role_plan(options: InitOptions, source: Session, target: Session, plan: Plan) -> roles.RolePlan:
    if options.roles == "none":
        return roles.RolePlan((), (), (), ())
    return roles.plan(source, target, plan.selected.left_out)


# --- doing -----------------------------------------------------------------------------------------------------


def _carry_out(work: _Run, claim: Claim) -> None:
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


class _Run:
    """One run of init under its claim: the steps in order, each skipped when the ledger says it is done."""

    def __init__(
        self,
        migration: Migration,
        options: InitOptions,
        progress: Progress,
        claim: Claim,
        source: Session,
        target: Session,
        retention: Retention,
    ) -> None:
        self.migration, self.options, self.progress = migration, options, progress
        self.claim, self.source, self.target, self.retention = claim, source, target, retention
        self.client = clients.choose(clients.find_clients(options.client_bin_dir), source.major, target.major)
        self.left: list[dict[str, str]] = []
        self.ticker = copy_progress.Ticker(progress, options.progress_interval)

    def carry_out(self) -> None:
        """Do everything that the ledger does not call done."""
        starting_over.drop_large_objects(self.claim, self.target)
        stream.settle(self.migration, self.claim, self.source, self.target)
        record = self.claim.read()
        if record.pending or not record.is_done("pre_data") or not record.is_done("post_data"):
            with Crew(self.migration, self.claim, self._sizes(record), self.progress, self._watch) as crew:
                self._copy_all(crew)
                if self._is_native:
                    parts = (self.migration, self.claim, self.source, self.target, self.options, self.progress)
                    native_copy.carry_out(*parts, crew)
                self._tell_how_far()
                self.progress(Event("init", "building indexes", {"step": "indexes"}))
                crew.finish()
        finishing.finish(self.migration, self.claim, self.source, self.target, self.client, self.options, self._step)
        # Where the servers copied by themselves, replication goes on since.
        self.claim.set_state("synced" if native_copy.has_begun(self.claim.read()) else "copied")

    @property
    def _is_native(self) -> bool:
        return self.options.copy_method == "subscription"

    def _sizes(self, record: Record) -> Sizes:
        """Return how many processes work, and with which settings on the target."""
        ours = [relation for relation in record.pending if not self._is_native or relation.kind == "unlogged"]
        jobs = max(int(self._is_native), min(self.options.jobs, len(ours)))
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
        plan = plans.read(self.migration, self.options, self.source)
        first = not record.is_done("pre_data")
        if first:
            self._roles(plan)
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
                plan = self._schema(plan, pending, opened.snapshot)
                self._plan_builds(crew, self.claim.read())
            self._large_objects(plan, opened.snapshot)
            self._copy(crew, plan, pending, opened, dealt)

    def _say_opening(self, dealt: Dealt) -> None:
        for note in dealt.notes:
            self.progress(Event("init", note))
        numbers = ", ".join(str(number) for number in dealt.shares)
        self.progress(Event("init", f"opening stream {numbers} for {len(dealt.carried)} table(s)"))

    def _schema(self, plan: Plan, pending: set[int], snapshot: str) -> Plan:
        """Bring what the rows need, as the snapshot shows it; return the plan as the snapshot shows it."""
        with self.migration.open("source", "snapshot reader", read_only=True) as reader:
            self._import(reader, snapshot)
            seen = plans.read(self.migration, self.options, reader)
            if plans.shape(seen) != plans.shape(plan):
                raise _Moved
            self._pre_data(seen, snapshot, reader)
            self._check_target(seen, pending)
        return seen

    def _import(self, reader: Session, snapshot: str) -> None:
        reader.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))

    def _roles(self, plan: Plan) -> None:
        with self.claim.step("roles"):
            role_plan = _role_plan(self.options, self.source, self.target, plan)
            refused = roles.carry_out(role_plan, self.target)
            self.left += [*plan.notes, *role_plan.left, *refused]
            self.left += self._unusable(plan).notes
            if self.claim.read().plan.get("created_database"):
                self._own_database(plan.whole.database.owner)
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

    def _pre_data(self, plan: Plan, snapshot: str, reader: Session) -> None:
        """Dump the schema in the snapshot, keep the archive, plan the indexes, restore what the rows need.

        ``reader`` sees the snapshot, too; its locks on the catalogs are in nobody's way.
        """
        self.progress(Event("init", "dumping the schema", {"step": "schema"}))
        content = schema.dump(self.migration, self.client, snapshot, plan.whole, plan.selected, plan.left)
        self.claim.keep_dump(self.client.major, content)
        archive = self._archive(content, plan.left, plan.selected.left_out)
        script = schema.post_data_script(self.migration, archive)
        stored = [table for table in plan.selected.catalog.tables if table.stores_rows]
        # A restore script in SQL_ASCII has bytes of any encoding, which only a session of its own kind may read.
        readable = plan.whole.database.encoding != "SQL_ASCII"
        self.claim.replace_index_builds(indexes.read(reader, stored, script) if readable else [])
        reader.connection.execute("COMMIT")
        mark = self.claim.done_mark("pre_data", {"skipped": sorted(archive.skipped.objects)})
        schema.restore_pre_data(self.migration, archive, mark)

    def _archive(self, content: bytes, left: Sequence[schema.LeftObject], left_out: frozenset[int]) -> Archive:
        unusable = roles.unusable(self.options.roles, self.source, self.target, left_out)
        return Archive(content, self.client, schema.skips(left, (), unusable), backend_name(self.claim.id, "restore"))

    def _plan_builds(self, crew: Crew, record: Record) -> None:
        """Tell the crew what is to be built, from the ledger and the archive that it keeps."""
        builds = self.claim.index_builds()
        waiting = [build for build in builds if build.state != indexes.DONE]
        script = Script(b"", ())
        if waiting:
            whole = Catalog.read(self.source)
            selected = select(whole, self.migration.selection, self.options.foreign_tables)
            left = schema.left_behind(self.source, whole, selected)
            script = schema.post_data_script(
                self.migration, self._archive(self.claim.kept_dump(), left, selected.left_out)
            )
        names = {relation.source_oid: f"{relation.schema}.{relation.name}" for relation in record.relations}
        crew.plan_builds(script, waiting, names)

    def _unusable(self, plan: Plan) -> roles.Unusable:
        return roles.unusable(self.options.roles, self.source, self.target, plan.selected.left_out)

    def _check_present(self, plan: Plan, record: Record) -> None:
        """Refuse to go on when a table that is still to be copied is gone from the source."""
        present = {table.oid for table in plan.selected.catalog.tables}
        for relation in record.pending:
            if relation.source_oid not in present:
                raise MigrationError(
                    "schema_changed",
                    f"{relation.schema}.{relation.name} was dropped, or made anew, on the source during the copy.",
                    f"Undo the change, or {_START_OVER}",
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
                    f"Undo the change on the source, or {_START_OVER}",
                    {"table": table.qualified},
                )

    def _large_objects(self, plan: Plan, snapshot: str) -> None:
        """Copy large objects, before any table, so that they are never forgotten when the tables are done."""
        record = self.claim.read()
        if self.options.large_objects != "copy" or record.is_done("large_objects"):
            return
        with self.migration.open("source", "snapshot reader", read_only=True) as reader:
            self._import(reader, snapshot)
            intended = {"oids": large_objects.intended(reader, self.target, record)}
            self.claim.begin("large_objects", intended)
            large_objects.copy_all(reader, self.target, without_owners=bool(self._unusable(plan).roles))
            self.claim.finish("large_objects", intended)

    def _copy(self, crew: Crew, plan: Plan, pending: set[int], opened: stream.OpenStreams, dealt: Dealt) -> None:
        tables = [table for table in plan.selected.catalog.tables if table.oid in pending]
        by_servers = [table for table in tables if self._is_native and table.oid in dealt.carried]
        tables = [table for table in tables if table not in by_servers]
        tasks = copying.plan_tasks(plan.selected, tables, dealt.stream_of(tables), dealt.carried)
        self.progress(Event("init", f"copying {len(tasks)} table(s)", {"stream": dealt.first, "step": "copy"}))
        self.claim.forget_pieces()
        outcome = crew.copy(tasks, opened.snapshot, _pieces(self.source, tasks, self.options))
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
            native_copy.empty(self.target, by_servers)
            native_copy.hand_over(self.claim, dealt.stream_of(by_servers), form)
        for number in opened.numbers:
            stream.release(self.migration, self.claim, self.source, self.target, number)


# Blocks of a table's main part now; relpages may be old.
_PAGES = """
SELECT c.oid::bigint AS oid,
       pg_catalog.pg_relation_size(c.oid::pg_catalog.regclass)
         / pg_catalog.current_setting('block_size')::integer AS pages
  FROM pg_catalog.pg_class AS c WHERE c.oid = ANY (%(oids)s::oid[])
"""


def _pieces(source: Session, tasks: Sequence[CopyTask], options: InitOptions) -> dict[int, list[CopyTask]]:
    """Return the pieces of the tables that are split, by OID."""
    limit = options.split_tables_larger_than
    large = [task for task in tasks if limit and task.estimated_bytes > limit]
    if source.major < copying.TID_RANGE_MAJOR or not large:
        return {}
    pages = {row["oid"]: row["pages"] for row in source.rows(_PAGES, {"oids": [task.oid for task in large]})}
    cut = {
        task.oid: copying.split(task, tasks, pages=pages.get(task.oid, 0), limit_bytes=limit, jobs=options.jobs)
        for task in large
    }
    return {oid: parts for oid, parts in cut.items() if len(parts) > 1}


def _unsplit(source_major: int, tasks: Sequence[CopyTask], options: InitOptions) -> list[str]:
    """Say so where large tables are not split because the source would read them whole for each piece."""
    limit = options.split_tables_larger_than
    large = [task.qualified for task in tasks if limit and task.estimated_bytes > limit]
    if source_major >= copying.TID_RANGE_MAJOR or not large:
        return []
    return [f"PostgreSQL {source_major} has no TID range scans, so these are copied whole: {', '.join(large)}"]


def _rewritten_too_often(record: Record) -> MigrationError:
    names = ", ".join(f"{relation.schema}.{relation.name}" for relation in record.pending[:10])
    return MigrationError(
        "rewritten_too_often",
        f"The application rewrote these tables (TRUNCATE, VACUUM FULL, ALTER) each time they were copied: {names}.",
        "Pause that job for the length of the copy and run the same command again; finished tables are kept.",
    )


class _Moved(Exception):
    """The source's schema changed between publishing and the snapshot."""


def _finished(record: Record, *, changed: bool, elapsed_s: float, warnings: Sequence[str] = ()) -> Result:
    """Return the result of a copy that is complete, from the ledger."""
    tables: list[Mapping[str, Any]] = [
        {
            "schema": relation.schema,
            "name": relation.name,
            "kind": relation.kind,
            "stream": relation.stream,
            "rows": relation.rows,
            "bytes": relation.bytes,
            "format": relation.format,
        }
        for relation in record.relations
    ]
    copied = sum(relation.bytes or 0 for relation in record.relations)
    data = {
        "tables": tables,
        "streams": [asdict(item) for item in record.live_streams],
        "copied_bytes": copied,
        "elapsed": round(elapsed_s, 1),
        "rate": round(copied / elapsed_s) if changed and elapsed_s else None,
        "left": record.left,
        "state": record.state,
    }
    if warnings:
        data["warnings"] = list(warnings)
    after = {"state": record.state, "tables": len(tables), "streams": len(record.live_streams)}
    before = {"state": "absent"} if changed else after
    return Result("init", changed, data, {"before": before, "after": after})
