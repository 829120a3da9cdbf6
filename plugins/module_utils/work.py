# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the crew asks of a worker, and what a worker answers: plain values that travel between the processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from .copying import CopyTask


@dataclass(frozen=True)
class Indexes:
    """Index statements of one table, and what the ledger notes about them: (classid, objid, state)."""

    statements: bytes = b""
    marks: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class CopyWork:
    """Whole tables to copy in ``snapshot``; ``indexes`` maps OIDs to what is built in the same transaction."""

    tasks: tuple[CopyTask, ...]
    snapshot: str
    indexes: Mapping[int, Indexes] = field(default_factory=dict)


@dataclass(frozen=True)
class EmptyWork:
    """A table to empty before its pieces come."""

    task: CopyTask


@dataclass(frozen=True)
class PieceWork:
    """One piece of a split table to copy in ``snapshot``."""

    task: CopyTask
    snapshot: str


@dataclass(frozen=True)
class SealWork:
    """A split table whose pieces are all there: note it. ``rows`` and ``bytes`` are those of all pieces."""

    task: CopyTask
    rows: int
    bytes: int


@dataclass(frozen=True)
class BuildWork:
    """Indexes to build on a table whose rows are there; ``name`` is for people.

    ``helpers`` are the parallel workers that the server may use for each.
    """

    oid: int
    name: str
    indexes: Indexes
    helpers: int = 0


@dataclass(frozen=True)
class AnalyzeWork:
    """Tables whose rows and indexes are there, by OID with schema and name: collect their statistics."""

    tables: Mapping[int, tuple[str, str]]


if TYPE_CHECKING:
    # ansible-test reads this as Python 3.8 would, without | between types.
    # Statistics can wait: what is refused of them fails nothing.
    Needed = Union[CopyWork, EmptyWork, PieceWork, SealWork, BuildWork]  # noqa: UP007
    Work = Union[Needed, AnalyzeWork]  # noqa: UP007


@dataclass(frozen=True)
class Answer:
    """What a worker says about one table or one build.

    ``kind`` is copied, rewritten, locked (by the application, for as long as lock_timeout), again (not tried), done,
    analyzed (the tables whose OIDs are ``analyzed``) or failed.
    """

    kind: str
    task: CopyTask | None = None
    rows: int = 0
    bytes: int = 0
    sqlstate: str = ""
    message: str = ""
    side: str = ""
    analyzed: frozenset[int] = frozenset()
