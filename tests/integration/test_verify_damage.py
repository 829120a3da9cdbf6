# SPDX-License-Identifier: GPL-3.0-or-later
"""verify finds each kind of damage on the target, names it by key and column, and shows no value."""

from __future__ import annotations

import functools
import json

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from tests.integration.verify_pair import ReplicatedPair, found
from tests.support.fixtures import Database
from tests.support.verified import assert_verified

TABLES = """
CREATE TYPE public.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN public.padded AS char(6);
CREATE TYPE public.pair AS (a integer, b text);
CREATE TABLE public.types (
  id integer PRIMARY KEY, i2 smallint, i8 bigint, t text, v varchar(40), other text, c char(8), p public.padded,
  n numeric, f4 real, f8 double precision, ok boolean, u uuid, d date, ts timestamp, tz timestamptz, iv interval,
  b bytea, j json, jb jsonb, m public.mood, comp public.pair, arr integer[], txt text[], r int4range, ip inet,
  mac macaddr, bits varbit, ch "char", money money, x xml, point point, tsv tsvector, big text);
CREATE TABLE public."No ""Key" (x integer, y text);
ALTER TABLE public."No ""Key" REPLICA IDENTITY FULL;
CREATE TABLE public.two_part (a text, b integer, "Wert %s" text, PRIMARY KEY (b, a));
CREATE TABLE public.computed (id integer PRIMARY KEY, w integer, doubled integer GENERATED ALWAYS AS (w * 2) STORED);
CREATE TABLE public.parts (id bigint PRIMARY KEY, t text) PARTITION BY RANGE (id);
CREATE TABLE public.parts_low PARTITION OF public.parts FOR VALUES FROM (MINVALUE) TO (1000);
CREATE TABLE public.parts_high PARTITION OF public.parts DEFAULT;
CREATE TABLE public.parent (id integer PRIMARY KEY, t text);
CREATE TABLE public.child (extra integer, PRIMARY KEY (id)) INHERITS (public.parent);
"""
ROWS = """
INSERT INTO public.types
SELECT i, i, i * 1000000000000, 'text ' || i, 'v' || i, 'other ' || i, 'pad' || i % 100, 'p', i * 1.10, i / 3.0, i / 7.0,
       i % 2 = 0, pg_catalog.md5(i::text)::uuid, date '2000-01-01' + i, timestamp '2020-02-29 12:00' + i * interval '1 s',
       timestamptz '2020-02-29 12:00+00' + i * interval '1 ms', i * interval '1 day 00:00:01',
       decode(pg_catalog.md5(i::text), 'hex'), '{"a" : 1}', '{"b": 1, "a": [1, 2.50]}', 'glad', row(i, 'it''s, "so"')::public.pair,
       ARRAY[i, NULL], ARRAY['a b', NULL, ''], int4range(i, i + 5), '10.0.0.0/8', '08:00:2b:01:02:03', B'101',
       'x', 12.34, '<a>1</a>', point(i, -i), to_tsvector('simple', 'some words ' || i),
       (SELECT pg_catalog.string_agg(pg_catalog.md5((i * n)::text), '') FROM generate_series(1, 300) AS n)
  FROM generate_series(1, 3000) AS i;
INSERT INTO public."No ""Key" SELECT i % 100, 'y' || i % 100 FROM generate_series(1, 300) AS i;
INSERT INTO public.two_part SELECT 'a' || i % 3, i, 'w' || i FROM generate_series(1, 300) AS i;
INSERT INTO public.computed SELECT i, i FROM generate_series(1, 300) AS i;
INSERT INTO public.parts SELECT i, 't' || i FROM generate_series(1, 3000) AS i;
INSERT INTO public.parent SELECT i, 't' || i FROM generate_series(1, 100) AS i;
INSERT INTO public.child SELECT i, 't' || i, i FROM generate_series(1, 100) AS i;
"""


def prepared(source_db: Database, target_db: Database) -> ReplicatedPair:
    pair = ReplicatedPair(source_db, target_db)
    pair.both(TABLES)
    source_db.execute(ROWS)
    pair.replicate()
    return pair


