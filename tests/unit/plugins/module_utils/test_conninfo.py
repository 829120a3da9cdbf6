# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from psycopg.conninfo import conninfo_to_dict

from ansible_collections.seren.migrator.plugins.module_utils.conninfo import PUBLISHER_SETTINGS, subscription_conninfo
from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError

PASSWORD = """p@:/?#%'"\\ ss wörd"""
SOURCE = {"host": "db1", "port": "5433", "user": "alice", "password": PASSWORD, "dbname": 'we"ird db'}


def told(source: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What the target's libpq reads from the string."""
    endpoint = Endpoint.from_options("source", {**SOURCE, **(source or {})})
    text = subscription_conninfo(
        endpoint, options.get("source_from_target"), options.get("replication_role"), "seren_migration_sub"
    )
    return dict(conninfo_to_dict(text))


def test_the_sources_own_keywords_arrive_unharmed() -> None:
    params = told({"sslmode": "require", "channel_binding": "require"})
    assert {key: params[key] for key in SOURCE} == SOURCE
    assert params["sslmode"] == "require"
    assert params["channel_binding"] == "require"


def test_keepalives_timeout_name_and_row_security_are_added() -> None:
    params = told()
    assert params["keepalives_idle"] == "10"
    assert params["keepalives_interval"] == "10"
    assert params["keepalives_count"] == "60"
    assert params["connect_timeout"] == "10"
    assert params["application_name"] == "seren_migration_sub"
    assert params["options"] == PUBLISHER_SETTINGS


def test_options_of_the_source_are_kept_in_front() -> None:
    assert told({"options": "endpoint=ep-1 -c x.y=z"})["options"] == f"endpoint=ep-1 -c x.y=z {PUBLISHER_SETTINGS}"


def test_the_users_timeouts_win() -> None:
    params = told({"connect_timeout": "3", "keepalives_idle": "7"})
    assert params["connect_timeout"] == "3"
    assert params["keepalives_idle"] == "7"


def test_files_and_settings_of_this_machine_stay_here() -> None:
    params = told(
        {
            "sslrootcert": "/etc/ca.pem",
            "sslcert": "/etc/me.pem",
            "sslkey": "/etc/me.key",
            "passfile": "/home/app/.pgpass",
            "client_encoding": "LATIN1",
            "application_name": "mine",
            "fallback_application_name": "mine too",
            "load_balance_hosts": "random",
        }
    )
    lost = {
        "sslrootcert",
        "sslcert",
        "sslkey",
        "passfile",
        "client_encoding",
        "fallback_application_name",
        "load_balance_hosts",
    }
    assert lost.isdisjoint(params)
    assert params["application_name"] == "seren_migration_sub"


def test_source_from_target_overrides_and_may_name_files_of_the_target() -> None:
    given = {"host": "10.0.0.7", "sslmode": "verify-full", "sslrootcert": "/target/ca.pem", "port": None}
    params = told({"hostaddr": "192.0.2.1"}, source_from_target=given)
    assert params["host"] == "10.0.0.7"
    assert params["port"] == "5433"
    assert params["sslmode"] == "verify-full"
    assert params["sslrootcert"] == "/target/ca.pem"
    assert "hostaddr" not in params, "the old address would win over the new host"
    assert params["password"] == PASSWORD


def test_source_from_target_may_be_a_url_whose_keys_can_be_overridden() -> None:
    given = {"url": "postgresql://bob:s%40crt@inner:7777/other?sslmode=require", "port": 7778}
    params = told(source_from_target=given)
    assert [params[key] for key in ("host", "port", "user", "password", "dbname")] == [
        "inner",
        "7778",
        "bob",
        "s@crt",
        "other",
    ]


def test_the_replication_role_replaces_user_and_password() -> None:
    params = told(replication_role={"user": "repl", "password": "it's \\ x"})
    assert (params["user"], params["password"]) == ("repl", "it's \\ x")
    assert "password" not in told(replication_role={"user": "repl", "password": None})


@pytest.mark.parametrize("keyword", ["passfile", "service", "sslpassword", "replication"])
def test_what_makes_no_sense_on_the_target_is_refused(keyword: str) -> None:
    with pytest.raises(MigrationError, match=keyword) as raised:
        told(source_from_target={keyword: "x"})
    assert raised.value.code == "bad_option"


def test_an_unknown_keyword_and_a_bad_url_are_refused_without_their_secrets() -> None:
    for given in ({"no_such_keyword": "x"}, {"url": f"postgresql://bob:{PASSWORD}@h/d"}, {"url": "postgresql://%zz"}):
        with pytest.raises(MigrationError) as raised:
            told(source_from_target=given)
        assert raised.value.code == "bad_option"
        assert PASSWORD not in str(raised.value)


def test_a_source_known_by_service_only_needs_an_address() -> None:
    endpoint = Endpoint("source", {"service": "shop", "dbname": "shop"})
    with pytest.raises(MigrationError, match="source_from_target"):
        subscription_conninfo(endpoint, None, None, "x")
    assert "host=db9" in subscription_conninfo(endpoint, {"host": "db9"}, None, "x")
