# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""When a wait may end, and how long it may still take: pure functions over the samples of ``status``.

A gate opens on positive evidence only: a missing value, null, an unknown word or an error is "not ready".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Sample = Mapping[str, Any]
Verdict = Literal["ready", "waiting", "over", "failed"]

COPIED_STATES = frozenset({"copied", "catching_up", "in_sync"})
# The migration is past the point where anything could be waited for, or nothing exists that could change by itself.
OVER_STATES = frozenset({"cut_over", "rolled_back"})
FAILED_STATES = frozenset({"absent", "broken"})
RATE_SPAN_S = 60.0  # the rate is measured over the samples of the last minute


@dataclass(frozen=True)
class Limits:
    """The lag that still counts as being in sync."""

    max_lag_bytes: int
    max_lag_seconds: float


def _within(value: Any, limit: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= limit


def is_in_sync(sample: Sample, limits: Limits) -> bool:
    """True when the sample proves that every table is applied and the lag, in bytes and in seconds, is small."""
    return (
        sample.get("state") == "in_sync"
        and _within(sample.get("lag_bytes"), limits.max_lag_bytes)
        and _within(sample.get("lag_seconds"), limits.max_lag_seconds)
    )


def is_copied(sample: Sample) -> bool:
    """True when the sample proves that the copy is complete; the target may still lag behind."""
    return sample.get("state") in COPIED_STATES


def judge(sample: Sample, until: str, limits: Limits) -> Verdict:
    """Say what one sample means for a wait ``until`` ``in_sync`` or ``copied``.

    ``over``: a cutover or a rollback has happened, there is nothing to wait for. ``failed``: waiting cannot help.
    A sample with ``failed`` set could not be read, and means ``waiting``.
    """
    if sample.get("failed"):
        return "waiting"
    state = sample.get("state")
    if state in OVER_STATES:
        return "over"
    if state in FAILED_STATES:
        return "failed"
    ready = is_in_sync(sample, limits) if until == "in_sync" else until == "copied" and is_copied(sample)
    return "ready" if ready else "waiting"


@dataclass(frozen=True)
class Forecast:
    """How fast what remains shrinks, and when it will be gone. None is unknown."""

    bytes_per_second: float | None
    eta_seconds: float | None


def copied_bytes(progress: Any) -> tuple[int, int] | None:
    """Return bytes copied, as status tells them, and the estimate of all; None when unknown."""
    if not isinstance(progress, Mapping):
        return None
    done, estimate = progress.get("bytes_copied"), progress.get("estimated_bytes")
    if not isinstance(done, int) or not isinstance(estimate, int):
        return None
    return done, estimate


def remaining_bytes(sample: Sample) -> int | None:
    """Bytes still to be copied while the copy runs, afterwards bytes of WAL still to be applied; None is unknown."""
    if sample.get("state") == "copying":
        known = copied_bytes(sample.get("progress"))
        return None if known is None else max(known[1] - known[0], 0)
    lag = sample.get("lag_bytes")
    return lag if isinstance(lag, int) and not isinstance(lag, bool) and lag >= 0 else None


def forecast(samples: Sequence[Sample]) -> Forecast:
    """Compute rate and time left from samples, oldest first, each with ``elapsed`` seconds.

    Only samples of the latest one's state count: bytes to copy and bytes of lag are not comparable.
    """
    if not samples:
        return Forecast(None, None)
    last = samples[-1]
    left = remaining_bytes(last)
    copying = last.get("state") == "copying"
    points = [
        (float(sample["elapsed"]), remaining)
        for sample in samples
        if last["elapsed"] - sample["elapsed"] <= RATE_SPAN_S
        and (sample.get("state") == "copying") == copying
        and (remaining := remaining_bytes(sample)) is not None
    ]
    if left is None or len(points) < 2 or points[-1][0] <= points[0][0]:
        return Forecast(None, None)
    rate = (points[0][1] - points[-1][1]) / (points[-1][0] - points[0][0])
    if left == 0:  # of a copy only the estimate is used up
        return Forecast(rate, None if copying else 0.0)
    return Forecast(rate, left / rate if rate > 0 else None)
