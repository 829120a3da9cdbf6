# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight.row_predicates import (
    predicate_names,
    predicate_words,
)


@pytest.mark.parametrize(
    ("predicate", "functions", "changing", "has_subquery"),
    [
        ("id > 1 AND (region = 'eu')", {"and"}, set(), False),
        ("lower(region) = 'x' OR Pg_Catalog.Length (region) > 2", {"lower", "pg_catalog.length"}, set(), False),
        ('"S"."F"(id) > 1', {"S.F"}, set(), False),
        ('"now"() > at', {"now"}, set(), False),
        ("at < Current_Date", set(), {"current_date"}, False),
        ('"current_date" > 1', set(), set(), False),
        ("t.region = 'now() SELECT current_date'", set(), set(), False),
        ("region = E'it\\'s now()'", set(), set(), False),
        ("region = 'it''s now()' AND now() > at", {"now"}, set(), False),
        ("region = $x$ now() $$ SELECT $x$", set(), set(), False),
        ("id > 1 -- now()\n AND id < 5", set(), set(), False),
        ("id /* current_user */ > 1", set(), set(), False),
        ("id IN (SELECT 1)", {"in"}, set(), True),
        ("EXISTS(select 1)", {"exists"}, set(), True),
        ("räume(id) > 1", {"räume"}, set(), False),
    ],
)
def test_the_words_of_a_predicate(predicate: str, functions: set[str], changing: set[str], has_subquery: bool) -> None:
    found = predicate_words(predicate)
    # Key words before a parenthesis look like functions; no function of PostgreSQL's catalog has their names.
    assert (found[0] - {"and"}, found[1], found[2]) == (functions - {"and"}, changing, has_subquery)


def test_names_of_a_predicate_are_folded_and_literals_do_not_count() -> None:
    found = predicate_names('"A""b" > 1 AND Mood = \'happy\' -- other\n')
    assert found == {'A"b', "and", "mood"}
