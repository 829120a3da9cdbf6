# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Two things at the same time that need nothing from one another, each over connections of its own.

Far away a round trip is what costs; one server is asked while the other one answers.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

First = TypeVar("First")
Second = TypeVar("Second")


def both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Run both, ``second`` in another thread, and return what they return; when both fail, raise the error of ``first``.

    Neither is left running.
    """
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(second)
        return first(), other.result()
