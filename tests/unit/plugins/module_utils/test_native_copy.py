# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils import native_copy
from ansible_collections.seren.migrator.plugins.module_utils.phases.init import InitOptions
from ansible_collections.seren.migrator.tests.unit.plugins.module_utils.catalogs import column, table

SAFE = table(1, "safe")
ODD = table(2, "odd", columns=(column("id"), column("m", "public.odd")))


@pytest.mark.parametrize(
    ("tables", "majors", "given", "wanted"),
    [
        ([SAFE], (16, 17), {}, "binary"),
        ([SAFE], (15, 17), {}, "text"),  # the source copies as text
        ([SAFE], (17, 15), {}, "text"),
        ([SAFE, ODD], (17, 17), {}, "text"),
        ([SAFE], (17, 17), {"binary": False}, "text"),
        ([SAFE], (17, 17), {"BINARY": "off"}, "text"),
        ([SAFE, ODD], (17, 17), {"binary": True}, "binary"),  # as the user wants it
        ([SAFE], (15, 17), {"binary": True}, "text"),  # applied in binary form, copied as text
    ],
)
def test_the_servers_copy_in_binary_form_where_all_of_it_is_safe(
    tables: list[Any], majors: tuple[int, int], given: dict[str, Any], wanted: str
) -> None:
    assert native_copy.format_of(tables, *majors, given) == wanted


def test_the_subscription_is_told_what_the_user_gave_and_the_form_that_was_chosen() -> None:
    options = InitOptions(subscription_options={"streaming": True})
    assert native_copy.subscription_options(options, "text").subscription_options == {"streaming": True}
    binary = native_copy.subscription_options(options, "binary").subscription_options
    assert binary == {"streaming": True, "binary": True}
    given = InitOptions(subscription_options={"Binary": "on"})
    assert native_copy.subscription_options(given, "binary").subscription_options == {"Binary": "on"}
