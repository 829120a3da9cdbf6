# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Sequences, which logical replication does not carry: are those of the target where they should be?

Before the cutover a target sequence behind its source is expected; a missing one, or another definition, is not. Once
writes have stopped, or moved, being behind is a difference: the next inserts would take numbers that are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from ..catalog import Catalog
from ..catalog import Sequence as CatalogSequence
from ..driver import psycopg, sql
from ..sequences import SequenceState, read_states, set_state
from ..session import Session

EXPECTED = "behind the source, as expected: sequences are not replicated, and the target's value is set at cutover"
COLUMN_AHEAD = (
    "where the source's is, but its column already holds such values: an insert that uses the sequence fails on either"
    " side until it has passed them"
)
_DEFINITION = ("type", "increment", "minimum", "maximum", "cache", "cycles")

_AT_ONCE = 200

# Owned columns that lead an index: only there the largest value costs next to nothing.
_LED_BY_INDEX = """
SELECT DISTINCT i.indrelid::bigint AS oid, a.attname::text AS name
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE i.indrelid = ANY(%(oids)s) AND i.indisvalid AND i.indpred IS NULL
"""


@dataclass(frozen=True)
class SequenceFinding:
    """One sequence: ``verified``, ``behind`` (expected before the cutover), ``different`` or ``unverified``.

    ``is_behind_column``: the target would hand out a value that its owning column already holds; None is unknown.
    ``catch_up`` is the statement that would bring the target to where the source is.
    """

    schema: str
    name: str
    status: str
    reason: str
    source: SequenceState | None
    target: SequenceState | None
    is_behind_column: bool | None = None
    catch_up: str = ""

    @property
    def is_behind_column_only(self) -> bool:
        """True when the target is where the source is, and both would hand out values that are taken."""
        return self.status == "verified" and self.is_behind_column is True

    @property
    def is_failure(self) -> bool:
        """True when the whole cannot be verified because of this sequence."""
        return self.status in ("different", "unverified")

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "schema": self.schema,
            "name": self.name,
            "status": self.status,
            "reason": self.reason,
            "source_last_value": self.source.last_value if self.source else None,
            "source_is_called": self.source.is_called if self.source else None,
            "target_last_value": self.target.last_value if self.target else None,
            "target_is_called": self.target.is_called if self.target else None,
            "behind_column": self.is_behind_column,
        }


def next_value(sequence: CatalogSequence, state: SequenceState) -> int:
    """Return what nextval would answer, limits and cycles aside."""
    return state.last_value + sequence.increment if state.is_called else state.last_value


def is_behind(sequence: CatalogSequence, source: SequenceState, target: SequenceState) -> bool:
    """True when the target would hand out values that the source has handed out."""
    ahead = next_value(sequence, source) - next_value(sequence, target)
    return ahead > 0 if sequence.increment > 0 else ahead < 0


def compare_sequence(
    sequence: CatalogSequence,
    twin: CatalogSequence | None,
    source: SequenceState | None,
    target: SequenceState | None,
    largest: int | None = None,
) -> SequenceFinding:
    """Compare one sequence. ``largest`` is the outermost value of the owning column on the target, None unknown."""

    def finding(status: str, reason: str = "", catch_up: str = "") -> SequenceFinding:
        return SequenceFinding(sequence.schema, sequence.name, status, reason, source, target, behind_column, catch_up)

    behind_column: bool | None = None
    if twin is None:
        return finding("different", "the sequence is missing on the target")
    unlike = [part for part in _DEFINITION if getattr(sequence, part) != getattr(twin, part)]
    if unlike:
        return finding("different", f"definition differs: {', '.join(unlike)}")
    if source is None or target is None:
        return finding("unverified", f"not readable on the {'source' if source is None else 'target'}")
    if largest is not None:
        following = next_value(twin, target)
        behind_column = following <= largest if twin.increment > 0 else following >= largest
    if is_behind(sequence, source, target):
        return finding("behind", EXPECTED, set_state(sequence, source).as_string(None))
    return finding("verified", COLUMN_AHEAD if behind_column else "")


