# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what the providers of the servers do their own way; how they are recognised is in ``..provider``."""

from __future__ import annotations

from .. import provider
from ..endpoint import Side
from ..quantities import size
from .check import Check, Outcome, check, check_both, failed, passed
from .context import Context

CHECKS: list[Check] = []

# Below this rate a copy is slow for any line; at it, so much is copied before an unread slot is removed.
SLOW_COPY_BYTES_PER_H = 4 * 1024**3
# What the target needs beyond the source's size: WAL of the copy, sorting of indexes, growth. Azure asks for the same.
HEADROOM = 1.25

_INDEX_BYTES = """
SELECT coalesce(sum(pg_catalog.pg_indexes_size(c.oid)), 0)::bigint AS bytes
  FROM pg_catalog.pg_class AS c
 WHERE c.oid = ANY (%(oids)s::oid[])
"""


@check_both(CHECKS, "provider", "The host name and the {side} itself speak for the same provider", severity="info")
def recognised(context: Context, side: Side) -> Outcome:
    """X20. Says which provider it is, and by what it was recognised."""
    server = context.server(side)
    found, host = server.provider, server.session.endpoint.params.get("host", "")
    by_host = provider.named_by(host)
    if by_host and not found.evidence:
        return failed(
            f"{host} is a host name of {by_host}, but nothing on the server speaks for it: it is taken for "
            f"{found.title}, and remedies are given for that.",
            f"If it is a server of {by_host}, change settings there as {by_host} says, not by ALTER SYSTEM.",
            objects=[host],
        )
    shown = f" ({', '.join(found.evidence)})" if found.evidence else ""
    return passed(f"{found.title[0].upper()}{found.title[1:]}{shown}.")


@check(
    CHECKS,
    "provider_schemas",
    "No schema is selected that the source's provider made for itself",
    side="source",
    severity="warning",
)
def provider_schemas(context: Context) -> Outcome:
    """X20. Only those of the provider that was recognised: their names are ordinary ones elsewhere."""
    found = context.source.provider
    schemas = [schema.name for schema in context.selected.catalog.schemas if found.owns_schema(schema.name)]
    if not schemas:
        return passed()
    kept = sorted({*context.migration.selection.exclude_schemas, *map(_pattern, schemas)})
    return failed(
        f"{found.title} made these schemas for its own services; their objects may be impossible to make on the target, "
        "or be there already.",
        "exclude_schemas:\n" + "\n".join(f"  - {_yaml(schema)}" for schema in kept),
        objects=schemas,
    )


def _pattern(schema: str) -> str:
    """Return the pattern that stands for this schema alone."""
    return schema if schema.isidentifier() else '"{}"'.format(schema.replace('"', '""'))


def _yaml(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))


@check(
    CHECKS,
    "source_slot_expiry",
    "The source's provider keeps an unread slot as long as the copy lasts",
    side="source",
    severity="warning",
)
def slot_expiry(context: Context) -> Outcome:
    """S10, by the provider's own hand. The slot is unread from its creation to the end of the copy."""
    found, hours = context.source.provider, context.source.provider.rules.slot_life_h
    if hours is None:
        return passed()
    if context.options.copy_method == "subscription":
        return passed(
            f"{found.title} removes slots that nobody reads for {hours} hours; the subscription reads its own."
        )
    wanted = sum(table.bytes for table in context.selected.data_tables)
    if wanted <= hours * SLOW_COPY_BYTES_PER_H:
        return passed(
            f"{found.title} removes slots that nobody reads for about {hours} hours: let sync follow init before that."
        )
    return failed(
        f"{found.title} removes slots that nobody reads for about {hours} hours, and {size(wanted)} are to be "
        "copied before anybody reads ours. When it is removed, the migration must start again.",
        "Make sure that the copy is done in that time (jobs, a larger compute on both sides, migrations of some schemas "
        "each), with time to spare for sync.\n-- or let the servers copy by themselves, which reads the slot all the "
        "time: copy_method: subscription",
        objects=[f"{hours} hours"],
    )


@check(CHECKS, "target_size_limit", "What is selected fits under the target's size limit", side="target")
def size_limit(context: Context) -> Outcome:
    """S25. Only Neon and SerenDB tell theirs; nobody can ask a server how much disk is free."""
    cap = context.target.provider.size_cap_bytes
    if cap is None:
        return passed("The server tells of no limit.")
    selected = context.selected
    oids = [table.oid for table in selected.catalog.tables]
    tables = sum(table.bytes for table in (*selected.data_tables, *selected.unlogged_tables))
    indexes = context.source.rows(_INDEX_BYTES, {"oids": oids})[0]["bytes"]
    there = context.target.facts.bytes if context.record is None else 0
    wanted = tables + indexes
    if there + wanted * HEADROOM <= cap:
        return passed(f"{size(wanted)} are selected, {size(cap)} is the limit ({provider.SIZE_CAP}).")
    fits = there + wanted <= cap
    return failed(
        f"The target may hold {size(cap)} ({provider.SIZE_CAP}) and holds {size(there)}; {size(wanted)} are selected, "
        "indexes among them" + (", which leaves little room to grow." if fits else ": writes will be refused."),
        f"Raise the size limit at {context.target.provider.title} (the plan of the project)."
        "\n-- or select less, with exclude_schemas, exclude_tables or exclude_data",
        objects=[f"{provider.SIZE_CAP}={size(cap)}"],
        severity="warning" if fits else None,
    )
