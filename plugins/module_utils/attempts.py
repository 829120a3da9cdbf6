# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Statements that a server may refuse one by one without harm: many in a round trip, and what was refused is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .driver import pq, psycopg, sql
from .errors import MigrationError
from .session import Session

if TYPE_CHECKING:
    from .session import Query

AT_ONCE = 100

# SQLSTATEs, or how they begin, that are no word about the statement: the connection, a transaction that is over or may
# not write, deadlocks, resources, a lock that is not to be had, intervention, the system, damaged files.
_NO_REFUSAL = ("08", "25006", "25P", "40", "53", "55P03", "57", "58", "XX001", "XX002")


@dataclass(frozen=True)
class Attempt:
    """One statement and what it is about, in words for people.

    ``shown`` replaces it in the log where it is secret; what a server says about it, which could quote it, is not repeated.
    """

    what: str
    statement: Query
    shown: Query | None = None


@dataclass(frozen=True)
class Refused:
    """An attempt that the server refused, with its reason (the server's own words unless it is secret) and its SQLSTATE."""

    attempt: Attempt
    reason: str
    sqlstate: str

    @property
    def as_left(self) -> dict[str, str]:
        """What stays behind because of it, as results show it."""
        return {"object": self.attempt.what, "reason": self.reason}


def carry_out(session: Session, attempts: Sequence[Attempt], at_once: int = AT_ONCE) -> list[Refused]:
    """Run every statement that the server accepts, in order; return those that it refuses.

    ``at_once`` are tried together in a round trip; where a refusal is a rare exception, many more than usual. The log
    then has a word about them instead of each.

    Inside a transaction of the caller all of it belongs to that; otherwise each batch commits by itself. Refused is
    whatever a server, an extension or a hook of a provider says about a statement; a lost connection, a deadlock, a lock
    that is not to be had or a full disk is raised.
    """
    refused: list[Refused] = []
    for start in range(0, len(attempts), at_once):
        refused += _carry_out(session, attempts[start : start + at_once])
    return refused


def _carry_out(session: Session, attempts: Sequence[Attempt]) -> list[Refused]:
    if not attempts:
        return []
    error = _try(session, attempts)
    if error is None:
        if len(attempts) > AT_ONCE:
            session.log.add(
                session.endpoint.side, f"{_text(session, attempts[0])}, and {len(attempts) - 1} more like it"
            )
            return []
        for attempt in attempts:
            session.log.add(session.endpoint.side, _text(session, attempt))
        return []
    if len(attempts) == 1:
        return [Refused(attempts[0], _reason(session, attempts[0], error), error.sqlstate or "")]
    middle = len(attempts) // 2
    return _carry_out(session, attempts[:middle]) + _carry_out(session, attempts[middle:])


def _text(session: Session, attempt: Attempt) -> str:
    return session.text(attempt.statement if attempt.shown is None else attempt.shown)


def _try(session: Session, attempts: Sequence[Attempt]) -> psycopg.Error | None:
    """Run statements as one, all or none, in one round trip; return why the server refused."""
    is_inside = session.connection.info.transaction_status == pq.TransactionStatus.INTRANS
    texts = [session.text(attempt.statement) for attempt in attempts]
    if is_inside:
        texts = ["SAVEPOINT attempt", *texts, "RELEASE SAVEPOINT attempt"]
    try:
        session.connection.execute(sql.SQL(";\n").join(map(sql.SQL, texts)))
        return None
    except psycopg.Error as raised:
        error = raised
    state = error.sqlstate or ""
    if not state or state.startswith(_NO_REFUSAL) or session.connection.closed:
        secrets = [attempt.what for attempt in attempts if attempt.shown is not None]
        raise error if not secrets else _silent(session, secrets, state)
    if is_inside:
        session.connection.execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
    return error


def _reason(session: Session, attempt: Attempt, error: psycopg.Error) -> str:
    if attempt.shown is not None:
        return f"the {session.endpoint.side} refused it (SQLSTATE {error.sqlstate})"
    return error.diag.message_primary or str(error)


def _silent(session: Session, secrets: Sequence[str], state: str) -> MigrationError:
    """Return an error in our own words about statements with secrets."""
    side = session.endpoint.side
    said = f"The {side} could not carry out a statement (SQLSTATE {state})" if state else f"The {side} did not answer"
    return MigrationError(
        "database_error",
        f"{said}, at one of: {'; '.join(secrets[:10])}. Its own words could quote a secret and are not repeated.",
        f"Look into the log of the {side}; mend the cause and run the same command again.",
        {"sqlstate": state or None},
    )
