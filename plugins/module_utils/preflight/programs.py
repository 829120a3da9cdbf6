# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the machine that runs the engine: PostgreSQL's client programs."""

from __future__ import annotations

from .. import clients
from ..errors import MigrationError
from .check import Check, Outcome, check, failed, passed
from .context import Context, Unavailable

CHECKS: list[Check] = []

# The first minor version of each major without CVE-2025-8714 and CVE-2025-8715; older majors have none.
FIXED_MINOR = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}


@check(CHECKS, "client_programs", "pg_dump and pg_restore of a usable major are installed", side="controller")
def client_programs(context: Context) -> Outcome:
    """C1, C2. pg_dump refuses a server that is newer than itself."""
    source, target = context.source.major, context.target.major
    try:
        client = clients.choose(context.clients, source, target)
    except MigrationError as error:
        return failed(error.message, error.remedy, code=error.code)
    version = ".".join(map(str, client.version))
    return passed(f"{client.pg_dump} and {client.pg_restore}, version {version}.")


def _client(context: Context) -> clients.Client:
    """The client programs that will be used, or :class:`Unavailable`."""
    try:
        return clients.choose(context.clients, context.source.major, context.target.major)
    except MigrationError as error:
        raise Unavailable("client_programs", "no usable client programs are installed") from error


@check(
    CHECKS,
    "client_security",
    "pg_dump and pg_restore have no known security hole",
    side="controller",
    severity="warning",
)
def client_security(context: Context) -> Outcome:
    """C4. Who may name objects on the source could run SQL on the target (CVE-2025-8715); psql is not used by us."""
    client = _client(context)
    minor = FIXED_MINOR.get(client.major, 0 if client.major > max(FIXED_MINOR) else None)
    version = ".".join(map(str, client.version))
    if minor is not None and client.version[1] >= minor:
        return passed(version)
    return failed(
        f"Version {version} lets a line break in an object's name become a statement that is run on the target "
        "(CVE-2025-8715).",
        f"Update the client programs to {client.major}.{minor} or newer."
        if minor is not None
        else "Use client programs of a newer major version.",
        objects=[client.pg_dump],
    )


@check(
    CHECKS,
    "client_major",
    "pg_dump and pg_restore are not newer than both servers",
    side="controller",
    severity="info",
)
def client_major(context: Context) -> Outcome:
    """C3. What pg_dump 17 and newer write for themselves is taken out; the manual promises nothing about the rest."""
    wanted = clients.wanted_major(context.source.major, context.target.major)
    client = _client(context)
    if client.major <= wanted:
        return passed()
    return failed(
        f"pg_dump {client.major} writes for servers of its own version; a target of {context.target.major} may not "
        "understand all of it.",
        f"Install the client programs of major {wanted}, or name their directory in client_bin_dir.",
        objects=[client.pg_dump],
    )
