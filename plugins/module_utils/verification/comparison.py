# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""One table's way through the epochs, from the first grid to its verdict.

A round is one epoch: the first looks at the whole table, later ones at the rows that are still in doubt.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..driver import psycopg
from ..endpoint import Side
from ..errors import MigrationError, Redactor
from .difference_file import DifferenceFile
from .disclosure import KEYS_ONLY, Disclosure
from .mending import Mending, mending
from .moment import NEVER, Moment
from .naming import Difference, named
from .pairing import Unit
from .readers import Pair
from .rows import (
    LOOKUP_ABOVE_BYTES,
    Group,
    Probe,
    Sighting,
    intervals_for,
    is_found_by_text,
    is_proven,
    is_standing,
    is_untouched,
    lasting,
    probe,
    rewritten,
    rows_of_identities,
    rows_of_leaves,
    texts_of_keys,
)
from .scan import Recipe
from .snapshots import Epoch, current_xmin, following, reading, wait_until_ended

# Rows in doubt that are named for a table; all are counted.
NAMED_IN_DOUBT = 100


@dataclass(frozen=True)
class Limits:
    """Bounds of one table's comparison; they keep the runner's memory flat."""

    max_rounds: int = 5
    max_differences: int = 100
    rows_drilled: int = 2_000_000  # rows of differing leaves that are read on one side in one round
    groups_examined: int = 10_000
    lookup_above_bytes: int = LOOKUP_ABOVE_BYTES
    probe_wait_s: float = 1.0
    chased: int = 1000
    chase_s: float = 10.0
    named_at_once: int = 500
    disclosure: Disclosure = KEYS_ONLY
    file: DifferenceFile | None = None  # takes the differences that the result has no room for, too
    range_bytes_min: int = 64 * 1024 * 1024  # of a heap that several connections share
    range_bytes_max: int = 1024 * 1024 * 1024
    before_reading: Callable[[Side, int], None] = lambda side, amount: None  # waits until so many bytes may be read


@dataclass(frozen=True)
class Leaves:
    """The leaves of a grid (of ``bits`` bits) in which two sides differ, each with its number of rows."""

    bits: int
    rows: Mapping[int, int]


@dataclass
class Comparison:
    """Where one table stands. ``status`` is '' while it is undecided."""

    unit: Unit
    status: str = ""
    reason: str = ""
    rounds: int = 0
    source_rows: int | None = None
    target_rows: int | None = None
    rows_read: int = 0  # of the source, so far
    seconds: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    differing_rows: int = 0
    # Identities in doubt: their key's text, and what earlier epochs saw of them.
    suspects: dict[int, tuple[str, ...]] = field(default_factory=dict)
    counted: dict[int, tuple[int, int]] = field(default_factory=dict)
    sightings: dict[int, list[Sighting]] = field(default_factory=dict)
    leaves: Leaves | None = None  # what the first look has found to differ
    is_complete: bool = False  # the suspects are all that differed; otherwise the next round scans again
    obstacle: str = ""
    look: str = field(default_factory=secrets.token_urlsafe)  # names what was seen since it was last begun anew
    in_doubt: int = 0  # rows that no round has settled, once the table is given up; some of their keys
    doubtful: list[dict[str, str]] = field(default_factory=list)
    moment: Moment | None = None
    is_resumed: bool = False  # verified by a run that was interrupted

    @property
    def is_settled(self) -> bool:
        """True when no further round is needed."""
        return bool(self.status)

    def begin_round(self) -> None:
        """Count another epoch in which the table is looked at."""
        self.rounds += 1
        self.obstacle = ""
        self.leaves = None

    def conclude(self) -> None:
        """Decide, as nothing is in doubt any more."""
        if self.differing_rows:
            self.settle("different", f"rows that differ: {self.differing_rows}")
        else:
            self.settle("verified")

    def settle(self, status: str, reason: str = "") -> None:
        """Decide."""
        self.status, self.reason = status, reason
        self.suspects.clear()
        self.sightings.clear()
        self.counted.clear()

    def start_over(self, obstacle: str) -> None:
        """Forget what was seen of the table, because of ``obstacle``; the next round scans it again."""
        self.obstacle = obstacle
        self.leaves = None
        self.is_complete = False
        self.differing_rows = 0
        self.look = secrets.token_urlsafe()
        for seen in (self.suspects, self.sightings, self.counted, self.differences):
            seen.clear()

    def as_data(self) -> dict[str, Any]:
        """Return the table's line of the report."""
        return {
            "schema": self.unit.schema,
            "name": self.unit.name,
            "status": self.status,
            "reason": self.reason,
            "source_rows": self.source_rows,
            "target_rows": self.target_rows,
            "differing_rows": self.differing_rows,
            "in_doubt": self.in_doubt,
            "rounds": self.rounds,
            "method": self.unit.method,
            "not_compared": list(self.unit.not_compared),
            "mapped": [dict(zip(("column", "source", "target"), item, strict=True)) for item in self.unit.mapped],
            "seconds": round(self.seconds, 3),
            "bytes": self.unit.estimated_bytes,
            **(self.moment.as_data() if self.moment is not None else NEVER),
            "resumed": self.is_resumed,
        }


