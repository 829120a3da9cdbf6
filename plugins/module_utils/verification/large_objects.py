# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Large objects, which logical replication does not carry: the same OIDs with the same bytes on both sides?

One pass on each side, both at the same time; the servers send one line for some hundred objects, and only of differing
lines the objects. Owners, privileges and comments are compared with the other objects (``objects``).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..driver import Row, psycopg
from ..endpoint import Side
from ..errors import MigrationError, Redactor
from ..session import Session
from .snapshots import reading

OBJECTS_IN_A_LEAF = 500
LEAVES_MAX = 1 << 16
OBJECTS_NAMED = 50_000  # of differing leaves, read one by one
CHUNK_BYTES = 64 << 10

_COUNT = """
SELECT count(*) AS objects,
       pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS has_pages,
       pg_catalog.current_setting('block_size')::int / 4 AS page_bytes
  FROM pg_catalog.pg_largeobject_metadata
"""

# Of each object its size and the sum of the hashes of its pieces, whatever their order. Superusers, and members of
# pg_read_all_data, may read the pages where they lie. A page that was never written reads as zeros, like one that was
# written with zeros; a short one is filled up with them, and the size tells where the object ends.
_FROM_PAGES = """
SELECT m.oid::bigint AS oid, coalesce(p.size, 0) AS size, coalesce(p.content, 0) AS content
  FROM pg_catalog.pg_largeobject_metadata AS m
  LEFT JOIN (
    SELECT g.loid, max(g.pageno::bigint * %(page_bytes)s + g.length) AS size,
           sum(('x' || pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(
             %(salt)s::bytea || pg_catalog.int4send(g.pageno) || g.data), 1, 8), 'hex'))::bit(64)::bigint)
             FILTER (WHERE g.data <> %(zeros)s::bytea) AS content
      FROM (SELECT l.loid, l.pageno, pg_catalog.length(l.data) AS length,
                   CASE WHEN pg_catalog.length(l.data) = %(page_bytes)s THEN l.data
                        ELSE l.data || pg_catalog.substring(%(zeros)s::bytea, 1 + pg_catalog.length(l.data)) END AS data
              FROM pg_catalog.pg_largeobject AS l
             WHERE %(leaf)s::bigint[] IS NULL OR l.loid::bigint %% %(leaves)s = ANY (%(leaf)s::bigint[])
            OFFSET 0) AS g
     GROUP BY g.loid) AS p ON p.loid = m.oid
 WHERE %(leaf)s::bigint[] IS NULL OR m.oid::bigint %% %(leaves)s = ANY (%(leaf)s::bigint[])
"""

# Everybody else reads object by object, with the privileges that each one gives; 262144 is INV_READ, 2 is SEEK_END.
# Descriptors are closed at once: a transaction that holds millions of them has no memory left.
_FROM_FUNCTIONS = """
SELECT z.oid, z.size,
       coalesce((SELECT sum(('x' || pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(
                   %(salt)s::bytea || pg_catalog.int8send(n.start)
                   || pg_catalog.lo_get(z.oid::oid, n.start, %(chunk_bytes)s)), 1, 8), 'hex'))::bit(64)::bigint)
                   FROM pg_catalog.generate_series(0::bigint, z.size - 1, %(chunk_bytes)s::bigint) AS n(start)), 0) AS content
  FROM (SELECT y.oid, y.size, pg_catalog.lo_close(y.descriptor) AS closed
          FROM (SELECT x.oid, x.descriptor, pg_catalog.lo_lseek64(x.descriptor, 0, 2) AS size
                  FROM (SELECT m.oid::bigint AS oid, pg_catalog.lo_open(m.oid, 262144) AS descriptor
                          FROM pg_catalog.pg_largeobject_metadata AS m
                         WHERE %(leaf)s::bigint[] IS NULL OR m.oid::bigint %% %(leaves)s = ANY (%(leaf)s::bigint[])
                        OFFSET 0) AS x
                OFFSET 0) AS y
        OFFSET 0) AS z
 WHERE z.closed = 0
"""

_GRID = """
SELECT o.oid %% %(leaves)s AS leaf, count(*) AS objects, sum(o.size)::bigint AS bytes,
       sum(('x' || pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(%(salt)s::bytea || pg_catalog.convert_to(
         o.oid || ' ' || o.size || ' ' || o.content, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint)::text AS content
  FROM ({objects}) AS o
 GROUP BY 1
"""

_OBJECTS = "SELECT o.oid, o.size, o.content::text AS content FROM ({objects}) AS o"


@dataclass(frozen=True)
class LargeObjectsFinding:
    """The outcome. ``status`` is verified, different, unverified, error or skipped.

    ``differences`` are (OID, kind), where kind is missing on the target, extra there, or changed; ``differing`` counts
    them all, or at least those of the leaves that were read.
    """

    status: str
    reason: str = ""
    source_count: int | None = None
    target_count: int | None = None
    source_bytes: int | None = None
    target_bytes: int | None = None
    differences: tuple[tuple[int, str], ...] = ()
    differing: int = 0

    @property
    def is_failure(self) -> bool:
        """True unless they are proven equal, or nobody wants them."""
        return self.status not in ("verified", "skipped")

    def as_data(self, limit: int) -> dict[str, Any]:
        """Return plain data, with at most ``limit`` differences."""
        return {
            "status": self.status,
            "reason": self.reason,
            "source_count": self.source_count,
            "target_count": self.target_count,
            "source_bytes": self.source_bytes,
            "target_bytes": self.target_bytes,
            "differing": self.differing,
            "differences": [{"oid": oid, "kind": kind} for oid, kind in self.differences[:limit]],
        }


NOT_ASKED = LargeObjectsFinding("skipped", "not asked for")


