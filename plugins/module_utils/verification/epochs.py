# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""How a run gets its pairs of snapshots: live, behind a gate, or with writes stopped; and what it may say about them.

A mode that cannot be had gives way to ``live``, with the reason; a run is never called by a mode that it was not in
from its first epoch to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import MigrationError, Redactor
from ..ledger import Stream
from ..session import Session
from . import snapshots
from .gate import Gate, NotGated
from .snapshots import Epoch, Holders
from .stillness import NotStill, Watch, watching
from .strict import Strict, Suspects

if TYPE_CHECKING:
    from ..endpoint import Side

MODES = ("live", "gate", "fenced")


@dataclass
class Epochs:
    """Opens the epochs of one run; a context manager. ``mode`` is the present one, ``reason`` why not the ``asked`` one.

    ``open_session`` opens a connection to a side for a purpose. Without ``may_write`` (check mode) no marker is written,
    no lock taken and no slot made. ``history`` has one line of the report for each epoch.
    """

    asked: str
    holders: Holders
    open_session: Callable[[Side, str], Session]
    streams: Sequence[Stream]
    timeout_s: float
    redactor: Redactor
    may_write: bool = True
    alignment_problem: str = ""
    is_strict: bool = False
    tick: Callable[[float], None] = lambda waited_s: None
    mode: str = ""
    reason: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    strict: Strict | None = None
    _gate: Gate | None = None
    _watch: Watch | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Epochs:
        self.mode = self.asked
        problem = why_not(self.asked, self.streams, self.alignment_problem, may_write=self.may_write)
        if problem:
            self._fall_back(problem)
        if self.mode == "gate":
            self._gate = Gate(
                self.holders, partial(self.open_session, "target", "gate"), self.streams, self.timeout_s, self.tick
            )
            if self.is_strict:
                self.strict = Strict(partial(self.open_session, "source", "strict"))
        elif self.mode == "fenced":
            try:
                publications = [stream.publication for stream in self.streams]
                self._watch = self._stack.enter_context(
                    watching(self.open_session("source", "fence"), self.holders.control, publications)
                )
            except NotStill as error:
                self._fall_back(str(error))
            except MigrationError as error:
                self._fall_back(error.message)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def open(self, number: int, suspects: Suspects = ()) -> Iterator[Epoch]:
        """Open the next pair of snapshots for the block. With a strict ending the rows of ``suspects`` stand still."""
        if number > 1:
            self.conclude()  # a slot that proves nothing any more keeps WAL for nothing
        with ExitStack() as stack:
            current = self._behind_the_gate(stack, number, suspects) if self._gate is not None else None
            if current is None:
                current = stack.enter_context(self._ordered(number))
            self.history.append(as_data(current, self.mode))
            yield current

    def _behind_the_gate(self, stack: ExitStack, number: int, suspects: Suspects) -> Epoch | None:
        if self._gate is None:
            return None
        locking = partial(self.strict.locking, suspects) if self.strict is not None and suspects else None
        try:
            return stack.enter_context(self._gate.epoch(number, locking))
        except NotGated as error:
            self._fall_back(error.reason)
            if error.is_behind:
                self.alignment_problem = error.reason
        except MigrationError as error:
            self._fall_back(error.message)
        return None

    def _ordered(self, number: int) -> Any:
        still = self._watch
        return snapshots.epoch(
            self.holders,
            number,
            self.streams,
            self.timeout_s,
            may_nudge=self.may_write,
            alignment_problem=self.alignment_problem,
            tick=self.tick,
            stillness=still,
        )

    def _fall_back(self, reason: str) -> None:
        """Go on live, from here to the end of the run."""
        if self.mode != "live":
            self.mode, self.reason = "live", self.redactor.text(reason)
        for line in self.history:
            line["mode"] = "live" if line["mode"] == "fenced" else line["mode"]
        self._gate = self._watch = None
        self._stack.close()

    def conclude(self) -> None:
        """Say whether writes have been stopped until now; called between rounds, and when all has been compared."""
        if self._watch is None or self.mode != "fenced":
            return
        try:
            self._watch.check()
        except NotStill as error:
            self._fall_back(str(error))


def why_not(asked: str, streams: Sequence[Stream], alignment_problem: str, *, may_write: bool) -> str:
    """Say why a mode cannot be had at all, '' when it may be. Pure."""
    if asked == "live":
        return ""
    if not streams:
        return "no stream connects the two sides"
    if not may_write:
        return "check mode writes nothing, neither a marker nor a lock nor a slot"
    if alignment_problem:
        return alignment_problem
    without = [stream.number for stream in streams if not stream.marker]
    if asked == "gate" and without:
        return f"stream {without[0]} has no marker table"
    return ""


def as_data(epoch: Epoch, mode: str) -> dict[str, Any]:
    """Return the line of the report for an epoch."""
    return {
        "round": epoch.number,
        "mode": mode,
        "consistency": "aligned" if epoch.alignment == "aligned" else "unaligned",
        "lsn": epoch.lsn,
        "marker_lsn": epoch.marker_lsn,
        "taken_at": epoch.taken_at,
        "waited_seconds": round(epoch.waited_s, 3),
        "gate_hold_ms": epoch.hold_ms,
        "rows_locked": len(epoch.locked),
    }
