# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The check of privileges that were changed on what PostgreSQL itself or an extension brought.

init repeats them on the target, where another role may own these objects, and a newer version may have them no more.
"""

from __future__ import annotations

from .. import changed_privileges, owned
from .check import Check, Outcome, check, failed, passed, statements
from .context import Context

CHECKS: list[Check] = []

_INSTALLED = "SELECT e.extname AS name FROM pg_catalog.pg_extension AS e"


@check(
    CHECKS, "system_privileges", "Privileges on objects of PostgreSQL and of extensions can be repeated on the target",
    side="target", severity="warning",
)  # fmt: skip
def system_privileges(context: Context) -> Outcome:
    """X18. What cannot be repeated stays behind, and is named."""
    changed = [item for item in changed_privileges.read(context.source.session) if not item.is_schema_of_users]
    changed = [item for item in changed if item.kind != "DATABASE"]
    if not changed:
        return passed()
    session = context.target.session
    there = changed_privileges.there(session, changed)
    installed: set[str] = set()
    if context.target_database is not None:
        installed = {row["name"] for row in context.target_database.rows(_INSTALLED)}
    is_superuser = context.target.role.is_superuser
    # What comes with an extension belongs to a superuser, or to who makes it.
    coming = [item for item in changed if item.extension is not None and item.extension not in installed]
    usuals = (context.holdings.usual, owned.usual(session))
    planned, lost, gone = changed_privileges.plan(
        [item for item in changed if item not in coming], there, context.names, context.left_behind, (), usuals
    )
    by_hand = [] if is_superuser else [item for item in planned if not item.item.is_ours]
    entries = [
        *gone,
        *lost.entries(context.target.major),
        *(
            {"object": f"privileges on {item.item.shown}", "reason": f"only {item.item.owner} may change them there"}
            for item in by_hand
        ),
        *(
            {"object": f"privileges on {item.shown}", "reason": f"extension {item.extension} brings it"}
            for item in ([] if is_superuser else coming)
        ),
    ]
    if not entries:
        return passed("They will be repeated on the target.")
    grants = [changed_privileges.statement(session, item.item, change) for item in by_hand for change in item.changes]
    return failed(
        "Privileges were changed on objects that do not belong to a user; these will not be repeated on the target: "
        + "; ".join(f"{entry['object']}: {entry['reason']}" for entry in entries)
        + ".",
        "-- on the target, as its administrator, once init has made the roles\n" + statements(*grants)
        if grants
        else "Grant on the target by hand what is needed there, as its administrator.",
        objects=[entry["object"].removeprefix("privileges on ") for entry in entries],
    )
