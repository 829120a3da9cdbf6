# SPDX-License-Identifier: GPL-3.0-or-later
"""One writer: a process of its own that does paced transactions until it is told to stop (SIGTERM).

A commit whose answer was lost is settled by reading back: the writer inserts the transaction's token again, which waits
for the old session if it still lives, and either finds the token (it was committed) or makes it impossible for ever.

Started by `tests.support.writers`; the connection string comes from a file, never from the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.support.live import journal as journals
from tests.support.live.journal import LOST, Change, Journal, Row
from tests.support.live.operations import Operation, RollBack, Surroundings, Work, choices, truncate
from tests.support.live.tables import has_pgbench, has_shop

CONNINFO_FILE = "conninfo"
RECONNECT_PAUSE_S = 0.1
CONNECT_TIMEOUT_S = 5
STATISTICS_EVERY_S = 0.5
FALLEN_BEHIND_S = 0.5
MAX_ERROR_MESSAGES = 5

READ_BACK = """
    INSERT INTO live.log (writer, token, operation)
    VALUES (%s, %s, %s)
    ON CONFLICT (writer, token) DO NOTHING
"""


@dataclass
class Statistics:
    """Counts of one writer; `longest_s` is its slowest transaction, `elapsed_s` how long it has been writing."""

    commits: Counter[str] = field(default_factory=Counter)
    rollbacks: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)
    connections: int = 0
    resolved: int = 0
    longest_s: float = 0.0
    elapsed_s: float = 0.0


def statistics_path(journal_dir: Path, writer: int) -> Path:
    return journal_dir / f"writer-{writer}.statistics.json"


class Stopped(Exception):
    """The writer was told to stop while it waited for the server."""


class Writer:
    """The state of one writer process."""

    def __init__(self, journal_dir: Path, writer: int, writers: int, truncate_every_s: float) -> None:
        self.journal_dir = journal_dir
        self.surroundings = Surroundings(writer, writers)
        self.truncate_every_s = truncate_every_s
        self.chance = random.Random(f"{writer} {time.time_ns()}")
        self.statistics = Statistics()
        self.is_stopping = False
        self._connection: psycopg.Connection[Row] | None = None
        self._parent = os.getppid()
        path = journals.path_of(journal_dir, writer)
        journals.repair(path)
        transactions = journals.read(path)
        self.contents = journals.contents(transactions)
        self._token = max((transaction.token for transaction in transactions), default=0)
        self._unsettled = [transaction for transaction in transactions if transaction.outcome is None]
        self._journal = Journal(path)

    def work(self, rate: float, seconds: float | None) -> None:
        """Do `rate` transactions a second until told to stop, or for `seconds`."""
        for transaction in self._unsettled:
            self._settle(transaction.token, transaction.changes)
        self.surroundings = self._look_around()
        operations, weights = choices(self.surroundings)
        now = started = next_at = time.monotonic()
        next_truncate = now + self.truncate_every_s * self.chance.random()
        next_statistics = now
        while not self._must_stop() and (seconds is None or now - started < seconds):
            if now >= next_truncate and self.truncate_every_s > 0:
                operation: Operation = truncate
                next_truncate = now + self.truncate_every_s
            else:
                operation = self.chance.choices(operations, weights)[0]
            self._one(operation)
            self.statistics.elapsed_s = time.monotonic() - started
            if now >= next_statistics:
                self.write_statistics()
                next_statistics = now + STATISTICS_EVERY_S
            now = time.monotonic()
            # After a stall there is no burst to make up for it.
            next_at = max(next_at + 1 / rate, now - FALLEN_BEHIND_S)
            if next_at > now:
                time.sleep(next_at - now)
            now = time.monotonic()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._journal.close()
        self.write_statistics()

    def write_statistics(self) -> None:
        """Replace the file that `Writers` reads the progress from."""
        path = statistics_path(self.journal_dir, self.surroundings.writer)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(vars(self.statistics)), encoding="utf-8")
        temporary.replace(path)

    def _must_stop(self) -> bool:
        return self.is_stopping or os.getppid() != self._parent

    def _one(self, operation: Operation) -> None:
        """One transaction, whatever comes of it."""
        started = time.monotonic()
        connection = self._connect()
        work = Work(connection, self.contents, self.surroundings, self.chance)
        token = self._token = self._token + 1
        name = operation.__name__
        is_intended = False
        try:
            query = "INSERT INTO live.log (writer, token, operation) VALUES (%s, %s, %s)"
            work.run(query, work.writer, token, name)
            work.add("log", token, name)
            operation(work)
            self._journal.intend(token, name, work.changes)
            is_intended = True
            connection.commit()
        except RollBack:
            _roll_back(connection)
            self.statistics.rollbacks += 1
        except psycopg.Error as error:
            self._note(error)
            is_rolled_back = _roll_back(connection)
            if is_intended and is_rolled_back:
                self._journal.settle(token, "aborted")
            elif is_intended:
                self._settle(token, tuple(work.changes), name)
        else:
            self._journal.settle(token, "committed")
            self.contents.apply(work.changes)
            self.statistics.commits[name] += 1
        self.statistics.longest_s = max(self.statistics.longest_s, time.monotonic() - started)

    def _settle(self, token: int, changes: Sequence[Change], name: str = "") -> None:
        """Find out what became of a commit that was not answered."""
        is_lost: bool | None = None
        while is_lost is None:
            connection = self._connect()
            try:
                is_lost = _is_lost(connection, self.surroundings.writer, token)
            except psycopg.Error as error:
                self._note(error)
                _roll_back(connection)
        self.statistics.resolved += 1
        if is_lost:
            self._journal.settle(token, LOST)
            self.contents.apply(journals.lost(token))
        else:
            self._journal.settle(token, "committed")
            self.contents.apply(changes)
            self.statistics.commits[name or "unknown"] += 1

    def _connect(self) -> psycopg.Connection[Row]:
        """The connection, a new one when the old one is lost; waits for the server until told to stop."""
        while self._connection is None or self._connection.closed:
            if self._must_stop():
                raise Stopped
            conninfo = (self.journal_dir / CONNINFO_FILE).read_text(encoding="utf-8")
            try:
                self._connection = psycopg.connect(
                    conninfo, connect_timeout=CONNECT_TIMEOUT_S, prepare_threshold=1, application_name="live writer"
                )
                self.statistics.connections += 1
            except psycopg.Error as error:
                self._note(error)
                time.sleep(RECONNECT_PAUSE_S)
        return self._connection

    def _note(self, error: psycopg.Error) -> None:
        self.statistics.errors[error.sqlstate or "connection"] += 1
        if len(self.statistics.messages) < MAX_ERROR_MESSAGES:
            self.statistics.messages.append(str(error))

    def _look_around(self) -> Surroundings:
        """Which tables of the sample are there; waits for the server until told to stop."""
        while True:
            connection = self._connect()
            try:
                return self._surroundings(connection)
            except psycopg.OperationalError as error:
                self._note(error)
                _roll_back(connection)

    def _surroundings(self, connection: psycopg.Connection[Row]) -> Surroundings:
        """Which tables of the sample are there; this writer's customer in the shop is created when absent."""
        accounts = tellers = 0
        customer: int | None = None
        writer, writers = self.surroundings.writer, self.surroundings.writers
        if has_pgbench(connection):
            query = (
                "SELECT (SELECT count(*) FROM public.pgbench_accounts), (SELECT count(*) FROM public.pgbench_tellers)"
            )
            accounts, tellers = connection.execute(query).fetchone() or (0, 0)
        if has_shop(connection):
            name = f"live writer {writer}"
            row = connection.execute("SELECT id FROM shop.customer WHERE name = %s", [name]).fetchone()
            if row is None:
                query = "INSERT INTO shop.customer (name) VALUES (%s) RETURNING id"
                row = connection.execute(query, [name]).fetchone()
            customer = row[0] if row else None
        connection.commit()
        return Surroundings(writer, writers, accounts, tellers, customer)


def _is_lost(connection: psycopg.Connection[Row], writer: int, token: int) -> bool:
    """Whether this transaction did not take place; afterwards it never can."""
    connection.execute(READ_BACK, [writer, token, LOST])
    connection.commit()
    # A repeated attempt finds the row that an earlier one left, hence the look at the operation.
    query = "SELECT operation FROM live.log WHERE writer = %s AND token = %s"
    row = connection.execute(query, [writer, token]).fetchone()
    connection.rollback()
    return row == (LOST,)


def _roll_back(connection: psycopg.Connection[Row]) -> bool:
    """Whether the server answered that the transaction is rolled back; the connection is closed when it did not."""
    try:
        if not connection.closed:
            connection.rollback()
            return True
    except psycopg.Error:
        connection.close()
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.live.process", description="One writer")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--writer", type=int, required=True)
    parser.add_argument("--writers", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="transactions a second")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--truncate-every", type=float, required=True, help="seconds, 0: never")
    options = parser.parse_args(arguments)
    writer = Writer(options.journal, options.writer, options.writers, options.truncate_every)

    def stop(*_: object) -> None:
        writer.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        writer.work(options.rate, options.seconds)
    except Stopped:
        pass
    finally:
        writer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
