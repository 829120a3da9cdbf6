# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The subscription of one stream: made once, on a slot that nobody has read from, listing exactly the stream's tables.

Here belongs what a subscription must look like and how it gets there; its statements are in ``replication.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from . import replication, slots, stream
from .catalog import OWN_SCHEMA
from .claim import Claim
from .conninfo import subscription_conninfo
from .driver import sql
from .errors import MASK, MigrationError
from .ledger import Record, Stream
from .migration import Migration, bounded
from .replication import Subscription
from .session import Session

START_AGAIN = "Run pg_migration_cleanup, empty the target and start again."

_IS_PAST = "SELECT %(confirmed)s::pg_lsn > %(point)s::pg_lsn AS is_past"


class Access(Protocol):
    """The options that say how a subscription reaches the source, and what else it is told."""

    @property
    def source_from_target(self) -> Mapping[str, Any] | None:
        """How the target reaches the source, where that differs."""

    @property
    def replication_role(self) -> Mapping[str, Any] | None:
        """The role that it uses on the source."""

    @property
    def subscription_options(self) -> Mapping[str, Any]:
        """PostgreSQL's own WITH options."""


def create_statement(
    migration: Migration, options: Access, item: Stream, publication: str, *, hidden: bool, copy_data: bool = False
) -> sql.Composed:
    """Return CREATE SUBSCRIPTION for a stream; ``hidden`` shows no conninfo, for people.

    Raises ``bad_option`` for what cannot be a conninfo, or must not be overridden.
    """
    conninfo = subscription_conninfo(
        migration.source, options.source_from_target, options.replication_role, item.subscription
    )
    return replication.create_subscription(
        item.subscription,
        f"... {MASK}" if hidden else conninfo,
        publication,
        item.slot,
        options.subscription_options,
        copy_data=copy_data,
    )


def list_publication(migration_name: str, number: int) -> str:
    """Return the name of the publication that only lists a stream's tables, for a moment."""
    return bounded(migration_name, f"_list_{number}")


def refuse_uncarried(record: Record) -> None:
    """Raise ``replication_broken`` when a copied table belongs to no stream: its changes would never arrive."""
    names = uncarried(record)
    if names:
        raise MigrationError(
            "replication_broken",
            f"No stream carries these tables, although they were copied: {', '.join(names[:10])}.",
            START_AGAIN,
            {"tables": names},
        )


def uncarried(record: Record) -> list[str]:
    """Return the copied tables that belong to no living stream; unlogged ones and the like need none."""
    alive = {item.number for item in record.live_streams}
    return [
        f"{relation.schema}.{relation.name}"
        for relation in record.relations
        if relation.kind == "table" and relation.state == "copied" and relation.stream not in alive
    ]


def check(migration: Migration, record: Record, source: Session, target: Session, item: Stream) -> Subscription | None:
    """Return a stream's subscription, or None when it may be created; changes nothing.

    Raises ``name_taken`` for another one's subscription, ``replication_broken`` when it was altered or has vanished,
    and ``slot_lost`` when its slot cannot deliver what came after the copy.
    """
    found = replication.find_subscription(target, item.subscription)
    if found is not None:
        if found.comment != replication.ownership_comment(migration.name, record.id) and found.slot != item.slot:
            raise stream.name_taken("subscription", item.subscription, "target", target)
        if found.publications not in ((item.publication,), (list_publication(migration.name, item.number),)):
            raise _altered(found, item, target)
        return found
    if item.state != "slot_ready":
        raise MigrationError(
            "replication_broken",
            f"The subscription {item.subscription} is gone. A new one would apply again what this one had applied and "
            "not confirmed yet, so rows would arrive twice.",
            START_AGAIN,
            {"subscription": item.subscription, "slot": item.slot},
        )
    slot = slots.slot_row(source, item.slot)
    if slot is None or not slots.slot_is_usable(slot):
        raise stream.slot_lost(item.slot)
    points = {"confirmed": slot["confirmed_flush_lsn"], "point": item.consistent_point}
    if source.value(_IS_PAST, points) is not False:
        raise MigrationError(
            "slot_lost",
            f"Something has read from the replication slot {item.slot} already: it stands at {points['confirmed']}, the "
            f"copy at {points['point']}. What lies between would be missing.",
            START_AGAIN,
            {"slot": item.slot, **points},
        )
    return None


