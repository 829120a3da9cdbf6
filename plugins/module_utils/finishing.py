# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What follows the rows: indexes and constraints, sequences, materialized views, statistics.

Everything here is done once per migration, on the target, and recorded as a step of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Protocol

from . import firing, foreign_keys, post_data, roles, schema, sequences
from .catalog import Catalog, ForeignKey, MaterializedView
from .claim import Claim
from .clients import Client
from .driver import psycopg, sql
from .ledger import Record
from .migration import Migration, backend_name
from .progress import Event, Progress
from .schema import Archive
from .selection import Selected, select
from .session import Session


class Policies(Protocol):
    """The options of init that matter here."""

    @property
    def jobs(self) -> int:
        """How many things may be done at the same time."""

    @property
    def foreign_tables(self) -> str:
        """Create, skip or fail."""

    @property
    def roles(self) -> str:
        """Referenced or none."""


def finish(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    client: Client,
    options: Policies,
    progress: Progress,
) -> None:
    """Do every finishing step that the ledger does not call done."""
    whole = Catalog.read(source)
    selected = select(whole, migration.selection, options.foreign_tables)
    record = claim.read()
    if not record.is_done("post_data"):
        progress(Event("init", "building indexes and constraints"))
        _post_data(migration, claim, record, source, target, client, options, whole, selected)
    if not record.is_done("firing"):
        _let_rest(claim, target, [item.name for item in selected.catalog.schemas])
    if not record.is_done("sequences"):
        with claim.step("sequences"):
            set_sequences(source, target, selected)
    # Streams of one snapshot show the same moment; others do once they have passed the latest one, which sync waits for.
    points = {item.consistent_point for item in record.live_streams}
    if len(points) <= 1 and not record.is_done("materialized_views"):
        progress(Event("init", "refreshing materialized views"))
        with claim.step("materialized_views"):
            refresh_views(target, selected.catalog)
    if not record.is_done("analyze"):
        progress(Event("init", "collecting statistics"))
        detail: dict[str, list[dict[str, str]]] = {"left": []}
        with claim.step("analyze", detail):
            detail["left"] += analyze(migration, target, record, options.jobs)


def _post_data(
    migration: Migration,
    claim: Claim,
    record: Record,
    source: Session,
    target: Session,
    client: Client,
    options: Policies,
    whole: Catalog,
    selected: Selected,
) -> None:
    left = schema.left_behind(source, whole, selected)
    carried = [relation for relation in record.relations if relation.stream is not None]
    postponed = foreign_keys.postponed(selected.catalog, {r.source_oid: r.stream for r in carried})
    content = claim.kept_dump()
    if content is None:
        raise LookupError("the ledger has lost the archive of the schema")
    skipped = schema.skips(left, postponed, roles.unusable(options.roles, source, target, selected.left_out))
    archive = Archive(content, client, skipped, backend_name(claim.id, "restore"))
    again = "post_data" in record.steps
    detail = {"postponed_foreign_keys": [_key_name(selected.catalog, key) for key in postponed]}
    with claim.step("post_data", detail):
        if again:
            post_data.take_back(target, [item.name for item in selected.catalog.schemas])
        schema.restore_post_data(migration, archive, jobs=options.jobs, target_major=target.major)


def _let_rest(claim: Claim, target: Session, schemas: Sequence[str]) -> None:
    """Disable what would fire during apply, and remember how it was enabled; recorded before it is done."""
    found = firing.find(target, schemas)
    reason = "disabled on the target until the cutover: it would fire for each replicated row"
    detail = {"firing": [asdict(item) for item in found], "left": [{"object": str(i), "reason": reason} for i in found]}
    if found:
        claim.finish("firing_found", detail)
    with target.transaction():
        for item in found:
            target.execute(firing.disable(item))
    claim.finish("firing")


def _key_name(catalog: Catalog, key: ForeignKey) -> str:
    return f"{key.name} on {catalog.by_oid[key.table].qualified}"


def set_sequences(source: Session, target: Session, selected: Selected) -> None:
    """Give each selected sequence of the target the state it has on the source now.

    The source moves on; cutover sets them once more when the source stands still.
    """
    # What the application made since the snapshot is not on the target.
    present = {(item.schema, item.name) for item in Catalog.read(target).sequences}
    chosen = [item for item in selected.catalog.sequences if (item.schema, item.name) in present]
    states = sequences.read_states(source, chosen)
    known = sequences.read_states(target, chosen)
    for item in chosen:
        state = states[item.schema, item.name]
        if known.get((item.schema, item.name)) != state:
            target.execute(sequences.set_state(item, state))


def refresh_views(target: Session, catalog: Catalog) -> list[str]:
    """Refresh the materialized views that are populated on the source, each after those it reads; return their names."""
    present = {(view.schema, view.name) for view in Catalog.read(target).materialized_views}
    populated = [view for view in catalog.materialized_views if view.is_populated]
    populated = [view for view in populated if (view.schema, view.name) in present]
    ordered: list[MaterializedView] = schema.refresh_order(catalog, populated)
    for view in ordered:
        target.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(view.schema, view.name)))
    return [view.qualified for view in ordered]


def analyze(migration: Migration, target: Session, record: Record, jobs: int) -> list[dict[str, str]]:
    """Collect statistics of every table and materialized view of the migration, ``jobs`` at a time.

    Autovacuum would come too late for the first queries after a cutover. Partitioned tables need their own pass,
    which autovacuum never makes. Returns what could not be analyzed, with the reason: statistics fail no copy.
    """
    tables = {(relation.schema, relation.name) for relation in record.relations}
    catalog = Catalog.read(target)
    tables |= {(table.schema, table.name) for table in catalog.tables if table.kind == "p"}
    tables |= {(view.schema, view.name) for view in catalog.materialized_views}
    waiting = sorted(tables)

    def work(share: list[tuple[str, str]]) -> list[dict[str, str]]:
        failed = []
        with migration.open("target", "analyze") as session:
            for schema_name, name in share:
                if reason := _refusal(session, schema_name, name):
                    failed.append({"object": f"statistics of {schema_name}.{name}", "reason": reason})
        return failed

    workers = max(1, min(jobs, len(waiting)))
    with ThreadPoolExecutor(workers) as pool:
        shares = [pool.submit(work, waiting[start::workers]) for start in range(workers)]
        left = [entry for share in shares for entry in share.result()]
    target.log.add("target", f"ANALYZE of {len(waiting)} relation(s)")
    return left


def _refusal(session: Session, schema_name: str, name: str) -> str | None:
    try:
        session.connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema_name, name)))
    except psycopg.Error as error:
        if session.connection.closed:
            raise
        return error.diag.message_primary or "refused"
    return None
