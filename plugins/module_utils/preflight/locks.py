# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the lock table: one transaction locks every relation that is published, dumped or made."""

from __future__ import annotations

import math

from ..endpoint import Side
from .check import Check, Outcome, check_both, failed, passed
from .context import Context, Server

CHECKS: list[Check] = []

# What a server lends the lock table from memory that it has to spare; measured on 12 to 18: 1.65 to 1.75 times.
STRETCH = 2.0
# How many objects one CREATE locks until its transaction ends, its TOAST table with index included; measured on 14 to 18.
TABLE_LOCKS = 4
OTHER_RELATION_LOCKS = 2
SAFETY = 1.25
STEP = 64

_HELD = "SELECT count(*) AS held FROM pg_catalog.pg_locks AS l WHERE NOT l.fastpath"

# Composite types and views are relations, too; a row type of a table is none of its own.
_OBJECTS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = ANY (%(schemas)s::oid[]) AND c.relkind = 'v') AS views,
       (SELECT count(*) FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = ANY (%(schemas)s::oid[]) AND c.relkind = 'c') AS composites,
       (SELECT count(*) FROM pg_catalog.pg_type AS t
         WHERE t.typnamespace = ANY (%(schemas)s::oid[]) AND t.typtype IN ('e', 'd', 'r')) AS types,
       (SELECT count(*) FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = ANY (%(schemas)s::oid[])) AS functions
"""


def needed_on_source(tables: int, views: int) -> int:
    """Return how many relations pg_dump, or CREATE PUBLICATION, locks in one transaction. Pure."""
    return tables + views


def needed_on_target(tables: int, other_relations: int, others: int) -> int:
    """Return how many objects the transaction locks that makes everything without rows and indexes. Pure.

    ``tables`` may have TOAST tables; ``other_relations`` have none; ``others`` are sequences, types, functions.
    """
    return TABLE_LOCKS * tables + OTHER_RELATION_LOCKS * other_relations + others


def _slots(server: Server) -> int:
    """How many transactions the lock table has room for, each with max_locks_per_transaction."""
    workers = "autovacuum_worker_slots" if "autovacuum_worker_slots" in server.settings else "autovacuum_max_workers"
    kinds = ("max_connections", "max_prepared_transactions", "max_worker_processes", "max_wal_senders", workers)
    return 1 + sum(server.number(kind) for kind in kinds)


@check_both(CHECKS, "lock_table", "The lock table of the {side} is large enough for all relations at once")
def lock_table(context: Context, side: Side) -> Outcome:
    """S17. On the source, an application's statement would fail as ours does, so there is no leaning on spare memory."""
    server, catalog = context.server(side), context.selected.catalog
    if context.record is not None and context.record.is_done("pre_data"):
        return passed("Done by this migration already.")
    more = context.source.rows(_OBJECTS, {"schemas": [schema.oid for schema in catalog.schemas]})[0]
    storing = sum(table.kind == "r" for table in catalog.tables) + len(catalog.materialized_views)
    other_tables = sum(table.kind != "r" for table in catalog.tables)
    if side == "source":
        needed = needed_on_source(storing + other_tables, more["views"])
    else:
        needed = needed_on_target(
            storing,
            other_tables + more["views"] + more["composites"],
            len(catalog.sequences) + more["types"] + more["functions"],
        )
    per_slot, slots = server.number("max_locks_per_transaction"), _slots(server)
    held, room = server.rows(_HELD)[0]["held"], per_slot * slots
    if held + needed <= room:
        return passed(f"{needed} locks at once, {held} are held, room is for {room}.")
    enough = STEP * math.ceil((held + needed) * SAFETY / slots / STEP)
    certain = side == "source" or held + needed > STRETCH * room
    return failed(
        f"{needed} objects are locked at once, {held} locks are held by others, and the {side} has reserved room for "
        f"{room} (max_locks_per_transaction = {per_slot}). "
        + (
            "Then statements fail with 'out of shared memory', those of applications, too."
            if side == "source"
            else "Making the schema may fail with 'out of shared memory'."
        ),
        server.to_set("max_locks_per_transaction", enough),
        objects=[f"max_locks_per_transaction={per_slot}"],
        severity=None if certain else "warning",
    )
