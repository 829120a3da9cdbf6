# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How relations come to the target: roles, schema, rows, indexes, the rest of the schema, owners and privileges.

Init brings everything that is selected; sync brings tables that came later, under steps of their own. What both do is
here; what else belongs to the one or the other, and when what is done, is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import (
    access,
    copying,
    foreign_keys,
    indexes,
    policies,
    role_lock,
    role_making,
    role_policy,
    roles,
    schema,
    splitting,
    stream,
)
from . import plan as plans
from .catalog import Catalog, Table
from .claim import Claim
from .clients import Client
from .crew import Crew
from .driver import Row, sql
from .errors import MigrationError
from .ledger import IndexBuild, Record, Relation
from .left_behind import LeftObject
from .migration import Migration, backend_purpose
from .plan import Dealt, Plan
from .post_data import PG_CONSTRAINT, Script
from .progress import Event, Progress
from .role_names import RoleNames
from .roles import RolePlan
from .schema import Archive
from .session import Session
from .side_by_side import both

# A table that the application rewrites again and again is copied with a new stream each time, up to this often.
MAX_ROUNDS = 20


class Moved(Exception):
    """The source's schema changed between publishing and the snapshot."""


class Options(plans.Policies, role_policy.Options, Protocol):
    """The options of init that matter here."""

    @property
    def jobs(self) -> int:
        """How many things may be done at the same time."""

    @property
    def slot_timeout(self) -> float:
        """How many seconds a slot may take to be made."""

    @property
    def split_tables_larger_than(self) -> int:
        """From how many bytes on a table is copied in pieces, 0 for never."""

    @property
    def role_passwords(self) -> Mapping[str, str] | None:
        """Passwords of roles of the source."""

    @property
    def sole_owner(self) -> str | None:
        """Who is to own everything, None where owners are kept."""

    @property
    def user_mappings(self) -> str:
        """Create or skip."""


@dataclass(frozen=True)
class Share:
    """Which relations are brought: those with the OIDs ``oids`` on the source, None for all that are selected.

    ``prefix`` begins the names of the ledger's steps; ``undo`` is what to do once the source's schema has changed.
    """

    phase: str
    prefix: str
    oids: frozenset[int] | None
    undo: str

    def step(self, name: str) -> str:
        """Return the name of one of its steps."""
        return self.prefix + name

    def relations(self, known: Iterable[Relation]) -> list[Relation]:
        """Return those of the relations that are in it."""
        return [item for item in known if self.oids is None or item.source_oid in self.oids]


@dataclass(frozen=True)
class Wanted:
    """What of the archive is restored: ``only`` these objects (None: all) without those ``behind``, as (classid, objid).

    ``extensions`` are statements that make extensions otherwise than pg_dump would; ``detail`` is kept with the step.
    """

    only: frozenset[tuple[int, int]] | None = None
    behind: frozenset[tuple[int, int]] = frozenset()
    extensions: Mapping[int, sql.Composed] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """What the ledger knows about the schema that was restored before the rows."""

    detail: Mapping[str, Any]

    @property
    def skipped(self) -> frozenset[tuple[int, int]]:
        """What of the archive was not restored, as (classid, objid) on the source."""
        return _pairs(self.detail["skipped"])

    @property
    def only(self) -> frozenset[tuple[int, int]] | None:
        """What alone was restored, in the same way; None for everything else."""
        return _pairs(self.detail["objects"]) if "objects" in self.detail else None

    @property
    def created(self) -> frozenset[int]:
        """The OIDs, on the target, of what was made."""
        return frozenset(self.detail["created"])


@dataclass(frozen=True)
class _Look:
    """What the snapshot shows besides the archive: the relations, and the tables whose rows are copied, with their indexes.

    ``skipped`` are objects that stay behind, as (classid, objid).
    """

    relations: Sequence[Relation]
    stored: Sequence[Table]
    indexes: Sequence[Row]
    skipped: frozenset[tuple[int, int]]
    access: access.Access
    policies: Sequence[policies.Policy]


