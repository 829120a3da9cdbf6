# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Amounts in words for people: bytes, seconds, counts. Pure; results carry the numbers themselves beside them."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_KIBI = 1024
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def size(amount: float | None) -> str:
    """Return bytes in the unit that fits, for instance ``1.2 GiB``; ``unknown`` for None."""
    if amount is None:
        return "unknown"
    value, unit = float(amount), 0
    while round(value, 1) >= _KIBI and unit < len(_UNITS) - 1:
        value, unit = value / _KIBI, unit + 1
    if unit == 0 and round(value) == 1:
        return "1 byte"
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"


def rate(bytes_per_second: float | None) -> str:
    """Return bytes per second in the unit that fits; ``unknown`` for None."""
    return "unknown" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def duration(seconds: float | None) -> str:
    """Return seconds in the unit that fits, for instance ``12 min``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return "less than 1 s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} days"


def count(amount: int | None, one: str, many: str = "") -> str:
    """Return a number with its noun, for instance ``1,200 rows``; ``many`` where the plural is not just an s."""
    if amount is None:
        return f"an unknown number of {many or one + 's'}"
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"
