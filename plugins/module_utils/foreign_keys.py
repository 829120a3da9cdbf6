# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Foreign keys between tables of different streams.

Streams have no common order before they are drained, so such a key cannot be checked; and a key that merely exists
makes the target refuse a TRUNCATE that reaches it through one stream without the other table. Tables that the
application truncates together therefore stay together, and what still crosses streams waits until cutover.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from . import dealing, tuning
from .catalog import Catalog, ForeignKey
from .driver import psycopg, sql
from .errors import MigrationError
from .migration import Migration
from .session import Session

_FILENODES = """
SELECT c.oid::bigint AS oid, pg_catalog.pg_relation_filenode(c.oid::pg_catalog.regclass)::bigint AS filenode
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[])
"""


_NOT_VALID = """
SELECT n.nspname AS schema, c.relname AS table, k.conname AS name
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND NOT k.convalidated
"""


def postponed(catalog: Catalog, stream_of: Mapping[int, int | None]) -> list[ForeignKey]:
    """Return the foreign keys whose tables are carried by more than one stream.

    ``stream_of`` maps OIDs of row-storing tables to streams. Keys of partitions follow their root's.
    """
    leaves = _leaves(catalog)

    def streams(oid: int) -> set[int | None]:
        return {stream_of.get(leaf) for leaf in leaves.get(_root(catalog, oid), [oid])}

    return [
        key for key in catalog.foreign_keys if key.parent == 0 and len(streams(key.table) | streams(key.referenced)) > 1
    ]


def checked_later(catalog: Catalog, postponed: Iterable[ForeignKey]) -> list[ForeignKey]:
    """Return the foreign keys that can be added without checking the rows, and validated afterwards.

    Adding one checks all rows in one session, under a lock that stops every writer; validating does neither. Keys of
    partitioned tables cannot wait before 18, and keys that refer to one keep parts that are never validated; what is
    NOT VALID on the source stays so.
    """
    waiting = {key.oid for key in postponed}
    return [
        key
        for key in catalog.foreign_keys
        if key.oid not in waiting
        and key.is_validated
        and key.parent == 0
        and all(catalog.by_oid[oid].stores_rows for oid in (key.table, key.referenced))
    ]


def shown(catalog: Catalog, key: ForeignKey) -> str:
    """Return how results name a foreign key."""
    return f"{key.name} on {catalog.by_oid[key.table].qualified}"


def as_data(catalog: Catalog, key: ForeignKey) -> dict[str, str]:
    """Return what finds a foreign key on the other side: schema, table and name."""
    table = catalog.by_oid[key.table]
    return {"schema": table.schema, "table": table.name, "name": key.name}


def validate(migration: Migration, target: Session, keys: Sequence[Mapping[str, str]], jobs: int) -> None:
    """Check the rows against ``keys`` (schema, table, name), ``jobs`` tables at a time.

    Writers, replication's too, go on meanwhile. Raises ``constraint_violated`` for rows that the source's key does not
    hold for either, for instance because its triggers were disabled once.
    """
    known = {(row["schema"], row["table"], row["name"]) for row in target.rows(_NOT_VALID)}
    by_table: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for key in keys:
        if (key["schema"], key["table"], key["name"]) in known:
            by_table.setdefault((key["schema"], key["table"]), []).append(key)
    waiting = list(by_table.values())
    if not waiting:
        return
    workers = max(1, min(jobs, len(waiting)))
    settings = tuning.settings(target, workers)

    def work(share: Sequence[Sequence[Mapping[str, str]]]) -> None:
        with migration.open("target", "validate") as session:
            for name, value in settings.items():
                session.connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
            for of_table in share:
                for key in of_table:
                    _validate(session, key)

    with ThreadPoolExecutor(workers) as pool:
        for share in [pool.submit(work, waiting[start::workers]) for start in range(workers)]:
            share.result()


def validation(key: Mapping[str, str]) -> sql.Composed:
    """Return the statement that checks a table's rows against a foreign key."""
    return sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
        sql.Identifier(key["schema"], key["table"]), sql.Identifier(key["name"])
    )


def _validate(session: Session, key: Mapping[str, str]) -> None:
    try:
        session.execute(validation(key))
    except psycopg.errors.IntegrityError as error:
        qualified = f"{key['schema']}.{key['table']}"
        raise MigrationError(
            "constraint_violated",
            f"Rows of {qualified} do not satisfy its foreign key {key['name']}: {error.diag.message_primary} "
            f"(SQLSTATE {error.sqlstate}). The source has the same rows.",
            "Correct the rows on the source and use validate_foreign_keys: after_sync, because what you correct arrives "
            "by replication; or drop the foreign key on both sides. Then run the same command again.",
            {"table": qualified, "constraint": key["name"], "sqlstate": error.sqlstate},
        ) from None


def connected(catalog: Catalog, oids: Iterable[int]) -> set[int]:
    """Return the OIDs of all row-storing tables that belong together with the given ones, themselves included."""
    given = set(oids)
    return {oid for group in dealing.groups(catalog) if group & given for oid in group}


def rewritten_too(source: Session, catalog: Catalog, rewritten: Iterable[int], copied: Iterable[int]) -> set[int]:
    """Return those of the ``copied`` tables that were rewritten after their copy, together with a connected one.

    A TRUNCATE names a table and everything that refers to it; when it caught one of them before its copy and another
    one after, both have to move to the next stream, or they would part. ``catalog`` is the snapshot's.
    """
    candidates = connected(catalog, rewritten) & set(copied)
    now = {row["oid"]: row["filenode"] for row in source.rows(_FILENODES, {"oids": sorted(candidates)})}
    return {oid for oid in candidates if now.get(oid) != catalog.by_oid[oid].filenode}


def _root(catalog: Catalog, oid: int) -> int:
    return catalog.root_of(catalog.by_oid[oid]).oid


def _leaves(catalog: Catalog) -> dict[int, list[int]]:
    """Return the row-storing tables below each root (a plain table is its own root)."""
    leaves: dict[int, list[int]] = {}
    for table in catalog.tables:
        if table.stores_rows:
            leaves.setdefault(catalog.root_of(table).oid, []).append(table.oid)
    return leaves
