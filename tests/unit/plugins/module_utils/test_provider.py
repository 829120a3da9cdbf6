# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.provider import (
    PROVIDERS,
    Evidence,
    direct,
    is_own_role,
    is_pooled_host,
    is_pooled_port,
    named_by,
    parameters,
    recognise,
)


def evidence(
    host: str = "db", *, values: dict[str, str] | None = None, is_superuser: bool = False, **found: Any
) -> Any:
    kinds = ("roles", "databases", "extensions", "functions", "settings")
    return Evidence(
        **{kind: frozenset(found.get(kind, ())) for kind in kinds},
        values=values or {},
        is_superuser=is_superuser,
        host=host,
    )


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ({}, "self_hosted"),
        ({"host": "ep-cool-1.eu.aws.neon.tech"}, "self_hosted"),
        ({"values": {"neon.tenant_id": "t"}}, "neon"),
        ({"roles": ["neon_superuser"]}, "neon"),
        ({"roles": ["neon_superuser"], "is_superuser": True}, "self_hosted"),
        ({"roles": ["neon_superuser"], "host": "x.serendb.com"}, "serendb"),
        ({"roles": ["neon_superuser", "serendb_superuser"]}, "serendb"),
        ({"values": {"neon.privileged_role_name": "serendb_superuser"}, "is_superuser": True}, "serendb"),
        ({"values": {"neon.privileged_role_name": "neon_superuser"}}, "neon"),
        ({"databases": ["rdsadmin"]}, "rds"),
        ({"settings": ["rds.extensions"], "is_superuser": True}, "rds"),
        ({"roles": ["rdsadmin"], "functions": ["aurora_version"]}, "aurora"),
        ({"functions": ["aurora_version"]}, "self_hosted"),
        ({"settings": ["cloudsql.iam_authentication"]}, "cloudsql"),
        ({"roles": ["cloudsqlsuperuser", "alloydbsuperuser"]}, "alloydb"),
        ({"databases": ["azure_maintenance"]}, "azure"),
        ({"settings": ["supautils.superuser"]}, "supabase"),
        ({"roles": ["doadmin"], "databases": ["_dodb"]}, "digitalocean"),
        ({"roles": ["avnadmin"]}, "aiven"),
        ({"roles": ["tsdbadmin"]}, "timescale"),
        ({"roles": ["snowflake_admin"]}, "snowflake"),
    ],
)
def test_a_provider_is_recognised_by_what_its_server_shows(shown: dict[str, Any], name: str) -> None:
    found = recognise(evidence(**shown))
    assert found.name == name
    assert bool(found.evidence) == (name != "self_hosted")


def test_the_evidence_is_told_and_a_host_name_supports_it() -> None:
    shown = evidence("DB.x.eu-west-1.RDS.amazonaws.com.", roles=["rdsadmin"], databases=["rdsadmin"])
    assert recognise(shown).evidence == (
        "database rdsadmin",
        "role rdsadmin",
        "host DB.x.eu-west-1.RDS.amazonaws.com.",
    )
    assert named_by("a.rds.amazonaws.com") == "Amazon RDS"
    assert named_by("a.example.com") == named_by("") == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10", 10 * 1024**2),
        ("2GB", 2 * 1024**3),
        ("512 kB", 512 * 1024),
        ("-1", None),
        ("0", None),
        ("", None),
        ("x", None),
    ],
)
def test_the_size_limit_is_bytes_or_unknown(text: str, size: int | None) -> None:
    assert recognise(evidence(values={"neon.max_cluster_size": text, "neon.tenant_id": "t"})).size_cap_bytes == size


