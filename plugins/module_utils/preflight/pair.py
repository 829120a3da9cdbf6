# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the two servers together: do they fit, does the target get through to the source."""

from __future__ import annotations

import secrets

from ..conninfo import subscription_conninfo
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..session import Session
from .check import Check, Outcome, check, failed, name, passed, statement, statements, unknown
from .context import Context

CHECKS: list[Check] = []

PROBE_TIMEOUT = "15s"
_PROBE_LIMITS = """
SELECT pg_catalog.set_config('statement_timeout', %(timeout)s, true) AS statement,
       pg_catalog.set_config('lock_timeout', %(timeout)s, true) AS lock
"""
_PROBE_SUBSCRIPTION = """
CREATE SUBSCRIPTION {name} CONNECTION {conninfo} PUBLICATION {name}
  WITH (connect = true, enabled = false, create_slot = false, slot_name = NONE, copy_data = false)
"""


@check(CHECKS, "subscription_probe", "The target can subscribe to the source", side="target")
def subscription_probe(context: Context) -> Outcome:
    """N3, P7, P8: a subscription made by the target itself, in a transaction that is rolled back.

    The target server opens the connection, so this proves route, firewall, TLS, pg_hba.conf, password, REPLICATION
    and the right to create subscriptions. Nothing is left behind: neither slot nor row.
    """
    source, target = context.source, context.target
    if context.target_is_absent and not (target.role.is_superuser or target.role.can_create_in_database):
        maintenance, role = context.options.maintenance_db, target.role.name
        return unknown(
            f"Database {context.migration.target.dbname} does not exist yet, and in {maintenance} this role may not "
            "create a subscription to try the way to the source.",
            statements(statement("CREATE DATABASE {}", name(context.migration.target.dbname)))
            + "\n-- or: "
            + statements(statement("GRANT CREATE ON DATABASE {} TO {}", name(maintenance), name(role))),
        )
    try:
        conninfo = subscription_conninfo(
            context.migration.source,
            context.options.source_from_target,
            context.options.replication_role,
            "seren_migrator probe",
        )
    except MigrationError as error:
        return failed(error.message, error.remedy, code=error.code)
    # The publication need not exist, and must not: the tables of a real one would be looked up on the target.
    probe = "seren_migrator_probe_" + secrets.token_hex(6)
    query = sql.SQL(_PROBE_SUBSCRIPTION).format(name=sql.Identifier(probe), conninfo=sql.Literal(conninfo))
    with Session.open(target.session.endpoint, context.migration.log, purpose="probe") as session:
        try:
            with session.connection.transaction(force_rollback=True):
                session.row(_PROBE_LIMITS, {"timeout": PROBE_TIMEOUT})
                session.connection.execute(query)
        except psycopg.Error as error:
            return _probe_refused(context, error)
    return passed(f"The target reached PostgreSQL {source.major}.")


def _probe_refused(context: Context, error: psycopg.Error) -> Outcome:
    state = error.sqlstate or ""
    diag = error.diag
    said = " ".join(part for part in (diag.message_primary, diag.message_detail, diag.message_hint) if part)
    said = context.migration.redactor.text(said or str(error)).strip()
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
        detail = f"The target could not reach the source within {PROBE_TIMEOUT}."
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
