# SPDX-License-Identifier: GPL-3.0-or-later
"""From round to round nothing that differed is forgotten, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.verification import comparison
from tests.integration.verify_pair import READY, ReplicatedPair, status_of, until
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database


@pytest.fixture
def pair(source_db: Database, target_db: Database) -> ReplicatedPair:
    """Return a pair with a table whose row 7 is missing on the target; keyless is the same without a key."""
    pair = ReplicatedPair(source_db, target_db)
    pair.both("CREATE TABLE public.keyed (id int PRIMARY KEY, v text); CREATE TABLE public.keyless (id int, v text)")
    pair.both("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
    for table in ("keyed", "keyless"):
        source_db.execute(f"INSERT INTO public.{table} SELECT i, 'v' || i FROM generate_series(1, 100) AS i")
    pair.replicate()
    until(lambda: target_db.execute("SELECT count(*) FROM public.keyless") == [(100,)], "the rows")
    return pair


def before_the_first(monkeypatch: pytest.MonkeyPatch, name: str, then: Callable[[], object]) -> None:
    """Call `then` right before what the module comparison calls `name`, the first time."""
    real = getattr(comparison, name)
    calls: list[int] = []

    def wrapped(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            then()
        return real(*arguments, **named)

    monkeypatch.setattr(comparison, name, wrapped)


@pytest.mark.parametrize("table", ["keyed", "keyless"])
def test_what_differed_is_not_forgotten_when_the_table_is_locked_before_the_proof(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    pair.damage(f"DELETE FROM public.{table} WHERE id = 7")
    with pair.source.connect(autocommit=False) as connection:

        def lock() -> None:
            connection.execute(f"LOCK TABLE public.{table} IN ACCESS EXCLUSIVE MODE")

        def unlock(*_arguments: Any) -> None:
            connection.rollback()

        before_the_first(monkeypatch, "probe", lock)
        before_the_first(monkeypatch, "obstructed", unlock)
        result = pair.verify(fail_on_difference=False)
    assert status_of(result, table) == ("different", "rows that differ: 1")


def test_what_a_rewritten_table_no_longer_shows_is_not_equal(
    pair: ReplicatedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite leaves an older snapshot an empty table, which is as empty as the target where the row is missing."""
    pair.damage("DELETE FROM public.keyed WHERE id = 7")
    before_the_first(
        monkeypatch, "reading", lambda: pair.source.execute("UPDATE public.keyed SET v = 'new' WHERE id = 7")
    )
    before_the_first(
        monkeypatch,
        "rows_of_identities",
        lambda: pair.source.execute("ALTER TABLE public.keyed ALTER COLUMN v TYPE varchar(50)"),
    )
    result = pair.verify(fail_on_difference=False)
    assert status_of(result, "keyed") == ("different", "rows that differ: 1")


def test_a_unique_column_that_may_hold_null_is_no_key(make_cluster: Callable[..., Cluster]) -> None:
    """From 18 on NOT NULL may be NOT VALID; a row whose key is NULL was found by its sums and by no key."""
    pair = ReplicatedPair(create_database(make_cluster(18)), create_database(make_cluster(18)))
    pair.both("CREATE TABLE public.t (code int UNIQUE, v text); ALTER TABLE public.t REPLICA IDENTITY FULL")
    pair.source.execute("INSERT INTO public.t VALUES (1, 'one'), (NULL, 'none')")
    pair.replicate()
    pair.both("ALTER TABLE public.t ADD CONSTRAINT filled NOT NULL code NOT VALID")
    assert status_of(pair.verify(), "t") == ("verified", "")
    pair.damage("DELETE FROM public.t WHERE code IS NULL")
    assert status_of(pair.verify(fail_on_difference=False), "t")[0] == "different"


@pytest.mark.parametrize(
    ("change", "side"),
    [
        ("CREATE TABLE public.p2 PARTITION OF public.parted FOR VALUES FROM (100) TO (200)", "both"),
        ("ALTER TABLE public.parted ADD COLUMN w text", "target"),
    ],
)
def test_a_table_that_gets_columns_or_partitions_meanwhile_is_not_verified(
    pair: ReplicatedPair, change: str, side: str
) -> None:
    pair.both("CREATE TABLE public.parted (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    pair.both("CREATE TABLE public.p1 PARTITION OF public.parted FOR VALUES FROM (0) TO (100)")
    pair.target.execute("ALTER SUBSCRIPTION " + pair.streams[0].subscription + " REFRESH PUBLICATION")
    until(lambda: bool(pair.target.execute(READY)[0][0]), "every table to be ready")

    def show(event: Event) -> None:
        if event.text == "comparing the rows":
            pair.target.execute(change)
            if side == "both":
                pair.source.execute(f"{change}; INSERT INTO public.parted VALUES (100)")

    result = pair.verify(progress=show, fail_on_difference=False)
    status, reason = status_of(result, "parted")
    assert (status, "while it was compared" in reason) == ("unverified", True)
    assert status_of(result, "keyed") == ("verified", "")
