# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the two servers together: do they fit, does the target get through to the source."""

from __future__ import annotations

from ..driver import conninfo as libpq
from ..driver import psycopg
from ..errors import MigrationError
from . import trial
from .check import Check, Outcome, check, failed, name, passed, statement, statements, unknown
from .context import Context
from .trial import said_by

CHECKS: list[Check] = []


@check(CHECKS, "subscription_probe", "The target can subscribe to the source", side="target")
def subscription_probe(context: Context) -> Outcome:
    """N3, N9, P7, P8: a subscription made by the target itself, in a transaction that is rolled back.

    Nothing is left behind, neither slot nor row; see ``trial.py``.
    """
    source, target = context.source, context.target
    try:
        tried = context.trial
    except MigrationError as error:
        return failed(error.message, error.remedy, code=error.code)
    if tried is None:
        maintenance, role = context.options.maintenance_db, target.role.name
        return unknown(
            f"Database {context.migration.target.dbname} does not exist yet, and in {maintenance} this role may not "
            "create a subscription to try the way to the source.",
            statements(statement("CREATE DATABASE {}", name(context.migration.target.dbname)))
            + "\n-- or: "
            + statements(statement("GRANT CREATE ON DATABASE {} TO {}", name(maintenance), name(role))),
        )
    if tried.error is not None:
        return _probe_refused(context, tried.error)
    reached = f"The target reached PostgreSQL {source.major}."
    if "password" not in libpq.conninfo_to_dict(context.conninfo):
        return passed(reached)
    return passed(
        f"{reached} Until cleanup, pg_subscription of the target keeps the password of {context.replicating_role}, for "
        "superusers to read."
    )


def _probe_refused(context: Context, error: psycopg.Error) -> Outcome:
    state = error.sqlstate or ""
    said = said_by(error, context.migration.redactor)
    detail = f"The target tried to subscribe to the source and failed: {said} (SQLSTATE {state})"
    role = name(context.target.role.name)
    database = name(context.migration.target.dbname)
    if state == "42501":
        needed = [statement("GRANT CREATE ON DATABASE {} TO {}", database, role)]
        if context.target.major >= 16:
            needed.insert(0, statement("GRANT pg_create_subscription TO {}", role))
        else:
            needed = [statement("ALTER ROLE {} SUPERUSER", role)]
        return failed(detail, statements(*needed))
    if state.startswith("2F"):
        return failed(
            detail,
            "The source must ask this role for a password (scram-sha-256 in its pg_hba.conf), and source or "
            "replication_role must give it.",
        )
    if state == "57014":
        detail = f"The target could not reach the source within {trial.TIMEOUT}."
    return failed(
        detail,
        "Let the target server's outgoing addresses in at the source (firewall, access list, pg_hba.conf). When the "
        "target reaches the source under another host name, port or sslmode, set source_from_target. A certificate "
        "file named there is read on the target server.",
        objects=[context.migration.source.label],
    )


@check(CHECKS, "version_order", "The target is not older than the source", side="both", severity="warning")
def version_order(context: Context) -> Outcome:
    """V1."""
    source, target = context.source.major, context.target.major
    if target >= source:
        return passed(f"{source} -> {target}")
    return failed(
        f"The target ({target}) is older than the source ({source}): what the newer version added to the schema "
        "language cannot be restored there.",
        f"Choose a target of major {source} or newer, or make sure that the schema uses nothing that is newer "
        f"than {target}.",
        objects=[f"{source} -> {target}"],
    )


@check(CHECKS, "different_databases", "Source and target are two databases", side="both")
def different_databases(context: Context) -> Outcome:
    """N5. The system identifier alone says too little: branches and restored backups share it."""
    if context.target_database is None:
        return passed()
    source, target = context.source.facts, context.target_database.facts
    same_server = (source.system_identifier, source.started) == (target.system_identifier, target.started)
    if same_server and source.oid == target.oid:
        return failed(
            f"Source and target are the same database, {source.name}.",
            "Give another server or another database as target.",
            objects=[context.migration.source.label, context.migration.target.label],
        )
    return passed("Two databases of one server." if same_server else "")
