# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of settings under which replication itself runs: its timeouts, its memory, what a way back needs.

Our own sessions set their timeouts themselves; WAL senders and subscription workers take them from the server, the
database and the role.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..driver import sql
from ..endpoint import Side
from ..quantities import size
from .check import Check, Outcome, check, check_both, failed, name, passed, skipped, statement, statements, unknown
from .context import Context
from .sides import Server

CHECKS: list[Check] = []

# AWS DMS asks for as much; PostgreSQL's default is 60 s.
SHORT_TIMEOUT_MS = 10_000
LONG_TIMEOUT = "5min"
# A transaction that takes longer than this to send and to apply is nothing unusual.
ORDINARY_TRANSACTION_MS = 60_000
SMALL_DECODING_KB = 65536
DECODING_MEMORY = "256MB"

_MS = {"": 1, "us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(|us|ms|s|min|h|d)\s*$")

# What a new session of a role in a database starts with. pg_settings knows it for our own role only, so where that one
# has a value of its own, others have the default, unless they have one, too.
_STARTS_WITH = """
SELECT s.name, s.reset_val AS ours, s.boot_val AS default_value,
       (SELECT g.value FROM given AS g WHERE g.role = %(role)s AND g.name = lower(s.name) ORDER BY g.rank LIMIT 1)
         AS given,
       (SELECT g.value FROM given AS g WHERE g.role = current_user AND g.name = lower(s.name) ORDER BY g.rank LIMIT 1)
         AS given_to_us
  FROM pg_catalog.pg_settings AS s
 WHERE s.name = ANY (%(names)s)
"""
_GIVEN = """
WITH given AS (
  SELECT r.rolname AS role, lower(pg_catalog.split_part(c.entry, '=', 1)) AS name,
         pg_catalog.substr(c.entry, pg_catalog.strpos(c.entry, '=') + 1) AS value,
         CASE WHEN s.setrole <> 0 AND s.setdatabase <> 0 THEN 1
              WHEN s.setrole <> 0 THEN 2
              WHEN s.setdatabase <> 0 THEN 3 ELSE 4 END AS rank
    FROM pg_catalog.pg_db_role_setting AS s
    JOIN pg_catalog.pg_roles AS r ON s.setrole IN (0, r.oid)
   CROSS JOIN LATERAL unnest(s.setconfig) AS c(entry)
   WHERE r.rolname IN (%(role)s, current_user)
     AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = %(database)s)))
"""
_FOR_ROLE = _GIVEN + _STARTS_WITH

_SPILLED = """
SELECT s.slot_name AS name, s.spill_bytes FROM pg_catalog.pg_stat_replication_slots AS s
 WHERE s.spill_bytes > 0
 ORDER BY s.spill_bytes DESC
"""


@dataclass(frozen=True)
class Timeout:
    """A setting in milliseconds, 0 for none, with its value as it was written."""

    name: str
    ms: float
    text: str


def milliseconds(text: str) -> float | None:
    """Return a duration as PostgreSQL writes it (``5min``, ``10 s``, ``5000``) in milliseconds, None for another text."""
    found = _DURATION.match(text)
    return None if found is None else float(found[1]) * _MS[found[2]]


def _timeouts(server: Server, role: str, database: str, names: tuple[str, ...]) -> dict[str, Timeout]:
    """What sessions of a role in a database start with; a setting that this version does not know is absent."""
    found = {}
    for row in server.rows(_FOR_ROLE, {"role": role, "database": database, "names": list(names)}):
        value = row["given"]
        if value is None:
            value = row["ours"] if row["given_to_us"] is None else row["default_value"]
        ms = milliseconds(value)
        if ms is not None:
            text = f"{value}ms" if value.isdigit() and value != "0" else value
            found[row["name"]] = Timeout(row["name"], ms, text)
    return found


def _for_role(role: str, database: str, setting: str, value: str, *, exists: bool = True) -> str:
    """What gives a role another value in a database; it wins over every other place where one may stand."""
    where = statement(" IN DATABASE {}", name(database)) if exists else sql.SQL("")
    return statements(statement("ALTER ROLE {}{} SET {} = {}", name(role), where, name(setting), sql.Literal(value)))


