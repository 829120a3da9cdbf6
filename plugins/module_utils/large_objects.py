# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Large objects, which logical replication does not carry: copied once, inside the snapshot, a piece at a time."""

from __future__ import annotations

from .driver import sql
from .errors import MigrationError
from .session import Session

PIECE_BYTES = 1 << 20

_LIST = """
SELECT m.oid::bigint AS oid, pg_catalog.pg_get_userbyid(m.lomowner) AS owner
  FROM pg_catalog.pg_largeobject_metadata AS m
 ORDER BY m.oid
"""


def check_free(source: Session, target: Session) -> None:
    """Raise ``target_not_empty`` when an OID of a large object of the source is in use on the target."""
    oids = [item["oid"] for item in source.rows(_LIST)]
    taken = target.rows(
        "SELECT m.oid::bigint AS oid FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = ANY (%(oids)s::oid[])"
        " ORDER BY m.oid LIMIT 5",
        {"oids": oids},
    )
    if taken:
        names = ", ".join(str(row["oid"]) for row in taken)
        raise MigrationError(
            "target_not_empty",
            f"The target already holds large objects with OIDs that the source uses: {names}.",
            "Remove them (SELECT lo_unlink(oid)) when nothing needs them, or use large_objects: skip.",
        )


def copy_all(source: Session, target: Session, *, without_owners: bool = False) -> int:
    """Copy every large object under its own OID; return how many.

    ``source`` is inside the snapshot's transaction. :func:`check_free` comes before the first attempt; what has one of
    these OIDs on the target is then left from an earlier attempt of ours, and replaced. Owners are kept, unless
    ``without_owners``; grants are not.
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
            if not without_owners:
                target.connection.execute(
                    sql.SQL("ALTER LARGE OBJECT {} OWNER TO {}").format(sql.Literal(oid), sql.Identifier(item["owner"]))
                )
    if objects:
        target.log.add("target", f"lo_create, lo_put: {len(objects)} large object(s)")
    return len(objects)
