# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from psycopg.conninfo import conninfo_to_dict

from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError

PASSWORD = """p@:/?#%'"\\ ss wörd"""
KEYWORDS = {"host": "db1", "port": 5433, "user": "alice", "password": PASSWORD, "dbname": 'we"ird db'}


def source(**options: Any) -> Endpoint:
    return Endpoint.from_options("source", options)


def test_a_url_gives_every_part() -> None:
    endpoint = source(url="postgresql://alice:p%40ss@db1:5433/we%22ird%20db?sslmode=require")
    assert dict(endpoint.params) == {
        "host": "db1",
        "port": "5433",
        "user": "alice",
        "password": "p@ss",
        "dbname": 'we"ird db',
        "sslmode": "require",
    }


def test_a_keyword_string_is_a_url_too() -> None:
    assert source(url="host=db1 dbname=shop password='a b'").params["password"] == "a b"


def test_keywords_win_over_the_url_and_none_counts_as_absent() -> None:
    endpoint = source(url="postgresql://alice:old@db1/shop", password="new", port=6000, user=None)
    assert (endpoint.params["password"], endpoint.params["port"], endpoint.user) == ("new", "6000", "alice")


def test_keywords_alone_need_no_encoding() -> None:
    assert source(**KEYWORDS).params["password"] == PASSWORD


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"host": "db1"}, "names no database"),
        ({"dbname": "shop"}, "names no host"),
        ({"url": "postgresql:///shop"}, "names no host"),
        ({"url": "postgresql://db1"}, "names no database"),
        ({"url": "", "dbname": "shop"}, "names no host"),
    ],
)
def test_a_missing_host_or_database_is_refused(options: dict[str, Any], missing: str) -> None:
    with pytest.raises(MigrationError, match=missing) as caught:
        source(**options)
    assert caught.value.code == "bad_option"
    assert caught.value.remedy


@pytest.mark.parametrize("keyword", ["host", "hostaddr", "service"])
def test_any_way_to_name_the_server_will_do(keyword: str) -> None:
    assert source(dbname="shop", **{keyword: "10.0.0.1"}).label == "source shop on 10.0.0.1:5432"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alice:hunter2%zz@db1/shop",
        "host=db1 password=hunter2 dbname",
        "postgresql://alice:hunter2@db1/shop?no_such_keyword=1",
    ],
)
def test_a_url_that_cannot_be_parsed_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(MigrationError) as caught:
        source(url=url)
    assert caught.value.code == "bad_option"
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_neither_repr_nor_label_nor_public_shows_a_secret() -> None:
    endpoint = source(**KEYWORDS, sslpassword="key-secret")
    assert endpoint.secrets == [PASSWORD, "key-secret"]
    for shown in (repr(endpoint), endpoint.label, str(endpoint.public())):
        assert "p@" not in shown
        assert "key-secret" not in shown
    assert endpoint.public() == {"host": "db1", "port": "5433", "dbname": 'we"ird db', "user": "alice"}


def test_the_clients_get_the_password_through_their_environment_only() -> None:
    text, environment = source(**KEYWORDS, sslmode="verify-full").client_environment()
    told = conninfo_to_dict(text)
    assert environment == {"PGPASSWORD": PASSWORD}
    assert "password" not in told
    assert (told["dbname"], told["sslmode"], told["connect_timeout"]) == ('we"ird db', "verify-full", "10")
    assert told["keepalives_idle"] == "10"


def test_without_a_password_the_clients_get_none() -> None:
    assert source(host="db1", dbname="shop").client_environment()[1] == {}


def test_a_passphrase_of_a_key_is_refused_to_the_clients() -> None:
    with pytest.raises(MigrationError) as caught:
        source(**KEYWORDS, sslpassword="key-secret").client_environment()
    assert caught.value.code == "bad_option"
    assert "key-secret" not in str(caught.value)


def test_what_the_user_sets_wins_over_our_defaults() -> None:
    params = source(**KEYWORDS, connect_timeout=3, keepalives_idle=99).connect_params("ours")
    assert (params["connect_timeout"], params["keepalives_idle"]) == ("3", "99")
    assert params["fallback_application_name"] == "ours"
    assert source(**KEYWORDS, client_encoding="LATIN1").connect_params("ours")["client_encoding"] == "UTF8"


def test_another_database_of_the_same_server_keeps_everything_else() -> None:
    endpoint = source(**KEYWORDS)
    other = endpoint.with_database("postgres")
    assert other.dbname == "postgres"
    assert {**other.params, "dbname": endpoint.dbname} == endpoint.params
    assert endpoint.with_params(port="1").params["port"] == "1"
    assert endpoint.params["port"] == "5433"