def attempt(
    comparison: Comparison, pair: Pair, epoch: Epoch, recipe: Recipe, limits: Limits, redactor: Redactor
) -> None:
    """Look at what differs in a table, or is in doubt, within one epoch.

    Errors settle the table, except for those that the next round may be free of.
    """
    started = time.monotonic()
    try:
        _advance(comparison, pair, epoch, recipe, limits)
    except (psycopg.Error, MigrationError, UnicodeDecodeError) as error:
        obstructed(comparison, error, redactor)
    finally:
        comparison.seconds += time.monotonic() - started


def obstructed(comparison: Comparison, error: Exception, redactor: Redactor) -> None:
    """Note an error that kept a table from being read: it is the verdict, or an obstacle that may be gone next time."""
    if isinstance(error, MigrationError):
        comparison.settle("error", error.message)
    elif isinstance(error, (UnicodeDecodeError, psycopg.errors.CharacterNotInRepertoire)):
        comparison.settle("unverified", "encoding: a key is not valid text in the database's encoding")
    elif isinstance(error, psycopg.Error):
        said = redactor.text(error.diag.message_primary or str(error)).strip()
        if isinstance(error, psycopg.DataError) and not isinstance(error, _snapshot_lost()):
            # Its messages quote the value that is at fault.
            said = f"a value of the table, or its predicate, cannot be evaluated: {type(error).__name__}"
        with_state = f"{said} (SQLSTATE {error.sqlstate})" if error.sqlstate else said
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            comparison.settle("unverified", f"no privilege: {with_state}")
        elif isinstance(error, psycopg.errors.LockNotAvailable):
            comparison.obstacle = "locked by another session"
        elif isinstance(error, _snapshot_lost()):
            comparison.obstacle = f"snapshot lost: {with_state}"
        else:
            comparison.settle("error", with_state)


def _snapshot_lost() -> tuple[type[psycopg.Error], ...]:
    """Return what importing a snapshot answers when its exporter is gone: 22023, from 17 on 42704, or 55000."""
    return (
        psycopg.errors.InvalidParameterValue,
        psycopg.errors.UndefinedObject,
        psycopg.errors.ObjectNotInPrerequisiteState,
    )


def _advance(comparison: Comparison, pair: Pair, epoch: Epoch, recipe: Recipe, limits: Limits) -> None:
    unit = comparison.unit
    with pair.at(epoch):
        if comparison.is_complete:
            groups, is_all = _again(comparison, pair, recipe, limits), True
        else:
            groups, is_all = _from_leaves(comparison, pair, recipe, limits)
        # Before anything is concluded: of what was rewritten since, the snapshots may show less than there is.
        if any(pair.both(lambda side: rewritten(pair, side, [heap.oid for heap in unit.half(side).heaps]))):
            comparison.start_over("rewritten (TRUNCATE, VACUUM FULL, ALTER TABLE) while it was read")
            return
        if not groups and is_all:
            if comparison.is_complete:
                comparison.conclude()
            else:
                comparison.settle("error", "its sums differ, but no row that differs was found")
            return
        texts = _key_texts(pair, unit, groups)
    if not unit.is_replicated:
        comparison.settle("unverified", "unlogged: its rows are not replicated, and they differ")
    elif epoch.alignment == "behind":
        comparison.settle("unverified", epoch.reason)
    else:
        _judge(comparison, pair, epoch, recipe, limits, groups, texts, is_all=is_all)


# --- the first look, and the next ones -------------------------------------------------------------------------


def within(leaves: Mapping[int, int], rows: int) -> list[int]:
    """Return as many leaves, from the first, as hold at most ``rows`` rows a side; at least one."""
    chosen: list[int] = []
    held = 0
    for leaf, count in leaves.items():
        held += count
        if chosen and held > rows:
            break
        chosen.append(leaf)
    return chosen


