# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The target's database itself: whether it is there, and making it. Asks the maintenance database of the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

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


@contextmanager
def maintenance_if_any(
    migration: Migration, maintenance_db: str, *, read_only: bool = False
) -> Iterator[tuple[Session | None, str]]:
    """Open it for the length of the block; None, and why, where that is not to be had."""
    session, reason = None, ""
    try:
        session = maintenance(migration, maintenance_db, read_only=read_only)
    except MigrationError as error:
        reason = error.message
    with nullcontext() if session is None else session:
        yield session, reason


def create(migration: Migration, maintenance_db: str) -> None:
    """Create the target database with the source's encoding and locale; it gets its owner once the roles are there."""
    with migration.open("source", "init", read_only=True) as source:
        like = Catalog.read(source).database
    # Another migration into the same database may be quicker, by a little or by a lot.
    quicker = (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation)
    with maintenance(migration, maintenance_db) as session, suppress(*quicker):
        try:
            session.execute(create_statement(migration.target.dbname, like, session.major))
        except (
            psycopg.errors.WrongObjectType,
            psycopg.errors.InvalidParameterValue,
            psycopg.errors.InvalidObjectDefinition,
            psycopg.errors.FeatureNotSupported,
        ) as error:
            raise MigrationError(
                "database_error",
                f"The target cannot make a database with the encoding ({like.encoding}) and the locale of the source: "
                f"{migration.redactor.text(str(error.diag.message_primary))} (SQLSTATE {error.sqlstate})",
                "Install that locale on the target's server, or create the database by hand with one that it has; init uses a "
                "database that is there.",
                {"sqlstate": error.sqlstate},
            ) from None


@dataclass(frozen=True)
class Locale:
    """How a new database sorts and compares text: ``provider`` is libc, icu or builtin, ``locale`` None with libc.

    ``lost`` says, for people, what of the source's the target's major does not know.
    """

    provider: str
    collate: str
    ctype: str
    locale: str | None = None
    rules: str | None = None
    lost: tuple[str, ...] = ()


def locale_there(raw: Mapping[str, Any], target_major: int) -> Locale:
    """Return the locale that a database like the source's (``raw`` is its pg_database row) gets on the target. Pure.

    The columns differ by version: ``datlocprovider`` from 15 on, ``daticurules`` from 16, and what is ``daticulocale`` in 15
    and 16 is ``datlocale`` from 17, where the builtin provider came. The version of the collation is the target's own.
    """
    collate, ctype = str(raw["datcollate"]), str(raw["datctype"])
    locale = raw.get("datlocale") or raw.get("daticulocale")
    rules = raw.get("daticurules")
    provider = raw.get("datlocprovider") or "c"
    if provider == "i" and locale:
        if target_major < 15:
            return Locale("libc", collate, ctype, lost=(f"locale {locale} of ICU",))
        if rules and target_major < 16:
            return Locale("icu", collate, ctype, locale, lost=("ICU rules",))
        return Locale("icu", collate, ctype, locale, rules)
    if provider == "b" and locale:
        if target_major < 17:
            # The builtin locales sort by code points, as C does.
            return Locale("libc", "C", ctype, lost=(f"builtin locale {locale}",))
        if locale == "PG_UNICODE_FAST" and target_major < 18:
            return Locale("builtin", collate, ctype, "C.UTF-8", lost=(f"builtin locale {locale}",))
        return Locale("builtin", collate, ctype, locale)
    return Locale("libc", collate, ctype)


def create_statement(name: str, database: Database, target_major: int) -> sql.Composed:
    """Return the CREATE DATABASE statement that gives ``name`` the source's encoding and locale.

    ``database`` is the source's. What is not said comes from template0, which may have another provider; so all of it is.
    Source: PostgreSQL manual, CREATE DATABASE.
    """
    like = locale_there(database.raw, target_major)
    parts = [
        sql.SQL("CREATE DATABASE {} WITH TEMPLATE template0").format(sql.Identifier(name)),
        sql.SQL("ENCODING {}").format(sql.Literal(database.encoding)),
        sql.SQL("LC_COLLATE {}").format(sql.Literal(like.collate)),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(like.ctype)),
    ]
    if target_major >= 15:
        parts.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL(like.provider)))
    if like.locale is not None:
        words = "ICU_LOCALE {}" if like.provider == "icu" else "BUILTIN_LOCALE {}"
        parts.append(sql.SQL(words).format(sql.Literal(like.locale)))
    if like.rules is not None:
        parts.append(sql.SQL("ICU_RULES {}").format(sql.Literal(like.rules)))
    return sql.SQL(" ").join(parts)


def lost_locale(database: Database, target_major: int) -> list[dict[str, str]]:
    """Return what of the source's locale a database that init creates cannot have."""
    like = locale_there(database.raw, target_major)
    reason = f"PostgreSQL {target_major} does not know it; the database has {like.provider} with {like.locale or like.collate}"
    return [{"object": f"{item} of the database", "reason": reason} for item in like.lost]
