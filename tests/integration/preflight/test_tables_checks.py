# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the shape of the tables, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, case_id, fires_and_is_cured, run_validate

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
        objects=("public.f (equal but not identical values: n)",),
        severity="warning",
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
    Case("selection", selection={"tables": ["no_such_table"]}, name="pattern matches nothing"),
    Case(
        "foreign_keys_outside",
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY REFERENCES parent)",
        selection={"exclude_tables": ["parent"]},
        objects=("public.child: child_id_fkey -> public.parent",),
        severity="warning",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(case, examine, source_db, target_db)


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
def test_partitions_of_a_source_12_are_pointed_out(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(12)
    assert run_validate(cluster.params(), target_db.params)["partitions"]["status"] == "skipped"  # nothing selected
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    assert run_validate(cluster.params(), target_db.params)["partitions"]["status"] == "pass"
    cluster.execute("CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    found = run_validate(cluster.params(), target_db.params)["partitions"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "info", ["public.r"])


def test_row_predicates_need_a_source_15(make_cluster: Callable[..., Cluster], target_db: Database) -> None:
    cluster = make_cluster(14)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    found = run_validate(cluster.params(), target_db.params, {"rows": {"p": "id > 1"}})["row_predicates"]
    assert (found["status"], found["objects"]) == ("fail", ["public.p"])
