# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs verify as a background job and shows on the controller, line by line, how far it is.

The job ends with its result, or with its machine; it leaves nothing behind on either server.
"""

from __future__ import annotations

from ansible_collections.seren.migrator.plugins.plugin_utils.watched_job import WatchedJob


class ActionModule(WatchedJob):
    """The job of verify, and what its lines show."""

    phase = "verify"
    shown = (
        "round",
        "tables_done",
        "tables",
        "rows_read",
        "estimated_rows",
        "bytes_read",
        "estimated_bytes",
        "rate_rows_per_second",
        "rate_bytes_per_second",
        "eta_seconds",
        "in_doubt",
        "differing_rows",
    )
