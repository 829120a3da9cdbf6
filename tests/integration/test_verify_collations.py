# SPDX-License-Identifier: GPL-3.0-or-later
"""verify finds the same whatever the two sides call equal, or sort how: keys and values are compared by their bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.phases import verify_run
from tests.integration.verify_pair import ReplicatedPair, found
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.sweep import sweep
from tests.support.verified import assert_verified

WORDS = [
    "a",
    "A",
    "ä",
    "a\u0308",
    "Ä",
    "ß",
    "ss",
    "SS",
    "z",
    "Z",
    "é",
    "e\u0301",
    "-a",
    "a-",
    " a",
    "1",
    "10",
    "2",
    "İ",
    "i",
]
COLLATIONS = {"source": "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'", "target": "LC_COLLATE 'POSIX' LC_CTYPE 'C'"}


def check(pair: ReplicatedPair, words: list[str]) -> None:
    """`words` on both sides; then one is lost, one stands in another spelling, and one more is there."""
    for word in words:
        pair.source.execute("INSERT INTO public.t VALUES (%s, %s)", [word, word])
        pair.source.execute("INSERT INTO public.n VALUES (%s)", [word])
    pair.replicate()
    assert_verified(pair.verify())
    pair.target.execute("DELETE FROM public.t WHERE k COLLATE \"C\" = 'z'")
    pair.target.execute("UPDATE public.t SET v = 'É' WHERE k COLLATE \"C\" = 'é'")
    pair.target.execute("INSERT INTO public.t VALUES ('É', 'É')")
    pair.target.execute("UPDATE public.n SET v = 'I' WHERE v COLLATE \"C\" = 'i'")
    assert found(pair.verify()) == {
        ("t", "missing", ("z",), ()),
        ("t", "changed", ("é",), ("v",)),
        ("t", "extra", ("É",), ()),
        ("n", "missing", (), ()),
        ("n", "extra", (), ()),
    }


@pytest.fixture(params=["scanned", "looked up"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in doubt are found again by a scan, or by an index."""
    if request.param == "looked up":
        monkeypatch.setattr(verify_run, "Limits", functools.partial(verify_run.Limits, lookup_above_bytes=0))


def tables(collation: str = "") -> str:
    return (
        f"CREATE TABLE public.t (k text {collation} PRIMARY KEY, v text {collation});"
        f"CREATE TABLE public.n (v text {collation}); ALTER TABLE public.n REPLICA IDENTITY FULL"
    )


def test_databases_with_other_collations_change_nothing(
    source_cluster: Cluster, target_cluster: Cluster, how: None
) -> None:
    source, target = (
        create_database(cluster, None, f"TEMPLATE template0 ENCODING 'UTF8' {COLLATIONS[side]}")
        for side, cluster in (("source", source_cluster), ("target", target_cluster))
    )
    try:
        pair = ReplicatedPair(source, target)
        pair.both(tables())
        check(pair, WORDS)
    finally:
        sweep(target_cluster)
        sweep(source_cluster)


@pytest.mark.slow
def test_a_collation_that_calls_other_spellings_equal_changes_nothing(
    make_cluster: Callable[..., Cluster], target_db: Database, how: None
) -> None:
    """On the source é and É are one key, on the target two."""
    source = create_database(make_cluster(13))
    if source.execute("SELECT 1 FROM pg_catalog.pg_collation WHERE collprovider = 'i'") == []:
        pytest.skip("this server was built without ICU")
    source.execute("CREATE COLLATION public.alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    source.execute(tables("COLLATE public.alike"))
    target_db.execute(tables())
    check(ReplicatedPair(source, target_db), ["a", "ä", "ß", "z", "é", "-a", "a-", "1", "10", "2", "i"])
    sweep(target_db.cluster)
