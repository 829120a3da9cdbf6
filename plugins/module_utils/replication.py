# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Publications, subscriptions and markers: make them, undo them. Slots have a file of their own.

Order is the law here: a publication exists before its slot, a slot before its snapshot is used, and a subscription
takes the prepared slot with ``copy_data=false``. Names come from ``migration.py``, states from the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .catalog import OWN_SCHEMA, Catalog, Table
from .driver import psycopg, sql
from .errors import MigrationError
from .session import Session

_COMMENT_PREFIX = "seren.migrator"
# How long workers may take to end by themselves, in seconds, and how long DROP SUBSCRIPTION may take.
WORKERS_END_S = 30
DROP_TIMEOUT = "60s"

_MARKER_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
  id integer PRIMARY KEY CHECK (id = 1),
  token text NOT NULL,
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp())
"""

_WRITE_MARKER = """
INSERT INTO {table} (id, token, at) VALUES (1, %(token)s, pg_catalog.clock_timestamp())
ON CONFLICT (id) DO UPDATE SET token = excluded.token, at = excluded.at
"""


def table_name(schema: str, name: str) -> sql.Identifier:
    """Return a qualified, quoted name."""
    return sql.Identifier(schema, name)


def ownership_comment(migration_name: str, migration_id: str) -> str:
    """Return the comment that marks an object as ours, so that it can be found without the ledger."""
    return f"{_COMMENT_PREFIX} {migration_id} {migration_name}"


# --- publications ----------------------------------------------------------------------------------------------


def publication_members(
    catalog: Catalog, carried: Iterable[int], predicates: Mapping[int, str], source_major: int
) -> list[Table]:
    """Return the tables to name in a publication that shall carry the tables ``carried`` (OIDs of row-storing ones).

    ``catalog`` is the whole database's. A partitioned table stands for its partitions when all of them are carried
    without a row predicate, the source can publish it (13+), and its primary key gives every partition to come a
    replica identity: published without one, a partition refuses UPDATE and DELETE to the application. Otherwise, and
    beside a foreign table, which a subscription could not carry, the partitions are named one by one.
    """
    wanted = set(carried)
    members: dict[int, Table] = {}
    for table in (catalog.by_oid[oid] for oid in sorted(wanted)):
        root = catalog.root_of(table)
        leaves = {t.oid: t for t in catalog.tables if t.kind != "p" and catalog.root_of(t).oid == root.oid}
        whole = (
            source_major >= 13
            and leaves.keys() <= wanted
            and not leaves.keys() & set(predicates)
            and all(item.is_identified_by_primary_key for item in (root, *leaves.values()))
        )
        member = root if table.is_partition and whole else table
        members[member.oid] = member
    return list(members.values())


def create_publication(
    name: str, members: Sequence[Table], marker: str, predicates: Mapping[int, str], source_major: int
) -> sql.Composed:
    """Return the statement that publishes ``members`` and the stream's marker table.

    ONLY everywhere: without it a parent brings its inheritance children, and their rows arrive twice.
    Source: PostgreSQL manual, CREATE PUBLICATION.
    """
    parts: list[sql.Composable] = []
    for table in members:
        part: sql.Composable = sql.SQL("{}").format(table_name(table.schema, table.name))
        if table.kind != "p":
            part = sql.SQL("ONLY ") + part
        if table.oid in predicates:
            part += _row_filter(predicates[table.oid])
        parts.append(part)
    parts.append(sql.SQL("ONLY {}").format(table_name(OWN_SCHEMA, marker)))
    options = "publish = 'insert, update, delete, truncate'"
    if source_major >= 13:
        options += ", publish_via_partition_root = false"
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH ({})").format(
        sql.Identifier(name), sql.SQL(", ").join(parts), sql.SQL(options)
    )


def comment_publication(name: str, comment: str) -> sql.Composed:
    """Return the statement that marks a publication as ours."""
    return sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(sql.Identifier(name), sql.Literal(comment))


def publication_comment(source: Session, name: str) -> str | None:
    """Return the comment of a publication, '' when it has none, None when there is no such publication."""
    row = source.row(
        "SELECT coalesce(pg_catalog.obj_description(p.oid, 'pg_publication'), '') AS comment"
        "  FROM pg_catalog.pg_publication AS p WHERE p.pubname = %(name)s",
        {"name": name},
    )
    return None if row is None else row["comment"]


def drop_publication(name: str) -> sql.Composed:
    """Return the statement that drops a publication, when it is there."""
    return sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name))


def published_tables(source: Session, publication: str) -> set[tuple[str, str]]:
    """Return (schema, name) of every table a publication carries, partitions resolved."""
    rows = source.rows(
        "SELECT t.schemaname, t.tablename FROM pg_catalog.pg_publication_tables AS t WHERE t.pubname = %(name)s",
        {"name": publication},
    )
    return {(row["schemaname"], row["tablename"]) for row in rows}


def explicit_members(source: Session, publication: str) -> set[tuple[str, str]]:
    """Return (schema, name) of the tables that a publication names itself."""
    rows = source.rows(
        "SELECT n.nspname, c.relname"
        "  FROM pg_catalog.pg_publication AS p"
        "  JOIN pg_catalog.pg_publication_rel AS r ON r.prpubid = p.oid"
        "  JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid"
        "  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE p.pubname = %(name)s",
        {"name": publication},
    )
    return {(row["nspname"], row["relname"]) for row in rows}


def existing(session: Session, tables: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of the (schema, name) pairs that exist as tables."""
    wanted = sorted(tables)
    if not wanted:
        return set()
    rows = session.rows(
        "SELECT n.nspname, c.relname"
        "  FROM ROWS FROM (pg_catalog.unnest(%(schemas)s::text[]), pg_catalog.unnest(%(names)s::text[])) AS w(s, t)"
        "  JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.s"
        "  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.t AND c.relkind = 'r'",
        {"schemas": [schema for schema, _name in wanted], "names": [name for _schema, name in wanted]},
    )
    return {(row["nspname"], row["relname"]) for row in rows}


