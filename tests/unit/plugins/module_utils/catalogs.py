# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Catalogs written by hand, for tests of what the engine decides without a server."""

from __future__ import annotations

from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.catalog import (
    Catalog,
    Column,
    Database,
    ForeignKey,
    MaterializedView,
    Schema,
    Sequence,
    Table,
)


def column(name: str, *leaf_types: str, **fields: Any) -> Column:
    """A nullable column; ``leaf_types`` as in the catalog, int4 when none is given."""
    known: dict[str, Any] = {
        "number": 1,
        "type_oid": 23,
        "type": "integer",
        "not_null": False,
        "generated": "",
        "identity": "",
    }
    return Column(name, **{**known, **fields}, leaf_types=leaf_types or ("pg_catalog.int4",))


def table(oid: int, name: str, schema: str = "public", **fields: Any) -> Table:
    """A permanent plain table with a primary key ``id``; every field can be replaced."""
    known: dict[str, Any] = {
        "kind": "r",
        "persistence": "p",
        "owner": "alice",
        "replica_identity": "d",
        "is_partition": False,
        "filenode": oid,
        "pages": 1,
        "estimated_rows": 1,
        "bytes": 8192,
        "has_wide_rows": False,
        "row_security_active": False,
        "parents": (),
        "columns": (column("id"),),
        "identity_verdict": "ok",
        "identity_columns": ("id",),
        "primary_key": ("id",),
    }
    return Table(oid=oid, schema=schema, name=name, **{**known, **fields})


def partitioned(oid: int, name: str, **fields: Any) -> Table:
    """A partitioned table."""
    return table(oid, name, **{"kind": "p", "bytes": 0, **fields})


def partition(oid: int, name: str, parent: int, **fields: Any) -> Table:
    """A partition of the table with OID ``parent``."""
    return table(oid, name, **{"is_partition": True, "parents": (parent,), **fields})


def sequence(oid: int, name: str, schema: str = "public", owning_table: int | None = None) -> Sequence:
    """A bigint sequence."""
    return Sequence(
        oid, schema, name, "alice", "p", owning_table, None, "bigint", 1, 1, 1, 2**63 - 1, 1, cycles=False
    )  # fmt: skip


def view(oid: int, name: str, depends_on: tuple[int, ...] = (), reads_tables: tuple[int, ...] = ()) -> MaterializedView:
    """A populated materialized view in schema public."""
    return MaterializedView(oid, "public", name, "alice", True, depends_on, reads_tables)


def foreign_key(oid: int, name: str, on: int, referenced: int, parent: int = 0) -> ForeignKey:
    """A validated foreign key from table ``on`` to table ``referenced`` (OIDs)."""
    return ForeignKey(oid, name, on, referenced, True, parent, "FOREIGN KEY")


def database(**raw: Any) -> Database:
    """A UTF8 database in the C locale; ``raw`` adds columns of its pg_database row."""
    return Database(
        5,
        "shop",
        "alice",
        "UTF8",
        {"datcollate": "C", "datctype": "C.UTF-8", **raw},
        system_identifier="1",
        started="",
        large_objects=0,
    )


def catalog(*tables: Table, **parts: Any) -> Catalog:
    """A catalog of these tables, with the schemas that they are in."""
    names = sorted({item.schema for item in tables})
    known: dict[str, Any] = {
        "schemas": tuple(Schema(1000 + number, name, "alice") for number, name in enumerate(names)),
        "sequences": (),
        "materialized_views": (),
        "foreign_keys": (),
    }
    return Catalog(version=150000, database=database(), tables=tables, **{**known, **parts})