def _from_leaves(comparison: Comparison, pair: Pair, recipe: Recipe, limits: Limits) -> tuple[list[Group], bool]:
    """Return the groups that differ in the leaves of the first look, and whether these are all."""
    unit, leaves = comparison.unit, comparison.leaves or Leaves(0, {})
    chosen = within(leaves.rows, limits.rows_drilled)
    groups, is_all = rows_of_leaves(pair, unit, recipe, leaves.bits, chosen, limits.groups_examined)
    comparison.counted = {group.identity: (len(group.source), len(group.target)) for group in groups}
    return groups, is_all and len(chosen) == len(leaves.rows)


def _again(comparison: Comparison, pair: Pair, recipe: Recipe, limits: Limits) -> list[Group]:
    """Look at the suspects again; return the groups that still differ."""
    present = rows_of_identities(pair, comparison.unit, recipe, comparison.suspects, limits.lookup_above_bytes)
    now = {group.identity: (len(group.source), len(group.target)) for group in present}
    for identity in comparison.suspects:
        _recount(comparison, identity, now.get(identity, (0, 0)))
    return [group for group in present if group.differs]


def _recount(comparison: Comparison, identity: int, now: tuple[int, int]) -> None:
    """Rows of the report are those of the first epoch, with the suspects as of the epoch that saw them last."""
    before = comparison.counted.get(identity, (0, 0))
    comparison.source_rows = (comparison.source_rows or 0) + now[0] - before[0]
    comparison.target_rows = (comparison.target_rows or 0) + now[1] - before[1]
    comparison.counted[identity] = now


def _key_texts(pair: Pair, unit: Unit, groups: Sequence[Group]) -> dict[int, tuple[str, ...]]:
    if not unit.key:
        return {group.identity: () for group in groups}
    here = {group.source[0].place: group.identity for group in groups if group.source}
    there = {group.target[0].place: group.identity for group in groups if not group.source}

    def read(side: Side) -> dict[int, tuple[str, ...]]:
        wanted = here if side == "source" else there
        return {wanted[place]: texts for place, texts in texts_of_keys(pair, side, unit, wanted).items()}

    source, target = pair.both(read)
    return {**target, **source}


# --- the verdict on each group ---------------------------------------------------------------------------------


def _judge(
    comparison: Comparison,
    pair: Pair,
    epoch: Epoch,
    recipe: Recipe,
    limits: Limits,
    groups: Sequence[Group],
    texts: Mapping[int, tuple[str, ...]],
    *,
    is_all: bool,
) -> None:
    unit = comparison.unit
    seen = _probe(pair, unit, recipe, groups, epoch, limits)
    # With writes stopped, nothing lies between the two snapshots.
    is_still = epoch.is_still([heap.oid for heap in unit.source.heaps])
    proven: list[Group] = []
    mendings: dict[int, Mending] = {}
    is_keyed = bool(unit.key)
    doubtful: dict[int, tuple[str, ...]] = {}
    sightings: dict[int, list[Sighting]] = {}
    for group in groups:
        places = [row.place for row in group.source]
        untouched = frozenset(
            place for place in places if place in epoch.locked or is_untouched(place, seen, epoch.horizon)
        )
        earlier = comparison.sightings.get(group.identity, [])
        present = frozenset(row.place for row in group.target)
        if is_still:
            is_real = True
            mendings[group.identity] = mending(group, frozenset(places), present, is_keyed=is_keyed)
        elif epoch.alignment == "aligned":
            is_real = is_proven(group, untouched, earlier, epoch.source_xmin, is_keyed=is_keyed)
            if is_real:
                lasted = lasting(present, earlier, epoch.source_xmin, intervals_for(is_keyed=is_keyed))
                mendings[group.identity] = mending(group, untouched, lasted, is_keyed=is_keyed)
        else:
            is_real = comparison.rounds >= limits.max_rounds and is_standing(
                group, untouched, earlier, limits.max_rounds
            )
        if is_real:
            proven.append(group)
            continue
        doubtful[group.identity] = texts.get(group.identity, ())
        sighting = Sighting(
            epoch.horizon,
            epoch.source_xmin,
            frozenset(places),
            frozenset(row.place for row in group.target),
            len(untouched) == len(places),
        )
        sightings[group.identity] = [*earlier, sighting]
    # Together: were the table complete before its suspects are known, an error between would leave none to look at.
    comparison.suspects, comparison.sightings, comparison.is_complete = doubtful, sightings, is_all
    comparison.differing_rows += len(proven)
    _list(comparison, pair, epoch, recipe, limits, proven, texts, mendings)
    if comparison.is_complete and comparison.rounds > 1 and epoch.alignment == "aligned":
        _chase(comparison, pair, recipe, limits)
    if comparison.is_complete and not comparison.suspects:
        comparison.conclude()
    elif comparison.differing_rows and not comparison.is_complete:
        comparison.settle(
            "different", f"rows that differ: {comparison.differing_rows} or more, the rest was not examined"
        )


