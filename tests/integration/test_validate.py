# SPDX-License-Identifier: GPL-3.0-or-later
"""The validate phase as a whole: it answers whatever is wrong, changes nothing, and keeps secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils import ledger
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate
from ansible_collections.seren.migrator.plugins.module_utils.preflight.registry import CHECKS
from tests.support.cluster import Cluster, nasty_password
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.preflight import HOSTILE, migration, run_validate
from tests.support.sample import load
from tests.support.schema_dump import dump_schema, normalised

CONNECT_TIMEOUT_S = 2
# What a busy machine may add to a timeout before it is plainly not the timeout that ended the wait.
GRACE_S = 20

# Everything of a server that validate could have touched: databases, roles, publications, slots, subscriptions, ...
INVENTORY = """
SELECT 'database', pg_catalog.to_jsonb(d)::text
  FROM pg_catalog.pg_database AS d
 UNION ALL SELECT 'role', pg_catalog.to_jsonb(r)::text FROM pg_catalog.pg_roles AS r
 UNION ALL SELECT 'slot', s.slot_name FROM pg_catalog.pg_replication_slots AS s
 UNION ALL SELECT 'origin', o.roname FROM pg_catalog.pg_replication_origin AS o
 UNION ALL SELECT 'subscription', s.subname FROM pg_catalog.pg_subscription AS s
 UNION ALL SELECT 'publication', p.pubname FROM pg_catalog.pg_publication AS p
 UNION ALL SELECT 'relation', c.oid::text || ' ' || c.relname FROM pg_catalog.pg_class AS c
 UNION ALL SELECT 'type', t.oid::text FROM pg_catalog.pg_type AS t
 UNION ALL SELECT 'function', p.oid::text FROM pg_catalog.pg_proc AS p
 UNION ALL SELECT 'setting', pg_catalog.to_jsonb(s)::text FROM pg_catalog.pg_db_role_setting AS s
 ORDER BY 1, 2
