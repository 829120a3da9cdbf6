# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Phase cleanup: remove what the ledger says is ours, on both sides, in an order that never leaves a slot behind.

The migrated data and roles stay. A tombstone stays in the ledger, so that a repeated cleanup or a late init knows.
When the target is gone, the comments that we leave on publications lead to what is ours on the source.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from .. import baseline, database, ledger, register, replication, role_lock, role_making, slots
from ..catalog import OWN_SCHEMA
from ..claim import Claim, claimed
from ..driver import psycopg, sql
from ..errors import MigrationError
from ..ledger import OwnedObject, Record
from ..migration import Migration
from ..progress import Progress, silent
from ..result import Result
from ..session import Session, translated

# Subscriptions first (they use slots), then slots, then what the slots served.
_ORDER = ("subscription", "slot", "publication", "table", "schema", "registration")

_OURS_ON_SOURCE = """
SELECT p.pubname AS name, pg_catalog.obj_description(p.oid, 'pg_publication') AS comment
  FROM pg_catalog.pg_publication AS p
 WHERE pg_catalog.obj_description(p.oid, 'pg_publication') ~ '^seren[.]migrator [0-9a-f]{32} '
"""

# Of all databases: the catalog is shared, and these columns are for everybody.
_SUBSCRIPTIONS = """
SELECT DISTINCT d.datname AS database
  FROM pg_catalog.pg_subscription AS s
  JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
  JOIN pg_catalog.pg_roles AS r ON r.oid = s.subowner
 WHERE r.rolname = ANY (%(members)s::name[])
"""

_DATABASE_EXISTS = "SELECT 1 AS found FROM pg_catalog.pg_database AS d WHERE d.datname = %(name)s"


@dataclass(frozen=True)
class CleanupOptions:
    """Options of cleanup. ``force`` goes on when one side cannot be reached; ``timeout`` bounds each wait for a lock.

    ``maintenance_db`` is asked whether a target database that cannot be opened exists at all.
    """

    force: bool = False
    timeout: float = 60
    check_mode: bool = False
    maintenance_db: str = "postgres"


def run(migration: Migration, options: CleanupOptions, progress: Progress = silent) -> Result:
    """Remove the migration's objects. Idempotent.

    Data of the result: ``removed`` and ``left`` (lists of {side, kind, name, reason}). Raises ``cannot_clean`` when
    something is left and ``force`` was not given, ``cannot_connect`` when a side is unreachable and ``force`` was not.
    """
    with translated(migration.redactor):
        target = _open(migration, "target", options)
        if target is None:
            return _without_ledger(migration, options)
        with target:
            record = ledger.find(target, migration.name)
            if record is None:
                return _without_ledger(migration, options)
            if record.state == "cleaned" and not record.objects:
                data = {"removed": [], "left": [], "msg": f"already cleaned up at {record.cleaned_at}"}
                return Result("cleanup", False, data)
            source = _open(migration, "source", options)
            try:
                if source is not None:
                    ledger.check_source(record, source)
                if options.check_mode:
                    return _planned(record, source)
                with claimed(migration, "cleanup", "cleanup", buried=True) as claim:
                    return _Run(migration, options, claim, record, source, target).carry_out()
            finally:
                if source is not None:
                    source.connection.close()


def _open(migration: Migration, side: Any, options: CleanupOptions) -> Session | None:
    try:
        session = migration.open(side, "cleanup", read_only=options.check_mode)
    except MigrationError as error:
        # Where the server itself says that the target database is not there, no ledger is either.
        if not options.force and not database.is_absent(migration, options.maintenance_db, error):
            raise
        return None
    session.connection.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, false)", (str(int(options.timeout * 1000)),)
    )
    return session


def _entry(side: str, kind: str, name: str, reason: str = "") -> dict[str, str]:
    return {"side": side, "kind": kind, "name": name, **({"reason": reason} if reason else {})}


def _shown(item: OwnedObject) -> str:
    if item.kind == role_making.MEMBERSHIP:
        return f"{item.schema} in {item.name}"
    return f"{item.schema}.{item.name}" if item.schema else item.name


