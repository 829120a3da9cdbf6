# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The validate phase: run every check, say what a migration would move, change nothing.

``gate`` is the same for the phases that must not start on a pair that is not ready.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Literal, cast

from .. import estimate, role_passwords, role_policy
from ..driver import psycopg
from ..endpoint import SECRET_KEYWORDS
from ..errors import MigrationError, Redactor
from ..migration import Migration
from ..preflight.check import SEVERITIES, STATUSES, Finding, Severity
from ..preflight.context import Context, Unavailable
from ..preflight.listing import listing
from ..preflight.registry import run_checks, verify_ids
from ..preflight.sides import Server
from ..progress import Event, Progress, silent
from ..result import Result
from ..session import StatementLog, translated

# A publication over what these find would make UPDATE and DELETE of the application fail; nobody can wish for that.
PROTECTING = frozenset({"replica_identity", "replica_identity_generated"})
FAIL_ON: dict[str, tuple[Severity, ...]] = {"blocker": ("blocker",), "warning": ("blocker", "warning"), "never": ()}


# Longer measuring tells nothing more, and would be something else than a look.
MOST_SECONDS = 600

# What an error tells of the findings, which results list in full.
SHOWN_IN_MESSAGE = 5
SHOWN_OF_REMEDY = 300


@dataclass(frozen=True)
class ValidateOptions:
    """What validate is told besides the migration itself.

    ``severities`` maps check ids to blocker, warning or info. ``source_from_target`` holds ``url`` or libpq keywords,
    ``replication_role`` holds ``user`` and ``password``. ``sample_seconds`` are for reading rows, ``wal_window`` for
    watching WAL; 0 measures nothing. ``roles``, ``reserved_roles`` (None: those that are known) and ``role_passwords``
    are read by ``role_policy`` and ``role_passwords``. ``migrations_on_source`` and ``migrations_on_target`` are how many migrations that
    run now, this one included, use the server; ``migrations_at_once`` how many of them work at the same time (None: all).
    """

    fail_on: Literal["blocker", "warning", "never"] = "blocker"
    skip_checks: Sequence[str] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 4
    index_jobs: int | None = None
    streams: int = 1
    large_objects: Literal["fail", "skip", "copy"] = "fail"
    unlogged_tables: Literal["copy", "skip", "fail"] = "copy"
    foreign_tables: Literal["create", "skip", "fail"] = "create"
    roles: str | Mapping[str, str | None] = "referenced"
    reserved_roles: Sequence[str] | None = None
    role_passwords: Mapping[str, str] | None = field(default=None, repr=False)
    owner: str = "keep"
    user_mappings: Literal["skip", "create"] = "skip"
    event_triggers: Literal["copy", "skip", "fail"] = "copy"
    extension_versions: Literal["default", "source"] = "default"
    extension_data: Literal["copy", "skip", "fail"] = "copy"
    copy_method: Literal["runner", "subscription"] = "runner"
    rollback: bool = False
    migrations_on_source: int = 1
    migrations_on_target: int = 1
    migrations_at_once: int | None = None
    source_from_target: Mapping[str, Any] | None = field(default=None, repr=False)
    replication_role: Mapping[str, Any] | None = field(default=None, repr=False)
    sample_seconds: float = 0.0
    wal_window: float = 2.0
    client_bin_dir: str | None = None
    maintenance_db: str = "postgres"

    @property
    def sole_owner(self) -> str | None:
        """The role that is to own everything, None where owners are kept."""
        return None if self.owner == "keep" else self.owner


def run(migration: Migration, options: ValidateOptions, progress: Progress = silent) -> Result:
    """Run all checks and return what they found, the facts of both servers and the plan. Changes nothing.

    Raises ``bad_option`` for ids or words that do not exist. Everything else, an unreachable server included, is a
    finding; ``Result.error`` is set when a finding stands in the way as ``fail_on`` says.
    """
    migration = _knowing_all_secrets(migration, options)
    _verify(options)
    with translated(migration.redactor):
        progress(Event("validate", "connect to both servers"))
        with Context.open(migration, options) as context:
            findings = run_checks(
                context, options.skip_checks, cast("Mapping[str, Severity]", options.severities), progress
            )
            data = {
                "checked_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "ready": not any(finding.stops(("blocker",)) for finding in findings),
                "summary": summary(findings),
                "checks": [finding.as_data() for finding in findings],
                "source": _facts(context, "source"),
                "target": _facts(context, "target"),
                "plan": _plan(context),
            }
    data = migration.redactor.data(data)
    diff = {"prepared": listing(migration.name, data)}
    return Result("validate", changed=False, data=data, diff=diff, error=verdict(findings, options.fail_on))


