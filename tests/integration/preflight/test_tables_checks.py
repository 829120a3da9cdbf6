# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the shape of the tables, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.preflight import tables
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, cure, run_validate

CASES = (
    Case(
        "replica_identity",
        f"CREATE SCHEMA {H}; CREATE TABLE {H}.{H} ({H} int, j int)",
        objects=(f"{HOSTILE}.{HOSTILE} (no primary key)",),
        cure="source",
        name="no key",
    ),
    Case(
        "replica_identity",
        f'CREATE TABLE {H} ({H} int NOT NULL, j json); CREATE UNIQUE INDEX {H[:-1]} ix" ON {H} ({H})',
        objects=(f"public.{HOSTILE} (no primary key)",),
        cure="source",
        name="unique index",
    ),
    Case(
        "replica_identity",
        "CREATE TABLE d (id int PRIMARY KEY DEFERRABLE)",
        objects=("public.d (its primary key is deferrable)",),
        cure="source",
        name="deferrable key",
    ),
    Case(
        "replica_identity",
        "CREATE TABLE n (id int PRIMARY KEY); ALTER TABLE n REPLICA IDENTITY NOTHING",
        objects=("public.n (REPLICA IDENTITY NOTHING)",),
        cure="source",
        name="nothing",
    ),
    Case(
        "replica_identity",
        "CREATE TABLE i (id int NOT NULL, k int PRIMARY KEY); CREATE UNIQUE INDEX ix ON i (id);"
        "ALTER TABLE i REPLICA IDENTITY USING INDEX ix; DROP INDEX ix",
        objects=("public.i (the index of its replica identity was dropped)",),
        cure="source",
        name="index dropped",
    ),
    Case(
        "replica_identity",
        "CREATE TABLE r (id int) PARTITION BY RANGE (id); CREATE TABLE l PARTITION OF r FOR VALUES FROM (0) TO (9)",
        objects=("public.l (no primary key)",),
        cure="source",
        name="partition",
    ),
    Case(
        "replica_identity_full_types",
        f"CREATE TABLE f (id int, {H} json); ALTER TABLE f REPLICA IDENTITY FULL",
        objects=(f"public.f.{HOSTILE} (json)",),
        name="json",
        also=("replica_identity_full",),
    ),
    Case(
        "replica_identity_full_types",
        "CREATE TYPE pair AS (a int, p point); CREATE DOMAIN pairs AS pair[];"
        "CREATE TABLE f (id int NOT NULL, c pairs); CREATE UNIQUE INDEX ix ON f (id); ALTER TABLE f REPLICA IDENTITY FULL",
        objects=("public.f.c (point)",),
        cure="source",
        name="point in a composite in an array in a domain",
        also=("replica_identity_full",),
    ),
    Case(
        "replica_identity_full",
        "CREATE TABLE f (id int, n numeric(9,2)[]); ALTER TABLE f REPLICA IDENTITY FULL",
        objects=("public.f (8 kB, 0 rows changed; equal but not identical values: n)",),
        severity="warning",
        name="loose equality",
    ),
    Case(
        "replica_identity_full",
        f"CREATE TABLE {H} (id int, n text); ALTER TABLE {H} REPLICA IDENTITY FULL",
        objects=(f"public.{HOSTILE} (8 kB, 0 rows changed)",),
        severity="info",
        name="small and quiet",
    ),
    Case(
        "replica_identity_generated",
        f"CREATE TABLE g (a int NOT NULL UNIQUE, {H} int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)",
        objects=(f"public.g ({HOSTILE})",),
        cure="source",
        name="primary key",
    ),
    Case(
        "replica_identity_generated",
        f"CREATE TABLE {H} (a int, g int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY);"
        f"ALTER TABLE {H} REPLICA IDENTITY FULL",
        objects=(f"public.{HOSTILE} (g)",),
        name="full, and the target searches by the primary key",
    ),
    Case(
        "replica_identity",
        "CREATE TABLE g (a int NOT NULL, k int GENERATED ALWAYS AS (a * 2) STORED NOT NULL UNIQUE)",
        objects=("public.g (no primary key)",),
        cure="source",
        name="a unique index over a generated column is of no use",
    ),
    Case(
        "invalid_indexes",
        f'CREATE TABLE {H} (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX {H[:-1]} ix" ON {H} (v);'
        f'CREATE INDEX {H[:-1]}_ccnew1" ON {H} (v);'
        f"UPDATE pg_index SET indisvalid = false WHERE indrelid = quote_ident('{HOSTILE}')::regclass AND NOT indisprimary",
        objects=(f"public.{HOSTILE} ix ({HOSTILE})", f"public.{HOSTILE}_ccnew1 ({HOSTILE})"),
        severity="warning",
        cure="source",
    ),
    Case(
        "unvalidated_constraints",
        f"CREATE TABLE {H} (id int PRIMARY KEY, v int); INSERT INTO {H} VALUES (1, 2);"
        f"ALTER TABLE {H} ADD CONSTRAINT {H} CHECK (v > 1) NOT VALID, ADD FOREIGN KEY (v) REFERENCES p NOT VALID;"
        "INSERT INTO p VALUES (2)",
        objects=(f"public.{HOSTILE}: {HOSTILE}",),
        severity="info",
        cure="source",
    ),
    Case(
        "similar_names",
        'CREATE TABLE "P" (id int PRIMARY KEY, "Id" int, other int)',
        objects=("public: P, p", "public.P: Id, id"),
        severity="info",
    ),
    Case(
        "row_predicates",
        "CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE m (id int, v mood, PRIMARY KEY (id, v))",
        selection={"rows": {"m": "v = 'happy'"}},
        objects=("public.m: v (public.mood): a type of users may not be used",),
        name="type of users",
    ),
    Case(
        "row_predicates",
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        selection={"rows": {"t": "v > 1"}},
        name="column outside of the identity",
    ),
    Case(
        "row_predicates",
        "CREATE TABLE t (id int, at timestamptz, PRIMARY KEY (id, at))",
        selection={"rows": {"t": "at < now()"}},
        name="function that changes",
    ),
    Case(
        "row_predicates",
        "CREATE TABLE t (id int PRIMARY KEY, v int)",
        selection={"rows": {"t": "true); DROP TABLE t; --"}},
        name="second statement",
    ),
    Case("row_predicates", selection={"rows": {"p": "no_such_column = 1"}}, name="unknown column"),
    Case(
        "row_predicates",
        "CREATE TABLE t (id int, at timestamptz, PRIMARY KEY (id, at))",
        selection={"rows": {"t": "at::date > '2020-01-01'"}},
        name="cast that depends on the time zone",
    ),
    Case("selection", selection={"tables": ["no_such_table"]}, name="pattern matches nothing"),
    Case(
        "foreign_keys_outside",
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY REFERENCES parent)",
        selection={"exclude_tables": ["parent"]},
        objects=("public.child: child_id_fkey -> public.parent",),
        severity="warning",
    ),
)


