# SPDX-License-Identifier: GPL-3.0-or-later
"""verify over every family of types, between any two majors, under settings that differ on the two sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg import sql

from tests.integration import verify_types
from tests.integration.verify_pair import ReplicatedPair, found, until
from tests.support.binaries import MAJORS
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database, start_cluster_or_skip
from tests.support.sweep import sweep
from tests.support.verified import assert_verified


def set_apart(pair: ReplicatedPair) -> None:
    """Give the databases settings that print and read values in other ways; a role's own win over them."""
    for database, settings in zip((pair.source, pair.target), verify_types.SETTINGS, strict=True):
        for number, (name, value) in enumerate(settings.items()):
            of = sql.SQL("ROLE {} IN DATABASE {}" if number % 2 else "DATABASE {1}").format(
                sql.Identifier(database.params["user"]), sql.Identifier(database.name)
            )
            database.execute(sql.SQL("ALTER {} SET {} TO {}").format(of, sql.SQL(name), sql.SQL(value)))


def replicated(pair: ReplicatedPair) -> None:
    """Replicate from now on: both ends of the stream have begun."""
    slot = pair.replicate(options="copy_data = false").slot
    in_use = f"SELECT active FROM pg_catalog.pg_replication_slots WHERE slot_name = '{slot}'"
    until(lambda: pair.source.execute(in_use) == [(True,)], "the walsender")


def check(source: Database, target: Database) -> None:
    """What replication has carried is verified, and of values that differ on the target each one is named."""
    pair = ReplicatedPair(source, target)
    types = verify_types.made(pair)
    # A subscription of 14 lets the source print as its settings have it, and its target read as its own have it.
    for step in (replicated, set_apart) if target.cluster.major < 15 else (set_apart, replicated):
        step(pair)
    source.execute(verify_types.filled(types))
    assert_verified(pair.verify())
    pair.damage(*verify_types.turned(types))
    named = {
        (f"T {number}", "changed", (str(row),), ('v "v',))
        for number, values in enumerate(types.values())
        for row in range(1, len(values) + 2)
    }
    assert found(pair.verify(max_differences=10_000)) == named


def test_values_of_every_type_are_equal_or_told_apart(source_db: Database, target_db: Database) -> None:
    check(source_db, target_db)


def test_what_prints_alike_is_equal_though_it_is_stored_otherwise(source_db: Database, target_db: Database) -> None:
    """Replication carries what the output function prints: a NaN loses its sign, and xml its declaration."""
    pair = ReplicatedPair(source_db, target_db)
    pair.both(
        "CREATE DOMAIN public.document AS xml;"
        "CREATE TABLE public.spelled (id integer PRIMARY KEY, x xml, xs xml[], d public.document,"
        " f float8, r real, fs float8[], p point, j jsonb, h tsvector)"
    )
    declared = [
        '<?xml version="1.0" encoding="UTF-8"?><a>é</a>',
        '<?xml version="1.0" standalone="yes"?><a/>',
        '<?xml version="1.1"?>\n<a/>',
        '<?xml version="1.0"?><a/>',
        " <a/> ",
    ]
    pair.replicate(options="copy_data = false")
    with source_db.connect() as connection:
        for number, text in enumerate(declared, start=1):
            connection.execute(
                "INSERT INTO public.spelled VALUES (%s, %s::xml, ARRAY[%s::xml], %s::xml, -('NaN'::float8), -('NaN'::real),"
                " ARRAY[-('NaN'::float8)], point(-('NaN'::float8), 1),"
                """ '{"b": 1, "aa": 2, "a": 3, "a": 4}', 'b:2 a:1')""",
                [number, text, text, text],
            )
    raw = "SELECT x::text FROM public.spelled WHERE id = 1"
    assert_verified(pair.verify())
    assert source_db.execute(raw) != target_db.execute(raw)
    pair.damage(
        """UPDATE public.spelled SET j = '{"a": 4, "aa": 2, "b": 1}', h = 'a:1 b:2' WHERE id = 1""",
        "UPDATE public.spelled SET x = '<a>e</a>' WHERE id = 1",
        "UPDATE public.spelled SET x = '<a />' WHERE id = 2",
        "UPDATE public.spelled SET f = 0 WHERE id = 4",
        "UPDATE public.spelled SET d = '<a/>' WHERE id = 5",
    )
    assert found(pair.verify()) == {
        ("spelled", "changed", ("1",), ("x",)),
        ("spelled", "changed", ("2",), ("x",)),
        ("spelled", "changed", ("4",), ("f",)),
        ("spelled", "changed", ("5",), ("d",)),
    }


CASTS = """
CREATE FUNCTION public.mood_text(public.mood) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'a mood'$$;
CREATE FUNCTION public.pair_text(public.pair) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'a pair'$$;
CREATE FUNCTION public.money_text(money) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT 'some money'$$;
CREATE CAST (public.mood AS text) WITH FUNCTION public.mood_text (public.mood) AS IMPLICIT;
CREATE CAST (public.pair AS text) WITH FUNCTION public.pair_text (public.pair) AS IMPLICIT;
CREATE CAST (money AS text) WITH FUNCTION public.money_text (money) AS IMPLICIT;
CREATE CAST (bytea AS text) WITHOUT FUNCTION;
"""


