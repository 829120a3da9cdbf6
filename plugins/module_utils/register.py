# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The register of the migrations into one server, in its maintenance database: who has begun, and with how many streams.

A ledger is in the database that it is about, so migrations into other databases of the server do not see it. What they
have taken of the server shows there; the register tells what they will still take. It is a help, not a condition:
where a role may not write or read it, the migration goes on, and only knows of itself.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass

from .catalog import OWN_SCHEMA
from .driver import Row, psycopg, sql
from .session import Session

TABLE = "begun"
# How often others may make or drop the table at the moment when we use it, before we give up.
ATTEMPTS = 5
LOCK_TIMEOUT = "1s"

_CREATE_SCHEMA = "CREATE SCHEMA seren_migrator"
_CREATE_TABLE = """
CREATE TABLE seren_migrator.begun (
  id text PRIMARY KEY,
  name text NOT NULL,
  database text NOT NULL,
  source text NOT NULL,
  streams integer NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT pg_catalog.now())
"""

# A frozen runner may hold what we wait for; nobody shall be held up by that.
_LIMIT = "SELECT pg_catalog.set_config('lock_timeout', %(limit)s, false) AS limit"

# A table that somebody else has put there could make us run what he likes, by a trigger or as a view.
_STATE = """
SELECT n.oid IS NOT NULL AS has_schema, c.oid IS NOT NULL AS has_table, o.rolname AS owner,
       coalesce(c.relkind = 'r' AND (o.rolname = current_user OR o.rolsuper), false) AS is_trusted
  FROM (VALUES (1)) AS one
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'seren_migrator'
  LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'begun'
  LEFT JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
"""

# Those whose database was dropped take nothing any more.
_READ = """
SELECT b.id, b.name, b.database, b.source, b.streams
  FROM seren_migrator.begun AS b
 WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_database AS d WHERE d.datname = b.database)
 ORDER BY b.database, b.name
"""

_FORGET = """
DELETE FROM seren_migrator.begun AS b
 WHERE b.database = %(database)s AND b.name = %(name)s
    OR NOT EXISTS (SELECT 1 FROM pg_catalog.pg_database AS d WHERE d.datname = b.database)
"""
_ENTER = """
INSERT INTO seren_migrator.begun (id, name, database, source, streams)
VALUES (%(id)s, %(name)s, %(database)s, %(source)s, %(streams)s)
ON CONFLICT (id) DO NOTHING
"""

# What making and dropping the table at the same time may end in: unique_violation, duplicate_table, duplicate_schema,
# undefined_table, invalid_schema_name.
_COLLISIONS = ("23505", "42P07", "42P06", "42P01", "3F000")


@dataclass(frozen=True)
class Begun:
    """A migration that has begun: its id, its name, its target database, the source's system identifier, its streams."""

    id: str
    name: str
    database: str
    source: str
    streams: int


@dataclass(frozen=True)
class Register:
    """What the register holds, and why it could not be read ('' when it was)."""

    begun: tuple[Begun, ...] = ()
    reason: str = ""


def read(session: Session) -> Register:
    """Return what the register of the connected maintenance database holds. Changes nothing."""
    state = session.row(_STATE)
    if state is None or not state["has_table"]:
        return Register()
    if not state["is_trusted"]:
        return Register((), _not_ours(session, state["owner"]))
    try:
        return Register(tuple(Begun(**row) for row in session.rows(_READ)))
    except psycopg.errors.UndefinedTable:
        return Register()
    except psycopg.Error as error:
        return Register((), _said(error))


def enter(session: Session, begun: Begun) -> str:
    """Write a migration into the register, and make that where it is missing; return why it could not be, '' if it was.

    What an earlier migration of the same name into the same database has left there gives way.
    """
    for _attempt in range(ATTEMPTS):
        try:
            state = _limited_look(session)
            if not state["has_table"]:
                making = [_CREATE_TABLE] if state["has_schema"] else [_CREATE_SCHEMA, _CREATE_TABLE]
                session.execute_together(*making)
            elif not state["is_trusted"]:
                return _not_ours(session, state["owner"])
            # One string of several statements is one transaction.
            psycopg.ClientCursor(session.connection).execute(f"{_FORGET};\n{_ENTER}", asdict(begun))
            return ""
        except psycopg.Error as error:  # refused, locked, lost: whatever it is, it must not stop a migration
            if error.sqlstate not in _COLLISIONS:
                return _said(error)
    return "others were making and dropping it all the time"


def leave(session: Session, migration_id: str) -> bool:
    """Take a migration out of the register, and drop that when it is the last one; False when it was not there.

    Raises LockNotAvailable where somebody holds the entry.
    """
    if not _limited_look(session)["is_trusted"]:
        return False
    try:
        gone = session.connection.execute("DELETE FROM seren_migrator.begun WHERE id = %s", (migration_id,)).rowcount
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        return False
    # Somebody may be using it, or own it, or be making his table in our schema: then it stays. Migrations that begin wait
    # behind us, so we do not wait for long (for a dump of this database, for instance).
    with suppress(psycopg.Error), session.transaction():
        session.connection.execute("LOCK TABLE seren_migrator.begun IN ACCESS EXCLUSIVE MODE")
        if session.row("SELECT 1 AS found FROM seren_migrator.begun") is None:
            session.execute("DROP TABLE seren_migrator.begun")
            drop_schema_when_empty(session)
    return bool(gone)


def _limited_look(session: Session) -> Row:
    """Return what is in the place of the register; what follows in this session waits for locks only for a moment."""
    _limit, state = session.rows_of(_LIMIT, _STATE, params={"limit": LOCK_TIMEOUT})
    return state[0]


def drop_schema_when_empty(session: Session) -> bool:
    """Drop our schema once nothing is in it: other migrations, or the user, may still use it.

    One that another role's migration has made stays, empty.
    """
    empty = session.value(
        "SELECT 1 AS empty FROM pg_catalog.pg_namespace AS n WHERE n.nspname = %(schema)s"
        " AND pg_catalog.pg_has_role(n.nspowner, 'USAGE') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d"
        "  WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid)",
        {"schema": OWN_SCHEMA},
    )
    if empty:
        session.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(OWN_SCHEMA)))
    return bool(empty)


def _said(error: psycopg.Error) -> str:
    return str(error.diag.message_primary or error).strip()


def _not_ours(session: Session, owner: str) -> str:
    return f"table {OWN_SCHEMA}.{TABLE} in database {session.endpoint.dbname} belongs to {owner}, or is no table"
