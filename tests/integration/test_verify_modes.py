# SPDX-License-Identifier: GPL-3.0-or-later
"""verify in each of its modes: the same damage is named, writes that go on are no fence, and the last rows in doubt settle."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from ansible_collections.seren.migrator.plugins.module_utils.verification import certificate, gate, snapshots
from tests.integration.test_verify_gate import replicated
from tests.integration.test_verify_live import bank, queueing
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until, writing
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case, at_step

WEIRD = '"Weird ""Näme""; --"'
LOCKED = """
SELECT count(*) FROM pg_catalog.pg_stat_activity
 WHERE application_name LIKE 'seren_migrator verify strict%' AND state = 'idle in transaction'
"""
SLOTS = "SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE 'seren_verify%'"

DAMAGE = (
    "UPDATE public.account SET note = 'x' WHERE id = 19001",
    "DELETE FROM public.account WHERE id = 19002",
    "INSERT INTO public.account VALUES (-7, 0, 'extra')",
    "DELETE FROM public.event WHERE id = 3",
    "INSERT INTO public.log VALUES (-1, 0, '2020-01-01')",
    "INSERT INTO public.flag VALUES ('b', false)",
)
NAMED = {
    ("account", "changed", ("19001",), ("note",)),
    ("account", "missing", ("19002",), ()),
    ("account", "extra", ("-7",), ()),
    ("event", "missing", ("3",), ()),
    ("log", "extra", (), ()),
    ("flag", "extra", (), ()),
}


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    return replicated(source_db, target_db, 2)


def reader(pair: ReplicatedPair) -> str:
    """A role that may read everything on the source, and nothing more."""
    role = f"reader_{pair.source.name}"
    password = sql.Literal(pair.source.params["password"])
    pair.source.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password))
    pair.source.execute(f"GRANT pg_read_all_data, pg_monitor TO {role}")
    return role


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["live", "gate", "fenced"])
def test_the_same_damage_is_named_in_every_mode(pair: ReplicatedPair, mode: str) -> None:
    pair.damage(*DAMAGE)
    result = pair.verify(mode=mode)
    assert found(result) == NAMED
    assert (result.data["mode"], result.data["mode_reason"]) == (mode, "")
    assert {table["name"]: table["status"] for table in result.data["tables"]} == {
        "account": "different",
        "branch": "verified",
        "event": "different",
        "flag": "different",
        "log": "different",
        "queue": "verified",
    }
    if mode == "fenced":
        assert result.data["rounds"] == 1


@pytest.mark.parametrize("mode", ["live", "gate"])
def test_the_same_damage_is_named_while_writers_go_on(pair: ReplicatedPair, mode: str) -> None:
    with writing(pair.source, bank, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        pair.source.execute("UPDATE public.event SET kind = 'old' WHERE id = 3")
        pair.verify()
        pair.damage(*(DAMAGE[number] for number in (2, 4)), f"CREATE TABLE public.{WEIRD} (a integer)")
        result = pair.verify(mode=mode)
        assert found(result) == {("account", "extra", ("-7",), ()), ("log", "extra", (), ())}
        assert result.data["mode"] == mode


# --- fenced ----------------------------------------------------------------------------------------------------


def test_a_fence_takes_one_round_and_leaves_nothing_behind(pair: ReplicatedPair) -> None:
    pair.damage("INSERT INTO public.log VALUES (-1, 0, '2020-01-01')")  # three rounds in any other mode
    assert pair.verify(mode="live").data["rounds"] == 3
    result = pair.verify(mode="fenced")
    assert result.data["rounds"] == 1
    assert found(result) == {("log", "extra", (), ())}
    assert pair.source.execute(SLOTS) == [(0,)]


def test_writes_that_go_on_are_no_fence(pair: ReplicatedPair) -> None:
    with writing(pair.source, bank, queueing) as counts:
        until(lambda: min(counts) > 20, "the writers")
        for _turn in range(3):
            result = pair.verify(mode="fenced")
            assert result.data["mode"] == "live"
            assert "on the source" in result.data["mode_reason"]
            assert result.data["verified"] is True, (result.error, result.data["differences"])
            assert all(epoch["mode"] == "live" for epoch in result.data["epochs"])


def test_a_slot_that_proves_nothing_any_more_is_gone_before_the_next_round(pair: ReplicatedPair) -> None:
    seen: list[Any] = []

    def progress(event: Any) -> None:
        if event.text == "round 1":
            seen.append(pair.source.execute(SLOTS))
            pair.source.execute("INSERT INTO public.log VALUES (1, 1)")  # so that the extra row stays in doubt
        if event.text == "round 2":
            seen.append(pair.source.execute(SLOTS))

    pair.damage("INSERT INTO public.log VALUES (-1, 0, '2020-01-01')")
    result = pair.verify(mode="fenced", progress=progress)
    assert found(result) == {("log", "extra", (), ())}
    assert seen == [[(1,)], [(0,)]]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE public.account SET note = 'meanwhile' WHERE id = 5", "public.account"),
        ("DELETE FROM public.account WHERE id = 5", "public.account"),
        ("INSERT INTO public.event VALUES (-1, 'new')", "public.event_"),
        ("TRUNCATE public.account, public.flag", " and of 1 more tables"),
    ],
)
def test_one_write_during_the_comparison_is_noticed(pair: ReplicatedPair, statement: str, named: str) -> None:
    write = at_step("round 1", lambda: pair.source.execute(statement))
    result = pair.verify(mode="fenced", progress=write)
    assert result.data["mode"] == "live"
    assert named in result.data["mode_reason"], result.data["mode_reason"]
    assert "were changed on the source while it was compared" in result.data["mode_reason"]
    assert result.data["differences"] == []


def test_an_extra_row_is_not_damage_when_its_table_was_written_in_the_window(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that comes between the two snapshots looks extra once; nobody may conclude from a fence that there is none."""
    inserted: list[bool] = []
    waited = snapshots.wait_for

    def then_write(*arguments: Any, may_nudge: bool, **options: Any) -> str:
        reason = waited(*arguments, may_nudge=may_nudge, **options)
        if not inserted:
            inserted.append(True)
            pair.source.execute("INSERT INTO public.queue VALUES (99, 'in the window')")
            until(lambda: pair.target.execute("SELECT 1 FROM public.queue WHERE id = 99") == [(1,)], "the row")
        return reason

    monkeypatch.setattr(snapshots, "wait_for", then_write)
    pair.damage("INSERT INTO public.log VALUES (-1, 0, '2020-01-01')")
    result = pair.verify(mode="fenced")
    assert inserted
    assert found(result) == {("log", "extra", (), ())}
    assert status_of(result, "queue") == ("verified", "")
    assert result.data["mode"] == "live"
    assert "public.queue" in result.data["mode_reason"]


