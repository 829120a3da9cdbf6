# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Event triggers of the database: made from the catalogs, last of all, and disabled until the cutover.

On the target they would act on our own DDL: one that refuses it would stop sync, one that writes a log of it would write
rows into a table that replication fills. The ledger remembers how each was enabled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import attempts
from .attempts import Attempt
from .claim import Claim
from .driver import sql
from .ledger import Record
from .provider import Provider, is_own_role
from .role_names import RoleNames
from .session import Session

STEP = "event_triggers"

QUERY = """
SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass::bigint AS classid, t.oid::bigint AS oid, t.evtname AS name,
       t.evtevent AS event, t.evttags AS tags, t.evtenabled AS enabled, pg_catalog.pg_get_userbyid(t.evtowner) AS owner,
       n.nspname AS function_schema, p.proname AS function,
       pg_catalog.obj_description(t.oid, 'pg_event_trigger') AS comment
  FROM pg_catalog.pg_event_trigger AS t
  JOIN pg_catalog.pg_proc AS p ON p.oid = t.evtfoid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
                      AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY t.evtname
"""

THERE = "SELECT t.evtname AS name, t.oid::bigint AS oid FROM pg_catalog.pg_event_trigger AS t ORDER BY t.evtname"


@dataclass(frozen=True)
class EventTrigger:
    """An event trigger of the source that no extension owns; ``enabled`` is as in pg_event_trigger: O, D, R or A."""

    classid: int
    oid: int
    name: str
    event: str
    tags: tuple[str, ...]
    enabled: str
    owner: str
    function_schema: str
    function: str
    comment: str | None

    @property
    def what(self) -> str:
        """What results call it."""
        return f"event trigger {self.name}"


@dataclass(frozen=True)
class EventTriggersPlan:
    """The event triggers to make, and what stays behind with its reason."""

    make: tuple[EventTrigger, ...]
    left: tuple[dict[str, str], ...]


def read(rows: Iterable[Mapping[str, Any]]) -> list[EventTrigger]:
    """Return the event triggers that :data:`QUERY` found."""
    return [EventTrigger(**{**row, "tags": tuple(row["tags"] or ())}) for row in rows]


def plan(
    policy: str,
    found: Collection[EventTrigger],
    provider: Provider,
    left_behind: Collection[tuple[int, int]],
    taken: Collection[str] = (),
) -> EventTriggersPlan:
    """Decide about each event trigger of the source. Pure.

    ``policy`` is the option (copy, skip or fail), ``provider`` the source's, ``left_behind`` what the selection leaves on
    the source, ``taken`` the names of event triggers that the target has.
    """
    make: list[EventTrigger] = []
    left: list[dict[str, str]] = []
    for item in found:
        if (item.classid, item.oid) in left_behind:
            continue
        if is_own(item, provider):
            reason = "it belongs to the source's provider"
        elif policy == "skip":
            reason = "event_triggers: skip"
        elif item.name in taken:
            reason = "the target has an event trigger of that name, which is not changed"
        else:
            make.append(item)
            continue
        left.append({"object": item.what, "reason": reason})
    return EventTriggersPlan(tuple(make), tuple(left))


def is_own(item: EventTrigger, provider: Provider) -> bool:
    """True for an event trigger that the provider made for itself."""
    return provider.owns_schema(item.function_schema) or is_own_role(item.owner)


def create(item: EventTrigger) -> sql.Composed:
    """Return the statements that make an event trigger and let it rest."""
    name = sql.Identifier(item.name)
    tags: sql.Composable = sql.SQL("")
    if item.tags:
        tags = sql.SQL(" WHEN TAG IN ({})").format(sql.SQL(", ").join(map(sql.Literal, item.tags)))
    parts = [
        sql.SQL("CREATE EVENT TRIGGER {} ON {}{} EXECUTE FUNCTION {}()").format(
            name, sql.Identifier(item.event), tags, sql.Identifier(item.function_schema, item.function)
        ),
        sql.SQL("ALTER EVENT TRIGGER {} DISABLE").format(name),
    ]
    if item.comment is not None:
        parts.append(sql.SQL("COMMENT ON EVENT TRIGGER {} IS {}").format(name, sql.Literal(item.comment)))
    return sql.SQL(";\n").join(parts)


def drop(name: str) -> sql.Composed:
    """Return the statement that takes an event trigger of ours back."""
    return sql.SQL("DROP EVENT TRIGGER IF EXISTS {}").format(sql.Identifier(name))


def ours(record: Record, target: Session) -> list[str]:
    """Return the names of the event triggers on the target that init has made, by OID: others may have taken a name."""
    if not record.is_done(STEP):
        return []
    made = {(item["name"], item["oid"]) for item in record.steps[STEP].detail.get("event_triggers", [])}
    return [row["name"] for row in target.rows(THERE) if (row["name"], row["oid"]) in made]


def carry_over(
    claim: Claim,
    policy: str,
    found: Collection[EventTrigger],
    target: Session,
    names: RoleNames,
    provider: Provider,
    left_behind: Collection[tuple[int, int]],
) -> None:
    """Make the event triggers, all in one transaction with the ledger's word about them."""
    taken = [row["name"] for row in target.rows(THERE)]
    planned = plan(policy, found, provider, left_behind, taken)
    claim.begin(STEP, {"intended": [item.name for item in planned.make]})
    with target.transaction():
        refused = attempts.carry_out(target, [Attempt(item.what, create(item)) for item in planned.make])
        gone = {item.attempt.what for item in refused}
        made = [item for item in planned.make if item.what not in gone]
        refused += attempts.carry_out(target, _owners(made, names))
        left = [*planned.left, *(item.as_left for item in refused), *map(_resting, made)]
        # Made in savepoints, so no transaction's number tells them from others.
        oids = {row["name"]: row["oid"] for row in target.rows(THERE)}
        detail = {
            "event_triggers": [{"name": item.name, "enabled": item.enabled, "oid": oids[item.name]} for item in made],
            "left": [entry for entry in left if entry],
        }
        target.connection.execute(claim.done_mark(STEP, detail))


def _owners(made: Collection[EventTrigger], names: RoleNames) -> list[Attempt]:
    """Only a superuser may own one, so this is refused where the owner is none on the target."""
    given = []
    for item in made:
        owner = names.owner_of(item.owner)
        if owner != names.connected:
            change = sql.SQL("ALTER EVENT TRIGGER {} OWNER TO {}")
            statement = change.format(sql.Identifier(item.name), sql.Identifier(owner))
            given.append(Attempt(f"owner {owner} of {item.what}", statement))
    return given


def _resting(item: EventTrigger) -> dict[str, str]:
    if item.enabled == "D":
        return {}
    words = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[item.enabled]
    return {
        "object": item.what,
        "reason": "disabled on the target until the cutover: it would act on the migration's own statements. Then: "
        f"ALTER EVENT TRIGGER ... {words}",
    }
