# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Statements that a server may refuse one by one without harm: many in a round trip, and what was refused is told."""

from __future__ import annotations

import json
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

# Each statement in a subtransaction. What no refusal is ends all of it; so does a statement that may not run here at all
# (active_sql_transaction), which is then tried by itself. Read back by a setting, because DO returns nothing.
_ONE_BY_ONE = """
DECLARE
  statements CONSTANT pg_catalog.text[] := ARRAY[{statements}]::pg_catalog.text[];
  no_refusal CONSTANT pg_catalog.text[] := ARRAY[{no_refusal}]::pg_catalog.text[];
  said pg_catalog.jsonb := '{}';
  begins pg_catalog.text;
BEGIN
  FOR number IN 1 .. pg_catalog.array_length(statements, 1) LOOP
    BEGIN
      EXECUTE statements[number];
    EXCEPTION WHEN OTHERS THEN
      FOREACH begins IN ARRAY no_refusal LOOP
        IF pg_catalog.starts_with(SQLSTATE, begins) THEN
          RAISE;
        END IF;
      END LOOP;
      IF SQLSTATE = '25001' THEN
        RAISE;
      END IF;
      said := said || pg_catalog.jsonb_build_object(number, pg_catalog.jsonb_build_array(SQLSTATE, SQLERRM));
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('seren_migrator.said', said::pg_catalog.text, false);
END
"""
_SAID = "SELECT pg_catalog.current_setting('seren_migrator.said') AS said"


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
    then has a word about them instead of each. Where one of them is refused, each hundred of them takes two or three more
    round trips, however many are refused.

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
        _tell(session, attempts)
        return []
    if len(attempts) == 1:
        return [Refused(attempts[0], _reason(session, attempts[0], error), error.sqlstate or "")]
    if len(attempts) > AT_ONCE:
        pieces = [attempts[start : start + AT_ONCE] for start in range(0, len(attempts), AT_ONCE)]
        return [item for piece in pieces for item in _carry_out(session, piece)]
    states = _one_by_one(session, attempts)
    if states is None:
        middle = len(attempts) // 2
        return _carry_out(session, attempts[:middle]) + _carry_out(session, attempts[middle:])
    _tell(session, [attempt for attempt, said in zip(attempts, states, strict=True) if said is None])
    return [
        Refused(attempt, _said(session, attempt, said[1], said[0]), said[0])
        for attempt, said in zip(attempts, states, strict=True)
        if said is not None
    ]


def _tell(session: Session, attempts: Sequence[Attempt]) -> None:
    if len(attempts) > AT_ONCE:
        session.log.add(session.endpoint.side, f"{_text(session, attempts[0])}, and {len(attempts) - 1} more like it")
        return
    for attempt in attempts:
        session.log.add(session.endpoint.side, _text(session, attempt))


def _one_by_one(session: Session, attempts: Sequence[Attempt]) -> list[tuple[str, str] | None] | None:
    """Run statements, each in a subtransaction of its own, in one round trip: however many are refused.

    Return SQLSTATE and message of each that is refused, None for the others. None for the whole where that is no way: PL/pgSQL
    is not there, or one of the statements may not run inside a function; nothing is done then.
    """
    texts = [session.text(attempt.statement) for attempt in attempts]
    # Literals that are quoted twice: by the server's own rules, whatever standard_conforming_strings says.
    array = sql.SQL(", ").join(map(sql.Literal, texts)).as_string(session.connection)
    wanted = sql.SQL(", ").join(map(sql.Literal, _NO_REFUSAL)).as_string(session.connection)
    body = sql.Literal(_ONE_BY_ONE.replace("{statements}", array).replace("{no_refusal}", wanted))
    whole: list[sql.Composable] = [sql.SQL("DO {}").format(body), sql.SQL(_SAID)]
    is_inside = session.connection.info.transaction_status == pq.TransactionStatus.INTRANS
    if is_inside:
        whole = [sql.SQL("SAVEPOINT attempt"), whole[0], sql.SQL("RELEASE SAVEPOINT attempt"), whole[1]]
    try:
        cursor = session.connection.execute(sql.SQL(";\n").join(whole))
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not state or session.connection.closed or (state.startswith(_NO_REFUSAL) and state != "25001"):
            secrets = [attempt.what for attempt in attempts if attempt.shown is not None]
            raise error if not secrets else _silent(session, secrets, state) from None
        if is_inside:
            session.connection.execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
        return None
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    said = json.loads(row["said"]) if row is not None else {}
    return [tuple(said[str(number)]) if str(number) in said else None for number in range(1, len(attempts) + 1)]


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
    return _said(session, attempt, error.diag.message_primary or str(error), error.sqlstate or "")


def _said(session: Session, attempt: Attempt, message: str, sqlstate: str) -> str:
    if attempt.shown is not None:
        return f"the {session.endpoint.side} refused it (SQLSTATE {sqlstate})"
    return message


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