CHANGES = {
    # one column of one row: the column's name, and what it becomes on the target
    "i2": "i2 + 1",
    "i8": "i8 # 1",
    "t": "overlay(t placing 'T' from 1 for 1)",
    "v": "v || ' '",
    "other": "NULL",
    "c": "'pad'",
    "n": "n * 1.0",
    "f4": "'-0'",
    "f8": "f8 + 1e-16",
    "ok": "NOT ok",
    "u": "pg_catalog.md5('x')::uuid",
    "d": "d + 1",
    "ts": "ts + interval '1 microsecond'",
    "tz": "tz + interval '1 microsecond'",
    "iv": "iv + interval '24 hours' - interval '1 day'",
    "b": "pg_catalog.set_byte(b, 3, pg_catalog.get_byte(b, 3) # 1)",
    "j": """'{"a":1}'""",
    "jb": """'{"b": 1, "a": [1, 2.5]}'""",
    "m": "'sad'",
    "comp": "row((comp).a, NULL)::public.pair",
    "arr": "ARRAY[id]",
    "txt": "ARRAY['a b', '', '']",
    "r": "int4range(id, id + 6)",
    "ip": "'10.0.0.0/9'",
    "mac": "'08:00:2b:01:02:04'",
    "bits": "B'1010'",
    "ch": "'y'",
    "money": "12.35",
    "x": "'<a>2</a>'",
    "point": "point(id, -id + 1e-9)",
    "tsv": "to_tsvector('simple', 'some words')",
    "big": "overlay(big placing '-' from 5000 for 1)",
}


def test_one_changed_byte_in_a_column_of_any_type_is_named_by_key_and_column(
    source_db: Database, target_db: Database
) -> None:
    pair = prepared(source_db, target_db)
    assert_verified(pair.verify())
    source_db.execute("UPDATE public.types SET f4 = 0, f8 = 1.0000000000000001e-16 WHERE id < 100")
    expected = set()
    for number, (column, value) in enumerate(CHANGES.items(), start=1):
        pair.verify() if number == 1 else None  # the update above has arrived
        pair.damage(f"UPDATE public.types SET {column} = {value} WHERE id = {number}")
        expected.add(("types", "changed", (str(number),), (column,)))
    result = pair.verify()
    assert found(result) == expected
    assert result.error is not None
    assert result.error.code == "not_verified"
    assert result.changed is False
    assert [table["status"] for table in result.data["tables"]].count("different") == 1
    shown = json.dumps(result.data)
    assert "text 3" not in shown
    assert "-0" not in shown.replace(result.data["started_at"], "")


def test_values_that_the_servers_own_hash_calls_equal_are_told_apart(source_db: Database, target_db: Database) -> None:
    """hashint8extended and timestamp_hash_extended fold 64 bits to 32: each pair here has one hash under every seed."""
    pair = ReplicatedPair(source_db, target_db)
    pair.both("CREATE TABLE public.t (id bigint PRIMARY KEY, n bigint, at timestamp, tz timestamptz)")
    moment, same_hash = "2000-01-01 00:00:00.000001", "2000-01-01 01:11:34.967296"
    folded = "SELECT hashint8extended(1, 9) = hashint8extended(4294967296, 9) AND timestamp_hash_extended({}, 9) = "
    folded += "timestamp_hash_extended({}, 9)"
    assert source_db.execute(folded.format(f"'{moment}'::timestamp", f"'{same_hash}'::timestamp")) == [(True,)]
    source_db.execute(f"INSERT INTO public.t SELECT i, 1, '{moment}', '{moment} UTC' FROM generate_series(1, 9) AS i")
    pair.replicate()
    assert pair.verify().data["verified"] is True
    pair.damage(
        "UPDATE public.t SET n = 4294967296 WHERE id = 1",
        f"UPDATE public.t SET at = '{same_hash}' WHERE id = 2",
        f"UPDATE public.t SET tz = '{same_hash} UTC' WHERE id = 3",
        "UPDATE public.t SET id = 4::bigint << 32 WHERE id = 4",
    )
    assert found(pair.verify()) == {
        ("t", "changed", ("1",), ("n",)),
        ("t", "changed", ("2",), ("at",)),
        ("t", "changed", ("3",), ("tz",)),
        ("t", "missing", ("4",), ()),
        ("t", "extra", (str(4 << 32),), ()),
    }


