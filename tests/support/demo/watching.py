# SPDX-License-Identifier: GPL-3.0-or-later
"""A line every few seconds about replication, seen from beside the playbook. Of the copy the playbook itself tells."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.support.demo.report import bytes_text
from tests.support.migrations import Case
from tests.support.writers import Writers

EVERY_S = 3.0
WINDOW_S = 1.0
# The playbook's phases before there is something to replicate.
BEFORE = ("absent", "copying")


class Watcher:
    """A thread that prints whole lines only, so that they fit between those of ansible-playbook."""

    def __init__(self, case: Case, writers: Writers) -> None:
        self.case = case
        self.writers = writers
        self.max_lag_bytes: int | None = None
        self._begin = time.monotonic()
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
        while not self._is_over.wait(EVERY_S):
            try:
                status = self.case.status(window=WINDOW_S).data
            except MigrationError:
                continue  # not readable at this moment; the playbook's own tasks are the ones that judge
            if status["state"] not in BEFORE and not self._is_over.is_set():
                self._show(self._replicating(status))

    def _show(self, text: str) -> None:
        elapsed_s = time.monotonic() - self._begin
        commits = f"{self.writers.progress().total:,} transactions committed meanwhile"
        print(f"  live {elapsed_s:5.1f} s | {text} | {commits}", flush=True)

    def _replicating(self, status: dict[str, Any]) -> str:
        lag_bytes = status["lag_bytes"]
        if lag_bytes is None:
            return f"{status['state']}, lag unknown"
        if status["state"] != "copied":
            self.max_lag_bytes = max(lag_bytes, self.max_lag_bytes or 0)
        return f"{status['state']}, {bytes_text(lag_bytes)} behind"
