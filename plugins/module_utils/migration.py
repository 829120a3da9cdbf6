# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""A migration: a named pair of endpoints plus a selection, and the names of everything we create for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from .endpoint import Endpoint, Side
from .errors import MigrationError, Redactor
from .session import Session, StatementLog

DEFAULT_NAME = "seren_migration"
MAX_IDENTIFIER_BYTES = 63
MAX_SLUG_BYTES = 30


def bounded(name: str, suffix: str) -> str:
    """Return ``name`` + ``suffix`` within PostgreSQL's 63 bytes; what is cut is replaced by a hash of the name."""
    if len((name + suffix).encode()) <= MAX_IDENTIFIER_BYTES:
        return name + suffix
    digest = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    room = MAX_IDENTIFIER_BYTES - len((digest + suffix).encode())
    return name.encode()[:room].decode(errors="ignore") + digest + suffix


def backend_name(migration_id: str, task: str) -> str:
    """Return the application_name of a migration's long-running backends, by which a left-over one is found."""
    return f"seren_migrator {backend_purpose(migration_id, task)}"


def backend_purpose(migration_id: str, task: str) -> str:
    """Return the purpose under which a session is opened that shall have that name from the beginning."""
    return f"{migration_id[:12]} {task}"


@dataclass(frozen=True)
class StreamNames:
    """The names of one stream. Slots are shared by a whole cluster, so theirs carries the migration's id."""

    publication: str
    subscription: str
    slot: str
    marker: str


def stream_names(migration_name: str, migration_id: str, number: int) -> StreamNames:
    """Return the names of stream ``number`` (from 1): the first keeps the names of the tool this replaces.

    ``migration_id`` is the ledger's id (32 hexadecimal digits). Slot names may hold only a-z, 0-9 and _.
    """
    tail = "" if number == 1 else f"_{number}"
    slug = re.sub(r"[^a-z0-9_]+", "_", migration_name.lower()).strip("_")[:MAX_SLUG_BYTES] or "migration"
    if slug != migration_name:  # two names must not share it: what it leads to would be taken for the other's
        slug = f"{slug[: MAX_SLUG_BYTES - 9]}_{hashlib.sha256(migration_name.encode()).hexdigest()[:8]}"
    return StreamNames(
        publication=bounded(migration_name, f"_pub{tail}"),
        subscription=bounded(migration_name, f"_sub{tail}"),
        slot=f"{slug}_{migration_id[:12]}_{number}",
        marker=f"marker_{migration_id[:12]}_{number}",
    )


@dataclass(frozen=True)
class Selection:
    """The user's choice, as given. ``rows`` maps a table pattern to an SQL predicate. Empty means everything."""

    schemas: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_data: tuple[str, ...] = ()
    rows: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Selection:
        """Build a selection from module parameters of the same names."""
        lists = {
            key: tuple(options.get(key) or ())
            for key in ("schemas", "exclude_schemas", "tables", "exclude_tables", "exclude_data")
        }
        return cls(**lists, rows=dict(options.get("rows") or {}))

    def as_data(self) -> dict[str, Any]:
        """Return plain data, in an order that does not depend on how the lists were written."""
        return {
            "schemas": sorted(self.schemas),
            "exclude_schemas": sorted(self.exclude_schemas),
            "tables": sorted(self.tables),
            "exclude_tables": sorted(self.exclude_tables),
            "exclude_data": sorted(self.exclude_data),
            "rows": dict(sorted(self.rows.items())),
        }

    @property
    def is_partial(self) -> bool:
        """True when some object of the database may stay behind."""
        return bool(self.schemas or self.exclude_schemas or self.tables or self.exclude_tables)


@dataclass(frozen=True)
class Migration:
    """The arguments that every phase shares. ``log`` collects the statements of this run."""

    name: str
    source: Endpoint
    target: Endpoint
    selection: Selection
    log: StatementLog

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Migration:
        """Build a migration from module parameters (``name``, ``source``, ``target`` and the selection's)."""
        source = Endpoint.from_options("source", options["source"])
        target = Endpoint.from_options("target", options["target"])
        log = StatementLog(Redactor([*source.secrets, *target.secrets]))
        return cls(options.get("name") or DEFAULT_NAME, source, target, Selection.from_options(options), log)

    @property
    def redactor(self) -> Redactor:
        """The redactor that knows this migration's secrets."""
        return self.log.redactor

    def open(self, side: Side, purpose: str, *, read_only: bool = False) -> Session:
        """Open a connection to one side; see :meth:`Session.open`."""
        return Session.open(
            self.source if side == "source" else self.target, self.log, purpose=purpose, read_only=read_only
        )

    @contextmanager
    def opening(self, side: Side, purpose: str) -> Iterator[Callable[[], Session]]:
        """Open a connection while the block already runs: it calls what it is given to get the session.

        The session is closed with the block. To a far server a connection takes five round trips.
        """
        pool = ThreadPoolExecutor(1)
        session = pool.submit(self.open, side, purpose).result
        pool.shutdown(wait=False)
        try:
            yield session
        finally:
            with suppress(MigrationError):
                session().connection.close()

    @contextmanager
    def open_both(self, purpose: str) -> Iterator[tuple[Session, Session]]:
        """Open a connection to the source and one to the target at the same time, for the block."""
        with self.opening("target", purpose) as target, self.open("source", purpose) as source:
            yield source, target()

    def names(self, migration_id: str, number: int) -> StreamNames:
        """Return the names of one stream of this migration."""
        return stream_names(self.name, migration_id, number)
