# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What follows the rows: indexes and constraints, sequences, materialized views, statistics.

Everything here is done once per migration, on the target, and recorded as a step of the ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, Protocol

from . import (
    database_properties,
    firing,
    foreign_keys,
    inherited_comments,
    left_behind,
    materialized_views,
    native_copy,
    sequences,
    unsaid,
    whole_database,
)
from .bringing import Bringing, Options
from .catalog import Catalog
from .claim import Claim
from .driver import psycopg, sql
from .ledger import Record
from .migration import Migration
from .progress import Event, Progress
from .selection import select
from .session import Session
from .side_by_side import both

# Statements that go in one round trip.
STATEMENTS_AT_ONCE = 100


# Statistics objects come with the last section; so do a SQL_ASCII database's indexes, of which expressions matter here.
_MORE_TO_COLLECT = """
SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid IN (SELECT s.stxrelid FROM pg_catalog.pg_statistic_ext AS s
                  UNION ALL SELECT i.indrelid FROM pg_catalog.pg_index AS i WHERE i.indexprs IS NOT NULL)
   AND c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace
"""


class Policies(Options, whole_database.Policies, Protocol):
    """The options of init that matter here."""

    @property
    def validate_foreign_keys(self) -> str:
        """before_sync or after_sync."""


def finish(
    bringing: Bringing,
    options: Policies,
    progress: Progress,
    analyzed: Collection[tuple[str, str]],
) -> None:
    """Do every finishing step of init that the ledger does not call done.

    ``analyzed`` are tables (schema, name) whose statistics were collected when their rows and indexes were there.
    """
    migration, claim = bringing.migration, bringing.claim
    source, target = bringing.source, bringing.target
    whole, record = both(lambda: Catalog.read(source), claim.read)
    selected = select(whole, migration.selection, options.foreign_tables)
    if not record.is_done("post_data") or not record.is_done("firing"):
        with native_copy.paused(claim, record, target):
            if not record.is_done("post_data"):
                progress(Event("init", "adding constraints and triggers", {"step": "constraints"}))
                bringing.post_data(record, selected.catalog, left_behind.read(source, whole, selected))
            names = [item.name for item in selected.catalog.schemas]
            put_right = {"unsaid": {"left": unsaid.put_right(source, target, names)}}
            let_rest(claim, target, firing.find(target, names), also=put_right)
        there, record = both(lambda: Catalog.read(target), claim.read)
    else:
        native_copy.resume(claim, target)  # an earlier run may have ended before it did
        there = Catalog.read(target)
    if options.validate_foreign_keys == "before_sync":
        validate_foreign_keys(migration, claim, record, target, options.jobs, progress)
    # What is done in a moment, and may be done twice, is recorded together.
    done: dict[str, dict[str, Any]] = {}
    if not record.is_done("inherited_comments"):
        done["inherited_comments"] = {"left": inherited_comments.carry(source, target, selected.catalog, there)}
    if not record.is_done("sequences"):
        if selected.catalog.sequences:
            claim.begin("sequences")
            set_sequences(source, target, selected.catalog, there)
        done["sequences"] = {}
    # Streams of one snapshot show the same moment; others do once they have passed the latest one, which sync waits for.
    points = {item.consistent_point for item in record.live_streams}
    if len(points) <= 1 and not record.is_done("materialized_views"):
        progress(Event("init", "refreshing materialized views", {"step": "materialized_views"}))
        if selected.catalog.materialized_views:  # this may take long, or fail
            claim.finish_all(done)
            done = {}
            claim.begin("materialized_views")
        done["materialized_views"] = {"left": materialized_views.refresh(target, selected.catalog, there)}
    if done:
        claim.finish_all(done)
    if not record.is_done("analyze"):
        progress(Event("init", "collecting statistics", {"step": "statistics"}))
        detail: dict[str, list[dict[str, str]]] = {"left": []}
        with claim.step("analyze", detail):
            detail["left"] += analyze(migration, target, record, there, options.jobs, analyzed)
    if not record.is_done(database_properties.STEP):
        progress(Event("init", "settings and event triggers of the database", {"step": "database"}))
        behind = {(item.classid, item.objid) for item in left_behind.read(source, whole, selected)}
        names_there = bringing.role_names()
        whole_database.finish(claim, record, source, target, options, names_there, behind)


