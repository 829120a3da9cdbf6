# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the providers, on plain servers that show a provider's signs: where they fire, what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight import provider
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

# Roles with power of their own, as a provider's administration has; unlike settings they need no restart.
SIGNS = {
    "neon": ("CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS",),
    "serendb": ("CREATE ROLE serendb_superuser NOLOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS",),
    "rds": ("CREATE ROLE rdsadmin SUPERUSER", "CREATE ROLE rds_replication", "CREATE DATABASE rdsadmin"),
    "cloudsql": ("CREATE ROLE cloudsqlsuperuser NOLOGIN CREATEDB CREATEROLE",),
    "azure": ("CREATE DATABASE azure_maintenance",),
    "supabase": ("CREATE ROLE supabase_admin SUPERUSER",),
}


def plain_role(cluster: Cluster, dbname: str = "postgres") -> dict[str, Any]:
    """Connection parameters of a new role that may only log in."""
    cluster.execute(f"CREATE ROLE {H} LOGIN PASSWORD 'plain'")
    return cluster.params(dbname, HOSTILE, "plain")


@pytest.mark.parametrize("major", [12, 14, 18])
def test_a_plain_role_recognises_the_provider_on_every_version(
    major: int, make_cluster: Callable[..., Cluster], target_db: Database
) -> None:
    cluster = make_cluster(major)
    plain = plain_role(cluster)
    for name, signs in SIGNS.items():
        for statement in signs:
            cluster.execute(statement)
        report = run_validate(plain, target_db.params)
        assert report.data["source"]["provider"] == name
        assert report.data["target"]["provider"] == "self_hosted"
        assert report["source_provider"]["status"] == "pass"
        for sign in (item.split()[2] for item in reversed(signs)):
            cluster.execute(f"DROP DATABASE IF EXISTS {sign}")
            cluster.execute(f"DROP ROLE IF EXISTS {sign}")


