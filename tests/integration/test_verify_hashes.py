# SPDX-License-Identifier: GPL-3.0-or-later
"""The hash expressions lose nothing: no two values of a type, and no two rows, share a hash under any seed.

Values are chosen to be nasty: single bits and pairs of bits, halves that are equal or exchanged, multiples of two to the
32nd, ends of the range, all lengths, and whatever differs in the last place only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations, product
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import Redactor
from ansible_collections.seren.migrator.plugins.module_utils.session import Session, StatementLog
from ansible_collections.seren.migrator.plugins.module_utils.verification import hashing
from ansible_collections.seren.migrator.plugins.module_utils.verification.hashing import HashedColumn, HashRules, Seeds
from ansible_collections.seren.migrator.plugins.module_utils.verification.snapshots import reading
from tests.support.binaries import MAJORS
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database

TYPED = HashRules(typed=frozenset({"whole", "charint", "uuid", "tswire", "text_ascii"}))
RULES = {"typed": TYPED, "text": HashRules(), "sha256": HashRules(native=False), "recoded": HashRules(recode=True)}
# Text is what typed hashing falls back to, and every second type is hashed by it anyway.
WAYS = ("typed", *(pytest.param(way, marks=pytest.mark.slow) for way in ("text", "recoded", "sha256")))
SEEDS = (Seeds(0), Seeds((1 << 62) - 1), Seeds(4294967296))


def integers(bits: int) -> list[str]:
    """Numbers of so many bits that a careless hash confuses."""
    one = {0, 1, *(1 << bit for bit in range(bits)), *((1 << bit) - 1 for bit in range(bits))}
    two = {a | b for a, b in combinations(sorted(one), 2)} | {a ^ b for a, b in combinations(sorted(one), 2)}
    half = bits // 2
    low = set(range(-40, 40)) | {random.getrandbits(half) for _turn in range(200)}
    halves = {n * (1 << half) for n in low} | {n * ((1 << half) + 1) for n in low} | {~n << half for n in low}
    unsigned = {n % (1 << bits) for n in one | two | halves | low | {~n for n in one}}
    return [str(n - (1 << bits) if n >= 1 << (bits - 1) else n) for n in unsigned]


def moments() -> list[str]:
    """Microseconds from 2000 on that fit into a timestamp, as intervals."""
    return [n for n in integers(64) if -210_000_000_000_000_000 < int(n) < 9_200_000_000_000_000_000]


def uuids() -> list[str]:
    bits = [1 << bit for bit in range(128)]
    numbers = {0, *bits, *(a | b for a, b in combinations(bits, 2))} | {(1 << 128) - 1 - n for n in bits}
    for _turn in range(300):
        n = random.getrandbits(64)
        numbers |= {n, n << 64, n << 64 | n, n << 32, (n << 96 | n) % (1 << 128)}
    return [f"{n:032x}" for n in numbers]


def texts() -> list[str]:
    letters = [chr(code) for code in (*range(1, 0x250), 0xFFFD, 0x10FFFF, 0x1F600)]
    lengths = [letter * length for letter in "a é" for length in range(1, 60)]
    blocks = ["".join(parts) for parts in product(("a" * 12, "b" * 12, "c" * 4), repeat=3)]
    near = [f"{'x' * n}{c}{'x' * (99 - n)}" for n in range(100) for c in "yzX "]
    alike = [
        "é",
        "e\u0301",
        "ﬁ",
        "fi",
        "ß",
        "ss",
        "İ",
        "i̇",
        "NULL",
        "null",
        '"',
        "'",
        "\\",
        "\\N",
        "{}",
        "%s",
        "0",
        "00",
    ]
    long = ["l" * 200_000, "l" * 199_999 + "m", "m" + "l" * 199_999, "l" * 100_000 + "m" + "l" * 99_999]
    return list(dict.fromkeys(["", *letters, *lengths, *blocks, *near, *alike, *long]))


def decimals() -> list[str]:
    scaled = [
        f"{sign}{n}{'.' if scale else ''}{'0' * scale}"
        for n in (1, 15, 10**30 + 7)
        for scale in range(20)
        for sign in ("", "-")
    ]
    return ["NaN", "0", "0.0", "0.00", *scaled, *(f"1e-{n}" for n in range(1, 200)), *(f"1e{n}" for n in range(1, 200))]


def floats() -> list[str]:
    near = [repr(1.0 + n * 2.0**-52) for n in range(1, 500)] + [repr(n * 5e-324) for n in range(1, 500)]
    return [
        "0",
        "-0",
        "NaN",
        "infinity",
        "-infinity",
        "1.7976931348623157e308",
        "0.1",
        "0.30000000000000004",
        "0.3",
        *near,
    ]


# type -> (expression over the text ``v``, the values)
DATES = ["infinity", "-infinity", "0044-03-15 BC", "4714-11-24 BC", "0001-01-01", "0001-12-31 BC", "5874897-12-31"]
VALUES: dict[str, tuple[str, Callable[[], Sequence[str]]]] = {
    "smallint": ("v::smallint", lambda: [str(n) for n in range(-32768, 32768)]),
    "integer": ("v::integer", lambda: integers(32)),
    "bigint": ("v::bigint", lambda: integers(64)),
    "oid": ("v::oid", lambda: [str(int(n) % (1 << 32)) for n in integers(32)]),
    "boolean": ("v::boolean", lambda: ["t", "f"]),
    '"char"': ('v::integer::"char"', lambda: [str(n) for n in range(-128, 128)]),
    "uuid": ("v::uuid", uuids),
    "timestamp without time zone": ("timestamp '2000-01-01' + (v || ' microseconds')::interval", moments),
    "timestamp with time zone": ("timestamptz '2000-01-01Z' + (v || ' microseconds')::interval", moments),
    "text": ("v", texts),
    "character varying": ("v::varchar", texts),
    "name": ("v::name", lambda: [text for text in texts() if len(text.encode()) < 64]),
    "character": ("v::char(60)", lambda: [text for text in texts() if len(text) <= 60 and not text.endswith(" ")]),
    "bpchar": ("v::bpchar", texts),
    "bytea": ("convert_to(v, 'UTF8')", texts),
    "numeric": ("v::numeric", decimals),
    "double precision": ("v::float8", floats),
    "date": ("v::date", lambda: DATES),
    "interval": (
        "v::interval",
        lambda: [
            "1 day",
            "24:00",
            "1 mon",
            "30 days",
            "-1 day +24:00",
            "0",
            "12 mons 1 us",
            "1 day -1 us",
            "-1 mon 30 days",
        ],
    ),
    "jsonb": (
        "v::jsonb",
        lambda: ["1", "1.0", "10", "1e-1", '"1"', "null", '"null"', "[]", "[[]]", "{}", "[null]", "[1,2]", "[2,1]"],
    ),
    "text[]": (
        "v::text[]",
        lambda: [
            "{}",
            '{""}',
            "{NULL}",
            '{"NULL"}',
            "{a,b}",
            '{"a,b"}',
            "{{a},{b}}",
            "[0:1]={a,b}",
            '{"a\\"b"}',
            "{a,NULL}",
            "{NULL,a}",
        ],
    ),
}


@pytest.fixture(scope="module")
def session(source_cluster: Cluster) -> Iterator[Session]:
    with opened(Database(source_cluster, "postgres")) as open_session:
        yield open_session


@contextmanager
def opened(database: Database) -> Iterator[Session]:
    endpoint = Endpoint.from_options("source", database.params)
    with Session.open(endpoint, StatementLog(Redactor([])), purpose="test", read_only=True) as open_session:
        yield open_session


def asked(session: Session, query: sql.Composed, values: Sequence[str | None]) -> list[tuple[Any, ...]]:
    with reading(session), session.connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute(query, [list(values)]).fetchall()


def column(base_type: str, number: int = 1) -> HashedColumn:
    return HashedColumn(f'We"rt {number}', base_type)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base_type", VALUES)
def test_no_two_values_of_a_type_share_a_hash(session: Session, base_type: str, way: str) -> None:
    expression, make = VALUES[base_type]
    values = list(dict.fromkeys(make()))
    seeds = random.choice(SEEDS), hashing.new_seeds(), hashing.new_seeds().second()
    hashes = [
        hashing.column_hash(column(base_type), each.column(position), RULES[way], position)
        for position, each in enumerate(seeds)
    ]
    for hashed in hashes:
        query = sql.SQL(
            "SELECT count(*), count(q.h), count(DISTINCT q.h), count(DISTINCT q.h & 65535)"
            ' FROM (SELECT {} AS h FROM (SELECT {} AS "We""rt 1" FROM unnest(%s::text[]) AS v) AS k) AS q'
        ).format(hashed, sql.SQL(expression))
        [(total, not_null, distinct, low)] = asked(session, query, values)
        assert (total, not_null, distinct) == (len(values),) * 3
        # Leaves are filled evenly: of the boxes that so many values fill when thrown, nearly all are filled.
        assert low > 0.8 * 65536 * (1 - (1 - 1 / 65536) ** total)


ROWS = """
WITH v AS (SELECT u.n, {expression} AS x FROM unnest(%s::text[]) WITH ORDINALITY AS u(v, n))
SELECT k.i, k.j, {hashed}
  FROM (SELECT a.n AS i, b.n AS j, a.x AS "We""rt 1", b.x AS "We""rt 2" FROM v AS a CROSS JOIN v AS b) AS k
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base_type", VALUES)
def test_rows_of_two_columns_tell_every_pair_and_every_exchange_apart(
    session: Session, base_type: str, way: str
) -> None:
    """NULL is no value, equal values do not cancel, and what is swapped between columns or rows shows in the sum."""
    expression, make = VALUES[base_type]
    values = list(dict.fromkeys(make()))
    chosen = [None, *values[:5], *random.sample(values, min(6, len(values)))]
    numbers = dict(enumerate(dict.fromkeys(chosen), start=1))
    columns = column(base_type), column(base_type, 2)
    for seeds in (*SEEDS, hashing.new_seeds()):
        query = sql.SQL(ROWS).format(  # type: ignore[arg-type]
            expression=sql.SQL(expression), hashed=hashing.row_hash(columns, seeds, RULES[way])
        )
        hashes = {(i, j): h for i, j, h in asked(session, query, list(numbers.values()))}
        assert len(set(hashes.values())) == len(numbers) ** 2, numbers
        for (a, b), (c, d) in product(combinations(numbers, 2), repeat=2):
            assert hashes[a, c] + hashes[b, d] != hashes[a, d] + hashes[b, c]


def fingerprint(session: Session, way: str) -> dict[str, Any]:
    """The sum of the hashes of every type's values."""
    sums = {}
    for base_type, (expression, make) in VALUES.items():
        random.seed(1)
        query = sql.SQL('SELECT sum({}) FROM (SELECT {} AS "We""rt 1" FROM unnest(%s::text[]) AS v) AS k').format(
            hashing.row_hash([column(base_type)], Seeds(5), RULES[way]), sql.SQL(expression)
        )
        sums[base_type] = asked(session, query, list(dict.fromkeys(make())))
    return sums


def test_both_servers_hash_every_value_alike(source_db: Database, target_db: Database) -> None:
    with opened(source_db) as here, opened(target_db) as there:
        for way in ("typed", "sha256"):
            assert fingerprint(here, way) == fingerprint(there, way)


@pytest.mark.slow
@pytest.mark.parametrize("major", [major for major in MAJORS if major != 15])
def test_every_major_hashes_every_value_alike(
    make_cluster: Callable[..., Cluster], source_db: Database, major: int
) -> None:
    with opened(source_db) as here, opened(create_database(make_cluster(major))) as there:
        for way in ("typed", "sha256"):
            assert fingerprint(here, way) == fingerprint(there, way)