def gate(migration: Migration, options: ValidateOptions, progress: Progress = silent) -> None:
    """Raise when a finding stands in the way of the migration; otherwise return. Changes nothing, measures nothing.

    The error's code is the finding's own (``target_not_empty``, ``name_taken``, ...) when it is the only one, and
    ``not_ready`` otherwise; its details name the checks. What would make statements of the application fail stands in
    the way whatever ``skip_checks``, ``severities`` and ``fail_on`` say.
    """
    migration = _knowing_all_secrets(migration, options)
    _verify(options)
    options = replace(options, sample_seconds=0.0, wal_window=0.0)
    skipped = [check for check in options.skip_checks if check not in PROTECTING]
    severities = {check: severity for check, severity in options.severities.items() if check not in PROTECTING}
    with translated(migration.redactor), Context.open(migration, options) as context:
        findings = run_checks(context, skipped, cast("Mapping[str, Severity]", severities), progress)
    protecting = [finding for finding in findings if finding.check.id in PROTECTING]
    for judged, fail_on in ((findings, options.fail_on), (protecting, "blocker")):
        error = verdict(judged, fail_on)
        if error is not None:
            codes = {finding.outcome.code for finding in judged if _is_cause(finding, FAIL_ON[fail_on])}
            raise replace(error, code=codes.pop()) if len(codes) == 1 else error


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """Count the findings by status, and the open ones by severity. Pure."""
    return {
        **{status: sum(finding.outcome.status == status for finding in findings) for status in STATUSES},
        "open": {severity: sum(finding.stops((severity,)) for finding in findings) for severity in SEVERITIES},
    }


def _is_cause(finding: Finding, severities: Sequence[Severity]) -> bool:
    """True for what stands in the way by itself, not for what could only not be looked at because of it."""
    return finding.stops(severities) and not finding.outcome.needs


def verdict(findings: Sequence[Finding], fail_on: str) -> MigrationError | None:
    """Return the error that the findings amount to, None when nothing stands in the way. Pure."""
    severities = FAIL_ON[fail_on]
    stopping = [finding for finding in findings if finding.stops(severities)]
    if not stopping:
        return None
    causes = [finding for finding in stopping if _is_cause(finding, severities)] or stopping
    lines = [_in_short(finding) for finding in causes[:SHOWN_IN_MESSAGE]]
    if len(causes) > SHOWN_IN_MESSAGE:
        others = ", ".join(finding.check.id for finding in causes[SHOWN_IN_MESSAGE:])
        lines.append(f"And {len(causes) - SHOWN_IN_MESSAGE} more: {others}.")
    first = next((finding for finding in causes if finding.outcome.remedy), None)
    return MigrationError(
        "not_ready",
        f"{len(causes)} check{'s' if len(causes) > 1 else ''} stand{'' if len(causes) > 1 else 's'} in the way. "
        + " ".join(lines),
        f"{first.check.id}: {first.outcome.remedy}" if first else "",
        {"checks": [finding.check.id for finding in causes], "codes": sorted({f.outcome.code for f in causes})},
    )


def _in_short(finding: Finding) -> str:
    """Return a finding with the beginning of its remedy, in one line; results have all of it."""
    outcome = finding.outcome
    objects = outcome.objects
    shown = f" [{', '.join(objects[:5])}{', ...' if len(objects) > 5 else ''}]" if objects else ""
    remedy = textwrap.shorten(outcome.remedy, SHOWN_OF_REMEDY, placeholder=" ...")
    return f"{finding.check.id}: {outcome.detail or finding.check.title}{shown}" + (
        f" Remedy: {remedy}" if remedy else ""
    )


