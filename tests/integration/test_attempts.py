# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements of which a server may refuse some: the others are carried out, in order, and the refused ones are told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils import attempts
from ansible_collections.seren.migrator.plugins.module_utils.attempts import AT_ONCE, Attempt
from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError, Redactor
from ansible_collections.seren.migrator.plugins.module_utils.session import Session, StatementLog
from tests.support.fixtures import Database

COUNT = AT_ONCE * 2 + 7
REFUSED = (0, 3, AT_ONCE - 1, AT_ONCE, COUNT - 1)


@pytest.fixture
def session(target_db: Database) -> Iterator[Session]:
    """A session of the target with a table to write into."""
    target_db.execute("CREATE TABLE written (number int CHECK (number >= 0))")
    with Session.open(
        Endpoint.from_options("target", target_db.params), StatementLog(Redactor([])), purpose="t"
    ) as opened:
        yield opened


def inserts(refused: tuple[int, ...]) -> list[Attempt]:
    statement = sql.SQL("INSERT INTO public.written VALUES ({})")
    return [
        Attempt(f"row {number}", statement.format(sql.Literal(-1 if number in refused else number)))
        for number in range(COUNT)
    ]


@pytest.mark.parametrize("is_inside", (False, True), ids=("on its own", "in a transaction of the caller"))
def test_all_but_the_refused_are_done_in_order(session: Session, target_db: Database, is_inside: bool) -> None:
    if is_inside:
        with session.transaction():
            refused = attempts.carry_out(session, inserts(REFUSED))
            assert target_db.execute("SELECT count(*) FROM written") == [(0,)]
    else:
        refused = attempts.carry_out(session, inserts(REFUSED))
    assert [item.attempt.what for item in refused] == [f"row {number}" for number in REFUSED]
    assert {item.sqlstate for item in refused} == {"23514"}
    assert refused[0].as_left["object"] == "row 0" and "written_number_check" in refused[0].as_left["reason"]
    written = [row[0] for row in target_db.execute("SELECT number FROM written ORDER BY ctid")]
    assert written == [number for number in range(COUNT) if number not in REFUSED]
    assert len(session.log.entries) == COUNT - len(REFUSED)


def test_what_a_failed_transaction_of_the_caller_held_is_gone(session: Session, target_db: Database) -> None:
    class Undone(Exception):
        pass

    with pytest.raises(Undone), session.transaction():
        attempts.carry_out(session, inserts(REFUSED))
        raise Undone
    assert target_db.execute("SELECT count(*) FROM written") == [(0,)]


def test_a_secret_statement_is_remembered_as_it_is_shown(session: Session, target_db: Database) -> None:
    secret = Attempt("a row", "INSERT INTO public.written VALUES (4711)", "INSERT INTO public.written VALUES (***)")
    assert attempts.carry_out(session, [secret]) == []
    assert session.log.entries == ["target: INSERT INTO public.written VALUES (***)"]


