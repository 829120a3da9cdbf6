# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a migration will take, from what was measured: how much there is to copy, for how long, and how much WAL waits then.

Pure. Measuring is ``copy_sample.py``; asking is the pre-flight's context. What was not measured is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .catalog import Table
from .quantities import count, duration, rate, size

LARGEST_TABLES = 10


def estimated_rows(table: Table) -> int | None:
    """Return the rows that the server's statistics tell, None for a table never analysed (an empty file surely has none)."""
    if table.pages == 0 and table.bytes == 0:
        return 0
    return None if table.estimated_rows < 0 or table.pages == 0 else table.estimated_rows


def total_rows(tables: Sequence[Table]) -> int | None:
    """Return the estimated rows of all tables, None when those of one are unknown."""
    rows = [estimated_rows(table) for table in tables]
    return None if any(each is None for each in rows) else sum(each or 0 for each in rows)


@dataclass(frozen=True)
class Indexes:
    """How many indexes the tables to copy have, and their bytes on the source."""

    count: int
    bytes: int


@dataclass(frozen=True)
class WalReading:
    """The source's WAL insert position in bytes, at a time of the server's own clock."""

    position: int
    at_s: float


@dataclass(frozen=True)
class WalRate:
    """WAL that the source writes: over a short window now, and on average since its statistics began.

    The window knows what is going on just now, the average also knows the busy hours. None where it was not measured.
    """

    bytes_per_second: float | None = None
    window_seconds: float | None = None
    average_bytes_per_second: float | None = None
    average_seconds: float | None = None

    @property
    def expected(self) -> float | None:
        """The bytes per second to reckon with: the larger of the two."""
        known = [each for each in (self.bytes_per_second, self.average_bytes_per_second) if each is not None]
        return max(known, default=None)


def wal_rate(
    first: WalReading | None, last: WalReading | None, average_bytes: int | None, average_s: float | None
) -> WalRate:
    """Return the rate between two readings, and the average of ``average_bytes`` over ``average_s`` seconds."""
    now = window_s = average = None
    if first is not None and last is not None and last.at_s > first.at_s and last.position >= first.position:
        window_s = last.at_s - first.at_s
        now = (last.position - first.position) / window_s
    if average_bytes is not None and average_s is not None and average_s > 0:
        average = average_bytes / average_s
    return WalRate(now, window_s, average, average_s if average is not None else None)


@dataclass(frozen=True)
class Read:
    """What the sample read of one table; ``is_complete`` when it came to the table's end."""

    table: Table
    rows: int
    stream_bytes: int
    is_complete: bool
    has_predicate: bool = False

    @property
    def table_bytes(self) -> int | None:
        """How much of the table's size that is; None for a part of a table whose rows are not known."""
        if self.is_complete:
            return self.table.bytes
        rows = estimated_rows(self.table)
        if not rows or self.has_predicate:
            return None
        return self.table.bytes * min(self.rows, rows) // rows


@dataclass(frozen=True)
class CopySample:
    """What was read from the source in a short time, over some connections at once."""

    seconds: float
    connections: int
    reads: tuple[Read, ...]

    @property
    def stream_bytes(self) -> int:
        """Bytes of the COPY streams."""
        return sum(each.stream_bytes for each in self.reads)

    @property
    def table_bytes(self) -> int | None:
        """The size of what was read, as the tables take it on the source; None when it is not known of one."""
        sizes = [each.table_bytes for each in self.reads]
        return None if any(each is None for each in sizes) else sum(each or 0 for each in sizes)

    @property
    def stream_bytes_per_second(self) -> float | None:
        """Bytes per second of the COPY streams together."""
        return self.stream_bytes / self.seconds if self.reads and self.seconds > 0 else None

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes per second of table size: what the copy's time is reckoned with."""
        known = self.table_bytes
        return known / self.seconds if known and self.seconds > 0 else None

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "seconds": round(self.seconds, 2),
            "connections": self.connections,
            "tables": len({each.table.oid for each in self.reads}),
            "rows": sum(each.rows for each in self.reads),
            "stream_bytes": self.stream_bytes,
            "table_bytes": self.table_bytes,
        }


