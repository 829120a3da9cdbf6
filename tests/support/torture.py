# SPDX-License-Identifier: GPL-3.0-or-later
"""A database with at least one of every kind of object that PostgreSQL knows. The SQL is in `torture_sql/`.

It loads on PostgreSQL 12-18, by a superuser or by a provider's admin role, which leaves out what such a role cannot
make. Roles are made on the server: load it once for each sweep of a cluster.

A file is cut into sections by lines `--: CONDITION ...`; a section runs when each of its conditions holds, as one
simple query, which is one transaction. The conditions are `superuser`, `managed`, `icu`, `since=MAJOR`, `before=MAJOR`
and `extension=NAME` (available); a line without one ends the conditions.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

SQL_DIR = Path(__file__).parent / "torture_sql"
FILES: Sequence[str] = (
    "roles",
    "schemas",
    "types",
    "code",
    "tables",
    "partitions",
    "views",
    "triggers",
    "foreign",
    "names",
    "large_objects",
    "access",
    "comments",
)
_SECTION = re.compile(r"^--:(.*)\n", re.MULTILINE)

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Abilities:
    """What decides which sections run: `level` is the major version whose features may be used."""

    level: int
    superuser: bool
    icu: bool
    extensions: frozenset[str]

    def meets(self, condition: str) -> bool:
        """True when `condition` of a section holds."""
        name, equals, value = condition.partition("=")
        if equals:
            return {
                "since": lambda: self.level >= int(value),
                "before": lambda: self.level < int(value),
                "extension": lambda: value in self.extensions,
            }[name]()
        return {"superuser": self.superuser, "managed": not self.superuser, "icu": self.icu}[name]


def abilities(connection: Connection, *others: Connection, features_of: int | None = None) -> Abilities:
    """What can be loaded through `connection` and migrated to `others`: common extensions, ICU on every side."""
    sides = (connection, *others)
    (is_superuser,) = connection.execute("SELECT current_setting('is_superuser') = 'on'").fetchone() or (False,)
    offered = [
        {str(name) for (name,) in side.execute("SELECT name FROM pg_catalog.pg_available_extensions")} for side in sides
    ]
    if not is_superuser:
        offered.append(set() if connection.info.server_version < 130000 else _trusted(connection))
    # From 16 on one ICU collation is in the catalog even without ICU; this one is there with it only.
    has_icu = "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname = 'und-x-icu')"
    return Abilities(
        level=min(connection.info.server_version // 10000, features_of or sys.maxsize),
        superuser=bool(is_superuser),
        icu=all(side.execute(has_icu).fetchone() == (True,) for side in sides),
        extensions=frozenset.intersection(*map(frozenset, offered)),
    )


def _trusted(connection: Connection) -> set[str]:
    """The extensions that the owner of a database may create; 12 has no such thing."""
    query = "SELECT name FROM pg_catalog.pg_available_extension_versions WHERE trusted OR NOT superuser"
    return {str(name) for (name,) in connection.execute(query)}


def load(conninfo: str, *others: str, features_of: int | None = None, without: Sequence[str] = ()) -> Abilities:
    """Load the torture database into the empty database of `conninfo`, as the role that this logs in as.

    `others` are servers that it will be migrated to: what no server of theirs can hold (an extension, ICU) is left
    out. `features_of` limits it to what that major version knows, for a migration to an older server. `without` are
    files to leave out.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        opened = [psycopg.connect(other, autocommit=True) for other in others]
        able = abilities(connection, *opened, features_of=features_of)
        for other in opened:
            other.close()
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET client_min_messages = error")
        connection.execute("SET TimeZone = 'UTC'")
        for name in FILES:
            if name in without:
                continue
            text = (SQL_DIR / f"{name}.sql").read_text(encoding="utf-8")
            for conditions, section in sections(text):
                if all(able.meets(condition) for condition in conditions):
                    _run(connection, name, conditions, section)
        connection.execute("RESET ROLE")
    return able


def change(conninfo: str, number: int) -> None:
    """Write into many kinds of tables, as the application would; `number` is 1, 2, ..., another one each time."""
    text = (SQL_DIR / "changes.sql").read_text(encoding="utf-8").replace(":round", str(number))
    with psycopg.connect(conninfo, autocommit=True, options="-c standard_conforming_strings=on") as connection:
        connection.execute(text.encode("utf-8"))


def sections(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The sections of a file with their conditions, in order."""
    first, *rest = _SECTION.split(text)
    yield (), first
    for conditions, section in zip(rest[::2], rest[1::2], strict=True):
        yield tuple(conditions.split()), section


def _run(connection: Connection, name: str, conditions: Sequence[str], section: str) -> None:
    """Run one section: without parameters psycopg sends it as one simple query."""
    try:
        connection.execute(section.encode("utf-8"))
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 1)
        line = section[: position - 1].count("\n") + 1
        error.add_note(f"in torture_sql/{name}.sql, section {' '.join(conditions) or '(always)'}, line {line}")
        raise
