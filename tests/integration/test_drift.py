# SPDX-License-Identifier: GPL-3.0-or-later
"""What has changed on the source since init is told by status: added, changed (and what of it), dropped; and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fixtures import Database
from tests.support.migrations import Case

WEIRD = '"Weird ""Näme""; --"'
SCHEMA = (
    "CREATE TABLE a (id serial PRIMARY KEY, v text, n numeric(10, 2) DEFAULT 1)",
    "CREATE INDEX a_v ON a (v)",
    "CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a)",
    "CREATE TABLE gone (id int PRIMARY KEY)",
    "CREATE TABLE renamed (id int PRIMARY KEY)",
    "CREATE UNLOGGED TABLE fast (id int PRIMARY KEY)",
    f"CREATE TABLE {WEIRD} ({WEIRD} int PRIMARY KEY)",
    "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000)",
    "CREATE VIEW seen AS SELECT id FROM a",
    "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM a",
    "CREATE TYPE mood AS ENUM ('glad', 'sad')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION dropped_function(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SEQUENCE s",
    "INSERT INTO a (v) SELECT 'x' FROM generate_series(1, 50)",
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Iterator[Case]:
    yield begun(source_db, target_db)


def begun(source: Database, target: Database, **options: Any) -> Case:
    for statement in SCHEMA:
        source.execute(statement)
    made = Case(source, target, options)
    made.init(large_objects="skip")
    made.sync()
    made.wait_until_in_sync()
    return made


def drift(case: Case) -> dict[tuple[str, str], list[str]]:
    entries = case.status(window=0.3).data["drift"]
    found = {(entry["object"], entry["change"]): entry["attributes"] for entry in entries}
    assert len(found) == len(entries)
    return found


def test_what_is_only_data_is_no_drift(case: Case) -> None:
    for statement in (
        "INSERT INTO a (v) VALUES ('later')",
        "SELECT nextval('s')",
        "ANALYZE",
        "VACUUM FULL a",
        "REINDEX TABLE a",
        "TRUNCATE b",
        "REFRESH MATERIALIZED VIEW kept",
        "REFRESH MATERIALIZED VIEW kept WITH NO DATA",
        "SELECT lo_create(0)",
        "ALTER SEQUENCE s RESTART WITH 100",
    ):
        case.source.execute(statement)
    assert drift(case) == {}


def test_every_change_is_named_with_what_has_changed(case: Case) -> None:
    for statement in (
        "ALTER TABLE a ADD COLUMN w int, ALTER COLUMN n SET DEFAULT 2",
        "DROP INDEX a_v",
        "CREATE INDEX a_n ON a (n)",
        "ALTER TABLE b DROP CONSTRAINT b_a_id_fkey",
        "DROP TABLE gone",
        "ALTER TABLE renamed RENAME TO renamed_now",
        "DROP TABLE fast",
        f"ALTER TABLE {WEIRD} ADD CHECK ({WEIRD} > 0)",
        "CREATE OR REPLACE VIEW seen AS SELECT id, v FROM a",
        "ALTER TYPE mood ADD VALUE 'calm'",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        "DROP FUNCTION dropped_function(int)",
        "CREATE FUNCTION new_function() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        f"CREATE SCHEMA {WEIRD}",
        "CREATE TABLE new_table (id int PRIMARY KEY)",
        "COMMENT ON TABLE b IS 'a comment'",
        "GRANT SELECT ON b TO PUBLIC",
    ):
        case.source.execute(statement)
    found = drift(case)
    weird = WEIRD
    assert found[("table public.a", "changed")] == [
        "column public.a.n (default)",
        "column public.a.w (added)",
        "index public.a_n (added)",
        "index public.a_v (dropped)",
    ]
    about_b = found[("table public.b", "changed")]
    assert any("b_a_id_fkey" in part and "dropped" in part for part in about_b)
    assert any(part.startswith("table public.b (comment, ") and "privileges" in part for part in about_b)
    assert any("constraint" in part and "added" in part for part in found[(f"table public.{weird}", "changed")])
    assert any(part.startswith("view public.seen (definition") for part in found[("view public.seen", "changed")])
    assert found[("type public.mood", "changed")] == ["type public.mood (labels)"]
    assert len(found[("function public.f()", "changed")]) == 1
    assert {key for key in found if key[1] != "changed"} == {
        ("table public.gone", "dropped"),
        ("table public.fast", "dropped"),
        ("table public.renamed", "replaced"),
        ("function public.dropped_function(integer)", "dropped"),
        ("function public.new_function()", "added"),
        (f"schema {weird}", "added"),
        ("table public.new_table", "added"),
    }


def test_what_sync_has_brought_in_is_no_drift_any_more_and_its_changes_are(case: Case) -> None:
    for statement in (
        "CREATE TYPE new_type AS ENUM ('x')",
        "CREATE TABLE new_table (id int PRIMARY KEY, x new_type)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000)",
    ):
        case.source.execute(statement)
    assert case.sync(add_new_tables=True).data["drift"] == []
    assert drift(case) == {}
    for statement in (
        "ALTER TABLE new_table ADD COLUMN y int",
        "ALTER TYPE new_type ADD VALUE 'y'",
        "COMMENT ON TABLE p2 IS 'new'",
    ):
        case.source.execute(statement)
    assert drift(case) == {
        ("table public.new_table", "changed"): ["column public.new_table.y (added)"],
        ("type public.new_type", "changed"): ["type public.new_type (labels)"],
        ("table public.p2", "changed"): ["table public.p2 (comment)"],
    }


def test_only_the_selection_counts(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE SCHEMA other")
    source_db.execute("CREATE TABLE other.t (id int PRIMARY KEY)")
    source_db.execute("CREATE TABLE left_out (id int PRIMARY KEY)")
    source_db.execute("CREATE VIEW on_left_out AS SELECT * FROM left_out")
    case = begun(source_db, target_db, exclude_schemas=["other"], exclude_tables=["left_*"])
    for statement in (
        "ALTER TABLE left_out ADD COLUMN x int",
        "CREATE OR REPLACE VIEW on_left_out AS SELECT id, x FROM left_out",
        "ALTER TABLE other.t ADD COLUMN x int",
        "CREATE FUNCTION other.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE left_later (id int)",
    ):
        source_db.execute(statement)
    assert drift(case) == {}
    source_db.execute("DROP VIEW on_left_out; DROP TABLE left_out")
    assert drift(case) == {}


def test_nothing_of_a_changed_schema_is_kept_in_clear(case: Case) -> None:
    rows = case.target.execute("SELECT kind, name, fingerprint, content FROM seren_migrator.described")
    assert {("table", "public.a"), ("function", "public.f()")} <= {row[:2] for row in rows}
    assert all(b"SELECT 1" not in bytes(row[3]) for row in rows)
    case.cleanup()
    assert case.target.execute("SELECT count(*) FROM seren_migrator.described") == [(0,)]


def test_without_schema_drift_only_tables_are_told(case: Case) -> None:
    case.source.execute("CREATE VIEW later AS SELECT 1 AS one")
    case.source.execute("CREATE TABLE n (id int PRIMARY KEY)")
    entries = case.status(window=0.3, schema_drift=False).data["drift"]
    assert [entry["object"] for entry in entries] == ["table public.n"]


def test_a_ledger_that_knows_nothing_says_so(case: Case) -> None:
    case.target.execute("TRUNCATE seren_migrator.described")
    assert list(drift(case)) == [("schema of the source", "unknown")]
