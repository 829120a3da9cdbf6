# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be read to the end, on either side and for whatever reason, is never called verified; the rest is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.verify_pair import ReplicatedPair, found, status_of, until
from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database, create_database
from tests.support.migrations import at_step
from tests.support.sweep import sweep
from tests.support.verified import assert_verified

WEIRD = 'Weird ""Näme""; --'
TABLE = WEIRD.replace('""', '"')
OURS = "application_name LIKE 'seren_migrator verify%'"
# The other side and the other modes in the slow run.
SLOW = pytest.mark.slow
SIDES = ["target", pytest.param("source", marks=SLOW)]
MODES = ["gate", *(pytest.param(mode, marks=SLOW) for mode in ("live", "fenced"))]
END = f"SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE {OURS}"
CANCEL = END.replace("terminate", "cancel")


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    made = ReplicatedPair(source_db, target_db)
    fill(made)
    made.replicate(marker=True)
    return made


def fill(pair: ReplicatedPair) -> None:
    pair.both(
        f'CREATE TABLE public."{WEIRD}" (id integer PRIMARY KEY, v text);'
        "CREATE TABLE public.other (id integer PRIMARY KEY, v text);"
        "CREATE TABLE public.parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE public.low PARTITION OF public.parts FOR VALUES FROM (MINVALUE) TO (10);"
        "CREATE TABLE public.high PARTITION OF public.parts DEFAULT"
    )
    pair.source.execute(
        f"INSERT INTO public.\"{WEIRD}\" SELECT i, 'v' FROM generate_series(1, 50) AS i;"
        "INSERT INTO public.other SELECT i, 'v' FROM generate_series(1, 50) AS i;"
        "INSERT INTO public.parts SELECT i FROM generate_series(1, 50) AS i"
    )


def on(pair: ReplicatedPair, side: str) -> Database:
    return pair.source if side == "source" else pair.target