@pytest.mark.parametrize("by_index", [False, True], ids=["scanned", "looked up"])
def test_lost_extra_swapped_and_doubled_rows_are_found(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch, by_index: bool
) -> None:
    if by_index:
        monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, lookup_above_bytes=0))
    pair = prepared(source_db, target_db)
    pair.damage(
        "DELETE FROM public.types WHERE id = 7",
        "INSERT INTO public.types (id) VALUES (900000)",
        "UPDATE public.types SET t = other, other = t WHERE id = 11",  # equal values, swapped between two columns
        "UPDATE public.types SET t = 'text 13' WHERE id = 12",
        "UPDATE public.types SET t = 'text 12' WHERE id = 13",  # swapped between two rows
        "UPDATE public.types SET other = '' WHERE id = 20",
        """INSERT INTO public."No ""Key" VALUES (3, 'y3')""",
        """DELETE FROM public."No ""Key" WHERE ctid IN (SELECT ctid FROM public."No ""Key" WHERE x = 4 LIMIT 1)""",
        """UPDATE public."No ""Key" SET y = NULL WHERE ctid IN
           (SELECT ctid FROM public."No ""Key" WHERE x = 5 LIMIT 1)""",
        """UPDATE public.two_part SET "Wert %s" = 'x' WHERE b = 10""",
        "UPDATE public.parts SET t = 'x' WHERE id IN (5, 2000)",
        "DELETE FROM ONLY public.parent WHERE id = 4",
        "UPDATE public.child SET extra = 0 WHERE id = 5",
        "ALTER TABLE public.computed ALTER COLUMN doubled DROP EXPRESSION",
        "UPDATE public.computed SET doubled = 1 WHERE id = 4",
    )
    source_db.execute("UPDATE public.types SET other = NULL WHERE id = 20")
    pair.verify()
    pair.damage("UPDATE public.types SET other = '' WHERE id = 20")  # '' is not NULL
    result = pair.verify()
    assert found(result) == {
        ("types", "missing", ("7",), ()),
        ("types", "extra", ("900000",), ()),
        ("types", "changed", ("11",), ("t", "other")),
        ("types", "changed", ("12",), ("t",)),
        ("types", "changed", ("13",), ("t",)),
        ("types", "changed", ("20",), ("other",)),
        ('No "Key', "extra", (), ()),
        ('No "Key', "missing", (), ()),
        ("two_part", "changed", ("10", "a1"), ("Wert %s",)),
        ("parts", "changed", ("5",), ("t",)),
        ("parts", "changed", ("2000",), ("t",)),
        ("parent", "missing", ("4",), ()),
        ("child", "changed", ("5",), ("extra",)),
        ("computed", "generated_only", ("4",), ("doubled",)),
    }
    counts = {
        (item["kind"], item["source_count"], item["target_count"])
        for item in result.data["differences"]
        if item["table"] == 'No "Key'
    }
    assert counts == {("extra", 3, 4), ("missing", 3, 2), ("extra", 0, 1)}


def test_a_duplicate_under_a_key_that_the_target_does_not_enforce_is_an_extra_row(
    source_db: Database, target_db: Database
) -> None:
    pair = prepared(source_db, target_db)
    pair.damage(
        "ALTER TABLE public.two_part DROP CONSTRAINT two_part_pkey",
        "INSERT INTO public.two_part SELECT * FROM public.two_part WHERE b = 10",
    )
    result = pair.verify(tables=("two_part",))
    assert found(result) == {("two_part", "extra", ("10", "a1"), ())}
    assert result.data["partial"] is True
    assert len(result.data["tables"]) == 1


def test_more_differences_than_asked_for_are_counted_and_cut(source_db: Database, target_db: Database) -> None:
    pair = prepared(source_db, target_db)
    pair.damage("UPDATE public.types SET t = 'x'", "TRUNCATE public.parts")
    result = pair.verify(max_differences=10)
    assert len(result.data["differences"]) == 10
    assert result.data["differences_truncated"] is True
    assert {t["name"]: t["differing_rows"] for t in result.data["tables"] if t["status"] == "different"} == {
        "types": 3000,
        "parts": 3000,
    }


def test_different_settings_of_the_two_databases_change_nothing(source_db: Database, target_db: Database) -> None:
    pair = prepared(source_db, target_db)
    for database, settings in (
        (source_db, {"DateStyle": "German, DMY", "TimeZone": "Asia/Tokyo", "extra_float_digits": "0"}),
        (target_db, {"IntervalStyle": "iso_8601", "bytea_output": "escape", "xmloption": "document"}),
    ):
        for name, value in settings.items():
            database.execute(f"ALTER DATABASE {database.name} SET {name} TO '{value}'")
        database.execute(f"ALTER DATABASE {database.name} SET search_path TO nowhere")
    result = pair.verify()
    assert_verified(result)
    assert result.error is None
