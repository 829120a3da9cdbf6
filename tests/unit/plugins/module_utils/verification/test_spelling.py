# SPDX-License-Identifier: GPL-3.0-or-later
"""One spelling for definitions, without a server: what majors and dumps change by themselves, and nothing more."""

from __future__ import annotations

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.verification.objects import spelling


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (
            " SELECT p.id,\n    p.name\n   FROM shop.part p\n  WHERE (p.id > 1);",
            " SELECT id,\n    name\n   FROM shop.part p\n  WHERE (id > 1);",
        ),
        (
            "SELECT (c.contact).home AS home FROM shop.customer c;",
            "SELECT (contact).home AS home FROM shop.customer c;",
        ),
        (
            "WITH RECURSIVE r(n) AS ( SELECT 1 UNION ALL SELECT (r_1.n + 1) FROM r r_1) SELECT r.n FROM r;",
            "WITH RECURSIVE r(n) AS ( SELECT 1 UNION ALL SELECT (r_1.n + 1) FROM r r_1) SELECT n FROM r;",
        ),
        (
            'SELECT "T;".a, (SELECT x.b FROM s.x x WHERE x.a = "T;".a) FROM s."T;";',
            'SELECT a, (SELECT x.b FROM s.x x WHERE x.a = "T;".a) FROM s."T;";',
        ),
        (
            "SELECT \"xmltable\".a FROM XMLTABLE(('/r'::text) PASSING ('<r/>'::xml) COLUMNS a integer PATH ('a'::text));",
            "SELECT a FROM XMLTABLE(('/r'::text) PASSING ('<r/>'::xml) COLUMNS a integer PATH ('a'::text));",
        ),
        (
            "SELECT XMLSERIALIZE(CONTENT t.x AS text) AS x FROM s.t;",
            "SELECT XMLSERIALIZE(CONTENT x AS text NO INDENT) AS x FROM s.t;",
        ),
    ],
)
def test_columns_of_a_single_relation_are_spelled_alike(older: str, newer: str) -> None:
    assert spelling.view(older) == spelling.view(newer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a.id FROM shop.a a, shop.b b", "SELECT b.id FROM shop.a a, shop.b b"),
        (
            "SELECT a.id FROM (shop.a a JOIN shop.b b ON (a.x = b.x))",
            "SELECT b.id FROM (shop.a a JOIN shop.b b ON (a.x = b.x))",
        ),
        ("SELECT t.id FROM one.t", "SELECT t.id FROM two.t"),
        ("SELECT one.f(t.id) FROM one.t", "SELECT two.f(t.id) FROM one.t"),
        ("SELECT t.a FROM s.t WHERE (t.b = 't.a')", "SELECT t.a FROM s.t WHERE (t.b = 'a')"),
        (
            "SELECT XMLSERIALIZE(CONTENT x AS text INDENT) AS x FROM s.t",
            "SELECT XMLSERIALIZE(CONTENT x AS text NO INDENT) AS x FROM s.t",
        ),
        (
            "SELECT XMLSERIALIZE(CONTENT x AS text), 'a NO INDENT' FROM s.t",
            "SELECT XMLSERIALIZE(CONTENT x AS text), 'a' FROM s.t",
        ),
        ("SELECT (SELECT x.a FROM s.x x) FROM s.t", "SELECT (SELECT t.a FROM s.x x) FROM s.t"),
    ],
)
def test_what_differs_stays_different(one: str, other: str) -> None:
    assert spelling.view(one) != spelling.view(other)


def test_a_cast_of_a_whole_list_is_one_of_each_element() -> None:
    before = "CHECK (((s)::text = ANY ((ARRAY['a, b'::character varying, 'it''s ]'::character varying])::text[])))"
    after = "CHECK (((s)::text = ANY (ARRAY[('a, b'::character varying)::text, ('it''s ]'::character varying)::text])))"
    assert spelling.expression(before) == spelling.expression(after)
    assert spelling.expression(before) != spelling.expression(before.replace("'a, b'", "'a,b'"))


def test_quotes_go_where_letters_do_not_need_them_and_stay_in_constants() -> None:
    assert spelling.expression("""("position"('"x"'::text, "A"))""") == """(position('"x"'::text, "A"))"""


def test_the_mode_of_a_plain_argument_is_left_out() -> None:
    assert spelling.arguments('IN x integer, OUT y text, IN "In" text') == 'x integer, OUT y text, "In" text'
