# SPDX-License-Identifier: GPL-3.0-or-later
"""verify repairs what is proven to differ, and nothing else; what the application writes meanwhile is never lost."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.driver import psycopg
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.verification import repair
from ansible_collections.seren.migrator.plugins.module_utils.verification.certificate import is_sealed
from ansible_collections.seren.migrator.plugins.module_utils.verification.repair import (
    IN_THE_WAY,
    SOURCE_CHANGED,
    TARGET_CHANGED,
    Repairs,
)
from ansible_collections.seren.migrator.plugins.module_utils.verification.repair_script import comment
from tests.integration.test_verify_damage import CHANGES, prepared
from tests.integration.verify_pair import ReplicatedPair, status_of, until, writing
from tests.support.binaries import client_dir
from tests.support.compare import compare_data
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.preflight import H


def statuses(result: Any) -> dict[tuple[Any, ...], str]:
    """What became of each row: (table, kind, key...) and the reason, or the status without one."""
    return {
        (row["table"], row["kind"], *row["key"].values()): row["reason"] or row["status"]
        for row in result.data["repair"]["rows"]
    }


def are_equal(pair: ReplicatedPair) -> bool:
    """Compare every row with none of the product's code; nobody may be writing."""
    return not compare_data(pair.source.dsn, pair.target.dsn, sequences="ignore").differences


def at_repair(action: Callable[[], Any]) -> Callable[[Event], None]:
    """Do something once, when everything is compared and the repair is about to begin."""
    done: list[bool] = []

    def progress(event: Event) -> None:
        if event.text == "repairing" and not done:
            done.append(True)
            action()

    return progress


def small(source_db: Database, target_db: Database, more: str = "", identity: str = "DEFAULT") -> ReplicatedPair:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(f"CREATE TABLE public.t (id int PRIMARY KEY, v text, w text){more}")
    pair.both(f"ALTER TABLE public.t REPLICA IDENTITY {identity}")
    source_db.execute("INSERT INTO public.t SELECT i, 'v' || i, 'w' FROM generate_series(1, 200) AS i")
    pair.replicate()
    return pair


@pytest.mark.parametrize("strong", [False, True], ids=["", "strong"])
def test_every_type_family_comes_back_as_it_is_on_the_source(
    source_db: Database, target_db: Database, strong: bool
) -> None:
    pair = prepared(source_db, target_db)
    pair.damage(  # all but one make a difference: to these f8, 1e-16 is nothing
        *(f"UPDATE public.types SET {c} = {v} WHERE id = {n}" for n, (c, v) in enumerate(CHANGES.items(), start=1)),
        "DELETE FROM public.types WHERE id BETWEEN 100 AND 109",
        "INSERT INTO public.types (id) VALUES (900000), (900001)",
        "UPDATE public.types SET t = other, other = t WHERE id = 111",
        """INSERT INTO public."No ""Key" VALUES (3, 'y3'), (3, 'y3')""",
        """DELETE FROM public."No ""Key" WHERE ctid IN (SELECT ctid FROM public."No ""Key" WHERE x = 4 LIMIT 2)""",
        """UPDATE public."No ""Key" SET y = NULL WHERE ctid IN (SELECT ctid FROM public."No ""Key" WHERE x = 5 LIMIT 1)""",
        """UPDATE public.two_part SET "Wert %s" = 'x%s' WHERE b = 10""",
        "UPDATE public.parts SET t = 'x' WHERE id IN (5, 2000)",
        "DELETE FROM public.parts WHERE id IN (6, 2001)",
        "INSERT INTO public.parts VALUES (-6, 'x'), (12001, 'x')",
        "DELETE FROM ONLY public.parent WHERE id = 4",
        "UPDATE public.child SET extra = 0 WHERE id = 5",
        "DELETE FROM public.computed WHERE id = 4",
        "UPDATE public.computed SET w = 1 WHERE id = 5",
    )
    assert not are_equal(pair)
    result = pair.verify(repair=True, strong=strong)
    assert set(statuses(result).values()) == {"repaired"}, statuses(result)
    assert result.data["repair"]["repaired"] == len(CHANGES) - 1 + 10 + 2 + 1 + 4 + 1 + 6 + 2 + 2
    assert result.data["verified"] is True, result.error
    assert result.data["differences"] == []
    assert result.changed is True
    assert are_equal(pair)
    again = pair.verify(repair=True)
    assert again.changed is False
    assert again.data["repair"]["repaired"] == 0


