# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Lanes: threads that each read one side in the snapshot of an epoch, and the tasks that they share.

A task that ends may bring new ones, on either side. A lane keeps its transaction from task to task: far away, each
beginning costs a round trip.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..driver import psycopg
from ..endpoint import Side
from ..errors import MigrationError
from .readers import Pair, Pairs
from .snapshots import Epoch, reading

_TICK_S = 0.5


@dataclass(frozen=True)
class Task:
    """Something to read on one side. ``read`` runs in a lane; its answer, or its error, goes to one of the others.

    These are never called by two lanes at once; they return the tasks that follow from it.
    """

    side: Side
    read: Callable[[Pair], Any]
    done: Callable[[Any], Iterable[Task]]
    failed: Callable[[Exception], Iterable[Task]]


class Lanes:
    """As many lanes for each side as there are pairs, which share two queues of tasks."""

    def __init__(self, pairs: Pairs, epoch: Epoch) -> None:
        self._pairs = pairs
        self._epoch = epoch
        self._changed = threading.Condition()
        self._waiting: dict[Side, deque[Task]] = {"source": deque(), "target": deque()}
        self._running = 0
        self._is_stopped = False

    def run(self, tasks: Iterable[Task], tick: Callable[[], None], stop: Callable[[], None]) -> None:
        """Carry out the tasks and all that follow from them. ``tick`` is called now and then, in the caller's thread.

        ``stop`` ends the queries that run; it is called when the caller is told to stop.
        """
        self._put(tasks)
        pairs = self._pairs.all
        pool = ThreadPoolExecutor(2 * len(pairs), thread_name_prefix="verify-lane")
        try:
            lanes = [pool.submit(self._lane, side, pair) for pair in pairs for side in self._waiting]
            while not all(lane.done() for lane in lanes):
                with self._changed:
                    self._changed.wait(_TICK_S)
                tick()
            for lane in lanes:
                lane.result()
        except BaseException:
            self._stop()
            stop()
            raise
        finally:
            pool.shutdown(wait=True)

    def _lane(self, side: Side, pair: Pair) -> None:
        try:
            task = self._next(side)
            while task is not None:
                try:
                    with reading(pair.session(side), self._epoch.snapshot(side)):
                        while task is not None:
                            answer = task.read(pair)
                            self._ended(task.done, answer)
                            task = self._next(side)
                except (psycopg.Error, MigrationError, UnicodeDecodeError) as error:
                    if task is not None:
                        self._ended(task.failed, error)
                        task = self._next(side)
        except BaseException:
            self._stop()
            raise

    def _put(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._waiting[task.side].append(task)

    def _next(self, side: Side) -> Task | None:
        """Return the next task of a side, waiting for it; None when no task is left that could bring one."""
        with self._changed:
            while not self._is_stopped:
                if self._waiting[side]:
                    self._running += 1
                    return self._waiting[side].popleft()
                if not self._running and not any(self._waiting.values()):
                    break
                self._changed.wait()
            self._changed.notify_all()
            return None

    def _ended(self, then: Callable[[Any], Iterable[Task]], answer: object) -> None:
        with self._changed:
            try:
                self._put(then(answer))
            finally:
                self._running -= 1
                self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
