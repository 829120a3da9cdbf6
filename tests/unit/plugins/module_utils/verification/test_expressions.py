# SPDX-License-Identifier: GPL-3.0-or-later
"""How columns are hashed, what the known answers decide, and what the leaf grid concludes, without a server."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream
from ansible_collections.seren.migrator.plugins.module_utils.verification import hashing, pairing, scan, snapshots
from ansible_collections.seren.migrator.plugins.module_utils.verification.hashing import HashedColumn, HashRules
from ansible_collections.seren.migrator.plugins.module_utils.verification.known_answers import QUESTIONS
from ansible_collections.seren.migrator.plugins.module_utils.verification.pairing import Carrier, Half, Heap, Unit

GOOD = {question.name: question.expected for question in QUESTIONS}
RULES = hashing.conclude(GOOD, GOOD, "UTF8", "UTF8")
SEEDS = hashing.Seeds(1000)


def text(column: HashedColumn, rules: HashRules = RULES) -> str:
    return hashing.column_hash(column, 5, rules).as_string(None)


def test_equal_answers_allow_everything() -> None:
    assert HashRules(True, RULES.typed, frozenset(), False, "") == RULES
    assert RULES.as_data()["text_instead_of_typed"] == []


@pytest.mark.parametrize("answer", [None, "uuid 1"])
def test_a_type_whose_typed_hash_is_in_doubt_is_hashed_by_its_text(answer: str | None) -> None:
    for source, target in ((GOOD, {**GOOD, "uuid": answer}), ({**GOOD, "uuid": answer}, {**GOOD, "uuid": answer})):
        rules = hashing.conclude(source, target, "UTF8", "UTF8")
        assert "uuid_hash" in text(HashedColumn("u", "uuid"))
        assert "hashtextextended" in text(HashedColumn("u", "uuid"), rules)
        assert rules.native


@pytest.mark.parametrize("name", ["whole", "fin", "text"])
def test_without_the_basic_functions_the_whole_run_uses_sha256(name: str) -> None:
    rules = hashing.conclude(GOOD, {**GOOD, name: None}, "UTF8", "UTF8")
    assert not rules.native
    assert "sha256" in text(HashedColumn("i", "bigint"), rules)


def test_without_sums_nothing_is_compared() -> None:
    assert hashing.conclude(GOOD, {**GOOD, "sumtype": "sumtype double"}, "UTF8", "UTF8").refusal


@pytest.mark.parametrize(
    ("question", "affected", "unaffected"),
    [
        ("numtxt", ["numeric", "numeric[]", "public.composite"], ["integer", "jsonb", "text", "text[]"]),
        ("jsonbtxt", ["jsonb", "jsonb[]"], ["json", "numeric"]),
        ("arr", ["text[]", "public.composite"], ["text", "jsonb"]),
        ("regs", ["regclass", "regtype[]"], ["oid"]),
        ("tt", ["time with time zone", "timestamp with time zone[]"], ["timestamp with time zone", "date"]),
    ],
)
def test_a_text_form_that_differs_excludes_the_types_that_rest_on_it(
    question: str, affected: list[str], unaffected: list[str]
) -> None:
    rules = hashing.conclude(GOOD, {**GOOD, question: "other"}, "UTF8", "UTF8")
    assert all(hashing.unlike_forms(base, rules) for base in affected)
    assert not any(hashing.unlike_forms(base, rules) for base in unaffected)


def test_other_encodings_are_compared_as_utf8_and_sql_ascii_is_refused() -> None:
    assert hashing.conclude(GOOD, GOOD, "UTF8", "LATIN1").recode
    assert hashing.conclude(GOOD, GOOD, "UTF8", "SQL_ASCII").refusal.startswith("encoding")
    no_unicode = {**GOOD, "text": None, "jsonbtxt": None}
    rules = hashing.conclude(no_unicode, no_unicode, "LATIN1", "LATIN1")
    assert rules.native
    assert not rules.unlike
    assert not rules.refusal


def test_names_are_quoted_and_padding_is_kept() -> None:
    assert text(HashedColumn('a "b" %s', "text")).count('k."a ""b"" %s"') == 1
    assert "concat" in text(HashedColumn("c", "character"))
    assert "int4::pg_catalog.int8" in text(HashedColumn("c", '"char"'))


def test_every_column_and_its_null_have_numbers_of_their_own() -> None:
    numbers = [SEEDS.row, SEEDS.key, *(SEEDS.column(n) for n in range(1600)), *(SEEDS.null(n) for n in range(1600))]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)
    assert hashing.new_seeds() != hashing.new_seeds()


def test_sixteen_hundred_columns_make_a_flat_expression() -> None:
    columns = [HashedColumn(f"c{n}", "integer") for n in range(1600)]
    expression = hashing.row_hash(columns, SEEDS, RULES).as_string(None)
    assert expression.count("hashint4extended") == 1601
    depth = deepest = 0
    for character in expression:
        depth += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, depth)
    assert deepest < 10


def test_leaves_cover_every_row_once_and_only_unequal_ones_differ() -> None:
    rng = random.Random(7)
    hashes = [rng.getrandbits(64) - 2**63 for _number in range(5000)] + [-(2**63), 2**63 - 1, 0, -1]
    for bits in (0, 1, 7, scan.MAX_BITS):
        counted: dict[int, int] = {}
        for value in hashes:
            leaf = value & scan.mask_for(bits)
            assert 0 <= leaf < 2**bits
            counted[leaf] = counted.get(leaf, 0) + 1
        assert sum(counted.values()) == len(hashes)


@pytest.mark.parametrize(
    ("rows", "size", "bits"),
    [(-1, 0, 0), (0, 0, 0), (1999, 0, 0), (2000, 0, 1), (8000, 0, 3), (0, 1_000_000, 3), (10**12, 0, 16)],
)
def test_the_grid_grows_with_the_table_up_to_a_limit(rows: int, size: int, bits: int) -> None:
    assert scan.bits_for(rows, size) == bits


def test_a_predicate_cannot_swallow_what_follows() -> None:
    heap = Heap(1, 's "x"', "t", "id > 5 -- all")
    half = Half((heap,), (HashedColumn("id", "integer"),))
    unit = Unit("s", "t", half, half, (0,), 10, 10)
    for bits in (0, 3):
        query = scan.grid_query(unit, half, heap, scan.Recipe(RULES, SEEDS), bits, scan.Blocks(7, 9)).as_string(None)
        assert 'FROM ONLY "s ""x"""."t" AS k WHERE (id > 5 -- all\n) AND (k.ctid >=' in query


def test_a_strong_comparison_takes_two_hashes_with_seeds_of_their_own() -> None:
    half = Half((), (HashedColumn("id", "integer"),), (HashedColumn("g", "text"),))
    recipe = scan.Recipe(RULES, SEEDS, is_strong=True)
    first, second = (expression.as_string(None) for expression in recipe.hashes(half.columns))
    assert first != second
    assert first == scan.Recipe(RULES, SEEDS).content(half).as_string(None)
    for expression in (recipe.content(half), recipe.generated(half)):
        assert expression.as_string(None).count(str(2**96)) == 1
    assert "numeric" not in scan.Recipe(RULES, SEEDS).content(half).as_string(None)
    # Whatever two sums are, one number tells them apart: a table has fewer than 2**31 times 2**63 of either sign.
    numbers = {a + b * 2**96 for a in (0, 1, -1, 2**94, -(2**94)) for b in (0, 1, -1, 2**94, -(2**94))}
    assert len(numbers) == 25


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("numeric(10,2)", "numeric(12,2)", True),
        ("integer", "bigint", True),
        ("character varying(5)", "text", True),
        ("character(5)", "character(6)", False),
        ("character(5)", "character(5)", True),
        ("timestamp(3) without time zone", "timestamp without time zone", True),
        ("timestamp without time zone", "timestamp with time zone", False),
        ("integer", "integer[]", False),
        ("numeric", "double precision", False),
        ('public."a(1)"', 'public."a(2)"', False),
    ],
)
def test_types_match_only_when_values_print_alike(source: str, target: str, expected: bool) -> None:
    assert pairing.types_match(source, target) is expected


