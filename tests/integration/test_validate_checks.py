# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check of the pre-flight on real servers: where it fires, that its remedy cures it, and where it is silent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.preflight import connection, server
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Report, run_validate
from tests.support.template import server_user

H = sql.Identifier(HOSTILE).as_string(None)
GOOD_SOURCE = f"""
CREATE SCHEMA {H};
CREATE TABLE {H}.{H} ({H} int PRIMARY KEY, t text);
CREATE TABLE plain (id int PRIMARY KEY, n numeric);
CREATE TABLE by_index (id int NOT NULL, j json);
CREATE UNIQUE INDEX by_index_id ON by_index (id);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id;
CREATE TABLE keyed_full (id int PRIMARY KEY, j json, n numeric);
ALTER TABLE keyed_full REPLICA IDENTITY FULL;
CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (100);
CREATE SEQUENCE seq;
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM plain;
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER ordinary BEFORE INSERT ON plain FOR EACH ROW EXECUTE FUNCTION noop();
"""


def test_a_good_pair_passes_every_check(source_db: Database, target_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(GOOD_SOURCE)
    report = run_validate(source_db.params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report.error is None
    assert report.data["ready"] is True
    # What does not concern a source 15; everything else has looked, and found nothing.
    assert report.with_status("fail", "unknown", "skipped") == {
        "source_slot_idle_timeout": "skipped",
        "partitions": "skipped",
        "target_sync_workers": "skipped",
    }
    assert report.statements == []


def test_a_target_database_that_does_not_exist_yet_passes(source_db: Database, target_cluster: Cluster) -> None:
    source_db.execute(GOOD_SOURCE)
    report = run_validate(
        source_db.params, target_cluster.params(HOSTILE), client_bin_dir=str(target_cluster.client_dir)
    )
    assert report.error is None
    assert report.data["target"]["database_exists"] is False
    assert "does not exist yet" in report["target_connection"]["detail"]
    assert report["subscription_probe"]["status"] == "pass"


@dataclass(frozen=True)
class Case:
    """SQL that makes one check fire; ``cure`` says where its remedy, which is plain SQL, is run, '' when it is not."""

    check: str
    source: str = ""
    target: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    severity: str = "blocker"
    cure: str = ""
    name: str = ""


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
    ),
    Case(
        "replica_identity_full_types",
        "CREATE TYPE pair AS (a int, p point); CREATE DOMAIN pairs AS pair[];"
        "CREATE TABLE f (id int NOT NULL, c pairs); CREATE UNIQUE INDEX ix ON f (id); ALTER TABLE f REPLICA IDENTITY FULL",
        objects=("public.f.c (point)",),
        cure="source",
        name="point in a composite in an array in a domain",
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
    Case("large_objects", "SELECT lo_from_bytea(4711, 'x')", objects=("4711",), name="large objects"),
    Case(
        "unlogged_tables",
        f"CREATE UNLOGGED TABLE {H} (id int PRIMARY KEY)",
        objects=(f"public.{HOSTILE}",),
        severity="warning",
        cure="source",
        name="copy",
    ),
    Case(
        "unlogged_tables",
        f"CREATE UNLOGGED TABLE {H} (id int PRIMARY KEY)",
        options={"unlogged_tables": "fail"},
        objects=(f"public.{HOSTILE}",),
        cure="source",
        name="fail",
    ),
    Case(
        "foreign_tables",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (id int) SERVER s",
        options={"foreign_tables": "fail"},
        objects=("public.f",),
    ),
    Case(
        "always_triggers",
        "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        f"CREATE TRIGGER {H} BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION noop();"
        f"ALTER TABLE p ENABLE ALWAYS TRIGGER {H}; CREATE RULE r AS ON DELETE TO p DO ALSO NOTIFY p;"
        "ALTER TABLE p ENABLE REPLICA RULE r",
        objects=(f"public.p: trigger {HOSTILE}", "public.p: rule r"),
        severity="info",
    ),
    Case(
        "foreign_keys_outside",
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY REFERENCES parent)",
        selection={"exclude_tables": ["parent"]},
        objects=("public.child: child_id_fkey -> public.parent",),
        severity="warning",
    ),
    Case(
        "target_empty",
        f"CREATE TABLE {H} (id int PRIMARY KEY)",
        f"CREATE TABLE {H} (id int); CREATE VIEW other AS SELECT 1",
        objects=(f"public.{HOSTILE}", "public.other"),
    ),
    Case(
        "target_event_triggers",
        "",
        "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f"CREATE EVENT TRIGGER {H} ON ddl_command_end EXECUTE FUNCTION et()",
        objects=(HOSTILE,),
        severity="warning",
        cure="target",
    ),
    Case(
        "names_taken",
        f'CREATE PUBLICATION {H[:-1]}_pub"',
        selection={"name": HOSTILE},
        objects=(f"publication {HOSTILE}_pub",),
        cure="source",
        name="publication",
    ),
    Case(
        "names_taken",
        "SELECT pg_create_logical_replication_slot('seren_migration_sub', 'pgoutput');"
        "SELECT pg_create_logical_replication_slot('seren_migration_0123456789ab_2', 'pgoutput');"
        "SELECT pg_create_logical_replication_slot('seren_migration_other', 'pgoutput')",
        objects=("slot seren_migration_0123456789ab_2", "slot seren_migration_sub"),
        cure="source",
        name="slots",
    ),
    Case(
        "names_taken",
        "",
        f"CREATE SUBSCRIPTION {H[:-1]}_sub\" CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false)",
        selection={"name": HOSTILE},
        objects=(f"subscription {HOSTILE}_sub",),
        cure="target",
        name="subscription",
    ),
    Case(
        "source_is_subscriber",
        "CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere.invalid' PUBLICATION p WITH (connect=false, slot_name='s');"
        "ALTER SUBSCRIPTION feed ENABLE",
        objects=("feed",),
        severity="warning",
    ),
    Case("source_connections", options={"jobs": 100}, severity="warning"),
    Case("target_connections", options={"jobs": 100}, severity="warning"),
    Case("client_programs", options={"client_bin_dir": "/nonexistent"}),
)


