# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The target's database itself: whether it is there, and making it. Asks the maintenance database of the server."""

from __future__ import annotations

from contextlib import suppress

from .catalog import Catalog, Database
from .driver import psycopg, sql
from .errors import MigrationError
from .migration import Migration
from .session import Session

_FOUND = "SELECT 1 AS found FROM pg_catalog.pg_database AS d WHERE d.datname = %(name)s"


def exists(migration: Migration, maintenance_db: str) -> bool:
    """Return False only when the target server itself says that it has no such database.

    Raises ``cannot_connect`` when the database cannot be opened for another reason.
    """
    try:
        with migration.open("target", "probe", read_only=True):
            return True
    except MigrationError as error:
        if is_absent(migration, maintenance_db, error):
            return False
        raise


def is_absent(migration: Migration, maintenance_db: str, error: MigrationError) -> bool:
    """Return True only when the target server itself says that it has no such database.

    ``error`` is why the database could not be opened: a server that did not answer at all is not asked again.
    """
    if error.code != "cannot_connect" or error.details["side"] != "target" or error.details["timed_out"]:
        return False
    try:
        with maintenance(migration, maintenance_db, read_only=True) as session:
            return session.value(_FOUND, {"name": migration.target.dbname}) is None
    except MigrationError:
        return False


def maintenance(migration: Migration, maintenance_db: str, *, read_only: bool = False) -> Session:
    """Open the target server's maintenance database."""
    endpoint = migration.target.with_database(maintenance_db)
    return Session.open(endpoint, migration.log, purpose="maintenance", read_only=read_only)


def create(migration: Migration, maintenance_db: str) -> None:
    """Create the target database with the source's encoding and locale; it gets its owner once the roles are there."""
    with migration.open("source", "init", read_only=True) as source:
        like = Catalog.read(source).database
    # Another migration into the same database may be quicker, by a little or by a lot.
    quicker = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
    with maintenance(migration, maintenance_db) as session, suppress(*quicker):
        session.execute(create_statement(migration.target.dbname, like, session.major))


def create_statement(name: str, database: Database, target_major: int) -> sql.Composed:
    """Return the CREATE DATABASE statement that gives ``name`` the source's encoding and locale.

    ``database`` is the source's. Locale columns differ by version: ``datlocprovider`` from
    15 on (``daticulocale``, ``datlocale`` from 17). A provider that the target's major does not know falls back to
    libc, which validate reports. Source: PostgreSQL manual, CREATE DATABASE.
    """
    raw = database.raw
    parts = [
        sql.SQL("CREATE DATABASE {} WITH TEMPLATE template0").format(sql.Identifier(name)),
        sql.SQL("ENCODING {}").format(sql.Literal(database.encoding)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(raw["datcollate"])),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(raw["datctype"])),
    ]
    provider = raw.get("datlocprovider", "c")
    locale = raw.get("datlocale") or raw.get("daticulocale")
    if provider == "i" and target_major >= 15 and locale:
        parts.append(sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(locale)))
    elif provider == "b" and target_major >= 17 and locale:
        parts.append(sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(locale)))
    return sql.SQL(" ").join(parts)