@pytest.mark.fires("source_provider")
def test_a_host_name_that_the_server_does_not_speak_for_is_told(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    other = {**source_db.params, "host": "db.x.eu-west-1.rds.amazonaws.com", "hostaddr": "127.0.0.1"}
    report = run_validate(other, target_db.params)
    found = report["source_provider"]
    assert (found["status"], found["severity"]) == ("fail", "info")
    assert "Amazon RDS" in found["detail"]
    assert report.data["source"]["provider"] == "self_hosted"


@pytest.mark.fires("target_provider", "target_pooler")
def test_a_poolers_host_name_is_refused_in_the_providers_words(source_db: Database, target_db: Database) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")
    pooler = {**target_db.params, "host": "ep-x-pooler.eu.aws.neon.tech", "hostaddr": "127.0.0.1"}
    report = run_validate(source_db.params, pooler)
    assert report["target_provider"]["status"] == "fail"
    assert (report["target_pooler"]["status"], report["target_pooler"]["severity"]) == ("fail", "blocker")
    assert "without -pooler" in report["target_pooler"]["remedy"]


@pytest.mark.fires("source_wal_level", "source_replication_attribute")
@pytest.mark.parametrize(
    ("name", "decoding", "replication"),
    [
        ("neon", "cannot be switched off again", "-- Neon: roles made in Neon's console"),
        ("rds", "set rds.logical_replication = 1. Then reboot", f"GRANT rds_replication TO {H};"),
        ("cloudsql", "flag cloudsql.logical_decoding to on", f"ALTER ROLE {H} REPLICATION;"),
        ("azure", "--name wal_level --value logical", f"ALTER ROLE {H} REPLICATION;"),
    ],
)
def test_remedies_are_in_the_providers_words(
    name: str, decoding: str, replication: str, make_cluster: Callable[..., Cluster], target_db: Database
) -> None:
    cluster = make_cluster(15, wal_level="replica")
    for statement in SIGNS[name]:
        cluster.execute(statement)
    plain = plain_role(cluster)
    report = run_validate(plain, target_db.params)
    assert decoding in report["source_wal_level"]["remedy"]
    assert "ALTER SYSTEM" not in report["source_wal_level"]["remedy"]
    assert report["source_replication_attribute"]["remedy"] == replication or name == "neon"
    assert report["source_replication_attribute"]["remedy"].startswith(replication)
    if name != "neon":
        cluster.execute(report["source_replication_attribute"]["remedy"])
        assert run_validate(plain, target_db.params)["source_replication_attribute"]["status"] == "pass"


@pytest.mark.fires("provider_schemas", "source_slot_expiry")
def test_schemas_and_slots_of_a_provider_are_known(
    make_cluster: Callable[..., Cluster], target_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same schema is an ordinary one where the provider is not recognised."""
    cluster = make_cluster(16)
    cluster.execute("CREATE SCHEMA neon_auth; CREATE TABLE neon_auth.t (id int PRIMARY KEY)")
    cluster.execute(f"CREATE SCHEMA {H}; CREATE TABLE {H}.t (id int PRIMARY KEY); INSERT INTO {H}.t VALUES (1)")
    plain = plain_role(cluster)
    cluster.execute(f"GRANT pg_read_all_data TO {H}")
    target = {"client_bin_dir": str(cluster.client_dir)}
    report = run_validate(plain, target_db.params, **target)
    assert report["provider_schemas"]["status"] == report["source_slot_expiry"]["status"] == "pass"
    cluster.execute(SIGNS["neon"][0])
    report = run_validate(plain, target_db.params, {"exclude_schemas": ["pub*"]}, **target)
    found = report["provider_schemas"]
    assert (found["status"], found["severity"], found["objects"]) == ("fail", "warning", ["neon_auth"])
    assert found["remedy"] == "exclude_schemas:\n  - 'neon_auth'\n  - 'pub*'"
    assert "40 hours" in report["source_slot_expiry"]["detail"]
    without = {"exclude_schemas": ["neon_auth", "pub*"]}
    assert run_validate(plain, target_db.params, without, **target)["provider_schemas"]["status"] == "pass"
    monkeypatch.setattr(provider, "SLOW_COPY_BYTES_PER_H", 0)
    found = run_validate(plain, target_db.params, **target)["source_slot_expiry"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    found = run_validate(plain, target_db.params, **target, copy_method="subscription")["source_slot_expiry"]
    assert found["status"] == "pass"


@pytest.mark.fires("target_size_limit")
def test_a_source_that_does_not_fit_under_the_targets_size_limit_is_refused(
    source_db: Database, make_cluster: Callable[..., Cluster]
) -> None:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 20000)")
    cluster = make_cluster(17, **{"neon.max_cluster_size": "1"})
    report = run_validate(source_db.params, cluster.params())
    found = report["target_size_limit"]
    assert (found["status"], found["severity"]) == ("fail", "blocker")
    assert found["objects"] == ["neon.max_cluster_size=1.0 MiB"]
    assert report.data["target"]["provider"] == "neon"
    there = cluster.execute("SELECT pg_database_size('postgres') / 1024 AS kb")[0][0]
    cluster.stop()
    settings = cluster.data_dir / "postgresql.auto.conf"
    settings.write_text(settings.read_text() + f"neon.max_cluster_size = '{there + 1300}kB'\n")
    cluster.start()
    found = run_validate(source_db.params, cluster.params())["target_size_limit"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    without = {"exclude_data": ["p"]}
    assert run_validate(source_db.params, cluster.params(), without)["target_size_limit"]["status"] == "pass"


def test_an_extension_that_only_the_provider_has_is_named_as_such(
    examine: Callable[[Case], Report], source_db: Database
) -> None:
    """Its name alone makes it one; it stays behind unless something needs it."""
    source_db.execute("CREATE EXTENSION citext")
    source_db.execute(
        "SET allow_system_table_mods = on; UPDATE pg_extension SET extname = 'neon' WHERE extname = 'citext'"
    )
    report = examine(Case(""))
    assert report.data["source"]["provider"] == "neon"
    assert report["target_extensions"]["detail"] == "0 extensions. Left behind: extension neon."
    source_db.execute("CREATE SCHEMA apart; CREATE TABLE apart.needs_it (id int PRIMARY KEY, t public.citext)")
    assert examine(Case("", selection={"schemas": ["public"]}))["target_extensions"]["status"] == "pass"
    report = examine(Case(""))
    assert report["target_extensions"]["status"] == "fail"
    assert report["target_extensions"]["detail"].endswith("Only Neon has neon.")
