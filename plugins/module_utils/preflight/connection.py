# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the ways in: connections, TLS, versions, poolers, and the way from the target to the source."""

from __future__ import annotations

import secrets

from ..conninfo import subscription_conninfo
from ..driver import psycopg, sql
from ..endpoint import Endpoint, Side
from ..errors import MigrationError
from ..session import Session
from .check import Check, Outcome, check, check_both, failed, name, passed, skipped, statement, statements, unknown
from .context import Context, Server

CHECKS: list[Check] = []

OLDEST_MAJOR: dict[Side, int] = {"source": 12, "target": 14}
NEWEST_MAJOR = 18
POOLER_PORTS = ("6432", "6543")
PROBE_TIMEOUT = "15s"

_SET_TOKEN = "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.set_config('seren_migrator.probe', %(token)s, false) AS token"
_GET_TOKEN = (
    "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.current_setting('seren_migrator.probe', true) AS token"
)
_WALSENDERS = "SELECT count(*) AS used FROM pg_catalog.pg_stat_replication"
_PROBE_LIMITS = """
SELECT pg_catalog.set_config('statement_timeout', %(timeout)s, true) AS statement,
       pg_catalog.set_config('lock_timeout', %(timeout)s, true) AS lock
"""
_PROBE_SUBSCRIPTION = """
CREATE SUBSCRIPTION {name} CONNECTION {conninfo} PUBLICATION {name}
  WITH (connect = true, enabled = false, create_slot = false, slot_name = NONE, copy_data = false)
"""


def _endpoint(context: Context, side: Side) -> Endpoint:
    return context.migration.source if side == "source" else context.migration.target


@check_both(CHECKS, "connection", "The {side} can be reached with the given login")
def connection(context: Context, side: Side) -> Outcome:
    """N1."""
    error = context.errors.get(side)
    if error is not None:
        return failed(error.message, error.remedy, objects=[_endpoint(context, side).label], code=error.code)
    if side == "target" and context.target_is_absent:
        return passed(f"Database {context.migration.target.dbname} does not exist yet; init creates it.")
    return passed()


@check_both(CHECKS, "tls", "The connection to the {side} is encrypted", severity="warning")
def tls(context: Context, side: Side) -> Outcome:
    """N1. Asked of our own end: behind a proxy the server cannot know."""
    server = context.server(side)
    if server.session.connection.pgconn.ssl_in_use:
        return passed()
    params = _endpoint(context, side).params
    host = params.get("hostaddr") or params.get("host", "")
    if host.startswith("/") or host in ("localhost", "127.0.0.1", "::1"):
        return passed("Not encrypted, and it does not leave this machine.")
    return failed(
        f"Rows and passwords' proofs travel in clear between this machine and the {side}.",
        f"Switch TLS on at the server (ssl = on) and set sslmode=verify-full, or at least require, in {side}.",
        objects=[_endpoint(context, side).label],
    )


@check_both(CHECKS, "version", "The {side} is of a supported major version")
def version(context: Context, side: Side) -> Outcome:
    """V1."""
    server = context.server(side)
    if OLDEST_MAJOR[side] <= server.major <= NEWEST_MAJOR:
        return passed(f"PostgreSQL {server.major}")
    return failed(
        f"The {side} is PostgreSQL {server.major}; supported are {OLDEST_MAJOR[side]} to {NEWEST_MAJOR}.",
        f"Use a {side} of a supported version, or a newer release of this collection.",
        objects=[f"PostgreSQL {server.major}"],
        code="unsupported_version",
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


@check_both(CHECKS, "pooler", "The {side} is reached directly, not through a connection pooler")
def pooler(context: Context, side: Side) -> Outcome:
    """N2. The name is a hint; the probes are the evidence."""
    endpoint, server = _endpoint(context, side), context.server(side)
    host, port = endpoint.params.get("host", ""), endpoint.params.get("port", "5432")
    remedy = (
        f"Give the direct host and port of the server in {side}: for Neon and SerenDB the same host name without "
        "-pooler, for Supabase the direct connection, for PgBouncer the port of PostgreSQL itself."
    )
    if "-pooler." in host:
        return failed(f"{host} is the name of a connection pooler.", remedy, objects=[endpoint.label])
    pooled = _shares_backends(context, server)
    if pooled:
        return failed(pooled, remedy, objects=[endpoint.label])
    if side == "source":
        refused = _replication_refused(context, server, remedy)
        if refused is not None:
            return refused
    if port in POOLER_PORTS:
        return failed(
            f"Port {port} is the usual one of a pooler, although none was noticed when it was tried.",
            remedy,
            objects=[endpoint.label],
            severity="warning",
        )
    return passed()


def _shares_backends(context: Context, server: Server) -> str:
    """Say how session state got lost or shared between two connections, '' when it did not.

    A pooler in transaction mode gives the backend of our idle first connection to the second one's transaction.
    """
    token = secrets.token_hex(8)
    first = server.session.row(_SET_TOKEN, {"token": token})
    with (
        Session.open(
            server.session.endpoint, context.migration.log, purpose="pooler probe", read_only=True, plain=True
        ) as other,
        other.connection.transaction(force_rollback=True),
    ):
        second = other.row(_GET_TOKEN)
        after = server.session.row(_GET_TOKEN)
    if first is None or second is None or after is None:
        return "A question about the session was answered with no row."
    if second["pid"] == first["pid"] or second["token"] == token:
        return "Two connections of ours were given the same server process: a pooler hands them out by transaction."
    if after["pid"] != first["pid"] or after["token"] != token:
        return "The server process behind our connection changed: a pooler hands them out by transaction."
    return ""


def _replication_refused(context: Context, server: Server, remedy: str) -> Outcome | None:
    """Open a replication connection as the subscription will, and say why that cannot be; None when it can."""
    role = server.role
    if not (role.can_replicate or role.is_superuser or role.is_rds_replicator):
        return skipped(
            "Without REPLICATION no replication connection can be tried.", needs="source_replication_attribute"
        )
    if server.session.value(_WALSENDERS) >= server.number("max_wal_senders"):
        return skipped("No WAL sender is free to try a replication connection.", needs="source_walsenders")
    endpoint = context.migration.source
    params = {**endpoint.connect_params("seren_migrator pooler probe"), "replication": "database"}
    try:
        with psycopg.connect(autocommit=True, **params) as connection:  # type: ignore[arg-type]
            connection.execute("IDENTIFY_SYSTEM")
    except psycopg.Error as error:
        # The same login and pg_hba.conf lines have just admitted an ordinary connection to this database.
        return failed(
            "An ordinary connection works, but a replication connection is refused, as poolers do: "
            + context.migration.redactor.text(str(error)).strip(),
            remedy,
            objects=[endpoint.label],
        )
    return None


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
