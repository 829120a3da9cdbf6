# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the pre-flight measures on the source, once and only when asked for: WAL, a sample of rows, sizes of indexes.

Measuring takes its time, the checks run meanwhile. What it amounts to is ``estimate.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import copy_sample, copying
from ..catalog import Table
from ..driver import psycopg
from ..errors import MigrationError
from ..estimate import CopySample, Forecast, Indexes, WalReading, wal_rate
from ..transfer import Refused
from .asking import once

if TYPE_CHECKING:
    from .context import Context

MIB = 2**20

_WAL_POSITION = """
SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery()
            THEN pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_catalog.pg_lsn END AS position,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) AS at_s
"""

# 14+.
_WAL_WRITTEN = """
SELECT w.wal_bytes AS bytes,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - w.stats_reset) AS since_s
  FROM pg_catalog.pg_stat_wal AS w
"""

_INDEXES = """
SELECT count(*) AS count, coalesce(sum(pg_catalog.pg_relation_size(i.indexrelid)), 0)::bigint AS bytes
  FROM unnest(%(oids)s::oid[]) AS w(oid)
  JOIN pg_catalog.pg_index AS i ON i.indrelid = w.oid
"""


class Measured:
    """The source in numbers. Each is measured once, by whoever asks first; what is refused is None."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @once
    def tables(self) -> list[Table]:
        """The tables whose rows are copied, the largest first. Raises :class:`Unavailable` without a selection."""
        selected = self._context.selected
        with_rows = list(selected.data_tables)
        if self._context.options.unlogged_tables == "copy":
            with_rows += selected.unlogged_tables
        return sorted(with_rows, key=lambda table: (-table.bytes, table.qualified))

    @once
    def indexes(self) -> Indexes | None:
        """The indexes of these tables."""
        try:
            row = self._context.source.rows(_INDEXES, {"oids": [table.oid for table in self.tables]})[0]
        except psycopg.Error:
            return None
        return Indexes(row["count"], row["bytes"])

    @once
    def limit_bytes(self) -> int | None:
        """What max_slot_wal_keep_size allows; None without a limit, and before 13, which knows none."""
        setting = self._context.source.settings.get("max_slot_wal_keep_size")
        return None if setting is None or int(setting.setting) < 0 else int(setting.setting) * MIB

    @once
    def forecast(self) -> Forecast:
        """What the copy will take. Lasts as long as the options ``sample_seconds`` and ``wal_window`` say."""
        window_s = self._context.options.wal_window
        first = self._wal_reading() if window_s > 0 else None
        begun = time.monotonic()
        average = self._average() if window_s > 0 else (None, None)
        sample, no_sample = self._sample()
        if first is not None:
            time.sleep(max(0.0, begun + window_s - time.monotonic()))
        rate = wal_rate(first, None if first is None else self._wal_reading(), *average)
        return Forecast(sum(table.bytes for table in self.tables), rate, sample, self.limit_bytes, no_sample)

    def _sample(self) -> tuple[CopySample | None, str]:
        options, context = self._context.options, self._context
        if options.copy_method == "subscription":
            return (
                None,
                "the servers copy by themselves, and how fast they are together cannot be tried without writing",
            )
        if options.sample_seconds <= 0:
            return None, "it was not measured (sample_seconds)"
        carried = self.tables
        try:
            sample = copy_sample.measure(
                context.migration,
                copying.plan_tasks(context.selected, carried, {table.oid: 1 for table in carried}),
                {table.oid: table for table in carried},
                seconds=options.sample_seconds,
                connections=options.jobs,
            )
        except (MigrationError, Refused, psycopg.Error) as error:
            return None, f"the sample failed: {' '.join(context.migration.redactor.text(str(error)).split())}"
        return sample, ""

    def _wal_reading(self) -> WalReading | None:
        try:
            row = self._context.source.rows(_WAL_POSITION)[0]
        except psycopg.Error:
            return None
        return None if row["position"] is None else WalReading(int(row["position"]), row["at_s"])

    def _average(self) -> tuple[int | None, float | None]:
        if self._context.source.major < 14:
            return None, None
        try:
            row = self._context.source.rows(_WAL_WRITTEN)[0]
        except psycopg.Error:
            return None, None
        return int(row["bytes"]), row["since_s"]