def _verify(options: ValidateOptions) -> None:
    verify_ids(options.skip_checks, options.severities)
    role_policy.policy(options)
    role_passwords.check(options.role_passwords)
    if not options.owner:
        raise MigrationError("bad_option", "owner is empty.", "Give keep, or the name of a role of the target.")
    for option in (
        "jobs",
        "index_jobs",
        "streams",
        "migrations_on_source",
        "migrations_on_target",
        "migrations_at_once",
    ):
        given = getattr(options, option)
        if given is not None and given < 1:
            raise MigrationError("bad_option", f"{option} is {given}.", "Give 1 or more.", {"option": option})
    for option, seconds in (("sample_seconds", options.sample_seconds), ("wal_window", options.wal_window)):
        if not 0 <= seconds <= MOST_SECONDS:
            raise MigrationError(
                "bad_option",
                f"{option} is {seconds:g}.",
                f"Give 0, which measures nothing, to {MOST_SECONDS}.",
                {"option": option},
            )
    if options.fail_on not in FAIL_ON:
        raise MigrationError("bad_option", f"fail_on is {options.fail_on!r}.", f"One of {', '.join(FAIL_ON)}.")


def _knowing_all_secrets(migration: Migration, options: ValidateOptions) -> Migration:
    """Return the migration with a redactor that also knows the secrets of the options."""
    more = [
        str(given[key])
        for given in (options.source_from_target, options.replication_role)
        if given
        for key in (*SECRET_KEYWORDS, "url")
        if given.get(key)
    ]
    more += [str(password) for password in (options.role_passwords or {}).values()]
    if not more:
        return migration
    redactor = Redactor([*migration.source.secrets, *migration.target.secrets, *more])
    return replace(migration, log=StatementLog(redactor, migration.log.entries))


def _facts(context: Context, side: Literal["source", "target"]) -> dict[str, Any]:
    """What a result may show of one side; empty where it cannot be reached or does not tell."""
    endpoint = context.migration.source if side == "source" else context.migration.target
    known: dict[str, Any] = {"endpoint": endpoint.public()}
    try:
        server = context.server(side)
        known.update(_server_facts(server))
        known["database_exists"] = not (side == "target" and context.target_is_absent)
        if known["database_exists"]:
            facts = server.facts
            known.update(database=facts.name, encoding=facts.encoding, bytes=facts.bytes)
            known["collate"], known["ctype"] = facts.raw.get("datcollate"), facts.raw.get("datctype")
    except (Unavailable, psycopg.Error, MigrationError):
        known.setdefault("version", None)
    return known


def _server_facts(server: Server) -> dict[str, Any]:
    return {
        "version": server.session.connection.info.parameter_status("server_version"),
        "version_number": server.session.version,
        "major": server.major,
        "tls": server.session.connection.pgconn.ssl_in_use,
        "role": server.role.name,
        "is_superuser": server.role.is_superuser,
        "in_recovery": server.facts.is_in_recovery,
        "provider": server.provider.name,
    }


def _plan(context: Context) -> dict[str, Any]:
    """What the migration would move, and what stays behind; empty where the selection cannot be applied."""
    try:
        selected = context.selected
    except (Unavailable, psycopg.Error, MigrationError):
        return {}
    options, everything, with_rows = context.options, context.catalog, context.measured.tables
    foreign = [table.qualified for table in selected.catalog.tables if table.kind == "f"]
    return {
        "tables": [
            {
                "schema": table.schema,
                "name": table.name,
                "rows": estimate.estimated_rows(table),
                "bytes": table.bytes,
                "replicated": table.persistence == "p",
                "predicate": selected.predicates.get(table.oid),
            }
            for table in with_rows
        ],
        "bytes": sum(table.bytes for table in with_rows),
        "rows": estimate.total_rows(with_rows),
        "sequences": len(selected.catalog.sequences),
        "materialized_views": len(selected.catalog.materialized_views),
        "stays_behind": {
            "tables": sorted(everything.by_oid[oid].qualified for oid in selected.left_out),
            "rows_of": sorted(everything.by_oid[oid].qualified for oid in selected.without_data),
            "unlogged_rows_of": sorted(t.qualified for t in selected.unlogged_tables)
            if options.unlogged_tables != "copy"
            else [],
            "foreign_tables": sorted(foreign) if options.foreign_tables == "skip" else [],
            "large_objects": 0 if options.large_objects == "copy" else everything.database.large_objects,
        },
        "estimate": _estimate(context),
    }


def _estimate(context: Context) -> dict[str, Any]:
    """What the migration will take, as far as it was measured; empty where the source does not tell."""
    measured = context.measured
    try:
        return estimate.as_data(measured.tables, measured.indexes, measured.forecast)
    except (Unavailable, psycopg.Error, MigrationError):
        return {}
