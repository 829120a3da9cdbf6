# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs init as a background job and shows on the controller, line by line, how far it is.

The job outlives the play; the same command finds a job that is alive and follows it.
"""

from __future__ import annotations

from ansible_collections.seren.migrator.plugins.plugin_utils.watched_job import WatchedJob


class ActionModule(WatchedJob):
    """The job of init, and what its lines show."""

    phase = "init"
    shown = (
        "step",
        "stream",
        "tables_copied",
        "tables",
        "rows_copied",
        "bytes_copied",
        "estimated_bytes",
        "rate_bytes_per_second",
        "eta_seconds",
        "indexes_built",
        "indexes",
        "retained_wal_bytes",
    )
