# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of every kind, writers for each of them, and damage of every kind, for the tests of verify.

Rows from `COLD` on are touched by no writer: the damage is among them.
"""

from __future__ import annotations

import random
import time
from typing import Any

import psycopg
from psycopg import sql

from tests.integration.verify_pair import ReplicatedPair, until

COLD = 900_000
PAUSE_S = 0.02  # of a writer: what is written must be less than one apply worker can do, or nothing ever catches up
SCHEMA = '"Zoo ""1""; --"'

TABLES = f"""
CREATE SCHEMA {SCHEMA};
SET search_path = {SCHEMA};
CREATE TABLE accounts (aid integer PRIMARY KEY, bid integer, abalance integer, filler char(84));
CREATE TABLE tellers (tid integer PRIMARY KEY, tbalance integer);
CREATE TABLE branches (bid integer PRIMARY KEY, bbalance bigint);
CREATE TABLE history (tid integer, bid integer, aid integer, delta integer, mtime timestamp);
ALTER TABLE history REPLICA IDENTITY FULL;
CREATE TABLE keyed (id bigint PRIMARY KEY, "a %s" text, b text, n numeric, f float8, j jsonb, at timestamptz, k bigint);
CREATE TABLE composite (a text, b integer, v text, PRIMARY KEY (b, a));
CREATE TABLE "by text" (code text PRIMARY KEY, v text);
CREATE TABLE by_char (code char(8) PRIMARY KEY, v text);
CREATE TABLE by_index (v text, code integer NOT NULL, other integer NOT NULL);
CREATE UNIQUE INDEX by_index_key ON by_index (code, other);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_key;
CREATE TABLE "No ""Key" (x integer, y text, z float8);
ALTER TABLE "No ""Key" REPLICA IDENTITY FULL;
CREATE TABLE parts (id bigint, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2025-02-01') TO ('2025-03-01') PARTITION BY HASH (id);
CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_2b PARTITION OF parts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
CREATE TABLE parent (id integer PRIMARY KEY, v text);
CREATE TABLE child (extra text, PRIMARY KEY (id)) INHERITS (parent);
CREATE TABLE computed (id integer PRIMARY KEY, w integer, doubled bigint GENERATED ALWAYS AS (w::bigint * 2) STORED);
CREATE TABLE computed_cold (LIKE computed INCLUDING ALL);
CREATE TABLE toasted (id integer PRIMARY KEY, other integer, doc text, bin bytea);
ALTER TABLE toasted ALTER COLUMN doc SET STORAGE EXTERNAL, ALTER COLUMN bin SET STORAGE EXTERNAL;
CREATE TABLE hot (id integer PRIMARY KEY, n bigint);
CREATE TABLE flags (name text, up boolean);
ALTER TABLE flags REPLICA IDENTITY FULL;
CREATE TABLE no_columns ();
CREATE TABLE scratch (id bigint PRIMARY KEY, v text);
"""
# Cold rows beside warm ones; what differs only on paper is here on both sides.
ROWS = f"""
SET search_path = {SCHEMA};
INSERT INTO accounts SELECT i, 1, 0, '' FROM generate_series(1, 2000) AS i;
INSERT INTO tellers SELECT i, 0 FROM generate_series(1, 10) AS i;
INSERT INTO branches VALUES (1, 0);
INSERT INTO history SELECT 1, 1, i % 50, 0, '2020-01-01' FROM generate_series(1, 200) AS i;
INSERT INTO keyed SELECT i, 'a' || i, 'b' || i, i * 1.10, i, jsonb_build_object('b', i, 'aa', i, 'a', 1.0), '2020-01-01', i
  FROM (SELECT generate_series(1, 1000) UNION ALL SELECT generate_series({COLD}, {COLD + 1000})) AS g(i);
UPDATE keyed SET b = '' WHERE id = {COLD + 3};
UPDATE keyed SET b = NULL WHERE id = {COLD + 4};
UPDATE keyed SET f = 0 WHERE id = {COLD + 8};
UPDATE keyed SET "a %s" = 'é' WHERE id = {COLD + 12};
UPDATE keyed SET k = 1 WHERE id = {COLD + 13};
INSERT INTO composite SELECT 'a' || i % 3, i, 'v' FROM (SELECT generate_series(1, 300) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO "by text" SELECT 'c' || i, 'v' FROM (SELECT generate_series(1, 300) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO by_char SELECT 'c' || i, 'v' FROM (SELECT generate_series(1, 300) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO by_index SELECT 'v', i, -i FROM (SELECT generate_series(1, 300) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO "No ""Key" SELECT i % 20, 'y', 0 FROM generate_series(1, 100) AS i;
INSERT INTO "No ""Key" SELECT {COLD} + i % 10, 'y', 0 FROM generate_series(1, 50) AS i;
INSERT INTO parts SELECT i, date '2025-01-01' + (i % 100)::integer, 'v'
  FROM (SELECT generate_series(1, 500) UNION ALL SELECT generate_series({COLD}, {COLD + 200})) AS g(i);
INSERT INTO parent SELECT i, 'p' FROM (SELECT generate_series(1, 100) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO child SELECT i, 'c', 'e' FROM (SELECT generate_series(1, 100) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO computed SELECT i, i FROM (SELECT generate_series(1, 100) UNION ALL SELECT generate_series({COLD}, {COLD + 50})) AS g(i);
INSERT INTO toasted SELECT i, 0, (SELECT string_agg(md5((i * n)::text), '') FROM generate_series(1, 300) AS n),
       decode(repeat(md5(i::text), 300), 'hex')
  FROM (SELECT generate_series(1, 60) UNION ALL SELECT generate_series({COLD}, {COLD + 20})) AS g(i);
INSERT INTO computed_cold SELECT i, i FROM generate_series(1, 50) AS i;
INSERT INTO hot VALUES (1, 0);
INSERT INTO flags VALUES ('a', true), ('a', true), ('a', false), ('b', NULL), (NULL, NULL);
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
"""


def made(pair: ReplicatedPair) -> None:
    """Make the tables, replicate them, and fill the source."""
    pair.both(TABLES)
    marker = sql.Identifier("seren_migrator", pair.replicate(marker=True, options="copy_data = false").marker)
    pair.target.execute(sql.SQL("INSERT INTO {} VALUES (1, 'opened', now())").format(marker))
    pair.source.execute(ROWS)
    until(lambda: pair.target.execute(f"SELECT count(*) FROM {SCHEMA}.no_columns") == [(2,)], "the rows", 60)


# --- writers ---------------------------------------------------------------------------------------------------

Connection = psycopg.Connection[Any]


def _run(connection: Connection, *statements: str) -> None:
    time.sleep(PAUSE_S)
    connection.execute(f"SET search_path = {SCHEMA};" + ";".join(statements))  # type: ignore[arg-type]


def pgbench(connection: Connection, number: int) -> None:
    """What pgbench's own script does, and the one row that every transaction updates."""
    aid, tid, delta = random.randint(1, 2000), random.randint(1, 10), random.randint(-5000, 5000)
    _run(
        connection,
        f"UPDATE accounts SET abalance = abalance + {delta} WHERE aid = {aid}",
        f"UPDATE tellers SET tbalance = tbalance + {delta} WHERE tid = {tid}",
        f"UPDATE branches SET bbalance = bbalance + {delta} WHERE bid = 1",
        f"INSERT INTO history VALUES ({tid}, 1, {aid}, {delta}, CURRENT_TIMESTAMP)",
        "UPDATE hot SET n = n + 1",
    )


def keys(connection: Connection, number: int) -> None:
    """Every kind of key: rows that come, change, change their key, go, and come back in the same transaction."""
    i, new = random.randint(1, 300), 10_000 + number
    _run(
        connection,
        f"""UPDATE keyed SET "a %s" = 'x{number}', f = -f, n = n + 0.10, j = j || '{{"a": {number}}}' WHERE id = {i}""",
        f"INSERT INTO keyed (id, b) VALUES ({new}, 'new'); DELETE FROM keyed WHERE id = {new - 7}",
        f"UPDATE keyed SET id = -id WHERE id = {new - 3}",
        f"DELETE FROM composite WHERE b = {i}; INSERT INTO composite VALUES ('a{i % 3}', {i}, 'again {number}')",
        f"""UPDATE "by text" SET code = code || 'x' WHERE code = 'c{i}'; UPDATE "by text" SET code = 'c{i}', v = '{number}' WHERE code = 'c{i}x'""",
        f"INSERT INTO \"by text\" VALUES ('n{number}', NULL); DELETE FROM \"by text\" WHERE code = 'n{number - 4}'",
        f"UPDATE by_char SET v = '{number}' WHERE code = 'c{i}'",
        f"INSERT INTO by_char VALUES ('n{number}') ON CONFLICT (code) DO UPDATE SET v = 'again'; DELETE FROM by_char WHERE code = 'n{number - 3}'",
        f"UPDATE by_index SET v = '{number}' WHERE code = {i}; UPDATE by_index SET other = other - 1 WHERE code = {300 - i}",
        f"SELECT 1 FROM keyed WHERE id = {i + 1} FOR KEY SHARE",
    )


def kinds(connection: Connection, number: int) -> None:
    """Every kind of table that is not plain; a part of it is rolled back."""
    i, day = random.randint(1, 100), f"date '2025-01-01' + {random.randint(0, 99)}"
    _run(
        connection,
        f"""INSERT INTO "No ""Key" VALUES ({i % 20}, 'y', {number % 3})""",
        f"""DELETE FROM "No ""Key" WHERE ctid = (SELECT ctid FROM "No ""Key" WHERE x = {i % 20} LIMIT 1)""",
        f"""UPDATE "No ""Key" SET z = z + 1 WHERE x = {(i + 1) % 20}""",
        f"UPDATE parts SET day = {day}, v = '{number}' WHERE id = {i}",
        f"INSERT INTO parts VALUES ({20_000 + number}, {day}, 'new'); DELETE FROM parts WHERE id = {20_000 + number - 9}",
        f"UPDATE parent SET v = '{number}' WHERE id = {i}",
        f"UPDATE ONLY parent SET v = 'only {number}' WHERE id = {101 - i}",
        f"UPDATE computed SET w = w + 1 WHERE id = {i}",
        f"UPDATE toasted SET other = other + 1 WHERE id = {i % 60 + 1}",
        "UPDATE flags SET up = NOT up WHERE name = 'a'; INSERT INTO flags VALUES (NULL, NULL)",
        "DELETE FROM flags WHERE ctid = (SELECT ctid FROM flags WHERE name IS NULL LIMIT 1)",
        "SAVEPOINT s",
        f"UPDATE toasted SET doc = 'gone' WHERE id = {i % 60 + 1}; DELETE FROM child WHERE id = {i}",
        "ROLLBACK TO SAVEPOINT s",
        f"UPDATE toasted SET doc = doc || '{number}' WHERE id = {(i + 30) % 60 + 1}" if number % 5 == 0 else "SELECT 1",
    )


def truncating(connection: Connection, number: int) -> None:
    """A table that is emptied all the time."""
    _run(connection, f"INSERT INTO scratch VALUES ({number})", "TRUNCATE scratch" if number % 40 == 39 else "SELECT 1")


# --- damage ----------------------------------------------------------------------------------------------------

# What is done to the target, and how verify calls it.
Named = set[tuple[str, str, tuple[str, ...], tuple[str, ...]]]
DAMAGE: list[tuple[str, Named]] = [
    (
        f"""UPDATE keyed SET "a %s" = overlay("a %s" placing 'A' from 1 for 1) WHERE id = {COLD + 1}""",
        {("keyed", "changed", (f"{COLD + 1}",), ("a %s",))},
    ),
    (f"DELETE FROM keyed WHERE id = {COLD + 2}", {("keyed", "missing", (f"{COLD + 2}",), ())}),
    ("INSERT INTO keyed (id) VALUES (-1)", {("keyed", "extra", ("-1",), ())}),
    (f"UPDATE keyed SET b = NULL WHERE id = {COLD + 3}", {("keyed", "changed", (f"{COLD + 3}",), ("b",))}),
    (f"UPDATE keyed SET b = '' WHERE id = {COLD + 4}", {("keyed", "changed", (f"{COLD + 4}",), ("b",))}),
    (
        f"""UPDATE keyed SET "a %s" = b, b = "a %s" WHERE id = {COLD + 5}""",
        {("keyed", "changed", (f"{COLD + 5}",), ("a %s", "b"))},
    ),
    (
        f"""UPDATE keyed SET "a %s" = 'a' || ({2 * COLD + 13} - id) WHERE id IN ({COLD + 6}, {COLD + 7})""",
        {("keyed", "changed", (f"{COLD + n}",), ("a %s",)) for n in (6, 7)},
    ),
    (f"UPDATE keyed SET f = '-0' WHERE id = {COLD + 8}", {("keyed", "changed", (f"{COLD + 8}",), ("f",))}),
    (f"UPDATE keyed SET n = n * 1.0 WHERE id = {COLD + 9}", {("keyed", "changed", (f"{COLD + 9}",), ("n",))}),
    (f"""UPDATE keyed SET j = jsonb_build_object('a', 1.0, 'aa', id, 'b', id) WHERE id = {COLD + 10}""", set()),
    (
        f"UPDATE keyed SET at = at + interval '1 microsecond' WHERE id = {COLD + 11}",
        {("keyed", "changed", (f"{COLD + 11}",), ("at",))},
    ),
    (
        f"""UPDATE keyed SET "a %s" = E'e\\u0301' WHERE id = {COLD + 12}""",
        {("keyed", "changed", (f"{COLD + 12}",), ("a %s",))},
    ),
    (f"UPDATE keyed SET k = 4294967296 WHERE id = {COLD + 13}", {("keyed", "changed", (f"{COLD + 13}",), ("k",))}),
    (
        f"UPDATE keyed SET id = id + 500000 WHERE id = {COLD + 14}",
        {("keyed", "missing", (f"{COLD + 14}",), ()), ("keyed", "extra", (f"{COLD + 500014}",), ())},
    ),
    (
        f"UPDATE composite SET v = v || ' ' WHERE b = {COLD + 1}",
        {("composite", "changed", (f"{COLD + 1}", f"a{(COLD + 1) % 3}"), ("v",))},
    ),
    (
        f"UPDATE composite SET a = upper(a) WHERE b = {COLD + 2}",
        {
            ("composite", kind, (f"{COLD + 2}", f"{a}{(COLD + 2) % 3}"), ())
            for kind, a in (("missing", "a"), ("extra", "A"))
        },
    ),
    (f"""DELETE FROM "by text" WHERE code = 'c{COLD + 1}'""", {("by text", "missing", (f"c{COLD + 1}",), ())}),
    (
        """INSERT INTO "by text" VALUES ('Extra '), (''), ('extra')""",
        {("by text", "extra", (code,), ()) for code in ("Extra ", "", "extra")},
    ),
    (
        "INSERT INTO by_char VALUES ('Extra'), ('')",
        {("by_char", "extra", (code,), ()) for code in ("Extra   ", " " * 8)},
    ),
    (f"UPDATE by_char SET v = NULL WHERE code = 'c{COLD + 1}'", {("by_char", "changed", (f"c{COLD + 1} ",), ("v",))}),
    (
        f"UPDATE by_index SET v = 'V' WHERE code = {COLD + 1}",
        {("by_index", "changed", (f"{COLD + 1}", f"-{COLD + 1}"), ("v",))},
    ),
    (
        f"""INSERT INTO "No ""Key" SELECT * FROM "No ""Key" WHERE x = {COLD + 1} LIMIT 1""",
        {('No "Key', "extra", (), ())},
    ),
    (
        f"""DELETE FROM "No ""Key" WHERE ctid = (SELECT ctid FROM "No ""Key" WHERE x = {COLD + 2} LIMIT 1)""",
        {('No "Key', "missing", (), ())},
    ),
    (f"UPDATE parts SET v = 'V' WHERE id = {COLD + 1}", {("parts", "changed", (f"{COLD + 1}", "2025-01-02"), ("v",))}),
    (
        f"UPDATE parts SET day = day + 30 WHERE id = {COLD + 2}",
        {
            ("parts", "missing", (f"{COLD + 2}", "2025-01-03"), ()),
            ("parts", "extra", (f"{COLD + 2}", "2025-02-02"), ()),
        },
    ),
    (f"DELETE FROM parts WHERE id = {COLD + 99}", {("parts", "missing", (f"{COLD + 99}", "2025-04-10"), ())}),
    (f"DELETE FROM ONLY parent WHERE id = {COLD + 1}", {("parent", "missing", (f"{COLD + 1}",), ())}),
    (f"UPDATE child SET extra = 'E' WHERE id = {COLD + 2}", {("child", "changed", (f"{COLD + 2}",), ("extra",))}),
    (
        f"UPDATE computed SET w = -1 WHERE id = {COLD + 1}",
        {("computed", "changed", (f"{COLD + 1}",), ("w", "doubled"))},
    ),
    ("ALTER TABLE computed_cold ALTER COLUMN doubled DROP EXPRESSION", set()),
    (
        "UPDATE computed_cold SET doubled = doubled + 1 WHERE id = 4",
        {("computed_cold", "generated_only", ("4",), ("doubled",))},
    ),
    (
        f"UPDATE toasted SET doc = overlay(doc placing '-' from 5000 for 1) WHERE id = {COLD + 1}",
        {("toasted", "changed", (f"{COLD + 1}",), ("doc",))},
    ),
    (
        f"UPDATE toasted SET bin = set_byte(bin, 4799, get_byte(bin, 4799) # 1) WHERE id = {COLD + 2}",
        {("toasted", "changed", (f"{COLD + 2}",), ("bin",))},
    ),
    ("INSERT INTO hot VALUES (2, 0)", {("hot", "extra", ("2",), ())}),
    ("INSERT INTO flags VALUES ('', NULL)", {("flags", "extra", (), ())}),
    ("INSERT INTO no_columns DEFAULT VALUES", {("no_columns", "extra", (), ())}),
]
NAMED: Named = set().union(*(named for _statement, named in DAMAGE))


def spoil(pair: ReplicatedPair) -> None:
    """Do all the damage."""
    pair.damage(f"SET search_path = {SCHEMA}", *(statement for statement, _named in DAMAGE))
