# SPDX-License-Identifier: GPL-3.0-or-later
"""verify fails closed: what could not be compared, or not be aligned, is never called verified."""

from __future__ import annotations

import functools
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify, verify_run
from ansible_collections.seren.migrator.plugins.module_utils.phases.verify import VerifyOptions
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event, silent
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until
from tests.support.fixtures import Database
from tests.support.verified import assert_verified

ROLE = "reader"
PASSWORD = "secret-of-reader"


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    made.both(
        "CREATE TABLE public.t (id serial PRIMARY KEY, v text); CREATE TABLE public.other (id integer PRIMARY KEY)"
    )
    source_db.execute("INSERT INTO public.t (v) SELECT 'v' || i FROM generate_series(1, 500) AS i")
    return made


def same_rows_without_a_stream(pair: ReplicatedPair) -> None:
    pair.target.execute("INSERT INTO public.t (v) SELECT 'v' || i FROM generate_series(1, 500) AS i")


def as_reader(pair: ReplicatedPair) -> tuple[dict[str, Any], dict[str, Any]]:
    for database in (pair.source, pair.target):
        database.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
        database.execute(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {ROLE}")
    return tuple({**d.params, "user": ROLE, "password": PASSWORD} for d in (pair.source, pair.target))  # type: ignore[return-value]


def test_without_a_stream_equal_contents_are_verified_and_called_unaligned(pair: ReplicatedPair) -> None:
    same_rows_without_a_stream(pair)
    result = pair.verify()
    assert_verified(result)
    assert result.data["consistency"] == "unaligned"
    assert result.data["consistency_reason"] == "no stream to align with"


def test_without_a_stream_only_a_difference_that_stands_still_in_every_round_is_one(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    same_rows_without_a_stream(pair)
    pair.damage(
        "UPDATE public.t SET v = 'x' WHERE id = 3",
        "DELETE FROM public.t WHERE id = 4",
        "INSERT INTO public.other VALUES (1)",
    )
    result = pair.verify(max_rounds=3)
    assert found(result) == {
        ("t", "changed", ("3",), ("v",)),
        ("t", "missing", ("4",), ()),
        ("other", "extra", ("1",), ()),
    }
    assert all(item["rounds"] == 3 for item in result.data["differences"])

    def touch(event: Event) -> None:
        if event.text.startswith("round"):
            pair.source.execute("UPDATE public.t SET v = v WHERE id = 3")

    result = pair.verify(max_rounds=3, progress=touch)
    assert ("t", "changed", ("3",), ("v",)) not in found(result)
    result = pair.verify(max_rounds=1)
    assert result.data["differences"] == []
    assert status_of(result, "t") == ("unverified", "no stream to align with; rows: 2")


def test_a_target_that_does_not_catch_up_is_unverified_not_different(pair: ReplicatedPair) -> None:
    stream = pair.replicate()
    pair.target.execute(f"ALTER SUBSCRIPTION {stream.subscription} DISABLE")
    pair.source.execute("UPDATE public.t SET v = 'new' WHERE id = 1")
    started = time.monotonic()
    result = pair.verify(wait_timeout=1.0)
    assert time.monotonic() - started < 30
    status, reason = status_of(result, "t")
    assert status == "unverified"
    assert "has not confirmed" in reason
    assert stream.slot in reason
    assert result.data["consistency"] == "unaligned"
    assert result.data["differences"] == []
    # What is equal all the same is equal.
    assert status_of(result, "other") == ("verified", "")


def test_a_slot_that_is_gone_is_said_at_once(pair: ReplicatedPair) -> None:
    stream = pair.replicate()
    pair.target.execute(f"ALTER SUBSCRIPTION {stream.subscription} DISABLE")
    until(
        lambda: pair.source.execute("SELECT NOT active FROM pg_catalog.pg_replication_slots") == [(True,)],
        "the walsender",
    )
    pair.source.execute("SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots")
    pair.source.execute("UPDATE public.t SET v = 'new' WHERE id = 1")
    started = time.monotonic()
    result = pair.verify(wait_timeout=60.0)
    assert time.monotonic() - started < 30
    assert "does not exist" in status_of(result, "t")[1]
    pair.target.execute(f"ALTER SUBSCRIPTION {stream.subscription} SET (slot_name = NONE)")


def test_tables_that_cannot_be_compared_are_never_verified(pair: ReplicatedPair) -> None:
    pair.both(
        "CREATE TABLE public.missing_column (id integer PRIMARY KEY, v text, w text);"
        "CREATE TABLE public.mismatch (id integer PRIMARY KEY, v numeric);"
        "CREATE TABLE public.widened (id integer PRIMARY KEY, v varchar(10));"
        "CREATE TABLE public.gone (id integer PRIMARY KEY);"
        "CREATE TABLE public.uncarried (id integer PRIMARY KEY)"
    )
    pair.replicate(
        "FOR TABLE public.t, public.other, public.missing_column, public.mismatch, public.widened, public.gone"
    )
    pair.target.execute("ALTER TABLE public.missing_column DROP COLUMN w")
    pair.target.execute("ALTER TABLE public.mismatch ALTER COLUMN v TYPE double precision")
    pair.target.execute(
        "ALTER TABLE public.widened ALTER COLUMN id TYPE bigint, ALTER COLUMN v TYPE text, ADD COLUMN x text"
    )
    pair.target.execute("DROP TABLE public.gone")
    pair.source.execute("INSERT INTO public.widened VALUES (-5, 'a'), (7, '')")
    result = pair.verify()
    assert result.data["verified"] is False
    assert result.error is not None
    assert status_of(result, "missing_column") == ("unverified", "column w is missing on the target")
    assert status_of(result, "mismatch")[0] == "unverified"
    assert status_of(result, "mismatch")[1].startswith("type mismatch: column v")
    assert status_of(result, "gone") == ("different", "the table is missing on the target")
    assert status_of(result, "uncarried") == ("unverified", "no stream carries it")
    assert status_of(result, "widened") == ("verified", "")
    widened = next(table for table in result.data["tables"] if table["name"] == "widened")
    assert widened["not_compared"] == ["x"]
    assert pair.verify(fail_on_difference=False).error is None


def test_a_column_that_is_wider_on_the_target_is_compared_and_named(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    source_db.execute('CREATE TABLE public.t (id integer PRIMARY KEY, "s ""x" varchar(9), n integer)')
    target_db.execute('CREATE TABLE public.t (id bigint PRIMARY KEY, "s ""x" text, n integer)')
    source_db.execute("INSERT INTO public.t SELECT i, 'v' || i, -i FROM generate_series(1, 50) AS i")
    pair.replicate()
    result = pair.verify()
    assert_verified(result)
    assert result.data["tables"][0]["mapped"] == [
        {"column": "id", "source": "integer", "target": "bigint"},
        {"column": 's "x', "source": "character varying(9)", "target": "text"},
    ]
    pair.damage("UPDATE public.t SET id = id + (1::bigint << 32) WHERE id = 7")
    assert {item["kind"] for item in pair.verify().data["differences"]} == {"missing", "extra"}


def test_row_security_and_missing_privileges_are_unverified_not_skipped(pair: ReplicatedPair) -> None:
    pair.both("CREATE TABLE public.secret (id integer PRIMARY KEY)")
    same_rows_without_a_stream(pair)
    users = as_reader(pair)
    assert_verified(pair.verify(user=users))
    pair.target.execute(f"REVOKE SELECT ON public.secret FROM {ROLE}")
    pair.source.execute("ALTER TABLE public.other ENABLE ROW LEVEL SECURITY")
    pair.target.execute(f"REVOKE SELECT ON SEQUENCE public.t_id_seq FROM {ROLE}")
    result = pair.verify(user=users)
    assert result.data["verified"] is False
    assert status_of(result, "secret")[0] == "unverified"
    assert "42501" in status_of(result, "secret")[1]
    assert status_of(result, "other")[0] == "unverified"
    assert "row security" in status_of(result, "other")[1]
    assert status_of(result, "t") == ("verified", "")
    assert [s["status"] for s in result.data["sequences"]] == ["unverified"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_when_a_snapshot_is_lost_nothing_is_verified(pair: ReplicatedPair, side: str) -> None:
    pair.replicate()
    database = pair.source if side == "source" else pair.target

    def cut(event: Event) -> None:
        if event.text.startswith("round"):
            database.execute(
                "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity"
                " WHERE application_name = 'seren_migrator verify snapshot'"
            )

    result = pair.verify(progress=cut)
    assert result.data["verified"] is False
    assert {status_of(result, name)[0] for name in ("t", "other")} == {"error"}
    assert "interrupted" in result.data["consistency_reason"]


def test_a_connection_that_is_cut_while_it_reads_is_an_error(pair: ReplicatedPair) -> None:
    pair.replicate()
    slow = (
        "FROM pg_catalog.pg_stat_activity"
        " WHERE application_name = 'seren_migrator verify reader' AND wait_event = 'PgSleep'"
    )

    def cut() -> None:
        for _time in range(2):  # small tables are read together; after an error each by itself
            until(lambda: pair.source.execute(f"SELECT count(*) {slow}") == [(1,)], "the slow query")
            pair.source.execute(f"SELECT pg_catalog.pg_terminate_backend(pid) {slow}")

    thread = threading.Thread(target=cut)
    thread.start()
    result = pair.verify({"rows": {"public.t": "(SELECT pg_catalog.pg_sleep(30)) IS NOT NULL"}})
    thread.join()
    assert result.data["verified"] is False
    assert status_of(result, "t")[0] == "error"
    assert status_of(result, "other") == ("verified", "")


def test_when_told_to_stop_the_queries_are_cancelled(pair: ReplicatedPair) -> None:
    same_rows_without_a_stream(pair)

    class Told(BaseException):
        pass

    def stop(event: Event) -> None:
        if "tables_done" in event.numbers:
            raise Told

    selection = {"rows": {"public.t": "(SELECT pg_catalog.pg_sleep(60)) IS NOT NULL"}}
    started = time.monotonic()
    with pytest.raises(Told):
        pair.verify(selection, progress=stop)
    assert time.monotonic() - started < 40
    ours = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name LIKE 'seren_migrator verify%'"
    until(lambda: pair.source.execute(ours) == [(0,)] and pair.target.execute(ours) == [(0,)], "the backends to end", 5)


def test_predicates_exclusions_unlogged_tables_and_other_partitions(source_db: Database, target_db: Database) -> None:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(
        "CREATE TABLE public.kept (id integer PRIMARY KEY, v text);"
        "CREATE TABLE public.audit (id integer PRIMARY KEY);"
        "CREATE UNLOGGED TABLE public.cache (id integer PRIMARY KEY);"
        "CREATE TABLE public.parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);"
    )
    source_db.execute("CREATE TABLE public.p_a PARTITION OF public.parts FOR VALUES FROM (0) TO (100)")
    source_db.execute("CREATE TABLE public.p_b PARTITION OF public.parts FOR VALUES FROM (100) TO (1000)")
    target_db.execute("CREATE TABLE public.p_all PARTITION OF public.parts DEFAULT")
    source_db.execute("INSERT INTO public.kept SELECT i, 'v' FROM generate_series(1, 100) AS i")
    source_db.execute("INSERT INTO public.audit VALUES (1); INSERT INTO public.cache VALUES (1)")
    source_db.execute("INSERT INTO public.parts SELECT i FROM generate_series(1, 500) AS i")
    pair.replicate("FOR TABLE public.kept WHERE (id <= 50), public.parts", "WITH (publish_via_partition_root = true)")
    selection = {"rows": {"public.kept": "id <= 50 -- a comment"}, "exclude_data": ["public.audit"]}
    result = pair.verify(selection)
    assert status_of(result, "kept") == ("verified", "")
    assert status_of(result, "parts") == ("verified", "")
    assert status_of(result, "cache")[0] == "unverified"
    assert "unlogged" in status_of(result, "cache")[1]
    assert {"kind": "table", "schema": "public", "name": "audit", "reason": "exclude_data"} in result.data["left_out"]
    relations = [SimpleNamespace(schema="public", name=name, kind="schema_only") for name in ("cache", "kept")]
    record = SimpleNamespace(id="1", relations=relations, options={"foreign_tables": "create"}, left=[], state="synced")
    skipping = pair.verify(selection, record=record)
    assert_verified(skipping)
    reason = {"kind": "table", "schema": "public", "name": "cache", "reason": "unlogged_tables: skip"}
    assert reason in skipping.data["left_out"]
    assert status_of(skipping, "kept") == ("verified", "")  # only unlogged tables are left out because of the ledger
    target_db.execute("INSERT INTO public.cache VALUES (1)")
    assert_verified(pair.verify(selection))
    pair.damage("UPDATE public.p_all SET id = -1 WHERE id = 400")
    assert found(pair.verify(selection)) == {("parts", "missing", ("400",), ()), ("parts", "extra", ("-1",), ())}
    with pytest.raises(MigrationError) as caught:
        pair.verify(tables=("public.typo",))
    assert caught.value.code == "nothing_selected"


def test_sequences_behind_are_expected_and_other_definitions_are_not(pair: ReplicatedPair) -> None:
    pair.both("CREATE SEQUENCE public.plain INCREMENT 5; CREATE SEQUENCE public.lost; CREATE SEQUENCE public.ahead")
    pair.replicate()
    pair.source.execute("SELECT nextval('public.plain')")
    pair.target.execute("SELECT nextval('public.ahead')")
    result = pair.verify()
    assert_verified(result)
    by_name = {item["name"]: item for item in result.data["sequences"]}
    assert by_name["plain"]["status"] == "behind"
    assert by_name["ahead"]["status"] == "verified"
    assert by_name["t_id_seq"]["behind_column"] is True
    pair.target.execute("ALTER SEQUENCE public.plain INCREMENT 1; DROP SEQUENCE public.lost")
    result = pair.verify()
    assert result.data["verified"] is False
    by_name = {item["name"]: item for item in result.data["sequences"]}
    assert by_name["plain"]["reason"] == "definition differs: increment"
    assert by_name["lost"]["status"] == "different"


def test_a_database_is_not_compared_with_itself(source_db: Database) -> None:
    source_db.execute("CREATE TABLE public.t (id integer PRIMARY KEY)")
    with pytest.raises(MigrationError) as caught:
        ReplicatedPair(source_db, source_db).verify()
    assert caught.value.code == "verify_failed"


def test_check_mode_says_unverified_where_nothing_exists_yet(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(target: dict[str, Any], **options: Any) -> Any:
        migration = Migration.from_options({"source": pair.source.params, "target": target})
        return verify.run(migration, VerifyOptions(**options), silent)

    result = run(pair.target.params, check_mode=True)
    assert (result.data["verified"], result.error) == (False, None)
    result = run({**pair.target.params, "dbname": "not_there"}, check_mode=True)
    assert (result.data["verified"], result.error) == (False, None)
    assert "does not exist" in result.data["consistency_reason"]
    with pytest.raises(MigrationError) as caught:
        run({**pair.target.params, "dbname": "not_there"})
    assert caught.value.code == "cannot_connect"
    with pytest.raises(MigrationError) as caught:
        run({**pair.target.params, "password": "wrong"}, check_mode=True)
    assert caught.value.code == "cannot_connect"
    # Outside of check mode, without a ledger: compared as it stands.
    same_rows_without_a_stream(pair)
    assert_verified(run(pair.target.params))


def test_hashes_without_the_servers_own_functions_find_the_same(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.replicate()
    actual = verify_run.conclude

    def pretend(*arguments: Any) -> Any:
        return functools.partial(type(actual(*arguments)), native=False)()

    monkeypatch.setattr(verify_run, "conclude", pretend)
    result = pair.verify()
    assert result.data["settings"]["hash"] == "sha256"
    assert_verified(result)
    pair.damage("UPDATE public.t SET v = v || ' ' WHERE id = 8")
    assert found(pair.verify()) == {("t", "changed", ("8",), ("v",))}


def test_statements_of_verify_change_nothing(pair: ReplicatedPair) -> None:
    pair.replicate()
    migration = Migration.from_options({"source": pair.source.params, "target": pair.target.params})
    verify.verify_streams(migration, VerifyOptions(), silent, pair.streams)
    assert migration.log.entries == []
