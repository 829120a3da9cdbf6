# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the writers' key spaces hold exactly the rows that follow from their journals? Asked of any side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.support.live import journal as journals
from tests.support.live.journal import LOST, Contents, Row, Transaction
from tests.support.live.tables import has_pgbench, has_shop, scratch, scratch_child

MAX_SHOWN = 5

Connection = psycopg.Connection[Row]

# What each table holds in a writer's key space, in the shape in which the journal tells it.
QUERIES: Mapping[str, str] = {
    "log": "SELECT token, operation FROM live.log WHERE writer = %(writer)s",
    "account": "SELECT id, name, amount::text, pg_catalog.md5(body) FROM live.account WHERE writer = %(writer)s",
    "item": "SELECT account_id, line, note FROM live.item WHERE writer = %(writer)s",
    "keyless": "SELECT value, note FROM live.keyless WHERE writer = %(writer)s",
    "coded": "SELECT code, value FROM live.coded WHERE writer = %(writer)s",
    "event": """
        SELECT e.id, pg_catalog.to_char(e.day, 'YYYY-MM-DD'), e.note, c.relname::text
        FROM live.event AS e
        JOIN pg_catalog.pg_class AS c ON c.oid = e.tableoid
        WHERE e.writer = %(writer)s
    """,
    "parent": "SELECT id, value FROM ONLY live.parent WHERE writer = %(writer)s",
    "child": "SELECT id, value, extra FROM ONLY live.child WHERE writer = %(writer)s",
}
SHOP_QUERIES: Mapping[str, str] = {
    "order_line": """
        SELECT l.order_id, l.line, l.amount::text
        FROM shop.order_line AS l
        JOIN shop."order" AS o ON o.id = l.order_id
        JOIN shop.customer AS c ON c.id = o.customer_id
        WHERE c.name = %(customer)s
    """,
    "audit": """
        SELECT a.what, a.order_id, a.amount::text
        FROM shop.audit AS a
        JOIN shop."order" AS o ON o.id = a.order_id
        JOIN shop.customer AS c ON c.id = o.customer_id
        WHERE c.name = %(customer)s
    """,
}
ORDERS = """
    SELECT o.id, o.total::text
    FROM shop."order" AS o
    JOIN shop.customer AS c ON c.id = o.customer_id
    WHERE c.name = %(customer)s
"""
HISTORY = "SELECT tid, bid, aid, delta FROM public.pgbench_history WHERE filler = %(filler)s"
BALANCES = "SELECT aid, abalance FROM public.pgbench_accounts WHERE aid = ANY (%(accounts)s)"
SUMS = """
    SELECT
        (SELECT COALESCE(sum(abalance), 0) FROM public.pgbench_accounts),
        (SELECT COALESCE(sum(tbalance), 0) FROM public.pgbench_tellers),
        (SELECT COALESCE(sum(bbalance), 0) FROM public.pgbench_branches),
        (SELECT COALESCE(sum(delta), 0) FROM public.pgbench_history)
"""
TOKEN = "SELECT operation FROM live.log WHERE writer = %s AND token = %s"


def problems(conninfo: str, journal_dir: Path, processes: int) -> list[str]:
    """One line for each deviation of the database from the journals, [] when every row is there exactly once.

    The writers must have stopped and, on a replica, their changes must have arrived.
    """
    found: list[str] = []
    with psycopg.connect(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for writer in range(processes):
            transactions = journals.read(journals.path_of(journal_dir, writer))
            expected = journals.contents(_settled(connection, writer, transactions))
            for name, rows, actual in _tables(connection, writer, expected):
                found += [f"writer {writer}, {name}: {line}" for line in _difference(rows, actual)]
        if has_pgbench(connection):
            sums = connection.execute(SUMS).fetchone() or ()
            if len(set(sums)) != 1:
                found.append(f"pgbench: accounts, tellers, branches and history do not have the same sum: {sums}")
        connection.rollback()
    return found


def row_counts(journal_dir: Path, processes: int) -> dict[str, int]:
    """How many rows the journals expect by table, all writers together."""
    counts: Counter[str] = Counter()
    for writer in range(processes):
        expected = journals.contents(journals.read(journals.path_of(journal_dir, writer)))
        for table, rows in expected.rows.items():
            counts[table] += rows.total()
    return dict(counts)


def _settled(connection: Connection, writer: int, transactions: list[Transaction]) -> Iterator[Transaction]:
    """The transactions, with the outcome of one that its killed writer could not note read from the database."""
    for transaction in transactions:
        outcome = transaction.outcome
        if outcome is None:
            row = connection.execute(TOKEN, [writer, transaction.token]).fetchone()
            outcome = "aborted" if row is None else LOST if row == (LOST,) else "committed"
        yield Transaction(transaction.token, transaction.operation, transaction.changes, outcome)


def _tables(
    connection: Connection, writer: int, expected: Contents
) -> Iterator[tuple[str, Counter[Row], Counter[Row]]]:
    """Name, expected rows and actual rows of everything this writer has written."""
    parameters = {"writer": writer, "customer": f"live writer {writer}", "filler": f"live {writer}"}

    def rows(query: str | sql.Composed, **more: Any) -> Counter[Row]:
        return Counter(connection.execute(query, {**parameters, **more}).fetchall())

    for table, query in QUERIES.items():
        yield table, expected.of(table), rows(query)
    own = sql.SQL("SELECT id, note FROM {}").format(scratch(writer))
    yield "scratch", expected.of("scratch"), rows(own)
    own = sql.SQL("SELECT id, scratch_id FROM {}").format(scratch_child(writer))
    yield "scratch_child", expected.of("scratch_child"), rows(own)
    if has_shop(connection):
        for table, query in SHOP_QUERIES.items():
            yield table, expected.of(table), rows(query)
        orders = expected.touched.get("order", {})
        yield "order", Counter(orders.values()), rows(ORDERS)
    if has_pgbench(connection):
        yield "pgbench_history", expected.of("pgbench_history"), rows(HISTORY)
        accounts = expected.touched.get("pgbench_accounts", {})
        yield "pgbench_accounts", Counter(accounts.values()), rows(BALANCES, accounts=list(accounts))


def _difference(expected: Counter[Row], actual: Counter[Row]) -> Iterator[str]:
    for what, surplus in (("missing", expected - actual), ("unexpected", actual - expected)):
        for row, count in list(surplus.items())[:MAX_SHOWN]:
            yield f"{what} {count} x {row}"
        if len(surplus) > MAX_SHOWN:
            yield f"{what} {len(surplus) - MAX_SHOWN} more rows"
