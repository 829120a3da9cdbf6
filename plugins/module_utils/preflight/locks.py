# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of the lock table: one transaction locks every relation that is published, dumped or made."""

from __future__ import annotations

import math

from ..endpoint import Side
from .check import Check, Outcome, check_both, failed, passed
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

# A full lock table takes from memory that nothing else uses, until it has 1.6 to 1.8 times its room and some hundreds
# more; measured on 14 to 18. What is beyond that fails for certain; on the source, applications must not come near it.
STRETCH = {"source": 1.5, "target": 2.0}
SPARE_LOCKS = {"source": 0, "target": 500}
SAFETY = 1.25
STEP = 64

# Not our own: those of all questions that travelled with this one.
_HELD = """
SELECT count(*) AS held
  FROM pg_catalog.pg_locks AS l
 WHERE NOT l.fastpath AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
"""

# Composite types and views are relations, too; a row type of a table is none of its own.
_OBJECTS = """
SELECT (SELECT count(*) FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = ANY (%(schemas)s::oid[]) AND c.relkind IN ('r', 'm') AND c.reltoastrelid <> 0) AS toasted,
       (SELECT count(*) FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = ANY (%(schemas)s::oid[]) AND c.relkind = 'v') AS views,
       (SELECT count(*) FROM pg_catalog.pg_class AS c
         WHERE c.relnamespace = ANY (%(schemas)s::oid[]) AND c.relkind = 'c') AS composites,
       (SELECT count(*) FROM pg_catalog.pg_type AS t
         WHERE t.typnamespace = ANY (%(schemas)s::oid[]) AND t.typtype IN ('e', 'd', 'r')) AS types,
       (SELECT count(*) FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = ANY (%(schemas)s::oid[])) AS functions
"""


def locks_of_schema(major: int, *, relations: int, toasted: int, types: int, others: int) -> int:
    """Return how many objects the transaction locks that makes everything but rows and indexes. Pure.

    ``relations`` are all but sequences, ``toasted`` those of them with a TOAST table, which has an index; ``others`` are
    sequences and functions. From 15 on types are locked, too, and each of these relations has one. Measured on 14 to 18.
    """
    return relations + 2 * toasted + others + (relations + types if major >= 15 else 0)


def _slots(server: Server) -> int:
    """How many transactions the lock table has room for, each with max_locks_per_transaction."""
    workers = "autovacuum_worker_slots" if "autovacuum_worker_slots" in server.settings else "autovacuum_max_workers"
    kinds = ("max_connections", "max_prepared_transactions", "max_worker_processes", "max_wal_senders", workers)
    return 1 + sum(server.number(kind) for kind in kinds)


@check_both(CHECKS, "lock_table", "The lock table of the {side} is large enough for all relations at once")
def lock_table(context: Context, side: Side) -> Outcome:
    """S17. A warning as long as a server may find the memory that it has not reserved."""
    server, catalog = context.server(side), context.selected.catalog
    if context.record is not None and context.record.is_done("pre_data"):
        return passed("Done by this migration already.")
    more = context.source.rows(_OBJECTS, {"schemas": [schema.oid for schema in catalog.schemas]})[0]
    tables = len(catalog.tables) + len(catalog.materialized_views)
    needed = tables + more["views"]  # by pg_dump; CREATE PUBLICATION locks fewer
    if side == "target":
        needed = locks_of_schema(
            server.major,
            relations=needed + more["composites"],
            toasted=min(tables, more["toasted"]),
            types=more["types"],
            others=len(catalog.sequences) + more["functions"],
        )
    per_slot, slots = server.number("max_locks_per_transaction"), _slots(server)
    held, room = server.rows(_HELD)[0]["held"], per_slot * slots
    if held + needed <= room:
        return passed(f"{needed} locks at once, {held} are held, room is for {room}.")
    enough = STEP * math.ceil((held + needed) * SAFETY / slots / STEP)
    certain = held + needed > STRETCH[side] * room + SPARE_LOCKS[side]
    return failed(
        f"{needed} objects are locked at once, {held} locks are held by others, and the {side} has reserved room for "
        f"{room} (max_locks_per_transaction = {per_slot}). "
        + (
            "When it is full, statements fail with 'out of shared memory', those of applications, too."
            if side == "source"
            else "Making the schema may fail with 'out of shared memory'."
        ),
        server.to_set("max_locks_per_transaction", enough),
        objects=[f"max_locks_per_transaction={per_slot}"],
        severity=None if certain else "warning",
    )
