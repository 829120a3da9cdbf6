# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How much a report says about the rows that differ: names of columns always, keys as they are or hashed, values on demand.

Values are read inside the epoch that proved the difference, so they are those that were compared.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from .hashing import HashedColumn, reference, text_form
from .pairing import Unit
from .readers import Pair
from .rows import Group, values_at
from .scan import side_columns
from .snapshots import Place

MAX_CHARACTERS = 200
_BYTES_READ = 512  # of a bytea: its whole text form may be twice as large as a value can be

Values = Mapping[str, Mapping[str, "str | None"]]


@dataclass(frozen=True)
class Disclosure:
    """What is told of differing rows. ``key_secret`` hashes the keys; None shows them."""

    show_values: bool = False
    key_secret: bytes | None = None

    def key(self, key: Mapping[str, str]) -> dict[str, str]:
        """Return a key as it may be shown.

        The hash is keyed with a secret of this run that is never told, or a short key could be found by trying.
        """
        if self.key_secret is None:
            return dict(key)
        return {
            name: hmac.new(self.key_secret, f"{name}\0{text}".encode(), hashlib.sha256).hexdigest()
            for name, text in key.items()
        }


KEYS_ONLY = Disclosure()


def new_disclosure(*, show_values: bool, hash_keys: bool) -> Disclosure:
    """Return what the options say, with a secret of its own for each run."""
    return Disclosure(show_values, secrets.token_bytes(32) if hash_keys else None)


def shortened(text: str | None) -> str | None:
    """Return a value as it is shown."""
    return text if text is None or len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + "…"


def _shown(column: HashedColumn) -> sql.Composed:
    form = text_form(column)
    if column.base_type == "bytea":
        form = sql.SQL("pg_catalog.substr({}, 1, {})::pg_catalog.text").format(
            reference(column), sql.Literal(_BYTES_READ)
        )
    return sql.SQL("pg_catalog.left({}, {})").format(form, sql.Literal(MAX_CHARACTERS + 1))


def values_of(
    pair: Pair, unit: Unit, disclosure: Disclosure, groups: Iterable[Group], differing: Mapping[int, Sequence[str]]
) -> dict[int, Values]:
    """Return the values of groups, by identity, side and column; inside an epoch.

    Those of the columns that ``differing`` names; of all columns where a side lacks the row. A side without the row is
    left out. With hashed keys the columns of the key stay out, too.
    """
    names = [column.name for column in side_columns(unit, "source")]
    hidden = {unit.source.columns[position].name for position in unit.key} if disclosure.key_secret else set()
    of_side: dict[Side, dict[Place, int]] = {"source": {}, "target": {}}
    for group in groups:
        for side, rows in (("source", group.source), ("target", group.target)):
            if rows:
                of_side["source" if side == "source" else "target"][rows[0].place] = group.identity

    def read(side: Side) -> dict[Place, tuple[str | None, ...]]:
        return values_at(
            pair, side, unit.half(side), [_shown(column) for column in side_columns(unit, side)], of_side[side]
        )

    found: dict[int, dict[str, dict[str, str | None]]] = {}
    for side, values in zip(("source", "target"), pair.both(read), strict=True):
        for place, texts in values.items():
            identity = of_side["source" if side == "source" else "target"][place]
            wanted = differing.get(identity) or names
            found.setdefault(identity, {})[side] = {
                name: shortened(text)
                for name, text in zip(names, texts, strict=True)
                if name in wanted and name not in hidden
            }
    return dict(found)
