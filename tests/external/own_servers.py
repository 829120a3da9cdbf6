# SPDX-License-Identifier: GPL-3.0-or-later
"""Your own two servers, as the environment names them: how playbooks run against them, and what exists on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support import playbooks
from tests.support.binaries import client_dir
from tests.support.playbooks import Played

SOURCE_VARIABLE = "TEST_SOURCE_URL"
TARGET_VARIABLE = "TEST_TARGET_URL"
CLIENTS_VARIABLE = "TEST_CLIENT_BIN_DIR"
MORE_VARIABLE = "TEST_VARIABLES_FILE"
# Not the default name, so that a migration that is going on between the two is left alone.
MIGRATION_NAME = "external_test"
CONNECT_TIMEOUT_S = 20

OBJECTS = """
    SELECT 'database', datname::text FROM pg_catalog.pg_database
    UNION ALL SELECT 'role', rolname::text FROM pg_catalog.pg_roles
    UNION ALL SELECT 'publication', pubname::text FROM pg_catalog.pg_publication
    UNION ALL SELECT 'slot', slot_name::text FROM pg_catalog.pg_replication_slots WHERE NOT temporary
    UNION ALL SELECT 'subscription', subname::text FROM pg_catalog.pg_subscription
    UNION ALL SELECT 'schema', nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT 'relation', pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_'
"""


@dataclass(frozen=True)
class Pair:
    """The connection strings are secret and are not shown when a test fails."""

    source_url: str = field(repr=False)
    target_url: str = field(repr=False)
    client_bin_dir: str
    more_file: str | None = None

    def run(self, playbook: str, *arguments: str) -> Played:
        """Run `seren.migrator.<playbook>` with its output on the terminal."""
        # What the user's file says wins.
        more = ("-e", f"@{Path(self.more_file).resolve()}") if self.more_file else ()
        return playbooks.show(playbook, self._variables(), *more, *arguments)

    def _variables(self) -> dict[str, Any]:
        return {
            "source_url": self.source_url,
            "target_url": self.target_url,
            "migration_name": MIGRATION_NAME,
            "migrate_client_bin_dir": self.client_bin_dir,
        }

    def objects(self) -> dict[str, set[tuple[str, str]]]:
        """What exists on each side, by kind and name; a database that cannot be reached has nothing."""
        return {"source": _objects(self.source_url), "target": _objects(self.target_url)}


def from_environment(environment: Mapping[str, str]) -> Pair | None:
    """The pair that the environment names, None when it names none."""
    source, target = environment.get(SOURCE_VARIABLE), environment.get(TARGET_VARIABLE)
    if not source or not target:
        return None
    clients = environment.get(CLIENTS_VARIABLE) or str(client_dir(max(_major(source), _major(target))))
    return Pair(source, target, clients, environment.get(MORE_VARIABLE) or None)


def _major(url: str) -> int:
    """The server's major version; the target's database may not exist yet."""
    try:
        connection = psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError:
        connection = psycopg.connect(make_conninfo(url, dbname="postgres"), connect_timeout=CONNECT_TIMEOUT_S)
    with connection:
        return connection.info.server_version // 10000


def _objects(url: str) -> set[tuple[str, str]]:
    try:
        connection = psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError:
        return set()
    with connection:
        connection.read_only = True
        return {(str(kind), str(name)) for kind, name in connection.execute(OBJECTS)}
