# SPDX-License-Identifier: GPL-3.0-or-later
"""A source and a target database that replicate by a plain publication and subscription, for the tests of verify."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases.verify import VerifyOptions, verify_streams
from ansible_collections.seren.migrator.plugins.module_utils.progress import Progress, silent
from ansible_collections.seren.migrator.plugins.module_utils.result import Result
from tests.support.fixtures import Database

READY = "SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_catalog.pg_subscription_rel"


@dataclass
class ReplicatedPair:
    """Two databases and the streams between them."""

    source: Database
    target: Database
    streams: list[Stream] = field(default_factory=list)

    def both(self, statement: str) -> None:
        """Run one statement on both sides."""
        self.source.execute(statement)
        self.target.execute(statement)

    def damage(self, *statements: str) -> None:
        """Run statements on the target as the apply worker would: without triggers and foreign keys."""
        with self.target.connect() as connection:
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    def replicate(
        self, tables: str = "FOR ALL TABLES", publish: str = "", *, marker: bool = False, options: str = ""
    ) -> Stream:
        """Start one stream that copies what is there, and wait until each of its tables is ready.

        With `marker` it has a marker table, as the streams of a migration have; `options` are the subscription's.
        """
        tag = secrets.token_hex(4)
        number = len(self.streams) + 1
        name = f'marker_"{tag}' if marker else ""
        stream = Stream(number, f'pub_"{tag}; --', f"slot_{tag}", f"sub_{tag}", name, None, "subscribed")
        if marker:
            table = sql.Identifier("seren_migrator", name).as_string(None)
            self.both("CREATE SCHEMA IF NOT EXISTS seren_migrator")
            self.both(f"CREATE TABLE {table} (id integer PRIMARY KEY, token text NOT NULL, at timestamptz)")
            self.source.execute(f"INSERT INTO {table} VALUES (1, 'opened', now())")
            tables += "" if tables == "FOR ALL TABLES" else f", {table}"
        publication = sql.Identifier(stream.publication).as_string(None)
        self.source.execute(f"CREATE PUBLICATION {publication} {tables} {publish}")
        self.target.execute(
            sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (slot_name = {} {})").format(
                sql.Identifier(stream.subscription),
                sql.Literal(self.source.dsn),
                sql.Identifier(stream.publication),
                sql.Literal(stream.slot),
                sql.SQL(f", {options}" if options else ""),
            )
        )
        self.streams.append(stream)
        until(lambda: bool(self.target.execute(READY)[0][0]), "every table to be ready")
        return stream

    def verify(
        self,
        selection: Mapping[str, Any] | None = None,
        streams: Sequence[Stream] | None = None,
        user: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
        progress: Progress = silent,
        record: Any = None,
        **options: Any,
    ) -> Result:
        """Run the phase along this pair's streams."""
        source, target = user or (self.source.params, self.target.params)
        migration = Migration.from_options({"source": source, "target": target, **(selection or {})})
        # These tests are about rows; the objects have tests of their own.
        chosen = VerifyOptions(**{"wait_timeout": 30.0, "objects": "skip", **options})
        return verify_streams(migration, chosen, progress, self.streams if streams is None else streams, record)


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} seconds for {what}"
        time.sleep(0.05)


def status_of(result: Result, name: str) -> tuple[str, str]:
    """Return (status, reason) of one table."""
    table = next(table for table in result.data["tables"] if table["name"] == name)
    return table["status"], table["reason"]


def found(result: Result) -> set[tuple[Any, ...]]:
    """Return the differences as (table, kind, key values..., columns)."""
    return {
        (item["table"], item["kind"], tuple(item["key"].values()), tuple(item["columns"]))
        for item in result.data["differences"]
    }


@contextmanager
def writing(database: Database, *writers: Callable[[psycopg.Connection[Any], int], None]) -> Iterator[list[int]]:
    """Run each writer in a thread of its own, over and over with a growing number; yields the counts of commits."""
    stop = threading.Event()
    counts = [0] * len(writers)
    errors: list[BaseException] = []

    def loop(position: int, writer: Callable[[psycopg.Connection[Any], int], None]) -> None:
        try:
            with database.connect(autocommit=False) as connection:
                while not stop.is_set():
                    writer(connection, counts[position])
                    connection.commit()
                    counts[position] += 1
        except BaseException as error:  # noqa: BLE001 # told to the test below
            errors.append(error)

    threads = [threading.Thread(target=loop, args=item, daemon=True) for item in enumerate(writers)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=30)
    assert not errors, errors