@pytest.mark.parametrize(
    ("shown", "setting", "restarts", "words"),
    [
        ({}, "max_wal_senders", True, ""),
        ({"databases": ["rdsadmin"]}, "wal_level", True, "rds.logical_replication = 1. Then reboot"),
        (
            {"databases": ["rdsadmin"]},
            "max_slot_wal_keep_size",
            False,
            "parameter group set max_slot_wal_keep_size = 8.",
        ),
        ({"databases": ["rdsadmin"], "functions": ["aurora_version"]}, "wal_level", True, "DB cluster parameter group"),
        ({"databases": ["cloudsqladmin"]}, "wal_level", True, "flag cloudsql.logical_decoding to on"),
        ({"databases": ["alloydbadmin"]}, "wal_level", True, "flag alloydb.logical_decoding to on"),
        ({"databases": ["azure_sys"]}, "max_wal_senders", True, "--name max_wal_senders --value 8\naz postgres"),
        ({"settings": ["supautils.x"]}, "max_wal_senders", True, "--config max_wal_senders=8"),
        ({"settings": ["neon.x"]}, "max_wal_senders", True, "Neon lets nobody change max_wal_senders"),
        (
            {"settings": ["neon.x"]},
            "wal_level",
            True,
            '{"project": {"settings": {"enable_logical_replication": true}}}',
        ),
        (
            {"roles": ["serendb_superuser"]},
            "wal_level",
            True,
            'ID with {"enable_logical_replication": true}. It cannot',
        ),
    ],
)
def test_settings_are_changed_in_the_providers_words(
    shown: dict[str, Any], setting: str, restarts: bool, words: str
) -> None:
    said = recognise(evidence(**shown)).how_to_set(setting, "8", restarts=restarts)
    assert words in said
    assert bool(said) == bool(words)


def test_every_provider_can_be_recognised_and_says_how_settings_are_changed() -> None:
    for rules in PROVIDERS:
        base = next((other for other in PROVIDERS if other.name == rules.variant_of), rules)
        found = recognise(evidence(roles=[*base.roles[:1], *rules.roles[:1]], functions=rules.functions))
        assert found.name == rules.name
        assert "max_wal_senders" in found.how_to_set("max_wal_senders", "8", restarts=True)


def test_only_the_recognised_providers_schemas_are_its_own() -> None:
    assert recognise(evidence(settings=["supautils.x"])).owns_schema("auth")
    assert not recognise(evidence(settings=["neon.x"])).owns_schema("auth")
    assert not recognise(evidence()).owns_schema("auth")
    timescale = recognise(evidence(roles=["tsdbadmin"]))
    assert timescale.owns_schema("_timescaledb_catalog")
    assert not timescale.owns_schema("timescaledb")
    assert recognise(evidence(settings=["neon.x"])).owns_extension("neon")
    assert not recognise(evidence()).owns_extension("neon")


def test_roles_of_providers_are_known_by_name_and_ordinary_names_are_not() -> None:
    for name in ("rds_superuser", "rdsadmin", "cloudsqliamuser", "azure_pg_admin", "neon_superuser", "supabase_admin"):
        assert is_own_role(name)
    for name in ("anon", "authenticated", "service_role", "replication", "my_rds_superuser", "postgres", "rds_", "app"):
        assert not is_own_role(name)


def test_pooled_endpoints_are_known_by_name_and_port() -> None:
    for host in (
        "ep-x-pooler.eu.aws.neon.tech",
        "EP-x-pooler.serendb.com",
        "aws-0-eu.pooler.supabase.com",
        "app.proxy-abc.eu-west-1.rds.amazonaws.com",
    ):
        assert is_pooled_host(host)
    for host in ("ep-x.eu.aws.neon.tech", "pooler.example.com", "proxy.example.com", "db.ref.supabase.co", ""):
        assert not is_pooled_host(host)
    assert is_pooled_port("6432")
    assert not is_pooled_port("5432")


def test_the_way_past_a_pooler_is_the_providers() -> None:
    assert "without -pooler" in direct("ep-x-pooler.neon.tech", "5432")
    assert "RDS Proxy" in direct("a.proxy-b.eu-west-1.rds.amazonaws.com", "5432")
    assert "6432" in direct("h", "6432", recognise(evidence(databases=["azure_sys"])))
    assert "direct connection" in direct("h", "6543", recognise(evidence()))
    assert direct("h", "6432", recognise(evidence())) == ""


def test_the_question_asks_for_every_sign() -> None:
    asked = parameters()
    for kind in ("roles", "databases", "extensions", "functions", "families"):
        assert {name for rules in PROVIDERS for name in getattr(rules, kind)} == set(asked[kind])
