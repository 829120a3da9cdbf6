# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How much the application writes to each table of the source, from the server's statistics. Reads; deciding is elsewhere."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from .session import Session

# Backends hand in their counters about once a second, so a shorter sample would miss most of them.
SAMPLE_S = 2.0

_CHANGES = """
SELECT s.relid::bigint AS oid, (s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::bigint AS rows
  FROM pg_catalog.pg_stat_user_tables AS s
 WHERE s.relid = ANY (%(oids)s::oid[])
"""


@dataclass(frozen=True)
class WriteRate:
    """Rows inserted, updated and deleted in one table: since its statistics began, and a second in a short sample."""

    rows: int = 0
    rows_per_second: float = 0.0


def measure(source: Session, oids: Collection[int], sample_s: float = SAMPLE_S) -> dict[int, WriteRate]:
    """Return the write rate of each table; a table of which the server knows nothing has none. Takes ``sample_s``.

    Source: PostgreSQL manual, "The Cumulative Statistics System". The session must not be in a transaction, which
    would see the same counters twice.
    """
    started = time.monotonic()
    before = _changes(source, oids)
    time.sleep(sample_s)
    after = _changes(source, oids)
    elapsed_s = time.monotonic() - started
    return {
        # Counters fall when somebody resets the statistics in between.
        oid: WriteRate(after.get(oid, 0), max(0, after.get(oid, 0) - before.get(oid, 0)) / elapsed_s)
        for oid in oids
    }


def _changes(source: Session, oids: Collection[int]) -> dict[int, int]:
    return {row["oid"]: row["rows"] for row in source.rows(_CHANGES, {"oids": sorted(oids)})}
