# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection strings on the command lines of the test support: `URL`, or `@FILE` to keep the password out of argv."""

from __future__ import annotations

from pathlib import Path


def connection_string(argument: str) -> str:
    """The connection string itself, or the content of the file named after an `@`."""
    return Path(argument[1:]).read_text(encoding="utf-8").strip() if argument.startswith("@") else argument