@dataclass(frozen=True)
class Forecast:
    """What is expected of the copy. ``limit_bytes`` is the WAL that the source keeps for a slot, None without a limit.

    ``no_sample`` says why there is no time.
    """

    bytes: int
    wal: WalRate
    sample: CopySample | None = None
    limit_bytes: int | None = None
    no_sample: str = ""

    @property
    def copy_seconds(self) -> float | None:
        """How long reading all rows takes at the sample's speed."""
        if self.bytes == 0:
            return 0.0
        speed = self.sample.bytes_per_second if self.sample is not None else None
        return self.bytes / speed if speed else None

    @property
    def retained_bytes(self) -> int | None:
        """The WAL that the slot holds back when the copy ends."""
        wal = self.wal.expected
        return None if wal is None or self.copy_seconds is None else round(wal * self.copy_seconds)

    @property
    def exceeds_limit(self) -> bool:
        """True when the slot would be lost before the copy ends."""
        return (
            self.limit_bytes is not None and self.retained_bytes is not None and self.retained_bytes > self.limit_bytes
        )

    @property
    def wal_to_copy_ratio(self) -> float | None:
        """WAL written for each byte that the sample read: a hint, because how fast the target applies is not known."""
        wal, speed = self.wal.expected, self.sample.stream_bytes_per_second if self.sample is not None else None
        return None if wal is None or not speed else wal / speed

    @property
    def hint(self) -> str:
        """Say what can be said about the cut-over before anything was applied."""
        if self.exceeds_limit:
            return "no: the slot is lost before the copy ends, see source_slot_wal_limit"
        unknown = "not known yet: how fast the target applies shows only once it does"
        ratio = self.wal_to_copy_ratio
        if ratio is None:
            return unknown
        if ratio >= 1:
            return f"{unknown}; a hint against it: the source writes WAL faster than its rows could be read"
        share = f"{ratio:.1%}" if ratio >= 0.001 else "less than 0.1%"
        return f"{unknown}; a hint: the source writes WAL at {share} of the speed at which its rows were read"


def as_data(tables: Sequence[Table], indexes: Indexes | None, forecast: Forecast) -> dict[str, Any]:
    """Return the estimate as plain data. ``tables`` are those whose rows are copied, the largest first."""
    sample = forecast.sample
    return {
        "rows": total_rows(tables),
        "bytes": forecast.bytes,
        "indexes": {"count": None, "bytes": None} if indexes is None else asdict(indexes),
        "largest_tables": [
            {"schema": table.schema, "name": table.name, "rows": estimated_rows(table), "bytes": table.bytes}
            for table in tables[:LARGEST_TABLES]
        ],
        "copy": {
            "seconds": _rounded(forecast.copy_seconds),
            "bytes_per_second": _rounded(sample.bytes_per_second if sample else None),
            "stream_bytes_per_second": _rounded(sample.stream_bytes_per_second if sample else None),
            "sample": sample.as_data() if sample else None,
        },
        "wal": {
            **{key: _rounded(value) for key, value in asdict(forecast.wal).items()},
            "retained_bytes": forecast.retained_bytes,
            "limit_bytes": forecast.limit_bytes,
        },
        "cutover": {
            "feasible": False if forecast.exceeds_limit else None,
            "wal_to_copy_ratio": None if forecast.wal_to_copy_ratio is None else round(forecast.wal_to_copy_ratio, 4),
        },
        "summary": sentences(tables, indexes, forecast),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def sentences(tables: Sequence[Table], indexes: Indexes | None, forecast: Forecast) -> list[str]:
    """Return the estimate in words, a sentence for each concern."""
    rows = total_rows(tables)
    about = "" if rows is None else "about "
    there = f"Rows: {about}{count(rows, 'row')} in {count(len(tables), 'table')}, {size(forecast.bytes)}"
    if indexes is not None:
        there += f"; {count(indexes.count, 'index', 'indexes')} of {size(indexes.bytes)}"
    return [f"{there}.", _copy_sentence(forecast), _wal_sentence(forecast), f"Cut-over feasible: {forecast.hint}."]


def _copy_sentence(forecast: Forecast) -> str:
    if forecast.bytes == 0:
        return "Copy: there are no rows to copy."
    sample = forecast.sample
    if sample is None:
        return f"Copy: time unknown; {forecast.no_sample}."
    read = (
        f"{size(sample.stream_bytes)} of rows were read in {duration(sample.seconds)} over "
        f"{count(sample.connections, 'connection')}"
    )
    if forecast.copy_seconds is None:
        return (
            f"Copy: time unknown; {read}, but how large a part of the tables that was is not known before an ANALYZE."
        )
    about = "about " if forecast.copy_seconds >= 1 else ""
    return (
        f"Copy: {about}{duration(forecast.copy_seconds)} at the {rate(sample.bytes_per_second)} that were measured ({read}); "
        "writing them, and the indexes, comes on top where the target is slower."
    )


def _wal_sentence(forecast: Forecast) -> str:
    wal, known = forecast.wal, []
    if wal.bytes_per_second is not None:
        known.append(f"{rate(wal.bytes_per_second)} over {duration(wal.window_seconds)}")
    if wal.average_bytes_per_second is not None:
        known.append(f"{rate(wal.average_bytes_per_second)} on average over {duration(wal.average_seconds)}")
    written = f"the source writes {', '.join(known)}" if known else "how much the source writes was not measured"
    if forecast.retained_bytes is None:
        held = "how much the source will have to keep until the copy ends is unknown"
    else:
        held = f"about {size(forecast.retained_bytes)} will be kept by the source when the copy ends"
    limit = "without a limit" if forecast.limit_bytes is None else f"with a limit of {size(forecast.limit_bytes)}"
    return f"WAL: {written}; {held}, {limit}. How much disk is free there cannot be asked."