def test_a_transaction_that_has_written_and_not_ended_is_no_fence(pair: ReplicatedPair) -> None:
    with pair.source.connect(autocommit=False) as writer:
        writer.execute("UPDATE public.account SET note = 'open' WHERE id = 1")
        result = pair.verify(mode="fenced")
    assert result.data["mode"] == "live"
    assert "is changing public.account on the source" in result.data["mode_reason"]
    assert result.data["verified"] is True, result.error
    # The same when it begins while we compare.
    with pair.source.connect(autocommit=False) as writer:
        begin = at_step("round 1", lambda: writer.execute("DELETE FROM public.account WHERE id = 1"))
        result = pair.verify(mode="fenced", progress=begin)
    assert result.data["mode"] == "live"
    assert "is changing public.account on the source" in result.data["mode_reason"]
    # A reader, and a fence's own lock, are none.
    with pair.source.connect(autocommit=False) as reader:
        reader.execute("SELECT count(*) FROM public.account")
        reader.execute("LOCK TABLE public.account, public.branch IN EXCLUSIVE MODE")
        assert pair.verify(mode="fenced").data["mode"] == "fenced"


def test_other_databases_and_other_tables_do_not_matter_to_a_fence(
    pair: ReplicatedPair, source_cluster: Cluster
) -> None:
    other = create_database(source_cluster)
    other.execute("CREATE TABLE public.busy (n bigint)")

    def busy(connection: psycopg.Connection[Any], number: int) -> None:
        connection.execute("INSERT INTO public.busy VALUES (%s)", (number,))

    with writing(other, busy) as counts:
        until(lambda: min(counts) > 5, "the writer")
        result = pair.verify(mode="fenced")
    assert (result.data["mode"], result.data["mode_reason"]) == ("fenced", "")


