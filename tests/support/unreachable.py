# SPDX-License-Identifier: GPL-3.0-or-later
"""The same database under an address or a role that does not work: what the product is told, while the test still reaches it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.cluster import HOST
from tests.support.fixtures import Database


@dataclass(frozen=True)
class Altered(Database):
    """A database whose `params` differ in some libpq keywords."""

    changes: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def params(self) -> dict[str, Any]:
        return {**super().params, **dict(self.changes)}


def altered(database: Database, **changes: Any) -> Altered:
    """The database, reached with other libpq keywords."""
    return Altered(database.cluster, database.name, tuple(changes.items()))


@contextmanager
def refusing(database: Database) -> Iterator[Altered]:
    """The database behind a port that refuses every connection."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # bound and never listening: nobody else can take the port
        yield altered(database, port=taken.getsockname()[1])
