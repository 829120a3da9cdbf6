# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""A subscription on trial: one server subscribes to the other in a transaction that is rolled back.

The server itself opens the connection, so this proves route, firewall, TLS, pg_hba.conf, password, REPLICATION and the
right to create subscriptions. Nothing is left behind: neither slot nor row.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from ..driver import psycopg, sql
from ..endpoint import Endpoint
from ..errors import Redactor
from ..session import Session, StatementLog

TIMEOUT = "15s"
PROBE_NAME = "seren_migrator probe"
# The fewest that any version needs for it (14, without TLS): connect, TLS or not, who, password, and two questions.
ROUND_TRIPS = 6
# Slower than this may be chance; then it is tried again.
PROMPT_S = 0.3
ATTEMPTS = 3

_LIMITS = """
SELECT pg_catalog.set_config('statement_timeout', %(timeout)s, true) AS statement,
       pg_catalog.set_config('lock_timeout', %(timeout)s, true) AS lock
"""
# The publication need not exist, and must not: the tables of a real one would be looked up on the subscriber.
_SUBSCRIBE = """
CREATE SUBSCRIPTION {name} CONNECTION {conninfo} PUBLICATION {name}
  WITH (connect = true, enabled = false, create_slot = false, slot_name = NONE, copy_data = false)
"""


@dataclass(frozen=True)
class Trial:
    """How it went: what the subscriber said when it failed, and how long the quickest attempt took."""

    error: psycopg.Error | None
    elapsed_s: float

    @property
    def round_trip_ms(self) -> float:
        """The most that a round trip from the subscriber to the publisher takes."""
        return self.elapsed_s / ROUND_TRIPS * 1000


def try_subscription(subscriber: Endpoint, log: StatementLog, conninfo: str) -> Trial:
    """Let ``subscriber`` subscribe by ``conninfo`` and roll it back. Raises ``cannot_connect`` for its own connection."""
    with Session.open(subscriber, log, purpose="probe") as session:
        trial = _attempt(session, conninfo)
        for _again in range(ATTEMPTS - 1):
            if trial.error is not None or trial.elapsed_s <= PROMPT_S:
                break
            trial = min(trial, _attempt(session, conninfo), key=lambda each: (each.error is not None, each.elapsed_s))
        return trial


def _attempt(session: Session, conninfo: str) -> Trial:
    probe = sql.Identifier("seren_migrator_probe_" + secrets.token_hex(6))
    query = sql.SQL(_SUBSCRIBE).format(name=probe, conninfo=sql.Literal(conninfo))
    moments = [time.monotonic()]
    try:
        with session.connection.transaction(force_rollback=True):
            moments.append(time.monotonic())
            session.row(_LIMITS, {"timeout": TIMEOUT})
            moments.append(time.monotonic())
            session.connection.execute(query)
            moments.append(time.monotonic())
    except psycopg.Error as error:
        return Trial(error, time.monotonic() - moments[-1])
    _begun, asked, answered, done = moments
    # What the question before it took is our own way to the subscriber.
    return Trial(None, max(0.0, (done - answered) - (answered - asked)))


def said_by(error: psycopg.Error, redactor: Redactor) -> str:
    """Return a server's words with their detail and hint, without secrets."""
    diag = error.diag
    parts = (diag.message_primary, diag.message_detail, diag.message_hint)
    words = ". ".join(part.rstrip(".") for part in parts if part)
    return redactor.text(words or str(error)).strip()
