# SPDX-License-Identifier: GPL-3.0-or-later
"""What a writer does: each operation is one transaction, which also says which rows it changes.

An operation reads the writer's own contents (what is committed), executes statements, and notes every change.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tests.support.live.journal import Change, Contents, Row
from tests.support.live.tables import scratch, scratch_child

MAX_ROWS = 600
FIRST_DAY = date(2025, 1, 20)
DAYS = 60


class RollBack(Exception):
    """Raised by an operation that wants its whole transaction rolled back."""


@dataclass(frozen=True)
class Surroundings:
    """What a writer shares with others: how many writers there are, the size of pgbench's tables, its customer.

    `accounts` is 0 where pgbench's tables are absent, `customer` is None where the shop is.
    """

    writer: int
    writers: int
    accounts: int = 0
    tellers: int = 0
    customer: int | None = None


class Work:
    """One transaction in the making: statements go to the server, changes into `changes`."""

    def __init__(
        self,
        connection: psycopg.Connection[Row],
        contents: Contents,
        surroundings: Surroundings,
        chance: random.Random,
    ) -> None:
        self.connection = connection
        self.contents = contents
        self.surroundings = surroundings
        self.writer = surroundings.writer
        self.chance = chance
        self.changes: list[Change] = []

    def run(self, query: LiteralString | sql.Composed, *parameters: Any) -> list[Row]:
        """Execute one statement; its rows, [] when it returns none."""
        cursor = self.connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description is not None else []

    def add(self, table: str, *row: Any) -> None:
        self.changes.append(Change("+", table, row))

    def remove(self, table: str, *row: Any) -> None:
        self.changes.append(Change("-", table, row))

    def replace(self, table: str, old: Row, *new: Any) -> None:
        self.remove(table, *old)
        self.add(table, *new)

    def touch(self, table: str, *row: Any) -> None:
        """Note the new values of a row that other writers leave alone; its first column is the key."""
        self.changes.append(Change("=", table, row))

    def clear(self, table: str) -> None:
        self.changes.append(Change("0", table))

    def any_row(self, table: str) -> Row | None:
        """One of the writer's committed rows at random, None when it has none."""
        rows = self.contents.of(table)
        return self.chance.choice(list(rows)) if rows else None

    def is_full(self, table: str) -> bool:
        return len(self.contents.of(table)) >= MAX_ROWS

    def text(self) -> str | None:
        """NULL, the empty string, or a short text with characters that need escaping somewhere."""
        choice = self.chance.randrange(8)
        return (None, "")[choice] if choice < 2 else f"note {self.chance.randrange(10**6)} 'q' \"d\" \\ ü \t\n|"

    def body(self) -> str | None:
        """NULL, a short text, or one of 4 to 60 kB that is stored out of line."""
        choice = self.chance.randrange(10)
        if choice == 0:
            return None
        return self.chance.randbytes(self.chance.randrange(2000, 30000) if choice > 7 else 20).hex()


def digest(body: str | None) -> str | None:
    """How a body appears in the journal."""
    return None if body is None else hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def partition_of(day: date) -> str:
    """The leaf partition of live.event that holds this day."""
    if day < date(2025, 2, 1):
        return "event_1"
    if day < date(2025, 3, 1):
        return "event_2_first" if day.day <= 2 else "event_2_rest"
    return "event_rest"


# account (id, name, amount, digest of body) and item (account_id, line, note)


def insert(work: Work) -> None:
    """One row with a key from a sequence."""
    if work.is_full("account"):
        return delete(work)
    body, name, amount = work.body(), f"name {work.chance.randrange(1000)}", _amount(work)
    query = "INSERT INTO live.account (writer, name, amount, body) VALUES (%s, %s, %s, %s) RETURNING id"
    ((key,),) = work.run(query, work.writer, name, amount, body)
    return work.add("account", key, name, str(amount), digest(body))