VALUES = (
    'it\'s "so" \\ back\\slash \\n \n newline\ttab\r %s %% $1 {} :name ::x',
    "E'\\\\' -- ; DROP TABLE t; /*",
    "日本語 é \U0001f600 \u202e \x01\x7f",
    "",
    " blank ",
    "NULL",
)


def test_hostile_names_and_values_are_only_names_and_values(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(f"CREATE SCHEMA {H}")
    e = f'{H}."Weird ""Type""; --"'
    pair.both(f"CREATE TYPE {e} AS ENUM ('a', 'it''s')")
    pair.both(f"CREATE TYPE {H}.comp AS (a text, b {e}[])")
    pair.both(f"CREATE DOMAIN {H}.dom AS varchar(120) CHECK (VALUE <> 'never')")
    pair.both(
        f"CREATE TABLE {H}.{H} ({H} text PRIMARY KEY, t text, d {H}.dom, e {e}, c {H}.comp, a text[], j jsonb, b bytea,"
        ' bits bit(3), n numeric(30,10), ch char(5), "char" "char", f float8, ts timestamptz,'
        " id int GENERATED ALWAYS AS IDENTITY)"
    )
    insert = (
        f"INSERT INTO {H}.{H} VALUES (%s, %s, %s, 'it''s', row(%s, ARRAY['a', NULL]::{e}[])::{H}.comp, ARRAY[%s, NULL],"
        " jsonb_build_object('a', %s::text, 'b', %s::text), convert_to(%s, 'UTF8'), B'101', 1.10, 'ab', 'x', 'NaN', 'infinity')"
    )
    with source_db.connect() as connection:
        for value in VALUES:
            connection.execute(insert, [value] * 8)
    pair.replicate()
    columns = ("t", "d", "e", "c", "a", "j", "b", "bits", "n", "ch", '"char"', "f", "ts")
    pair.damage(f"UPDATE {H}.{H} SET {', '.join(f'{column} = NULL' for column in columns)}")
    result = pair.verify(repair=True)
    assert result.data["verified"] is True, statuses(result)
    assert are_equal(pair)
    pair.damage(f"DELETE FROM {H}.{H}", f"INSERT INTO {H}.{H} SELECT 'more ' || i FROM generate_series(1, 5) AS i")
    result = pair.verify(repair=True)
    assert result.data["verified"] is True, statuses(result)
    assert result.data["repair"]["repaired"] == len(VALUES) + 5
    assert are_equal(pair)


def test_check_mode_writes_nothing_and_says_what_would_be_repaired(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'secret value' WHERE id = 1", "DELETE FROM public.t WHERE id = 2")
    before = target_db.execute("SELECT ctid, xmin, * FROM public.t ORDER BY id")
    result = pair.verify(repair=True, check_mode=True)
    assert target_db.execute("SELECT ctid, xmin, * FROM public.t ORDER BY id") == before
    assert statuses(result) == {("t", "changed", "1"): "would_be_repaired", ("t", "missing", "2"): "would_be_repaired"}
    assert result.changed is True
    assert result.data["verified"] is False
    assert "secret value" not in json.dumps(result.data)


def test_nothing_is_repaired_without_a_proof(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1")
    result = pair.verify(repair=True, streams=(), max_rounds=2)  # unaligned: nobody waits for the target
    assert [item["key"] for item in result.data["differences"]] == [{"id": "1"}]
    assert result.data["repair"]["reason"] == "no stream to align with"
    assert result.data["repair"]["repaired"] == 0
    assert result.changed is False
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == [("x",)]


def test_more_rows_than_max_repairs_stay_and_are_said(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id <= 10")
    result = pair.verify(repair=True, max_repairs=4, max_differences=3)
    assert result.data["repair"]["repaired"] == 4
    assert target_db.execute("SELECT count(*) FROM public.t WHERE v = 'x'") == [(6,)]
    assert status_of(result, "t") == ("different", "rows that differ: 6")
    assert len(result.data["repair"]["rows"]) == 3
    assert result.data["repair"]["rows_truncated"] is True


# --- what the application writes meanwhile ---------------------------------------------------------------------


def test_a_value_that_the_application_gave_the_row_meanwhile_is_not_lost_though_it_is_what_was_seen_there(
    source_db: Database, target_db: Database
) -> None:
    """The target's damage reads 'B'; then the application writes 'B' as well. Its hash is the one that was seen."""
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'B' WHERE id = 1")

    def meanwhile() -> None:
        before = target_db.execute("SELECT xmin::text FROM public.t WHERE id = 1")
        source_db.execute("UPDATE public.t SET v = 'B' WHERE id = 1")
        until(
            lambda: target_db.execute("SELECT xmin::text FROM public.t WHERE id = 1") != before, "the change to arrive"
        )

    result = pair.verify(repair=True, progress=at_repair(meanwhile))
    assert statuses(result) == {("t", "changed", "1"): SOURCE_CHANGED}
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == [("B",)]
    assert pair.verify().data["verified"] is True


def test_the_target_s_row_is_left_alone_when_it_is_not_the_one_that_was_seen(
    source_db: Database, target_db: Database
) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1")
    # The same content, written by someone else.
    meanwhile = at_repair(lambda: pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1"))
    result = pair.verify(repair=True, progress=meanwhile)
    assert statuses(result) == {("t", "changed", "1"): TARGET_CHANGED}
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == [("x",)]


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("damage", ["UPDATE public.t SET v = 'x' WHERE id = 1", "DELETE FROM public.t WHERE id = 1"])
@pytest.mark.parametrize("change", ["UPDATE public.t SET v = 'new' WHERE id = 1", "DELETE FROM public.t WHERE id = 1"])
def test_a_change_between_writing_and_commit_is_noticed_and_the_repair_taken_back(
    source_db: Database,
    target_db: Database,
    monkeypatch: pytest.MonkeyPatch,
    identity: str,
    damage: str,
    change: str,
) -> None:
    pair = small(source_db, target_db, identity=identity)
    pair.damage(damage, "UPDATE public.t SET v = 'y' WHERE id = 7")
    original = Repairs._touched
    done: list[bool] = []

    def touched(self: Repairs, *arguments: Any) -> list[int]:
        if not done:
            done.append(True)
            source_db.execute(change)
        return original(self, *arguments)

    monkeypatch.setattr(Repairs, "_touched", touched)
    result = pair.verify(repair=True)
    assert statuses(result)["t", "changed", "7"] == "repaired"  # the rest of the batch is tried again
    first = [reason for key, reason in statuses(result).items() if key[-1] == "1"]
    assert first in ([SOURCE_CHANGED], ["repaired"])  # what the change left to repair was repaired in the next pass
    assert pair.verify(repair=True).data["verified"] is True
    assert are_equal(pair)
    expected = [("new",)] if "UPDATE" in change else []
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == expected


def before_execution(monkeypatch: pytest.MonkeyPatch, action: Callable[[], Any]) -> None:
    """Do something once, when both sides were read and the statements are about to be executed."""
    original = Repairs._execute
    done: list[bool] = []

    def execute(self: Repairs, *arguments: Any) -> dict[int, str]:
        if not done:
            done.append(True)
            action()
        return original(self, *arguments)

    monkeypatch.setattr(Repairs, "_execute", execute)


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("change", ["UPDATE public.t SET v = 'new' WHERE id = 1", "DELETE FROM public.t WHERE id = 1"])
def test_a_lost_row_whose_change_was_already_applied_to_nothing_does_not_come_back_as_it_was(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch, identity: str, change: str
) -> None:
    pair = small(source_db, target_db, identity=identity)
    pair.damage("DELETE FROM public.t WHERE id = 1")
    past = f"SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = '{pair.streams[0].slot}'"

    def meanwhile() -> None:
        source_db.execute(change)
        lsn = source_db.execute("SELECT pg_current_wal_insert_lsn()")[0][0]
        until(lambda: source_db.execute(past, (lsn,)) == [(True,)], "the change to be applied, to no row")

    before_execution(monkeypatch, meanwhile)
    result = pair.verify(repair=True)
    assert statuses(result) == {("t", "missing", "1"): SOURCE_CHANGED}
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == []


def test_the_statement_itself_leaves_a_row_alone_that_is_not_the_one_that_was_seen(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1")
    before_execution(
        monkeypatch, lambda: pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1")
    )  # by content the same
    result = pair.verify(repair=True)
    assert statuses(result) == {("t", "changed", "1"): TARGET_CHANGED}
    assert target_db.execute("SELECT v FROM public.t WHERE id = 1") == [("x",)]


def test_large_values_go_in_batches_and_too_large_ones_are_said(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "BATCH_BYTES", 1000)
    monkeypatch.setattr(repair, "MAX_ROW_BYTES", 5000)
    pair = small(source_db, target_db)
    source_db.execute("UPDATE public.t SET w = repeat('w', id * 50)")
    pair.verify()
    pair.damage(
        "DELETE FROM public.t WHERE id IN (3, 15, 16, 17, 150)",
        "UPDATE public.t SET w = 'x' WHERE id IN (18, 151)",
        "UPDATE public.t SET v = 'x' WHERE id = 152",  # its large column is not touched
    )
    result = pair.verify(repair=True)
    refused = [key[-1] for key, said in statuses(result).items() if "5000 is the limit" in said]
    assert refused == ["150", "151"]
    assert result.data["repair"]["repaired"] == 6
    assert sorted(item["key"]["id"] for item in result.data["differences"]) == ["150", "151"]


@pytest.mark.parametrize("damage", ["UPDATE public.t SET v = 'x' WHERE id = 1", "DELETE FROM public.t WHERE id = 1"])
def test_a_change_right_after_the_source_was_asked_waits_for_the_repair_and_follows_it(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    pair = small(source_db, target_db)
    pair.damage(damage)
    original = Repairs._touched
    waiters = "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'logical replication%' AND wait_event_type = 'Lock'"

    def touched(self: Repairs, *arguments: Any) -> list[int]:
        answer = original(self, *arguments)
        source_db.execute("UPDATE public.t SET v = 'new' WHERE id = 1")
        # The apply worker finds the row that is not committed yet, and waits for it.
        until(lambda: target_db.execute(waiters) == [(1,)], "the apply worker to wait for us")
        return answer

    monkeypatch.setattr(Repairs, "_touched", touched)
    result = pair.verify(repair=True)
    assert set(statuses(result).values()) == {"repaired"}
    assert result.data["verified"] is True
    assert target_db.execute("SELECT v, w FROM public.t WHERE id = 1") == [("new", "w")]


def test_a_row_that_is_locked_on_the_target_is_not_waited_for(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id IN (1, 2, 3)")
    with target_db.connect(autocommit=False) as other:
        other.execute("SELECT FROM public.t WHERE id = 2 FOR UPDATE")
        result = pair.verify(repair=True)
    assert statuses(result) == {
        ("t", "changed", "1"): "repaired",
        ("t", "changed", "2"): "locked by another transaction on the target",
        ("t", "changed", "3"): "repaired",
    }


def test_a_locker_on_the_source_that_has_ended_is_no_change_and_one_that_has_not_may_be_one(
    source_db: Database, target_db: Database
) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id IN (1, 2)")
    source_db.execute("SELECT FROM public.t WHERE id = 1 FOR KEY SHARE")
    with source_db.connect(autocommit=False) as other:

        def meanwhile() -> None:
            other.execute("SELECT pg_current_xact_id() IS NULL FROM public.t WHERE id = 2 FOR UPDATE")

        result = pair.verify(repair=True, progress=at_repair(meanwhile))
        assert statuses(result)["t", "changed", "2"] == SOURCE_CHANGED
    result = pair.verify(repair=True)
    assert set(statuses(result).values()) <= {"repaired"}
    assert result.data["verified"] is True


# --- triggers, foreign keys, rights ----------------------------------------------------------------------------


def with_triggers(source_db: Database, target_db: Database) -> ReplicatedPair:
    pair = small(source_db, target_db)
    pair.both("CREATE TABLE public.child (id int PRIMARY KEY, t int REFERENCES public.t, n int)")
    pair.both("CREATE TABLE public.plain (id int PRIMARY KEY, v text)")
    pair.both("CREATE TABLE public.late (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    pair.both("CREATE TABLE public.always (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO public.child SELECT i, i, i FROM generate_series(1, 10) AS i")
    for table in ("plain", "late", "always"):
        source_db.execute(f"INSERT INTO public.{table} SELECT i, i FROM generate_series(1, 10) AS i")
    target_db.execute("CREATE TABLE public.fired (t text)")
    target_db.execute(
        "CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.fired VALUES (TG_TABLE_NAME); RETURN NULL; END $$"
    )
    for table in ("plain", "always"):
        target_db.execute(
            f"CREATE TRIGGER mirror AFTER INSERT OR UPDATE OR DELETE ON public.{table} FOR EACH ROW EXECUTE FUNCTION public.fire()"
        )
    source_db.execute("DROP PUBLICATION IF EXISTS never")
    stream = pair.streams[0]
    target_db.execute(f"ALTER SUBSCRIPTION {stream.subscription} REFRESH PUBLICATION")
    until(
        lambda: (
            target_db.execute("SELECT count(*), bool_and(srsubstate = 'r') FROM pg_subscription_rel") == [(5, True)]
        ),
        "the new tables",
    )
    target_db.execute("ALTER TABLE public.always ENABLE ALWAYS TRIGGER mirror; TRUNCATE public.fired")
    pair.damage(
        "DELETE FROM public.t WHERE id = 1",
        "UPDATE public.child SET t = 12345 WHERE id = 2",
        "UPDATE public.late SET u = NULL WHERE id = 3",
    )
    target_db.execute("ALTER TABLE public.always DISABLE TRIGGER mirror")
    pair.damage("UPDATE public.plain SET v = 'x' WHERE id = 4", "UPDATE public.always SET v = 'x' WHERE id = 5")
    target_db.execute("ALTER TABLE public.always ENABLE ALWAYS TRIGGER mirror")
    return pair


def test_with_the_right_triggers_and_foreign_keys_do_not_fire(source_db: Database, target_db: Database) -> None:
    pair = with_triggers(source_db, target_db)
    result = pair.verify(repair=True)
    said = statuses(result)
    assert said["t", "missing", "1"] == "repaired"
    assert said["child", "changed", "2"] == "repaired"
    assert said["plain", "changed", "4"] == "repaired"
    assert "trigger mirror fires for replicated rows too" in said["always", "changed", "5"]
    assert "deferrable constraint late_u_key can be checked late" in said["late", "changed", "3"]
    assert target_db.execute("SELECT * FROM public.fired") == []
    assert result.data["repair"]["as_replica"] is True
    assert [table["name"] for table in result.data["tables"] if table["status"] == "different"] == ["always", "late"]


def test_without_the_right_tables_with_triggers_or_foreign_keys_are_refused(
    source_db: Database, target_db: Database
) -> None:
    pair = with_triggers(source_db, target_db)
    pair.both("CREATE TABLE public.bare (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO public.bare VALUES (1, 'right')")
    target_db.execute(f"ALTER SUBSCRIPTION {pair.streams[0].subscription} REFRESH PUBLICATION")
    until(lambda: target_db.execute("SELECT count(*) FROM public.bare") == [(1,)], "the row")
    pair.damage("UPDATE public.bare SET v = 'wrong'")
    role = f"mender_{target_db.name}"
    for database in (source_db, target_db):
        database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        database.execute(f"GRANT pg_read_all_data, pg_monitor TO {role}")
    target_db.execute(f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    as_role = tuple({**side.params, "user": role, "password": "x"} for side in (source_db, target_db))
    try:
        until(
            lambda: pair.verify({"tables": ["bare"]}).data["tables"][0]["status"] == "different",
            "the table to be ready",
        )
        result = pair.verify(user=as_role, repair=True)  # type: ignore[arg-type]
        said = statuses(result)
        assert said["bare", "changed", "1"] == "repaired"
        for key in (("t", "missing", "1"), ("child", "changed", "2"), ("plain", "changed", "4")):
            assert "session_replication_role" in said[key], said
        assert "foreign key child_t_fkey would fire" in said["child", "changed", "2"]
        assert result.data["repair"]["as_replica"] is False
        assert target_db.execute("SELECT v FROM public.bare") == [("right",)]
        # From 15 on it can be granted.
        target_db.execute(f"GRANT SET ON PARAMETER session_replication_role TO {role}")
        result = pair.verify(user=as_role, repair=True)  # type: ignore[arg-type]
        assert statuses(result)["child", "changed", "2"] == "repaired"
        target_db.execute(f"REVOKE UPDATE ON public.bare FROM {role}")
        pair.damage("UPDATE public.bare SET v = 'wrong'")
        result = pair.verify({"tables": ["bare"]}, user=as_role, repair=True)  # type: ignore[arg-type]
        assert statuses(result)["bare", "changed", "1"] == "no privilege: permission denied for table bare"
    finally:
        for database in (source_db, target_db):
            if database is target_db:
                database.execute(f"REVOKE SET ON PARAMETER session_replication_role FROM {role}")
            database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_the_target_refuses_is_said_without_a_value(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db, more="; CREATE TABLE public.u (id int PRIMARY KEY, secret text)")
    source_db.execute("INSERT INTO public.u VALUES (1, 'hush'), (2, 'quiet'), (3, 'still')")
    target_db.execute(f"ALTER SUBSCRIPTION {pair.streams[0].subscription} REFRESH PUBLICATION")
    until(lambda: target_db.execute("SELECT count(*) FROM public.u") == [(3,)], "the rows")
    pair.damage(
        "UPDATE public.u SET secret = 'x' WHERE id = 1",
        "DELETE FROM public.u WHERE id IN (2, 3)",
        "ALTER TABLE public.u ADD CONSTRAINT no_hush CHECK (secret <> 'hush')",
        "INSERT INTO public.u VALUES (77, 'quiet')",
        "CREATE UNIQUE INDEX ON public.u (secret)",
    )
    # Its own row with that value is extra, and only a second look proves it: the way is free in the next pass.
    until(lambda: bool(pair.verify().data["differences"]), "the table to be ready")
    result = pair.verify(repair=True)
    said = statuses(result)
    assert said["u", "changed", "1"] == "the target refused it: check violation of no_hush (SQLSTATE 23514)"
    assert said["u", "missing", "3"] == "repaired"
    assert said["u", "missing", "2"] in ("repaired", IN_THE_WAY)
    assert target_db.execute("SELECT id, secret FROM public.u ORDER BY id") == [(1, "x"), (2, "quiet"), (3, "still")]
    for word in ("hush", "quiet", "still"):
        assert word not in json.dumps([result.data, str(result.error)]).replace("no_hush", "")


# --- beside the repair -----------------------------------------------------------------------------------------


def test_a_stream_back_to_the_source_does_not_send_what_was_repaired(source_db: Database, target_db: Database) -> None:
    pair = small(source_db, target_db)
    pair.damage("UPDATE public.t SET v = 'x' WHERE id = 1", "DELETE FROM public.t WHERE id = 2")
    slot = f"back_{target_db.name}"
    target_db.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')")
    try:
        result = pair.verify(repair=True)
        assert result.data["repair"]["with_origin"] is True
        seen = [
            [
                row[0]
                for row in target_db.execute(
                    f"SELECT data FROM pg_logical_slot_peek_changes('{slot}', NULL, NULL{only})"
                )
            ]
            for only in ("", ", 'only-local', 'true'")
        ]
        assert len([line for line in seen[0] if "public.t" in line]) == 2
        assert [line for line in seen[1] if "public.t" in line] == []
    finally:
        target_db.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    assert target_db.execute("SELECT roname FROM pg_replication_origin WHERE roname LIKE 'seren%'") == []


def test_the_script_repairs_when_it_is_run_by_hand_and_twice_does_nothing_more(
    source_db: Database, target_db: Database, tmp_path: Path
) -> None:
    pair = prepared(source_db, target_db)
    source_db.execute(
        "INSERT INTO public.two_part VALUES (%s, 1000, %s)", ("a'\n;DROP TABLE public.parts;\\! false", "\\")
    )
    pair.verify()
    pair.damage(
        *(f"UPDATE public.types SET {c} = {v} WHERE id = {n}" for n, (c, v) in enumerate(CHANGES.items(), start=1)),
        "DELETE FROM public.types WHERE id = 100",
        "INSERT INTO public.types (id) VALUES (900000)",
        "DELETE FROM public.two_part WHERE b = 1000",
        "DELETE FROM public.parts WHERE id = 6",
        """INSERT INTO public."No ""Key" VALUES (3, 'y3')""",
    )
    path = tmp_path / "repair.sql"
    result = pair.verify(repair_sql_path=str(path))
    assert result.changed is False
    assert not are_equal(pair)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert result.data["repair"]["sql_statements"] == len(CHANGES) - 1 + 5
    assert set(statuses(result).values()) == {"written"}
    # The row that someone else has changed since stays.
    pair.damage("UPDATE public.types SET other = 'of someone else' WHERE id = 3")
    psql = client_dir(17) / "psql"
    for _run in range(2):
        done = subprocess.run(
            [psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", target_db.dsn, "-f", path],
            capture_output=True,
            text=True,
            check=False,
            env={"LD_LIBRARY_PATH": str(psql.parent.parent / "lib")},
        )
        assert done.returncode == 0, done.stderr
    left = pair.verify()
    assert [item["key"] for item in left.data["differences"]] == [{"id": "3"}]
    assert left.data["differences"][0]["columns"] == ["t", "other"]


def test_names_cannot_leave_a_comment_of_the_script() -> None:
    for line_break in ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"):
        assert comment(f"a{line_break}DROP TABLE t") == "-- a DROP TABLE t"


def test_refused_says_nothing_of_the_row() -> None:
    assert "4711" not in repair.refused(psycopg.errors.InvalidTextRepresentation('invalid input syntax: "4711"'))


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_under_writers_every_damage_is_repaired_and_every_change_of_theirs_is_there_at_the_end(
    source_db: Database, target_db: Database, identity: str
) -> None:
    pair = small(source_db, target_db, identity=identity)
    pair.both("CREATE TABLE public.keyless (a int, b text)")
    pair.both("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
    source_db.execute("INSERT INTO public.keyless SELECT i % 20, 'b' FROM generate_series(1, 100) AS i")
    target_db.execute(f"ALTER SUBSCRIPTION {pair.streams[0].subscription} REFRESH PUBLICATION")
    until(lambda: target_db.execute("SELECT count(*) FROM public.keyless") == [(100,)], "the rows")
    random = Random(7)

    def hot(connection: psycopg.Connection[Any], number: int) -> None:
        # The values of the damage come from the application too, so that a row may read alike before and after.
        connection.execute(f"UPDATE public.t SET v = 'x', w = '{number}' WHERE id = {number % 40 + 1}")

    def moving(connection: psycopg.Connection[Any], number: int) -> None:
        key = number % 40 + 1
        connection.execute(f"DELETE FROM public.t WHERE id = {key}")
        connection.execute(f"INSERT INTO public.t VALUES ({key}, 'v{number % 3}', 'again')")
        connection.execute(
            "DELETE FROM public.keyless WHERE ctid IN (SELECT ctid FROM public.keyless WHERE a = 3 LIMIT 1)"
        )
        connection.execute("INSERT INTO public.keyless VALUES (3, 'b')")

    with writing(source_db, hot, moving):
        for number in range(6):
            keys = ", ".join(str(key) for key in random.sample(range(1, 201), 20))
            pair.damage(
                f"UPDATE public.t SET v = 'x' WHERE id IN ({keys})",
                f"DELETE FROM public.t WHERE id IN ({', '.join(str(random.randint(41, 200)) for _key in range(5))})",
                f"INSERT INTO public.t VALUES ({1000 + number}, 'extra')",
                "DELETE FROM public.keyless WHERE ctid IN (SELECT ctid FROM public.keyless WHERE a = 5 LIMIT 1)",
                "INSERT INTO public.keyless VALUES (6, 'b')",
            )
            result = pair.verify(repair=True)
            assert result.data["repair"]["repaired"] > 0
    pair.verify(repair=True)
    assert pair.verify(repair=True).data["verified"] is True
    assert are_equal(pair)
    errors = "SELECT sum(apply_error_count) FROM pg_stat_subscription_stats WHERE subname = %s"
    assert target_db.execute(errors, (pair.streams[0].subscription,)) == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 14), (13, 18), (18, 16)])
def test_repair_between_other_majors(make_cluster: Callable[..., Any], source_major: int, target_major: int) -> None:
    source, target = (create_database(make_cluster(major)) for major in (source_major, target_major))
    test_every_type_family_comes_back_as_it_is_on_the_source(source, target, strong=False)


@pytest.mark.parametrize("mode", ["gate", "live", "fenced"])
def test_repair_in_every_mode_of_a_migration(source_db: Database, target_db: Database, mode: str) -> None:
    source_db.execute("CREATE TABLE public.t (id int PRIMARY KEY, v text); CREATE TABLE public.keyless (v text)")
    source_db.execute("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
    for table in ("t (id, v) SELECT i,", "keyless (v) SELECT"):
        source_db.execute(f"INSERT INTO public.{table} 'v' || i FROM generate_series(1, 100) AS i")
    case = Case(source_db, target_db)
    pair = ReplicatedPair(source_db, target_db)
    try:
        case.init()
        case.sync()
        case.wait_until_in_sync()
        pair.damage(
            "DELETE FROM public.t WHERE id = 1",
            "UPDATE public.t SET v = 'x' WHERE id = 2",
            "INSERT INTO public.t VALUES (1000, 'x')",
            "DELETE FROM public.keyless WHERE v = 'v1'",
            "INSERT INTO public.keyless VALUES ('v2'), ('more')",
        )
        result = case.verify(mode=mode, repair=True)
        assert result.data["mode"] == mode, result.data["mode_reason"]
        assert result.data["repair"]["repaired"] == 6
        assert result.data["verified"] is True, result.error
        assert len(result.data["epochs"]) >= 2
        assert is_sealed(result.data["certificate"])
        assert result.data["certificate"]["verified"] is True
        again = case.verify(mode=mode, repair=True)
        assert again.changed is False
        assert again.data["verified"] is True
    finally:
        case.cleanup(force=True)