def _probe(pair: Pair, unit: Unit, recipe: Recipe, groups: Sequence[Group], epoch: Epoch, limits: Limits) -> Probe:
    """Probe; when a finished locker and a running change cannot be told apart yet, once more a moment later."""
    source = pair.session("source")

    def look() -> Probe:
        with reading(source):
            return probe(pair, unit, recipe, groups, current_xmin(source))

    seen = look()
    is_unclear = any(seen.xmax.values()) and seen.xmin < epoch.horizon
    return look() if is_unclear and wait_until_ended(source, epoch.horizon, limits.probe_wait_s) else seen


def _list(
    comparison: Comparison,
    pair: Pair,
    epoch: Epoch,
    recipe: Recipe,
    limits: Limits,
    groups: Sequence[Group],
    texts: Mapping[int, tuple[str, ...]],
    mendings: Mapping[int, Mending],
) -> None:
    """Name proven groups, as many as are held here or fit into the file, some at a time."""
    for start in range(0, len(groups), limits.named_at_once):
        room = max(limits.max_differences - len(comparison.differences), 0)
        if not room and limits.file is None:
            return
        chosen = groups[start : start + (limits.named_at_once if limits.file else min(room, limits.named_at_once))]
        found = named(
            comparison.unit, comparison.rounds, pair, epoch, recipe, limits.disclosure, chosen, texts, mendings
        )
        comparison.differences += found[:room]
        for difference in found if limits.file is not None else []:
            if limits.file is not None and not limits.file.add(comparison.look, difference.as_data()):
                return


# --- hot rows --------------------------------------------------------------------------------------------------


def _chase(comparison: Comparison, pair: Pair, recipe: Recipe, limits: Limits) -> None:
    """Settle rows that change faster than two snapshots can be ordered: watch the target become what the source was.

    A row that is written all the time differs between every two snapshots. But the target passes through each committed
    version: read the row on the source, then look at the target until it shows the same content. Only equality is
    concluded here, never a difference.
    """
    suspects = {i: key for i, key in comparison.suspects.items() if is_restless(comparison.sightings[i])}
    if not suspects or len(suspects) > limits.chased:
        return
    by_text = is_found_by_text(comparison.unit)  # then what is not found may still be there
    deadline = time.monotonic() + limits.chase_s
    with following(pair.session("source")), following(pair.session("target")):
        while suspects and time.monotonic() < deadline:
            wanted = _contents(pair, comparison.unit, recipe, suspects, "source")
            until = min(time.monotonic() + limits.probe_wait_s, deadline)
            open_ones = dict(suspects)
            while open_ones and time.monotonic() < until:
                present = _contents(pair, comparison.unit, recipe, open_ones, "target")
                equal = [i for i in open_ones if sorted(present.get(i, ())) == sorted(wanted.get(i, ()))]
                for identity in [i for i in equal if wanted.get(i) or not by_text]:
                    count = len(wanted.get(identity, ()))
                    _recount(comparison, identity, (count, count))
                    del open_ones[identity], suspects[identity], comparison.suspects[identity]
                    comparison.sightings.pop(identity, None)


def is_restless(sightings: Sequence[Sighting]) -> bool:
    """True when the source rows of a suspect change, so that waiting for another look may settle it."""
    return not sightings[-1].source_untouched or any(seen.source != sightings[-1].source for seen in sightings)


def _contents(
    pair: Pair, unit: Unit, recipe: Recipe, identities: Mapping[int, tuple[str, ...]], side: Side
) -> dict[int, list[tuple[int, int]]]:
    found = rows_of_identities(pair, unit, recipe, identities, 0, only=side)
    return {group.identity: [(row.content, row.generated) for row in (group.source or group.target)] for group in found}


def give_up(comparison: Comparison, reason: str) -> None:
    """Settle what is still undecided after the last round: never as verified."""
    if comparison.is_settled:
        return
    doubt = comparison.in_doubt = len(comparison.suspects)
    names = [comparison.unit.source.columns[position].name for position in comparison.unit.key]
    keys = [texts for texts in comparison.suspects.values() if texts]
    comparison.doubtful = [dict(zip(names, texts, strict=False)) for texts in keys[:NAMED_IN_DOUBT]]
    if comparison.obstacle:
        comparison.settle("unverified", comparison.obstacle)
    elif comparison.differing_rows:
        comparison.settle("different", f"rows that differ: {comparison.differing_rows}, in doubt: {doubt}")
    elif doubt and comparison.is_complete:
        comparison.settle("unverified", f"{reason}; rows: {doubt}")
    else:
        comparison.settle("unverified", reason)
