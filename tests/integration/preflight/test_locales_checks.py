# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of encodings, locales and collations, on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.preflight import HOSTILE, H, cure, run_validate


@pytest.mark.fires("encoding", "locale")
def test_encodings_and_locales_are_compared(
    source_db: Database, target_db: Database, target_cluster: Cluster, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    options = "ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    for encoding in ("LATIN1", "SQL_ASCII"):
        target_cluster.execute(f"CREATE DATABASE {encoding.lower()} {options.format(repr(encoding))}")
    report = run_validate(source_db.params, target_cluster.params("latin1"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "blocker")
    assert (report["locale"]["status"], report["locale"]["severity"]) == ("fail", "warning")
    assert report["target_empty"]["status"] == "pass"
    ascii_cluster = make_cluster(15)
    ascii_cluster.execute(f"CREATE DATABASE ascii {options.format(repr('SQL_ASCII'))}")
    ascii_cluster.execute("CREATE TABLE p (id int PRIMARY KEY)", "ascii")
    report = run_validate(ascii_cluster.params("ascii"), target_cluster.params("sql_ascii"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "blocker")
    ascii_cluster.execute(f"CREATE DATABASE latin {options.format(repr('LATIN1'))}")
    ascii_cluster.execute("CREATE TABLE p (id int PRIMARY KEY)", "latin")
    report = run_validate(ascii_cluster.params("latin"), target_cluster.params("postgres"), **client)
    assert (report["encoding"]["status"], report["encoding"]["severity"]) == ("fail", "warning")


@pytest.mark.fires("collations")
def test_collations_that_the_target_lacks_are_found(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    source_db.execute('CREATE TABLE p (id int PRIMARY KEY, t text COLLATE "C")')
    assert run_validate(source_db.params, target_db.params, **client)["collations"]["status"] == "pass"
    lacking = "de_DE.no-such-codeset"
    source_db.execute(
        f"CREATE COLLATION {H} (provider = libc, locale = 'C');"
        # What the operating system of the source has and that of the target has not.
        f"UPDATE pg_catalog.pg_collation SET collcollate = '{lacking}' WHERE collname = '{HOSTILE}'"
    )
    found = run_validate(source_db.params, target_db.params, **client)["collations"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == [f"public.{HOSTILE} ({lacking})"]
    source_db.execute(
        f"UPDATE pg_catalog.pg_collation SET collnamespace = 'pg_catalog'::regnamespace WHERE collname = '{HOSTILE}';"
        f"ALTER TABLE p ADD u text COLLATE pg_catalog.{H}"
    )
    found = run_validate(source_db.params, target_db.params, **client)["collations"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == [HOSTILE]


@pytest.mark.fires("source_collation_versions", "target_collation_versions")
def test_indexes_that_were_built_with_another_version_of_a_collation_are_noticed(
    target_db: Database, target_cluster: Cluster, make_cluster: Callable[..., Cluster]
) -> None:
    source = create_database(make_cluster(13))
    # The only locale whose version every build knows.
    target_db = create_database(
        target_cluster, options="LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' TEMPLATE template0"
    )
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    source.execute(
        f"CREATE COLLATION {H} (provider = icu, locale = 'de'); CREATE TABLE p (t text COLLATE {H} PRIMARY KEY);"
        'CREATE TABLE q (id int PRIMARY KEY, t text COLLATE "fr-x-icu")'
    )
    report = run_validate(source.params, target_db.params, **client)
    assert report["source_collation_versions"]["status"] == "pass"
    source.execute(f"UPDATE pg_catalog.pg_collation SET collversion = '1' WHERE collname IN ('{HOSTILE}', 'sv-x-icu')")
    target_db.execute("UPDATE pg_catalog.pg_database SET datcollversion = '0' WHERE datname = current_database()")
    report = run_validate(source.params, target_db.params, **client)
    found = report["source_collation_versions"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert len(found["objects"]) == 1
    assert found["objects"][0].startswith(f"public.{HOSTILE}: 1 -> ")
    cure(found["remedy"], source)
    assert report["target_collation_versions"]["status"] == "fail"
    assert f"database {target_db.name}: 0 -> 1" in report["target_collation_versions"]["objects"][0]
    cure(report["target_collation_versions"]["remedy"], target_db)
    report = run_validate(source.params, target_db.params, **client)
    for side in ("source", "target"):
        assert report[f"{side}_collation_versions"]["status"] == "pass"


def test_a_builtin_collation_needs_a_17(source_db: Database, target_db: Database, target_cluster: Cluster) -> None:
    newer, older = target_db, source_db
    newer.execute(f"CREATE TABLE p (id int PRIMARY KEY); CREATE COLLATION {H} (provider = builtin, locale = 'C.UTF-8')")
    found = run_validate(newer.params, older.params, client_bin_dir=str(target_cluster.client_dir))["collations"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == [f"public.{HOSTILE} (builtin)"]
