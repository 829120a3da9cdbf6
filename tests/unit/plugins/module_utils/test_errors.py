# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import random
from urllib.parse import quote, quote_plus

import pytest

pytest.importorskip("psycopg")

from psycopg import sql
from psycopg.conninfo import make_conninfo

from ansible_collections.seren.migrator.plugins.module_utils.errors import CODES, MASK, MigrationError, Redactor

NASTY = """p@:/?#%'"\\ ss &=+$`{}ö"""


def in_sql(text: str) -> str:
    """A string as a literal of a statement, doubled quotes and backslashes included."""
    return sql.Literal(text).as_string(None)


SPELLINGS = {
    "plain": lambda secret: secret,
    "percent encoded": lambda secret: quote(secret, safe=""),
    "percent encoded, slashes kept": quote,
    "form encoded": quote_plus,
    "keyword string": lambda secret: make_conninfo(host="db1", password=secret, user="alice"),
    "SQL literal": in_sql,
    "keyword string in an SQL literal": lambda secret: in_sql(make_conninfo(host="db1", password=secret, dbname="x")),
    "Python's repr": repr,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_secret_is_masked_in_every_spelling(spelling: str) -> None:
    rng = random.Random(spelling)
    for _round in range(300):
        words = ["".join(rng.choices(NASTY, k=rng.randint(0, 6))) for _word in range(2)]
        secret = f"first{words[0]}middle{words[1]}last"
        shown = Redactor([secret]).text(f"before {SPELLINGS[spelling](secret)} after")
        assert shown.startswith("before ")
        assert shown.endswith(" after")
        assert not [part for part in ("first", "middle", "last") if part in shown], secret


@pytest.mark.parametrize("secret", ["a", "ab", "abc"])
def test_a_very_short_secret_is_masked_where_it_stands_as_a_password(secret: str) -> None:
    redactor = Redactor([secret])
    assert redactor.text(f"host=db1 password={secret} user=alice") == f"host=db1 password={MASK} user=alice"
    assert redactor.text(f"postgresql://alice:{secret}@db1/shop") == f"postgresql://alice:{MASK}@db1/shop"


def test_a_very_short_secret_does_not_mask_ordinary_words() -> None:
    assert Redactor(["a", "is"]).text("a table is missing") == "a table is missing"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("password=unknown1 host=x", "unknown1"),
        ("PASSWORD = unknown1", "unknown1"),
        ("sslpassword='unknown1 with blank' host=x", "unknown1"),
        (r"password='it\'s unknown1' host=x", "unknown1"),
        ("CONNECTION 'host=x password=''un known1'' user=y'", "known1"),
        (r"CONNECTION E'host=x password=''a\\\\b\\''unknown1'' user=y'", "unknown1"),
        ("postgres://alice:unknown1@db1/shop", "unknown1"),
        ("postgresql://alice:un@known1@db1/shop", "known1"),
    ],
)
def test_what_looks_like_a_password_is_masked_even_when_it_is_not_known(text: str, hidden: str) -> None:
    shown = Redactor([]).text(text)
    assert hidden not in shown
    assert MASK in shown


def test_the_rest_of_a_connection_string_stays_readable() -> None:
    assert Redactor([]).text("host=x password='a b' user=y") == f"host=x password={MASK} user=y"
    assert Redactor([]).text("see postgresql://alice:pw@db1/shop now") == f"see postgresql://alice:{MASK}@db1/shop now"
    assert Redactor([]).text("postgresql://alice@db1/shop") == "postgresql://alice@db1/shop"


def test_nested_data_is_redacted_in_keys_and_values_and_numbers_are_kept() -> None:
    data = {"secret1": [{"deep": ("secret1", 7)}], "n": 1.5, "none": None, "flag": True}
    assert Redactor(["secret1"]).data(data) == {
        MASK: [{"deep": [MASK, 7]}],
        "n": 1.5,
        "none": None,
        "flag": True,
    }


def test_redacting_does_not_change_what_was_given() -> None:
    data = {"a": ["secret1"]}
    Redactor(["secret1"]).data(data)
    assert data == {"a": ["secret1"]}


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert Redactor(["word", "password1"]).text("it was password1") == f"it was {MASK}"


def test_empty_secrets_mask_nothing() -> None:
    assert Redactor(["", ""]).text("nothing to hide") == "nothing to hide"


def test_an_error_needs_a_known_code_and_shows_its_remedy() -> None:
    with pytest.raises(ValueError, match="unknown error code"):
        raise MigrationError("no_such_code", "x")
    assert str(MigrationError("bad_option", "It is wrong.", "Mend it.")) == "It is wrong. Remedy: Mend it."
    assert str(MigrationError("bad_option", "It is wrong.")) == "It is wrong."
    assert all(CODES.values())
