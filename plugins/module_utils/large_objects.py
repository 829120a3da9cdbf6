# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Large objects, which logical replication does not carry: copied once, inside the snapshot, many at a time.

With their owners, privileges and comments. What is under way at a time is bounded, in objects and in bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from . import acl, attempts, privileges
from .acl import Change, Usual
from .attempts import Attempt
from .claim import Claim
from .driver import psycopg, sql
from .errors import MigrationError
from .ledger import Record
from .role_names import RoleNames
from .session import Session

OBJECTS_AT_ONCE = 500
BYTES_AT_ONCE = 4 << 20
# The first look at an object; most are smaller.
SMALL_BYTES = 8 << 10
DROPPED_AT_ONCE = 1000
RANGES_AT_ONCE = 1000

# OIDs as [first, last] of consecutive ones, so that millions of objects fit into a few lines.
_RANGES = """
SELECT min(n.oid)::bigint AS first, max(n.oid)::bigint AS last
  FROM (SELECT m.oid::bigint AS oid, m.oid::bigint - pg_catalog.row_number() OVER (ORDER BY m.oid) AS island
          FROM pg_catalog.pg_largeobject_metadata AS m) AS n
 GROUP BY n.island
 ORDER BY 1
"""

_BATCH = """
SELECT m.oid::bigint AS oid, pg_catalog.pg_get_userbyid(m.lomowner) AS owner,
       pg_catalog.obj_description(m.oid, 'pg_largeobject') AS comment,
       m.lomacl::text[] AS acl
  FROM pg_catalog.pg_largeobject_metadata AS m
 WHERE m.oid > %(after)s::bigint::oid
 ORDER BY m.oid
 LIMIT %(count)s
"""

_PIECES = """
SELECT w.oid, pg_catalog.lo_get(w.oid::oid, w.start, %(length)s) AS piece
  FROM unnest(%(oids)s::bigint[], %(starts)s::bigint[]) AS w(oid, start)
"""

_DROP = """
SELECT count(pg_catalog.lo_unlink(m.oid)) AS dropped
  FROM (SELECT l.oid
          FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS w(first, last)
          JOIN pg_catalog.pg_largeobject_metadata AS l ON l.oid BETWEEN w.first::oid AND w.last::oid
         LIMIT %(count)s) AS m
"""


def recorded(record: Record) -> list[list[int]]:
    """Return the ranges of OIDs that the ledger knows as ours."""
    if "large_objects" not in record.steps:
        return []
    known: list[list[int]] = record.steps["large_objects"].detail.get("oids", [])
    return known


def drop(claim: Claim, known: Sequence[Sequence[int]]) -> None:
    """Drop the large objects of these ranges, some at a time: each one takes a lock until its transaction ends.

    Each time the claim is checked, and kept by a lock: a later runner may copy objects of the same OIDs.
    """
    target, total = claim.session, 0
    for start in range(0, len(known), RANGES_AT_ONCE):
        some = known[start : start + RANGES_AT_ONCE]
        parameters = {
            "firsts": [first for first, _last in some],
            "lasts": [last for _first, last in some],
            "count": DROPPED_AT_ONCE,
        }
        dropped = DROPPED_AT_ONCE
        while dropped == DROPPED_AT_ONCE:
            with target.transaction():
                claim.write("SELECT 1")
                dropped = target.value(_DROP, parameters)
            total += dropped
    if total:
        target.log.add("target", "lo_unlink: the large objects that were copied")


def ranges(source: Session) -> list[list[int]]:
    """Return the OIDs that the source uses, as ranges in their order."""
    return [[row["first"], row["last"]] for row in source.rows(_RANGES)]


def joined(several: Iterable[Sequence[int]]) -> list[list[int]]:
    """Return ranges of OIDs without overlaps, those that touch as one. Pure."""
    result: list[list[int]] = []
    for first, last in sorted((first, last) for first, last in several):
        if result and first <= result[-1][1] + 1:
            result[-1][1] = max(result[-1][1], last)
        else:
            result.append([first, last])
    return result


