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
from dataclasses import asdict, replace
from typing import Any

from .. import copy_progress, database, ledger, starting_over
from .. import plan as plans
from ..claim import claimed, ledger_purpose
from ..driver import psycopg
from ..errors import MigrationError
from ..ledger import Record
from ..migration import Migration
from ..plan import Plan
from ..progress import Event, Progress, silent
from ..result import Result
from ..retention import Retention
from ..session import Session, translated
from ..side_by_side import both
from . import validate
from .init_options import InitOptions
from .init_preview import planned
from .init_run import Run, carry_out

FOLLOW_INTERVAL_S = 1.0
# How often two runners may cross each other's way before one gives up.
MAX_OVERTAKEN = 5
# What the gate says about a target, or a source, on which a migration was cleaned up.
_AFTER_CLEANUP = ("not_ready", "target_not_empty", "name_taken")


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
    target_exists, record = _find(migration, options.maintenance_db)
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
        if not options.check_mode and _has_moved(migration, options, record):
            raise _Overtaken from None  # what the gate found in the way is another runner's first work
        raise
    if options.check_mode:
        return planned(migration, options, record, target_exists)
    if not target_exists:
        database.create(migration, options.maintenance_db)
    with (
        migration.opening("target", ledger_purpose("init")) as opening,
        migration.open_both("init") as (source, target),
    ):
        plan = None
        if record is None or record.state == "cleaned":
            plan = _register(migration, options, source, target, created=not target_exists)
        else:
            _check_same(record, migration, options, source)
        try:
            with (
                claimed(migration, "init", fingerprint(migration, options), opening=opening) as claim,
                Retention(migration, claim, options.max_retained_wal, progress) as retention,
            ):
                work = Run(migration, options, progress, claim, source, target, retention, plan)
                if starts_over:
                    progress(Event("init", "taking back what was copied"))
                    starting_over.start_over(migration, claim, source, target, work.client)
                    numbers = _numbers(plans.read(migration, options, source))
                    starting_over.rewrite_plan(claim, _recorded(options), numbers)
                carry_out(work, claim)
                record = claim.read()
        except MigrationError as error:
            if error.code == "migration_busy":
                raise _Overtaken from None  # it has the claim by now, and will be followed
            raise
    done = _finished(record, changed=True, elapsed_s=time.monotonic() - started, warnings=retention.warnings)
    return replace(done, data={**done.data, "notes": work.notes}) if work.notes else done


class _Overtaken(Exception):
    """Another runner of this migration was quicker between two looks at the ledger."""


def _has_moved(migration: Migration, options: InitOptions, record: Record | None) -> bool:
    """True when another runner works on the migration, or has done so since ``record`` was read."""
    late = _find(migration, options.maintenance_db)[1]
    if late is None or late.state == "cleaned":
        return False
    return record is None or late.is_held or late.state != record.state


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
        "policies": [
            options.large_objects,
            options.unlogged_tables,
            options.foreign_tables,
            options.roles,
            options.owner,
            options.user_mappings,
        ],
        "reserved_roles": None if options.reserved_roles is None else list(options.reserved_roles),
        "objects": [options.event_triggers, options.extension_versions, options.extension_data],
        "foreign_keys": options.validate_foreign_keys,
        "streams": options.streams,
        "copy_method": options.copy_method,
    }
    if not options.resume:
        facts["resume"] = False
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


# --- the target's database and the ledger ----------------------------------------------------------------------


def _find(migration: Migration, maintenance_db: str) -> tuple[bool, Record | None]:
    """Return whether the target database is there, and what its ledger knows of the migration."""
    try:
        with migration.open("target", "init", read_only=True) as target:
            return True, ledger.find(target, migration.name)
    except MigrationError as error:
        if database.is_absent(migration, maintenance_db, error):
            return False, None
        raise


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
            f"Go on with copy_method: {recorded}, or {starting_over.REMEDY}",
            {"recorded": recorded, "given": options.copy_method},
        )


def _register(migration: Migration, options: InitOptions, source: Session, target: Session, *, created: bool) -> Plan:
    """Read the source and write the migration, with its plan, into the ledger."""

    def look() -> tuple[Plan, dict[str, Any]]:
        return plans.read(migration, options, source), ledger.identity(source)

    (plan, here), there = both(look, lambda: ledger.identity(target))
    ledger.install(target)
    try:
        ledger.register(
            target,
            migration,
            source=here,
            target=there,
            options=_recorded(options),
            plan={**_numbers(plan), "created_database": created},
            relations=plans.relations(plan, options),
        )
    except psycopg.errors.UniqueViolation:
        raise _Overtaken from None
    return plan


def _numbers(plan: Plan) -> dict[str, int]:
    return {"tables": len(plan.carried), "bytes": sum(table.bytes for table in plan.carried)}


def _recorded(options: InitOptions) -> dict[str, Any]:
    """Return the options that the ledger keeps: policies and numbers, nothing that could hold a secret."""
    secret = {"source_from_target", "replication_role", "role_passwords"}
    return {key: value for key, value in asdict(options).items() if key not in secret}


def _follow(migration: Migration, options: InitOptions, record: Record, progress: Progress) -> Record | None:
    """Wait for a living runner of the same command; refuse beside a different one."""
    holder = record.holder or {}
    # A runner that has started over does what one that goes on wants; not the other way round.
    same = {fingerprint(migration, replace(options, resume=resume)) for resume in (options.resume, False)}
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
    return _find(migration, options.maintenance_db)[1]


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
