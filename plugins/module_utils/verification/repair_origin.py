# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""A replication origin for what a repair writes, so that a stream from the target back to the source does not send it.

Where our role may not use origins, or none is free, the repair goes on without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..driver import psycopg
from ..session import Session

_CREATE = """
SELECT pg_catalog.pg_replication_origin_create(%(name)s)
 WHERE pg_catalog.pg_replication_origin_oid(%(name)s) IS NULL
"""
_SETUP = "SELECT pg_catalog.pg_replication_origin_session_setup(%(name)s)"
_RESET = "SELECT pg_catalog.pg_replication_origin_session_reset()"
_DROP = """
SELECT pg_catalog.pg_replication_origin_drop(%(name)s)
 WHERE pg_catalog.pg_replication_origin_oid(%(name)s) IS NOT NULL
"""


@contextmanager
def origin(target: Session, migration: str) -> Iterator[bool]:
    """Give what the session writes in the block an origin of its own; yields whether it has one.

    It is dropped afterwards. One that a killed run has left is used again, and dropped then.
    """
    name = {"name": f"seren_migrator_repair_{migration}"}
    has_one = True
    try:
        target.connection.execute(_CREATE, name)
        target.connection.execute(_SETUP, name)
    except psycopg.Error:
        if target.connection.closed:
            raise
        has_one = False
    try:
        yield has_one
    finally:
        with suppress(psycopg.Error):
            if has_one:
                target.connection.execute(_RESET)
            target.connection.execute(_DROP, name)
