# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What would mend a proven difference: which tuples of the target go, become another's image, or are added.

Decided where the difference is proven, because only there is known which tuples the proof covers. Pure; how it is said
in SQL belongs to ``repair_statements``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .rows import Group, Version
from .snapshots import Place


@dataclass(frozen=True)
class Mending:
    """How the rows of one group become equal.

    ``updates`` are pairs (source, target). ``relied_on`` are the source tuples on which the proof rests: while these
    are unchanged, it holds.
    """

    updates: tuple[tuple[Version, Version], ...] = ()
    inserts: tuple[Version, ...] = ()
    deletes: tuple[Version, ...] = ()
    relied_on: tuple[Version, ...] = ()

    @property
    def steps(self) -> int:
        """Return the number of statements."""
        return len(self.updates) + len(self.inserts) + len(self.deletes)

    @property
    def taken(self) -> tuple[Version, ...]:
        """Return the source tuples whose values are needed."""
        return (*(source for source, _target in self.updates), *self.inserts)

    @property
    def touched(self) -> tuple[Version, ...]:
        """Return the target tuples that change."""
        return (*(target for _source, target in self.updates), *self.deletes)


def mending(group: Group, untouched: frozenset[Place], lasted: frozenset[Place], *, is_keyed: bool) -> Mending:
    """Return what mends a group whose difference is proven, see :func:`.rows.is_proven`.

    ``untouched`` are the places of source rows that nothing has changed, ``lasted`` those of target rows that have
    lasted long enough. Rows that neither covers are left alone.
    """
    safe = tuple(row for row in group.source if row.place in untouched)
    if is_keyed and group.source:
        # The key stands on the source, untouched: the target must hold exactly these rows.
        here, there = _unequal(group.source, group.target)
        pairs = min(len(here), len(there))
        return Mending(
            updates=tuple(zip(here[:pairs], there[:pairs], strict=True)),
            inserts=here[pairs:],
            deletes=there[pairs:],
            relied_on=group.source,
        )
    if len(safe) > len(group.target):
        return Mending(inserts=safe[len(group.target) :], relied_on=safe)
    if group.source and len(group.source) == len(group.target):  # equal content: only generated columns differ
        here, there = _unequal(group.source, group.target)
        return Mending(updates=tuple(zip(here, there, strict=True)), relied_on=group.source)
    surplus = tuple(row for row in group.target if row.place in lasted)
    return Mending(deletes=surplus[: max(len(surplus) - len(group.source), 0)])


def _unequal(source: Iterable[Version], target: Iterable[Version]) -> tuple[tuple[Version, ...], tuple[Version, ...]]:
    """Return the rows of both sides that find no equal on the other."""
    there = Counter((row.content, row.generated) for row in target)
    left = []
    for row in source:
        if there[row.content, row.generated]:
            there[row.content, row.generated] -= 1
        else:
            left.append(row)
    right = []
    for row in target:
        if there[row.content, row.generated]:
            there[row.content, row.generated] -= 1
            right.append(row)
    return tuple(left), tuple(right)
