# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the machine that runs the engine: PostgreSQL's client programs."""

from __future__ import annotations

from .. import clients
from ..errors import MigrationError
from .check import Check, Outcome, check, failed, passed
from .context import Context

CHECKS: list[Check] = []


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
