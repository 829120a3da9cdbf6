# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The checks that tables must pass before they join a migration that replicates already: about them, and one stream more."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ..errors import MigrationError
from ..migration import Migration
from ..selection import Selected, select
from . import budget, columns, row_predicates, tables
from .asking import once
from .check import Check, Finding, skipped
from .context import Context
from .registry import run_check

# The selection was applied before; and the servers do not copy by themselves here.
_NOT_ASKED = ("selection", "target_sync_workers")
CHECKS: tuple[Check, ...] = tuple(
    item
    for item in (*budget.CHECKS, *tables.CHECKS, *row_predicates.CHECKS, *columns.CHECKS)
    if item.id not in _NOT_ASKED and item.severity == "blocker"
)


class _Joining(Context):
    """A context in which nothing is selected but the tables that join, and in which one more stream is to be made."""

    oids: frozenset[int] = frozenset()
    streams: int = 1

    @once
    def selection(self) -> Selected | MigrationError:
        """The tables that join."""
        try:
            found = select(self.catalog, self.migration.selection)
        except MigrationError as error:
            return error
        chosen = tuple(table for table in found.catalog.tables if table.oid in self.oids)
        return replace(found, catalog=replace(found.catalog, tables=chosen))

    @once
    def new_slots(self) -> int:
        """None, when an interrupted addition has its stream already."""
        return self.streams


def look(migration: Migration, options: Any, oids: Collection[int], streams: int) -> list[Finding]:
    """Return what the checks find about the tables ``oids`` and so many new streams. ``options`` are validate's."""
    with _Joining.open(migration, options) as context:
        if isinstance(context, _Joining):
            context.oids, context.streams = frozenset(oids), streams

        def ask(item: Check) -> Finding:
            left_out = item.id in options.skip_checks
            outcome = skipped("Left out by skip_checks.") if left_out else run_check(context, item)
            return Finding(item, outcome, options.severities.get(item.id) or outcome.severity or item.severity)

        with ThreadPoolExecutor(len(CHECKS)) as pool:
            return list(pool.map(ask, CHECKS))
