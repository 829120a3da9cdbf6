# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.database import (
    create_statement,
    lost_locale,
)
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import database


def statement(target_major: int, **raw: Any) -> str:
    return create_statement('My "db"', database(**raw), target_major).as_string(None)


PLAIN = "CREATE DATABASE \"My \"\"db\"\"\" WITH TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
ICU = {"datlocprovider": "i", "daticulocale": "de"}
NEWER_ICU = {"datlocprovider": "i", "datlocale": "de"}
BUILTIN = {"datlocprovider": "b", "datlocale": "C.UTF-8"}


RULES = {**NEWER_ICU, "daticurules": "&a < b"}
FAST = {"datlocprovider": "b", "datlocale": "PG_UNICODE_FAST"}
LIBC = " LOCALE_PROVIDER libc"


@pytest.mark.parametrize(
    ("target_major", "raw", "words"),
    [
        (14, {}, ""),
        (15, {}, LIBC),
        (18, {"datlocprovider": "c"}, LIBC),
        (15, ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (17, ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (18, NEWER_ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (16, RULES, " LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < b'"),
        (17, BUILTIN, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        (18, BUILTIN, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        (18, FAST, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'"),
    ],
)
def test_a_database_gets_the_sources_locale_where_the_target_knows_it(
    target_major: int, raw: dict[str, Any], words: str
) -> None:
    assert statement(target_major, **raw) == PLAIN + words
    assert lost_locale(database(**raw), target_major) == []


@pytest.mark.parametrize(
    ("target_major", "raw", "words", "lost"),
    [
        (14, ICU, "", "locale de of ICU of the database"),
        (15, RULES, " LOCALE_PROVIDER icu ICU_LOCALE 'de'", "ICU rules of the database"),
        (16, BUILTIN, LIBC, "builtin locale C.UTF-8 of the database"),
        (
            17,
            FAST,
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
            "builtin locale PG_UNICODE_FAST of the database",
        ),
    ],
)
def test_what_the_target_does_not_know_of_a_locale_is_named(
    target_major: int, raw: dict[str, Any], words: str, lost: str
) -> None:
    assert statement(target_major, **raw) == PLAIN + words
    assert [item["object"] for item in lost_locale(database(**raw), target_major)] == [lost]


def test_a_builtin_locale_falls_back_to_one_that_sorts_alike() -> None:
    assert "LC_COLLATE 'C'" in statement(16, datcollate="en_US.UTF-8", **BUILTIN)
