# SPDX-License-Identifier: GPL-3.0-or-later
"""Security labels, with and without their provider on the target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.label_provider import build_label_provider
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H
from tests.support.whole_database import (
    TEXT,
    left,
    one_table,
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    return one_table(source_db, target_db)


def test_labels_of_a_provider_that_is_not_loaded_are_listed_together(case: Case) -> None:
    case.source.execute(f"CREATE TABLE {H} (id int PRIMARY KEY, {H} text); CREATE EXTENSION citext")
    case.source.execute(
        "INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)"
        f" SELECT '{H}'::regclass::oid, 'pg_class'::regclass::oid, n, provider, 'MASKED'"
        f"   FROM unnest(ARRAY['anon', %s]) AS provider, generate_series(0, 2) AS n"
        " UNION ALL SELECT 'citext'::regtype::oid, 'pg_type'::regclass::oid, 0, 'anon', 'of an extension'"
        " UNION ALL SELECT 'public'::regnamespace::oid, 'pg_namespace'::regclass::oid, 0, 'anon', 'of a schema'",
        [HOSTILE],
    )
    said = left(case.init().data)
    assert set(said) == {f"{count} security label(s) of provider {name}" for count, name in ((4, "anon"), (3, HOSTILE))}
    assert f"column public.{H}.{H}" in said["4 security label(s) of provider anon"]
    assert case.target.execute("SELECT count(*) FROM pg_seclabel") == [(0,)]


LABELS = """
SELECT i.type, i.identity, s.label
  FROM (SELECT classoid, objoid, objsubid, label FROM pg_seclabel
         UNION ALL SELECT classoid, objoid, 0, label FROM pg_shseclabel) AS s
 CROSS JOIN LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) AS i
 WHERE i.type <> 'database' ORDER BY 1, 2
"""


def test_labels_arrive_where_their_provider_is_loaded(case: Case, make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(17)
    provider = 'seren "label"; --'
    library = build_label_provider(cluster, provider.replace('"', '\\"'))
    cluster.execute(sql.SQL("ALTER SYSTEM SET session_preload_libraries = {}").format(sql.Literal(str(library))))
    cluster.execute("SELECT pg_reload_conf()")
    case = Case(case.source, create_database(cluster))
    case.source.execute(
        f"CREATE ROLE {H}; CREATE ROLE was_there; CREATE SCHEMA {H}; CREATE TABLE {H}.{H} (id int PRIMARY KEY, {H} text);"
        f"CREATE FUNCTION {H}(int, text DEFAULT 'x') RETURNS int LANGUAGE sql AS 'SELECT 1';"
        f"CREATE AGGREGATE {H}.total(*) (sfunc = int8inc, stype = bigint, initcond = '0'); CREATE DOMAIN {H}.small AS int;"
        f"CREATE VIEW {H}.v AS SELECT 1 AS {H}; CREATE SEQUENCE {H}.s; GRANT SELECT ON t TO {H}, was_there"
    )
    cluster.execute("CREATE ROLE was_there")
    case.source.execute(
        sql.SQL(
            "INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label)"
            " SELECT o.objid, o.classid, o.number, {provider}, {label} FROM (VALUES"
            " ('{h}.{h}'::regclass::oid, 'pg_class'::regclass::oid, 0), ('{h}.{h}'::regclass, 'pg_class'::regclass, 2),"
            " ('{h}'::regproc, 'pg_proc'::regclass, 0), ('{h}.total'::regproc, 'pg_proc'::regclass, 0),"
            " ('{h}.small'::regtype, 'pg_type'::regclass, 0), ('{h}.v'::regclass, 'pg_class'::regclass, 0),"
            " ('{h}.v'::regclass, 'pg_class'::regclass, 1), ('{h}.s'::regclass, 'pg_class'::regclass, 0),"
            " ('{h}'::regnamespace, 'pg_namespace'::regclass, 0)) AS o(objid, classid, number)"
        ).format(provider=sql.Literal(provider), label=sql.Literal(TEXT), h=sql.SQL(H))
    )
    case.source.execute(
        sql.SQL(
            "INSERT INTO pg_shseclabel (objoid, classoid, provider, label)"
            " SELECT o.objid, o.classid, {}, 'shared' FROM (SELECT r.oid, 'pg_authid'::regclass FROM pg_roles AS r"
            " WHERE r.rolname IN ('was_there', {}) UNION ALL SELECT d.oid, 'pg_database'::regclass FROM pg_database AS d"
            " WHERE d.datname = current_database()) AS o(objid, classid)"
        ).format(sql.Literal(provider), sql.Literal(HOSTILE))
    )
    try:
        data = case.init().data
        assert left(data) == {
            "security label of role was_there": "the role was on the target before, and is not changed"
        }
        expected = [row for row in case.source.execute(LABELS) if row[1] != "was_there"]
        assert len(expected) == 10
        assert case.target.execute(LABELS) == expected
        of_database = "SELECT label FROM pg_shseclabel WHERE classoid = 'pg_database'::regclass"
        assert case.target.execute(of_database) == [("shared",)]
    finally:
        case.source.execute("DELETE FROM pg_shseclabel")