def test_without_the_right_to_replicate_there_is_no_proof_of_a_fence(pair: ReplicatedPair) -> None:
    role = reader(pair)
    result = pair.verify(mode="fenced", user=({**pair.source.params, "user": role}, pair.target.params))
    assert result.data["verified"] is True, result.error
    assert result.data["mode"] == "live"
    assert "no temporary replication slot can be made on the source" in result.data["mode_reason"]


def test_check_mode_makes_no_slot(pair: ReplicatedPair) -> None:
    seen: list[Any] = []
    look = at_step("round 1", lambda: seen.append(pair.source.execute(SLOTS)))
    result = pair.verify(mode="fenced", check_mode=True, progress=look)
    assert seen == [[(0,)]]
    assert result.data["mode"] == "live"
    assert "check mode" in result.data["mode_reason"]


# --- strict ----------------------------------------------------------------------------------------------------


def hot(connection: psycopg.Connection[Any], number: int) -> None:
    """One row is changed by about a third of all transactions."""
    row = 1 if random.random() < 0.3 else random.randint(2, 20000)
    connection.execute("UPDATE public.account SET balance = balance + 1 WHERE id = %s", (row,))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the chase, which settles most hot rows by watching them, a hot row stays in doubt."""
    monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, chased=0))


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the source's snapshot and the marker lies the time in which a hot row is surely written again."""
    real = gate.export

    def slow(session: Any) -> Any:
        exported = real(session)
        if session.endpoint.side == "source":
            time.sleep(0.2)
        return exported

    monkeypatch.setattr(gate, "export", slow)


def test_strict_settles_a_row_that_is_written_all_the_time(
    pair: ReplicatedPair, impatient: None, far_away: None
) -> None:
    with writing(pair.source, hot, hot, hot) as counts:
        until(lambda: min(counts) > 50, "the writers")
        without = pair.verify(max_rounds=4)
        assert status_of(without, "account")[0] == "unverified"
        assert "in doubt" in status_of(without, "account")[1]
        for _turn in range(4):
            result = pair.verify(max_rounds=4, strict=True)
            assert result.data["verified"] is True, (result.error, result.data["epochs"])
            assert [epoch["rows_locked"] > 0 for epoch in result.data["epochs"]] == [False, False, False, True]
            assert pair.source.execute(LOCKED) == [(0,)]


@contextmanager
def spoilt_and_busy(pair: ReplicatedPair) -> Iterator[None]:
    """The row 77 is written all the time on the source, and each time spoilt on the target."""
    pair.target.execute(
        "CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF new.id = 77 THEN new.note := 'spoilt'; END IF; RETURN new; END$$"
    )
    pair.target.execute(
        "CREATE TRIGGER spoil BEFORE UPDATE ON public.account FOR EACH ROW EXECUTE FUNCTION public.spoil()"
    )
    pair.target.execute("ALTER TABLE public.account ENABLE ALWAYS TRIGGER spoil")

    def write(connection: psycopg.Connection[Any], number: int) -> None:
        connection.execute("UPDATE public.account SET balance = balance + 1 WHERE id = 77")

    with writing(pair.source, write):
        until(lambda: pair.target.execute("SELECT note FROM public.account WHERE id = 77") == [("spoilt",)], "apply")
        yield


def test_strict_finds_the_damage_of_a_hot_row(pair: ReplicatedPair, impatient: None, far_away: None) -> None:
    with spoilt_and_busy(pair):
        plain = pair.verify(max_rounds=3)
        hidden = pair.verify(max_rounds=3, hash_keys=True)
        result = pair.verify(max_rounds=3, strict=True)
    assert plain.data["differences"] == []
    assert [len(row["key"]["id"]) for row in hidden.data["in_doubt"]] == [64]
    assert "in doubt" in status_of(plain, "account")[1]
    assert plain.data["certificate"]["unverified"][0]["rows"] == 1
    assert plain.data["in_doubt"] == [{"schema": "public", "table": "account", "key": {"id": "77"}}]
    assert result.data["in_doubt"] == []
    assert found(result) == {("account", "changed", ("77",), ("note",))}
    assert result.data["epochs"][-1]["rows_locked"] == 1


