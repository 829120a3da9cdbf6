# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of all objects, tested by mutation: each kind and each attribute is changed on the target, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.session import Session
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects import reading
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects.comparing import Difference, compare
from ansible_collections.seren.migrator.plugins.module_utils.verification.objects.described import Described, Key, Scope
from tests.support import every_kind
from tests.support.cluster import Cluster
from tests.support.every_kind.mutations import EVERY, EXTRA, MISSING, OF_18, Mutation
from tests.support.fixtures import SOURCE_MAJOR, start_cluster_or_skip

Found = set[tuple[str, str, str, frozenset[str]]]


@dataclass
class Pair:
    """What the source holds, and an open session to a target that holds the same."""

    source: Mapping[Key, Described]
    target: Session
    level: int

    def differences(self) -> list[Difference]:
        return compare(self.source, reading.read(self.target, Scope(level=self.level)))

    def after(self, statement: str) -> list[Difference]:
        """The differences after a change to the target, which is taken back."""
        with self.target.connection.transaction(force_rollback=True):
            self.target.connection.execute("SET LOCAL search_path = pg_catalog")
            self.target.connection.execute(statement.encode())
            self.target.connection.execute("SET LOCAL search_path = ''")
            return self.differences()


def make_pair(stack: ExitStack, source: Cluster, target: Cluster, level: int) -> Pair:
    databases = [every_kind.load(cluster, level) for cluster in (source, target)]
    migration = Migration.from_options({"source": databases[0].params, "target": databases[1].params})
    with migration.open("source", "objects", read_only=True) as session:
        described = reading.read(session, Scope(level=level))
    return Pair(described, stack.enter_context(migration.open("target", "objects")), level)


@pytest.fixture(scope="module")
def pair(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield make_pair(stack, source_cluster, target_cluster, SOURCE_MAJOR)


@pytest.fixture(scope="module")
def pair_of_18() -> Iterator[Pair]:
    with ExitStack() as stack:
        clusters = [start_cluster_or_skip(18) for _side in range(2)]
        for cluster in clusters:
            stack.callback(cluster.destroy)
        yield make_pair(stack, *clusters, 18)


def in_words(differences: list[Difference]) -> Found:
    return {(item.kind, item.name, item.what, frozenset(item.attributes)) for item in differences}


@cache
def covered() -> frozenset[tuple[str, str]]:
    """(kind, attribute) of every mutation; missing and extra count as attributes."""
    found = set()
    for mutation in (*EVERY, *OF_18):
        for kind, _name, what, attributes in mutation.expected:
            found |= {(kind, attribute) for attribute in attributes or {what}}
    return frozenset(found)


def test_two_databases_of_the_same_statements_do_not_differ(pair: Pair) -> None:
    assert not pair.differences()


@pytest.mark.parametrize("mutation", EVERY, ids=str)
def test_every_change_is_named_and_nothing_else(pair: Pair, mutation: Mutation) -> None:
    assert in_words(pair.after(mutation.sql)) == mutation.expected


@pytest.mark.parametrize("mutation", OF_18, ids=str)
def test_every_change_that_18_made_possible_is_named(pair_of_18: Pair, mutation: Mutation) -> None:
    assert not pair_of_18.differences()
    assert in_words(pair_of_18.after(mutation.sql)) == mutation.expected


def kinds_of_attributes(session: Session) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Return, for each query, the kinds it has found and every attribute it can answer with."""
    params = {"schemas": None, "level": session.major}
    found = []
    for query in reading.QUERIES:
        with session.connection.cursor() as cursor:
            rows = cursor.execute(query.for_major(session.major), params).fetchall()
            names = {column.name for column in cursor.description or ()} - reading.SPECIAL
        found.append((frozenset(row["kind"] for row in rows), frozenset(names)))
    return found


def test_every_attribute_that_a_server_answers_with_has_a_mutation(pair: Pair) -> None:
    kinds_of = kinds_of_attributes(pair.target)
    assert len(kinds_of) > 30
    for query, (kinds, attributes) in enumerate(kinds_of):
        for attribute in attributes:
            assert any((kind, attribute) in covered() for kind in kinds), (query, kinds, attribute)


def test_every_kind_and_attribute_of_the_databases_has_a_mutation(pair: Pair) -> None:
    seen = {(item.kind, name) for item in pair.source.values() for name in item.attributes}
    seen |= {(item.kind, what) for item in pair.source.values() for what in (MISSING, EXTRA)}
    once = {("database", MISSING), ("database", EXTRA), ("large objects", EXTRA)}  # one of each, or none
    assert "; ".join(" ".join(item) for item in sorted(seen - covered() - once)) == ""
