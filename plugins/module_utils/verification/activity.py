# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Which tables are written to, as far as the server's statistics tell. Good for choosing a way, never for a proof."""

from __future__ import annotations

from ..session import Session

_WRITES = """
SELECT s.relid::bigint AS oid, s.n_tup_ins + s.n_tup_upd + s.n_tup_del AS writes
  FROM pg_catalog.pg_stat_user_tables AS s
"""


def read_activity(session: Session) -> dict[int, int]:
    """Return for each table (OID) how many rows have been written since its statistics began."""
    return {row["oid"]: row["writes"] for row in session.rows(_WRITES)}
