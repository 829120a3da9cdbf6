# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs validate and, with --diff or -v, shows what it has found as text.

Ansible itself shows no diff of a task that changed nothing, nor of one that failed.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.seren.migrator.plugins.plugin_utils import live_line


class ActionModule(ActionBase):
    """The module, and its text."""

    _supports_check_mode = True
    _supports_async = True
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result, unchanged."""
        result = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        answered = self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        text = (answered.get("diff") or {}).get("prepared")
        if text and not self._task.no_log and (self._task.diff or live_line.display.verbosity > 0):
            live_line.display.display(text, stderr=True)
        return {**result, **answered}
