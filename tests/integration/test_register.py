# SPDX-License-Identifier: GPL-3.0-or-later
"""The register in the maintenance database: migrations into other databases of a server count with those that have begun."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from ansible_collections.seren.migrator.plugins.module_utils import register
from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import Redactor
from ansible_collections.seren.migrator.plugins.module_utils.session import Session, StatementLog
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, H, run_validate

OURS = "SELECT count(*) FROM pg_namespace WHERE nspname = 'seren_migrator'"
ENTRIES = "SELECT name, database, streams FROM seren_migrator.begun ORDER BY database"


@pytest.fixture
def target(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A server with room for two subscriptions."""
    return make_cluster(17, max_logical_replication_workers=2)


@pytest.fixture
def registers(target: Cluster) -> Iterator[Callable[..., Session]]:
    """Open sessions of the maintenance database."""
    opened: list[Session] = []

    def connect(user: str | None = None, password: str | None = None) -> Session:
        endpoint = Endpoint.from_options("target", target.params("postgres", user, password))
        opened.append(Session.open(endpoint, StatementLog(Redactor([])), purpose="test"))
        return opened[-1]

    yield connect
    for session in opened:
        session.connection.close()


def entry(number: int, database: str = "postgres") -> register.Begun:
    return register.Begun(f"{number:032x}", HOSTILE, database, "1", number)


def migrating(source: Database, target: Cluster, number: int) -> Case:
    source.execute("CREATE TABLE IF NOT EXISTS p (id int PRIMARY KEY)")
    return Case(source, create_database(target), {"name": f"{HOSTILE} {number}"})


def test_migrations_that_copy_are_counted_until_they_show_and_cleanup_takes_them_out(
    source_db: Database, target: Cluster
) -> None:
    first, second, third = (migrating(source_db, target, number) for number in range(3))
    options = {"client_bin_dir": first.bin_dir}

    def workers(case: Case) -> dict[str, object]:
        return run_validate(case.source.params, case.target.params, case.options, **options)["target_workers"]

    first.init()
    assert target.execute(ENTRIES) == [(first.options["name"], first.target.name, 1)]
    found = workers(second)
    assert (found["status"], found["detail"]) == (
        "pass",
        "0 of 2 in use, and 1 are kept for migrations that have begun.",
    )
    first.sync()
    assert workers(second)["detail"] == "1 of 2 in use."
    second.init()
    found = workers(third)
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == [f"migration {second.options['name']} (database {second.target.name})"]
    assert "pg_migration_cleanup" in str(found["remedy"])
    # What has begun does not stand in its own way.
    assert workers(second)["status"] == "pass"
    removed = second.cleanup().data["removed"]
    assert {"side": "target", "kind": "registration", "name": "postgres"} in removed
    assert target.execute(ENTRIES) == [(first.options["name"], first.target.name, 1)]
    assert workers(third)["status"] == "pass"
    first.cleanup()
    assert target.execute(OURS) == [(0,)]


def test_check_mode_and_validate_write_nothing_there(source_db: Database, target: Cluster) -> None:
    case = migrating(source_db, target, 1)
    case.init(check_mode=True)
    run_validate(case.source.params, case.target.params, case.options, client_bin_dir=case.bin_dir)
    assert target.execute(OURS) == [(0,)]


def test_many_that_begin_and_end_at_once_do_not_collide(target: Cluster, registers: Callable[..., Session]) -> None:
    sessions = [registers() for _each in range(8)]

    def come_and_go(number: int) -> list[object]:
        seen: list[object] = []
        for _round in range(5):
            seen.append(register.enter(sessions[number], replace(entry(number), name=f"m{number}")))
            seen.append(register.leave(sessions[number], entry(number).id))
        return seen

    with ThreadPoolExecutor(8) as pool:
        for seen in pool.map(come_and_go, range(8)):
            assert set(seen) == {"", True}
    assert target.execute(OURS) == [(0,)]


def test_entries_of_dropped_databases_and_of_an_earlier_run_do_not_count(
    target: Cluster, registers: Callable[..., Session]
) -> None:
    session = registers()
    target.execute(f"CREATE DATABASE {H}")
    assert register.enter(session, entry(1, HOSTILE)) == register.enter(session, entry(2)) == ""
    assert [begun.streams for begun in register.read(session).begun] == [1, 2] or len(register.read(session).begun) == 2
    assert register.enter(session, entry(3)) == ""  # the same name into the same database
    target.execute(f"DROP DATABASE {H}")
    assert register.read(session).begun == (entry(3),)
    assert register.leave(session, entry(2).id) is False
    assert register.leave(session, entry(3).id) is True


def test_a_role_that_may_not_register_migrates_all_the_same_and_says_so(source_db: Database, target: Cluster) -> None:
    target.execute(f"CREATE ROLE {H} LOGIN SUPERUSER PASSWORD 'plain'")
    case = migrating(source_db, target, 1)
    # Whoever owns the table could make us run what he likes.
    target.execute("CREATE ROLE stranger; CREATE SCHEMA seren_migrator; CREATE TABLE seren_migrator.begun (id text)")
    target.execute("ALTER TABLE seren_migrator.begun OWNER TO stranger")
    result = case.init()
    assert result.data["state"] == "copied"
    assert "belongs to stranger" in result.data["notes"][0]
    report = run_validate(case.source.params, create_database(target).params, client_bin_dir=case.bin_dir)
    assert report["target_workers"]["status"] == "pass"
    assert "are not known" in report["target_workers"]["detail"]
    case.cleanup()
    assert target.execute("SELECT count(*) FROM seren_migrator.begun") == [(0,)]


def test_a_plain_role_is_refused_without_harm(target: Cluster, registers: Callable[..., Session]) -> None:
    target.execute(f"CREATE ROLE {H} LOGIN PASSWORD 'plain'")
    plain = registers(HOSTILE, "plain")
    assert "permission denied" in register.enter(plain, entry(1))
    assert register.read(plain) == register.Register()
    assert register.enter(registers(), entry(2)) == ""
    assert "permission denied" in register.read(plain).reason
    assert "permission denied" in register.enter(plain, entry(1))
    assert register.leave(plain, entry(2).id) is False
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        plain.rows("SELECT 1 FROM seren_migrator.begun")


def test_a_locked_register_stops_nobody(target: Cluster, registers: Callable[..., Session]) -> None:
    session, other = registers(), registers()
    assert register.enter(session, entry(1)) == ""
    with target.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE seren_migrator.begun IN ACCESS SHARE MODE")  # as pg_dump does
        begun = time.monotonic()
        assert register.leave(session, entry(1).id) is True
        assert time.monotonic() - begun < 10
        holder.execute("LOCK TABLE seren_migrator.begun IN ACCESS EXCLUSIVE MODE")
        other.connection.execute("SET lock_timeout = '100ms'")
        assert "lock timeout" in register.enter(other, entry(2))
        assert "lock timeout" in register.read(other).reason
        holder.rollback()
    assert register.enter(session, entry(2)) == ""
    assert register.leave(session, entry(2).id) is True
    assert target.execute(OURS) == [(0,)]