def _planned(record: Record, source: Session | None) -> Result:
    removed = [_entry(item.side, item.kind, _shown(item)) for item in record.objects]
    left = []
    if source is None:
        left = [_entry(i.side, i.kind, _shown(i), "unreachable") for i in record.objects if i.side == "source"]
        removed = [entry for entry in removed if entry["side"] == "target"]
    before = {"state": record.state, "objects": removed}
    return Result("cleanup", True, {"removed": removed, "left": left}, {"before": before, "after": {"state": "absent"}})


class _Refused(Exception):
    """Why an object stays."""


class _Run:
    """One run of cleanup under its claim."""

    def __init__(
        self,
        migration: Migration,
        options: CleanupOptions,
        claim: Claim,
        record: Record,
        source: Session | None,
        target: Session,
    ) -> None:
        self.migration, self.options, self.claim, self.record = migration, options, claim, record
        self.source, self.target = source, target
        self.comment = replication.ownership_comment(migration.name, record.id)
        self.removed: list[dict[str, str]] = []
        self.left: list[dict[str, str]] = []
        # Those of ``left`` that other migrations use: nothing is wrong, and a later cleanup takes them back.
        self.lent: list[dict[str, str]] = []

    def carry_out(self) -> Result:
        """Remove every recorded object; bury the migration when nothing is left."""
        for kind in _ORDER:
            for item in self.record.objects:
                if item.kind == kind:
                    self._remove(item)
        self._memberships([item for item in self.record.objects if item.kind == role_making.MEMBERSHIP])
        hindered = [entry for entry in self.left if entry not in self.lent]
        if not hindered or self.options.force:
            self.claim.forget_dump()
            baseline.forget(self.claim)
            self.claim.bury()
        data = {"removed": self.removed, "left": self.left}
        before = {"state": self.record.state, "objects": len(self.record.objects)}
        after = {"state": "absent", "objects": len(self.left)}
        error = None if not hindered or self.options.force else _incomplete(hindered)
        return Result("cleanup", bool(self.removed) or not self.left, data, {"before": before, "after": after}, error)

    def _remove(self, item: OwnedObject) -> None:
        session = self.source if item.side == "source" else self.target
        if session is None:
            self.left.append(_entry(item.side, item.kind, _shown(item), "the server cannot be reached"))
            return
        if item.kind == "schema" and any((left["side"], left["kind"]) == (item.side, "table") for left in self.left):
            self.left.append(_entry(item.side, item.kind, _shown(item), "a table of ours is still in it"))
            return
        try:
            gone = _REMOVERS[item.kind](self, session, item)
        except _Refused as refusal:
            self.left.append(_entry(item.side, item.kind, _shown(item), str(refusal)))
            return
        except psycopg.Error as error:
            reason = self.migration.redactor.text(error.diag.message_primary or str(error)).strip()
            self.left.append(_entry(item.side, item.kind, _shown(item), reason))
            return
        self.claim.removed(item.side, item.kind, item.name, item.schema)
        if gone:
            self.removed.append(_entry(item.side, item.kind, _shown(item)))

    def _memberships(self, items: list[OwnedObject]) -> None:
        """Take back what let us give objects to the roles that we made; apply acts in their name until it is gone."""
        if not items:
            return
        place = self.options.maintenance_db
        with ExitStack() as stack:
            maintenance, _reason = stack.enter_context(
                database.maintenance_if_any(self.migration, place, read_only=True)
            )
            stack.enter_context(role_lock.held(maintenance))
            users = self._other_migrations(sorted({item.schema for item in items}))
            if users and not self._is_left("subscription"):
                reason = f"other migrations may use it ({', '.join(users)}); run cleanup again when they are done"
                self.lent = [_entry(item.side, item.kind, _shown(item), reason) for item in items]
                self.left += self.lent
                return
            self._take_back(items)

    def _other_migrations(self, members: list[str]) -> list[str]:
        """Return what else may act in the name of roles by these memberships, on the whole server."""
        rows = self.target.rows(_SUBSCRIPTIONS, {"members": members})
        found = {f"a subscription in database {row['database']}" for row in rows}
        with (
            suppress(MigrationError),
            database.maintenance(self.migration, self.options.maintenance_db, read_only=True) as session,
        ):
            begun = register.read(session).begun
            found |= {
                f"migration {item.name} into database {item.database}" for item in begun if item.id != self.record.id
            }
        return sorted(found)

    def _take_back(self, items: list[OwnedObject]) -> None:
        if self._is_left("subscription"):
            reason = "a subscription is still there, and acts in the name of the role"
            self.left += [_entry(item.side, item.kind, _shown(item), reason) for item in items]
            return
        refused = role_making.take_back(self.target, [(item.name, item.schema) for item in items])
        gone = [item for item in items if (item.name, item.schema) not in refused]
        if gone:
            self.claim.removed_all("target", role_making.MEMBERSHIP, [(item.name, item.schema) for item in gone])
        self.removed += [_entry(item.side, item.kind, _shown(item)) for item in gone]
        self.left += [
            _entry(item.side, item.kind, _shown(item), refused[item.name, item.schema])
            for item in items
            if (item.name, item.schema) in refused
        ]

    def _subscription(self, target: Session, item: OwnedObject) -> bool:
        """Drop a subscription without letting it reach for its slot, which is dropped on its own afterwards."""
        found = replication.find_subscription(target, item.name)
        if found is not None and found.comment != self.comment and found.slot in self._slots:
            raise _Refused(
                "it reads from our slot, but its comment is not ours any more; if it is this migration's: "
                + target.text(replication.comment_subscription(item.name, self.comment))
            )
        step = f"subscription {item.name}"
        if found is not None and found.comment == self.comment:
            # Recorded first: the slots of its table synchronisation are found by its OID.
            self.claim.finish(step, {"oid": found.oid})
            try:
                replication.stop_subscription(target, found)
            except MigrationError as error:
                raise _Refused(error.message) from None
            if self.source is not None:
                slots.end_sync_senders(self.source, found.oid, self.record.target.get("system_identifier"))
            replication.drop_own_subscription(target, item.name)
        known = self.claim.read().steps.get(step)
        if known is not None and self.source is not None:
            slots.drop_sync_slots(self.source, known.detail["oid"], self.record.target.get("system_identifier"))
        return known is not None

    @property
    def _slots(self) -> set[str]:
        return {item.slot for item in self.record.streams}

    def _is_left(self, kind: str, name: str = "") -> bool:
        return any(entry["kind"] == kind and name in ("", entry["name"]) for entry in self.left)

    def _slot(self, source: Session, item: OwnedObject) -> bool:
        reader = next((stream.subscription for stream in self.record.streams if stream.slot == item.name), "")
        if reader and self._is_left("subscription", reader):
            raise _Refused(f"the subscription {reader} is still there and reads from it")
        return slots.drop_slot(source, item.name)

    def _publication(self, source: Session, item: OwnedObject) -> bool:
        comment = replication.publication_comment(source, item.name)
        if comment is None:
            return False
        if comment != self.comment:
            markers = {(OWN_SCHEMA, stream.marker) for stream in self.record.streams}
            if not markers & replication.explicit_members(source, item.name):
                return False  # somebody else's by now
            raise _Refused(
                "it publishes our marker table, but its comment is not ours any more; if it is this migration's: "
                + source.text(replication.comment_publication(item.name, self.comment))
            )
        source.execute(replication.drop_publication(item.name))
        return True

    def _table(self, session: Session, item: OwnedObject) -> bool:
        if self._is_left("subscription" if item.side == "target" else "publication"):
            raise _Refused("what carries its changes is still there")
        return _drop_marker(session, item.name)

    def _schema(self, session: Session, item: OwnedObject) -> bool:
        return register.drop_schema_when_empty(session)

    def _registration(self, target: Session, item: OwnedObject) -> bool:
        """Leave the register; its name is that of the database in which it is."""
        if target.row(_DATABASE_EXISTS, {"name": item.name}) is None:
            return False
        try:
            with database.maintenance(self.migration, item.name) as session:
                return register.leave(session, self.record.id)
        except MigrationError as error:
            raise _Refused(error.message) from None
        except psycopg.errors.LockNotAvailable as error:
            raise _Refused(str(error.diag.message_primary)) from None


