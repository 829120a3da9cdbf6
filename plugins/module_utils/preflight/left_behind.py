# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of objects of the source that replication or init leave behind, or that need a hand at the cut-over."""

from __future__ import annotations

from .. import never_carried, security_labels
from .. import user_mappings as mappings
from ..driver import sql
from ..migration import stream_names
from ..session import Session
from .check import Check, Outcome, check, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []

# Streams of this migration whose publications are its own.
STREAMS = 16
# A refresh writes the whole view: minutes, or what its readers notice.
SLOW_VIEW_BYTES = 4 << 30
LOCKED_VIEW_BYTES = 256 << 20

_LARGE_VIEWS = """
SELECT c.oid::bigint AS oid, pg_catalog.pg_table_size(c.oid) AS bytes,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i
                WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                  AND NOT 0 = ANY (i.indkey::int2[])) AS has_unique_index
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[])
"""

# pg_dump leaves an index out that is not valid; one of a partitioned table only waits for those of its partitions.


@check(
    CHECKS,
    "materialized_views",
    "Materialized views are refreshed quickly",
    side="source",
    severity="warning",
)
def materialized_views(context: Context) -> Outcome:
    """O3. init refreshes them; at the cut-over they have to be refreshed once more, to show the latest rows."""
    views = {view.oid: view.qualified for view in context.selected.catalog.materialized_views if view.is_populated}
    if not views:
        return passed()
    rows = {row["oid"]: row for row in context.source.rows(_LARGE_VIEWS, {"oids": list(views)})}
    large = [
        (oid, rows[oid])
        for oid in views
        if oid in rows
        and rows[oid]["bytes"] >= (SLOW_VIEW_BYTES if rows[oid]["has_unique_index"] else LOCKED_VIEW_BYTES)
    ]
    if not large:
        return passed(f"{len(views)} materialized views are refreshed by init.")
    return failed(
        "Replication does not refresh these large materialized views: init does once, and they are out of date again "
        "at the cut-over. While one without a unique index over columns is refreshed, nobody can read it.",
        "Plan their refresh after the cut-over; a unique index over columns allows REFRESH MATERIALIZED VIEW "
        "CONCURRENTLY.",
        objects=[
            f"{views[oid]} ({row['bytes'] >> 20} MiB{'' if row['has_unique_index'] else ', no unique index'})"
            for oid, row in large
        ],
    )


@check(
    CHECKS,
    "user_mappings",
    "No user mapping is needed on the target",
    side="source",
    severity="warning",
)
def user_mappings(context: Context) -> Outcome:
    """O4. init restores servers, but makes user mappings, which hold secrets, only when it is told to."""
    found = mappings.read(context.source.session, context.left_behind)
    if context.options.user_mappings == "create":
        found = [item for item in found if not item.is_readable or _is_homeless(context, item)]
    if not found:
        return passed()
    return failed(
        (
            "Their options cannot be read, or nobody on the target stands for their role, so these user mappings are not "
            "made; foreign tables cannot be read on the target without them."
            if context.options.user_mappings == "create"
            else "User mappings hold secrets and are not migrated without being asked for; foreign tables cannot be read on "
            "the target without them."
        ),
        "-- on the target, once init has made the servers\n"
        + statements(
            *(
                statement(
                    "CREATE USER MAPPING FOR {} SERVER {} OPTIONS (user :'user', password :'password')",
                    sql.SQL("PUBLIC") if item.role is None else name(context.names.of(item.role) or item.role),
                    name(item.server),
                )
                for item in found
            )
        )
        + ("" if context.options.user_mappings == "create" else "\n-- or user_mappings: create"),
        objects=[f"{item.role or 'public'} on {item.server}" for item in found],
    )


def _is_homeless(context: Context, item: mappings.UserMapping) -> bool:
    return item.role is not None and context.names.of(item.role) is None


@check(CHECKS, "publications", "Nobody else subscribes to the source", side="source", severity="info")
def publications(context: Context) -> Outcome:
    """O11. Publications and subscriptions stay behind; a restored subscription would steal its slot."""
    # Without the comment it is somebody else's, or left by the old command-line tool: names_taken speaks of it.
    taken = {stream_names(context.migration.name, "0" * 32, number).publication for number in range(1, STREAMS + 1)}
    names = [row["name"] for row in context.source.rows(never_carried.PUBLICATIONS) if row["name"] not in taken]
    if not names:
        return passed()
    return failed(
        "Publications are not migrated: whoever reads them has to be moved to the target at the cut-over.",
        "Create them on the target before the cut-over, and let their readers start there.",
        objects=names,
    )


@check(CHECKS, "security_labels", "The target knows the providers of security labels", side="target", severity="info")
def labels(context: Context) -> Outcome:
    """O12. Labels of roles travel with those that init makes; which a server has loaded, only a statement tells."""
    rows = context.source.rows(security_labels.QUERY)
    labelled = {row["role"] for row in rows} - {None}
    coming = {role.name for role in context.role_plan.create} if labelled else set()
    made = [role for role in labelled if context.names.of(role) in coming]
    with_objects = context.options.large_objects == "copy"
    found = security_labels.travelling(
        security_labels.read(rows), context.left_behind, made, large_objects=with_objects
    )  # fmt: skip
    if not found:
        return passed()
    # A read-only session would refuse the question itself.
    with Session.open(context.target.session.endpoint, context.migration.log, purpose="validate") as session:
        providers = sorted({item.provider for item in found})
        missing = [item for item in providers if not security_labels.is_loaded(session, item)]
    if not missing:
        return passed(f"{len(found)} labels.")
    return failed(
        f"The target's sessions have not loaded the label provider(s) {', '.join(missing)}: these labels stay behind.",
        "Load the provider's library on the target (shared_preload_libraries), or set the labels there with SECURITY LABEL "
        "before the cut-over.",
        objects=[f"{item.what} ({item.provider})" for item in found if item.provider in missing],
    )


@check(CHECKS, "tablespaces", "Everything is in the default tablespace", side="source", severity="info")
def tablespaces(context: Context) -> Outcome:
    """O12."""
    catalog = context.selected.catalog
    oids = [item.oid for item in catalog.tables] + [item.oid for item in catalog.materialized_views]
    rows = context.source.rows(never_carried.TABLESPACES, {"oids": oids})
    if not rows:
        return passed()
    return failed(
        "Tablespaces are not migrated: on the target these are stored in the database's default one.",
        "Move them on the target where it matters: ALTER TABLE ... SET TABLESPACE.",
        objects=[f"{row['schema']}.{row['name']} ({row['tablespace']})" for row in rows],
    )
