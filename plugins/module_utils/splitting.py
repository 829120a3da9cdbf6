# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which tables are copied in pieces: ranges of blocks that several workers copy at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .copying import CopyTask
from .session import Session

# COPY with a range of blocks reads the whole table on older sources.
TID_RANGE_MAJOR = 14

# Blocks of a table's main part now; relpages may be old.
_PAGES = """
SELECT c.oid::bigint AS oid,
       pg_catalog.pg_relation_size(c.oid::pg_catalog.regclass)
         / pg_catalog.current_setting('block_size')::integer AS pages
  FROM pg_catalog.pg_class AS c WHERE c.oid = ANY (%(oids)s::oid[])
"""


def pieces(source: Session, tasks: Sequence[CopyTask], *, limit_bytes: int, jobs: int) -> dict[int, list[CopyTask]]:
    """Return the pieces of the tables that are split, by OID; ``limit_bytes`` as in :func:`split`."""
    large = [task for task in tasks if limit_bytes and task.estimated_bytes > limit_bytes]
    if source.major < TID_RANGE_MAJOR or not large:
        return {}
    pages = {row["oid"]: row["pages"] for row in source.rows(_PAGES, {"oids": [task.oid for task in large]})}
    cut = {
        task.oid: split(task, tasks, pages=pages.get(task.oid, 0), limit_bytes=limit_bytes, jobs=jobs) for task in large
    }
    return {oid: parts for oid, parts in cut.items() if len(parts) > 1}


def notes(source_major: int, tasks: Sequence[CopyTask], *, limit_bytes: int) -> list[str]:
    """Say so where large tables are not split because the source would read them whole for each piece."""
    large = [task.qualified for task in tasks if limit_bytes and task.estimated_bytes > limit_bytes]
    if source_major >= TID_RANGE_MAJOR or not large:
        return []
    return [f"PostgreSQL {source_major} has no TID range scans, so these are copied whole: {', '.join(large)}"]


def split(task: CopyTask, tasks: Sequence[CopyTask], *, pages: int, limit_bytes: int, jobs: int) -> list[CopyTask]:
    """Return the pieces of a table that would otherwise be copied long after all others are done; else itself.

    Pieces cost more than the whole, because they cannot be frozen (several transactions). So a table is split only
    when it is larger than ``limit_bytes`` (0: never) and than its fair share of all the work. ``pages`` is the size of
    its main part in blocks; the last piece is open, because the table may have grown.
    """
    total = sum(other.estimated_bytes for other in tasks)
    if not limit_bytes or jobs < 2 or pages < jobs or task.estimated_bytes <= max(limit_bytes, total // jobs):
        return [task]
    # Several pieces a worker even out, but never smaller ones than the limit asks for.
    count = max(2, min(2 * jobs, -(-task.estimated_bytes // limit_bytes)))
    bounds = [pages * number // count for number in range(count)]
    return [
        replace(task, blocks=(first, end), estimated_bytes=task.estimated_bytes // count)
        for first, end in zip(bounds, [*bounds[1:], None], strict=True)
    ]
