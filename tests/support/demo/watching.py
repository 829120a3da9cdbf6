# SPDX-License-Identifier: GPL-3.0-or-later
"""One line a second about the migration that another process runs: what `pg_migration_status` sees, asked of the engine."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.gates import copied_bytes
from tests.support.demo.report import bytes_text
from tests.support.migrations import Case
from tests.support.writers import Writers

COPYING_EVERY_S = 1.0
REPLICATING_EVERY_S = 3.0
WINDOW_S = 1.0
# The ledger's words for the steps of init that are not tables.
STEPS = {"pre_data": "the schema", "post_data": "indexes, constraints and triggers", "materialized_views": "views"}


class Watcher:
    """A thread that prints whole lines only, so that they fit between those of ansible-playbook."""

    def __init__(self, case: Case, writers: Writers) -> None:
        self.case = case
        self.writers = writers
        self.max_lag_bytes: int | None = None
        self._begin = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._copied_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if kind is None:
            self._thread.join()

    def _watch(self) -> None:
        pause_s = COPYING_EVERY_S
        while not self._is_over.wait(pause_s):
            pause_s = COPYING_EVERY_S
            try:
                status = self.case.status(window=WINDOW_S).data
            except MigrationError:
                continue  # not readable at this moment; the playbook's own tasks are the ones that judge
            if status["state"] == "absent" or self._is_over.is_set():
                continue
            if status["state"] != "copying":
                pause_s = REPLICATING_EVERY_S
            self._show(self._copying(status) if status["state"] == "copying" else self._replicating(status))

    def _show(self, text: str) -> None:
        elapsed_s = time.monotonic() - self._begin
        commits = f"{self.writers.progress().total:,} transactions committed meanwhile"
        print(f"  live {elapsed_s:5.1f} s | {text} | {commits}", flush=True)

    def _copying(self, status: dict[str, Any]) -> str:
        progress = status["progress"]
        tables = f"copying: {progress['tables_copied']} of {progress['tables']} tables"
        started = [STEPS.get(step, step) for step, state in progress["steps"].items() if state == "started"]
        if started:
            return f"{tables}, now {', '.join(started)}"
        found = copied_bytes(progress)
        if found is None:
            return tables
        # Between the end of its COPY and its commit a table is counted nowhere; what was seen before still holds.
        self._copied_bytes = max(self._copied_bytes, found[0])
        now_s = time.monotonic()
        if not self._first or not self._first[1]:
            self._first = now_s, self._copied_bytes
            return f"{tables}, {bytes_text(self._copied_bytes)}"
        rate = (self._copied_bytes - self._first[1]) / (now_s - self._first[0])
        return f"{tables}, {bytes_text(self._copied_bytes)}, {bytes_text(rate)}/s"

    def _replicating(self, status: dict[str, Any]) -> str:
        lag_bytes = status["lag_bytes"]
        if lag_bytes is None:
            return f"{status['state']}, lag unknown"
        if status["state"] != "copied":
            self.max_lag_bytes = max(lag_bytes, self.max_lag_bytes or 0)
        return f"{status['state']}, {bytes_text(lag_bytes)} behind"