"""


def _state(*databases: Database) -> list[Any]:
    # datfrozenxid and the like move by themselves.
    found: list[Any] = []
    for database in databases:
        rows = database.execute(INVENTORY)
        found += [re.sub(r'"dat(frozenxid|minmxid)": *"[0-9]+"', "", str(row)) for row in rows]
        found.append(normalised(dump_schema(database.dsn, database.cluster.client_dir)))
    return found


def test_validate_leaves_nothing_behind(source_db: Database, target_db: Database, target_cluster: Cluster) -> None:
    load(source_db.dsn, 1, large_objects=True, unlogged=True)
    target_db.execute("CREATE TABLE x (id int)")
    before = _state(source_db, target_db)
    for dbname in (target_db.name, "not_there_yet"):
        report = run_validate(
            source_db.params,
            target_cluster.params(dbname),
            client_bin_dir=str(target_cluster.client_dir),
            rollback=True,
        )
        assert report["subscription_probe"]["status"] == "pass"
        assert report["way_back"]["status"] == ("pass" if dbname == target_db.name else "unknown")
        assert report.statements == []
    assert _state(source_db, target_db) == before


def test_both_sides_unreachable_is_still_an_answer(ready: dict[str, Any]) -> None:
    nowhere = {"host": "127.0.0.1", "port": 1, "user": "u", "dbname": "d"}
    report = run_validate(nowhere, nowhere)
    assert set(report.with_status("fail")) == {"source_connection", "target_connection"}
    assert report.data["plan"] == {}


def test_the_plan_says_what_moves_and_what_stays(source_db: Database, target_db: Database) -> None:
    source_db.execute(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 1000);"
        "CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY); CREATE SEQUENCE s;"
        "SELECT lo_from_bytea(0, 'x'); CREATE UNLOGGED TABLE u (id int PRIMARY KEY); ANALYZE"
    )
    plan = run_validate(
        source_db.params,
        target_db.params,
        {"exclude_tables": ["b"], "exclude_data": ["c"], "rows": {"a": "id > 5"}},
        large_objects="skip",
        unlogged_tables="skip",
    ).data["plan"]
    assert [(table["name"], table["rows"], table["predicate"]) for table in plan["tables"]] == [("a", 1000, "id > 5")]
    assert plan["rows"] == 1000
    assert plan["bytes"] == plan["tables"][0]["bytes"] > 0
    assert plan["stays_behind"] == {
        "tables": ["public.b"],
        "rows_of": ["public.c"],
        "unlogged_rows_of": ["public.u"],
        "foreign_tables": [],
        "large_objects": 1,
    }


def test_fail_on_severities_and_skip_checks_decide(ready: dict[str, Any], source_db: Database) -> None:
    source_db.execute("CREATE TABLE f (n numeric); ALTER TABLE f REPLICA IDENTITY FULL")
    assert run_validate(**ready).error is None
    strict = run_validate(**ready, fail_on="warning")
    assert strict.error is not None
    assert strict.error.details["checks"] == ["replica_identity_full"]
    assert strict.data["ready"] is True
    raised = run_validate(**ready, severities={"replica_identity_full": "blocker"})
    assert raised.error is not None
    assert raised["replica_identity_full"]["severity"] == "blocker"
    never = run_validate(**ready, severities={"replica_identity_full": "blocker"}, fail_on="never")
    assert never.error is None
    assert never.data["ready"] is False
    left_out = run_validate(**ready, skip_checks=["replica_identity_full"], fail_on="warning")
    assert left_out.error is None
    assert left_out["replica_identity_full"]["status"] == "skipped"
    assert left_out.data["summary"]["open"] == {"blocker": 0, "warning": 0, "info": 0}


def test_leaving_out_the_connection_check_does_not_open_the_gate(ready: dict[str, Any]) -> None:
    nowhere = {"host": "127.0.0.1", "port": 1, "user": "u", "dbname": "d"}
    report = run_validate(**{**ready, "target": nowhere}, skip_checks=["target_connection"])
    assert report.data["ready"] is False
    assert report.error is not None


def test_unknown_ids_and_severities_are_refused_by_name(ready: dict[str, Any]) -> None:
    for options, words in (
        ({"skip_checks": ["no_such_check", "selection"]}, "no_such_check"),
        ({"severities": {"no_such_check": "info"}}, "no_such_check"),
        ({"severities": {"selection": "fatal"}}, "selection: fatal"),
        ({"fail_on": "sometimes"}, "sometimes"),
        ({"owner": ""}, "owner is empty"),
    ):
        with pytest.raises(MigrationError, match=words) as raised:
            run_validate(**ready, **options)
        assert raised.value.code == "bad_option"


def test_the_gate_names_its_only_cause_by_code(ready: dict[str, Any], source_db: Database, target_db: Database) -> None:
    job = migration(ready["source"], ready["target"])
    options = validate.ValidateOptions(client_bin_dir=ready["client_bin_dir"])
    validate.gate(job, options)
    target_db.execute(f'CREATE VIEW "{HOSTILE.replace(chr(34), chr(34) * 2)}" AS SELECT 1')
    with pytest.raises(MigrationError) as raised:
        validate.gate(job, options)
    assert raised.value.code == "target_not_empty"
    assert HOSTILE in raised.value.message
    source_db.execute("CREATE PUBLICATION seren_migration_pub")
    with pytest.raises(MigrationError) as raised:
        validate.gate(job, options)
    assert raised.value.code == "not_ready"
    assert raised.value.details["codes"] == ["name_taken", "target_not_empty"]
    assert "old" in raised.value.message or "database-replicator" in raised.value.message
    for code, broken in (
        ("nothing_selected", {"tables": ["no_such"]}),
        ("bad_option", {"tables": ["a.b.c"]}),
    ):
        target_db.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        source_db.execute("DROP PUBLICATION IF EXISTS seren_migration_pub")
        with pytest.raises(MigrationError) as raised:
            validate.gate(migration(ready["source"], ready["target"], **broken), options)
        assert raised.value.code == code


def test_what_this_migration_has_made_itself_passes(
    ready: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    """The ledger says whose objects they are; a migration that was cleaned up owns nothing any more."""
    job = migration(ready["source"], ready["target"])
    with job.open("target", "test") as session:
        ledger.install(session)
        ledger.register(session, job, source={}, target={}, options={}, plan={}, relations=[])
        record = ledger.find(session, job.name)
        assert record is not None
        names = job.names(record.id, 1)
        session.connection.execute(
            "INSERT INTO seren_migrator.stream (migration_id, number, publication, slot, subscription, marker, state)"
            " VALUES (%s, 1, %s, %s, %s, %s, 'slot_ready')",
            (record.id, names.publication, names.slot, names.subscription, names.marker),
        )
    source_db.execute(f"CREATE PUBLICATION {names.publication}")
    source_db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [names.slot])
    target_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(**ready)
    assert report.error is None
    # Another migration between the same databases owns none of it.
    other = run_validate(**ready, selection={"name": "other"})
    assert set(other.with_status("fail", "unknown")) == {"target_empty", "publications"}
    target_db.execute("UPDATE seren_migrator.migration SET cleaned_at = now()")
    assert set(run_validate(**ready).with_status("fail", "unknown")) == {"target_empty", "names_taken"}


def test_validate_passes_in_every_phase_of_its_own_migration(source_db: Database, target_db: Database) -> None:
    load(source_db.dsn, 1)
    case = Case(source_db, target_db)

    def findings() -> dict[str, str]:
        report = run_validate(source_db.params, target_db.params, client_bin_dir=case.bin_dir)
        return {key: report[key]["severity"] for key in report.with_status("fail", "unknown")}

    before = findings()
    assert "blocker" not in before.values()
    case.init()
    assert findings() == before
    case.sync()
    assert findings() == before
    case.wait_until_in_sync()
    assert findings() == before
    case.cleanup()
    assert findings() == {**before, "target_empty": "blocker"}


def test_a_ledger_that_cannot_be_read_is_unknown_and_blocks(
    ready: dict[str, Any], target_db: Database, target_cluster: Cluster
) -> None:
    target_db.execute(
        "CREATE ROLE me LOGIN PASSWORD 'plain' SUPERUSER; CREATE SCHEMA seren_migrator;"
        "CREATE TABLE seren_migrator.migration (name text)"
    )
    report = run_validate(**{**ready, "target": {**target_db.params, "user": "me", "password": "plain"}})
    assert report["names_taken"]["status"] == "unknown"
    assert "42703" in report["names_taken"]["detail"]
    target_db.execute("ALTER ROLE me NOSUPERUSER")
    report = run_validate(**{**ready, "target": {**target_db.params, "user": "me", "password": "plain"}})
    assert report["target_own_schema"]["status"] == "fail"
    assert report["names_taken"]["status"] == "skipped"
    assert "target_own_schema" in report.error.details["checks"]  # type: ignore[union-attr]


def test_many_tables_cost_no_more_round_trips_than_one(
    ready: dict[str, Any], source_db: Database, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """What many checks ask at the same time is one question. With 20 ms each, a round trip more a table is what hurts."""

    def round_trips() -> int:
        with FaultProxy(source_cluster.port) as source, FaultProxy(target_cluster.port) as target:
            source.delay_ms = target.delay_ms = 10
            ends = {
                side: {**ready[side], "port": proxy.port} for side, proxy in (("source", source), ("target", target))
            }
            report = run_validate(**{**ready, **ends, "source_from_target": {"port": source_cluster.port}})
            assert report.error is None
            return source.turns + target.turns

    few = round_trips()
    source_db.execute("".join(f"CREATE TABLE t{n} (id int PRIMARY KEY, v text);" for n in range(300)))
    # Which questions meet in one round trip is a matter of chance, more so on a busy machine; connecting takes some, too.
    # One a table would be 300 more, one a check 137.
    assert few < 130
    assert round_trips() <= few + 60


def test_secrets_of_every_option_stay_out_of_the_answer(
    ready: dict[str, Any], source_db: Database, source_cluster: Cluster
) -> None:
    password = nasty_password()
    for way in (
        {"source_from_target": {"password": password, "user": "nobody"}},
        {"source_from_target": {"url": source_cluster.url(source_db.name, "nobody", password)}},
        {"replication_role": {"user": "nobody", "password": password}},
    ):
        report = run_validate(**ready, **way)
        assert report["subscription_probe"]["status"] == "fail"
        assert password not in str(report)
        assert "nobody" in str(report)


def test_every_check_has_a_place_in_the_answer(ready: dict[str, Any]) -> None:
    events: list[Any] = []
    job = migration(ready["source"], ready["target"])
    options = validate.ValidateOptions(client_bin_dir=ready["client_bin_dir"])
    result = validate.run(job, replace(options, fail_on="warning"), events.append)
    assert [item["id"] for item in result.data["checks"]] == [check.id for check in CHECKS]
    assert set(result.data["checks"][0]) == {
        "id", "title", "side", "severity", "status", "open", "objects", "detail", "remedy",
    }  # fmt: skip
    assert sum(result.data["summary"][status] for status in ("pass", "fail", "unknown", "skipped")) == len(CHECKS)
    assert len(events) == len(CHECKS) + 1


@pytest.mark.parametrize(
    ("source_major", "target_major"), [(12, 14), (13, 15), (14, 16), (15, 17), (16, 18), (17, 14), (18, 18)]
)
def test_every_check_can_look_on_every_major(
    source_major: int, target_major: int, make_cluster: Callable[..., Cluster]
) -> None:
    source, target = make_cluster(source_major), make_cluster(target_major)
    clients = str(max(source, target, key=lambda cluster: cluster.major).client_dir)
    load(source.dsn(), 1)
    report = run_validate(source.params(), target.params("new"), client_bin_dir=clients)
    assert report.error is None
    assert report.with_status("unknown") == {}
    # A role that may nothing: much fails or cannot be seen, and no question is wrong.
    for cluster in (source, target):
        cluster.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    plain = [cluster.params("postgres", "plain", "plain") for cluster in (source, target)]
    report = run_validate(plain[0], plain[1], client_bin_dir=clients)
    said = " ".join(report[check]["detail"] for check in report.with_status("unknown"))
    assert set(re.findall(r"SQLSTATE (\w+)", said)) <= {"42501"}
    assert {"source_replication_attribute", "source_readable", "source_table_owner"} <= set(report.with_status("fail"))
    assert report["subscription_probe"]["status"] == "fail"
