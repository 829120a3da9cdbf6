# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What init would do: the plan that check mode returns, and the statements that a real run would execute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import (
    access_foretold,
    clients,
    copying,
    database,
    database_properties,
    event_triggers,
    extension_data,
    extensions,
    languages,
    native_copy,
    never_carried,
    provider,
    role_making,
    role_policy,
    roles,
    splitting,
    starting_over,
    stream,
    tuning,
    whole_database,
)
from .. import plan as plans
from ..dealing import Share
from ..ledger import Record
from ..migration import Migration
from ..plan import Dealt, Plan
from ..preflight.budget import EXTRA_CONNECTIONS
from ..result import Result
from ..role_names import RoleNames
from ..session import Session
from ..write_rate import WriteRate
from .init_options import InitOptions


def planned(migration: Migration, options: InitOptions, record: Record | None, target_exists: bool) -> Result:
    """Return what a real run would do, without doing it."""
    index_jobs = options.index_jobs or options.jobs
    starts_over = not options.resume and record is not None and record.state != "cleaned"
    with migration.open("source", "init", read_only=True) as source:
        plan = plans.read(migration, options, source)
        maintenance = migration.target if target_exists else migration.target.with_database(options.maintenance_db)
        with Session.open(maintenance, migration.log, purpose="init", read_only=True) as target:
            majors = (source.major, target.major)
            made_roles = () if record is None else role_making.Made.of(record).roles
            role_plan = roles.plan(
                role_policy.policy(options),
                source,
                target,
                plan.selected.left_out,
                database=migration.target.dbname,
                passwords=options.role_passwords,
                made=made_roles,
            )
            if not target_exists:
                statement = database.create_statement(migration.target.dbname, plan.whole.database, target.major)
                migration.log.add("target", statement.as_string(None))
            for statement in role_making.statements(role_plan, migration.target.dbname, target.major):
                migration.log.add("target", statement.as_string(None))
            of_database, left_of_database = _of_database(
                options, plan, role_plan.names, source, target, target_exists, migration
            )
            is_done = record is not None and record.is_done("pre_data")
            made = record.steps["pre_data"].detail["created"] if record is not None and is_done else ()
            of_access, left_of_access = access_foretold.foretell(
                source,
                target,
                replace(role_plan.names, owner=options.sole_owner),
                frozenset((item.classid, item.objid) for item in plan.left),
                made,
                options.user_mappings,
                is_there=target_exists,
            )
            left_of_access += whole_database.foretold_labels(
                source,
                target,
                role_plan.names,
                {*made_roles, *(role.name for role in role_plan.create)},
                options,
                frozenset((item.classid, item.objid) for item in plan.left),
            )
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
        limit = 0 if is_native else options.split_tables_larger_than
        pieces = splitting.pieces(source, tasks, limit_bytes=limit, jobs=options.jobs)
        notes = [*dealt.notes, *splitting.notes(source.major, tasks, limit_bytes=limit)]
    migration.log.add("target", "pg_restore --section=pre-data")
    by_servers = None
    if is_native and carried:
        by_servers = native_copy.format_of(carried, *majors, options.subscription_options)
        for number in dealt.shares:
            for text in native_copy.statements(migration, options, migration_id, number, by_servers):
                migration.log.add("target", text)
    migration.log.add("target", "pg_restore --section=post-data")
    for text in [*of_access, *of_database]:
        migration.log.add("target", text)
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
        "grant_roles": [item.shown for item in role_plan.grant],
        "grant_parameters": [item.shown for item in role_plan.parameters],
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
        "left": [
            *plan.notes,
            *role_plan.left,
            *role_plan.expected,
            *role_plan.differences,
            *role_plan.unknown_passwords,
            *left_of_access,
            *left_of_database,
        ],
    }
    before = {"state": record.state if record else "absent"}
    after = {"state": "copied", "tables": len(tables), "roles": summary["create_roles"]}
    data = {"plan": summary, "tables": tables, "streams": [], "copied_bytes": 0, "left": summary["left"]}
    return Result("init", True, data, {"before": before, "after": after})


def _of_database(
    options: InitOptions,
    plan: Plan,
    names: RoleNames,
    source: Session,
    target: Session,
    target_exists: bool,
    migration: Migration,
) -> tuple[list[str], list[dict[str, str]]]:
    """Return what would be executed for the database as a whole, and what of it stays behind."""
    left_behind = frozenset((item.classid, item.objid) for item in plan.left)
    whose = provider.of_server(source)
    left = never_carried.left(source, plan.selected.catalog)
    if not target_exists:
        left += database.lost_locale(plan.whole.database, target.major)
    found = extensions.read(source.rows, target.rows, is_there=target_exists)
    made = extensions.plan(options.extension_versions, source.rows, found, whose, left_behind)
    left += [*made.left, *made.differing()]
    left += [item.as_left for item in languages.present(source, target)] if target_exists else []
    rows = extension_data.plan(options.extension_data, source, whose, left_behind | made.behind)
    left += [*rows.left, *({"object": item.what, "reason": "copied once, never replicated"} for item in rows.copy)]
    wanted = event_triggers.read(source.rows(event_triggers.QUERY))
    taken = [row["name"] for row in target.rows(event_triggers.THERE)] if wanted and target_exists else []
    triggers = event_triggers.plan(options.event_triggers, wanted, whose, left_behind, taken)
    left += triggers.left
    there = database_properties.read(target)
    if not target_exists:
        there = database_properties.new(migration.target.dbname, there)
    connections = options.jobs + (options.index_jobs or options.jobs)
    properties = database_properties.plan(
        database_properties.read(source), there, names, created=not target_exists, connections=connections
    )
    left += properties.left
    statements = [target.text(event_triggers.create(item)) for item in triggers.make]
    statements += [target.text(attempt.shown or attempt.statement) for attempt in properties.attempts]
    return statements, left


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
