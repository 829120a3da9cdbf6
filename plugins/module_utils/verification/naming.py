# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a proven difference is called in a report: its key, its kind, the columns that differ, where its rows lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..endpoint import Side
from .disclosure import Disclosure, Values, values_of
from .mending import Mending
from .pairing import Unit
from .readers import Pair
from .rows import Group, Version, column_hashes, kind_of
from .scan import Recipe, side_columns
from .snapshots import Epoch, Place


@dataclass(frozen=True)
class Difference:
    """A proven difference. ``key`` maps key columns to text forms, empty without a key.

    ``columns`` are the names of those that differ; the counts are the rows with this key, or with this content.
    ``tuples`` are places (``relation (ctid)``) on the sides where the row was found: without a key, all there is.
    ``values`` of columns by side, where they are shown. ``mending`` is what would repair it, None where nothing proves
    that it would.
    """

    schema: str
    table: str
    kind: str
    key: Mapping[str, str]
    columns: tuple[str, ...]
    rounds: int
    source_count: int
    target_count: int
    tuples: Mapping[str, tuple[str, ...]]
    values: Values | None = None
    mending: Mending | None = None

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        shown = {} if self.values is None else {"values": {side: dict(texts) for side, texts in self.values.items()}}
        return {
            "schema": self.schema,
            "table": self.table,
            "kind": self.kind,
            "key": dict(self.key),
            "columns": list(self.columns),
            "rounds": self.rounds,
            "source_count": self.source_count,
            "target_count": self.target_count,
            "tuples": {side: list(places) for side, places in self.tuples.items()},
            **shown,
        }


def named(
    unit: Unit,
    rounds: int,
    pair: Pair,
    epoch: Epoch,
    recipe: Recipe,
    disclosure: Disclosure,
    groups: Sequence[Group],
    texts: Mapping[int, tuple[str, ...]],
    mendings: Mapping[int, Mending],
) -> list[Difference]:
    """Turn proven groups into differences, with the names of the columns that differ."""
    if not groups:
        return []
    kinds = {group.identity: kind_of(group, is_keyed=bool(unit.key)) for group in groups}
    pairs = {
        group.identity: (group.source[0].place, group.target[0].place)
        for group in groups
        if kinds[group.identity] in ("changed", "generated_only") and group.source and group.target
    }
    columns: dict[int, tuple[str, ...]] = {}
    values: dict[int, Values] = {}
    if pairs or disclosure.show_values:
        with pair.at(epoch):
            columns = _differing_columns(pair, unit, recipe, pairs)
            if disclosure.show_values:
                values = values_of(pair, unit, disclosure, groups, columns)
    key_names = [unit.source.columns[position].name for position in unit.key]
    return [
        Difference(
            schema=unit.schema,
            table=unit.name,
            kind=kinds[group.identity],
            key=disclosure.key(dict(zip(key_names, texts.get(group.identity, ()), strict=False))),
            columns=columns.get(group.identity, ()),
            rounds=rounds,
            source_count=len(group.source),
            target_count=len(group.target),
            tuples={
                "source": _places(unit, "source", group.source),
                "target": _places(unit, "target", group.target),
            },
            values=values.get(group.identity),
            mending=mendings.get(group.identity),
        )
        for group in groups
    ]


def _differing_columns(
    pair: Pair, unit: Unit, recipe: Recipe, pairs: Mapping[int, tuple[Place, Place]]
) -> dict[int, tuple[str, ...]]:
    hashes = pair.both(
        lambda side: column_hashes(pair, side, unit, recipe, [places[side == "target"] for places in pairs.values()])
    )
    names = [column.name for column in side_columns(unit, "source")]
    return {
        identity: tuple(
            name for name, a, b in zip(names, hashes[0].get(here, ()), hashes[1].get(there, ()), strict=False) if a != b
        )
        for identity, (here, there) in pairs.items()
    }


def _places(unit: Unit, side: Side, rows: Sequence[Version]) -> tuple[str, ...]:
    names = {heap.oid: f"{heap.schema}.{heap.name}" for heap in unit.half(side).heaps}
    return tuple(f"{names.get(row.heap, '')} {row.ctid}" for row in rows[:10])