_REMOVERS: dict[str, Callable[[_Run, Session, OwnedObject], bool]] = {
    "subscription": _Run._subscription,
    "slot": _Run._slot,
    "publication": _Run._publication,
    "table": _Run._table,
    "schema": _Run._schema,
    "registration": _Run._registration,
}


def _incomplete(left: list[dict[str, str]]) -> MigrationError:
    names = ", ".join(f"{entry['kind']} {entry['name']} on the {entry['side']}" for entry in left)
    return MigrationError(
        "cannot_clean",
        f"These objects could not be removed: {names}.",
        "Mend what each entry's reason says and run cleanup again. A slot that stays behind keeps WAL on the source.",
        {"left": left},
    )


def _drop_marker(session: Session, marker: str) -> bool:
    found = session.value(
        "SELECT pg_catalog.to_regclass(%(name)s) IS NOT NULL AS found",
        {"name": session.text(sql.SQL("{}").format(sql.Identifier(OWN_SCHEMA, marker)))},
    )
    if found:
        session.execute(replication.drop_marker(marker))
    return bool(found)


def _without_ledger(migration: Migration, options: CleanupOptions) -> Result:
    """Deal with what carries our comment and this migration's name on the source, when the target knows nothing of it.

    It may belong to a living migration into another target, so it is only reported, unless ``force`` says that the
    ledger is really gone; and a slot that something is reading from is never dropped.
    """
    removed: list[dict[str, str]] = []
    left: list[dict[str, str]] = []
    with migration.open("source", "cleanup", read_only=options.check_mode) as source:
        for orphans in _orphans(source, migration):
            if orphans.active_slots:
                left += orphans.entries(f"in use: {', '.join(orphans.active_slots)}")
            elif not options.force:
                left += orphans.entries("its ledger is not on this target; use force when that target is gone")
            else:
                removed += orphans.entries()
                if not options.check_mode:
                    orphans.drop(source)
    before = {"state": "absent", "objects": len(removed) + len(left)}
    diff = {"before": before, "after": {"state": "absent", "objects": len(left)}}
    error = _incomplete(left) if left else None
    return Result("cleanup", bool(removed), {"removed": removed, "left": left}, diff, error)


