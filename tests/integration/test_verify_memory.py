# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of verify does not grow with a table, nor with the number of rows that differ."""

from __future__ import annotations

import pytest

from tests.integration.verify_pair import ReplicatedPair, until
from tests.support import verifying
from tests.support.fixtures import Database

BOUND_MB = 150
ROWS = "INSERT INTO public.big SELECT i, 'row ' || i, i % 1000 FROM generate_series(1, {}) AS i"


@pytest.mark.slow
@pytest.mark.parametrize("millions", [2, 8])
def test_memory_is_bounded_whatever_a_table_holds(source_db: Database, target_db: Database, millions: int) -> None:
    """Without differences, with ten thousand, and with half of all rows; as many rows at a time as the phase does."""
    pair = ReplicatedPair(source_db, target_db)
    pair.both("CREATE TABLE public.big (id bigint PRIMARY KEY, v text, n integer)")
    pair.both("CREATE SCHEMA seren_migrator")
    pair.both(ROWS.format(millions * 1_000_000))  # faster than to replicate it
    pair.both("ANALYZE public.big")
    for database in (source_db, target_db):
        database.execute("VACUUM public.big")
    pair.replicate("FOR TABLE public.big", options="copy_data = false")
    until(
        lambda: bool(target_db.execute("SELECT count(*) FROM pg_catalog.pg_subscription_rel WHERE srsubstate = 'r'")),
        "the table",
    )
    peaks = {}
    for name, damage in (
        ("equal", ""),
        ("some differ", "UPDATE public.big SET v = v || '!' WHERE id % 200 = 0 AND id <= 2000000"),
        ("half differ", "UPDATE public.big SET n = -1 WHERE id % 2 = 0"),
    ):
        if damage:
            pair.damage(damage)
        migration = {"source": source_db.params, "target": target_db.params}
        found = verifying.result_of(
            verifying.start(migration, pair.streams, jobs=2, mode="live", fail_on_difference=False)
        )
        (table,) = found["data"]["tables"]
        assert table["status"] == ("different" if damage else "verified"), table
        assert not damage or table["differing_rows"] > 1000  # as many as are looked at
        peaks[name] = round(found["peak_mb"], 1)
    print(f"{millions} million rows, peak MB: {peaks}")
    assert max(peaks.values()) < BOUND_MB