def as_reader(pair: ReplicatedPair, *grants: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A role that may read everything by name, on both sides, and nothing else."""
    users = []
    for database in (pair.source, pair.target):
        role, password = sql.Identifier('Rea"der'), sql.Literal(database.params["password"])
        database.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
        database.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        database.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role))
        users.append({**database.params, "user": 'Rea"der'})
    return users[0], users[1]


def only_the_rest_is_verified(result: Any, name: str, statuses: tuple[str, ...], said: str) -> None:
    status, reason = status_of(result, name)
    assert status in statuses, (status, reason)
    assert said in reason
    assert result.data["verified"] is False
    assert result.error is not None
    others = {table["name"]: table["status"] for table in result.data["tables"] if table["name"] != name}
    assert set(others.values()) == {"verified"}, others


# --- what is not allowed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("statement", "name", "said"),
    [
        pytest.param(f'REVOKE SELECT ON public."{WEIRD}" FROM "Rea""der"', TABLE, "no privilege", marks=SLOW),
        (f'REVOKE SELECT ON public."{WEIRD}" FROM "Rea""der"; GRANT SELECT (id) ON public."{WEIRD}" TO "Rea""der"', TABLE, "no privilege"),
        pytest.param(f'ALTER TABLE public."{WEIRD}" ENABLE ROW LEVEL SECURITY', TABLE, "row security", marks=SLOW),
        (
            f'ALTER TABLE public."{WEIRD}" ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON public."{WEIRD}" USING (id < 10)',
            TABLE,
            "row security",
        ),
        (f'ALTER TABLE public."{WEIRD}" OWNER TO "Rea""der", ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', TABLE, "row security"),
        ("ALTER TABLE public.low ENABLE ROW LEVEL SECURITY", "parts", "row security"),
        ('REVOKE SELECT ON public.high FROM "Rea""der"', "parts", "no privilege"),
    ],
    ids=["no right", "one column", "rls", "policy", "forced on its owner", "rls of a partition", "no right to a partition"],
)  # fmt: skip
def test_what_a_role_may_not_read_is_unverified(
    pair: ReplicatedPair, side: str, statement: str, name: str, said: str
) -> None:
    users = as_reader(pair)
    on(pair, side).execute(statement)
    result = pair.verify(mode="live", user=users)
    only_the_rest_is_verified(result, name, ("unverified",), said)


@pytest.mark.parametrize("side", SIDES)
def test_without_the_right_to_the_schema_nothing_is_verified(pair: ReplicatedPair, side: str) -> None:
    users = as_reader(pair)
    on(pair, side).execute('REVOKE USAGE ON SCHEMA public FROM PUBLIC, "Rea""der"')
    result = pair.verify(mode="live", user=users)
    assert result.data["verified"] is False
    assert {table["status"] for table in result.data["tables"]} == {"unverified"}


# --- what is not there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        f'DROP TABLE public."{WEIRD}"',
        pytest.param(f'ALTER TABLE public."{WEIRD}" RENAME TO renamed', marks=SLOW),
        pytest.param(f'ALTER TABLE public."{WEIRD}" SET SCHEMA elsewhere', marks=SLOW),
        f'DROP TABLE public."{WEIRD}"; CREATE VIEW public."{WEIRD}" AS SELECT * FROM public.other',
        pytest.param(f'DROP TABLE public."{WEIRD}"; CREATE MATERIALIZED VIEW public."{WEIRD}" AS SELECT 1', marks=SLOW),
    ],
    ids=["dropped", "renamed", "moved", "a view", "a materialized view"],
)
def test_a_table_that_is_not_on_the_target_is_different(pair: ReplicatedPair, statement: str) -> None:
    pair.target.execute("CREATE SCHEMA elsewhere;" + statement)
    only_the_rest_is_verified(pair.verify(), TABLE, ("different",), "missing on the target")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    "statement",
    [f'DROP TABLE public."{WEIRD}"', pytest.param(f'ALTER TABLE public."{WEIRD}" RENAME COLUMN v TO w', marks=SLOW)],
    ids=["table", "column"],
)
def test_what_goes_while_it_is_compared_is_never_verified(
    pair: ReplicatedPair, side: str, mode: str, statement: str
) -> None:
    result = pair.verify(mode=mode, progress=at_step("round 1", lambda: on(pair, side).execute(statement)))
    only_the_rest_is_verified(result, TABLE, ("error", "unverified"), "")


@pytest.mark.parametrize("side", SIDES)
def test_a_table_that_stays_locked_is_unverified(pair: ReplicatedPair, side: str) -> None:
    with on(pair, side).connect(autocommit=False) as holder:
        lock = f'LOCK TABLE public."{WEIRD}" IN ACCESS EXCLUSIVE MODE'
        result = pair.verify(
            mode="live",
            max_rounds=1,
            progress=at_step("round 1", lambda: holder.execute(lock)),  # type: ignore[arg-type]
        )
    only_the_rest_is_verified(result, TABLE, ("unverified",), "locked by another session")


@pytest.mark.parametrize("side", SIDES)
def test_a_table_whose_file_is_damaged_is_an_error(
    pair: ReplicatedPair, make_cluster: Callable[..., Cluster], side: str
) -> None:
    alone = create_database(make_cluster(17))
    damaged = ReplicatedPair(alone, pair.target) if side == "source" else ReplicatedPair(pair.source, alone)
    statements = f'CREATE TABLE public."{WEIRD}" (id integer PRIMARY KEY, v text);'
    alone.execute(statements + "CREATE TABLE public.other (id integer PRIMARY KEY, v text); CHECKPOINT")
    relation = f"'public.\"{WEIRD}\"'::regclass"
    for database in (damaged.source, damaged.target):
        database.execute(
            "INSERT INTO public.other SELECT i, 'v' FROM generate_series(1, 50) AS i ON CONFLICT DO NOTHING"
        )
        database.execute(
            f"INSERT INTO public.\"{WEIRD}\" SELECT i, 'v' FROM generate_series(1, 50) AS i ON CONFLICT DO NOTHING"
        )
    alone.execute("CHECKPOINT")
    [(folder, file)] = alone.execute(
        f"SELECT pg_catalog.current_setting('data_directory'), pg_catalog.pg_relation_filepath({relation})"
    )
    Path(folder, file).rename(Path(folder, f"{file}.gone"))
    tables = (TABLE, "other")
    result = damaged.verify(
        tables=[f"public.{name}" if name == "other" else "public.Weird*" for name in tables], max_rounds=2
    )
    only_the_rest_is_verified(result, TABLE, ("error",), "could not open file")


# --- connections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("how", ["ended", pytest.param("cancelled", marks=SLOW)])
def test_when_every_session_is_ended_or_cancelled_nothing_is_verified(
    pair: ReplicatedPair, side: str, mode: str, how: str
) -> None:
    """All of ours at one moment, while a table is being read."""
    database = on(pair, side)
    selection = {"rows": {"public.other": "(SELECT pg_catalog.pg_sleep(20)) IS NOT NULL"}}
    reading = f"SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE {OURS} AND wait_event = 'PgSleep'"

    is_over = threading.Event()

    def cut() -> None:
        until(lambda: pair.source.execute(reading) != [(0,)], "a reader")
        database.execute(END if how == "ended" else CANCEL)
        while not is_over.wait(0.1):  # what is asked for again is cancelled again, and what sleeps does not hold us up
            pair.source.execute(CANCEL)

    thread = threading.Thread(target=cut)
    thread.start()
    result = pair.verify(selection, mode=mode, max_rounds=2)
    is_over.set()
    thread.join()
    assert result.data["verified"] is False
    assert status_of(result, "other")[0] in ("error", "unverified")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", ["source", "target"])
def test_when_the_network_breaks_nothing_is_verified(pair: ReplicatedPair, side: str, mode: str) -> None:
    params = on(pair, side).params
    with FaultProxy(params["port"]) as proxy:
        through = {**params, "host": proxy.host, "port": proxy.port}
        user = (through, pair.target.params) if side == "source" else (pair.source.params, through)
        result = pair.verify(mode=mode, user=user, progress=at_step("round 1", proxy.reset_all))
        assert result.data["verified"] is False
        assert "verified" not in {table["status"] for table in result.data["tables"]}
        assert "interrupted" in result.data["consistency_reason"]
        # The same way again, unbroken.
        assert_verified(pair.verify(mode=mode, user=user))


def test_when_a_server_cannot_be_reached_there_is_no_result(pair: ReplicatedPair) -> None:
    with FaultProxy(pair.target.params["port"]) as proxy:
        gone = {**pair.target.params, "host": proxy.host, "port": proxy.port}
    with pytest.raises(MigrationError) as caught:
        pair.verify(user=(pair.source.params, gone))
    assert caught.value.code == "cannot_connect"


# --- text that is none -----------------------------------------------------------------------------------------


def test_keys_that_are_no_text_are_not_verified_when_they_differ(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    options = "ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    pair = ReplicatedPair(
        create_database(source_cluster, None, options), create_database(target_cluster, None, options)
    )
    try:
        pair.both("CREATE TABLE public.t (k text PRIMARY KEY, v text); CREATE TABLE public.n (v text)")
        pair.both(
            r"INSERT INTO public.t VALUES (E'\xe9', E'\xff'), ('a', E'\xfe'); INSERT INTO public.n VALUES (E'\xff')"
        )
        assert_verified(pair.verify(max_rounds=2))
        pair.damage(r"UPDATE public.t SET v = E'\xfd' WHERE k = 'a'")
        assert found(pair.verify(max_rounds=2)) == {("t", "changed", ("a",), ("v",))}
        pair.damage(r"UPDATE public.t SET v = E'\xfd' WHERE k = E'\xe9'", r"UPDATE public.n SET v = E'\xfe'")
        result = pair.verify(max_rounds=2)
        assert status_of(result, "t")[0] in ("error", "unverified")
        assert "encoding" in status_of(result, "t")[1]
        assert status_of(result, "n")[0] == "different"
    finally:
        sweep(source_cluster)
        sweep(target_cluster)
