# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How far a comparison is: tables, rows, bytes, doubts, rates and time left, as numbers with fixed names.

Told every few seconds by a thread of its own, because the others wait for the servers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..gates import RATE_SPAN_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .comparison import Comparison

STALE_S = 0.2


@dataclass(frozen=True)
class Reading:
    """One look at all tables, taken at ``at_s`` on the monotonic clock. Rows are the source's.

    ``tables_done`` are decided. Bytes are those on the source's disk: of a table that is being read, the part that its
    rows are of the rows that are expected.
    """

    at_s: float
    tables: int
    tables_done: int
    rows_read: int
    bytes_read: int
    estimated_rows: int
    estimated_bytes: int
    in_doubt: int
    differing_rows: int

    @property
    def text(self) -> str:
        """Say it in a few words."""
        words = [f"{self.tables_done} of {self.tables} table(s) decided"]
        if self.differing_rows:
            words.append(f"{self.differing_rows} row(s) differ")
        if self.in_doubt:
            words.append(f"{self.in_doubt} row(s) in doubt")
        return ", ".join(words)


def read(comparisons: Sequence[Comparison], at_s: float) -> Reading:
    """Look at the comparisons as they are. Safe while other threads work on them."""
    rows = read_bytes = done = doubts = differing = 0
    for comparison in comparisons:
        unit = comparison.unit
        if comparison.is_settled:
            done += 1
        else:
            doubts += len(comparison.suspects)
        differing += comparison.differing_rows
        if comparison.source_rows is not None or comparison.is_settled:
            rows += comparison.source_rows or 0
            read_bytes += unit.estimated_bytes
        elif comparison.rows_read:
            rows += comparison.rows_read
            share = comparison.rows_read / max(unit.estimated_rows, comparison.rows_read)
            read_bytes += round(unit.estimated_bytes * share)
    return Reading(
        at_s=at_s,
        tables=len(comparisons),
        tables_done=done,
        rows_read=rows,
        bytes_read=read_bytes,
        estimated_rows=sum(comparison.unit.estimated_rows for comparison in comparisons),
        estimated_bytes=sum(comparison.unit.estimated_bytes for comparison in comparisons),
        in_doubt=doubts,
        differing_rows=differing,
    )


def numbers_between(earlier: Reading, later: Reading) -> dict[str, Any]:
    """Return the numbers of an event; rates and time left are those since ``earlier``, None when unknown. Pure."""
    lasting = later.at_s - earlier.at_s
    rows = bytes_ = None
    if lasting > 0:
        # A table that is read anew takes back what was counted of it.
        rows = max(later.rows_read - earlier.rows_read, 0) / lasting
        bytes_ = max(later.bytes_read - earlier.bytes_read, 0) / lasting
    remaining = later.estimated_bytes - later.bytes_read
    return {
        "tables": later.tables,
        "tables_done": later.tables_done,
        "rows_read": later.rows_read,
        "estimated_rows": later.estimated_rows,
        "bytes_read": later.bytes_read,
        "estimated_bytes": later.estimated_bytes,
        "in_doubt": later.in_doubt,
        "differing_rows": later.differing_rows,
        "rate_rows_per_second": None if rows is None else round(rows),
        "rate_bytes_per_second": None if bytes_ is None else round(bytes_),
        "eta_seconds": round(remaining / bytes_) if bytes_ and remaining > 0 else None,
    }


@dataclass
class Meter:
    """Measures the pace of a run over its last minute; may be asked by several threads. A repair exchanges the comparisons."""

    comparisons: Sequence[Comparison]
    round: int = 0
    began_s: float = field(default_factory=time.monotonic)
    _readings: deque[Reading] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def numbers(self, *, is_fresh: bool = True) -> tuple[str, dict[str, Any]]:
        """Look now; return it in words and as numbers. Rates are measured from the first call on.

        Without ``is_fresh`` a look that was taken just before serves as well, because thousands of tables may ask.
        """
        with self._lock:
            now = time.monotonic()
            if is_fresh or not self._readings or now - self._readings[-1].at_s > STALE_S:
                self._readings.append(read(self.comparisons, now))
                while len(self._readings) > 2 and now - self._readings[0].at_s > RATE_SPAN_S:
                    self._readings.popleft()
            reading = self._readings[-1]
            numbers = numbers_between(self._readings[0], reading)
        return reading.text, {"round": self.round, **numbers, "elapsed_seconds": round(now - self.began_s, 1)}


@contextmanager
def ticking(interval_s: float, tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` every ``interval_s`` seconds, in a thread, until the block ends. Without an interval never."""
    if interval_s <= 0:
        yield
        return
    over = threading.Event()

    def loop() -> None:
        while not over.wait(interval_s):
            tell()

    thread = threading.Thread(target=loop, name="verify-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
