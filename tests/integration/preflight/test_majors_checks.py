# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of definitions that another major or a restore takes otherwise, on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.preflight import HOSTILE, Case, H, Report, cure, run_validate

FRAGILE = f"""
CREATE SCHEMA {H};
CREATE FUNCTION {H}.helper(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(t)';
CREATE FUNCTION {H}(t text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = {H} AS 'SELECT helper(t)';
CREATE TABLE texts (id int PRIMARY KEY, t text);
INSERT INTO texts VALUES (1, 'A');
CREATE INDEX ON texts ({H}(t));
ALTER FUNCTION {H}(text) RESET ALL
"""
CASES = (
    Case(
        "system_columns",
        f"CREATE VIEW {H} AS SELECT buffers_backend FROM pg_catalog.pg_stat_bgwriter;"
        "CREATE VIEW fine AS SELECT pid, state FROM pg_catalog.pg_stat_activity",
        objects=(f"view public.{H}: pg_catalog.pg_stat_bgwriter.buffers_backend",),
    ),
)


@pytest.mark.fires("function_search_paths")
def test_a_function_without_a_search_path_stops_init_and_is_known_before(
    examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    source_db.execute(FRAGILE)
    report = examine(Case(""))
    assert report.with_status("fail", "unknown") == {"function_search_paths": "fail"}
    found = report["function_search_paths"]
    assert found["severity"] == "warning"
    assert len(found["objects"]) == 1
    assert found["objects"][0].startswith(f"public.{H}(text) (for index ")
    assert found["objects"][0].endswith(f"uses {HOSTILE}.helper")
    cure(found["remedy"], source_db)
    assert examine(Case(""))["function_search_paths"]["status"] == "pass"
    with source_db.connect() as connection:
        connection.execute("SET search_path = ''")
        connection.execute("REINDEX TABLE public.texts")


@pytest.mark.parametrize(
    "made",
    [
        f"CREATE FUNCTION f(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT {H}.helper(t)'",
        "CREATE FUNCTION f(texts text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(texts)'",
        "CREATE FUNCTION f(t text) RETURNS text LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT lower(t); END",
        (
            "CREATE FUNCTION f(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
            " 'BEGIN /* helper(t) */ RETURN lower(t); -- texts\nEND'"
        ),
        f"CREATE FUNCTION f(t text) RETURNS text LANGUAGE sql IMMUTABLE SET search_path = {H} AS 'SELECT helper(t)'",
    ],
)
def test_functions_that_need_no_search_path_are_no_concern(
    made: str, examine: Callable[[Case], Report], source_db: Database
) -> None:
    source_db.execute(FRAGILE.partition(f"CREATE FUNCTION {H}(t text)")[0])
    source_db.execute("CREATE TABLE texts (id int PRIMARY KEY, t text)")
    source_db.execute(made)
    source_db.execute("CREATE INDEX ON texts (f(t)); ALTER TABLE texts ADD CHECK (f(t) <> '')")
    assert examine(Case(""))["function_search_paths"]["status"] == "pass"


@pytest.mark.fires("removed_in_14")
@pytest.mark.silent("removed_in_14")
def test_what_14_removed_is_known_and_can_be_dropped(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    source = create_database(make_cluster(13))
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    source.execute(
        f"CREATE TABLE p (id int PRIMARY KEY); CREATE SCHEMA {H}; CREATE AGGREGATE {H}.total(int) (sfunc = int4pl, stype = int)"
    )
    assert run_validate(source.params, target_db.params, **client)["removed_in_14"]["status"] == "pass"
    source.execute(
        f"CREATE AGGREGATE {H}.{H}(anyelement) (sfunc = array_append, stype = anyarray, initcond = '{{}}');"
        f"CREATE OPERATOR {H}.@# (leftarg = bigint, procedure = numeric_fac);"
        f"CREATE OPERATOR {H}.## (leftarg = anyarray, rightarg = anyelement, procedure = array_append)"
    )
    report = run_validate(source.params, target_db.params, **client)
    assert report.with_status("fail", "unknown") == {"removed_in_14": "fail"}
    found = report["removed_in_14"]
    assert found["severity"] == "blocker"
    assert found["objects"] == [
        f"aggregate {HOSTILE}.{HOSTILE} (anyelement)",
        f"operator {HOSTILE}.## (anyarray, anyelement)",
        f"operator {HOSTILE}.@# (bigint, NONE)",
    ]
    cure(found["remedy"], source)
    assert run_validate(source.params, target_db.params, **client)["removed_in_14"]["status"] == "pass"
