# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy does to connections what the tests of network faults and poolers rely on."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from tests.support.cluster import Cluster
from tests.support.fault_proxy import POOLER_PARAMETERS, FaultProxy


def through(proxy: FaultProxy, cluster: Cluster, **more: object) -> dict[str, Any]:
    return {**cluster.params(), "host": proxy.host, "port": proxy.port, "connect_timeout": 5, **more}


def test_traffic_passes_and_is_counted(target_cluster: Cluster) -> None:
    with FaultProxy(target_cluster.port) as proxy, psycopg.connect(**through(proxy, target_cluster)) as connection:
        assert connection.execute("SELECT pg_catalog.repeat('x', 100000)").fetchone() == ("x" * 100000,)
        assert proxy.bytes_to_client > 100000
        assert proxy.bytes_to_server < 2000
        assert proxy.connections >= 1


@pytest.mark.parametrize(("parameter", "value"), [("replication", "database"), ("options", "-c lock_timeout=1s")])
def test_a_pooler_refuses_the_startup_parameter_and_accepts_plain_connections(
    target_cluster: Cluster, parameter: str, value: str
) -> None:
    with FaultProxy(target_cluster.port, refused_parameters=POOLER_PARAMETERS) as proxy:
        with pytest.raises(psycopg.OperationalError, match=f"unsupported startup parameter: {parameter}"):
            psycopg.connect(**through(proxy, target_cluster, **{parameter: value}))
        with psycopg.connect(**through(proxy, target_cluster)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_reset_breaks_open_connections_and_new_ones_work(target_cluster: Cluster) -> None:
    with FaultProxy(target_cluster.port) as proxy:
        with psycopg.connect(**through(proxy, target_cluster)) as connection:
            connection.execute("SELECT 1")
            proxy.reset_all()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        with psycopg.connect(**through(proxy, target_cluster)) as connection:
            assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_delay_and_a_bandwidth_limit_take_their_time(target_cluster: Cluster) -> None:
    with (
        FaultProxy(target_cluster.port) as proxy,
        psycopg.connect(**through(proxy, target_cluster), autocommit=True) as connection,
    ):
        proxy.delay_ms = 100
        started = time.monotonic()
        connection.execute("SELECT 1")
        assert 0.2 <= time.monotonic() - started < 2
        proxy.delay_ms = 0
        proxy.bytes_per_s = 1_000_000
        started = time.monotonic()
        connection.execute("SELECT pg_catalog.repeat('x', 500000)")
        assert 0.4 <= time.monotonic() - started < 3


def test_a_far_server_takes_its_time_to_connect_to(target_cluster: Cluster) -> None:
    with FaultProxy(target_cluster.port) as proxy:
        proxy.connect_delay_ms = 200
        started = time.monotonic()
        with psycopg.connect(**through(proxy, target_cluster), autocommit=True) as connection:
            assert 0.2 <= time.monotonic() - started < 2
            started = time.monotonic()
            connection.execute("SELECT 1")
            assert time.monotonic() - started < 0.2


def test_a_black_hole_swallows_new_connections_and_lets_old_ones_go_on_afterwards(target_cluster: Cluster) -> None:
    with (
        FaultProxy(target_cluster.port) as proxy,
        psycopg.connect(**through(proxy, target_cluster), autocommit=True) as connection,
    ):
        proxy.is_black_hole = True
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(**through(proxy, target_cluster, connect_timeout=2))
        proxy.is_black_hole = False
        assert connection.execute("SELECT 1").fetchone() == (1,)