def without(known: Sequence[Sequence[int]], present: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return what of ``known`` is not ``present``; both are in order, without overlaps. Pure."""
    result: list[list[int]] = []
    number = 0
    for first, last in known:
        start = first
        while number < len(present) and present[number][0] <= last:
            low, high = present[number]
            if low > start:
                result.append([start, low - 1])
            start = max(start, high + 1)
            if high > last:  # it goes on in the next range
                break
            number += 1
        if start <= last:
            result.append([start, last])
    return result


_TAKEN = """
SELECT m.oid::bigint AS oid
  FROM pg_catalog.pg_largeobject_metadata AS m
 WHERE EXISTS (SELECT 1 FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS w(first, last)
                WHERE m.oid::bigint BETWEEN w.first AND w.last)
   AND NOT EXISTS (SELECT 1 FROM unnest(%(our_firsts)s::bigint[], %(our_lasts)s::bigint[]) AS o(first, last)
                    WHERE m.oid::bigint BETWEEN o.first AND o.last)
 ORDER BY m.oid
 LIMIT 5
"""


def check_free(target: Session, wanted: Sequence[Sequence[int]], ours: Sequence[Sequence[int]]) -> None:
    """Raise ``target_not_empty`` when one of these OIDs is in use on the target and not ours."""
    parameters = {
        "firsts": [first for first, _last in wanted],
        "lasts": [last for _first, last in wanted],
        "our_firsts": [first for first, _last in ours],
        "our_lasts": [last for _first, last in ours],
    }
    taken = target.rows(_TAKEN, parameters)
    if taken:
        names = ", ".join(str(row["oid"]) for row in taken)
        raise MigrationError(
            "target_not_empty",
            f"The target already holds large objects with OIDs that the source uses: {names}.",
            "Remove them (SELECT lo_unlink(oid)) when nothing needs them, or use large_objects: skip.",
        )


@dataclass(frozen=True)
class LargeObject:
    """A large object without its bytes. ``acl`` is an aclitem[] as text, None where nothing was ever granted or revoked."""

    oid: int
    owner: str
    comment: str | None
    acl: tuple[str, ...] | None


@dataclass
class Copied:
    """How many objects were copied, and how often what of them was refused or has nobody to go to."""

    count: int = 0
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def left(self) -> list[dict[str, str]]:
        """What stays behind, as results show it."""
        return [
            {"object": f"{what} of {count} large object(s)", "reason": reason}
            for (what, reason), count in sorted(self.refused.items())
        ]


def copy_all(source: Session, target: Session, names: RoleNames) -> Copied:
    """Copy every large object under its own OID, with owner, privileges and comment.

    ``source`` is inside the snapshot's transaction. The OIDs (:func:`ranges`) are recorded before; what has one of
    these OIDs on the target is then left from an earlier attempt of ours, and replaced.
    """
    done = Copied()
    for batch in _batches(source):
        with target.transaction():
            _copy_bytes(source, target, batch)
            _give_rights(target, batch, names, done)
        done.count += len(batch)
    if done.count:
        target.log.add("target", f"lo_create, lo_put: {done.count} large object(s)")
    return done


def _batches(source: Session) -> Iterator[list[LargeObject]]:
    after = 0
    while True:
        rows = source.rows(_BATCH, {"after": after, "count": OBJECTS_AT_ONCE})
        if not rows:
            return
        after = rows[-1]["oid"]
        yield [
            LargeObject(
                row["oid"],
                row["owner"],
                row["comment"],
                None if row["acl"] is None else tuple(row["acl"]),
            )
            for row in rows
        ]


_CREATE = """
SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata AS m
 WHERE m.oid = ANY (%(oids)s::bigint[]::oid[]);
SELECT count(pg_catalog.lo_create(w.oid::oid)) FROM unnest(%(oids)s::bigint[]) AS w(oid)
"""
_PUT = """
SELECT count(*)
  FROM unnest(%(oids)s::bigint[], %(starts)s::bigint[], %(pieces)s::bytea[]) AS w(oid, start, piece)
 CROSS JOIN LATERAL pg_catalog.lo_put(w.oid::oid, w.start, w.piece)
"""


def _copy_bytes(source: Session, target: Session, batch: Sequence[LargeObject]) -> None:
    """Make the objects and fill them, round by round: from each that has more, as much as they all may have together."""
    # Without parameters of the protocol both statements fit into one string.
    psycopg.ClientCursor(target.connection).execute(_CREATE, {"oids": [item.oid for item in batch]})
    starts = {item.oid: 0 for item in batch}
    while starts:
        length = max(SMALL_BYTES, BYTES_AT_ONCE // len(starts))
        asked = {"oids": list(starts), "starts": list(starts.values()), "length": length}
        pieces = {
            row["oid"]: row["piece"] for row in source.connection.execute(_PIECES, asked, binary=True) if row["piece"]
        }
        if pieces:
            put = {"oids": list(pieces), "starts": [starts[oid] for oid in pieces], "pieces": list(pieces.values())}
            target.connection.execute(_PUT, put)
        starts = {oid: starts[oid] + length for oid, piece in pieces.items() if len(piece) == length}


# What there is to be granted on a large object: SELECT and UPDATE.
_USUAL = Usual(frozenset("rw"), frozenset())


def _give_rights(target: Session, batch: Sequence[LargeObject], names: RoleNames, done: Copied) -> None:
    """Give comments, owners and privileges: one statement for all objects that want the same."""
    wanted: list[tuple[Attempt, int]] = []
    comments = [item for item in batch if item.comment is not None]
    if comments:
        texts = [
            sql.SQL("COMMENT ON LARGE OBJECT {} IS {}").format(sql.Literal(item.oid), sql.Literal(item.comment))
            for item in comments
        ]
        wanted.append((Attempt("comment", sql.SQL(";\n").join(texts)), len(comments)))
    of_owner: dict[str, list[int]] = {}
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for item in batch:
        owner = names.owner_of(item.owner)
        if owner != names.connected:
            of_owner.setdefault(owner, []).append(item.oid)
        if item.acl is not None:
            alike.setdefault((item.owner, item.acl), []).append(item.oid)
    for owner, oids in of_owner.items():
        texts = [
            sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(sql.Literal(oid), sql.Identifier(owner)) for oid in oids
        ]
        wanted.append((Attempt(f"owner {owner}", sql.SQL(";\n").join(texts)), len(oids)))
    _carry_out(target, wanted, done)
    granted: list[tuple[str, Change, list[int]]] = []
    for (owner, items), oids in alike.items():
        changes, losses = grants(owner, items, names)
        granted += [(names.owner_of(owner), change, oids) for change in changes]
        for role in losses.roles:
            done.refused[f"privileges of role {role}", "no role of the target stands for it"] += len(oids)
        for role in losses.grantors:
            done.refused[_as_grantor(role), "granted by the owner"] += len(oids)
    _grant(target, granted, names, done)


def _as_grantor(role: str) -> str:
    return f"role {role} as the one who has granted"


def _carry_out(target: Session, wanted: Sequence[tuple[Attempt, int]], done: Copied) -> None:
    counts = {id(attempt): count for attempt, count in wanted}
    for refused in attempts.carry_out(target, [attempt for attempt, _count in wanted]):
        done.refused[refused.attempt.what, refused.reason] += counts[id(refused.attempt)]


def grants(owner: str, items: Sequence[str], names: RoleNames) -> tuple[list[Change], acl.Losses]:
    """Return what objects with this ACL have to be given once they have their owner, and what cannot be repeated. Pure.

    ``owner`` and the roles of ``items`` are the source's.
    """
    there = names.owner_of(owner)
    wanted, losses = acl.carried(acl.parse(items), owner, there, names, _USUAL, _USUAL)
    return acl.changes(_USUAL.of(there), wanted, there), losses


def _grant(target: Session, granted: Sequence[tuple[str, Change, list[int]]], names: RoleNames, done: Copied) -> None:
    """Grant as who has granted on the source, where we may act as that role, otherwise as the owner, which is told."""
    others = {change.grantor for owner, change, _oids in granted if change.grantor != owner}
    usable = privileges.may_act_as(target, others)
    wanted: list[tuple[Attempt, int]] = []
    passed_on: list[tuple[Attempt, Attempt, Change, int]] = []
    for owner, change, oids in granted:
        by_owner = _attempt(owner, owner, change, oids, names)
        if change.grantor == owner:
            wanted.append((by_owner, len(oids)))
        elif change.grantor in usable:
            passed_on.append((_attempt(owner, change.grantor, change, oids, names), by_owner, change, len(oids)))
        else:
            done.refused[_as_grantor(change.grantor), "granted by the owner"] += len(oids)
            wanted.append((by_owner, len(oids)))
    _carry_out(target, wanted, done)
    refused = {id(item.attempt) for item in attempts.carry_out(target, [attempt for attempt, *_rest in passed_on])}
    again: list[tuple[Attempt, int]] = []
    for attempt, by_owner, change, count in passed_on:
        if id(attempt) in refused:
            done.refused[_as_grantor(change.grantor), "granted by the owner"] += count
            again.append((by_owner, count))
    _carry_out(target, again, done)


def _attempt(owner: str, grantor: str, change: Change, oids: Sequence[int], names: RoleNames) -> Attempt:
    """Return the GRANT or REVOKE on all these objects, as ``grantor``: privileges are its own to give."""
    words = [sql.SQL(word) for word in acl.words(change.letters)]
    what = sql.SQL("LARGE OBJECT {}").format(sql.SQL(", ").join(map(sql.Literal, oids)))
    text = privileges.grant(change, words, what)
    if grantor != names.connected:  # also where we do not inherit its rights
        text = sql.SQL("SET LOCAL ROLE {};\n{};\nRESET ROLE").format(sql.Identifier(grantor), text)
    return Attempt(f"privileges of owner {owner}", text)
