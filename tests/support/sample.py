# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample database: pgbench's tables and a shop with what real databases contain. The SQL is in `sample_sql/`.

    python -m tests.support.sample load --url URL --scale N

scale 1 is about 20 MB and grows linearly (50 is about 1 GB). It loads on PostgreSQL 12-18 and is the same on every
server for the same scale. Outside the database it creates its roles only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.support.connection_argument import connection_string

SQL_DIR = Path(__file__).parent / "sample_sql"

# In this order; each file runs where the feature level is at least the number.
PARTS: Sequence[tuple[str, int]] = (
    ("roles", 12),
    ("pgbench", 12),
    ("types", 12),
    ("tables", 12),
    ("partitions", 12),
    ("data", 12),
    ("special_values", 12),
    ("code", 12),
    ("hostile_names", 12),
    ("small_tables", 12),
    ("since_14", 14),
    ("since_15", 15),
    ("since_17", 17),
    ("since_18", 18),
    ("access", 12),
)
COMMENTS = "comments"


def load(
    conninfo: str,
    scale: int = 1,
    *,
    features_of: int | None = None,
    large_objects: bool = False,
    unlogged: bool = False,
    forced_row_security: bool = False,
) -> None:
    """Load the sample into the empty database of `conninfo` as one transaction for each part.

    `features_of` limits it to what that major version knows, for a migration to an older server; by default it holds
    what the server itself knows. The other options add what logical replication cannot carry, or stumbles over.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        level = min(connection.info.server_version // 10000, features_of or sys.maxsize)
        connection.execute("SELECT pg_catalog.set_config('sample.scale', %s, false)", [str(scale)])
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET TimeZone = 'UTC'")
        options = {
            "option_large_objects": large_objects,
            "option_unlogged": unlogged,
            "option_forced_row_security": forced_row_security,
        }
        parts = [name for name, since in PARTS if level >= since]
        for name in (*parts, *(name for name, is_wanted in options.items() if is_wanted), COMMENTS):
            _run(connection, name)
        if connection.info.server_version >= 180000:
            # From 18 on a published table with a generated column in its full identity refuses UPDATE and DELETE.
            connection.execute("ALTER TABLE shop.measurement DROP COLUMN doubled")
        connection.execute("ANALYZE")


def _run(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """Run one file: without parameters psycopg sends it as one simple query, which is one transaction."""
    text = (SQL_DIR / f"{name}.sql").read_text(encoding="utf-8")
    try:
        connection.execute(text.encode("utf-8"))
    except psycopg.Error as error:
        error.add_note(f"in sample_sql/{name}.sql")
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.sample", description="Load the sample database")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("load")
    command.add_argument("--url", type=connection_string, required=True, help="an empty database: URL or @FILE")
    command.add_argument("--scale", type=int, default=1, help="1 is about 20 MB")
    command.add_argument("--features-of", type=int, metavar="MAJOR", help="use nothing newer than this version knows")
    command.add_argument("--large-objects", action="store_true")
    command.add_argument("--unlogged", action="store_true")
    command.add_argument("--forced-row-security", action="store_true")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    load(
        options.url,
        options.scale,
        features_of=options.features_of,
        large_objects=options.large_objects,
        unlogged=options.unlogged,
        forced_row_security=options.forced_row_security,
    )
    print(f"loaded the sample at scale {options.scale} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
