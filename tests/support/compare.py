# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent comparison of two databases to which nobody writes: every row, sequence and large object.

Shares nothing with the product's own verification. Each table is read from both sides as text, sorted by the server,
and compared as two streams, so duplicates count and memory is bounded.

    python -m tests.support.compare --left URL --right URL [--sequences at-least] [--client-bin-dir DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support.connection_argument import connection_string
from tests.support.schema_dump import schema_differences

PRODUCT_SCHEMA = "seren_migrator"
SHOWN_ROW_LENGTH = 200

# A value must look the same on both sides whatever the database, the role or the client is set to.
SESSION_SETTINGS = {
    "client_encoding": "UTF8",
    "search_path": "pg_catalog",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "on",
}

RELATIONS = """
    SELECT n.nspname, c.relname, c.relkind::text, c.relispopulated,
           ARRAY(
               SELECT a.attname::text
               FROM pg_catalog.pg_attribute AS a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               ORDER BY a.attnum
           )
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'S')
      AND n.nspname !~ '^pg_'
      AND n.nspname <> 'information_schema'
      AND NOT n.nspname = ANY (%s)
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
LARGE_OBJECTS = """
    SELECT oid::text, pg_catalog.md5(pg_catalog.lo_get(oid))
    FROM pg_catalog.pg_largeobject_metadata
    ORDER BY oid
"""
SEQUENCE = """
    SELECT s.seqincrement, pg_catalog.format_type(s.seqtypid, NULL), s.seqmin, s.seqmax, s.seqstart, s.seqcycle
    FROM pg_catalog.pg_sequence AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s
"""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Relation:
    """A table, materialized view or sequence, with its columns in order."""

    schema: str
    name: str
    kind: str
    is_populated: bool
    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass
class Comparison:
    """What was found: `rows` compared by table (rows of the left side), and one line for each difference."""

    rows: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


def compare(
    left: str,
    right: str,
    *,
    ignore_schemas: Sequence[str] = (PRODUCT_SCHEMA,),
    sequences: str = "equal",
    large_objects: bool = True,
    materialized_views: bool = True,
    max_differences: int = 10,
    client_dir: Path | None = None,
) -> list[str]:
    """The differences between the databases `left` and `right` (connection strings), [] when they are the same.

    `sequences`: `equal`, `at-least` (the right side's may be ahead) or `ignore`. The contents of materialized views
    count only with `materialized_views`: one that was refreshed at different moments differs rightly. At most
    `max_differences` rows are named for each table. With `client_dir`, the schemas are compared too, by that folder's pg_dump.
    """
    found = compare_data(
        left,
        right,
        ignore_schemas=ignore_schemas,
        sequences=sequences,
        large_objects=large_objects,
        materialized_views=materialized_views,
        max_differences=max_differences,
    ).differences
    if client_dir is not None:
        found += schema_differences(left, right, client_dir, ignore_schemas)
    return found


def compare_data(
    left: str,
    right: str,
    *,
    ignore_schemas: Sequence[str] = (PRODUCT_SCHEMA,),
    sequences: str = "equal",
    large_objects: bool = True,
    materialized_views: bool = True,
    max_differences: int = 10,
) -> Comparison:
    """As `compare`, without the schemas; also returns how many rows were compared."""
    result = Comparison()
    with snapshot(left) as one, snapshot(right) as two:
        left_relations, right_relations = (relations(side, ignore_schemas) for side in (one, two))
        for key in sorted(left_relations.keys() | right_relations.keys()):
            pair = left_relations.get(key), right_relations.get(key)
            if pair[0] is None or pair[1] is None:
                present = pair[0] or pair[1]
                side = "right" if pair[0] is None else "left"
                result.differences.append(f"{present.label if present else key}: only on the {side} side")
            elif pair[0].kind != pair[1].kind:
                result.differences.append(f"{pair[0].label}: is of kind {pair[0].kind} left, {pair[1].kind} right")
            elif pair[0].kind == "S":
                result.differences += _compare_sequence(one, two, pair[0], sequences)
            elif pair[0].kind == "r" or materialized_views:
                _compare_rows(one, two, (pair[0], pair[1]), result, max_differences)
        if large_objects and one.execute(LARGE_OBJECTS).fetchall() != two.execute(LARGE_OBJECTS).fetchall():
            result.differences.append("large objects: their numbers or contents differ")
    return result


@contextmanager
def snapshot(conninfo: str) -> Iterator[Connection]:
    """A connection with fixed settings inside one read-only transaction."""
    with psycopg.connect(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for name, value in SESSION_SETTINGS.items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", [name, value])
        yield connection
        connection.rollback()


def relations(connection: Connection, ignore_schemas: Sequence[str]) -> dict[tuple[str, str], Relation]:
    """Tables (leaf partitions, not their parents), materialized views and sequences by schema and name."""
    rows = connection.execute(RELATIONS, [list(ignore_schemas)]).fetchall()
    found = (Relation(schema, name, kind, populated, tuple(columns)) for schema, name, kind, populated, columns in rows)
    return {(relation.schema, relation.name): relation for relation in found}


def sorted_rows(connection: Connection, relation: Relation) -> Iterator[bytes]:
    """The rows in COPY's text format, sorted byte by byte. ROW() prints each value by its type's own output function.

    A cast to text would not do: it cuts the blanks of character(n), for one.
    """
    columns = sql.SQL(", ").join(sql.Identifier("t", column) for column in relation.columns)
    only = sql.SQL("ONLY " if relation.kind == "r" else "")
    query = sql.SQL(
        'COPY (SELECT row_text FROM (SELECT CAST(ROW({}) AS text) COLLATE "C" AS row_text FROM {}{} AS t) AS rows'
        " ORDER BY row_text) TO STDOUT"
    ).format(columns, only, relation.identifier)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for line in copy:
            yield bytes(line)


def _compare_rows(
    one: Connection, two: Connection, pair: tuple[Relation, Relation], result: Comparison, max_differences: int
) -> None:
    left, right = pair
    if left.columns != right.columns:
        result.differences.append(f"{left.label}: columns {list(left.columns)} left, {list(right.columns)} right")
        return
    if left.is_populated != right.is_populated:
        result.differences.append(f"{left.label}: is populated on one side only")
    if not (left.is_populated and right.is_populated):
        return
    count, found = 0, 0
    for side, row in merge(sorted_rows(one, left), sorted_rows(two, right)):
        count += side != "right"
        if side == "both":
            continue
        found += 1
        if found <= max_differences:
            shown = row.decode("utf-8", "replace").rstrip("\n")[:SHOWN_ROW_LENGTH]
            result.differences.append(f"{left.label}: row only on the {side} side: {shown}")
    if found > max_differences:
        result.differences.append(f"{left.label}: {found - max_differences} more rows differ")
    result.rows[left.label] = count


def merge(left: Iterator[bytes], right: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """Walk through two sorted streams; each row once with where it is: `both`, `left` or `right`."""
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if one is not None and one == two:
            yield "both", one
            one, two = next(left, None), next(right, None)
        elif two is None or (one is not None and unescape(one) < unescape(two)):
            yield "left", one or b""
            one = next(left, None)
        else:
            yield "right", two
            two = next(right, None)


def unescape(line: bytes) -> bytes:
    """Undo the escapes of COPY's text format, which would spoil the order of the sort."""
    if b"\\" not in line:
        return line
    parts = line.split(b"\\\\")
    for letter, value in ((b"n", b"\n"), (b"t", b"\t"), (b"r", b"\r"), (b"b", b"\b"), (b"f", b"\f"), (b"v", b"\v")):
        parts = [part.replace(b"\\" + letter, value) for part in parts]
    return b"\\".join(parts)


def _compare_sequence(one: Connection, two: Connection, sequence: Relation, mode: str) -> list[str]:
    if mode == "ignore":
        return []
    definitions = [side.execute(SEQUENCE, [sequence.schema, sequence.name]).fetchone() for side in (one, two)]
    if definitions[0] is None or definitions[0] != definitions[1]:
        return [f"{sequence.label}: defined as {definitions[0]} left, {definitions[1]} right"]
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sequence.identifier)
    states = [side.execute(query).fetchone() for side in (one, two)]
    if states[0] == states[1]:
        return []
    increment, cycles = definitions[0][0], definitions[0][5]
    if mode == "at-least" and not cycles and states[0] is not None and states[1] is not None:
        ahead = (states[1][0] - states[0][0]) * (1 if increment > 0 else -1)
        if ahead > 0 or (ahead == 0 and states[1][1]):
            return []
    return [f"{sequence.label}: (last_value, is_called) is {states[0]} left, {states[1]} right"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.compare", description="Compare two databases")
    parser.add_argument("--left", type=connection_string, required=True, help="connection string, or @FILE")
    parser.add_argument("--right", type=connection_string, required=True, help="connection string, or @FILE")
    parser.add_argument("--sequences", choices=("equal", "at-least", "ignore"), default="equal")
    parser.add_argument("--skip-materialized-views", action="store_true", help="compare no rows of them")
    parser.add_argument("--ignore-schema", action="append", default=[PRODUCT_SCHEMA])
    parser.add_argument("--client-bin-dir", type=Path, help="compare the schemas too, with this folder's pg_dump")
    options = parser.parse_args(arguments)
    found = compare_data(
        options.left,
        options.right,
        ignore_schemas=options.ignore_schema,
        sequences=options.sequences,
        materialized_views=not options.skip_materialized_views,
    )
    if options.client_bin_dir is not None:
        found.differences += schema_differences(
            options.left, options.right, options.client_bin_dir, options.ignore_schema
        )
    print(f"{sum(found.rows.values())} rows of {len(found.rows)} tables compared, {len(found.differences)} differences")
    for difference in found.differences:
        print(difference)
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
