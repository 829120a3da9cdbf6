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


def copy_all(source: Session, target: Session, *, again: bool, without_owners: bool = False) -> int:
    """Copy every large object under its own OID; return how many.

    ``source`` is inside the snapshot's transaction. ``again`` says that an earlier attempt of ours may have left some:
    they are replaced. Otherwise an OID in use raises ``target_not_empty``. Owners are kept, unless ``without_owners``;
    grants are not.
    """
    objects = source.rows(_LIST)
    for item in objects:
        oid = item["oid"]
        with target.transaction():
            if target.value(
                "SELECT 1 AS found FROM pg_catalog.pg_largeobject_metadata AS m WHERE m.oid = %(oid)s", {"oid": oid}
            ):
                if not again:
                    raise MigrationError(
                        "target_not_empty",
                        f"The target already holds a large object with OID {oid}.",
                        f"Remove it (SELECT lo_unlink({oid})) when nothing needs it, or use large_objects: skip.",
                    )
                target.connection.execute("SELECT pg_catalog.lo_unlink(%(oid)s)", {"oid": oid})
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