def test_strict_without_the_right_to_update_says_so(pair: ReplicatedPair, impatient: None, far_away: None) -> None:
    role = reader(pair)
    for stream in pair.streams:
        marker = sql.Identifier("seren_migrator", stream.marker)
        pair.source.execute(sql.SQL("GRANT UPDATE ON {} TO {}").format(marker, sql.Identifier(role)))
    with spoilt_and_busy(pair):
        user = ({**pair.source.params, "user": role}, pair.target.params)
        result = pair.verify(max_rounds=2, strict=True, user=user)
    status, reason = status_of(result, "account")
    assert (status, result.data["mode"]) == ("unverified", "gate"), result.data["mode_reason"]
    assert "strict: it needs the privilege to update the table" in reason


def test_strict_gives_up_on_a_row_that_stays_locked(
    pair: ReplicatedPair, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_run, "_BETWEEN_ROUNDS_S", 0.2)
    pair.target.execute("UPDATE public.account SET note = 'x' WHERE id = 7")
    with pair.source.connect(autocommit=False) as writer:
        writer.execute("UPDATE public.account SET balance = 1 WHERE id = 7")  # its end is not known: in doubt
        result = pair.verify(max_rounds=2, strict=True)
    assert status_of(result, "account")[0] == "unverified"
    assert "strict: the row locks were not to be had in time" in status_of(result, "account")[1]
    assert result.data["differences"] == []


def test_strict_needs_the_gate_and_rounds(pair: ReplicatedPair) -> None:
    for options in ({"mode": "live"}, {"mode": "fenced"}, {"max_rounds": 1}):
        with pytest.raises(MigrationError) as caught:
            pair.verify(strict=True, **options)
        assert caught.value.code == "bad_option"
    with pytest.raises(MigrationError, match="mode is 'auto'"):
        pair.verify(mode="auto")


# --- the certificate -------------------------------------------------------------------------------------------


def test_the_certificate_names_both_sides_and_is_sealed(pair: ReplicatedPair) -> None:
    issued = pair.verify().data["certificate"]
    assert issued["verified"] is True
    assert issued["unverified"] == []
    assert issued["mode"] == "gate"
    for side, database in (("source", pair.source), ("target", pair.target)):
        system = database.execute("SELECT system_identifier::text FROM pg_control_system()")[0][0]
        assert str(issued[side]["system_identifier"]) == system
        assert issued[side]["database"] == database.name
        assert issued[side]["version"] // 10000 == database.cluster.major
    assert {slot["slot"] for slot in issued["slots"]} == {stream.slot for stream in pair.streams}
    assert all(slot["confirmed_flush_lsn"] for slot in issued["slots"])
    assert {(table["name"], table["source_rows"]) for table in issued["tables"]} >= {("account", 20000), ("branch", 2)}
    assert certificate.is_sealed(issued)
    assert not certificate.is_sealed({**issued, "verified": False})


def test_the_certificate_of_a_pair_that_differs_is_none_of_equality(pair: ReplicatedPair) -> None:
    pair.damage("DELETE FROM public.branch WHERE id = 2")
    issued = pair.verify().data["certificate"]
    assert issued["verified"] is False
    assert issued["differences"] == 1


# --- migrations ------------------------------------------------------------------------------------------------


def test_a_migration_is_verified_behind_its_own_markers(source_db: Database, target_db: Database) -> None:
    source_db.execute(f"CREATE TABLE public.{WEIRD} ({WEIRD} integer PRIMARY KEY, v text)")
    source_db.execute(f"INSERT INTO public.{WEIRD} SELECT i, 'v' || i FROM generate_series(1, 50) AS i")
    case = Case(source_db, target_db, {"name": WEIRD})
    case.init(streams=2)
    early = case.verify()
    assert early.data["mode"] == "live"
    assert "has no subscription on the target" in early.data["mode_reason"]
    case.sync()
    result = case.verify()
    assert result.data["verified"] is True, result.error
    assert (result.data["mode"], result.data["mode_reason"]) == ("gate", "")
    assert case.verify(mode="fenced").data["mode"] == "fenced"
    case.cleanup()
    assert case.verify().data["mode"] == "live"


def test_a_copy_that_is_not_finished_is_not_initialised(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE public.t (id integer PRIMARY KEY)")
    case = Case(source_db, target_db)

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        case.init(at_step("copying", stop))
    with pytest.raises(MigrationError) as caught:
        case.verify()
    assert caught.value.code == "not_initialised"
    planned = case.verify(check_mode=True)
    assert planned.error is None
    assert planned.data["verified"] is False
    assert "is not finished" in planned.data["consistency_reason"]
