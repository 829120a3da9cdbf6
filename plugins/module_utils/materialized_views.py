# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Materialized views are refreshed on the target, in their order; one whose query fails stays as it is, and is named.

A view that is populated on the source may be one that could not be made today: its owner may not read its tables any
more, a function of it raises, the server of a foreign table cannot be reached from the target.
"""

from __future__ import annotations

from collections.abc import Iterable

from .catalog import Catalog, MaterializedView
from .driver import psycopg, sql
from .session import Session

# What another try may cure, or what is wrong with the server and not with the view: conflicts, a full disk, somebody's
# interference, failures of the system, damaged pages.
_NOT_OF_THE_VIEW = ("40", "53", "57", "58", "55006", "55P03", "XX001", "XX002")


def refresh(target: Session, catalog: Catalog, there: Catalog) -> list[dict[str, str]]:
    """Refresh the target's materialized views that are populated on the source, each after those it reads.

    ``catalog`` is the selected part of the source's, ``there`` the target's. Returns what could not be refreshed, with
    the server's reason. Errors that have nothing to do with the view are raised.
    """
    present = {(view.schema, view.name) for view in there.materialized_views}
    populated = [view for view in catalog.materialized_views if view.is_populated]
    populated = [view for view in populated if (view.schema, view.name) in present]
    left = []
    for view in refresh_order(populated):
        try:
            target.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(view.schema, view.name)))
        except psycopg.Error as error:
            if target.connection.closed or not error.sqlstate or error.sqlstate.startswith(_NOT_OF_THE_VIEW):
                raise
            said = target.log.redactor.text(error.diag.message_primary or "refused")
            reason = f"REFRESH MATERIALIZED VIEW fails on the target, do it there once it can be done: {said}"
            left.append({"object": f"rows of materialized view {view.qualified}", "reason": reason})
    return left


def refresh_order(views: Iterable[MaterializedView]) -> list[MaterializedView]:
    """Return materialized views so that each comes after those it reads. Pure."""
    waiting = list(views)
    ordered: list[MaterializedView] = []
    while waiting:
        open_oids = {view.oid for view in waiting}
        ready = [view for view in waiting if not open_oids & set(view.depends_on)]
        ordered += ready or waiting
        waiting = [view for view in waiting if view not in ordered]
    return ordered