def insert_many(work: Work) -> None:
    """Several rows in one statement, in two tables with a foreign key between them."""
    if work.is_full("account"):
        return delete(work)
    query = """
        INSERT INTO live.account (writer, name, amount)
        SELECT %s, 'many ' || i, i
        FROM pg_catalog.generate_series(1, %s) AS i
        RETURNING id, name, amount::text
    """
    rows = work.run(query, work.writer, work.chance.randrange(2, 6))
    for row in rows:
        work.add("account", *row, None)
    keys = [row[0] for row in rows]
    query = """
        INSERT INTO live.item (account_id, line, writer, note)
        SELECT key, line, %s, 'line ' || line
        FROM pg_catalog.unnest(%s::bigint[]) AS key, pg_catalog.generate_series(1, 2) AS line
        RETURNING account_id, line, note
    """
    for row in work.run(query, work.writer, keys):
        work.add("item", *row)
    return None


def update(work: Work) -> None:
    """Plain columns; the body, which may be stored out of line, stays as it is."""
    row = work.any_row("account")
    if row is None:
        return insert(work)
    key, _old_name, _old_amount, body = row
    name, amount = f"changed {work.chance.randrange(1000)}", _amount(work)
    work.run("UPDATE live.account SET name = %s, amount = %s WHERE id = %s", name, amount, key)
    return work.replace("account", row, key, name, str(amount), body)


def update_key(work: Work) -> None:
    """The key itself; items follow by ON UPDATE CASCADE."""
    row = work.any_row("account")
    if row is None:
        return insert(work)
    query = "UPDATE live.account SET id = pg_catalog.nextval('live.account_id_seq') WHERE id = %s RETURNING id"
    ((new,),) = work.run(query, row[0])
    work.replace("account", row, new, *row[1:])
    for item in _items_of(work, row[0]):
        work.replace("item", item, new, *item[1:])
    return None


def delete(work: Work) -> None:
    """One row; its items follow by ON DELETE CASCADE."""
    row = work.any_row("account")
    if row is None:
        return insert(work)
    work.run("DELETE FROM live.account WHERE id = %s", row[0])
    work.remove("account", *row)
    for item in _items_of(work, row[0]):
        work.remove("item", *item)
    return None


def savepoint(work: Work) -> None:
    """Rows before and after a part that is rolled back; only the part is lost."""
    query = "INSERT INTO live.keyless (writer, value, note) VALUES (%s, %s, %s)"
    number = work.chance.randrange(100)
    work.run(query, work.writer, number, "before")
    work.run("SAVEPOINT part")
    work.run(query, work.writer, number, "must not arrive")
    work.run("UPDATE live.account SET name = 'must not arrive' WHERE writer = %s AND id %% 10 = 0", work.writer)
    work.run("ROLLBACK TO SAVEPOINT part")
    work.run(query, work.writer, number, "after")
    work.run("RELEASE SAVEPOINT part")
    work.add("keyless", number, "before")
    work.add("keyless", number, "after")


def roll_back(work: Work) -> None:
    """A whole transaction that never happened, with a large value in it."""
    query = "INSERT INTO live.account (writer, name, amount, body) VALUES (%s, 'must not arrive', 0, %s)"
    work.run(query, work.writer, work.chance.randbytes(3000).hex())
    work.run("DELETE FROM live.keyless WHERE writer = %s", work.writer)
    raise RollBack


# keyless (value, note), replica identity full, with equal rows


def keyless(work: Work) -> None:
    """Insert, update or delete exactly one of possibly equal rows."""
    row = work.any_row("keyless")
    choice = work.chance.randrange(4)
    if row is None or (choice < 2 and not work.is_full("keyless")):
        row = (work.chance.randrange(20), work.text())
        work.run("INSERT INTO live.keyless (writer, value, note) VALUES (%s, %s, %s)", work.writer, *row)
        return work.add("keyless", *row)
    one = """
        (SELECT ctid FROM live.keyless WHERE writer = %s AND value = %s AND note IS NOT DISTINCT FROM %s::text LIMIT 1)
    """
    if choice == 2:
        new = work.chance.randrange(20)
        work.run("UPDATE live.keyless SET value = %s WHERE ctid = " + one, new, work.writer, *row)
        return work.replace("keyless", row, new, row[1])
    work.run("DELETE FROM live.keyless WHERE ctid = " + one, work.writer, *row)
    return work.remove("keyless", *row)