def test_a_table_counts_as_carried_only_when_the_same_stream_publishes_and_applies_it() -> None:
    def carrier(published: set[tuple[str, str]], subscribed: dict[tuple[str, str], str] | None) -> Carrier:
        return Carrier(Stream(1, "p", "s", "u", "m", None, "subscribed"), frozenset(published), subscribed)

    leaf, root = ("s", "leaf"), ("s", "root")
    assert pairing.carriage_problem([leaf, root], [carrier({root}, {root: "r"})]) == ""
    assert pairing.carriage_problem([leaf], [carrier({leaf}, {leaf: "d"})]) == "sync state: d"
    assert "unknown" in pairing.carriage_problem([leaf], [carrier({leaf}, {})])
    assert pairing.carriage_problem([leaf], [carrier({leaf}, {}), carrier(set(), {leaf: "r"})]) != ""
    assert pairing.carriage_problem([leaf], [carrier({leaf}, None)]) == "no stream carries it"
    assert pairing.carriage_problem([leaf], [carrier({leaf}, {}), carrier({leaf}, {leaf: "r"})]) == ""


def test_waiting_ends_only_when_every_slot_has_confirmed() -> None:
    def slot(name: str, is_past: bool, is_active: bool = True, wal_status: str = "reserved") -> snapshots.SlotPosition:
        return snapshots.SlotPosition(name, is_active, "0/0", is_past, wal_status)

    both = ["a", "b"]
    assert snapshots.all_past([slot("a", True), slot("b", True)], both)
    assert not snapshots.all_past([slot("a", True), slot("b", False)], both)
    assert not snapshots.all_past([slot("a", True)], both)
    assert not snapshots.all_past([], [])
    assert "does not exist" in snapshots.hopeless([slot("a", True)], both, 0)
    assert "lost WAL" in snapshots.hopeless([slot("a", False, wal_status="lost")], ["a"], 0)
    assert snapshots.hopeless([slot("a", False, is_active=False)], ["a"], 5) == ""
    assert "not been in use" in snapshots.hopeless([slot("a", False, is_active=False)], ["a"], 31)
