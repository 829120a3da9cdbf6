# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The list of all checks, and how they are run: each on its own, none able to stop the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..driver import psycopg
from ..errors import MigrationError
from ..progress import Event, Progress
from . import (
    budget,
    clocks,
    columns,
    connection,
    extensions,
    fence,
    hierarchies,
    left_behind,
    locales,
    locks,
    majors,
    neighbours,
    objects,
    own_schema,
    pair,
    privileges,
    programs,
    provider,
    replication_settings,
    restore,
    retained_wal,
    route,
    row_predicates,
    server,
    settings,
    stronger_owners,
    system_privileges,
    tables,
    target,
    target_privileges,
)
from .check import SEVERITIES, Check, Finding, Outcome, Severity, skipped, unknown
from .context import Context, Unavailable

# In the order in which they are begun and reported.
CHECKS: tuple[Check, ...] = (
    *connection.CHECKS,
    *pair.CHECKS,
    *route.CHECKS,
    *programs.CHECKS,
    *provider.CHECKS,
    *server.CHECKS,
    *retained_wal.CHECKS,
    *replication_settings.CHECKS,
    *locks.CHECKS,
    *neighbours.CHECKS,
    *clocks.CHECKS,
    *budget.CHECKS,
    *privileges.CHECKS,
    *target_privileges.CHECKS,
    *own_schema.CHECKS,
    *stronger_owners.CHECKS,
    *fence.CHECKS,
    *tables.CHECKS,
    *row_predicates.CHECKS,
    *columns.CHECKS,
    *hierarchies.CHECKS,
    *objects.CHECKS,
    *left_behind.CHECKS,
    *extensions.CHECKS,
    *restore.CHECKS,
    *system_privileges.CHECKS,
    *settings.CHECKS,
    *majors.CHECKS,
    *locales.CHECKS,
    *target.CHECKS,
)


# Like the target's trial subscription, it takes a WAL sender of the source for a moment.
_REPLICATION = "source_replication_connection"


def verify_ids(skip_checks: Collection[str], severities: Mapping[str, str]) -> None:
    """Raise ``bad_option`` when an option names a check that does not exist, or a severity that is none."""
    known = {item.id for item in CHECKS}
    for option, ids in (("skip_checks", skip_checks), ("severities", severities)):
        strangers = sorted(set(ids) - known)
        if strangers:
            raise MigrationError(
                "bad_option",
                f"{option} names checks that do not exist: {', '.join(strangers)}.",
                f"The checks are: {', '.join(sorted(known))}.",
            )
    wrong = sorted(f"{key}: {value}" for key, value in severities.items() if value not in SEVERITIES)
    if wrong:
        raise MigrationError(
            "bad_option", f"severities holds {', '.join(wrong)}.", f"A severity is one of {', '.join(SEVERITIES)}."
        )


def run_checks(
    context: Context, skip_checks: Collection[str], severities: Mapping[str, Severity], progress: Progress
) -> list[Finding]:
    """Run every check and return what each found, in the order of :data:`CHECKS`.

    First the way in to each side, both sides at the same time: whoever looks for a pooler must be alone with its server.
    Then all other checks at once: what they ask of a server at the same time is one round trip. Our own replication
    connection is tried beside the target's only where the source has WAL senders for both.
    """

    def look(numbered: tuple[int, Check]) -> Finding:
        number, item = numbered
        progress(Event("validate", item.title, {"check": number, "checks": len(CHECKS)}))
        outcome = skipped("Left out by skip_checks.") if item.id in skip_checks else run_check(context, item)
        return Finding(item, outcome, severities.get(item.id) or outcome.severity or item.severity)

    numbered = list(enumerate(CHECKS, start=1))
    ways_in = [each for each in numbered if each[1] in connection.CHECKS and each[1].id != _REPLICATION]
    lanes = [[each for each in ways_in if each[1].side == side] for side in ("source", "target")]
    with ThreadPoolExecutor(len(numbered)) as pool:
        first = [finding for lane in pool.map(lambda lane: [look(each) for each in lane], lanes) for finding in lane]
        rest = [each for each in numbered if each not in ways_in]
        if not _has_free_senders(context, 2):
            alone = next(each for each in rest if each[1].id == _REPLICATION)
            rest.remove(alone)
            first.append(look(alone))
        found = [*first, *pool.map(look, rest)]
    order = {item.id: number for number, item in numbered}
    return sorted(found, key=lambda finding: order[finding.check.id])


def _has_free_senders(context: Context, count: int) -> bool:
    """True when the source is known to have so many free WAL senders; they are counted before our probes use any."""
    try:
        return context.source.number("max_wal_senders") - len(context.source.senders) >= count
    except (Unavailable, MigrationError, psycopg.Error):
        return False


def run_check(context: Context, item: Check) -> Outcome:
    """Run one check. What it may not see, or cannot find out, is ``unknown`` or ``skipped``, never ``pass``."""
    try:
        if item.versions != (0, 99):
            major = context.target.major if item.side == "target" else context.source.major
            if not item.versions[0] <= major <= item.versions[1]:
                return skipped(f"Does not concern PostgreSQL {major}.")
        return item.function(context)
    except Unavailable as missing:
        return skipped(f"Not possible, because {missing}.", needs=missing.check)
    except MigrationError as error:
        return unknown(error.message, error.remedy)
    except ValueError as error:
        return unknown(f"The server's answer could not be read: {context.migration.redactor.text(str(error))}")
    except psycopg.Error as error:
        said = context.migration.redactor.text(error.diag.message_primary or str(error)).strip()
        return unknown(
            f"The server did not answer the question: {said}"
            + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""),
            "Grant what is missing to the role, or leave this check out with skip_checks."
            if error.sqlstate == "42501"
            else "",
        )
