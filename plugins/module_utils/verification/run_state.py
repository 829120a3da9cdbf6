# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a run has proven so far, in a file on the machine that runs the module, so that a killed run can be continued.

On that machine and not on the target, because verify promises to write nothing there. Only proofs of equality are kept:
each is a line, appended at once, so that a kill loses at most the last one. Whatever does not fit is not used.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..driver import psycopg
from ..errors import MigrationError
from ..session import Session
from .comparison import Comparison
from .moment import Moment
from .pairing import Half, Unit

MAGIC = "state of seren.migrator verify"
FORMAT = 1

# A promoted standby or a restored backup may have lost what was proven; both begin a new timeline. A disk that was put
# back does not, but its WAL is shorter then.
_POSITION = """
SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) AS timeline,
       pg_catalog.pg_current_wal_insert_lsn()::text AS lsn
"""


def where(session: Session) -> tuple[str, str]:
    """Return the timeline and the insert position of a server; what it does not tell is ''."""
    try:
        row = session.row(_POSITION) or {}
    except psycopg.Error:
        return "", ""
    return str(row.get("timeline") or ""), str(row.get("lsn") or "")


def fingerprint(unit: Unit) -> str:
    """Return what a proof of a table rests on besides its rows: its OIDs, columns, key and predicate, on both sides."""

    def half(side: Half) -> Any:
        heaps = sorted((heap.oid, heap.schema, heap.name, heap.predicate) for heap in side.heaps)
        columns = [[column.name, column.base_type] for column in (*side.columns, *side.generated)]
        return [heaps, columns, len(side.generated)]

    content = [half(unit.source), half(unit.target), list(unit.key), list(unit.not_compared), unit.is_replicated]
    return hashlib.sha256(json.dumps(content).encode("utf-8", "surrogateescape")).hexdigest()


Name = tuple[str, str]  # schema and table


class Part(NamedTuple):
    """What names a unit in the file: a table, or a range of one."""

    schema: str
    table: str
    lower: str | None
    upper: str | None


def part_of(unit: Unit) -> Part:
    """Return what names a unit in the file."""
    span = unit.span
    return Part(unit.schema, unit.name, span.lower if span else None, span.upper if span else None)


