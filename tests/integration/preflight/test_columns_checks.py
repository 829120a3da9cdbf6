# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of columns and sequences, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight import columns
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

CASES = (
    Case(
        "generated_columns",
        f"CREATE TABLE parent (id int PRIMARY KEY, {H} int);"
        f"CREATE TABLE {H} (id int PRIMARY KEY, {H} int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE {H} INHERIT parent",
        objects=(f"public.{HOSTILE}.{HOSTILE}",),
        cure="source",
        name="below a plain column",
    ),
    Case(
        "local_values",
        f"CREATE DOMAIN ref AS oid; CREATE TABLE {H} (id int PRIMARY KEY, {H} regclass[], d ref, x xid, ok text)",
        objects=(
            f"public.{HOSTILE}.{HOSTILE} (regclass[])",
            f"public.{HOSTILE}.d (public.ref)",
            f"public.{HOSTILE}.x (xid)",
        ),
        severity="warning",
    ),
    Case(
        "sequences",
        f"CREATE TABLE {H} ({H} serial PRIMARY KEY);"
        f"SELECT setval(pg_get_serial_sequence(quote_ident('{HOSTILE}'), '{HOSTILE}'), 2000000000)",
        severity="warning",
        cure="source",
        name="serial",
    ),
    Case(
        "sequences",
        "CREATE TABLE i (id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); SELECT setval('i_id_seq', 27000)",
        objects=("public.i_id_seq (82% used)",),
        severity="info",
        cure="source",
        name="identity",
    ),
    Case(
        "sequences",
        "CREATE SEQUENCE s MAXVALUE 100; SELECT setval('s', 95)",
        objects=("public.s (95% used)",),
        severity="warning",
        cure="source",
        name="own maximum",
    ),
    Case(
        "sequences",
        "CREATE SEQUENCE s INCREMENT -1 MINVALUE -100; SELECT setval('s', -80)",
        objects=("public.s (80% used)",),
        severity="info",
        cure="source",
        name="descending",
    ),
    Case(
        "sequences",
        "CREATE SEQUENCE s; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('s')); ALTER SEQUENCE s OWNED BY t.id;"
        "SELECT setval('s', 2147483647)",
        objects=("public.s (100% used)",),
        severity="warning",
        cure="source",
        name="bigint sequence of an integer column",
    ),
)


def test_sequences_that_begin_again_are_left_alone(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(
        "CREATE SEQUENCE c MAXVALUE 100 CYCLE; SELECT setval('c', 99);"
        "CREATE SEQUENCE d INCREMENT -1 MAXVALUE 100 MINVALUE 1 START 100; SELECT setval('d', 99); CREATE SEQUENCE new MAXVALUE 2"
    )
    assert examine(Case(""))["sequences"]["status"] == "pass"


def test_sequences_that_may_not_be_read_are_unknown(source_db: Database, target_db: Database) -> None:
    source_db.execute(
        f"CREATE TABLE p (id int PRIMARY KEY); CREATE SEQUENCE {H} AS int; CREATE ROLE me LOGIN PASSWORD 'plain'"
    )
    plain = {**source_db.params, "user": "me", "password": "plain"}
    found = run_validate(plain, target_db.params)["sequences"]
    assert (found["status"], found["objects"]) == ("unknown", [f"public.{HOSTILE}"])
    source_db.execute(found["remedy"])
    assert run_validate(plain, target_db.params)["sequences"]["status"] == "pass"


def test_oids_of_large_objects_that_are_copied_stay_right(
    examine: Callable[[Case], Report], source_db: Database
) -> None:
    source_db.execute("CREATE TABLE f (id int PRIMARY KEY, content oid)")
    assert examine(Case("", options={"large_objects": "copy"}))["local_values"]["status"] == "fail"  # there are none
    source_db.execute("INSERT INTO f VALUES (1, lo_from_bytea(0, 'x'))")
    assert examine(Case("", options={"large_objects": "copy"}))["local_values"]["status"] == "pass"
    assert examine(Case("", options={"large_objects": "skip"}))["local_values"]["status"] == "fail"


@pytest.mark.fires("wide_rows")
def test_wide_rows_are_found_by_what_is_stored_out_of_line(
    examine: Callable[[Case], Report], source_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_db.execute(
        f"CREATE TABLE {H} (id int PRIMARY KEY, {H} bytea); ALTER TABLE {H} ALTER {H} SET STORAGE EXTERNAL;"
        f"INSERT INTO {H} SELECT i, repeat('x', 3000000)::bytea FROM generate_series(1, 2) AS i"
    )
    assert examine(Case(""))["wide_rows"]["status"] == "pass"
    monkeypatch.setattr(columns, "WIDE_ROW_BYTES", 2_000_000)
    # Never analysed: two rows on one page count as one.
    assert examine(Case(""))["wide_rows"]["objects"] == [f"public.{HOSTILE} (5 MB a row)"]
    source_db.execute("ANALYZE")
    found = examine(Case(""))["wide_rows"]
    assert (found["severity"], found["objects"]) == ("warning", [f"public.{HOSTILE} (2 MB a row)"])
    assert source_db.execute(found["remedy"].splitlines()[1]) == [(3000000,)]


@pytest.mark.fires("generated_columns")
def test_virtual_columns_need_a_target_18(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(18)
    cluster.execute(f"CREATE TABLE p (id int PRIMARY KEY, {H} int GENERATED ALWAYS AS (id * 2))")
    found = run_validate(cluster.params(), target_db.params)["generated_columns"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "blocker", [f"public.p.{HOSTILE}"])
    cluster.execute("CREATE DATABASE other")
    assert run_validate(cluster.params(), cluster.params("other"))["generated_columns"]["status"] == "pass"
