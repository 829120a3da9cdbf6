# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases that the benchmark copies, each made once and kept in the source server.

`mixed` is the reference: pgbench's tables, a wide table, 200 small tables, TOASTed values and partitions. The others
are for one question each: many small tables or one large one far away, many rows or one huge row for the memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.sample import SQL_DIR

BUILDING = "being_built"
# What one MB of `mixed` consists of; 3000 MB are pgbench's scale 150, 1 million wide rows, 1 GB of indexes and TOAST.
PGBENCH_SCALE_PER_MB = 1 / 20
WIDE_ROWS_PER_MB = 1000 / 3
TOASTED_ROWS_PER_MB = 5
PARTITIONED_ROWS_PER_MB = 200
SMALL_TABLES = 200

_WIDE = """
CREATE TABLE public.wide (
    id bigint NOT NULL, a integer, b integer, c bigint, d numeric(12, 2), e double precision, f boolean, g date,
    h timestamp with time zone, i timestamp without time zone, j text, k text, l character varying(40), m uuid,
    n integer, o smallint, p text, q numeric, r text, s jsonb
);
INSERT INTO public.wide
SELECT n, n % 1000, n * 7 % 100003, n::bigint * 1000003, n / 100.0, n * 1.5, n % 3 = 0, date '2020-01-01' + n % 2000,
       timestamptz '2024-01-01 00:00+00' + n * interval '1 second', timestamp '2024-01-01' + n * interval '1 minute',
       md5(n::text), repeat('x', n % 60), 'value ' || n % 5000, md5((n * 3)::text)::uuid, -n, n % 30000,
       'some words that repeat ' || n % 17, n * 3.14159, CASE WHEN n % 4 > 0 THEN 'note ' || n END,
       jsonb_build_object('k', n % 100, 'name', 'row ' || n)
  FROM generate_series(1, {wide_rows}) AS n;
ALTER TABLE public.wide ADD PRIMARY KEY (id);
CREATE INDEX ON public.wide (b);
CREATE INDEX ON public.wide (h);
CREATE INDEX ON public.wide (l);
"""

# 16 KB each, which pglz cannot compress, so that they are moved out of line.
_TOASTED = """
CREATE TABLE public.toasted (id integer NOT NULL, note text, content bytea);
INSERT INTO public.toasted
SELECT n, 'document ' || n, (SELECT string_agg(sha512((n * 1000 + i)::text::bytea), '') FROM generate_series(1, 256) i)
  FROM generate_series(1, {toasted_rows}) AS n;
ALTER TABLE public.toasted ADD PRIMARY KEY (id);
"""

_PARTITIONED = """
CREATE TABLE public.measurement (
    id bigint NOT NULL, taken_at timestamp with time zone NOT NULL, device integer NOT NULL, reading double precision,
    note text
) PARTITION BY RANGE (taken_at);
DO $partitions$
BEGIN
    FOR month IN 1..12 LOOP
        EXECUTE format('CREATE TABLE public.measurement_%s PARTITION OF public.measurement FOR VALUES FROM (%L) TO (%L)',
                       month, make_timestamptz(2024, month, 1, 0, 0, 0, 'UTC'),
                       make_timestamptz(2024, month, 1, 0, 0, 0, 'UTC') + interval '1 month');
    END LOOP;
END
$partitions$;
INSERT INTO public.measurement
SELECT n, timestamptz '2024-01-01 00:00+00' + (n % (366 * 1440)) * interval '1 minute', n % 500, n * 0.1, 'reading ' || n
  FROM generate_series(1, {partitioned_rows}) AS n;
ALTER TABLE public.measurement ADD PRIMARY KEY (id, taken_at);
CREATE INDEX ON public.measurement (device, taken_at);
"""

_SMALL = """
CREATE SCHEMA small;
DO $small$
BEGIN
    FOR number IN {first}..{last} LOOP
        EXECUTE format('CREATE TABLE small.%I (id integer PRIMARY KEY, name text NOT NULL, amount numeric(10, 2))',
                       'table_' || lpad(number::text, 4, '0'));
        EXECUTE format('INSERT INTO small.%I SELECT i, ''row '' || i, i * 1.25 FROM generate_series(1, %s) AS i',
                       'table_' || lpad(number::text, 4, '0'), {rows});
        EXECUTE format('CREATE INDEX ON small.%I (name)', 'table_' || lpad(number::text, 4, '0'));
    END LOOP;
END
$small$;
"""

_MANY_ROWS = """
CREATE TABLE public.many_rows (id bigint NOT NULL, a integer, b text);
INSERT INTO public.many_rows SELECT n, n % 1000, md5(n::text) FROM generate_series(1, {rows}) AS n;
ALTER TABLE public.many_rows ADD PRIMARY KEY (id);
"""

_WIDE_ROW = """
CREATE TABLE public.wide_row (id integer PRIMARY KEY, content bytea);
INSERT INTO public.wide_row
SELECT n, decode(repeat(md5(n::text), {row_bytes} / 16), 'hex') FROM generate_series(1, {rows}) AS n;
"""

