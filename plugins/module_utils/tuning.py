# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Settings of our sessions on the target for a bulk load, from what that server allows. None needs a superuser.

See "Populating a Database" in the PostgreSQL manual. What cannot be set by session (max_wal_size, checkpoint_timeout)
is advice of validate's.
"""

from __future__ import annotations

from .session import Session

MAX_MAINTENANCE_WORK_MEM_KB = 1024 * 1024  # more gains nothing

_SERVER = """
SELECT (SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 1024) AS shared_buffers_kb,
       (SELECT s.setting::bigint FROM pg_catalog.pg_settings AS s WHERE s.name = 'maintenance_work_mem') AS memory_kb,
       pg_catalog.current_setting('max_parallel_workers')::integer AS parallel_workers,
       pg_catalog.current_setting('max_parallel_maintenance_workers')::integer AS maintenance_workers
"""


def settings(target: Session, index_jobs: int) -> dict[str, str]:
    """Return settings for sessions that load rows and build indexes, ``index_jobs`` of them at a time.

    Memory: all builds together twice the server's shared_buffers, which its operator has usually made a quarter of the
    machine's memory; never less for each than the server gives by itself. Parallel workers: at most the server's own number, within its pool.
    """
    row = target.row(_SERVER) or {}
    share_kb = 2 * row["shared_buffers_kb"] // max(1, index_jobs)
    memory_kb = max(row["memory_kb"], min(MAX_MAINTENANCE_WORK_MEM_KB, share_kb))
    workers = min(row["maintenance_workers"], row["parallel_workers"])
    return {
        "synchronous_commit": "off",
        "maintenance_work_mem": f"{memory_kb}kB",
        "max_parallel_maintenance_workers": str(workers),
    }