def test_predicates_over_the_identity_are_accepted(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(
        f"CREATE TABLE t (id int, region text, {H} text, PRIMARY KEY (id, region));"
        "CREATE TABLE f (id int, v text); ALTER TABLE f REPLICA IDENTITY FULL"
    )
    rows = {
        "t": "t.region = 'now()' AND id % 2 = 0 AND lower(region) <> $$SELECT current_date$$ -- now()",
        "f": "length(v) > 3 AND id IN (1, 2)",
    }
    report = examine(Case("", selection={"rows": rows}))
    assert report["row_predicates"] == {**report["row_predicates"], "status": "pass"}
    accepted = sql.SQL("CREATE PUBLICATION x FOR TABLE t WHERE ({}\n), f WHERE ({}\n)")
    source_db.execute(accepted.format(*map(sql.SQL, rows.values())))


@pytest.mark.fires("partitions")
@pytest.mark.silent("partitions")
def test_partitions_of_a_source_12_are_pointed_out(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(12)
    assert run_validate(cluster.params(), target_db.params)["partitions"]["status"] == "skipped"  # nothing selected
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    assert run_validate(cluster.params(), target_db.params)["partitions"]["status"] == "pass"
    cluster.execute("CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    found = run_validate(cluster.params(), target_db.params)["partitions"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "info", ["public.r"])


@pytest.mark.fires("replica_identity_full")
def test_a_large_table_without_a_key_that_changes_often_is_a_warning(
    examine: Callable[[Case], Report], source_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_db.execute("CREATE TABLE f (id int, n text); ALTER TABLE f REPLICA IDENTITY FULL; INSERT INTO f VALUES (1)")
    monkeypatch.setattr(tables, "LARGE_BYTES", 8192)
    assert examine(Case(""))["replica_identity_full"]["severity"] == "info"
    monkeypatch.setattr(tables, "MANY_CHANGES", 2)
    source_db.execute("UPDATE f SET n = 'x'")
    source_db.execute("DELETE FROM f")
    deadline = time.monotonic() + 30
    while source_db.execute("SELECT n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'f'") != [(2,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert examine(Case(""))["replica_identity_full"]["severity"] == "warning"


def test_a_source_18_wants_no_generated_column_in_a_full_identity(
    make_cluster: Callable[..., Cluster], target_db: Database
) -> None:
    cluster = make_cluster(18)
    cluster.execute(
        f"CREATE TABLE {H} (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED);"
        f"ALTER TABLE {H} REPLICA IDENTITY FULL; CREATE TABLE n (v int, g int GENERATED ALWAYS AS (v) VIRTUAL)"
    )
    report = run_validate(cluster.params(), target_db.params)
    found = report["replica_identity_generated"]
    assert (found["status"], found["objects"]) == ("fail", [f"public.{HOSTILE} (g)"])
    assert "FULL" not in report["replica_identity"]["remedy"].replace("(FULL would not work)", "")
    # PostgreSQL agrees: once published, the table refuses.
    cluster.execute(f"INSERT INTO {H} VALUES (1); CREATE PUBLICATION x FOR TABLE {H}")
    with pytest.raises(psycopg.Error):
        cluster.execute(f"UPDATE {H} SET id = 2")
    cure(found["remedy"], Database(cluster, "postgres"))
    cluster.execute(f"UPDATE {H} SET id = 2")
    assert run_validate(cluster.params(), target_db.params)["replica_identity_generated"]["status"] == "pass"


def test_a_predicate_is_judged_once_for_alike_partitions(
    examine: Callable[[Case], Report], source_db: Database
) -> None:
    source_db.execute(
        "CREATE TABLE r (id int, v int NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        "CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (9); CREATE TABLE r2 (v int NOT NULL, id int NOT NULL);"
        "CREATE UNIQUE INDEX u ON r2 (id, v); ALTER TABLE r2 REPLICA IDENTITY USING INDEX u;"
        "ALTER TABLE r ATTACH PARTITION r2 FOR VALUES FROM (9) TO (20);"
        "CREATE TABLE r3 PARTITION OF r FOR VALUES FROM (20) TO (30)"
    )
    found = examine(Case("", selection={"rows": {"r": "v > 1"}}))["row_predicates"]
    assert [item.split(":")[0] for item in found["objects"]] == ["public.r1", "public.r3"]


def test_row_predicates_need_a_source_15(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(14)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    found = run_validate(cluster.params(), target_db.params, {"rows": {"p": "id > 1"}})["row_predicates"]
    assert (found["status"], found["objects"]) == ("fail", ["public.p"])


def test_a_line_break_in_a_name_makes_no_statement_of_a_comment(
    examine: Callable[..., Report], source_db: Database
) -> None:
    break_out = sql.Identifier("x\nDROP TABLE precious; --").as_string(None)
    source_db.execute(
        "CREATE TABLE precious (id int PRIMARY KEY);"
        f"CREATE TABLE {break_out} (shape point); ALTER TABLE {break_out} REPLICA IDENTITY FULL"
    )
    report = examine(Case("replica_identity_full_types"))
    source_db.execute(report["replica_identity_full_types"]["remedy"] + "\n;SELECT 1")
    source_db.execute(f"ALTER TABLE {break_out} REPLICA IDENTITY NOTHING")
    report = examine(Case("replica_identity"))
    source_db.execute(report["replica_identity"]["remedy"])
    assert source_db.execute("SELECT to_regclass('precious') IS NOT NULL") == [(True,)]
