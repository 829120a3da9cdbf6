# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to the database as a whole: its properties and settings, and what never travels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils import attempts, event_triggers
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import PASSWORD, PROVIDER, AsAdmin, managed
from tests.support.binaries import distribution
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H
from tests.support.sweep import sweep
from tests.support.whole_database import (
    LARGE,
    LOGGING,
    PROPERTIES,
    TEXT,
    TRIGGERS,
    alter,
    comment,
    furnish,
    left,
    one_table,
    replicate,
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    return one_table(source_db, target_db)


def test_properties_of_the_database_arrive_in_one_that_was_there(case: Case) -> None:
    furnish(case.source)
    migration = case.migration()
    planned = case.init(check_mode=True).data
    assert case.target.execute(PROPERTIES) == [(-1, False, None, None)]
    assert planned["plan"]["left"] == []
    data = case.init().data
    assert data["left"] == []
    assert case.target.execute(PROPERTIES) == case.source.execute(PROPERTIES)
    for setting in ("search_path", "app.jwt", "DateStyle"):
        assert case.target.execute(f"SHOW {setting}") == case.source.execute(f"SHOW {setting}")
    assert "secret" not in str(migration.log.entries)
    assert "secret" not in str(case.target.execute("SELECT detail::text FROM seren_migrator.step"))
    assert not case.init().changed
    replicate(case)


def test_values_of_applications_settings_are_never_shown(case: Case) -> None:
    furnish(case.source)
    for check_mode in (True, False):
        migration = case.migration()
        case.migration = lambda migration=migration: migration  # type: ignore[method-assign]
        case.init(check_mode=check_mode)
        assert any('SET "app"."jwt"' in entry for entry in migration.log.entries)
        assert "secret" not in str(migration.log.entries)


def test_an_absent_database_is_made_with_all_of_its_properties(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    source = create_database(source_cluster, 'Odd "db"; --')
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    furnish(source)
    alter(source, "IS_TEMPLATE true")
    case = Case(source, Database(target_cluster, source.name))
    try:
        assert case.init(check_mode=True).data["plan"]["left"] == []
        assert case.init().data["left"] == []
        assert case.target.execute(PROPERTIES) == source.execute(PROPERTIES)
        case.cleanup()
    finally:
        for database in (source, case.target):
            alter(database, "IS_TEMPLATE false")
        sweep(target_cluster)
        sweep(source_cluster)


@pytest.fixture
def with_icu() -> Iterator[Cluster]:
    """A server of 15 that knows ICU; the wheels do not."""
    installation = distribution(15)
    if installation is None:
        pytest.skip("no PostgreSQL 15 of the distribution")
    with Cluster(15, installation=installation) as cluster:
        yield cluster


def test_a_locale_of_icu_arrives_where_the_target_has_it_and_else_is_named(
    with_icu: Cluster, target_cluster: Cluster
) -> None:
    options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kf-upper' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
    source = create_database(with_icu, options=options)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    with pytest.raises(MigrationError) as caught:
        Case(source, Database(target_cluster, source.name)).init()
    assert "locale" in caught.value.message
    assert "create the database by hand" in caught.value.remedy
    assert target_cluster.execute("SELECT 1 FROM pg_database WHERE datname = %s", parameters=[source.name]) == []
    assert source.execute("SELECT 1 FROM pg_replication_slots") == []
    with Cluster(15, installation=with_icu.installation) as other:
        target = Database(other, source.name)
        assert Case(source, target).init(skip_checks=["subscription_probe"]).data["left"] == []
        locale = "SELECT datlocprovider, daticulocale, datcollate, datctype FROM pg_database WHERE datname = current_database()"
        assert target.execute(locale) == source.execute(locale) == [("i", "de-u-kf-upper", "C", "C.UTF-8")]


def test_what_the_target_s_database_has_otherwise_is_named_and_never_changed(case: Case) -> None:
    furnish(case.source)
    alter(case.source, "IS_TEMPLATE true")
    comment(case.target, "its own")
    alter(case.target, "CONNECTION LIMIT 50")
    alter(case.target, "SET work_mem = '7MB'")
    alter(case.target, "SET app.jwt = 'hidden'")
    before = case.target.execute(PROPERTIES)[0]
    try:
        data = case.init().data
    finally:
        alter(case.source, "IS_TEMPLATE false")
    assert set(left(data)) == {
        "comment of the database",
        "template mark of the database",
        "connection limit 100 of the database",
        "setting app.jwt of the database",
        "setting work_mem of the database",
    }
    assert "hidden" not in str(data)
    after = case.target.execute(PROPERTIES)[0]
    assert after[:3] == before[:3]
    assert set(before[3]) < set(after[3])
    assert {entry.split("=")[0] for entry in after[3]} == {"app.jwt", "work_mem", "search_path", "DateStyle"}


def test_what_would_hinder_the_migration_waits_and_is_named(case: Case) -> None:
    waiting = ("default_transaction_read_only", "lock_timeout", "transaction_timeout", "array_nulls", "xmloption")
    case.source.execute("CREATE TABLE arrays (id int PRIMARY KEY, a int[], x xml)")
    for name, value in (
        ("default_transaction_deferrable", "on"),
        ("lock_timeout", "1ms"),
        ("array_nulls", "off"),
        ("xmloption", "document"),
        ("default_transaction_isolation", "serializable"),
        ("statement_timeout", "3h"),
        ("session_preload_libraries", "auto_explain"),
        ("temp_tablespaces", "pg_default"),
        ("neon.something", "1"),
        ("cron.log_run", "1"),
    ):
        alter(case.source, f"SET {name} = {{}}", value)
    data = case.init().data
    said = left(data)
    assert case.target.execute(PROPERTIES)[0][3] == ["statement_timeout=3h"]
    assert "until" not in said
    assert set(said) == {
        f"setting {name} of the database"
        for name in (
            "default_transaction_deferrable", "lock_timeout", "array_nulls", "xmloption", "default_transaction_isolation",
            "session_preload_libraries", "temp_tablespaces", "neon.something", "cron.log_run",
        )
    }  # fmt: skip
    assert "cutover" in said["setting lock_timeout of the database"]
    step = case.target.execute("SELECT detail -> 'waiting_settings' FROM seren_migrator.step WHERE step = 'database'")
    assert set(step[0][0]) & set(waiting) == {"lock_timeout", "array_nulls", "xmloption"}
    replicate(case)
    case.source.execute("INSERT INTO arrays VALUES (1, ARRAY[1, NULL, 3], XMLPARSE (CONTENT 'a<b/>'))")
    case.wait_until_in_sync()
    assert case.target.execute("SELECT a, x::text FROM arrays") == [([1, None, 3], "a<b/>")]


def test_a_read_only_source_database_does_not_make_the_target_read_only(case: Case) -> None:
    alter(case.source, "SET default_transaction_read_only = on")
    data = case.init(skip_checks=["source_read_only"]).data
    assert "setting default_transaction_read_only of the database" in left(data)
    assert case.target.execute("SHOW default_transaction_read_only") == [("off",)]


@pytest.mark.parametrize("limit", [3, 500])
def test_a_connection_limit_that_would_stop_a_managed_migration_waits(
    limit: int, source_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'row')")
    alter(source_db, f"CONNECTION LIMIT {limit}")
    comment(source_db, TEXT)
    alter(source_db, "SET app.jwt = 'secret'")
    alter(source_db, "SET work_mem = '5MB'")
    alter(source_db, "SET log_statement = 'all'")
    target = managed(target_cluster, PROVIDER)
    try:
        data = Case(source_db, target).init(roles="none").data
        named = set(left(data))
        assert {"setting app.jwt of the database", "setting log_statement of the database"} <= named
        assert (f"connection limit {limit} of the database" in named) == (limit == 3)
        there = target.execute(PROPERTIES)[0]
        assert there == (-1 if limit == 3 else limit, False, TEXT, ["work_mem=5MB"])
    finally:
        sweep(target_cluster)


def test_a_run_that_died_before_its_last_word_goes_on(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(case.source)
    case.source.execute(LOGGING)

    def die(*_arguments: Any, **_options: Any) -> None:
        raise MigrationError("database_error", "died")

    carry_over = attempts.carry_out

    def half(session: Any, wanted: Any) -> Any:
        carry_over(session, wanted[:2])
        die()

    with monkeypatch.context() as patched:
        patched.setattr(attempts, "carry_out", half)
        patched.setattr(event_triggers, "carry_over", lambda *_arguments: None)
        with pytest.raises(MigrationError, match="died"):
            case.init()
    assert case.target.execute(PROPERTIES) != case.source.execute(PROPERTIES)
    case.init()
    assert case.target.execute(PROPERTIES) == case.source.execute(PROPERTIES)
    assert case.target.execute("SELECT evtname FROM pg_event_trigger ORDER BY 1") == [(HOSTILE,), ("always",)]


def test_what_never_travels_is_listed(case: Case) -> None:
    case.source.execute(f"CREATE PUBLICATION {H} FOR TABLE t")
    case.source.execute(
        f"CREATE SUBSCRIPTION {H} CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false, slot_name=NONE)"
    )
    assert set(left(case.init().data)) == {f"publication {HOSTILE}", f"subscription {HOSTILE}"}
    assert case.target.execute("SELECT count(*) FROM pg_subscription") == [(0,)]
    replicate(case)


def test_the_admin_of_a_managed_target_can_log_in_meanwhile(source_db: Database, target_cluster: Cluster) -> None:
    """Nothing that was carried over keeps anybody out."""
    source_db.execute("CREATE TABLE t (id int PRIMARY KEY)")
    furnish(source_db)
    alter(source_db, "SET session_preload_libraries = 'auto_explain'")
    target = managed(target_cluster, PROVIDER)
    assert isinstance(target, AsAdmin)
    try:
        Case(source_db, target).init(roles="none")
        with psycopg.connect(target_cluster.dsn(target.name, target.role, PASSWORD)) as connection:
            assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
    finally:
        sweep(target_cluster)


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), [(12, 18), (13, 16), (14, 15), (16, 17), (17, 18)])
def test_all_of_it_between_other_majors(
    source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    source = create_database(make_cluster(source_major), 'Odd "db"; --')
    case = Case(source, Database(make_cluster(target_major), source.name))
    source.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'row')")
    source.execute(f"CREATE ROLE {H}; SELECT lo_from_bytea(4711, 'mine'), lo_from_bytea(4712, '')")
    source.execute(f"ALTER LARGE OBJECT 4711 OWNER TO {H}; GRANT SELECT ON LARGE OBJECT 4712 TO {H}")
    furnish(source)
    source.execute(LOGGING)
    data = case.init(large_objects="copy").data
    assert {item for item in left(data) if "event trigger" not in item} == {"2 large object(s)"}
    for query in (PROPERTIES, TRIGGERS, LARGE):
        assert case.target.execute(query) == source.execute(query)
    replicate(case)
    assert not case.init(large_objects="copy").changed


def test_what_lay_in_another_tablespace_is_named(case: Case, source_cluster: Cluster) -> None:
    with case.source.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute(f"CREATE TABLESPACE {H} LOCATION ''")
    try:
        case.source.execute(
            f"CREATE INDEX {H} ON t (v) TABLESPACE {H}; CREATE TABLE there (id int PRIMARY KEY) TABLESPACE {H}"
        )
        said = left(case.init().data)
        assert set(said) == {f"tablespace of index public.{HOSTILE}", "tablespace of table public.there"}
        assert f"in tablespace {HOSTILE} on the source" in said["tablespace of table public.there"]
    finally:
        case.source.execute("DROP TABLE there, t")
        source_cluster.execute(f"DROP TABLESPACE {H}")