@dataclass(frozen=True)
class Bringing:
    """A share of the source on its way to the target, under a claim."""

    migration: Migration
    options: Options
    claim: Claim
    source: Session
    target: Session
    client: Client
    progress: Progress
    share: Share

    # --- roles -------------------------------------------------------------------------------------------------

    def make_roles(self, plan: Plan, maintenance: Session | None) -> None:
        """Make the roles that are missing, one migration at a time on a server: those of ten databases are the same.

        ``maintenance`` is a session in the maintenance database, where it can be opened.
        """
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

        with role_lock.held(maintenance):
            role_making.carry_out(self.migration, self.claim, self.target, planned)

    def role_names(self) -> RoleNames:
        """Return what roles are called on the target, once those that were missing are made."""
        policy = role_policy.policy(self.options)
        return roles.names(policy, self.source, self.target, owner=self.options.sole_owner)

    # --- rounds ------------------------------------------------------------------------------------------------

    def copy_all(self, crew: Crew, record: Record, copy_round: Callable[[Record], None]) -> None:
        """Call ``copy_round`` with the record until nothing is pending, once ``crew`` goes on with an earlier run's indexes.

        ``record`` is what the ledger says now. Raises ``rewritten_too_often``.
        """
        if record.is_done(self.share.step("pre_data")):
            self._plan_builds(crew, record)
            crew.build(item.source_oid for item in self.share.relations(record.relations) if item.state == "copied")
        rounds = 0
        while record.pending or not record.is_done(self.share.step("pre_data")):
            if rounds == MAX_ROUNDS:
                raise _rewritten_too_often(record)
            rounds += 1
            copy_round(record)
            record = self.claim.read()

    @contextmanager
    def opened(self, plan: Plan, dealt: Dealt) -> Iterator[stream.OpenStreams]:
        """Open the streams of a round for the length of the block."""
        numbers = ", ".join(str(number) for number in dealt.shares)
        self._say(f"opening stream {numbers} for {len(dealt.carried)} table(s)")
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
            yield opened

    @contextmanager
    def reader(self, snapshot: str) -> Iterator[Session]:
        """Open a session on the source that sees the snapshot."""
        with self.migration.open("source", "snapshot reader", read_only=True) as reader:
            reader.connection.execute(
                sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}").format(
                    sql.Literal(snapshot)
                )
            )
            yield reader

    def check_target(self, plan: Plan, pending: Collection[int]) -> None:
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
                    self.share.undo,
                    {"table": table.qualified},
                )

    # --- schema ------------------------------------------------------------------------------------------------

    def bring_schema(self, crew: Crew, plan: Plan, snapshot: str, prepare: Callable[[Session, Plan], Wanted]) -> Plan:
        """Restore what the rows need, as the snapshot shows it; return the plan as the snapshot shows it.

        ``prepare`` is called with a session that sees the snapshot, and that plan, before anything is restored; it makes
        the roles, and decides. Raises :class:`Moved` where the snapshot shows other tables than ``plan``.
        """
        with ThreadPoolExecutor(1) as pool:
            # pg_dump waits for the source most of the time; meanwhile all else that comes before the restore.
            dump = pool.submit(schema.dump, self.migration, self.client, snapshot, plan.whole, plan.selected, plan.left)
            with self._restoring() as restoring:
                with self.reader(snapshot) as reader:
                    seen = plans.read(self.migration, self.options, reader)
                    if plans.shape(seen, self.share.oids) != plans.shape(plan, self.share.oids):
                        raise Moved
                    wanted = prepare(reader, seen)
                    look = self._look(reader, seen, wanted)
                self._pre_data(crew, look, dump.result(), restoring(), wanted)
        return seen

    def _restoring(self) -> AbstractContextManager[Callable[[], Session]]:
        """Open the session that will restore; the block goes on meanwhile."""
        return self.migration.opening("target", backend_purpose(self.claim.id, "restore"))

    def _look(self, reader: Session, plan: Plan, wanted: Wanted) -> _Look:
        relations = self.share.relations(plans.relations(plan, self.options))
        filled = {item.source_oid for item in relations if item.state != "skipped"}
        stored = [table for table in plan.selected.catalog.tables if table.oid in filled]
        # A restore script in SQL_ASCII has bytes of any encoding, which only a session of its own kind may read.
        readable = plan.whole.database.encoding != "SQL_ASCII"
        skipped = schema.skips(plan.left, ()) | wanted.behind
        on_source = _part(access.read(reader, self.role_names(), skipped), wanted.only)
        named = policies.read(reader, skipped)
        return _Look(relations, stored, indexes.read(reader, stored) if readable else [], skipped, on_source, named)

    def _pre_data(self, crew: Crew, look: _Look, content: bytes, restoring: Session, wanted: Wanted) -> None:
        """Keep the archive of the schema, plan the indexes, restore what the rows need in the session ``restoring``."""
        skipped, named, on_source = look.skipped, look.policies, look.access
        archive = Archive(content, self.client, skipped, wanted.only)
        (script, for_rows), _kept = both(
            lambda: both(
                lambda: schema.post_data_script(self.migration, archive),
                lambda: schema.pre_data_script(self.migration, archive, wanted.extensions),
            ),
            lambda: self.claim.keep_dump(self.client.major, content),
        )
        builds = indexes.plan(look.indexes, look.stored, script)
        self.claim.replace_index_builds(builds, self.share.oids)
        detail = {
            "skipped": sorted(skipped),
            "policies": policies.as_data(item for item in named if _is_in((policies.PG_POLICY, item.oid), wanted.only)),
            **({} if wanted.only is None else {"objects": sorted(wanted.only)}),
            **wanted.detail,
        }
        mark = self.claim.done_mark(self.share.step("pre_data"), detail)

        def and_then(session: Session, there_before: frozenset[str]) -> None:
            access.before_rows(session, on_source, there_before)

        schema.restore_pre_data(self.migration, restoring, for_rows, mark, and_then)
        crew.plan_builds(script, builds, _names(look.relations))

    def _plan_builds(self, crew: Crew, record: Record) -> None:
        """Tell the crew what an earlier run has left to build, from the ledger and the archive that it keeps."""
        waiting = [item for item in self._builds() if item.state != indexes.DONE]
        script = Script(b"", ())
        if waiting:
            # What was skipped then, not what the selection would leave out of the source as it is today.
            restored = self.restored(record)
            archive = Archive(self.claim.kept_dump(), self.client, restored.skipped, restored.only)
            script = schema.post_data_script(self.migration, archive)
        crew.plan_builds(script, waiting, _names(self.share.relations(record.relations)))

    # --- rows --------------------------------------------------------------------------------------------------

    def copy_rows(
        self, crew: Crew, plan: Plan, tables: Sequence[Table], opened: stream.OpenStreams, dealt: Dealt
    ) -> None:
        """Copy the rows of ``tables`` in the snapshot; what was rewritten meanwhile stays pending."""
        tasks = copying.plan_tasks(plan.selected, tables, dealt.stream_of(tables), dealt.carried)
        self._say(f"copying {len(tasks)} table(s)", stream=dealt.first, step="copy")
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

    def release(self, opened: stream.OpenStreams) -> None:
        """Take out of the streams of a round what is still to be copied."""
        for number in opened.numbers:
            stream.release(self.migration, self.claim, self.source, self.target, number)

    # --- what follows the rows ---------------------------------------------------------------------------------

    def post_data(self, record: Record, catalog: Catalog, left: Sequence[LeftObject]) -> None:
        """Restore constraints, triggers and the rest; then everything gets its owner and privileges.

        ``catalog`` is what is selected of the source now, ``left`` what stays behind. Foreign keys between tables of
        different streams wait.
        """
        restored = self.restored(record)
        carried = {item.source_oid: item.stream for item in record.relations if item.stream is not None}
        mine = [key for key in catalog.foreign_keys if _is_in((PG_CONSTRAINT, key.oid), restored.only)]
        postponed = [key for key in foreign_keys.postponed(catalog, carried) if key in mine]
        unchecked = [key for key in foreign_keys.checked_later(catalog, postponed) if key in mine]
        detail = {
            "postponed_foreign_keys": [foreign_keys.shown(catalog, key) for key in postponed],
            "unchecked_foreign_keys": [foreign_keys.as_data(catalog, key) for key in unchecked],
        }
        left_behind = schema.skips(left, ())
        with self._restoring() as restoring:
            names = self.role_names()
            # The archive and what it left out are of the snapshot; the source has moved on.
            on_source, (content, builds) = both(
                lambda: _part(access.read(self.source, names, left_behind), restored.only),
                lambda: (self.claim.kept_dump(), self.claim.index_builds()),
            )
            named = policies.renamed(policies.kept(restored.detail), names, left_behind)
            by_us = {(policies.PG_POLICY, policy.oid) for policy in named}
            skipped = schema.skips(left, postponed) | restored.skipped | by_us
            archive = Archive(content, self.client, skipped, restored.only)
            script, there = both(
                lambda: schema.post_data_script(self.migration, archive), lambda: schema.schemas(self.target)
            )
            # Of all tables: what a foreign key refers to is in the archive as well.
            built = {item.key for item in builds if item.state == indexes.DONE}
            remaining = script.without(built, {key.oid for key in unchecked})
            # What its restore has made is ours; any other schema was there before.
            there_before = frozenset(name for name, oid in there.items() if oid not in restored.created)
            step = self.share.step("post_data")
            self.claim.begin(step, detail)

            def and_then(session: Session) -> None:
                found: dict[str, Any] = {}
                if restored.only is not None:
                    found["left"] = access.after_rows_of(session, on_source, there_before, named)
                else:
                    mapping_policy = self.options.user_mappings
                    outcome = access.after_rows(session, self.source, on_source, there_before, named, mapping_policy)
                    found = {"left": outcome.left, "user_mappings": outcome.user_mappings}
                session.connection.execute(self.claim.added_to_mark(step, found))

            schema.restore_post_data(self.migration, restoring(), remaining, self.claim.done_mark(step), and_then)

    # --- what is known -----------------------------------------------------------------------------------------

    def restored(self, record: Record) -> Restored:
        """Return what the ledger knows about the schema, which has been restored."""
        return Restored(record.steps[self.share.step("pre_data")].detail)

    def is_built(self) -> bool:
        """True when nothing is left to build on the tables, once their schema is there."""
        return all(item.state == indexes.DONE for item in self._builds())

    def _builds(self) -> list[IndexBuild]:
        oids = self.share.oids
        return [item for item in self.claim.index_builds() if oids is None or item.table_oid in oids]

    def _say(self, text: str, **values: Any) -> None:
        self.progress(Event(self.share.phase, text, values))


def _pairs(listed: Iterable[Sequence[int]]) -> frozenset[tuple[int, int]]:
    return frozenset((classid, objid) for classid, objid in listed)


def _is_in(item: tuple[int, int], only: Collection[tuple[int, int]] | None) -> bool:
    return only is None or item in only


def _part(whole: access.Access, only: Collection[tuple[int, int]] | None) -> access.Access:
    return whole if only is None else access.only(whole, only)


def _names(relations: Iterable[Relation]) -> dict[int, tuple[str, str]]:
    return {relation.source_oid: (relation.schema, relation.name) for relation in relations}


def _rewritten_too_often(record: Record) -> MigrationError:
    names = ", ".join(f"{relation.schema}.{relation.name}" for relation in record.pending[:10])
    return MigrationError(
        "rewritten_too_often",
        f"The application rewrote these tables (TRUNCATE, VACUUM FULL, ALTER) each time they were copied: {names}.",
        "Pause that job for the length of the copy and run the same command again; finished tables are kept.",
    )