@dataclass(frozen=True)
class _Orphans:
    """What one migration without a ledger has on the source."""

    publications: tuple[str, ...]
    slots: tuple[str, ...]
    active_slots: tuple[str, ...]
    markers: tuple[str, ...]

    def entries(self, reason: str = "") -> list[dict[str, str]]:
        """Return them as result entries."""
        named = [("slot", name) for name in self.slots]
        named += [("publication", name) for name in self.publications]
        named += [("table", f"{OWN_SCHEMA}.{name}") for name in self.markers]
        return [_entry("source", kind, name, reason) for kind, name in named]

    def drop(self, source: Session) -> None:
        """Remove them, slots first."""
        for name in self.slots:
            slots.drop_slot(source, name, terminate=False)
        for name in self.publications:
            source.execute(replication.drop_publication(name))
        for name in self.markers:
            _drop_marker(source, name)
        register.drop_schema_when_empty(source)


def _orphans(source: Session, migration: Migration) -> list[_Orphans]:
    """Find the publications that carry our comment and this migration's name, and what goes with each id."""
    publications: dict[str, list[str]] = {}
    for row in source.rows(_OURS_ON_SOURCE):
        _prefix, migration_id, name = row["comment"].split(" ", 2)
        if name == migration.name:
            publications.setdefault(migration_id, []).append(row["name"])
    found = []
    for migration_id, names in publications.items():
        stem = migration.names(migration_id, 1)
        slots = source.rows(
            "SELECT s.slot_name, s.active FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name ~ %(pattern)s",
            {"pattern": f"^{stem.slot[:-1]}[0-9]+$"},
        )
        markers = source.rows(
            "SELECT t.tablename FROM pg_catalog.pg_tables AS t"
            " WHERE t.schemaname = %(schema)s AND t.tablename ~ %(pattern)s",
            {"schema": OWN_SCHEMA, "pattern": f"^{stem.marker[:-1]}[0-9]+$"},
        )
        found.append(
            _Orphans(
                tuple(names),
                tuple(row["slot_name"] for row in slots),
                tuple(row["slot_name"] for row in slots if row["active"]),
                tuple(row["tablename"] for row in markers),
            )
        )
    return found
