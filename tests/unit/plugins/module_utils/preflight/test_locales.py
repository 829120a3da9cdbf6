# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight.locales import locale_of

LIBC = {"datcollate": "en_US.UTF-8", "datctype": "en_US.UTF-8"}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (LIBC, {"datcollate": "en_US.utf8", "datctype": "en_US.utf8", "datlocprovider": "c", "datlocale": None}),
        ({"datcollate": "C", "datctype": "POSIX"}, {"datcollate": "POSIX", "datctype": "C"}),
        (
            {**LIBC, "datlocprovider": "i", "daticulocale": "de-DE"},
            {**LIBC, "datlocprovider": "i", "datlocale": "de-DE"},
        ),
    ],
)
def test_the_same_locale_is_recognised_across_majors(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert locale_of(left) == locale_of(right)


@pytest.mark.parametrize(
    "other",
    [
        {**LIBC, "datcollate": "de_DE.UTF-8"},
        {**LIBC, "datctype": "C"},
        {**LIBC, "datcollate": "en_US.ISO8859-1"},
        {**LIBC, "datlocprovider": "i", "datlocale": "en-US"},
        {**LIBC, "datlocprovider": "b", "datlocale": "C.UTF-8"},
    ],
)
def test_different_locales_differ(other: dict[str, Any]) -> None:
    assert locale_of(LIBC) != locale_of(other)
