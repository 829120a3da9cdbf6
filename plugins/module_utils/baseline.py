# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What the source's schema was like when it was copied: kept in the ledger, and compared with what it is like now.

Each object is kept with its parts (a table with its columns, indexes, ...) as a fingerprint, and as digests of its
attributes, compressed, which are only read where the fingerprint differs. No value of an attribute is kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .claim import Claim
from .driver import psycopg
from .ledger import Record
from .migration import Selection
from .selection import parse
from .session import Session
from .verification.objects import reading
from .verification.objects.described import OF_THIS_RUN, Described, Key, Scope, fingerprint, whole

AT_ONCE = 2000
# What changes with the data, not with the schema: the application makes large objects and refreshes views.
_OF_DATA = ("large objects",)
_ATTRIBUTES_OF_DATA = frozenset({"populated"})
# How what does not take part is kept: its changes are nobody's business.
LEFT_OUT = ""

_FORGET = "DELETE FROM seren_migrator.described WHERE migration_id = %(id)s"
_INSERT = """
INSERT INTO seren_migrator.described (migration_id, kind, name, fingerprint, content)
SELECT %(id)s, o.kind, o.name, o.fingerprint, pg_catalog.decode(o.content, 'base64')
  FROM pg_catalog.jsonb_to_recordset(%(objects)s::jsonb) AS o(kind text, name text, fingerprint text, content text)
ON CONFLICT (migration_id, kind, name)
DO UPDATE SET fingerprint = excluded.fingerprint, content = excluded.content
"""
_EXISTS = "SELECT pg_catalog.to_regclass('seren_migrator.described') IS NOT NULL AS found"
_READ = "SELECT d.kind, d.name, d.fingerprint FROM seren_migrator.described AS d WHERE d.migration_id = %(id)s"
_CONTENTS = """
SELECT d.kind, d.name, d.content
  FROM seren_migrator.described AS d
  JOIN ROWS FROM (pg_catalog.unnest(%(kinds)s::text[]), pg_catalog.unnest(%(names)s::text[])) AS w(kind, name)
    ON w.kind = d.kind AND w.name = d.name
 WHERE d.migration_id = %(id)s
"""
_SCHEMAS = """
SELECT n.nspname AS name FROM pg_catalog.pg_namespace AS n
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.nspname <> 'seren_migrator'
"""


@dataclass(frozen=True)
class Change:
    """An object of the source that was added, changed or dropped; ``parts`` name what of it has changed."""

    key: Key
    what: str
    parts: tuple[str, ...] = field(default=())


def read(source: Session, selection: Selection) -> dict[Key, Described]:
    """Return the source's objects within the selected schemas, as its transaction sees them."""
    schemas: frozenset[str] | None = None
    if selection.schemas or selection.exclude_schemas:
        wanted = [parse(text, max_parts=1).name for text in selection.schemas]
        unwanted = [parse(text, max_parts=1).name for text in selection.exclude_schemas]
        schemas = frozenset(
            row["name"]
            for row in source.rows(_SCHEMAS)
            if (not wanted or any(pattern.fullmatch(row["name"]) for pattern in wanted))
            and not any(pattern.fullmatch(row["name"]) for pattern in unwanted)
        )
    found = reading.read(source, Scope(schemas=schemas))
    return {
        key: replace(
            item, attributes={name: v for name, v in item.attributes.items() if name not in _ATTRIBUTES_OF_DATA}
        )
        for key, item in found.items()
        if item.kind not in _OF_DATA
    }


def seen(reader: Session, selection: Selection) -> dict[Key, Described]:
    """Return the same within an open transaction; nothing where it cannot be read, which must not stop a migration.

    An object that is dropped at this moment may make PostgreSQL's functions fail.
    """
    try:
        with reader.transaction():
            return read(reader, selection)
    except psycopg.Error:
        if reader.connection.closed:
            raise
        return {}