def _altered(found: Subscription, item: Stream, target: Session) -> MigrationError:
    mend = target.text(replication.set_subscription_publication(item.subscription, item.publication))
    return MigrationError(
        "replication_broken",
        f"The subscription {item.subscription} reads the publications {', '.join(found.publications)}; it is ours and "
        f"must read {item.publication} alone.",
        f"Give other tables a subscription of their own, then: {mend}; and run sync again.",
        {"subscription": item.subscription, "publications": list(found.publications)},
    )


def ensure(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    record: Record,
    item: Stream,
    statement: Callable[[str, bool], sql.Composed],
    dropped: Collection[tuple[str, str]],
) -> bool:
    """Create a stream's subscription where it is missing, disabled, and leave no trace of the making.

    ``statement`` returns CREATE SUBSCRIPTION for a publication, with the conninfo hidden or not; ``dropped`` are
    tables (schema, name) that the source has no more. Returns whether anything was changed. Raises what :func:`check`
    raises.
    """
    worked = False
    if check(migration, record, source, target, item) is None:
        wanted = {(r.schema, r.name) for r in record.relations if r.stream == item.number} - set(dropped)
        wanted.add((OWN_SCHEMA, item.marker))
        _create(migration, claim, source, target, item, statement, wanted)
        worked = True
    found = replication.find_subscription(target, item.subscription)
    if found is not None and found.publications != (item.publication,):
        target.execute(replication.set_subscription_publication(item.subscription, item.publication))
        worked = True
    if item.state != "subscribed":
        claim.set_stream(item.number, "subscribed")
        worked = True
    return _drop_list(migration, claim, source, item) or worked


def _create(
    migration: Migration,
    claim: Claim,
    source: Session,
    target: Session,
    item: Stream,
    statement: Callable[[str, bool], sql.Composed],
    wanted: set[tuple[str, str]],
) -> None:
    publication = item.publication
    if replication.published_tables(source, publication) != wanted:
        publication = _make_list(migration, claim, source, item, wanted)
    claim.intend("target", "subscription", item.subscription)
    comment = replication.ownership_comment(migration.name, claim.id)
    with target.transaction():
        target.execute(statement(publication, False), shown=statement(publication, True))
        target.execute(replication.comment_subscription(item.subscription, comment))


def _make_list(migration: Migration, claim: Claim, source: Session, item: Stream, wanted: set[tuple[str, str]]) -> str:
    """Make a publication of exactly these tables, for the moment in which the subscription takes its list.

    A subscription lists what its publication carries at that moment. A partition attached since the snapshot, or a
    table that moved to another stream, must not be on the list: its rows did not come with this stream.
    """
    name = list_publication(migration.name, item.number)
    comment = replication.ownership_comment(migration.name, claim.id)
    if replication.publication_comment(source, name) not in (None, comment):
        raise stream.name_taken("publication", name, "source", source)
    claim.intend("source", "publication", name)
    source.execute_together(
        replication.drop_publication(name),
        sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(
            sql.Identifier(name),
            sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*pair)) for pair in sorted(wanted)),
        ),
        replication.comment_publication(name, comment),
    )
    return name


def _drop_list(migration: Migration, claim: Claim, source: Session, item: Stream) -> bool:
    """Drop the publication that only listed the tables, also one that a run before this one has left."""
    name = list_publication(migration.name, item.number)
    if replication.publication_comment(source, name) != replication.ownership_comment(migration.name, claim.id):
        return False
    source.execute(replication.drop_publication(name))
    claim.removed("source", "publication", name)
    return True


def as_data(item: Stream, found: Subscription | None) -> dict[str, Any]:
    """Return a stream's subscription as plain data."""
    return {
        "name": item.subscription,
        "slot": item.slot,
        "publication": item.publication,
        "enabled": found.is_enabled if found else None,
    }