@pytest.mark.parametrize("sides", ["both", "source"])
def test_casts_that_users_have_made_hide_nothing(source_db: Database, target_db: Database, sides: str) -> None:
    """A cast to text of one's own may lose what it likes, and need not exist on the other side."""
    pair = ReplicatedPair(source_db, target_db)
    pair.both(
        "CREATE TYPE public.mood AS ENUM ('sad', 'glad'); CREATE TYPE public.pair AS (a integer, b text);"
        "CREATE DOMAIN public.moody AS public.mood;"
        "CREATE TABLE public.t (id integer PRIMARY KEY, m public.mood, d public.moody, p public.pair, v money, b bytea);"
        "CREATE TABLE public.k (p public.pair, m public.mood, PRIMARY KEY (p, m))"
    )
    source_db.execute(CASTS)
    if sides == "both":
        target_db.execute(CASTS)
    pair.both(
        r"INSERT INTO public.t SELECT i, 'sad', 'sad', (i, NULL)::public.pair, 1, '\x0102' FROM generate_series(1, 9) AS i;"
        "INSERT INTO public.t VALUES (10, NULL, NULL, NULL, NULL, NULL), (11, 'sad', 'sad', (NULL, NULL)::public.pair, 0, '');"
        "INSERT INTO public.k VALUES ((1, 'a')::public.pair, 'sad'), ((1, 'a')::public.pair, 'glad'), ((2, NULL)::public.pair, 'sad')"
    )
    pair.replicate(options="copy_data = false")
    assert_verified(pair.verify())
    pair.damage(
        "UPDATE public.t SET m = 'glad' WHERE id = 1",
        "UPDATE public.t SET d = 'glad' WHERE id = 2",
        "UPDATE public.t SET p = (4, NULL)::public.pair WHERE id = 3",
        "UPDATE public.t SET v = 2 WHERE id = 4",
        r"UPDATE public.t SET b = '\x0103' WHERE id = 5",
        "UPDATE public.t SET p = (NULL, NULL)::public.pair WHERE id = 10",
        "UPDATE public.t SET p = NULL WHERE id = 11",
        "UPDATE public.k SET m = 'glad' WHERE (p).a = 2",
    )
    result = pair.verify()
    assert found(result) == {
        ("t", "changed", ("1",), ("m",)),
        ("t", "changed", ("2",), ("d",)),
        ("t", "changed", ("3",), ("p",)),
        ("t", "changed", ("4",), ("v",)),
        ("t", "changed", ("5",), ("b",)),
        ("t", "changed", ("10",), ("p",)),
        ("t", "changed", ("11",), ("p",)),
        ("k", "missing", ("(2,)", "sad"), ()),
        ("k", "extra", ("(2,)", "glad"), ()),
    }


ORDINARY = {(12, 18), (15, 17)}  # the second is the pair of every other test
PAIRS = [
    pytest.param(older, newer, marks=[] if (older, newer) in ORDINARY else pytest.mark.slow)
    for older in MAJORS
    for newer in MAJORS
    if older != newer and newer >= 14 and (older, newer) != (15, 17)
]


@pytest.fixture(scope="module")
def clusters() -> Iterator[Callable[[int], Cluster]]:
    """A cluster of each major, started when first asked for."""
    started: dict[int, Cluster] = {}

    def of(major: int) -> Cluster:
        if major not in started:
            started[major] = start_cluster_or_skip(major)
        return started[major]

    yield of
    for cluster in started.values():
        cluster.destroy()


@pytest.mark.parametrize(("older", "newer"), PAIRS)
def test_values_of_every_type_between_any_two_majors(
    clusters: Callable[[int], Cluster], older: int, newer: int
) -> None:
    source, target = clusters(older), clusters(newer)
    try:
        check(create_database(source), create_database(target))
    finally:
        sweep(target)
        sweep(source)


CHAR_PAIRS = ((12, 14), (13, 16), (14, 15), (15, 17))
HIGH = [-128, -1, -56, 0, 1, 65, 92, 127]


@pytest.mark.parametrize(
    ("older", "newer"), [(12, 18), *(pytest.param(*p, marks=pytest.mark.slow) for p in CHAR_PAIRS)]
)
def test_char_above_127_is_equal_between_any_two_majors(
    clusters: Callable[[int], Cluster], older: int, newer: int
) -> None:
    """Its text form is one byte before 15, and an octal escape from then on."""
    pair = ReplicatedPair(create_database(clusters(older)), create_database(clusters(newer)))
    try:
        pair.both(
            'CREATE TABLE public.t (id integer PRIMARY KEY, c "char", a "char"[]); CREATE TABLE public.k (c "char" PRIMARY KEY)'
        )
        for database in (pair.source, pair.target):
            for code in HIGH:
                char = f'({code})::"char"'
                database.execute(f"INSERT INTO public.t VALUES ({code}, {char}, ARRAY[NULL, {char}, ''])")
                database.execute(f"INSERT INTO public.k VALUES ({char})")
        assert_verified(pair.verify())
        pair.damage(
            'UPDATE public.t SET c = (-2)::"char" WHERE id = -1',
            """UPDATE public.t SET a = ARRAY[NULL, (-127)::"char", ''] WHERE id = -128""",
            'DELETE FROM public.k WHERE c = (-56)::"char"',
        )
        assert found(pair.verify()) == {
            ("t", "changed", ("-1",), ("c",)),
            ("t", "changed", ("-128",), ("a",)),
            ("k", "missing", ("-56",), ()),
        }
    finally:
        sweep(pair.target.cluster)
        sweep(pair.source.cluster)
