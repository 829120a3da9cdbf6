# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The statements of a repair as a script for psql, for those who look at each before they run it. It holds values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..driver import psycopg, sql
from .difference_file import PrivateFile
from .naming import Difference
from .pairing import Unit
from .repair import Written
from .repair_ground import Ground
from .snapshots import SETTINGS

_HEAD = """\
-- Repairs the rows of the target that were proven to differ from the source when this was written.
-- Run it on the target soon, with psql -X -v ON_ERROR_STOP=1 -f FILE, and verify again. A statement that finds its row changed does nothing.
SET client_encoding TO 'UTF8';
"""
_SETTINGS_IN_ONE_ROW = "\n".join(("SELECT pg_catalog.count(s.set_config) AS settings FROM (", SETTINGS, ") AS s;\n"))


def comment(text: str) -> str:
    """Return text as a comment of one line, whatever it holds."""
    return "-- " + " ".join("".join(c if c.isprintable() else " " for c in text).split())


class Script(PrivateFile):
    """A script of mode 0600 that appears when all of it is written."""

    def __init__(self, path: str) -> None:
        super().__init__("repair_sql_path", path)
        self.statements = 0

    def __enter__(self) -> Script:
        super().__enter__()
        self.text.write(_HEAD)
        return self

    @contextmanager
    def table(self, unit: Unit, ground: Ground) -> Iterator[None]:
        """Write what stands around the statements of one table: a transaction with the settings that they were made for."""
        self.text.write(f"\n{comment(unit.qualified)}\nBEGIN;\n")
        self.text.write(_SETTINGS_IN_ONE_ROW)
        if ground.needs_replica:
            self.text.write(f"{comment('Its triggers and foreign keys must not fire; a superuser may do this.')}\n")
            self.text.write("SET LOCAL session_replication_role TO replica;\n")
        yield
        self.text.write("COMMIT;\n")

    def add(
        self, difference: Difference, written: Iterable[Written], connection: psycopg.Connection[dict[str, object]]
    ) -> None:
        """Write the statements of one difference."""
        names = ", ".join(f"{name} = {text}" for name, text in difference.key.items()) or "no key"
        columns = f", {', '.join(difference.columns)}" if difference.columns else ""
        self.text.write(f"\n{comment(f'{difference.kind}: {names}{columns}')}\n")
        for each in written:
            self.text.write(sql.SQL("{};\n").format(each.statement).as_string(connection))
            self.statements += 1