def drop_from_publication(publication: str, schema: str, name: str) -> sql.Composed:
    """Return the statement that takes one table out of a publication."""
    return sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(
        sql.Identifier(publication), table_name(schema, name)
    )


def add_to_publication(publication: str, schema: str, name: str, predicate: str | None = None) -> sql.Composed:
    """Return the statement that publishes one more table, or those of its rows that ``predicate`` holds for."""
    statement = sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}").format(
        sql.Identifier(publication), table_name(schema, name)
    )
    return statement if predicate is None else statement + _row_filter(predicate)


def _row_filter(predicate: str) -> sql.Composed:
    return sql.SQL(" WHERE (") + sql.SQL(predicate) + sql.SQL("\n)")  # on lines of its own: it may end with a comment


# --- markers ---------------------------------------------------------------------------------------------------


def create_own_schema() -> sql.Composed:
    """Return the statement that makes our schema."""
    return sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(OWN_SCHEMA))


def create_marker(marker: str) -> sql.Composed:
    """Return the statement that makes a stream's marker table, the same on both sides."""
    return sql.SQL(_MARKER_TABLE).format(table=table_name(OWN_SCHEMA, marker))


def write_marker(marker: str) -> sql.Composed:
    """Return the statement that writes a marker; bind ``token``. Its commit LSN is a barrier for a drain."""
    return sql.SQL(_WRITE_MARKER).format(table=table_name(OWN_SCHEMA, marker))


def drop_marker(marker: str) -> sql.Composed:
    """Return the statement that drops a marker table, when it is there."""
    return sql.SQL("DROP TABLE IF EXISTS {}").format(table_name(OWN_SCHEMA, marker))


# --- subscriptions ---------------------------------------------------------------------------------------------


# Options that must agree with the slot, which exists already.
_OF_THE_SLOT = ("two_phase", "failover")


def create_subscription(
    name: str, conninfo: str, publication: str, slot: str, options: Mapping[str, Any], *, copy_data: bool = False
) -> sql.Composed:
    """Return the statement that creates a disabled subscription on a prepared slot.

    Without ``copy_data`` its tables count as copied; with it, its workers will copy them once it is enabled.
    ``options`` are PostgreSQL's own WITH options; those on which correctness rests cannot be overridden.
    Source: PostgreSQL manual, CREATE SUBSCRIPTION.
    """
    fixed = {
        "create_slot": "false",
        "enabled": "false",
        "copy_data": _option_value(copy_data),
        "slot_name": slot,
        "connect": "true",
    }
    given = {option.lower(): _option_value(value) for option, value in options.items()}
    for option, value in given.items():
        if option in fixed or option in _OF_THE_SLOT or (option == "origin" and value.lower() != "any"):
            raise MigrationError(
                "bad_option",
                f"subscription_options cannot set {option}: the migration depends on its own value.",
                f"Remove {option} from subscription_options.",
            )
    wanted = {**given, **fixed}
    pairs = [sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in wanted.items()]
    return sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH ({})").format(
        sql.Identifier(name), sql.Literal(conninfo), sql.Identifier(publication), sql.SQL(", ").join(pairs)
    )


