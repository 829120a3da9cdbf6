# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Sequence values, which logical replication does not carry: read them on one side, set them on the other."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

from .catalog import Sequence
from .driver import sql
from .session import Session

_BATCH = 200


@dataclass(frozen=True)
class SequenceState:
    """The state of a sequence. pg_sequences would hide ``last_value`` while ``is_called`` is false."""

    last_value: int
    is_called: bool


def read_states(session: Session, sequences: Many[Sequence]) -> dict[tuple[str, str], SequenceState]:
    """Read the real state of each sequence, by (schema, name), a few hundred a round trip."""
    states: dict[tuple[str, str], SequenceState] = {}
    for start in range(0, len(sequences), _BATCH):
        batch = sequences[start : start + _BATCH]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::int AS position, s.last_value, s.is_called FROM {} AS s").format(
                sql.Literal(position), sql.Identifier(item.schema, item.name)
            )
            for position, item in enumerate(batch)
        )
        for row in session.rows(query):
            item = batch[row["position"]]
            states[item.schema, item.name] = SequenceState(row["last_value"], row["is_called"])
    return states


def set_state(sequence: Sequence, state: SequenceState) -> sql.Composed:
    """Return the statement that gives a sequence its state."""
    return sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {})").format(
        sql.Literal(sql.Identifier(sequence.schema, sequence.name).as_string(None)),
        sql.Literal(state.last_value),
        sql.Literal(state.is_called),
    )
