# SPDX-License-Identifier: GPL-3.0-or-later
"""verify beyond rows: large objects, sequences once writes have stopped, materialized views, what replication met."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.result import Result
from ansible_collections.seren.migrator.plugins.module_utils.verification import large_objects
from tests.integration.verify_pair import ReplicatedPair, until
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.verified import assert_verified

H = '"Weird ""Näme""; --"'
NAME = 'Weird "Näme"; --'
ROLE, PASSWORD = "plain_reader", "secret-of-plain-reader"


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    made.both("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO public.t SELECT n, 'v' || n FROM generate_series(1, 50) AS n")
    return made


def same_rows(pair: ReplicatedPair) -> None:
    pair.target.execute("INSERT INTO public.t SELECT n, 'v' || n FROM generate_series(1, 50) AS n")


def record(**options: Any) -> Any:
    """What the ledger would say."""
    return SimpleNamespace(
        id="an id",
        relations=[],
        options={"foreign_tables": "create", **options},
        left=[],
        state="synced",
        live_streams=(),
    )


# --- large objects ---------------------------------------------------------------------------------------------

SIZES = (0, 1, 2047, 2048, 2049, 4096, 65535, 65536, 65537, 200_000)
FILL = "SELECT lo_from_bytea(%s, convert_to(left(repeat(md5(%s::text), 1 + %s / 32), %s), 'UTF8'))"
FIRST = 4294967280  # the last OIDs there are


@pytest.fixture
def objects(pair: ReplicatedPair) -> ReplicatedPair:
    """The same large objects on both sides; some lie differently in their pages."""
    same_rows(pair)
    for database in (pair.source, pair.target):
        for number, size in enumerate(SIZES):
            database.execute(FILL, [FIRST + number, number, size, size])
    # A hole on the source, zeros on the target, as the copy writes them; and zeros at the end.
    pair.source.execute("SELECT lo_create(900)")
    pair.source.execute("SELECT lo_put(900, 10000, 'end')")
    pair.target.execute("SELECT lo_from_bytea(900, decode(repeat('00', 10000), 'hex') || 'end')")
    pair.both("SELECT lo_from_bytea(901, decode(repeat('00', 5000), 'hex'))")
    return pair


@pytest.fixture(params=["pages", "functions"])
def users(request: pytest.FixtureRequest, objects: ReplicatedPair) -> Any:
    """None for a superuser, who reads the pages; parameters of a plain role, which may read each object."""
    return None if request.param == "pages" else plain_readers(objects)


def plain_readers(objects: ReplicatedPair) -> Any:
    found = []
    for database in (objects.source, objects.target):
        database.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
        database.execute(
            "DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP"
            f" EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO {ROLE}', o); END LOOP; END $$"
        )
        found.append({**database.params, "user": ROLE, "password": PASSWORD})
    return tuple(found)


def kinds(result: Result) -> dict[int, str]:
    return {item["oid"]: item["kind"] for item in result.data["large_objects"]["differences"]}


def test_equal_large_objects_are_proven_equal_however_they_lie(objects: ReplicatedPair, users: Any) -> None:
    result = objects.verify(user=users)
    assert_verified(result)
    found = result.data["large_objects"]
    count, size = len(SIZES) + 2, sum(SIZES) + 10003 + 5000
    assert (found["status"], found["source_count"], found["target_count"]) == ("verified", count, count)
    assert (found["source_bytes"], found["target_bytes"]) == (size, size)
    assert result.data["certificate"]["large_objects"]["status"] == "verified"


DAMAGE = {
    "a byte": ("SELECT lo_put(4294967289, 199999, 'Z')", {FIRST + 9: "changed"}),
    "a byte in the middle of pages": ("SELECT lo_put(4294967289, 100000, 'Z')", {FIRST + 9: "changed"}),
    "a byte in a hole": ("SELECT lo_put(900, 3000, 'x')", {900: "changed"}),
    "a zero at the end": ("SELECT lo_put(901, 5000, '\\x00')", {901: "changed"}),
    "zeros cut off": (
        "SELECT lo_unlink(901); SELECT lo_from_bytea(901, decode(repeat('00', 4999), 'hex'))",
        {901: "changed"},
    ),
    "missing": ("SELECT lo_unlink(4294967280)", {FIRST: "missing"}),
    "extra": ("SELECT lo_create(77)", {77: "extra"}),
    "contents of two swapped": (
        "SELECT lo_put(4294967286, 0, lo_get(4294967287, 0, 65535)), lo_put(4294967287, 0, lo_get(4294967286))",
        {FIRST + 6: "changed", FIRST + 7: "changed"},
    ),
}


@pytest.mark.parametrize("what", list(DAMAGE))
def test_every_damage_of_a_large_object_is_found_and_named(objects: ReplicatedPair, users: Any, what: str) -> None:
    statement, expected = DAMAGE[what]
    if users and what == "extra":
        statement += f"; GRANT SELECT ON LARGE OBJECT 77 TO {ROLE}"
    if users and what == "zeros cut off":
        statement += f"; GRANT SELECT ON LARGE OBJECT 901 TO {ROLE}"
    objects.target.execute(statement)
    result = objects.verify(user=users)
    assert kinds(result) == expected
    assert (result.data["verified"], result.data["rows_verified"]) == (False, False)
    assert result.data["large_objects"]["status"] == "different"
    assert result.error is not None
    assert "large objects" in result.error.message


def test_pages_in_another_order_are_another_content(objects: ReplicatedPair) -> None:
    objects.source.execute("SELECT lo_from_bytea(50, convert_to(repeat('a', 2048) || repeat('b', 2048), 'UTF8'))")
    objects.target.execute("SELECT lo_from_bytea(50, convert_to(repeat('b', 2048) || repeat('a', 2048), 'UTF8'))")
    assert kinds(objects.verify()) == {50: "changed"}


def test_many_large_objects_are_narrowed_down_and_all_counted(
    objects: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.both(
        "SELECT count(lo_from_bytea(n, convert_to('object ' || n, 'UTF8'))) FROM generate_series(2000, 5999) n"
    )
    assert_verified(objects.verify())
    objects.target.execute("SELECT lo_put(2100, 0, 'X'), lo_put(5001, 0, 'X'), lo_unlink(3000)")
    assert kinds(objects.verify()) == {2100: "changed", 3000: "missing", 5001: "changed"}
    few = objects.verify(max_differences=1).data["large_objects"]
    assert (len(few["differences"]), few["differing"]) == (1, 3)
    monkeypatch.setattr(large_objects, "OBJECTS_NAMED", 600)
    cut = objects.verify().data["large_objects"]
    assert cut["reason"].startswith("at least 1 ")
    assert cut["status"] == "different"


def test_large_objects_that_may_not_be_read_are_never_verified(objects: ReplicatedPair) -> None:
    users = []
    for database in (objects.source, objects.target):
        database.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
        users.append({**database.params, "user": ROLE, "password": PASSWORD})
    result = objects.verify(user=(users[0], users[1]))
    found = result.data["large_objects"]
    assert (found["status"], result.data["verified"]) == ("unverified", False)
    assert found["reason"].startswith("no privilege: permission denied for large object")


@pytest.mark.parametrize(
    ("policy", "status", "verified"),
    [("copy", "different", False), ("fail", "different", False), ("skip", "skipped", True)],
)
def test_what_the_migration_was_told_decides_what_is_expected(
    objects: ReplicatedPair, policy: str, status: str, verified: bool
) -> None:
    objects.source.execute("SELECT lo_create(60)")
    result = objects.verify(record=record(large_objects=policy))
    assert (result.data["large_objects"]["status"], result.data["verified"]) == (status, verified)
    objects.source.execute("SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata")
    result = objects.verify(record=record(large_objects=policy))
    assert result.data["verified"] is (policy != "copy")  # what the target has by itself is nobody's loss
    assert_verified(objects.verify(record=record(large_objects=policy), tables=("public.t",)))


@pytest.mark.slow
@pytest.mark.parametrize(("older", "newer"), [(12, 14), (12, 18), (13, 17), (14, 15), (16, 18)])
def test_between_any_two_majors(make_cluster: Callable[..., Cluster], older: int, newer: int) -> None:
    pair = ReplicatedPair(create_database(make_cluster(older)), create_database(make_cluster(newer)))
    pair.both(f"CREATE TABLE public.t (id serial PRIMARY KEY); CREATE MATERIALIZED VIEW public.{H} AS SELECT 1 AS n")
    pair.both("SELECT lo_from_bytea(7, convert_to(repeat('some words', 20000), 'UTF8')), lo_create(8)")
    pair.source.execute("SELECT lo_create(9), lo_put(9, 5000, 'end')")
    pair.target.execute("SELECT lo_from_bytea(9, decode(repeat('00', 5000), 'hex') || 'end')")
    pair.replicate(marker=True)
    pair.source.execute("INSERT INTO public.t DEFAULT VALUES")
    readers = plain_readers(pair)
    result = pair.verify()
    assert_verified(result)
    assert result.data["replication"]["status"] == "running"
    assert result.data["large_objects"]["source_count"] == 3
    assert pair.verify(user=readers).data["large_objects"]["status"] == "verified"
    result = pair.verify(mode="fenced")
    assert (result.data["mode"], sequences(result)["t_id_seq"]["status"]) == ("fenced", "different")
    pair.target.execute("SELECT lo_put(7, 150000, 'X')")
    assert kinds(pair.verify()) == kinds(pair.verify(user=readers)) == {7: "changed"}


# --- sequences -------------------------------------------------------------------------------------------------


def sequences(result: Result) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in result.data["sequences"]}


def test_once_writes_have_stopped_a_sequence_behind_is_a_difference_with_its_cure(pair: ReplicatedPair) -> None:
    pair.both(f"CREATE SCHEMA {H}; CREATE SEQUENCE {H}.{H} INCREMENT -3; CREATE SEQUENCE {H}.ahead")
    pair.replicate(marker=True)
    pair.source.execute(f"SELECT nextval('{H}.{H}') FROM generate_series(1, 4)")
    pair.target.execute(f"SELECT nextval('{H}.ahead')")
    result = pair.verify()
    assert_verified(result)
    assert sequences(result)[NAME]["status"] == "behind"
    assert "expected" in sequences(result)[NAME]["reason"]
    result = pair.verify(mode="fenced")
    assert result.data["mode"] == "fenced"
    assert (result.data["verified"], result.data["rows_verified"]) == (False, False)
    reason = sequences(result)[NAME]["reason"]
    assert sequences(result)[NAME]["status"] == "different"
    assert sequences(result)["ahead"]["status"] == "verified"
    pair.target.execute(reason[reason.index("SELECT ") :])
    assert_verified(pair.verify(mode="fenced"))
    assert pair.source.execute(f"SELECT nextval('{H}.{H}')") == pair.target.execute(f"SELECT nextval('{H}.{H}')")


def test_a_column_that_is_ahead_of_its_sequence_on_both_sides_is_told_and_does_not_count(pair: ReplicatedPair) -> None:
    pair.both(
        f"CREATE TABLE public.{H} (id serial PRIMARY KEY); CREATE TABLE public.d (id bigserial PRIMARY KEY);"
        "CREATE TABLE public.n (id numeric PRIMARY KEY); CREATE SEQUENCE public.of_n OWNED BY public.n.id;"
        "CREATE TABLE public.w (id text PRIMARY KEY); CREATE SEQUENCE public.of_w OWNED BY public.w.id"
    )
    pair.source.execute(f"INSERT INTO public.{H} SELECT generate_series(1, 9)")
    pair.source.execute("INSERT INTO public.n VALUES (5.5); INSERT INTO public.w VALUES ('word')")
    pair.replicate()
    result = pair.verify()
    assert_verified(result)
    found = {item["name"]: (item["status"], item["behind_column"]) for item in result.data["sequences"]}
    assert found == {
        'Weird "Näme"; --_id_seq': ("verified", True),
        "d_id_seq": ("verified", None),
        "of_n": ("verified", True),
        "of_w": ("verified", None),
    }
    (warning,) = result.data["warnings"]
    assert 'public.Weird "Näme"; --_id_seq' in warning
    assert "public.of_n" in warning


# --- materialized views ----------------------------------------------------------------------------------------


def test_a_materialized_view_that_does_not_answer_on_the_target_is_a_difference(pair: ReplicatedPair) -> None:
    same_rows(pair)
    pair.both(f"CREATE MATERIALIZED VIEW public.{H} AS SELECT count(*) AS n FROM public.t")
    pair.both("CREATE MATERIALIZED VIEW public.empty AS SELECT 1 AS n WITH NO DATA")
    result = pair.verify()
    assert_verified(result)
    views = result.data["materialized_views"]
    assert {view["name"]: view["source_populated"] for view in views} == {NAME: True, "empty": False}
    assert "REFRESH" in next(item["reason"] for item in result.data["left_out"] if item["name"] == NAME)
    pair.target.execute(f"REFRESH MATERIALIZED VIEW public.{H} WITH NO DATA")
    result = pair.verify()
    (view,) = (view for view in result.data["materialized_views"] if view["status"] == "different")
    assert (view["name"], result.data["verified"], result.data["rows_verified"]) == (NAME, False, True)
    assert result.error is not None
    assert f"materialized view public.{NAME}" in result.error.message
    told = record()
    told.left = [{"object": f"rows of materialized view public.{NAME}", "reason": "division by zero"}]
    result = pair.verify(record=told)
    assert_verified(result)
    assert {v["name"]: (v["status"], v["reason"]) for v in result.data["materialized_views"]}[NAME] == (
        "expected",
        "division by zero",
    )
    pair.target.execute(f"DROP MATERIALIZED VIEW public.{H}")
    assert pair.verify(record=told).data["verified"] is False


# --- replication -----------------------------------------------------------------------------------------------


def at(text: str, act: Callable[[], Any]) -> Callable[[Event], None]:
    """A progress function that does something once, at an event."""
    done: list[bool] = []

    def progress(event: Event) -> None:
        if event.text == text and not done:
            done.append(True)
            act()

    return progress


def test_replication_that_runs_is_said_to_run(pair: ReplicatedPair) -> None:
    stream = pair.replicate()
    result = pair.verify()
    assert_verified(result)
    found = result.data["replication"]
    assert (found["status"], found["warnings"]) == ("running", [])
    (line,) = found["streams"]
    assert (line["subscription"], line["enabled"], line["active"]) == (stream.subscription, True, True)
    assert (line["apply_errors"], line["new_errors"], line["wal_status"]) == (0, 0, "reserved")
    assert pair.verify(streams=[]).data["replication"]["status"] == "none"


@pytest.mark.parametrize("what", ["disabled", "dropped"])
def test_equal_rows_without_replication_are_not_verified(pair: ReplicatedPair, what: str) -> None:
    stream = pair.replicate()
    statement = f"ALTER SUBSCRIPTION {stream.subscription} DISABLE"
    if what == "dropped":
        statement = f"DROP SUBSCRIPTION {stream.subscription}"
    result = pair.verify(progress=at("comparing the large objects", lambda: pair.target.execute(statement)))
    assert (result.data["rows_verified"], result.data["verified"]) == (True, False)
    assert result.data["replication"]["status"] == "broken"
    assert stream.subscription in result.data["replication"]["reason"]
    assert result.error is not None
    assert stream.subscription in result.error.message


def test_an_error_of_apply_that_is_over_is_counted_and_does_not_hide_equality(pair: ReplicatedPair) -> None:
    pair.replicate()
    pair.target.execute("INSERT INTO public.t VALUES (100, 'mine')")
    pair.source.execute("INSERT INTO public.t VALUES (100, 'theirs')")
    counted = "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats"
    until(lambda: bool(pair.target.execute(counted)[0][0]), "an error of apply")
    pair.target.execute("DELETE FROM public.t WHERE id = 100")
    until(lambda: pair.target.execute("SELECT v FROM public.t WHERE id = 100") == [("theirs",)], "the row")
    result = pair.verify()
    assert_verified(result)
    assert result.data["replication"]["streams"][0]["apply_errors"] >= 1


@pytest.fixture
def newest(make_cluster: Callable[..., Cluster], source_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, create_database(make_cluster(18)))
    made.both("CREATE TABLE public.t (id integer PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO public.t SELECT n, 'v' || n FROM generate_series(1, 50) AS n")
    return made


def test_conflicts_are_named_with_their_counts_and_do_not_hide_equality(newest: ReplicatedPair) -> None:
    newest.replicate()
    newest.damage("DELETE FROM public.t WHERE id IN (7, 8)")
    newest.source.execute("UPDATE public.t SET v = 'new' WHERE id = 7; DELETE FROM public.t WHERE id = 8")
    counted = "SELECT confl_update_missing = 1 AND confl_delete_missing = 1 FROM pg_stat_subscription_stats"
    until(lambda: bool(newest.target.execute(counted)[0][0]), "the conflicts to be counted")
    result = newest.verify()
    assert (result.data["verified"], len(result.data["differences"])) == (False, 1)
    newest.damage("INSERT INTO public.t VALUES (7, 'new')")
    result = newest.verify()
    assert_verified(result)
    assert result.data["replication"]["streams"][0]["conflicts"]["update_missing"] == 1
    (warning,) = result.data["warnings"]
    assert "1 update_missing, 1 delete_missing" in warning