@dataclass
class Kept:
    """What an earlier run has left behind: proofs by part, bounds and fingerprints by table."""

    started_at: str = ""
    proofs: dict[Part, dict[str, Any]] = field(default_factory=dict)
    bounds: dict[Name, tuple[str, ...]] = field(default_factory=dict)
    fingerprints: dict[Name, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ground:
    """What all proofs of a run rest on. ``facts`` are compared as they are; positions are of the two servers now."""

    facts: Mapping[str, Any]
    source_lsn: str
    target_lsn: str


class RunState:
    """The file of one run; a context manager. Raises ``bad_option`` when it cannot be used."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._noted: set[Part] = set()

    def __enter__(self) -> RunState:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        try:
            self._check()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

    def _check(self) -> None:
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise self._refused("it is not a regular file of the user who runs the module")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise self._refused("another run of verify uses it") from None
        begin = os.pread(self._descriptor, len(MAGIC) + 20, 0)
        if begin and MAGIC.encode() not in begin:
            raise self._refused("it holds something else")
        os.fchmod(self._descriptor, 0o600)

    def _refused(self, reason: str) -> MigrationError:
        return MigrationError(
            "bad_option",
            f"state_path: {self._path} cannot be used: {reason}.",
            "Give state_path a file of its own in an existing directory on the machine that runs the module, one for each"
            " migration.",
            {"option": "state_path", "path": self._path},
        )

    # --- an earlier run ----------------------------------------------------------------------------------------

    def read(self, ground: Ground) -> tuple[Kept, str]:
        """Return what an earlier run has left behind, or nothing and the reason."""
        lines = self._lines()
        if not lines:
            return Kept(), "there is no earlier run in state_path"
        head = lines[0]
        if head.get("format") != FORMAT:
            return Kept(), "the earlier run is of another release"
        for name, value in ground.facts.items():
            if head.get("ground", {}).get(name) != json.loads(json.dumps(value)):
                return Kept(), f"the earlier run does not fit: {name} is another one now"
        kept = Kept(started_at=str(head["started_at"]))
        for line in lines[1:]:
            if line["kind"] == "finished":
                return Kept(), "the earlier run had verified every table"
            table = (line["schema"], line["name"])
            kept.fingerprints[table] = line["fingerprint"]
            if line["kind"] == "cut":
                kept.bounds[table] = tuple(line["bounds"])
            else:
                part = Part(*table, line["lower"], line["upper"])
                kept.proofs[part] = line
            for side, now in (("source_lsn", ground.source_lsn), ("target_lsn", ground.target_lsn)):
                if not now or _position(line[side]) > _position(now):
                    return Kept(), f"the earlier run does not fit: WAL of the {side[:6]} ends before what it has proven"
        return kept, ""

    def _lines(self) -> list[dict[str, Any]]:
        """Return the lines that were written whole."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        found: list[dict[str, Any]] = []
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            for line in file:
                try:
                    content = json.loads(line)
                    if not line.endswith(b"\n") or content.pop("sum") != _sum(content):
                        break
                except (ValueError, KeyError, TypeError, AttributeError):
                    break
                found.append(content)
        return found

    # --- this run ----------------------------------------------------------------------------------------------

    def begin(self, ground: Ground, started_at: str, kept: Kept) -> None:
        """Begin the file anew: what it rests on, and what is kept of the earlier run."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(f"{self._path}.new", flags, 0o600)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        try:
            os.fchmod(descriptor, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before, self._descriptor = self._descriptor, descriptor
            self._append({"magic": MAGIC, "format": FORMAT, "ground": dict(ground.facts), "started_at": started_at})
            for name, bounds in kept.bounds.items():
                self.note_cut(name, bounds, kept.fingerprints[name], ground)
            for part, proof in kept.proofs.items():
                self._noted.add(part)
                self._append(proof)
            Path(f"{self._path}.new").replace(self._path)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        os.close(before)

    def note_cut(self, name: Name, bounds: Sequence[str], print_: str, ground: Ground) -> None:
        """Remember by which bounds a table is cut into ranges."""
        self._append(
            {
                "kind": "cut",
                "schema": name[0],
                "name": name[1],
                "bounds": list(bounds),
                "fingerprint": print_,
                "source_lsn": ground.source_lsn,
                "target_lsn": ground.target_lsn,
            }
        )

    def note(self, comparisons: Sequence[Comparison], target_lsn: str) -> None:
        """Remember those of the comparisons that are verified."""
        for comparison in comparisons:
            moment, part = comparison.moment, part_of(comparison.unit)
            if comparison.status != "verified" or moment is None or part in self._noted:
                continue
            self._noted.add(part)
            self._append(
                {
                    "kind": "verified",
                    "schema": part[0],
                    "name": part[1],
                    "lower": part[2],
                    "upper": part[3],
                    "fingerprint": fingerprint(comparison.unit),
                    "source_rows": comparison.source_rows,
                    "target_rows": comparison.target_rows,
                    "rounds": comparison.rounds,
                    "seconds": comparison.seconds,
                    "moment": asdict(moment),
                    "source_lsn": moment.last_lsn,
                    "target_lsn": target_lsn,
                }
            )

    def finish(self) -> None:
        """Remember that every table is verified: a later run begins anew."""
        self._append({"kind": "finished"})

    def _append(self, content: Mapping[str, Any]) -> None:
        line = (json.dumps({**content, "sum": _sum(content)}) + "\n").encode()
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from None
        if written < len(line):
            raise self._refused(os.strerror(errno.ENOSPC))


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _position(lsn: str) -> tuple[int, int]:
    high, _slash, low = lsn.partition("/")
    return (int(high, 16), int(low, 16)) if high and low else (0, 0)


def fitting(kept: Kept, units: Mapping[Name, Unit]) -> tuple[Kept, list[Name]]:
    """Return what is kept but of those tables that are not as they were, and the names of these. Pure."""
    changed = {name for name, known in kept.fingerprints.items() if name in units and known != fingerprint(units[name])}
    return (
        Kept(
            kept.started_at,
            {part: proof for part, proof in kept.proofs.items() if part[:2] not in changed},
            {name: bounds for name, bounds in kept.bounds.items() if name not in changed},
            {name: value for name, value in kept.fingerprints.items() if name not in changed},
        ),
        sorted(changed),
    )


def restore(comparison: Comparison, kept: Kept) -> None:
    """Settle a comparison that an earlier run has verified."""
    proof = kept.proofs.get(part_of(comparison.unit))
    if proof is None:
        return
    comparison.source_rows, comparison.target_rows = proof["source_rows"], proof["target_rows"]
    comparison.rounds, comparison.seconds = proof["rounds"], proof["seconds"]
    comparison.moment, comparison.is_resumed = Moment(**proof["moment"]), True
    comparison.settle("verified")
