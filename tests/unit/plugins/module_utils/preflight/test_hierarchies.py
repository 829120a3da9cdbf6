# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from datetime import date

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.preflight.hierarchies import newest

TODAY = date(2026, 5, 10)


@pytest.mark.parametrize(
    ("bounds", "end"),
    [
        (["FROM ('2026-05-01') TO ('2026-05-12')"], date(2026, 5, 12)),
        (["FROM ('2026-05-01 00:00:00+00') TO ('2026-05-17 00:00:00+00')"], date(2026, 5, 17)),
        (["FROM (MINVALUE) TO ('2026-05-10')", "DEFAULT"], date(2026, 5, 10)),
        (["FROM ('2026-05-01') TO ('2026-05-12')", "FROM ('2026-05-12') TO ('2026-06-12')"], None),
        (["FROM ('2026-05-01') TO ('2026-05-12')", "FROM ('2026-05-12') TO (MAXVALUE)"], None),
        (["FROM ('2026-05-01') TO ('2026-05-12')", "FROM ('2026-05-12') TO ('infinity')"], None),
        (["FROM ('2026-05-01') TO ('2026-05-12')", "FROM ('2026-05-12') TO ('20260-01-01')"], None),
        (["FROM ('2026-04-01') TO ('2026-05-09')"], None),
        (["FROM ('2026-05-01') TO ('2026-05-18')"], None),
        (["DEFAULT"], None),
        ([], None),
    ],
)
def test_only_a_newest_partition_that_ends_within_a_week_counts(bounds: list[str], end: date | None) -> None:
    rows = [{"parent": 1, "bound": f"FOR VALUES {bound}", "today": TODAY} for bound in bounds]
    assert newest(rows) == ({} if end is None else {1: end})