def validate_foreign_keys(
    migration: Migration,
    claim: Claim,
    record: Record,
    target: Session,
    jobs: int,
    progress: Progress,
    *,
    phase: str = "init",
) -> bool:
    """Check the rows against the foreign keys that were added unchecked; return whether there was anything to do."""
    waiting = record.keys_to_validate
    unchecked = [key for keys in waiting.values() for key in keys]
    if unchecked:
        progress(Event(phase, f"validating {len(unchecked)} foreign key(s)", {"step": "constraints"}))
        for step in waiting:
            claim.begin(step)
        foreign_keys.validate(migration, target, unchecked, jobs)
    for step, keys in waiting.items():
        claim.finish(step, {"validated": len(keys)})
    return bool(unchecked)


def let_rest(
    claim: Claim,
    target: Session,
    found: Sequence[firing.Firing],
    prefix: str = "",
    *,
    also: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Disable what would fire during apply, and remember how it was enabled; recorded before it is done.

    ``prefix`` begins the names of the ledger's steps; ``also`` are steps that were done just before, with their details.
    """
    reason = "disabled on the target until the cutover: it would fire for each replicated row"
    left = [{"object": str(item), "reason": reason} for item in found if not item.follows]
    detail = {"firing": [asdict(item) for item in found], "left": left}
    if found:
        claim.finish(f"{prefix}firing_found", detail)
        with target.transaction():
            for item in found:
                target.execute(firing.disable(item))
    claim.finish_all({**(also or {}), f"{prefix}firing": {}})


def set_sequences(source: Session, target: Session, catalog: Catalog, there: Catalog) -> None:
    """Give each selected sequence (``catalog``) of the target (``there``) the state it has on the source now.

    The source moves on; cutover sets them once more when the source stands still.
    """
    # What the application made since the snapshot is not on the target.
    present = {(item.schema, item.name) for item in there.sequences}
    chosen = [item for item in catalog.sequences if (item.schema, item.name) in present]
    states = sequences.read_states(source, chosen)
    known = sequences.read_states(target, chosen)
    changed = [item for item in chosen if known.get((item.schema, item.name)) != states[item.schema, item.name]]
    for start in range(0, len(changed), STATEMENTS_AT_ONCE):
        batch = changed[start : start + STATEMENTS_AT_ONCE]
        target.execute(sql.SQL("; ").join(sequences.set_state(i, states[i.schema, i.name]) for i in batch))


def analyze(
    migration: Migration,
    target: Session,
    record: Record,
    there: Catalog,
    jobs: int,
    analyzed: Collection[tuple[str, str]] = (),
) -> list[dict[str, str]]:
    """Collect statistics of every table and materialized view of the migration, ``jobs`` at a time.

    Autovacuum would come too late for the first queries after a cutover. Partitioned tables need their own pass,
    which autovacuum never makes. Left out are tables that were ``analyzed`` before the last section of the archive was
    restored, unless it has brought something more to collect.
    Returns what could not be analyzed, with the reason: statistics fail no copy.
    """
    tables = {(relation.schema, relation.name) for relation in record.relations}
    tables |= {(table.schema, table.name) for table in there.tables if table.kind == "p"}
    tables |= {(view.schema, view.name) for view in there.materialized_views}
    count = len(tables)
    if analyzed:
        tables -= {*analyzed} - {(row["schema"], row["name"]) for row in target.rows(_MORE_TO_COLLECT)}
    waiting = sorted(tables)

    def work(number: int) -> list[dict[str, str]]:
        share = waiting[number::workers]
        failed: list[dict[str, str]] = []
        with migration.open("target", "analyze") if number else nullcontext(target) as session:
            for start in range(0, len(share), STATEMENTS_AT_ONCE):
                batch = share[start : start + STATEMENTS_AT_ONCE]
                if _refusal(session, batch) is None:
                    continue
                refused = [(item, reason) for item in batch if (reason := _refusal(session, [item]))]
                failed += [{"object": f"statistics of {'.'.join(item)}", "reason": reason} for item, reason in refused]
        return failed

    workers = max(1, min(jobs, len(waiting)))
    with ThreadPoolExecutor(workers) as pool:
        left = [entry for share in pool.map(work, range(workers)) for entry in share]
    target.log.add("target", f"ANALYZE of {count} relation(s)")
    return left


def _refusal(session: Session, relations: Sequence[tuple[str, str]]) -> str | None:
    names = sql.SQL(", ").join(sql.Identifier(*relation) for relation in relations)
    try:
        session.connection.execute(sql.SQL("ANALYZE {}").format(names))
    except psycopg.Error as error:
        if session.connection.closed:
            raise
        return error.diag.message_primary or "refused"
    return None