_NARROW = """
CREATE TABLE public.narrow (id bigint NOT NULL, account integer NOT NULL, amount integer, at timestamp with time zone);
INSERT INTO public.narrow
SELECT n, n % 100000, n % 1000, timestamptz '2024-01-01 00:00+00' + n * interval '1 second'
  FROM generate_series(1, {rows}) AS n;
ALTER TABLE public.narrow ADD PRIMARY KEY (id);
"""


@dataclass(frozen=True)
class Dataset:
    """A database to copy: its `name`, and `build`, which fills an empty one over a superuser's connection."""

    name: str
    build: Callable[[psycopg.Connection[tuple[object, ...]]], None]


def mixed(size_mb: int) -> Dataset:
    """The reference set; its tables and indexes take about `size_mb`."""

    def build(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        scale = max(1, round(size_mb * PGBENCH_SCALE_PER_MB))
        connection.execute("SELECT pg_catalog.set_config('sample.scale', %s, false)", [str(scale)])
        connection.execute((SQL_DIR / "pgbench.sql").read_bytes())
        _run(connection, _WIDE, wide_rows=round(size_mb * WIDE_ROWS_PER_MB))
        _run(connection, _TOASTED, toasted_rows=round(size_mb * TOASTED_ROWS_PER_MB))
        _run(connection, _PARTITIONED, partitioned_rows=round(size_mb * PARTITIONED_ROWS_PER_MB))
        _run(connection, _SMALL, first=1, last=SMALL_TABLES, rows=100)

    return Dataset(f"mixed_{size_mb}", build)


def small_tables(count: int) -> Dataset:
    """`count` tables of ten rows with a primary key and one more index."""

    def build(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        # A transaction holds a lock on each table and index that it makes.
        for first in range(1, count + 1, 500):
            text = _SMALL if first == 1 else _SMALL.replace("CREATE SCHEMA small;", "")
            _run(connection, text, first=first, last=min(first + 499, count), rows=10)

    return Dataset(f"small_tables_{count}", build)


def one_table(size_mb: int) -> Dataset:
    """One table of narrow rows whose heap has about `size_mb`, with a primary key."""
    # 65 bytes of data and 28 of headers: 84 rows on a page of 8 kB.
    return Dataset(f"one_table_{size_mb}", lambda connection: _run(connection, _MANY_ROWS, rows=size_mb * 10_750))


def wide_row(row_mb: int) -> Dataset:
    """A table of three rows, each with a value of `row_mb`."""
    return Dataset(
        f"wide_row_{row_mb}", lambda connection: _run(connection, _WIDE_ROW, rows=3, row_bytes=row_mb * 2**20)
    )


def for_verification(table: str, rows: int) -> Dataset:
    """One table, `narrow` (4 columns) or `wide` (20 columns of mixed types), the same each time that it is made."""

    def build(connection: psycopg.Connection[tuple[object, ...]]) -> None:
        if table == "narrow":
            _run(connection, _NARROW, rows=rows)
        else:
            _run(connection, _WIDE.partition("CREATE INDEX")[0], wide_rows=rows)

    return Dataset(f"verify_{table}_{rows}", build)


def _run(connection: psycopg.Connection[tuple[object, ...]], text: str, **numbers: int) -> None:
    """Run a script as one simple query, with `numbers` in place of {name}."""
    for name, number in numbers.items():
        text = text.replace(f"{{{name}}}", str(number))
    connection.execute(text.encode("utf-8"))


def provide(cluster: Cluster, dataset: Dataset, say: Callable[[str], None]) -> Database:
    """The database of `dataset` in `cluster`, made now when no earlier run has left it there."""
    database = Database(cluster, dataset.name)
    if cluster.execute("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", parameters=[dataset.name]):
        return database
    say(f"making the database {dataset.name}, once ...")
    started = time.monotonic()
    cluster.execute(f"DROP DATABASE IF EXISTS {BUILDING} WITH (FORCE)")
    cluster.execute(f"CREATE DATABASE {BUILDING}")
    with cluster.connect(BUILDING) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("SET TimeZone = 'UTC'")
        dataset.build(connection)
        connection.execute("VACUUM (ANALYZE, FREEZE)")
    cluster.execute("CHECKPOINT")
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    cluster.execute(rename.format(sql.Identifier(BUILDING), sql.Identifier(dataset.name)))
    say(f"... in {time.monotonic() - started:.0f} s, {_size_mb(database)} MB")
    return database


def _size_mb(database: Database) -> int:
    return int(database.execute("SELECT pg_catalog.pg_database_size(current_database()) / 1048576")[0][0])


def row_counts(database: Database) -> Mapping[str, int]:
    """The rows of each user table, counted by scanning it."""
    names = database.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%'"
        " AND n.nspname NOT IN ('information_schema', 'seren_migrator')"
    )
    counts = {}
    with database.connect() as connection:
        for schema, name in names:
            query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name))
            row = connection.execute(query).fetchone()
            counts[f"{schema}.{name}"] = int(row[0]) if row else 0
    return counts
