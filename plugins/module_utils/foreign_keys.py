# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Foreign keys between tables of different streams.

Streams have no common order before they are drained, so such a key cannot be checked; and a key that merely exists
makes the target refuse a TRUNCATE that reaches it through one stream without the other table. Tables that the
application truncates together therefore stay together, and what still crosses streams waits until cutover.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from . import dealing
from .catalog import Catalog, ForeignKey
from .session import Session

_FILENODES = """
SELECT c.oid::bigint AS oid, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass)::bigint AS filenode
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[])
"""


def postponed(catalog: Catalog, stream_of: Mapping[int, int | None]) -> list[ForeignKey]:
    """Return the foreign keys whose tables are carried by more than one stream.

    ``stream_of`` maps OIDs of row-storing tables to streams. Keys of partitions follow their root's.
    """
    leaves = _leaves(catalog)

    def streams(oid: int) -> set[int | None]:
        return {stream_of.get(leaf) for leaf in leaves.get(_root(catalog, oid), [oid])}

    return [
        key for key in catalog.foreign_keys if key.parent == 0 and len(streams(key.table) | streams(key.referenced)) > 1
    ]


def connected(catalog: Catalog, oids: Iterable[int]) -> set[int]:
    """Return the OIDs of all row-storing tables that belong together with the given ones, themselves included."""
    given = set(oids)
    return {oid for group in dealing.groups(catalog) if group & given for oid in group}


def rewritten_too(source: Session, catalog: Catalog, rewritten: Iterable[int], copied: Iterable[int]) -> set[int]:
    """Return those of the ``copied`` tables that were rewritten after their copy, together with a connected one.

    A TRUNCATE names a table and everything that refers to it; when it caught one of them before its copy and another
    one after, both have to move to the next stream, or they would part. ``catalog`` is the snapshot's.
    """
    candidates = connected(catalog, rewritten) & set(copied)
    now = {row["oid"]: row["filenode"] for row in source.rows(_FILENODES, {"oids": sorted(candidates)})}
    return {oid for oid in candidates if now.get(oid) != catalog.by_oid[oid].filenode}


def _root(catalog: Catalog, oid: int) -> int:
    return catalog.root_of(catalog.by_oid[oid]).oid


def _leaves(catalog: Catalog) -> dict[int, list[int]]:
    """Return the row-storing tables below each root (a plain table is its own root)."""
    leaves: dict[int, list[int]] = {}
    for table in catalog.tables:
        if table.stores_rows:
            leaves.setdefault(catalog.root_of(table).oid, []).append(table.oid)
    return leaves
