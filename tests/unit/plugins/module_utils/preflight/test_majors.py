# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight.majors import plain_words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("SELECT lower($1)", {"select": False, "lower": True}),
        ("SELECT f (x)", {"select": False, "f": True, "x": False}),
        ("SELECT s.f(x)", {"select": False, "x": False}),
        ('SELECT "s"."f"(x)', {"select": False, "x": False}),
        ('SELECT "F""g"(1)', {"select": False, 'F"g': True}),
        ("SELECT 1 -- helper(x)\n", {"select": False}),
        ("SELECT /* helper(x)\n */ 1", {"select": False}),
        ("SELECT unaccent('dict', x)", {"select": False, "unaccent": True, "dict": False, "x": False}),
        ("SELECT 'no such order', 'it''s one'", {"select": False}),
        ("SELECT nextval('s'), 'a b', t", {"select": False, "nextval": True, "s": False, "t": False}),
        ("SELECT Helper(x), helper", {"select": False, "helper": True, "x": False}),
    ],
)
def test_words_without_a_schema_are_found(body: str, words: dict[str, bool]) -> None:
    assert plain_words(body) == words
