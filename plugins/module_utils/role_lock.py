# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""One migration at a time makes roles on a server: a lock in the maintenance database, which all of them share.

Advisory locks are per database, roles are per server. The lock is a help, not a condition: where the maintenance
database cannot be opened, or somebody holds the lock for too long, the work goes on, and repeats itself where it collides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .driver import psycopg
from .session import Session

# "serenrol" in ASCII, as a number.
KEY = 0x736572656E726F6C
PATIENCE = "60s"

# In a transaction, so that a pooler cannot leave the lock behind; the setting of the session bounds the wait.
_TAKE = """
BEGIN;
SELECT pg_catalog.set_config('lock_timeout', %(patience)s, false);
SELECT pg_catalog.pg_advisory_xact_lock(%(key)s)
"""


@contextmanager
def held(maintenance: Session | None) -> Iterator[bool]:
    """Hold the lock for the length of the block; False where it is not to be had.

    ``maintenance`` is a session in the maintenance database, None where that cannot be opened.
    """
    if maintenance is None:
        yield False
        return
    try:
        psycopg.ClientCursor(maintenance.connection).execute(_TAKE, {"patience": PATIENCE, "key": KEY})
        taken = True
    except psycopg.Error:
        taken = False
    yield taken
    with suppress(psycopg.Error):
        maintenance.connection.execute("COMMIT")
