# SPDX-License-Identifier: GPL-3.0-or-later
"""Init from far away: what it costs is its round trips, and a few hundred of them are seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.preflight.registry import CHECKS
from tests.support.cluster import Cluster
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case

TABLES = 200
# The gate's questions meet by chance, and have a test of their own.
NO_CHECKS = [check.id for check in CHECKS]

Count = Callable[..., int]


@pytest.fixture
def round_trips(source_cluster: Cluster, target_cluster: Cluster) -> Count:
    """A function that copies a source into an empty target, both 20 ms away, and returns how many round trips that took."""

    def count(source_db: Database, selection: Mapping[str, Any], **options: Any) -> int:
        target_db = create_database(target_cluster)
        with FaultProxy(source_cluster.port) as source, FaultProxy(target_cluster.port) as target:
            source.delay_ms = target.delay_ms = 10
            case = Case(source_db, target_db, {"name": f"far_{target_db.name}", **selection})
            ends = {
                side: {**database.params, "port": proxy.port}
                for side, database, proxy in (("source", source_db, source), ("target", target_db, target))
            }
            far = Case(source_db, target_db, {**case.options, **ends})
            result = far.init(skip_checks=NO_CHECKS, jobs=2, **options)
            assert result.data["state"] == "copied"
            case.cleanup()
            return source.turns + target.turns

    return count


def make(source_db: Database, numbers: range) -> None:
    for number in numbers:
        name = sql.Identifier(f'Näme "{number}"; --')
        source_db.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, v text)").format(name))
        source_db.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(name, sql.Literal(number)))


def test_tables_cost_no_round_trips_besides_those_of_their_rows(source_db: Database, round_trips: Count) -> None:
    no_rows = {"exclude_data": ["*"]}
    make(source_db, range(1))
    few, few_without_rows = round_trips(source_db, {}), round_trips(source_db, no_rows)
    make(source_db, range(1, TABLES))
    many, many_without_rows = round_trips(source_db, {}), round_trips(source_db, no_rows)
    # pg_dump's and the connections' are two thirds of them. One step of ours costs one to three.
    assert few < 330
    assert many_without_rows <= few_without_rows + TABLES // 4
    # Rows travel in batches of tables, a string a side; and each table has its own word in the ledger.
    assert many <= few + TABLES
