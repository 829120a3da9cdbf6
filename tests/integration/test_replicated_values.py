# SPDX-License-Identifier: GPL-3.0-or-later
"""What replication carries is what the source holds, whatever its databases are set to print."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
from tests.support.verified import assert_verified


@pytest.mark.parametrize("major", [14, pytest.param(16, marks=pytest.mark.slow)])
def test_dates_intervals_and_floats_arrive_whole(
    source_db: Database, make_cluster: Callable[..., Cluster], major: int
) -> None:
    """A subscription of 14 takes dates as the source's settings print them: 4 March became 3 April, and 0.1 + 0.2 became 0.3."""
    case = Case(source_db, create_database(make_cluster(major)))
    source_db.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, d date, at timestamptz, i interval, f float8, r real[]);"
        f"ALTER DATABASE {source_db.name} SET DateStyle TO 'SQL, DMY'; ALTER DATABASE {source_db.name} SET extra_float_digits TO 0;"
        f"ALTER DATABASE {source_db.name} SET IntervalStyle TO 'sql_standard'"
    )
    row = "date '2020-03-04' + n, '2020-03-04 05:06+00', '-1 mon +2 days -3:04', 0.1::float8 + 0.2::float8, ARRAY[0.1::real + 0.2::real]"
    source_db.execute(f"INSERT INTO t SELECT n, {row} FROM generate_series(1, 5) AS n")
    case.init()
    case.sync()
    source_db.execute(f"INSERT INTO t SELECT n, {row} FROM generate_series(6, 9) AS n")
    case.wait_until_in_sync()
    assert_verified(case.verify())
    assert case.compare().differences == []
