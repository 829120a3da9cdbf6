# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What belongs to the database as a whole is carried over at the end of init: labels, event triggers, settings.

In this order, because what would act on our own work has to come last. Where there is nothing, nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from . import (
    attempts,
    database_properties,
    database_settings,
    event_triggers,
    extensions,
    provider,
    role_making,
    security_labels,
)
from .claim import Claim
from .ledger import Record
from .role_names import RoleNames
from .session import Session
from .side_by_side import both

SECURITY_LABELS = "security_labels"
_ROLES = "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r"


class Policies(Protocol):
    """The options of init that matter here."""

    @property
    def jobs(self) -> int:
        """How many things may be done at the same time."""

    @property
    def index_jobs(self) -> int | None:
        """How many indexes may be built at the same time, None for as many as jobs."""

    @property
    def large_objects(self) -> str:
        """Copy, skip or fail."""

    @property
    def event_triggers(self) -> str:
        """Copy, skip or fail."""


def _labels(
    rows: Iterable[dict[str, object]],
    target: Session,
    names: RoleNames,
    ours_there: Collection[str],
    options: Policies,
    left_behind: Collection[tuple[int, int]],
) -> tuple[list[security_labels.Label], list[dict[str, str]]]:
    """Return the labels that travel, and what stays behind; ``ours_there`` are roles of ours: others are not ours to label."""
    found = security_labels.read(rows)
    made = [item.role for item in found if item.role is not None and names.of(item.role) in ours_there]
    with_objects = options.large_objects == "copy"
    labels = security_labels.travelling(found, left_behind, made, large_objects=with_objects)
    before = {row["name"] for row in target.rows(_ROLES)} - {*ours_there}
    reason = "the role was on the target before, and is not changed"
    others = [item for item in found if item.role is not None and names.of(item.role) in before]
    return labels, [{"object": f"security label of {item.what}", "reason": reason} for item in others]


def foretold_labels(
    source: Session,
    target: Session,
    names: RoleNames,
    ours_there: Collection[str],
    options: Policies,
    left_behind: Collection[tuple[int, int]],
) -> list[dict[str, str]]:
    """Return which labels will stay behind, for check mode; ``ours_there`` are also roles that are still to be made."""
    rows = source.rows(security_labels.QUERY)
    if not rows:
        return []
    labels, left = _labels(rows, target, names, ours_there, options, left_behind)
    # A read-only session would refuse the question itself.
    with Session.open(target.endpoint, target.log, purpose="init") as asking:
        for provider_name in sorted({item.provider for item in labels}):
            if not security_labels.is_loaded(asking, provider_name):
                left.append(
                    security_labels.behind(provider_name, [item for item in labels if item.provider == provider_name])
                )
    return left


def finish(
    claim: Claim,
    record: Record,
    source: Session,
    target: Session,
    options: Policies,
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
) -> None:
    """Carry over what the ledger does not call done; ``left_behind`` is what the selection leaves on the source."""
    (rows, triggers, own, wanted), (there, present) = both(
        lambda: source.rows_of(
            security_labels.QUERY, event_triggers.QUERY, database_properties.QUERY, extensions.COMMENTS
        ),
        lambda: target.rows_of(database_properties.QUERY, extensions.COMMENTS),
    )
    if rows and not record.is_done(SECURITY_LABELS):
        labels, others = _labels(rows, target, names, role_making.Made.of(record).roles, options, left_behind)
        detail = {"left": others}
        with claim.step(SECURITY_LABELS, detail):
            detail["left"] += security_labels.carry_over(target, labels, names)
    if triggers and not record.is_done(event_triggers.STEP):
        whose, all_of_them = provider.of_server(source), event_triggers.read(triggers)
        event_triggers.carry_over(claim, options.event_triggers, all_of_them, target, names, whose, left_behind)
    created = bool(record.plan.get("created_database"))
    connections = options.jobs + (options.index_jobs or options.jobs)
    ours, theirs = (database_properties.Properties.of(found[0]) for found in (own, there))
    planned = database_properties.plan(ours, theirs, names, created=created, connections=connections)
    comments, kept = extensions.comments(wanted, present)
    tried = [*comments, *planned.attempts]
    intended = {
        "intended": [item.what for item in tried],
        "waiting_settings": list(planned.settings.waiting),
    }
    if tried:
        claim.begin(database_properties.STEP, intended)
    refused = attempts.carry_out(target, tried)
    left = [*kept, *planned.left, *map(database_settings.left, refused)]
    claim.finish(database_properties.STEP, {**intended, "left": left})
