# SPDX-License-Identifier: GPL-3.0-or-later
"""Every major version gives the answers on which the hash expressions rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.endpoint import Endpoint
from ansible_collections.seren.migrator.plugins.module_utils.errors import Redactor
from ansible_collections.seren.migrator.plugins.module_utils.session import Session, StatementLog
from ansible_collections.seren.migrator.plugins.module_utils.verification import hashing
from ansible_collections.seren.migrator.plugins.module_utils.verification.known_answers import QUESTIONS
from ansible_collections.seren.migrator.plugins.module_utils.verification.snapshots import reading
from tests.integration.verify_pair import ReplicatedPair, found
from tests.support.binaries import MAJORS
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.sweep import sweep
from tests.support.verified import assert_verified

EXPECTED = {question.name: question.expected for question in QUESTIONS}


def answers(database: Database) -> dict[str, str | None]:
    endpoint = Endpoint.from_options("source", database.params)
    with (
        Session.open(endpoint, StatementLog(Redactor([])), purpose="test", read_only=True) as session,
        reading(session),
    ):
        return hashing.ask(session)


def test_source_and_target_give_the_known_answers(source_db: Database, target_db: Database) -> None:
    assert answers(source_db) == EXPECTED
    assert answers(target_db) == EXPECTED


def test_a_refused_question_hides_no_other_answer(source_db: Database) -> None:
    latin = create_database(source_db.cluster, None, "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    given = answers(latin)
    assert given == {**EXPECTED, "text": None}
    rules = hashing.conclude(given, given, "LATIN1", "LATIN1")
    assert (rules.native, rules.unlike, rules.refusal) == (True, frozenset(), "")


def test_databases_of_different_encodings_are_compared_as_utf8(source_cluster: Cluster, target_db: Database) -> None:
    options = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    pair = ReplicatedPair(create_database(source_cluster, None, options), target_db)
    pair.both("CREATE TABLE public.t (id text PRIMARY KEY, v text, j jsonb)")
    pair.both("""INSERT INTO public.t SELECT 'ä' || i, 'é' || i, '{"ü": 1}' FROM generate_series(1, 50) AS i""")
    assert_verified(pair.verify())
    pair.damage("UPDATE public.t SET v = 'e3' WHERE id = 'ä3'")
    assert found(pair.verify(max_rounds=2)) == {("t", "changed", ("ä3",), ("v",))}
    sweep(source_cluster)


@pytest.mark.slow
@pytest.mark.parametrize("major", MAJORS)
def test_every_major_gives_the_known_answers(make_cluster: Callable[..., Cluster], major: int) -> None:
    assert answers(create_database(make_cluster(major))) == EXPECTED
