# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("psycopg")

import psycopg

from ansible_collections.seren.migrator.plugins.module_utils.preflight.asking import Asking, once


class Thing:
    def __init__(self) -> None:
        self.computed = 0

    @once
    def refused(self) -> int:
        self.computed += 1
        raise TimeoutError("canceling statement due to lock timeout")


def test_what_was_refused_once_is_not_asked_again_by_everybody_else() -> None:
    thing = Thing()

    def look(_number: int) -> str:
        with pytest.raises(TimeoutError) as caught:
            str(thing.refused)
        return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        said = set(pool.map(look, range(8)))

    assert said == {"canceling statement due to lock timeout"}
    assert thing.computed == 1


class GarbledSession:
    """A session whose first answer waits until others have asked, and whose every answer with "bad" is garbled."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def text(self, query: str, _params: Any) -> str:
        return query

    def rows_of(self, *queries: str) -> list[list[dict[str, str]]]:
        if queries == ("first",):
            self.may_answer.wait(10)
        if "bad" in queries:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return [[{"query": query}] for query in queries]


def test_an_answer_that_cannot_be_read_is_nobody_elses() -> None:
    session = GarbledSession()
    asking = Asking(session)  # type: ignore[arg-type]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(asking.rows, "first")
        while not asking._speaking.locked():
            pass
        others = {query: pool.submit(asking.rows, query) for query in ("bad", "good")}
        while len(asking._waiting) < len(others):
            pass
        session.may_answer.set()

        assert first.result(10) == [{"query": "first"}]
        assert others["good"].result(10) == [{"query": "good"}]
        assert isinstance(others["bad"].exception(10), UnicodeDecodeError)


def test_a_question_that_got_lost_is_an_error_and_not_an_answer_without_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """A session that is never asked."""

        def text(self, query: str, params: object = None) -> str:
            return query

    asking = Asking(Silent())  # type: ignore[arg-type]
    monkeypatch.setattr(asking, "_ask", lambda questions: None)
    with pytest.raises(psycopg.InterfaceError, match="got lost"):
        asking.rows("SELECT 1")