def _option_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def alter_subscription(name: str, action: str) -> sql.Composed:
    """Return ``ALTER SUBSCRIPTION name ACTION``; ``action`` is one of our own constants."""
    return sql.SQL("ALTER SUBSCRIPTION {} {}").format(sql.Identifier(name), sql.SQL(action))


def set_subscription_publication(name: str, publication: str) -> sql.Composed:
    """Return the statement that points a subscription at another publication without looking at its tables."""
    return sql.SQL("ALTER SUBSCRIPTION {} SET PUBLICATION {} WITH (refresh = false)").format(
        sql.Identifier(name), sql.Identifier(publication)
    )


def drop_subscription(name: str) -> sql.Composed:
    """Return the statement that drops a subscription, when it is there."""
    return sql.SQL("DROP SUBSCRIPTION IF EXISTS {}").format(sql.Identifier(name))


def comment_subscription(name: str, comment: str) -> sql.Composed:
    """Return the statement that marks a subscription as ours."""
    return sql.SQL("COMMENT ON SUBSCRIPTION {} IS {}").format(sql.Identifier(name), sql.Literal(comment))


@dataclass(frozen=True)
class Subscription:
    """A subscription as the target shows it. Fields are None where the role may not read them."""

    oid: int
    name: str
    is_enabled: bool | None
    slot: str | None
    publications: tuple[str, ...]
    comment: str


def find_subscription(target: Session, name: str) -> Subscription | None:
    """Read one subscription of the connected database, without touching its conninfo."""
    row = target.row(
        "SELECT s.oid::bigint AS oid, s.subname AS name, s.subenabled AS is_enabled, s.subslotname AS slot,"
        " s.subpublications AS publications,"
        " coalesce(pg_catalog.obj_description(s.oid, 'pg_subscription'), '') AS comment"
        "  FROM pg_catalog.pg_subscription AS s"
        " WHERE s.subname = %(name)s AND s.subdbid ="
        " (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())",
        {"name": name},
    )
    return None if row is None else Subscription(**{**row, "publications": tuple(row["publications"])})


_SUBSCRIPTION_WORKERS = (
    "SELECT s.pid FROM pg_catalog.pg_stat_subscription AS s WHERE s.subid = %(oid)s::oid AND s.pid IS NOT NULL"
)


def stop_subscription(target: Session, subscription: Subscription) -> None:
    """Disable a subscription, and wait until none of its workers is left; one that does not end is ended.

    Raises ``replication_broken`` when even so some are left after a minute.
    """
    if subscription.is_enabled is not False:
        target.execute(alter_subscription(subscription.name, "DISABLE"))
    pids: list[int] = []
    for attempt in range(2 * WORKERS_END_S * 10):
        pids = [row["pid"] for row in target.rows(_SUBSCRIPTION_WORKERS, {"oid": subscription.oid})]
        if not pids:
            return
        if attempt == WORKERS_END_S * 10:
            for pid in pids:
                target.terminate(pid)
        target.value("SELECT pg_catalog.pg_sleep(0.1) AS slept")
    raise MigrationError(
        "replication_broken",
        f"The workers of the subscription {subscription.name} do not end (pid {', '.join(map(str, pids))}).",
        "See what they wait for in pg_stat_activity of the target; then run the same command again.",
        {"subscription": subscription.name, "pids": pids},
    )


def drop_own_subscription(target: Session, name: str) -> None:
    """Drop a stopped subscription without letting it reach for its slot, which is dropped on its own.

    It still reaches for the slots of its table synchronisation, but not for ever.
    """
    target.connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, false)", (DROP_TIMEOUT,))
    try:
        target.execute(alter_subscription(name, "SET (slot_name = NONE)"))
        target.execute(drop_subscription(name))
    finally:
        with suppress(psycopg.Error):  # in a transaction that has failed, its end sets it back
            target.connection.execute("SELECT pg_catalog.set_config('statement_timeout', '0', false)")


def subscription_tables(target: Session, subscription_oid: int) -> dict[tuple[str, str], str]:
    """Return the synchronisation state (i, d, f, s or r) of each table of a subscription, by (schema, name)."""
    rows = target.rows(
        "SELECT n.nspname, c.relname, r.srsubstate"
        "  FROM pg_catalog.pg_subscription_rel AS r"
        "  JOIN pg_catalog.pg_class AS c ON c.oid = r.srrelid"
        "  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE r.srsubid = %(oid)s",
        {"oid": subscription_oid},
    )
    return {(row["nspname"], row["relname"]): row["srsubstate"] for row in rows}
