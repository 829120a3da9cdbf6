# SPDX-License-Identifier: GPL-3.0-or-later
"""Large objects: rows, owners, privileges and comments, in few round trips."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils import large_objects
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import PROVIDER, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.preflight import H
from tests.support.sweep import sweep
from tests.support.whole_database import (
    LARGE,
    TEXT,
    left,
    one_table,
)


@pytest.fixture
def case(source_db: Database, target_db: Database) -> Case:
    return one_table(source_db, target_db)


def test_large_objects_arrive_with_owners_privileges_and_comments(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all sizes around the limits of a piece, a round and a batch."""
    monkeypatch.setattr(large_objects, "OBJECTS_AT_ONCE", 7)
    monkeypatch.setattr(large_objects, "SMALL_BYTES", 100)
    monkeypatch.setattr(large_objects, "BYTES_AT_ONCE", 1400)
    case.source.execute(f"CREATE ROLE owner1; CREATE ROLE {H}; CREATE ROLE reader")
    for number, size in enumerate((0, 1, 99, 100, 101, 199, 200, 201, 1399, 1400, 1401, 2800, 5000, 100000)):
        case.source.execute(
            "SELECT lo_from_bytea(%s, convert_to(repeat('x', %s), 'UTF8'))", [5000 + number + (number > 6), size]
        )
    case.source.execute("SELECT lo_create(4294967295), lo_from_bytea(2147483648, '\\x00ff')")
    case.source.execute(
        sql.SQL("COMMENT ON LARGE OBJECT 5000 IS {0}; COMMENT ON LARGE OBJECT 4294967295 IS {0}").format(
            sql.Literal(TEXT)
        )
    )
    case.source.execute(
        f"ALTER LARGE OBJECT 5000 OWNER TO {H}; ALTER LARGE OBJECT 2147483648 OWNER TO owner1;"
        f"GRANT SELECT ON LARGE OBJECT 5000 TO owner1; GRANT ALL ON LARGE OBJECT 5002 TO {H} WITH GRANT OPTION;"
        f"GRANT UPDATE ON LARGE OBJECT 4294967295 TO PUBLIC; REVOKE UPDATE ON LARGE OBJECT 2147483648 FROM owner1;"
        "GRANT SELECT ON LARGE OBJECT 2147483648 TO reader; REVOKE ALL ON LARGE OBJECT 5010 FROM postgres"
    )
    data = case.init(large_objects="copy").data
    assert case.target.execute(LARGE) == case.source.execute(LARGE)
    assert left(data) == {"16 large object(s)": "copied once, never replicated"}
    case.init(large_objects="copy", resume=False)
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_large_objects_that_an_earlier_attempt_left_are_replaced(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_objects, "OBJECTS_AT_ONCE", 3)
    case.source.execute(
        "SELECT count(lo_from_bytea(n, convert_to('object ' || n, 'UTF8'))) FROM generate_series(900, 909) AS n"
    )
    give = large_objects._give_rights
    calls: list[int] = []

    def dying(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise MigrationError("database_error", "died")
        give(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(large_objects, "_give_rights", dying)
        with pytest.raises(MigrationError, match="died"):
            case.init(large_objects="copy")
    assert case.target.execute("SELECT count(*) FROM pg_largeobject_metadata") == [(6,)]
    case.source.execute("SELECT lo_put(900, 0, 'changed'), lo_unlink(901), lo_unlink(905)")
    case.target.execute("SELECT lo_from_bytea(2000, 'mine')")
    case.init(large_objects="copy")
    case.target.execute("SELECT lo_unlink(2000)")
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_ten_thousand_small_large_objects_take_few_round_trips(case: Case) -> None:
    case.source.execute(
        "SELECT count(lo_from_bytea(20000 + n * 2, convert_to('object ' || n, 'UTF8'))) FROM generate_series(1, 10000) AS n"
    )
    with case.migration().open_both("test") as (source, target):
        names = large_objects.RoleNames("postgres")
        rounds = 0

        def counting(execute: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                nonlocal rounds
                rounds += 1
                return execute(*arguments, **options)

            return run

        for connection in (source.connection, target.connection):
            connection.execute = counting(connection.execute)  # type: ignore[method-assign]
        source.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        assert large_objects.copy_all(source, target, names).count == 10000
        assert rounds < 150
    assert case.target.execute(LARGE) == case.source.execute(LARGE)


def test_large_objects_of_a_managed_role_arrive_with_their_rights(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    source, target = managed(source_cluster, PROVIDER), managed(target_cluster, PROVIDER)
    case = Case(source, target)
    try:
        source.execute("CREATE TABLE public.t (id int PRIMARY KEY); ALTER TABLE public.t OWNER TO owner1")
        source.execute("CREATE ROLE app; CREATE ROLE reader; GRANT app, reader TO owner1")
        source.as_admin("SELECT lo_from_bytea(4711, 'mine'), lo_from_bytea(4712, 'of the app')")
        source.as_admin("ALTER LARGE OBJECT 4712 OWNER TO app; COMMENT ON LARGE OBJECT 4711 IS 'mine'")
        source.as_admin(
            "GRANT SELECT ON LARGE OBJECT 4711, 4712 TO reader; GRANT SELECT ON LARGE OBJECT 4712 TO owner1"
        )
        source.execute("GRANT SELECT ON TABLE public.t TO reader, app")
        data = case.init(large_objects="copy").data
        assert left(data) == {"2 large object(s)": "copied once, never replicated"}
        assert target.execute(LARGE) == source.execute(LARGE)
    finally:
        sweep(source_cluster)
        sweep(target_cluster)
