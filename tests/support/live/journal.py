# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer's journal: what each transaction would change, written before COMMIT, and its outcome, written after.

The rows that must exist follow from it alone: the changes of all acknowledged transactions, in order.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

Row = tuple[Any, ...]
LOST = "lost"


@dataclass(frozen=True)
class Change:
    """One row added (`+`) or removed (`-`), a table emptied (`0`), or a shared row's new values by key (`=`)."""

    kind: str
    table: str
    row: Row = ()

    def as_list(self) -> list[Any]:
        return [self.kind, self.table, list(self.row)]


@dataclass
class Contents:
    """The rows of one writer's key space: multisets by table, and for shared tables the values of touched keys."""

    rows: dict[str, Counter[Row]] = field(default_factory=dict)
    touched: dict[str, dict[Any, Row]] = field(default_factory=dict)

    def of(self, table: str) -> Counter[Row]:
        return self.rows.setdefault(table, Counter())

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry out the changes of one committed transaction."""
        for change in changes:
            rows = self.of(change.table)
            if change.kind == "+":
                rows[change.row] += 1
            elif change.kind == "-":
                if rows[change.row] < 1:
                    raise ValueError(f"the journal removes a row of {change.table} that is not there: {change.row}")
                rows[change.row] -= 1
                if not rows[change.row]:
                    del rows[change.row]
            elif change.kind == "0":
                rows.clear()
            else:
                self.touched.setdefault(change.table, {})[change.row[0]] = change.row


@dataclass(frozen=True)
class Transaction:
    """One transaction as the journal tells it.

    `outcome` is `committed`, `aborted`, `lost` (a commit whose answer was lost and which, read back, did not happen)
    or None when nobody knows yet.
    """

    token: int
    operation: str
    changes: tuple[Change, ...]
    outcome: str | None


class Journal:
    """Appends to one writer's file. Every line reaches the operating system before the writer goes on."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")

    def intend(self, token: int, operation: str, changes: Iterable[Change]) -> None:
        """Before COMMIT."""
        self._write({"token": token, "operation": operation, "changes": [change.as_list() for change in changes]})

    def settle(self, token: int, outcome: str) -> None:
        """After COMMIT was answered, or after reading back what became of it."""
        self._write({"token": token, "outcome": outcome})

    def close(self) -> None:
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n")
        self._file.flush()


def path_of(journal_dir: Path, writer: int) -> Path:
    return journal_dir / f"writer-{writer}.jsonl"


def read(path: Path) -> list[Transaction]:
    """The transactions of a journal in order. A last line cut by a crash counts as not written."""
    transactions: dict[int, Transaction] = {}
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                break
            entry = json.loads(line)
            token = entry["token"]
            if "outcome" in entry:
                known = transactions[token]
                transactions[token] = Transaction(token, known.operation, known.changes, entry["outcome"])
            else:
                changes = tuple(Change(kind, table, tuple(row)) for kind, table, row in entry["changes"])
                transactions[token] = Transaction(token, entry["operation"], changes, None)
    return list(transactions.values())


def contents(transactions: Iterable[Transaction]) -> Contents:
    """The rows that the committed ones of `transactions` leave behind."""
    result = Contents()
    for transaction in transactions:
        if transaction.outcome == "committed":
            result.apply(transaction.changes)
        elif transaction.outcome == LOST:
            result.apply(lost(transaction.token))
    return result


def lost(token: int) -> tuple[Change, ...]:
    """What reading back leaves in the writers' log when the transaction `token` did not happen."""
    return (Change("+", "log", (token, LOST)),)


def repair(path: Path) -> None:
    """Cut a last line that a crash left unfinished, so that appending is safe."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
