# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The check whether the source keeps the WAL that the slot needs, against what is expected to be written meanwhile."""

from __future__ import annotations

from ..estimate import Forecast
from ..quantities import duration, rate, size
from .check import Check, Outcome, check, failed, passed
from .context import Context, Unavailable
from .measured import MIB

CHECKS: list[Check] = []

SETTING = "max_slot_wal_keep_size"
LOST = "when more WAL than that waits for the slot, the slot is lost and the migration must start again"
DISK = "How much disk is free on the source cannot be asked."


@check(
    CHECKS,
    "source_slot_wal_limit",
    "The source keeps the WAL that the slot needs",
    side="source",
    severity="warning",
)
def slot_wal_limit(context: Context) -> Outcome:
    """S9. Before 13 there is no limit."""
    limit = context.measured.limit_bytes
    try:
        forecast = context.measured.forecast
    except Unavailable:
        forecast = None  # nothing is selected, so nothing can be expected
    expected = "" if forecast is None else _expected(forecast)
    if limit is None:
        return passed(f"{expected} {DISK}" if expected else "")
    to_set = context.source.to_set(SETTING, -1) + "\n-- or a size well above what is written during the migration"
    found = [f"{SETTING}={limit // MIB}MB"]
    if forecast is not None and forecast.exceeds_limit:
        return failed(f"{expected} The limit is {size(limit)}: {LOST}.", to_set, objects=found, severity="blocker")
    unknown = "How much will be written during the copy is not known (sample_seconds and wal_window measure it)."
    return failed(f"{SETTING} is {size(limit)}: {LOST}. {expected or unknown}", to_set, objects=found)


def _expected(forecast: Forecast) -> str:
    """Say how much WAL will wait for the slot, as far as it was measured."""
    speed = forecast.wal.expected
    if forecast.retained_bytes is not None:
        return (
            f"About {size(forecast.retained_bytes)} will wait when the copy ends ({rate(speed)} for "
            f"{duration(forecast.copy_seconds)})."
        )
    if speed and forecast.limit_bytes is not None:
        return (
            f"At {rate(speed)}, which is what the source writes, that is after {duration(forecast.limit_bytes / speed)}; "
            "how long the copy takes is not known (sample_seconds measures it)."
        )
    return ""