def without_excuse(findings: Sequence[SequenceFinding], since: str) -> list[SequenceFinding]:
    """Return the findings as they count when no sequence may be behind any more, because of ``since``. Pure."""
    return [
        replace(
            finding,
            status="different",
            reason=f"behind the source although {since}, so that it would hand out numbers again; on the target run"
            f" {finding.catch_up}",
        )
        if finding.status == "behind"
        else finding
        for finding in findings
    ]


def compare_sequences(
    source: Session, target: Session, wanted: Sequence[CatalogSequence], target_catalog: Catalog
) -> list[SequenceFinding]:
    """Read and compare sequences, each session being in a transaction of the caller or in none."""
    twins = {(item.schema, item.name): item for item in target_catalog.sequences}
    there = [twins[item.schema, item.name] for item in wanted if (item.schema, item.name) in twins]
    # The source last: what the others show has come from it, so that neither can look ahead of what it is.
    largest = _largest(target, there, target_catalog)
    target_states = _states(target, there)
    source_states = _states(source, wanted)
    return [
        compare_sequence(
            item,
            twins.get((item.schema, item.name)),
            source_states.get((item.schema, item.name)),
            target_states.get((item.schema, item.name)),
            largest.get((item.schema, item.name)),
        )
        for item in wanted
    ]


def _states(session: Session, sequences: Sequence[CatalogSequence]) -> Mapping[tuple[str, str], SequenceState]:
    """Read all states; when one is refused, each on its own, and leave out what cannot be read."""
    try:
        return read_states(session, sequences)
    except psycopg.OperationalError:
        raise
    except psycopg.Error:
        states: dict[tuple[str, str], SequenceState] = {}
        for sequence in sequences:
            try:
                states.update(read_states(session, [sequence]))
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                continue
        return states


def _largest(target: Session, sequences: Sequence[CatalogSequence], catalog: Catalog) -> Mapping[tuple[str, str], int]:
    """Read the outermost value of each owning column on the target, where an index makes that cheap."""
    owned = [item for item in sequences if item.owning_table in catalog.by_oid and item.owning_column is not None]
    rows = target.rows(_LED_BY_INDEX, {"oids": [item.owning_table for item in owned]})
    cheap = {(row["oid"], row["name"]) for row in rows}
    wanted = [item for item in owned if (item.owning_table, item.owning_column) in cheap]
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        batch = wanted[start : start + _AT_ONCE]
        try:
            found.update(_outermost(target, batch, catalog))
        except psycopg.ProgrammingError:  # no privilege, row security: those are unknown, the others are not
            for item in batch:
                try:
                    found.update(_outermost(target, [item], catalog))
                except psycopg.ProgrammingError:
                    continue
    return found


def _outermost(target: Session, wanted: Sequence[CatalogSequence], catalog: Catalog) -> dict[tuple[str, str], int]:
    parts = []
    for position, item in enumerate(wanted):
        table = catalog.by_oid[item.owning_table or 0]
        parts.append(
            sql.SQL("SELECT {}::int AS position, {}({})::text AS outermost FROM {}").format(
                sql.Literal(position),
                sql.SQL("pg_catalog.max" if item.increment > 0 else "pg_catalog.min"),
                sql.Identifier(item.owning_column or ""),
                sql.Identifier(table.schema, table.name),
            )
        )
    found: dict[tuple[str, str], int] = {}
    for row in target.rows(sql.SQL(" UNION ALL ").join(parts)):
        value = _whole(row["outermost"])
        if value is not None:
            found[wanted[row["position"]].schema, wanted[row["position"]].name] = value
    return found


def _whole(text: str | None) -> int | None:
    """Return a number without its fraction, None for what is none: an empty table, NaN, another type."""
    try:
        return None if text is None else int(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        return None
