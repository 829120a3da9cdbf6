# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations for the tests: build one from two databases, run its phases through the engine, compare both sides."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import cleanup, init, status, sync, verify
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event, silent
from ansible_collections.seren.migrator.plugins.module_utils.result import Result
from tests.support.binaries import client_dir
from tests.support.compare import Comparison, compare_data
from tests.support.fixtures import Database

WAIT_S = 90


@dataclass
class Case:
    """A source, a target and everything that the phases are called with."""

    source: Database
    target: Database
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def bin_dir(self) -> str:
        """The client programs that fit this pair."""
        return str(client_dir(max(self.source.cluster.major, self.target.cluster.major)))

    def migration(self) -> Migration:
        return Migration.from_options(
            {"source": self.source.params, "target": self.target.params, **self.options},
        )

    def init(self, progress: Callable[[Event], None] = silent, **options: Any) -> Result:
        wanted = {"jobs": 2, "client_bin_dir": self.bin_dir, **options}
        return init.run(self.migration(), init.InitOptions(**wanted), progress)

    def sync(self, **options: Any) -> Result:
        return sync.run(self.migration(), sync.SyncOptions(**options))

    def status(self, **options: Any) -> Result:
        return status.run(self.migration(), status.StatusOptions(**{"window": 1.2, **options}))

    def verify(self, **options: Any) -> Result:
        wanted = {"fail_on_difference": False, "wait_timeout": 60, **options}
        return verify.run(self.migration(), verify.VerifyOptions(**wanted))

    def cleanup(self, **options: Any) -> Result:
        return cleanup.run(self.migration(), cleanup.CleanupOptions(**options))

    def wait_until_in_sync(self) -> dict[str, Any]:
        """Look at the status until it is in_sync; the last status, or an error with it."""
        end = time.monotonic() + WAIT_S
        while True:
            data = self.status().data
            if data["state"] == "in_sync":
                return data
            if time.monotonic() > end or data["state"] == "broken":
                raise AssertionError(f"not in sync: {data['state']} {data['reasons']}")

    def compare(self, sequences: str = "ignore") -> Comparison:
        """Compare every row of both sides, with none of the product's code; nobody may be writing.

        Materialized views are left out: each side shows the moment of its last refresh.
        """
        return compare_data(self.source.dsn, self.target.dsn, sequences=sequences, materialized_views=False)

    def left_on_source(self) -> dict[str, list[Any]]:
        """What a migration makes on a source: slots, publications, our schema."""
        return {
            "slots": self.source.execute("SELECT slot_name FROM pg_replication_slots WHERE NOT temporary"),
            "publications": self.source.execute("SELECT pubname FROM pg_publication"),
            "schemas": self.source.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'seren_migrator'"),
        }


def at_step(text: str, action: Callable[[], Any]) -> Callable[[Event], None]:
    """Return a progress function that runs `action` once, when a step whose text starts so is reported."""
    done: list[bool] = []

    def progress(event: Event) -> None:
        if event.text.startswith(text) and not done:
            done.append(True)
            action()

    return progress


NOTHING: dict[str, list[Any]] = {"slots": [], "publications": [], "schemas": []}
