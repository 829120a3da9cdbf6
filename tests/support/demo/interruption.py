# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C, a closed terminal and `kill` end the demo alike: the first one begins the clean-up, no other disturbs it."""

from __future__ import annotations

import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def expect() -> None:
    """From now on each of `SIGNALS` raises `KeyboardInterrupt`, once."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def ignore() -> None:
    """From now on nothing interrupts."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(*_: object) -> None:
    ignore()
    raise KeyboardInterrupt
