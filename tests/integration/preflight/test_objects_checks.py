# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of objects that replication does not carry, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.test_managed_role import STRICT, managed
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, cure, run_validate

CASES = (
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
        "own_schema",
        f"CREATE SCHEMA seren_migrator; CREATE TABLE seren_migrator.{H} (id int)",
        objects=(f"seren_migrator.{HOSTILE}",),
        cure="source",
    ),
    Case(
        "foreign_keys_outside",
        f"CREATE TABLE {H} (id int PRIMARY KEY, {H} int CONSTRAINT {H} REFERENCES p)",
        selection={"exclude_tables": ["public.p"]},
        objects=(f"public.{HOSTILE}: {HOSTILE} -> public.p",),
        severity="warning",
    ),
)


def test_policies_that_say_skip_or_copy_are_accepted(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute("CREATE UNLOGGED TABLE u (id int PRIMARY KEY); SELECT lo_from_bytea(4711, 'x')")
    for policy in ("skip", "copy"):
        assert examine(Case("", options={"large_objects": policy}))["large_objects"]["status"] == "pass"
    assert examine(Case("", options={"unlogged_tables": "skip"}))["unlogged_tables"]["status"] == "pass"


@pytest.mark.fires("partitions")
@pytest.mark.silent("partitions")
def test_partitions_of_a_12_are_named(
    make_cluster: Callable[..., Cluster], target_db: Database, target_cluster: Cluster
) -> None:
    source = make_cluster(12)
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    source.execute("CREATE TABLE p (id int PRIMARY KEY)")
    assert run_validate(source.params(), target_db.params, **client)["partitions"]["status"] == "pass"
    source.execute(f"CREATE TABLE {H} (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    source.execute(f"CREATE TABLE leaf PARTITION OF {H} FOR VALUES FROM (0) TO (9)")
    report = run_validate(source.params(), target_db.params, **client)
    assert report.with_status("fail", "unknown") == {"partitions": "fail"}
    assert report["partitions"]["objects"] == [f"public.{HOSTILE}"]


@pytest.mark.fires("target_row_security", "target_hidden_rows")
def test_forced_row_security_needs_a_role_that_bypasses_it(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        f"CREATE ROLE owner1; CREATE TABLE {H} (id int PRIMARY KEY); ALTER TABLE {H} OWNER TO owner1;"
        f"CREATE POLICY own ON {H} USING (true); ALTER TABLE {H} ENABLE ROW LEVEL SECURITY"
    )
    target = managed(target_cluster, STRICT.replace(" BYPASSRLS", "") + "GRANT pg_create_subscription TO {role};")
    # The administrator of the target has more rights there than owner1 has on the source.
    client = {"client_bin_dir": str(target_cluster.client_dir), "skip_checks": ["existing_roles"]}
    assert run_validate(source_db.params, target.params, **client).with_status("fail", "unknown") == {}
    source_db.execute(f"ALTER TABLE {H} FORCE ROW LEVEL SECURITY")
    report = run_validate(source_db.params, target.params, **client)
    assert report.with_status("fail", "unknown") == {"target_row_security": "fail", "target_hidden_rows": "fail"}
    hidden = report["target_hidden_rows"]
    assert (hidden["severity"], hidden["objects"]) == ("warning", [f"public.{HOSTILE}"])
    found = report["target_row_security"]
    assert (found["severity"], found["objects"]) == ("warning", [f"public.{HOSTILE}"])
    cure(found["remedy"], target)
    assert run_validate(source_db.params, target.params, **client)["target_row_security"]["status"] == "pass"
    cure(hidden["remedy"], target)
    assert run_validate(source_db.params, target.params, **client).with_status("fail", "unknown") == {}


@pytest.mark.fires("target_row_security")
def test_forced_row_security_stops_whoever_owns_the_tables_on_the_target(
    source_db: Database, target_db: Database, target_cluster: Cluster
) -> None:
    source_db.execute(
        f"CREATE ROLE owner1; CREATE ROLE {H} SUPERUSER; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO owner1;"
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY"
    )
    target_db.execute(f"CREATE ROLE owner1 BYPASSRLS; CREATE ROLE {H}")
    client = {"client_bin_dir": str(target_cluster.client_dir)}
    assert run_validate(source_db.params, target_db.params, **client)["target_row_security"]["status"] == "pass"
    choices: list[dict[str, Any]] = [{"owner": HOSTILE}, {"roles": {"owner1": HOSTILE}}]
    for options in choices:
        found = run_validate(source_db.params, target_db.params, **client, **options)["target_row_security"]
        assert (found["status"], found["objects"]) == ("fail", ["public.t"])
        assert f"ALTER ROLE {H} BYPASSRLS;\n-- or" in found["remedy"]
    # A superuser that init makes is none on the target, and does not bypass row security there.
    target_db.execute(f"DROP ROLE {H}")
    source_db.execute(f"ALTER TABLE t OWNER TO {H}")
    found = run_validate(source_db.params, target_db.params, **client)["target_row_security"]
    assert f"-- between init and sync, when the role is there: ALTER ROLE {H} BYPASSRLS;" in found["remedy"]
