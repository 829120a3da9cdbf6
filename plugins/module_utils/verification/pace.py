# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How fast a comparison may go: for how long snapshots stay open, bytes per second, the target's lag, the time it has.

What runs is never cut off but by the time limit. Everything else is looked at before something new is begun, and paused
for while no snapshot is open, because an open one holds VACUUM back.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ..driver import psycopg
from ..endpoint import Side
from ..lag import read_slots
from ..quantities import duration, size
from ..session import Session
from ..transfer import Throttle
from .comparison import Comparison

# How fast a server reads and hashes, until we know it.
BYTES_PER_S = 50 * 1024 * 1024
# A table that takes longer than a snapshot's age is cut into ranges of its key, each of which takes this part of it.
_PARTS_OF_AGE = 4
PART_BYTES_MIN = 256 * 1024 * 1024
# What is handed out together takes this part of a snapshot's age, as far as one can tell.
_SHARES_OF_AGE = 10
# A range of blocks takes about so long when bytes per second are limited.
_RANGE_S = 10
_LANE_PAUSE_S = 60.0
_SAMPLE_EVERY_S = 1.0
_TICK_S = 0.25

T = TypeVar("T")


class TimeIsOver(Exception):
    """The time that the comparison may take is over."""


@dataclass(frozen=True)
class Bounds:
    """``max_rate`` is in bytes per second and server (0: no limit); None is no limit of the others.

    A pause for the lag lasts ``max_pause_s`` at most.
    """

    max_snapshot_age_s: float = 900.0
    max_rate: int = 0
    max_lag_bytes: int | None = None
    max_pause_s: float = 300.0
    job_timeout_s: float | None = None

    @property
    def whole_bytes(self) -> int:
        """How large a table may be to be read within a snapshot's age. Read as a whole it is faster than in ranges."""
        rate = min(self.max_rate or BYTES_PER_S, BYTES_PER_S)
        return max(int(rate * self.max_snapshot_age_s), PART_BYTES_MIN)

    @property
    def part_bytes(self) -> int:
        """How large the parts of a larger one are."""
        return max(self.whole_bytes // _PARTS_OF_AGE, PART_BYTES_MIN)

    def range_bytes(self, otherwise: int) -> int:
        """How large ranges of blocks may be, so that ``max_rate`` is held evenly."""
        return min(otherwise, max(self.max_rate * _RANGE_S, 8 * 1024 * 1024)) if self.max_rate else otherwise


class Pace:
    """The pace of one run. ``open_source`` opens a connection of its own; ``slots`` are those whose lag counts."""

    def __init__(
        self,
        bounds: Bounds,
        open_source: Callable[[], Session],
        slots: Sequence[str],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.bounds = bounds
        self.paused = ""  # why nothing is begun at the moment
        self._open_source = open_source
        self._slots = list(slots)
        self._say = say
        self._session: Session | None = None
        now = time.monotonic()
        self._deadline = None if bounds.job_timeout_s is None else now + bounds.job_timeout_s
        self._epoch_ends = now
        self._has_begun = False
        self._sampled = 0.0
        self._lag: int | None = 0
        self._read, self._read_s = 0, 0.0
        context = multiprocessing.get_context("fork")
        self._throttles: dict[Side, Throttle] = (
            {side: Throttle(context, bounds.max_rate) for side in ("source", "target")} if bounds.max_rate else {}
        )

    # --- time --------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """True when the time limit is reached."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def deadline_reason(self) -> str:
        """Why a table was not compared to its end."""
        return f"deadline: the job_timeout of {self.bounds.job_timeout_s or 0:g} s was over"

    def check(self) -> None:
        """Raise :class:`TimeIsOver` at the time limit."""
        if self.is_over:
            raise TimeIsOver

    def within(self, timeout_s: float) -> float:
        """Return a wait's timeout, cut at the time limit."""
        return timeout_s if self._deadline is None else max(min(timeout_s, self._deadline - time.monotonic()), 0.0)

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call ``interrupt`` at the time limit, and again as long as the block lasts: each ends one query."""
        if self._deadline is None:
            yield
            return
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(max(self.within(_TICK_S), 0.05) if not self.is_over else _TICK_S):
                if self.is_over:
                    interrupt()

        thread = threading.Thread(target=watch, name="verify-deadline", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    # --- epochs ------------------------------------------------------------------------------------------------

    def begin_epoch(self) -> None:
        """Start the clock of a pair of snapshots; called before the first is taken."""
        self._epoch_ends = time.monotonic() + self.bounds.max_snapshot_age_s
        self._has_begun = False

    def may_begin(self) -> bool:
        """Say whether something new may be begun in the present epoch. The first thing may, whatever its age."""
        if self.is_over:
            return False
        if not self._has_begun:
            self._has_begun = True
            return True
        left_s = self._epoch_ends - time.monotonic()
        return left_s > 0 and self._debt_s() < left_s and not self._is_behind()

    def share(self, waiting: Sequence[Comparison]) -> list[Comparison]:
        """Return as many of the comparisons, from the first, as are read in a small part of an epoch; at least one."""
        seconds = self.bounds.max_snapshot_age_s / _SHARES_OF_AGE
        room = self._speed() * seconds
        chosen: list[Comparison] = []
        for comparison in waiting:
            room -= 0 if comparison.is_complete else comparison.unit.estimated_bytes
            if chosen and room < 0:
                break
            chosen.append(comparison)
        return chosen

    def note(self, read_bytes: int, seconds: float) -> None:
        """Learn from what was read how fast that is."""
        self._read += read_bytes
        self._read_s += seconds

    def _speed(self) -> float:
        known = self._read / self._read_s if self._read_s > 1 and self._read else float(BYTES_PER_S)
        return min(known, self.bounds.max_rate) if self.bounds.max_rate else known

    # --- bytes per second --------------------------------------------------------------------------------------

    def before_reading(self, side: Side, amount: int) -> None:
        """Wait until ``amount`` bytes may be read on a side. What is read at once is paid for by what comes later."""
        throttle = self._throttles.get(side)
        if throttle is not None:
            throttle.take(amount, self.within(_LANE_PAUSE_S))

    def _debt_s(self) -> float:
        return max((throttle.debt_s() for throttle in self._throttles.values()), default=0.0)

    # --- lag ---------------------------------------------------------------------------------------------------

    def _is_behind(self) -> bool:
        """True while the target's lag is above the limit, or not known. Looked at once a second at most."""
        limit = self.bounds.max_lag_bytes
        if limit is None or not self._slots:
            return False
        if time.monotonic() - self._sampled >= _SAMPLE_EVERY_S:
            self._sampled = time.monotonic()
            self._lag = self._read_lag()
        return self._lag is None or self._lag > limit

    def _read_lag(self) -> int | None:
        try:
            if self._session is None or self._session.connection.closed or self._session.connection.broken:
                self._session = self._open_source()
            found = read_slots(self._session, self._slots)
        except psycopg.Error:
            return None
        lags = [found[slot].lag_bytes if slot in found else None for slot in self._slots]
        known = [lag for lag in lags if lag is not None]
        return max(known) if len(known) == len(lags) else None

    # --- between epochs ----------------------------------------------------------------------------------------

    def pause(self) -> str:
        """Wait, with no snapshot open, until the limits allow more. Returns why they do not, '' when they do."""
        try:
            return self._pause()
        finally:
            self.paused = ""

    def _pause(self) -> str:
        started = told = time.monotonic()
        while True:
            if self.is_over:
                return self.deadline_reason
            is_behind, debt_s = self._is_behind(), self._debt_s()
            now = time.monotonic()
            if not is_behind and debt_s <= 0:
                return ""
            if is_behind and now - started >= self.bounds.max_pause_s:
                return self._lag_reason(f" after {duration(self.bounds.max_pause_s)} of pause")
            if now >= told:
                told = now + 5
                self.paused = (
                    f"paused: {self._lag_reason()}"
                    if is_behind
                    else f"paused for {duration(debt_s)}: max_rate is {size(self.bounds.max_rate)}/s"
                )
                self._say(self.paused)
            time.sleep(_TICK_S if is_behind else min(debt_s, _TICK_S))

    def _lag_reason(self, when: str = "") -> str:
        lag = "not known" if self._lag is None else size(self._lag)
        return f"lag: {lag}{when}, max_lag_bytes is {size(self.bounds.max_lag_bytes)}"
