# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""An open connection with our settings, which remembers the statements that change something.

Here belongs how we talk to a server; what we say belongs to the floors above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

from .driver import Row, dict_row, psycopg, sql
from .endpoint import Endpoint
from .errors import MigrationError, Redactor

if TYPE_CHECKING:
    # ansible-test reads these as Python 3.8 would, without | between types.
    Query = Union[str, sql.SQL, sql.Composed]  # noqa: UP007
    Params = Union[Sequence[Any], Mapping[str, Any], None]  # noqa: UP007

LOCK_TIMEOUT = "30s"
# Settings a role or database may carry which would break a long migration, or change what a value looks like as text
# on its way from one server to the other. transaction_timeout exists from 17 on.
_SETTINGS = """
SELECT pg_catalog.set_config(s.name, w.value, false)
  FROM (VALUES ('search_path', ''), ('statement_timeout', '0'), ('lock_timeout', %(lock_timeout)s),
               ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
               ('idle_session_timeout', '0'), ('row_security', 'off'), ('DateStyle', 'ISO, YMD'),
               ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('extra_float_digits', '3'),
               ('quote_all_identifiers', 'off'),
               ('bytea_output', 'hex'), ('lc_monetary', 'C'), ('xmloption', 'content'),
               ('standard_conforming_strings', 'on'),
               ('array_nulls', 'on'), ('default_transaction_isolation', 'read committed'),
               ('default_transaction_deferrable', 'off'),
               ('default_transaction_read_only', %(read_only)s)) AS w(name, value)
  JOIN pg_catalog.pg_settings AS s ON s.name = w.name
"""


@dataclass
class StatementLog:
    """The statements of one module run that change something, redacted, in order."""

    redactor: Redactor
    entries: list[str] = field(default_factory=list)

    def add(self, side: str, statement: str) -> None:
        """Append one statement, marked with its side."""
        self.entries.append(f"{side}: {self.redactor.text(' '.join(statement.split()))}")


class Session:
    """A psycopg connection in autocommit mode; a context manager that closes it."""

    def __init__(self, endpoint: Endpoint, connection: psycopg.Connection[Row], log: StatementLog) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.log = log

    @classmethod
    def open(
        cls, endpoint: Endpoint, log: StatementLog, *, purpose: str, read_only: bool = False, plain: bool = False
    ) -> Session:
        """Connect, or raise ``cannot_connect``.

        ``purpose`` ends the application name; ``read_only`` makes every transaction read-only; ``plain`` leaves the
        session's settings alone (a probe wants to see the server as it is).
        """
        params = endpoint.connect_params(f"seren_migrator {purpose}"[:63])
        try:
            connection = psycopg.connect(autocommit=True, row_factory=dict_row, **params)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise cannot_connect(endpoint, error, log.redactor) from None
        session = cls(endpoint, connection, log)
        if not plain:
            connection.execute(_SETTINGS, {"lock_timeout": LOCK_TIMEOUT, "read_only": "on" if read_only else "off"})
        return session

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.connection.close()

    @property
    def version(self) -> int:
        """Server version as a number, for instance 150018."""
        return self.connection.info.server_version

    @property
    def major(self) -> int:
        """Major version of the server, for instance 15."""
        return self.version // 10000

    def rows(self, query: Query, params: Params = None) -> list[Row]:
        """Run a query that changes nothing; return all of its rows as dictionaries."""
        return self.connection.execute(query, params).fetchall()

    def row(self, query: Query, params: Params = None) -> Row | None:
        """Run a query that changes nothing; return its first row, or None."""
        return self.connection.execute(query, params).fetchone()

    def value(self, query: Query, params: Params = None) -> Any:
        """Run a query that changes nothing; return the first column of its first row, or None without a row."""
        row = self.row(query, params)
        return None if row is None else next(iter(row.values()))

    def rows_of(self, *queries: str, params: Params = None) -> list[list[Row]]:
        """Run queries that change nothing in one round trip; return the rows of each. ``params`` are for all of them."""
        # Without parameters of the protocol several statements fit into one string.
        cursor = psycopg.ClientCursor(self.connection)
        cursor.execute("\n;\n".join(queries), params)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
        return found

    def execute(self, statement: Query, params: Params = None, *, shown: Query | None = None) -> None:
        """Run a statement that changes something, and remember it, or ``shown`` where it holds a secret."""
        self.log.add(self.endpoint.side, self.text(statement if shown is None else shown, params))
        self.connection.execute(statement, params)

    def execute_together(self, *statements: Query) -> None:
        """Run statements that change something in one round trip, all of them or none, and remember each."""
        texts = [self.text(statement) for statement in statements]
        for text in texts:
            self.log.add(self.endpoint.side, text)
        self.connection.execute(sql.SQL(";\n").join(map(sql.SQL, texts)))

    def text(self, statement: Query, params: Params = None) -> str:
        """Return a statement as text, with its parameters in place."""
        if params:
            return psycopg.ClientCursor(self.connection).mogrify(statement, params)
        return statement if isinstance(statement, str) else statement.as_string(self.connection)

    def terminate(self, pid: int) -> None:
        """End another session of this server; one of another role may refuse, and may still end by itself."""
        with suppress(psycopg.errors.InsufficientPrivilege):
            self.value("SELECT pg_catalog.pg_terminate_backend(%(pid)s) AS ended", {"pid": pid})

    def rename(self, application_name: str) -> None:
        """Give this session another application_name."""
        self.connection.execute("SELECT pg_catalog.set_config('application_name', %s, false)", (application_name,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block in one transaction."""
        with self.connection.transaction():
            yield


def cannot_connect(endpoint: Endpoint, error: Exception, redactor: Redactor) -> MigrationError:
    """Return the error for a connection that failed."""
    return MigrationError(
        "cannot_connect",
        f"Cannot connect to the {endpoint.label} as {endpoint.user or 'the default role'}: "
        f"{redactor.text(str(error)).strip()}",
        "Check host, port, user, password and sslmode, that the server listens there, and that its pg_hba.conf or "
        "access list admits the machine on which this module runs.",
        {
            "side": endpoint.side,
            "sqlstate": getattr(error, "sqlstate", None),
            "timed_out": isinstance(error, psycopg.errors.ConnectionTimeout),
        },
    )


@contextmanager
def translated(redactor: Redactor) -> Iterator[None]:
    """Turn a psycopg error that no one expected into a redacted ``database_error``."""
    try:
        yield
    except psycopg.Error as error:
        diag = error.diag
        parts = [diag.message_primary or str(error).strip(), diag.message_detail, diag.message_hint, diag.context]
        message = redactor.text(" ".join(part for part in parts if part))
        raise MigrationError(
            "database_error",
            f"A server refused a statement: {message}" + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""),
            "The message names the object and the cause; mend it and run the same command again.",
            {"sqlstate": error.sqlstate},
        ) from None