# coded (code, value), replica identity is a unique index


def coded(work: Work) -> None:
    """Insert, update (sometimes of the identity itself) or delete one row."""
    row = work.any_row("coded")
    choice = work.chance.randrange(4)
    new = (f"code {work.chance.randrange(10**9)} 'x'", work.chance.randrange(100))
    if row is None or (choice == 0 and not work.is_full("coded")):
        work.run("INSERT INTO live.coded (writer, code, value) VALUES (%s, %s, %s)", work.writer, *new)
        return work.add("coded", *new)
    if choice == 3:
        work.run("DELETE FROM live.coded WHERE writer = %s AND code = %s", work.writer, row[0])
        return work.remove("coded", *row)
    code = new[0] if choice == 1 else row[0]
    query = "UPDATE live.coded SET code = %s, value = %s WHERE writer = %s AND code = %s"
    work.run(query, code, new[1], work.writer, row[0])
    return work.replace("coded", row, code, new[1])


# event (id, day, note, partition)


def partitioned(work: Work) -> None:
    """Insert, move to another day (mostly another partition) or delete, through the partitioned table."""
    row = work.any_row("event")
    choice = work.chance.randrange(4)
    day = FIRST_DAY + timedelta(days=work.chance.randrange(DAYS))
    if row is None or (choice < 2 and not work.is_full("event")):
        note = work.text()
        query = "INSERT INTO live.event (day, writer, note) VALUES (%s, %s, %s) RETURNING id"
        ((key,),) = work.run(query, day, work.writer, note)
        return work.add("event", key, day.isoformat(), note, partition_of(day))
    if choice == 2:
        query = "UPDATE live.event SET day = %s WHERE id = %s AND day = %s::date"
        work.run(query, day, row[0], row[1])
        return work.replace("event", row, row[0], day.isoformat(), row[2], partition_of(day))
    work.run("DELETE FROM live.event WHERE id = %s AND day = %s::date", row[0], row[1])
    return work.remove("event", *row)


# parent (id, value) and child (id, value, extra), each without the other's rows


def inherited(work: Work) -> None:
    """Insert, update ONLY or delete ONLY in the parent or in the child."""
    is_child = work.chance.randrange(2) == 1
    table = "child" if is_child else "parent"
    row = work.any_row(table)
    choice = work.chance.randrange(4)
    value = work.chance.randrange(1000)
    if row is None or (choice < 2 and not work.is_full(table)):
        if is_child:
            extra = work.text()
            query = "INSERT INTO live.child (writer, value, extra) VALUES (%s, %s, %s) RETURNING id"
            ((key,),) = work.run(query, work.writer, value, extra)
            return work.add("child", key, value, extra)
        ((key,),) = work.run("INSERT INTO live.parent (writer, value) VALUES (%s, %s) RETURNING id", work.writer, value)
        return work.add("parent", key, value)
    if choice == 2:
        # Through the parent, without ONLY, a child's row is found as well.
        work.run("UPDATE live.parent SET value = %s WHERE id = %s", value, row[0])
        return work.replace(table, row, row[0], value, *row[2:])
    name = sql.Identifier("live", table)
    work.run(sql.SQL("DELETE FROM ONLY {} WHERE id = %s").format(name), row[0])
    return work.remove(table, *row)


# scratch (id, note) and scratch_child (id, scratch_id), this writer's own, truncated now and then


def fill_scratch(work: Work) -> None:
    """Two rows with a foreign key between them, keys from identity columns."""
    note = work.text()
    query = sql.SQL("INSERT INTO {} (note) VALUES (%s) RETURNING id").format(scratch(work.writer))
    ((key,),) = work.run(query, note)
    work.add("scratch", key, note)
    query = sql.SQL("INSERT INTO {} (scratch_id) VALUES (%s) RETURNING id").format(scratch_child(work.writer))
    ((child,),) = work.run(query, key)
    work.add("scratch_child", child, key)