@check_both(CHECKS, "replication_timeouts", "No timeout on the {side} ends replication in the middle of its work")
def replication_timeouts(context: Context, side: Side) -> Outcome:
    """S12. transaction_timeout (17) ends WAL senders and apply workers, too, for ever at the same transaction.

    The others matter to the WAL sender only while the servers copy tables by themselves.
    """
    server = context.server(side)
    if side == "source":
        role, database = context.replicating_role, server.facts.name
        copies = context.options.copy_method == "subscription"
        others = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout") if copies else ()
    else:
        role, database, others = server.role.name, context.migration.target.dbname, ()
    found = _timeouts(server, role, database, ("transaction_timeout", *others))
    limits = [limit for limit in found.values() if limit.ms > 0]
    if not limits:
        return passed()
    worker = "WAL senders" if side == "source" else "apply workers"
    exists = side == "source" or not context.target_is_absent
    return failed(
        f"These timeouts hold for {worker} of role {role}, too. Work that takes longer is cut off and begun again, "
        "without end; no counter of errors shows it.",
        "\n".join(_for_role(role, database, limit.name, "0", exists=exists) for limit in limits),
        objects=[f"{limit.name}={limit.text}" for limit in limits],
        severity=None if min(limit.ms for limit in limits) < ORDINARY_TRANSACTION_MS else "warning",
    )


@check(
    CHECKS,
    "source_walsender_timeout",
    "The source is patient with a busy target",
    side="source",
    severity="warning",
)
def walsender_timeout(context: Context) -> Outcome:
    """S11. A setting of each session from 12 on, so the role that replicates can have its own."""
    role, database = context.replicating_role, context.source.facts.name
    timeout = _timeouts(context.source, role, database, ("wal_sender_timeout",)).get("wal_sender_timeout")
    if timeout is None:
        return unknown("The value of wal_sender_timeout cannot be read.")
    if timeout.ms == 0 or timeout.ms >= SHORT_TIMEOUT_MS:
        return passed(f"wal_sender_timeout is {timeout.text}.")
    return failed(
        "The source ends a connection that has not answered for so long; a target that waits for a lock, or applies a "
        "large transaction, does not answer meanwhile, and then all of it begins again.",
        _for_role(role, database, "wal_sender_timeout", LONG_TIMEOUT),
        objects=[f"wal_sender_timeout={timeout.text}"],
    )


@check(
    CHECKS,
    "target_walreceiver_timeout",
    "The target is patient with a busy source",
    side="target",
    severity="warning",
)
def walreceiver_timeout(context: Context) -> Outcome:
    """S11. While it decodes a large transaction the source has nothing to send."""
    timeout_ms = context.target.number("wal_receiver_timeout")
    if timeout_ms == 0 or timeout_ms >= SHORT_TIMEOUT_MS:
        return passed(f"wal_receiver_timeout is {timeout_ms} ms.")
    return failed(
        "The target ends a connection on which nothing came for so long, and begins again.",
        context.target.to_set("wal_receiver_timeout", LONG_TIMEOUT),
        objects=[f"wal_receiver_timeout={timeout_ms}ms"],
    )


@check(
    CHECKS,
    "source_decoding_memory",
    "Decoding on the source does not spill to disk",
    side="source",
    severity="info",
    versions=(14, 99),
)
def decoding_memory(context: Context) -> Outcome:
    """S15. What the slots that are there have spilled is the evidence that transactions are large."""
    memory_kb = context.source.number("logical_decoding_work_mem")
    if memory_kb > SMALL_DECODING_KB:
        return passed(f"logical_decoding_work_mem is {memory_kb} kB.")
    spilled = context.source.rows(_SPILLED)
    if not spilled:
        return passed()
    return failed(
        f"Transactions were too large for logical_decoding_work_mem ({memory_kb} kB) and went through files, which "
        "costs each slot disk and time.",
        context.source.to_set("logical_decoding_work_mem", DECODING_MEMORY),
        objects=[f"{row['name']} ({size(row['spill_bytes'])})" for row in spilled],
    )


@check(
    CHECKS,
    "source_walsender_limit",
    "Each replication slot of the source can have a WAL sender",
    side="source",
    severity="info",
)
def walsender_limit(context: Context) -> Outcome:
    """S6. The manual wants at least as many senders as slots."""
    senders, slots = (context.source.number(key) for key in ("max_wal_senders", "max_replication_slots"))
    if senders >= slots:
        return passed()
    return failed(
        f"max_wal_senders ({senders}) is below max_replication_slots ({slots}): when every slot is used at the same "
        "time, some have to wait.",
        context.source.to_set("max_wal_senders", slots),
        objects=[f"max_wal_senders={senders}", f"max_replication_slots={slots}"],
    )


@check(
    CHECKS,
    "target_wal_level",
    "wal_level is logical on the target, for the way back",
    side="target",
    severity="warning",
)
def target_wal_level(context: Context) -> Outcome:
    """S1. A subscriber does not need it; the reverse stream after the cut-over does."""
    if not context.options.rollback:
        return skipped("Concerns rollback.")
    value = context.target.settings["wal_level"].setting
    if value == "logical":
        return passed()
    return failed(
        f"wal_level is {value}: after the cut-over, what is written to the target could not be brought back to the "
        "source.",
        context.target.to_set("wal_level", "logical"),
        objects=[f"wal_level={value}"],
    )
