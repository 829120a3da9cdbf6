# SPDX-License-Identifier: GPL-3.0-or-later
"""pytest fixtures: a source and a target cluster for each test worker, a fresh database of each for every test.

`tests/integration/conftest.py` imports them; a test asks for what it needs by name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.binaries import NPM, BinariesUnavailable
from tests.support.cluster import Cluster
from tests.support.sweep import sweep

SOURCE_MAJOR = 15
TARGET_MAJOR = 17


@dataclass(frozen=True)
class Database:
    """An existing database of a cluster."""

    cluster: Cluster
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """libpq keywords that reach it as the superuser: what goes into `source` and `target`."""
        return self.cluster.params(self.name)

    @property
    def dsn(self) -> str:
        return self.cluster.dsn(self.name)

    @property
    def url(self) -> str:
        return self.cluster.url(self.name)

    def connect(self, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        return self.cluster.connect(self.name, autocommit)

    def execute(self, query: str | sql.Composable, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a query as the superuser in autocommit mode; its rows, [] when it returns none."""
        return self.cluster.execute(query, self.name, parameters)


def create_database(cluster: Cluster, name: str | None = None, options: str = "") -> Database:
    """CREATE DATABASE `name` (a random one when None), `options` being the rest of the statement."""
    chosen = name or f"test_{secrets.token_hex(4)}"
    statement = sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(chosen), sql.SQL(options))
    cluster.execute(statement)
    return Database(cluster, chosen)


def start_cluster_or_skip(major: int, **arguments: Any) -> Cluster:
    """A started cluster; skips the test, visibly, where a 12 or 13 server cannot be had."""
    try:
        cluster = Cluster(major, **arguments)
    except BinariesUnavailable as error:
        if major in NPM:
            pytest.skip(str(error))
        raise
    return cluster.__enter__()


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[Cluster]:
    """PostgreSQL 15, one for each test worker."""
    cluster = start_cluster_or_skip(SOURCE_MAJOR)
    yield cluster
    cluster.destroy()


@pytest.fixture(scope="session")
def target_cluster() -> Iterator[Cluster]:
    """PostgreSQL 17, one for each test worker."""
    cluster = start_cluster_or_skip(TARGET_MAJOR)
    yield cluster
    cluster.destroy()


@pytest.fixture
def source_db(source_cluster: Cluster) -> Iterator[Database]:
    """A fresh, empty database on the source; afterwards the cluster is swept of everything the test made."""
    yield create_database(source_cluster)
    sweep(source_cluster)


@pytest.fixture
def target_db(target_cluster: Cluster) -> Iterator[Database]:
    """A fresh, empty database on the target; afterwards the cluster is swept of everything the test made."""
    yield create_database(target_cluster)
    sweep(target_cluster)


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """A factory `make_cluster(major, password=None, tls=False, hba=(), **settings)`; all end with the test."""
    made: list[Cluster] = []

    def make(
        major: int, *, password: str | None = None, tls: bool = False, hba: Sequence[str] = (), **settings: str | int
    ) -> Cluster:
        cluster = start_cluster_or_skip(major, settings=settings, password=password, tls=tls, hba=hba)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.destroy()