def compare_large_objects(
    policy: str, open_session: Callable[[Side, str], Session], stop: Callable[[], None], redactor: Redactor
) -> LargeObjectsFinding:
    """Compare all large objects of both databases.

    ``policy`` is what the migration was told: *copy*, *skip*, or *fail* (there were none, so none may be missing).
    ``stop`` ends the queries of every session when the caller is told to end.
    """
    sessions: dict[Side, Session] = {}
    try:
        sessions["source"] = open_session("source", "large objects")
        sessions["target"] = open_session("target", "large objects")
    except MigrationError as error:
        return LargeObjectsFinding("error", error.message)
    with ThreadPoolExecutor(1, thread_name_prefix="verify-large-objects") as pool:

        def both(task: Callable[[Side], Any]) -> tuple[Any, Any]:
            source = pool.submit(task, "source")
            try:
                target = task("target")
            except psycopg.Error:
                source.exception()
                raise
            return source.result(), target

        try:
            return _compared(policy, sessions, both)
        except psycopg.errors.InsufficientPrivilege as error:
            said = redactor.text(error.diag.message_primary or str(error)).strip()
            return LargeObjectsFinding(
                "unverified",
                f"no privilege: {said}; let the role read them (GRANT SELECT ON LARGE OBJECT, or membership in"
                " pg_read_all_data with pg_largeobject readable), or verify as a superuser",
            )
        except psycopg.Error as error:
            said = redactor.text(error.diag.message_primary or str(error)).strip()
            return LargeObjectsFinding("error", f"{said} (SQLSTATE {error.sqlstate})" if error.sqlstate else said)
        except BaseException:
            stop()
            raise


Both = Callable[[Callable[[Side], Any]], tuple[Any, Any]]


def _compared(policy: str, sessions: dict[Side, Session], both: Both) -> LargeObjectsFinding:
    with reading(sessions["source"]), reading(sessions["target"]):
        counts = both(lambda side: sessions[side].row(_COUNT))
        here, there = (row["objects"] for row in counts)
        if policy == "skip":
            return LargeObjectsFinding("skipped", "large_objects: skip", here, there)
        if not here and not there:
            return LargeObjectsFinding("verified", "", 0, 0, 0, 0)
        if policy == "fail" and not here:
            reason = f"the source has none; the {there} of the target do not belong to the migration"
            return LargeObjectsFinding("verified", reason, 0, there)
        is_paged = all(row["has_pages"] for row in counts) and counts[0]["page_bytes"] == counts[1]["page_bytes"]
        objects = _FROM_PAGES if is_paged else _FROM_FUNCTIONS
        parameters = {
            "salt": secrets.token_bytes(8),
            "page_bytes": counts[0]["page_bytes"],
            "zeros": bytes(counts[0]["page_bytes"]),
            "chunk_bytes": CHUNK_BYTES,
            "leaves": min(max(max(here, there) // OBJECTS_IN_A_LEAF, 1), LEAVES_MAX),
            "leaf": None,
        }
        grids = both(lambda side: sessions[side].rows(_GRID.format(objects=objects), parameters))
        leaves, is_all = chosen(*grids)
        found: tuple[list[Row], list[Row]] = ([], [])
        if leaves:
            query, asked = _OBJECTS.format(objects=objects), {**parameters, "leaf": leaves}
            found = both(lambda side: sessions[side].rows(query, asked))
    return conclude(grids, differences(*found), is_all=is_all)


def chosen(source: Sequence[Row], target: Sequence[Row]) -> tuple[list[int], bool]:
    """Return the leaves that differ, from the first as many as hold a bounded number of objects; and if it is all. Pure."""
    here, there = ({row["leaf"]: row for row in side} for side in (source, target))
    differing = sorted(leaf for leaf in here.keys() | there.keys() if here.get(leaf) != there.get(leaf))
    leaves: list[int] = []
    held = 0
    for leaf in differing:
        held += max(side[leaf]["objects"] if leaf in side else 0 for side in (here, there))
        if leaves and held > OBJECTS_NAMED:
            return leaves, False
        leaves.append(leaf)
    return leaves, True


def differences(source: Sequence[Row], target: Sequence[Row]) -> list[tuple[int, str]]:
    """Return (OID, kind) of each object that differs, in their order. Pure."""
    here, there = ({row["oid"]: (row["size"], row["content"]) for row in side} for side in (source, target))
    found = []
    for oid in sorted(here.keys() | there.keys()):
        if oid not in there:
            found.append((oid, "missing"))
        elif oid not in here:
            found.append((oid, "extra"))
        elif here[oid] != there[oid]:
            found.append((oid, "changed"))
    return found


def conclude(
    grids: tuple[Sequence[Row], Sequence[Row]], found: Sequence[tuple[int, str]], *, is_all: bool
) -> LargeObjectsFinding:
    """Put it into words. Pure."""
    totals = [(sum(row["objects"] for row in grid), sum(row["bytes"] for row in grid)) for grid in grids]
    (here, here_bytes), (there, there_bytes) = totals
    status, reason = "verified", ""
    if found or not is_all:
        counts = [f"{n} {kind}" for kind in ("missing", "extra", "changed") if (n := sum(k == kind for _o, k in found))]
        at_least = "" if is_all else "at least "
        status = "different"
        reason = (
            f"{at_least}{', '.join(counts)}; large objects are copied once and not replicated, so those that the source"
            " has made or changed since are to be copied again once writes have stopped"
        )
    elif chosen(*grids)[0]:
        status, reason = "error", "the sums of the two sides differ, and no object was found that does; verify again"
    return LargeObjectsFinding(status, reason, here, there, here_bytes, there_bytes, tuple(found), len(found))