# What fires together with another check.
ALSO: Mapping[str, set[str]] = {
    "replica_identity_full_types": {"replica_identity_full"},
    "source_connections": {"target_connections"},
    "target_connections": {"source_connections"},
}


def _id(case: Case) -> str:
    return f"{case.check}: {case.name}" if case.name else case.check


@pytest.fixture
def examine(source_db: Database, target_db: Database, target_cluster: Cluster) -> Callable[..., Report]:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")

    def run(case: Case) -> Report:
        options = {"client_bin_dir": str(target_cluster.client_dir), **case.options}
        return run_validate(source_db.params, target_db.params, case.selection, **options)

    return run


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    assert examine(Case(case.check, options={"jobs": 4})).with_status("fail", "unknown") == {}
    if case.source:
        source_db.execute(case.source)
    if case.target:
        target_db.execute(case.target)
    report = examine(case)
    found = report[case.check]
    assert found["status"] == "fail"
    assert found["severity"] == case.severity
    assert set(found["objects"]) >= set(case.objects)
    assert found["detail"]
    assert found["remedy"]
    # It is this check that fires, and no other one by mistake.
    also = ALSO.get(case.check, set())
    assert set(report.with_status("fail", "unknown")) - also == {case.check}
    if case.severity == "blocker":
        assert report.error is not None
        assert case.check in str(report.error)
        assert report.data["ready"] is False
    else:
        assert report.error is None
        assert report.data["ready"] is True
    if case.cure:
        (source_db if case.cure == "source" else target_db).execute(found["remedy"].split("\n-- or ")[0])
        assert examine(case)[case.check]["status"] == "pass"


