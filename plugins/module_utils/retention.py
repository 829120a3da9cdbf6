# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The WAL that a migration makes its source keep: watched while init works, with a warning or a limit.

A slot keeps every WAL segment since its restart position, for as long as the copy takes; nothing reads from it yet.
Here belongs measuring that and giving up; after init, status measures the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from . import stream
from .claim import Claim
from .driver import psycopg
from .errors import MigrationError
from .lag import SlotSample, read_slots
from .migration import Migration
from .progress import Event, Progress
from .session import Session

INTERVAL_S = 5.0
# Without a limit: nobody can ask the source how much disk is free, but it holds the database itself, and it held WAL
# of this size before.
WARN_AT_LEAST_BYTES = 1024**3
# With a limit, or where the source discards WAL by itself: warn when this share of it is used.
WARN_SHARE = 0.75

_OURS = """
SELECT s.slot FROM seren_migrator.stream AS s WHERE s.migration_id = %(id)s AND s.state NOT IN ('removing', 'removed')
"""


@dataclass(frozen=True)
class Reading:
    """What the source keeps for us at one moment. None is unknown.

    ``retained_bytes`` is that of the slot that holds back most; ``safe_bytes`` is how much more may be written before the
    source discards what the slot in most danger needs (None without ``max_slot_wal_keep_size``); ``lost`` are slots
    whose WAL is gone.
    """

    retained_bytes: int | None
    safe_bytes: int | None
    lost: tuple[str, ...]


def read(samples: Mapping[str, SlotSample]) -> Reading:
    """Sum up one reading of the slots. Pure."""
    retained = [sample.retained_bytes for sample in samples.values() if sample.retained_bytes is not None]
    safe = [
        int(sample.raw["safe_wal_size"]) for sample in samples.values() if sample.raw.get("safe_wal_size") is not None
    ]
    lost = [
        name
        for name, sample in samples.items()
        if sample.raw.get("wal_status") == "lost" or sample.raw.get("invalidation_reason")
    ]
    return Reading(max(retained, default=None), min(safe, default=None), tuple(sorted(lost)))


def warning(reading: Reading, limit_bytes: int | None, database_bytes: int) -> str:
    """Return what an operator should hear about a reading, '' when it is harmless. Pure."""
    kept = reading.retained_bytes
    if kept is None:
        return ""
    if reading.safe_bytes is not None and kept >= WARN_SHARE * (kept + max(0, reading.safe_bytes)):
        return (
            f"The source keeps {megabytes(kept)} of WAL for this migration and will discard it after "
            f"{megabytes(max(0, reading.safe_bytes))} more (max_slot_wal_keep_size): the copy would be lost."
        )
    if limit_bytes is not None and kept >= WARN_SHARE * limit_bytes:
        return f"The source keeps {megabytes(kept)} of WAL for this migration; max_retained_wal is {megabytes(limit_bytes)}."
    if limit_bytes is None and kept >= max(database_bytes, WARN_AT_LEAST_BYTES):
        return (
            f"The source keeps {megabytes(kept)} of WAL for this migration, more than its database has "
            f"({megabytes(database_bytes)}). Look at its free disk; max_retained_wal sets a limit."
        )
    return ""


def megabytes(number: int) -> str:
    """Return a number of bytes for people."""
    return f"{number / 1024**2:.0f} MB"


class Retention:
    """Watches the WAL kept for one migration; a context manager that closes its connection.

    ``retained_bytes`` is the last reading, None when unknown. ``warnings`` are for the result. ``limit_bytes`` None
    never stops anything.
    """

    def __init__(self, migration: Migration, claim: Claim, limit_bytes: int | None, progress: Progress) -> None:
        self.retained_bytes: int | None = None
        self.warnings: list[str] = []
        self._migration, self._claim, self._limit_bytes, self._progress = migration, claim, limit_bytes, progress
        self._session: Session | None = None
        self._database_bytes = 0
        self._next_at_s = 0.0

    def __enter__(self) -> Retention:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._close()

    def check(self) -> None:
        """Measure, when :data:`INTERVAL_S` have passed since the last time; for loops that come by often.

        Raises ``wal_limit_exceeded`` above the limit and ``slot_lost`` when the source has discarded what a slot needs.
        A source that cannot be asked makes the reading unknown and is asked again: the copy itself notices soon enough.
        """
        if time.monotonic() < self._next_at_s:
            return
        try:
            reading = self._read()
        except (MigrationError, psycopg.Error):
            self._close()
            self.retained_bytes = None
            return
        finally:
            self._next_at_s = time.monotonic() + INTERVAL_S
        self.retained_bytes = reading.retained_bytes
        if reading.lost:
            error = stream.slot_lost(reading.lost[0])
            error.remedy = f"Run the same command again: it copies again what this slot was for. {error.remedy}"
            raise error
        if self._limit_bytes is not None and (reading.retained_bytes or 0) > self._limit_bytes:
            raise _exceeded(reading.retained_bytes or 0, self._limit_bytes)
        text = warning(reading, self._limit_bytes, self._database_bytes)
        if text and not self.warnings:
            self.warnings.append(text)
            self._progress(Event("init", text, {"retained_wal_bytes": reading.retained_bytes}))

    def _read(self) -> Reading:
        if self._session is None:
            self._session = self._migration.open("source", "wal watch", read_only=True)
            self._database_bytes = self._session.value(
                "SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes"
            )
        slots = [row["slot"] for row in self._claim.session.rows(_OURS, self._claim.key())]
        return read(read_slots(self._session, slots))

    def _close(self) -> None:
        if self._session is not None:
            self._session.connection.close()
            self._session = None


def _exceeded(retained_bytes: int, limit_bytes: int) -> MigrationError:
    return MigrationError(
        "wal_limit_exceeded",
        f"The source had to keep {megabytes(retained_bytes)} of WAL for this migration, more than max_retained_wal "
        f"({megabytes(limit_bytes)}); the copy was given up so that the source's disk does not fill.",
        "Run init again at a calmer time, with more jobs or with a larger max_retained_wal: its slots are removed, and "
        "what was copied is copied again. Once indexes were being built, resume: false is needed.",
        {"retained_wal_bytes": retained_bytes, "max_retained_wal": limit_bytes},
    )


def give_up(migration: Migration, claim: Claim, source: Session, target: Session) -> None:
    """Remove every stream of a copy, so that the source is free of it; their tables have to be copied again."""
    with suppress(psycopg.Error):
        for session in (source, target):
            stream.end_left_over(claim, session)
    for item in claim.read().live_streams:
        stream.remove(migration, claim, item, target, source)
