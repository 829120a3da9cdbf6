# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.database import create_statement
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import database


def statement(target_major: int, **raw: Any) -> str:
    return create_statement('My "db"', database(**raw), target_major).as_string(None)


PLAIN = "CREATE DATABASE \"My \"\"db\"\"\" WITH TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"
ICU = {"datlocprovider": "i", "daticulocale": "de"}
NEWER_ICU = {"datlocprovider": "i", "datlocale": "de"}
BUILTIN = {"datlocprovider": "b", "datlocale": "C.UTF-8"}


@pytest.mark.parametrize(
    ("target_major", "raw", "words"),
    [
        (14, {}, ""),
        (18, {"datlocprovider": "c"}, ""),
        (14, ICU, ""),
        (15, ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (17, ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (18, NEWER_ICU, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"),
        (16, BUILTIN, ""),
        (17, BUILTIN, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        (18, BUILTIN, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    ],
)
def test_a_database_gets_the_sources_locale_where_the_target_knows_it(
    target_major: int, raw: dict[str, Any], words: str
) -> None:
    assert statement(target_major, **raw) == PLAIN + words