def test_policies_that_say_skip_or_copy_are_accepted(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute("CREATE UNLOGGED TABLE u (id int PRIMARY KEY); SELECT lo_from_bytea(4711, 'x')")
    for policy in ("skip", "copy"):
        assert examine(Case("", options={"large_objects": policy}))["large_objects"]["status"] == "pass"
    assert examine(Case("", options={"unlogged_tables": "skip"}))["unlogged_tables"]["status"] == "pass"


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


# --- transactions that hold up the slot ----------------------------------------------------------------------------


def test_an_old_transaction_with_writes_blocks_and_a_reader_does_not(
    examine: Callable[[Case], Report], source_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source_db.connect(autocommit=False) as reader, source_db.connect(autocommit=False) as writer:
        reader.execute("SELECT count(*) FROM p")
        monkeypatch.setattr(server, "YOUNG_TRANSACTION_S", -1)
        assert examine(Case(""))["source_long_transactions"]["status"] == "pass"
        writer.execute("INSERT INTO p VALUES (1)")
        report = examine(Case(""))
        assert report["source_long_transactions"]["status"] == "fail"
        assert report["source_long_transactions"]["severity"] == "warning"
        monkeypatch.setattr(server, "OLD_TRANSACTION_S", -1)
        report = examine(Case(""))
        assert report["source_long_transactions"]["severity"] == "blocker"
        assert report.error is not None
        source_db.execute(report["source_long_transactions"]["remedy"])
        with contextlib.suppress(psycopg.Error):
            writer.rollback()
        assert examine(Case(""))["source_long_transactions"]["status"] == "pass"


def test_prepared_transactions_are_found_with_their_cure(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(15, max_prepared_transactions=4)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    with cluster.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO p VALUES (1)")
        connection.execute("PREPARE TRANSACTION 'it''s; --'")
    found = run_validate(cluster.params(), target_db.params)["source_prepared_transactions"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"][0].startswith("it's; -- (postgres, ")
    cluster.execute(found["remedy"])
    assert run_validate(cluster.params(), target_db.params)["source_prepared_transactions"]["status"] == "pass"


# --- servers that are set up wrong ---------------------------------------------------------------------------------


def test_a_source_that_cannot_decode_is_refused(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(
        15, wal_level="replica", max_replication_slots=0, max_slot_wal_keep_size="64MB", synchronous_standby_names=""
    )
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.execute("ALTER SYSTEM SET max_replication_slots = 5")
    cluster.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
    cluster.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    cluster.reload()
    report = run_validate(cluster.params(), target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["source_wal_level"]["objects"] == ["wal_level=replica"]
    assert report["source_pending_restart"]["objects"] == ["max_replication_slots"]
    assert report["source_slot_wal_limit"]["objects"] == ["max_slot_wal_keep_size=64MB"]
    assert set(report.with_status("fail", "unknown")) == {
        "source_wal_level",
        "source_pending_restart",
        "source_slots",
        "source_slot_wal_limit",
        "source_synchronous_standbys",
        "source_read_only",
    }
    assert report.error is not None
    assert report.error.code == "not_ready"


def test_a_source_without_a_free_slot_or_walsender_is_refused(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    cluster = make_cluster(18, max_replication_slots=1, max_wal_senders=1, idle_replication_slot_timeout="1h")
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.execute("SELECT pg_create_logical_replication_slot('taken', 'pgoutput')")
    params = cluster.params()
    with psycopg.connect(**params, replication="database", autocommit=True) as connection:
        connection.execute("IDENTIFY_SYSTEM")
        report = run_validate(params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["source_slots"]["objects"] == ["taken"]
    assert report["source_walsenders"]["status"] == "fail"
    assert report["source_replication_connection"]["status"] == "skipped"
    assert "source_walsenders" in report.error.details["checks"]  # type: ignore[union-attr]
    assert report["source_slot_idle_timeout"]["severity"] == "warning"
    assert "pg_drop_replication_slot('taken')" in report["source_slots"]["remedy"]
    cluster.execute(report["source_slots"]["remedy"].split("in use now:\n")[1])
    again = run_validate(params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert again["source_slots"]["status"] == again["source_walsenders"]["status"] == "pass"


def test_a_target_without_room_for_a_subscription_is_refused(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17, max_logical_replication_workers=0, max_worker_processes=0, max_replication_slots=0)
    report = run_validate(source_db.params, cluster.params(), client_bin_dir=str(cluster.client_dir))
    failed = report.with_status("fail")
    assert {"target_workers", "target_worker_processes", "target_origins"} <= set(failed)
    assert report.error is not None


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_standby_is_refused(
    side: str, make_cluster: Callable[..., Cluster], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17)
    cluster.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster.stop()
    signal_file = cluster.data_dir / "standby.signal"
    signal_file.touch()
    server_user().give(signal_file)
    cluster.start()
    ends = {"source": source_db.params, "target": target_db.params, side: cluster.params()}
    report = run_validate(**ends, client_bin_dir=str(target_cluster.client_dir))
    assert report[f"{side}_recovery"]["status"] == "fail"
    assert report.error is not None


def test_an_old_or_older_target_is_noticed(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    source, old = make_cluster(18), make_cluster(13)
    source.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(source.params(), target_db.params, client_bin_dir=str(source.client_dir))
    assert (report["version_order"]["status"], report["version_order"]["severity"]) == ("fail", "warning")
    assert report.error is None
    report = run_validate(source.params(), old.params(), client_bin_dir=str(source.client_dir))
    assert report["target_version"]["status"] == "fail"
    report = run_validate(source.params(), target_db.params, client_bin_dir=str(target_cluster.client_dir))
    assert report["client_programs"]["status"] == "fail"


def test_the_same_database_on_both_sides_is_refused(source_db: Database, source_cluster: Cluster) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    report = run_validate(source_db.params, source_cluster.params(source_db.name))
    assert report["different_databases"]["status"] == "fail"
    report = run_validate(source_db.params, source_cluster.params("postgres"))
    assert report["different_databases"]["status"] == "pass"
    assert report["subscription_probe"]["status"] == "pass"


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


# --- extensions ----------------------------------------------------------------------------------------------------


def test_extensions_that_the_target_does_not_offer_are_found(
    source_cluster: Cluster, source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    folder = _extension_folder(source_cluster)
    names = ("seren_only_here", "seren_both")
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    with contextlib.ExitStack() as stack:
        for item in names:
            stack.enter_context(_extension(folder, item, "1.0", server_user().give))
        stack.enter_context(_extension(_extension_folder(target_cluster), "seren_both", "1.1", server_user().give))
        source_db.execute("CREATE EXTENSION seren_only_here; CREATE EXTENSION seren_both")
        client = {"client_bin_dir": str(target_cluster.client_dir)}
        report = run_validate(source_db.params, target_db.params, **client)
        assert report["target_extensions"]["objects"] == ["seren_only_here 1.0"]
        assert report["target_extensions"]["severity"] == "blocker"
        assert report["target_extension_versions"]["objects"] == ["seren_both 1.0 -> 1.1"]
        assert report["extension_tables"]["objects"] == [
            "public.seren_both_t (seren_both)",
            "public.seren_only_here_t (seren_only_here)",
        ]
        assert report["target_extension_rights"]["status"] == "pass"
        source_db.execute("CREATE SCHEMA s")
        partial = run_validate(source_db.params, target_db.params, {"schemas": ["public"]}, **client)
        assert partial["target_extensions"]["severity"] == "warning"
        target_cluster.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        plain = {**target_db.params, "user": "plain", "password": "plain"}
        report = run_validate(source_db.params, plain, **client)
        assert report["target_extension_rights"]["objects"] == ["seren_both"]
        target_db.execute(report["target_extension_rights"]["remedy"])
        report = run_validate(source_db.params, plain, **client)
        assert report["target_extension_rights"]["status"] == "pass"
        source_db.execute("DROP EXTENSION seren_only_here; DROP EXTENSION seren_both")


def _extension_folder(cluster: Cluster) -> Path:
    rows = cluster.execute("SELECT setting FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR'")
    return Path(rows[0][0]) / "extension"


@contextlib.contextmanager
def _extension(folder: Path, name: str, version: str, give: Callable[[Path], None]) -> Iterator[None]:
    control, script = folder / f"{name}.control", folder / f"{name}--{version}.sql"
    try:
        control.write_text(f"default_version = '{version}'\nrelocatable = true\n", encoding="ascii")
        script.write_text(f"CREATE TABLE {name}_t (id int);\n", encoding="ascii")
        yield
    finally:
        control.unlink(missing_ok=True)
        script.unlink(missing_ok=True)


# --- privileges ----------------------------------------------------------------------------------------------------


@pytest.fixture
def plain_source(source_db: Database) -> dict[str, Any]:
    """A role with a hostile name that may only connect; somebody else owns everything."""
    source_db.execute(
        f"CREATE ROLE {H} LOGIN PASSWORD 'plain'; CREATE ROLE owner1; CREATE SCHEMA s AUTHORIZATION owner1;"
        "CREATE TABLE s.t (id int PRIMARY KEY); ALTER TABLE s.t OWNER TO owner1;"
        "CREATE SEQUENCE s.q; ALTER SEQUENCE s.q OWNER TO owner1;"
        "ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON s.t USING (false)"
    )
    return {**source_db.params, "user": HOSTILE, "password": "plain"}


PRIVILEGES = {
    "source_replication_attribute": [HOSTILE],
    "source_create_privilege": [],
    "source_table_owner": ["s.t"],
    "source_readable": ["s", "s.q", "s.t"],
    "source_row_security": ["s.t"],
}


def test_each_missing_privilege_on_the_source_is_found_and_its_grant_cures_it(
    plain_source: dict[str, Any], source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    report = run_validate(plain_source, target_db.params, **client)
    for check, objects in PRIVILEGES.items():
        assert report[check]["status"] == "fail", check
        assert set(report[check]["objects"]) >= set(objects), check
    # What needs a privilege to be seen is unknown or skipped, and never passes.
    assert report["source_replication_connection"]["status"] == "skipped"
    assert report["subscription_probe"]["status"] == "fail"
    for check in ("source_replication_attribute", "source_create_privilege", "source_row_security", "source_readable"):
        source_db.execute(report[check]["remedy"])
        assert run_validate(plain_source, target_db.params, **client)[check]["status"] == "pass", check
    source_db.execute("REVOKE pg_read_all_data FROM " + H)
    source_db.execute(report["source_table_owner"]["remedy"])
    report = run_validate(plain_source, target_db.params, **client)
    assert report.with_status("fail", "unknown", "skipped") == {
        "source_slot_idle_timeout": "skipped",
        "partitions": "skipped",
        "target_sync_workers": "skipped",
    }
    assert report.error is None


def test_hidden_transactions_are_unknown_and_never_pass(
    plain_source: dict[str, Any], source_db: Database, target_db: Database
) -> None:
    with source_db.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO s.t VALUES (1)")
        report = run_validate(plain_source, target_db.params)
        assert report["source_long_transactions"]["status"] == "unknown"
        source_db.execute(report["source_long_transactions"]["remedy"])
        assert run_validate(plain_source, target_db.params)["source_long_transactions"]["status"] == "pass"
        writer.rollback()


def test_each_missing_privilege_on_the_target_is_found_and_its_grant_cures_it(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        f"CREATE ROLE owner1; CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); ALTER TABLE p OWNER TO owner1;"
        f"CREATE TABLE q (id int PRIMARY KEY); ALTER TABLE q OWNER TO {H};"
        "ALTER TABLE q ENABLE ROW LEVEL SECURITY; ALTER TABLE q FORCE ROW LEVEL SECURITY"
    )
    target_db.execute("CREATE ROLE \"me;\" LOGIN PASSWORD 'plain'; CREATE ROLE owner1")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    plain = {**target_db.params, "user": "me;", "password": "plain"}
    report = run_validate(source_db.params, plain, **client)
    assert report["target_roles"]["objects"] == [HOSTILE, "owner1"]
    for check in ("target_create_privilege", "target_schema_privilege", "subscription_probe", "target_row_security"):
        assert report[check]["status"] == "fail", check
        target_db.execute(report[check]["remedy"])
        assert run_validate(source_db.params, plain, **client)[check]["status"] == "pass", check
    target_db.execute(report["target_roles"]["remedy"].split("\n-- or")[0])
    report = run_validate(source_db.params, plain, **client)
    assert report["target_owners"]["objects"] == [f"public.q ({HOSTILE})", "public.p (owner1)"]
    target_db.execute(report["target_owners"]["remedy"].split("\n-- or")[0])
    report = run_validate(source_db.params, plain, **client)
    assert report.with_status("fail", "unknown") == {}
    assert run_validate(source_db.params, plain, roles="none", **client)["target_roles"]["status"] == "pass"


def test_a_plain_role_that_cannot_create_the_database_is_told_so(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target_cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = target_cluster.params(HOSTILE, "me", "plain")
    report = run_validate(source_db.params, plain, client_bin_dir=str(target_cluster.client_dir))
    assert report["target_create_privilege"]["status"] == "fail"
    assert report["subscription_probe"]["status"] == "unknown"
    assert "subscription_probe" in report.error.details["checks"]  # type: ignore[union-attr]
    for statement in report["target_create_privilege"]["remedy"].split("\n-- or: "):
        target_cluster.execute(statement)
    report = run_validate(source_db.params, plain, client_bin_dir=str(target_cluster.client_dir))
    assert report["target_create_privilege"]["status"] == "pass"


def test_hidden_sessions_leave_the_worker_processes_unknown(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    cluster = make_cluster(17, max_worker_processes=3)
    cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = cluster.params("postgres", "me", "plain")
    report = run_validate(source_db.params, plain)
    assert report["target_worker_processes"]["status"] == "unknown"
    cluster.execute(report["target_worker_processes"]["remedy"])
    assert run_validate(source_db.params, plain)["target_worker_processes"]["status"] == "pass"


def test_connection_limits_of_role_and_database_count(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    target_cluster.execute("CREATE ROLE me LOGIN PASSWORD 'plain' CONNECTION LIMIT 5")
    plain = {**target_db.params, "user": "me", "password": "plain"}
    found = run_validate(source_db.params, plain)["target_connections"]
    assert found["objects"] == ["CONNECTION LIMIT of the role"]
    target_cluster.execute("ALTER ROLE me CONNECTION LIMIT -1")
    assert run_validate(source_db.params, plain)["target_connections"]["status"] == "pass"


# --- the replication role and the way from the target --------------------------------------------------------------


def test_the_replication_role_is_checked_and_used(
    source_db: Database, source_cluster: Cluster, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    role = {"user": HOSTILE, "password": 'it\'s "secret" \\ pass'}
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report["source_replication_attribute"]["objects"] == [f"{HOSTILE} (does not exist)"]
    assert report["subscription_probe"]["status"] == "fail"
    source_db.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(HOSTILE), sql.Literal(role["password"]))
    )
    source_db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(source_db.name)))
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report["source_replication_attribute"]["objects"] == [HOSTILE, f"{HOSTILE} (CONNECT)"]
    source_db.execute(report["source_replication_attribute"]["remedy"])
    report = run_validate(source_db.params, target_db.params, replication_role=role, **client)
    assert report.error is None
    wrong = {**role, "password": "hunter2-wrong"}
    report = run_validate(source_db.params, target_db.params, replication_role=wrong, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "hunter2" not in str(report)


def test_the_probe_takes_the_way_that_the_target_takes(
    source_db: Database, source_cluster: Cluster, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    report = run_validate(source_db.params, target_db.params, source_from_target={"port": 1}, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "08006" in report["subscription_probe"]["detail"]
    by_url = {"url": source_cluster.url(source_db.name)}
    through_socket = {"host": str(source_cluster.socket_dir), "port": source_cluster.port}
    for way in (by_url, through_socket):
        report = run_validate(source_db.params, target_db.params, source_from_target=way, **client)
        assert report["subscription_probe"]["status"] == "pass"
    report = run_validate(source_db.params, target_db.params, source_from_target={"passfile": "/x"}, **client)
    assert report["subscription_probe"]["status"] == "fail"
    assert "passfile" in report["subscription_probe"]["detail"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_encryption_is_judged(
    side: str, make_cluster: Callable[..., Cluster], source_db: Database, target_db: Database
) -> None:
    # 127.0.0.2 stands for another machine.
    cluster = make_cluster(16, tls=True, listen_addresses="127.0.0.1,127.0.0.2")
    check = f"{side}_tls"

    def judged(**params: str) -> dict[str, Any]:
        ends = {"source": source_db.params, "target": target_db.params, side: {**cluster.params(), **params}}
        return run_validate(**ends)[check]

    assert judged(host="127.0.0.2")["status"] == "pass"
    plain = judged(host="127.0.0.2", sslmode="disable")
    assert (plain["status"], plain["severity"]) == ("fail", "warning")
    assert "does not leave this machine" in judged(sslmode="disable")["detail"]


def test_the_usual_port_of_a_pooler_is_a_warning_only(
    source_db: Database, target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    monkeypatch.setattr(connection, "POOLER_PORTS", (str(source_db.params["port"]),))
    report = run_validate(source_db.params, target_db.params)
    assert (report["source_pooler"]["status"], report["source_pooler"]["severity"]) == ("fail", "warning")
    assert report["target_pooler"]["status"] == "pass"


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
