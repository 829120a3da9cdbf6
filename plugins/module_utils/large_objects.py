# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Large objects, which logical replication does not carry: copied once, inside the snapshot, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .claim import Claim
from .driver import sql
from .errors import MigrationError
from .ledger import Record
from .role_names import RoleNames
from .session import Session

PIECE_BYTES = 1 << 20
DROPPED_AT_ONCE = 1000

_LIST = """
SELECT m.oid::bigint AS oid, pg_catalog.pg_get_userbyid(m.lomowner) AS owner
  FROM pg_catalog.pg_largeobject_metadata AS m
 ORDER BY m.oid
"""


_DROP = """
SELECT count(pg_catalog.lo_unlink(m.oid)) AS dropped
  FROM (SELECT l.oid FROM pg_catalog.pg_largeobject_metadata AS l
         WHERE l.oid BETWEEN %(first)s::bigint AND %(last)s::bigint LIMIT %(count)s) AS m
"""


def oid_ranges(oids: Iterable[int]) -> list[list[int]]:
    """Return OIDs as [first, last] of consecutive ones, which is short for what was made in a row. Pure."""
    ranges: list[list[int]] = []
    for oid in sorted(set(oids)):
        if ranges and ranges[-1][1] == oid - 1:
            ranges[-1][1] = oid
        else:
            ranges.append([oid, oid])
    return ranges


def recorded(record: Record) -> list[list[int]]:
    """Return the ranges of OIDs that the ledger knows as ours."""
    ranges: list[list[int]] = (
        record.steps["large_objects"].detail.get("oids", []) if "large_objects" in record.steps else []
    )
    return ranges


def drop(claim: Claim, ranges: Sequence[Sequence[int]]) -> None:
    """Drop the large objects of these ranges, some at a time: each one takes a lock until its transaction ends.

    Each time the claim is checked, and kept by a lock: a later runner may copy objects of the same OIDs.
    """
    target = claim.session
    for first, last in ranges:
        dropped = 1
        while dropped:
            with target.transaction():
                claim.write("SELECT 1")
                dropped = target.value(_DROP, {"first": first, "last": last, "count": DROPPED_AT_ONCE})
    target.log.add("target", "lo_unlink: the large objects that were copied")


def intended(source: Session, target: Session, record: Record) -> list[list[int]]:
    """Return the ranges of OIDs that the ledger is to know as ours before they are copied.

    Raises ``target_not_empty`` when one of them that is not ours yet is in use on the target.
    """
    known = recorded(record)
    oids = {item["oid"] for item in source.rows(_LIST)}
    check_free(target, [oid for oid in oids if not any(first <= oid <= last for first, last in known)])
    return oid_ranges(oids | {oid for first, last in known for oid in range(first, last + 1)})


def check_free(target: Session, oids: Sequence[int]) -> None:
    """Raise ``target_not_empty`` when one of these OIDs of large objects is in use on the target."""
    taken = target.rows(
        "SELECT m.oid::bigint AS oid FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = ANY (%(oids)s::oid[])"
        " ORDER BY m.oid LIMIT 5",
        {"oids": list(oids)},
    )
    if taken:
        names = ", ".join(str(row["oid"]) for row in taken)
        raise MigrationError(
            "target_not_empty",
            f"The target already holds large objects with OIDs that the source uses: {names}.",
            "Remove them (SELECT lo_unlink(oid)) when nothing needs them, or use large_objects: skip.",
        )


def copy_all(source: Session, target: Session, names: RoleNames) -> int:
    """Copy every large object under its own OID; return how many.

    ``source`` is inside the snapshot's transaction. What :func:`intended` returned is recorded before; what has one of
    these OIDs on the target is then left from an earlier attempt of ours, and replaced. Owners are kept, as
    ``names`` has them; grants are not.
    """
    objects = source.rows(_LIST)
    for item in objects:
        oid = item["oid"]
        with target.transaction():
            target.connection.execute(
                "SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = %(oid)s",
                {"oid": oid},
            )
            target.connection.execute("SELECT pg_catalog.lo_create(%(oid)s)", {"oid": oid})
            offset = 0
            while piece := source.value(
                "SELECT pg_catalog.lo_get(%(oid)s, %(offset)s, %(length)s) AS piece",
                {"oid": oid, "offset": offset, "length": PIECE_BYTES},
            ):
                target.connection.execute(
                    "SELECT pg_catalog.lo_put(%(oid)s, %(offset)s, %(piece)s)",
                    {"oid": oid, "offset": offset, "piece": piece},
                )
                offset += len(piece)
            owner = names.owner_of(item["owner"])
            if owner != names.connected:
                target.connection.execute(
                    sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(sql.Literal(oid), sql.Identifier(owner))
                )
    if objects:
        target.log.add("target", f"lo_create, lo_put: {len(objects)} large object(s)")
    return len(objects)