def truncate(work: Work) -> None:
    """Empty both scratch tables, then write one new row in the same transaction."""
    tables = sql.SQL(", ").join((scratch(work.writer), scratch_child(work.writer)))
    work.run(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))
    work.clear("scratch")
    work.clear("scratch_child")
    fill_scratch(work)


# Tables of the sample


def pgbench(work: Work) -> None:
    """pgbench's TPC-B transaction on accounts that only this writer uses."""
    shared = work.surroundings
    account = work.chance.randrange(shared.accounts // shared.writers) * shared.writers + work.writer + 1
    teller = work.chance.randrange(shared.tellers) + 1
    branch = (teller - 1) // 10 + 1
    delta = work.chance.randrange(-5000, 5001)
    query = "UPDATE public.pgbench_accounts SET abalance = abalance + %s WHERE aid = %s RETURNING abalance"
    ((balance,),) = work.run(query, delta, account)
    work.run("UPDATE public.pgbench_tellers SET tbalance = tbalance + %s WHERE tid = %s", delta, teller)
    work.run("UPDATE public.pgbench_branches SET bbalance = bbalance + %s WHERE bid = %s", delta, branch)
    query = """
        INSERT INTO public.pgbench_history (tid, bid, aid, delta, mtime, filler)
        VALUES (%s, %s, %s, %s, CURRENT_TIMESTAMP, %s)
    """
    work.run(query, teller, branch, account, delta, f"live {work.writer}")
    work.touch("pgbench_accounts", account, balance)
    work.add("pgbench_history", teller, branch, account, delta)


def shop(work: Work) -> None:
    """An order with lines, or changes to its lines; triggers keep the order's total and write the audit."""
    row = work.any_row("order_line")
    if row is None or work.chance.randrange(2):
        query = 'INSERT INTO shop."order" (customer_id) VALUES (%s) RETURNING id'
        ((order,),) = work.run(query, work.surroundings.customer)
        amounts = [_amount(work) for _number in range(work.chance.randrange(1, 4))]
        for line, amount in enumerate(amounts):
            query = """
                INSERT INTO shop.order_line (order_id, line, product_id, quantity, amount)
                VALUES (%s, %s, (SELECT min(id) FROM shop.product), 1, %s)
            """
            work.run(query, order, line, amount)
            work.add("order_line", order, line, str(amount))
            work.add("audit", "INSERT", order, str(amount))
        return work.touch("order", order, str(sum(amounts)))
    order, line, amount = row[0], row[1], _amount(work)
    query = "UPDATE shop.order_line SET amount = %s WHERE order_id = %s AND line = %s"
    work.run(query, amount, order, line)
    work.replace("order_line", row, order, line, str(amount))
    work.add("audit", "UPDATE", order, str(amount))
    total = Decimal(work.contents.touched["order"][order][1]) - Decimal(row[2]) + amount
    return work.touch("order", order, str(total))


Operation = Callable[[Work], None]

# What is done how often; truncate comes by the clock.
OPERATIONS: Sequence[tuple[Operation, int]] = (
    (insert, 12),
    (insert_many, 4),
    (update, 14),
    (update_key, 6),
    (delete, 8),
    (savepoint, 3),
    (roll_back, 3),
    (keyless, 10),
    (coded, 10),
    (partitioned, 12),
    (inherited, 10),
    (fill_scratch, 6),
)


def choices(surroundings: Surroundings) -> tuple[list[Operation], list[int]]:
    """The operations that are possible here, and how often each is done."""
    chosen = list(OPERATIONS)
    if surroundings.accounts:
        chosen.append((pgbench, 12))
    if surroundings.customer is not None:
        chosen.append((shop, 6))
    return [operation for operation, _weight in chosen], [weight for _operation, weight in chosen]


def _amount(work: Work) -> Decimal:
    return Decimal(work.chance.randrange(1, 10**6)).scaleb(-2)


def _items_of(work: Work, account: int) -> list[Row]:
    return [item for item in work.contents.of("item") if item[0] == account]
