# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Asking one server on behalf of many checks: what they want to know at the same time travels together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from ..driver import Row, psycopg
from ..session import Session

if TYPE_CHECKING:
    from ..session import Params

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class _Question:
    """A query, and in the end its rows or the error that the server gave instead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_answered = False
        self.rows: list[Row] = []
        self.error: Exception | None = None


class Asking:
    """Answers queries of several threads over one session.

    While one round trip is under way, all further questions gather for the next one. A far server is so asked a few
    times, however many checks there are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[_Question] = deque()
        self._speaking = threading.Lock()

    def rows(self, query: str, params: Params = None) -> list[Row]:
        """Run a query that changes nothing; return all of its rows. Raises psycopg.Error as if it had been alone."""
        question = _Question(self._session.text(query, params))
        self._waiting.append(question)
        with self._speaking:
            if question in self._waiting:
                self._ask([self._waiting.popleft() for _each in range(len(self._waiting))])
        if question.error is not None:
            raise question.error
        if not question.is_answered:  # whoever asked for us came to grief; no answer is not "no rows"
            raise psycopg.InterfaceError("a question to the server got lost")
        return question.rows

    def _ask(self, questions: list[_Question]) -> None:
        try:
            answers = self._session.rows_of(*(question.text for question in questions))
        except (psycopg.Error, ValueError) as error:  # an answer that cannot be decoded is a ValueError
            if len(questions) > 1:  # one refusal refuses them all
                for question in questions:
                    self._ask([question])
            else:
                questions[0].error, questions[0].is_answered = error, True
            return
        for question, rows in zip(questions, answers, strict=True):
            question.rows, question.is_answered = rows, True


class once(Generic[Owner, Value]):
    """A property computed when it is first asked for, by one thread while the others wait; an error is kept, too.

    What a server refuses, it may refuse after a minute; everybody else who asks shall not wait for that again.
    """

    def __init__(self, compute: Callable[[Owner], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type[Owner], name: str) -> None:
        self._name = name

    def __get__(self, instance: Owner, owner: type[Owner]) -> Value:
        lock: threading.RLock = instance.__dict__.setdefault(f"_{self._name}_lock", threading.RLock())
        failure = f"_{self._name}_error"
        with lock:
            if failure in instance.__dict__:
                raise instance.__dict__[failure]
            if self._name not in instance.__dict__:
                try:
                    instance.__dict__[self._name] = self._compute(instance)
                except Exception as error:
                    instance.__dict__[failure] = error
                    raise
            value: Value = instance.__dict__[self._name]
            return value