def keep(claim: Claim, found: Mapping[Key, Described], left_out: Collection[tuple[int, int]]) -> None:
    """Keep what the source is like, in place of what was kept before; ``left_out`` are objects that stay behind."""
    claim.write(_FORGET)
    _write(claim, whole(found), {key for key, item in found.items() if (item.classid, item.objid) in left_out})


def add(claim: Claim, found: Mapping[Key, Described], is_wanted: Callable[[Described], bool]) -> None:
    """Keep some objects, with their parts, as they are now: they have come to the target since."""
    wanted = {key: parts for key, parts in whole(found).items() if key in found and is_wanted(found[key])}
    _write(claim, wanted, ())


def forget(claim: Claim) -> None:
    """Remove what was kept, when the migration is over."""
    if claim.session.value(_EXISTS):
        claim.write(_FORGET)


def _write(claim: Claim, objects: Mapping[Key, Iterable[Described]], left_out: Collection[Key]) -> None:
    rows = [
        {
            "kind": kind,
            "name": name,
            "fingerprint": LEFT_OUT if (kind, name) in left_out else fingerprint(*parts),
            "content": base64.b64encode(_packed(parts)).decode(),
        }
        for (kind, name), parts in objects.items()
    ]
    for start in range(0, len(rows), AT_ONCE):
        claim.write(_INSERT, objects=json.dumps(rows[start : start + AT_ONCE], ensure_ascii=False))


def changes(target: Session, record: Record, now: Mapping[Key, Described]) -> list[Change] | None:
    """Return how the source differs from what was kept, None when nothing was kept; two round trips to the target."""
    if not target.value(_EXISTS):
        return None
    then = {(row["kind"], row["name"]): row["fingerprint"] for row in target.rows(_READ, {"id": record.id})}
    if not then:
        return None
    parts_now = whole(now)
    found = [Change(key, "added") for key in parts_now if key not in then]
    found += [Change(key, "dropped") for key, kept in then.items() if key not in parts_now and kept != LEFT_OUT]
    changed = [
        key for key, parts in parts_now.items() if then.get(key, LEFT_OUT) not in (LEFT_OUT, fingerprint(*parts))
    ]
    if changed:
        wanted = {"id": record.id, "kinds": [key[0] for key in changed], "names": [key[1] for key in changed]}
        contents = {(row["kind"], row["name"]): bytes(row["content"]) for row in target.rows(_CONTENTS, wanted)}
        found += [Change(key, "changed", differing(contents.get(key), parts_now[key])) for key in changed]
    return sorted(found, key=lambda change: (change.key, change.what))


def digests(parts: Iterable[Described]) -> dict[str, dict[str, str]]:
    """Return short digests of the attributes of an object and its parts, by kind and name of the part. Pure."""
    return {
        f"{item.kind} {item.name}": {
            name: hashlib.blake2b(str(value).encode(), digest_size=6).hexdigest()
            for name, value in item.attributes.items()
            if name not in OF_THIS_RUN and value is not None
        }
        for item in parts
    }


def differing(content: bytes | None, parts: Collection[Described]) -> tuple[str, ...]:
    """Return what of an object is otherwise than it was, in words; '' of a part's name is the object itself. Pure."""
    if content is None:
        return ()
    then: dict[str, dict[str, str]] = json.loads(zlib.decompress(content))
    now = digests(parts)
    found = [f"{part} (added)" for part in now if part not in then]
    found += [f"{part} (dropped)" for part in then if part not in now]
    for part in sorted(now.keys() & then.keys()):
        names = sorted(
            name for name in now[part].keys() | then[part].keys() if now[part].get(name) != then[part].get(name)
        )
        if names:
            found.append(f"{part} ({', '.join(names)})")
    return tuple(sorted(found))


def _packed(parts: Iterable[Described]) -> bytes:
    return zlib.compress(json.dumps(digests(parts), sort_keys=True).encode())