def test_a_lock_that_is_not_to_be_had_and_a_lost_connection_are_no_refusals(
    session: Session, target_db: Database
) -> None:
    session.connection.execute("SET lock_timeout = '100ms'")
    with psycopg.connect(target_db.dsn) as other:
        other.execute("LOCK TABLE written")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            attempts.carry_out(session, inserts(()))
        other.execute("SELECT pg_terminate_backend(%s)", [session.connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            attempts.carry_out(session, inserts(()))


def raising(sqlstate: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'invalid value in s3cret' USING ERRCODE = '{sqlstate}'; END $$"


REFUSALS = "0A000 0L000 0LP01 0P000 09000 22023 23503 25001 28000 2BP01 2B000 38000 42501 54001 55000 55006 HV00B HV00D P0001 XX000"
NO_REFUSALS = "08006 25006 40001 40P01 53100 53200 55P03 57014 58030 XX001 XX002"


@pytest.mark.parametrize("sqlstate", REFUSALS.split())
@pytest.mark.parametrize("is_inside", (False, True), ids=("on its own", "in a transaction of the caller"))
def test_whatever_a_server_says_about_a_statement_is_a_refusal(
    session: Session, target_db: Database, sqlstate: str, is_inside: bool
) -> None:
    wanted = [*inserts(())[:2], Attempt("hooked", raising(sqlstate)), *inserts(())[2:4]]
    if is_inside:
        with session.transaction():
            refused = attempts.carry_out(session, wanted)
    else:
        refused = attempts.carry_out(session, wanted)
    assert [(item.attempt.what, item.sqlstate, item.reason) for item in refused] == [
        ("hooked", sqlstate, "invalid value in s3cret")
    ]
    assert target_db.execute("SELECT number FROM written ORDER BY ctid") == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize("sqlstate", NO_REFUSALS.split())
def test_what_is_no_word_about_the_statement_is_raised(session: Session, target_db: Database, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as caught, session.transaction():
        attempts.carry_out(session, [*inserts(())[:2], Attempt("hooked", raising(sqlstate))])
    assert caught.value.sqlstate == sqlstate
    assert target_db.execute("SELECT count(*) FROM written") == [(0,)]


def test_what_a_server_says_about_a_secret_statement_is_not_repeated(session: Session) -> None:
    (refused,) = attempts.carry_out(session, [Attempt("a mapping", raising("HV00B"), "DO ***")])
    assert refused.as_left == {"object": "a mapping", "reason": "the target refused it (SQLSTATE HV00B)"}
    with pytest.raises(MigrationError) as caught:
        attempts.carry_out(session, [Attempt("a mapping", raising("57014"), "DO ***")])
    told = f"{caught.value.message} {caught.value.remedy} {caught.value.details}"
    assert "SQLSTATE 57014" in told and "a mapping" in told and "s3cret" not in told


@contextlib.contextmanager
def counted(session: Session, tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Count the round trips of a session: how often the server says that it is ready."""
    path = tmp_path / "trace"
    with path.open("wb") as trace:
        session.connection.pgconn.trace(trace.fileno())
        yield lambda: path.read_text().count("ReadyForQuery")
        session.connection.pgconn.untrace()


@pytest.mark.parametrize("is_inside", (False, True), ids=("on its own", "in a transaction of the caller"))
def test_many_refusals_cost_a_few_round_trips_for_each_hundred(
    session: Session, target_db: Database, tmp_path: Path, is_inside: bool
) -> None:
    hundreds = 5
    statement = sql.SQL("SET LOCAL ROLE {};\nINSERT INTO public.written VALUES ({});\nRESET ROLE")
    name = 'Weird "Näme"; --$$ \\ \''
    target_db.execute(
        sql.SQL("CREATE ROLE {role}; GRANT INSERT ON written TO {role}").format(role=sql.Identifier(name))
    )
    wanted = [
        Attempt(f"row {number}", statement.format(sql.Identifier(name), sql.Literal(number if number == 150 else -1)))
        for number in range(100 * hundreds)
    ]
    transaction = session.transaction() if is_inside else contextlib.nullcontext()
    with transaction, counted(session, tmp_path) as round_trips:
        refused = attempts.carry_out(session, wanted, at_once=5000)
        assert round_trips() <= 3 * hundreds + 3
    assert [item.attempt.what for item in refused] == [item.what for item in wanted if item.what != "row 150"]
    assert target_db.execute("SELECT number FROM written") == [(150,)]
    assert session.value("SELECT current_user") == target_db.params["user"]


@pytest.mark.parametrize("take", ("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC", "DROP EXTENSION plpgsql"))
def test_without_plpgsql_the_refused_are_found_all_the_same(target_db: Database, take: str) -> None:
    target_db.execute(
        f"CREATE ROLE plain LOGIN PASSWORD 'p'; CREATE TABLE written (number int CHECK (number >= 0)); {take}"
    )
    target_db.execute("GRANT INSERT ON written TO plain")
    params = {**target_db.params, "user": "plain", "password": "p"}
    with Session.open(Endpoint.from_options("target", params), StatementLog(Redactor([])), purpose="t") as opened:
        refused = attempts.carry_out(opened, inserts(REFUSED))
    assert [item.attempt.what for item in refused] == [f"row {number}" for number in REFUSED]
    assert target_db.execute("SELECT count(*) FROM written") == [(COUNT - len(REFUSED),)]


def test_what_may_not_run_inside_a_function_is_tried_by_itself(session: Session, target_db: Database) -> None:
    wanted = [Attempt("bad", "SELECT 1 / 0"), Attempt("made", "VACUUM public.written"), *inserts((1,))[:2]]
    refused = attempts.carry_out(session, wanted)
    assert [item.attempt.what for item in refused] == ["bad", "row 1"]
