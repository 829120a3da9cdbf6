# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One live line of an action plugin: ``plugin [host] key=value ...``, on standard error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ansible.utils.display import Display

display = Display()


def live_line(plugin: str, host: str, values: Mapping[str, Any]) -> str:
    """Return one line of ``key=value`` pairs; what is not known is ``unknown``, never zero.

    The host is in the text, because a strategy may print lines before the header of their task.
    """
    return f"{plugin} [{host}] " + " ".join(f"{key}={_word(value)}" for key, value in values.items())


def _word(value: Any) -> str:
    """Return a value without blanks, or in quotes, so that the line can be taken apart again."""
    if value is None:
        return "unknown"
    text = str(value)
    return text if re.fullmatch(r"[^\s\"=]+", text) and text.isprintable() else json.dumps(text)


def show(plugin: str, task_vars: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Show one line for the host of this task. Not for a task with no_log, which does not cover these lines."""
    display.display(live_line(plugin, task_vars.get("inventory_hostname", "localhost"), values), stderr=True)
