# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""One spelling for what PostgreSQL makes of parsed statements, whatever its major and however often it was dumped. Pure.

- Names are quoted where a word is reserved, and what is reserved differs between majors.
- Before 16 the columns of a view over a single relation are written with that relation's name.
- A list of constants that is cast as a whole comes back, after a dump, with a cast for each element.
- From 14 on IN is written before a procedure's arguments, from 16 on NO INDENT in XMLSERIALIZE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(
    r"""(?P<string>[eE]?'(?:[^'\\]|''|\\.)*')      # a constant; with backslashes only after E
      | (?P<plain>'(?:[^']|'')*')
      | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<word>[^\W\d][\w$]*)
      | (?P<number>\d[\w.]*)
      | (?P<space>\s+)
      | (?P<other>::|.)""",
    re.VERBOSE | re.DOTALL,
)
_SPACES = re.compile(r"[^\S ]|  ")
_SIMPLE = re.compile(r'"([a-z_][a-z0-9_$]*)"')
_ENDS_FROM = frozenset(
    (
        "WHERE",
        "GROUP",
        "HAVING",
        "WINDOW",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "FETCH",
        "FOR",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        ";",
    )
)
_SET_OPERATIONS = frozenset(("UNION", "INTERSECT", "EXCEPT"))
_OPENS_QUERY = frozenset(("SELECT", "WITH", "VALUES"))


@dataclass(frozen=True)
class Token:
    """A piece of SQL. ``kind`` is constant, name, space or other; ``depth`` counts the parentheses around it."""

    kind: str
    text: str
    depth: int = 0


def tokens(text: str) -> Iterator[Token]:
    """Split SQL; names that need no quotes lose them."""
    depth = 0
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:  # an unbalanced quote: PostgreSQL writes none
            yield Token("other", text[position:], depth)
            return
        position = found.end()
        piece = found.group()
        kind = found.lastgroup or "other"
        if kind == "tag":
            kind = "dollar"
        if kind == "quoted":
            simple = _SIMPLE.fullmatch(piece)
            yield Token("name", simple.group(1) if simple else piece, depth)
        elif kind == "word":
            yield Token("name", piece, depth)
        elif kind == "space":
            yield Token("space", " ", depth)
        elif kind in ("string", "plain", "dollar"):
            yield Token("constant", piece, depth)
        else:
            if piece in ")]":
                depth -= 1
            yield Token("other", piece, depth)
            if piece in "([":
                depth += 1


def unquoted(text: str) -> str:
    """Take the quotes from names that need none."""
    if '"' not in text and not _SPACES.search(text):
        return text
    return "".join(token.text for token in tokens(text))


@lru_cache(maxsize=4096)
def expression(text: str) -> str:
    """Even out an expression, a type or a definition."""
    return _with_casts_inside(_without_no_indent(unquoted(text)).strip())


def view(text: str) -> str:
    """Even out a view's query."""
    query = "".join(_without_qualification(list(tokens(text)))).strip().rstrip(";").rstrip()
    return _with_casts_inside(_without_no_indent(query))


def arguments(text: str) -> str:
    """Even out a routine's arguments."""
    return re.sub(r"(^|, )IN (?=\w|\")", r"\1", unquoted(text))


def _without_no_indent(text: str) -> str:
    """Take away what XMLSERIALIZE does anyway."""
    if "XMLSERIALIZE(" not in text:
        return text
    pieces = [token.text for token in tokens(text)]
    kept: list[str] = []
    number = 0
    while number < len(pieces):
        if pieces[number : number + 4] == [" ", "NO", " ", "INDENT"]:
            number += 4
        else:
            kept.append(pieces[number])
            number += 1
    return "".join(kept)


def _outermost(pieces: Sequence[Token]) -> list[bool]:
    """Tell for each token whether it belongs to the outermost query, and not to one inside parentheses."""
    inside: list[bool] = []
    stack: list[bool] = []
    for number, token in enumerate(pieces):
        if token.text == ")" and stack:
            stack.pop()
        inside.append(not any(stack))
        if token.text == "(":
            following = next((item for item in pieces[number + 1 :] if item.kind != "space"), None)
            stack.append(following is not None and following.text in _OPENS_QUERY)
    return inside


def _single_relation(pieces: Sequence[Token]) -> str | None:
    """Return the name under which a query knows its only relation, or None when it has several, or is a union."""
    started = False
    alias: str | None = None
    for token in pieces:
        if token.depth != 0:
            continue
        if token.kind == "name" and token.text in _SET_OPERATIONS:
            return None
        if not started:
            started = token.kind == "name" and token.text == "FROM"
        elif token.text in _ENDS_FROM:
            started = False
            if any(item.kind == "name" and item.text in _SET_OPERATIONS and item.depth == 0 for item in pieces):
                return None
            return alias
        elif token.text == "," or token.text == "JOIN":
            return None
        elif token.text == "TABLESAMPLE":
            return alias
        elif token.kind == "name":
            alias = "xmltable" if token.text == "XMLTABLE" else token.text
    return alias


def _without_qualification(pieces: Sequence[Token]) -> Iterator[str]:
    alias = _single_relation(pieces)
    outermost = _outermost(pieces)
    number = 0
    while number < len(pieces):
        token = pieces[number]
        if (
            alias is not None
            and outermost[number]
            and token.kind == "name"
            and token.text == alias
            and number + 2 < len(pieces)
            and pieces[number + 1].text == "."
            and pieces[number + 2].kind == "name"
            and (number == 0 or pieces[number - 1].text != ".")
            and (number + 3 >= len(pieces) or pieces[number + 3].text not in ("(", "."))
            and not _follows_from(pieces, number)
        ):
            number += 2
            continue
        yield token.text
        number += 1


def _follows_from(pieces: Sequence[Token], number: int) -> bool:
    """Tell whether a name stands where a relation does."""
    before = [token.text for token in pieces[max(0, number - 4) : number] if token.kind != "space"]
    return bool(before) and before[-1] in ("FROM", "ONLY", "JOIN", "COLLATE", "::")


def _with_casts_inside(text: str) -> str:
    """Move a cast of a whole ARRAY[...] to each of its elements, as PostgreSQL reads it."""
    start = 0
    while (found := text.find("(ARRAY[", start)) >= 0:
        closing = _matching(text, found + 6)
        cast = _ARRAY_CAST.match(text, closing + 1) if closing else None
        if closing is None or cast is None:
            start = found + 1
            continue
        elements = _split(text[found + 7 : closing])
        inner = ", ".join(f"({element})::{cast['type']}" for element in elements)
        text = f"{text[:found]}ARRAY[{inner}]{text[cast.end() :]}"
        start = found + 1
    return text


_ARRAY_CAST = re.compile(
    r"\)::(?P<type>(?:[^\W\d][\w$.]*|\"(?:[^\"]|\"\")*\"|\.|\(\d+(?:,-?\d+)?\)| (?=varying|precision|with))+)\[\]"
)


def _matching(text: str, opening: int) -> int | None:
    """Return where the bracket that opens at ``opening`` closes."""
    depth = 0
    position = opening
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            return None
        piece = found.group()
        if piece in ("[", "("):
            depth += 1
        elif piece in ("]", ")"):
            depth -= 1
            if depth == 0:
                return position
        position = found.end()
    return None


def _split(text: str) -> list[str]:
    """Split at the commas outside of parentheses and constants."""
    parts = [""]
    for token in tokens(text):
        if token.text == "," and token.depth == 0:
            parts.append("")
        else:
            parts[-1] += token.text
    return [part.strip() for part in parts]
