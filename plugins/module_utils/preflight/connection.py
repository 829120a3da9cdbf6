# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the way in to each server: connection, TLS, version, pooler. Each looks at its own side alone."""

from __future__ import annotations

import secrets

from .. import provider
from ..driver import psycopg
from ..endpoint import Endpoint, Side
from ..session import Session
from .check import Check, Outcome, check, check_both, failed, passed, skipped
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

OLDEST_MAJOR: dict[Side, int] = {"source": 12, "target": 14}
NEWEST_MAJOR = 18

_SET_TOKEN = "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.set_config('seren_migrator.probe', %(token)s, false) AS token"
_GET_TOKEN = (
    "SELECT pg_catalog.pg_backend_pid() AS pid, pg_catalog.current_setting('seren_migrator.probe', true) AS token"
)


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


def _no_pooler(context: Context, side: Side) -> str:
    """Return the remedy against a connection pooler, in the provider's words where it is known."""
    params = _endpoint(context, side).params
    words = provider.direct(params.get("host", ""), params.get("port", "5432"), context.server(side).provider)
    return f"Give the direct host and port of the server in {side}. " + (
        words or "For PgBouncer that is the port of PostgreSQL itself."
    )


@check_both(CHECKS, "pooler", "The {side} is reached directly, not through a connection pooler")
def pooler(context: Context, side: Side) -> Outcome:
    """N2. The name is a hint; what becomes of our sessions is the evidence, see also ``source_replication_connection``."""
    endpoint, server = _endpoint(context, side), context.server(side)
    host, port = endpoint.params.get("host", ""), endpoint.params.get("port", "5432")
    if provider.is_pooled_host(host):
        return failed(
            f"{host} is the name of a connection pooler.", _no_pooler(context, side), objects=[endpoint.label]
        )
    pooled = _shares_backends(context, server)
    if pooled:
        return failed(pooled, _no_pooler(context, side), objects=[endpoint.label])
    if provider.is_pooled_port(port):
        return failed(
            f"Port {port} is the usual one of a pooler, although none was noticed when it was tried.",
            _no_pooler(context, side),
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


@check(CHECKS, "source_replication_connection", "The source admits replication connections", side="source")
def replication_connection(context: Context) -> Outcome:
    """N2. Opens a replication connection as the subscription will; poolers refuse those."""
    server, role = context.source, context.source.role
    if not (role.can_replicate or role.is_superuser or role.is_rds_replicator):
        return skipped(
            "Without REPLICATION no replication connection can be tried.", needs="source_replication_attribute"
        )
    if len(server.senders) >= server.number("max_wal_senders"):
        return skipped("No WAL sender is free to try a replication connection.", needs="source_walsenders")
    endpoint = context.migration.source
    params = {**endpoint.connect_params("seren_migrator replication probe"), "replication": "database"}
    try:
        with psycopg.connect(autocommit=True, **params) as connection:  # type: ignore[arg-type]
            connection.execute("IDENTIFY_SYSTEM")
    except psycopg.Error as error:
        # The same login and pg_hba.conf lines have just admitted an ordinary connection to this database.
        return failed(
            "An ordinary connection works, but a replication connection is refused, as poolers do: "
            + context.migration.redactor.text(str(error)).strip(),
            _no_pooler(context, "source"),
            objects=[endpoint.label],
        )
    return passed()
