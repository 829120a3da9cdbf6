# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which tables share a stream: groups that must stay together, dealt out so that each stream has as much to apply.

Pure. Streams have no common order, so whatever the application changes or truncates as one stays in one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from .catalog import Catalog
from .write_rate import WriteRate

# A source that writes fewer rows a second than this is quiet: a short sample of it shows chance, not a rate.
QUIET_ROWS_PER_SECOND = 50.0
# What a group weighs: its part of what is being written now counts most, then its part of all that was written since
# the statistics began, and its part of the size breaks ties.
SAMPLE_WEIGHT, TOTAL_WEIGHT, SIZE_WEIGHT = 1.0, 0.1, 0.01


@dataclass(frozen=True)
class Share:
    """The tables of one stream (OIDs), in how many groups they hang together, and what they were weighed by."""

    oids: frozenset[int] = frozenset()
    groups: int = 0
    rows_per_second: float = 0.0
    rows: int = 0
    bytes: int = 0


def groups(catalog: Catalog, oids: Collection[int] | None = None) -> list[frozenset[int]]:
    """Return the row-storing tables (those of ``oids``, or all) that must share a stream, as sets of OIDs.

    Together belong tables connected by foreign keys (a TRUNCATE ... CASCADE takes them as one, and without the others
    the target would refuse it), the partitions of one table, and tables that inherit from one another. They hang
    together also through tables that are not asked for; so give the whole database's ``catalog``.
    """
    leader = {table.oid: table.oid for table in catalog.tables}

    def find(oid: int) -> int:
        while leader[oid] != oid:
            leader[oid] = leader[leader[oid]]
            oid = leader[oid]
        return oid

    links = [(table.oid, parent) for table in catalog.tables for parent in table.parents]
    links += [(key.table, key.referenced) for key in catalog.foreign_keys]
    for one, other in links:
        if one in leader and other in leader:
            leader[find(one)] = find(other)
    found: dict[int, set[int]] = {}
    for table in catalog.tables:
        if table.stores_rows and (oids is None or table.oid in oids):
            found.setdefault(find(table.oid), set()).add(table.oid)
    return [frozenset(group) for group in found.values()]


def deal(catalog: Catalog, oids: Collection[int], rates: Mapping[int, WriteRate], count: int) -> list[Share]:
    """Deal the tables ``oids`` out to ``count`` streams, fewer when there are fewer groups, one when there is none.

    The heaviest group first, each to the stream that has least so far. The same input gives the same answer, in
    whatever order it comes.
    """
    weighed = [_share(catalog, group, rates) for group in groups(catalog, oids)]
    weights = _weights(weighed)
    names = {
        share.oids: min((catalog.by_oid[o].schema, catalog.by_oid[o].name) for o in share.oids) for share in weighed
    }
    weighed.sort(key=lambda share: (-weights[share.oids], names[share.oids]))
    shares = [Share() for _number in range(max(1, min(count, len(weighed))))]
    loads = [0.0] * len(shares)
    for group in weighed:
        lightest = min(range(len(shares)), key=lambda number: (loads[number], len(shares[number].oids), number))
        shares[lightest] = _joined(shares[lightest], group)
        loads[lightest] += weights[group.oids]
    return shares


def _share(catalog: Catalog, group: frozenset[int], rates: Mapping[int, WriteRate]) -> Share:
    known = [rates.get(oid, WriteRate()) for oid in sorted(group)]
    return Share(
        group,
        1,
        sum(rate.rows_per_second for rate in known),
        sum(rate.rows for rate in known),
        sum(catalog.by_oid[oid].bytes for oid in group),
    )


def _weights(weighed: Collection[Share]) -> dict[frozenset[int], float]:
    ordered = sorted(weighed, key=lambda share: min(share.oids))  # a sum of floats depends on the order
    per_second = sum(share.rows_per_second for share in ordered)
    rows, size = sum(share.rows for share in ordered), sum(share.bytes for share in ordered)
    is_quiet = per_second < QUIET_ROWS_PER_SECOND
    return {
        share.oids: (0.0 if is_quiet else SAMPLE_WEIGHT * share.rows_per_second / per_second)
        + (TOTAL_WEIGHT * share.rows / rows if rows else 0.0)
        + (SIZE_WEIGHT * share.bytes / size if size else 0.0)
        for share in ordered
    }


def _joined(share: Share, group: Share) -> Share:
    return replace(
        share,
        oids=share.oids | group.oids,
        groups=share.groups + group.groups,
        rows_per_second=share.rows_per_second + group.rows_per_second,
        rows=share.rows + group.rows,
        bytes=share.bytes + group.bytes,
    )
