# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a run could have left on a server: objects of one database, and what its whole cluster shares."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from tests.support.fixtures import Database
from tests.support.schema_dump import catalog_objects, dump_schema

SHARED = {
    "databases": "SELECT datname FROM pg_database",
    "roles": "SELECT rolname FROM pg_roles",
    "role memberships": "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members",
    "slots": "SELECT slot_name FROM pg_replication_slots WHERE NOT temporary",
    "subscriptions": "SELECT subname FROM pg_subscription",
    "origins": "SELECT roname FROM pg_replication_origin",
    "settings": "SELECT setdatabase::text, setrole::text, setconfig::text FROM pg_db_role_setting",
    "comments": "SELECT objoid::text, classoid::text, description FROM pg_shdescription",
    "prepared transactions": "SELECT gid FROM pg_prepared_xacts",
}
LOCAL = {
    "publications": "SELECT pubname FROM pg_publication",
    "large objects": "SELECT oid::text FROM pg_largeobject_metadata",
    "comments": "SELECT objoid::text, classoid::text, description FROM pg_description WHERE objoid >= 16384",
    "statistics": "SELECT starelid::regclass::text FROM pg_statistic WHERE starelid >= 16384",
}


@dataclass(frozen=True)
class Inventory:
    """What is there; two of the same moment are equal. `schema` and `objects` are empty for an absent database."""

    shared: dict[str, list[tuple[object, ...]]]
    local: dict[str, list[tuple[object, ...]]]
    rows: dict[str, int]
    objects: list[str]
    schema: str


def inventory(database: Database, with_dump: bool = False) -> Inventory:
    """Look at the database and its cluster; `with_dump` adds the text of pg_dump."""
    with database.cluster.connect() as connection:
        shared = _all(connection, SHARED)
        is_there = (database.name,) in shared["databases"]
    if not is_there:
        return Inventory(shared, {}, {}, [], "")
    with database.connect() as connection:
        local = _all(connection, LOCAL)
        rows = _row_counts(connection)
    dump = dump_schema(database.dsn, database.cluster.client_dir) if with_dump else ""
    lines = [line for line in dump.splitlines() if "restrict " not in line]  # a random word each time
    return Inventory(shared, local, rows, catalog_objects(database.dsn), "\n".join(lines))


def _all(
    connection: psycopg.Connection[tuple[object, ...]], queries: dict[str, str]
) -> dict[str, list[tuple[object, ...]]]:
    return {name: sorted(connection.execute(query).fetchall(), key=str) for name, query in queries.items()}  # type: ignore[arg-type]


def _row_counts(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, int]:
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    counted = {}
    for schema, name in tables:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(str(schema), str(name)))
        counted[f"{schema}.{name}"] = int(str(connection.execute(query).fetchall()[0][0]))
    return counted
