# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Indexes and the constraints that rest on them: which there are, how each is built, and in which order per table.

A large table's unique constraints are built as plain indexes first, beside its other indexes, and attached with USING
INDEX when all of them are there: ADD CONSTRAINT would lock the table against every other build. Each build and the
ledger's note of it commit together, so an index is either there and noted, or neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from .catalog import Table
from .driver import Row, sql
from .ledger import IndexBuild
from .post_data import PG_CLASS, PG_CONSTRAINT, Script, after_first_statement, sequence_of
from .session import Session

PENDING, BUILT, DONE = "pending", "built", "done"

# An index that a rewrite has replaced since the snapshot has no size and no definition. Invalid indexes are not in the
# archive. conperiod (18) is WITHOUT OVERLAPS, which USING INDEX cannot attach.
_INDEXES = """
SELECT i.indrelid::bigint AS table_oid, i.indexrelid::bigint AS index_oid, x.relname AS name,
       k.oid::bigint AS constraint_oid, k.conname AS constraint_name, k.contype AS type,
       coalesce((pg_catalog.to_jsonb(k) ->> 'conperiod')::boolean, false) AS is_period,
       k.condeferrable AS is_deferrable, k.condeferred AS is_deferred,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       coalesce(pg_catalog.pg_relation_size(i.indexrelid), 0) AS bytes,
       i.indisprimary OR i.indisreplident AS is_identity
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  LEFT JOIN pg_catalog.pg_constraint AS k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
 WHERE i.indrelid = ANY (%(tables)s::oid[])
"""


def read(source: Session, tables: Collection[Table]) -> list[Row]:
    """Return the indexes of ``tables``, as the session's transaction sees them, for :func:`plan`."""
    return source.rows(_INDEXES, {"tables": sorted(table.oid for table in tables)})


def plan(found: Iterable[Row], tables: Collection[Table], script: Script) -> list[IndexBuild]:
    """Return what is to be built on ``tables``, whose indexes were ``found``; only what the archive holds. Pure."""
    known = script.by_object
    by_oid = {table.oid: table for table in tables}
    builds = []
    for row in found:
        table = by_oid[row["table_oid"]]
        is_constraint = row["constraint_oid"] is not None
        # From 18 on USING INDEX makes a NOT NULL that a child has inherited its own.
        can_attach = row["type"] in ("p", "u") and not row["is_period"] and not table.parents
        attachable = can_attach and row["definition"] is not None
        build = IndexBuild(
            table_oid=table.oid,
            classid=PG_CONSTRAINT if is_constraint else PG_CLASS,
            objid=row["constraint_oid"] if is_constraint else row["index_oid"],
            name=row["name"],
            bytes=row["bytes"],
            create=row["definition"] if attachable else None,
            attach=_attach(table, row["constraint_name"], row) if attachable else None,
            is_exclusive=is_constraint and not attachable,
            is_identity=row["is_identity"],
            state=PENDING,
        )
        if build.key in known:
            builds.append(build)
    return sorted(builds, key=lambda build: (build.table_oid, -build.bytes, build.name))


def _attach(table: Table, name: str, row: dict[str, object]) -> str:
    """Return the statement that makes a constraint of a unique index of the same name."""
    kind = "PRIMARY KEY" if row["type"] == "p" else "UNIQUE"
    statement = sql.SQL("ALTER TABLE ONLY {} ADD CONSTRAINT {} {} USING INDEX {}").format(
        sql.Identifier(table.schema, table.name), sql.Identifier(name), sql.SQL(kind), sql.Identifier(str(row["name"]))
    )
    deferrable = " DEFERRABLE" if row["is_deferrable"] else ""
    deferred = " INITIALLY DEFERRED" if row["is_deferred"] else ""
    return statement.as_string(None) + deferrable + deferred


def is_parallel(build: IndexBuild) -> bool:
    """True when it can be built beside other indexes of its table."""
    return not build.is_exclusive and build.state == PENDING


def is_closing(build: IndexBuild) -> bool:
    """True when it needs the table for itself, after the parallel builds: attaching, and exclusion constraints."""
    return build.state != DONE and (build.is_exclusive or build.attach is not None)


def after_parallel(build: IndexBuild) -> IndexBuild:
    """Return the build as it is once its parallel part has ended."""
    return replace(build, state=DONE if build.attach is None else BUILT)


def whole(builds: Sequence[IndexBuild], script: Script) -> bytes:
    """Return the statements that build everything of a small table at once, as the archive has them."""
    return sequence_of(_archived(build, script) for build in builds)


def parallel(build: IndexBuild, script: Script) -> bytes:
    """Return the statements of a build that can run beside others of its table."""
    if build.create is not None:
        return build.create.encode() + b";"
    return _archived(build, script)


def closing(builds: Sequence[IndexBuild], script: Script) -> bytes:
    """Return the statements that need a table for themselves, once its parallel builds have ended."""
    parts = []
    for build in builds:
        if build.attach is None:
            parts.append(_archived(build, script))
        else:
            parts.append(build.attach.encode() + b";")
            parts.append(after_first_statement(_archived(build, script)))
    return sequence_of(parts)


def _archived(build: IndexBuild, script: Script) -> bytes:
    entry = script.by_object.get(build.key)
    if entry is None:
        raise LookupError(f"the archive of the schema has lost the index {build.name}")
    return entry.statements
