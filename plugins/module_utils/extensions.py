# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The extensions of the source, what the target offers of them, and in which version each is made there.

An extension that the target has already is used as it is, and never updated. One that only the source's provider has
stays behind, unless something that travels needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from .attempts import Attempt
from .driver import Row, sql
from .provider import Provider

if TYPE_CHECKING:
    Ask = Callable[[str, Union[Mapping[str, Any], None]], list[Row]]  # noqa: UP007

# Used is what something else than the extension's own objects depends on.
_WANTED = """
WITH member AS (
  SELECT d.refobjid AS extension, d.classid, d.objid
    FROM pg_catalog.pg_depend AS d
   WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e')
SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass::bigint AS classid, e.oid::bigint AS oid, e.extname AS name,
       e.extversion AS version, n.nspname AS schema,
       EXISTS (SELECT 1
                 FROM member AS m
                 JOIN pg_catalog.pg_depend AS d ON d.refclassid = m.classid AND d.refobjid = m.objid
                WHERE m.extension = e.oid AND d.deptype IN ('n', 'a')
                  AND NOT EXISTS (SELECT 1 FROM member AS o WHERE o.classid = d.classid AND o.objid = d.objid)
                  AND NOT EXISTS (SELECT 1
                                    FROM pg_catalog.pg_depend AS i
                                    JOIN member AS o ON o.classid = i.refclassid AND o.objid = i.refobjid
                                   WHERE i.classid = d.classid AND i.objid = d.objid AND i.deptype IN ('i', 'a')))
         AS is_used
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
 WHERE e.extname <> 'plpgsql'
 ORDER BY e.extname
"""

_OFFERED = """
WITH offer AS MATERIALIZED (
  SELECT o.name, o.version, o.superuser, o.trusted
    FROM pg_catalog.pg_available_extension_versions AS o
   WHERE o.name = ANY (%(names)s::name[]))
SELECT v.name, a.default_version, v.superuser AND NOT v.trusted AS needs_superuser,
       ARRAY(SELECT o.version FROM offer AS o WHERE o.name = a.name) AS versions,
       e.extversion AS installed_version, n.nspname AS installed_schema, e.extrelocatable AS is_relocatable
  FROM pg_catalog.pg_available_extensions AS a
  JOIN offer AS v ON v.name = a.name AND v.version = a.default_version
  LEFT JOIN pg_catalog.pg_extension AS e ON e.extname = a.name
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
 WHERE a.name = ANY (%(names)s::name[])
"""

# What needs an extension or one of its members, and is no member of it; other extensions that require it, too.
_DEPENDENTS = """
WITH member AS (
  SELECT d.refobjid AS extension, d.classid, d.objid
    FROM pg_catalog.pg_depend AS d
   WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
   UNION ALL
  SELECT e.oid, 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_extension AS e)
SELECT DISTINCT m.extension::bigint AS extension, d.classid::bigint AS classid, d.objid::bigint AS oid
  FROM member AS m
  JOIN pg_catalog.pg_depend AS d ON d.refclassid = m.classid AND d.refobjid = m.objid
 WHERE m.extension = ANY (%(oids)s::oid[]) AND d.deptype IN ('n', 'a')
   AND NOT EXISTS (SELECT 1 FROM member AS o
                    WHERE o.extension = m.extension AND o.classid = d.classid AND o.objid = d.objid)
   AND NOT EXISTS (SELECT 1
                     FROM pg_catalog.pg_depend AS i
                     JOIN member AS o ON o.classid = i.refclassid AND o.objid = i.refobjid
                    WHERE o.extension = m.extension AND i.classid = d.classid AND i.objid = d.objid
                      AND i.deptype IN ('i', 'a'))
"""

# Those that somebody has given another comment than the extension brings; ``is_own`` tells them.
COMMENTS = """
SELECT e.extname AS name, pg_catalog.obj_description(e.oid, 'pg_extension') AS comment,
       pg_catalog.obj_description(e.oid, 'pg_extension') IS DISTINCT FROM a.comment AS is_own
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_available_extensions AS a ON a.name = e.extname
 ORDER BY e.extname
"""

# Their rows are those of hypertables and distributed tables, which a publication does not reach.
SPREADING = ("citus", "timescaledb")
# Its jobs would run on the target before the cutover.
CRON = "pg_cron"


@dataclass(frozen=True)
class Extension:
    """An extension of the source and the target's.

    ``offered`` is the version that the target would install, None where it has none to offer; ``installed`` and
    ``installed_schema`` are those of an extension that is there already; ``versions`` are all that it could install.
    ``is_used`` is true when other objects of the source depend on it.
    """

    classid: int
    oid: int
    name: str
    version: str
    schema: str
    is_used: bool
    offered: str | None = None
    needs_superuser: bool = False
    installed: str | None = None
    installed_schema: str | None = None
    is_relocatable: bool = False
    versions: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Its (class, OID) on the source."""
        return (self.classid, self.oid)

    @property
    def coming(self) -> str | None:
        """The version that the target will have."""
        return self.installed or self.offered


def read(source: Ask, target: Ask, *, is_there: bool) -> tuple[Extension, ...]:
    """Ask both servers. What the target has installed counts only when its database ``is_there`` already."""
    wanted = source(_WANTED, None)
    rows = target(_OFFERED, {"names": [row["name"] for row in wanted]}) if wanted else []
    there = {row["name"]: row for row in rows}
    found = []
    for row in wanted:
        offer = there.get(row["name"])
        if offer is None:
            found.append(Extension(**row))
            continue
        found.append(
            Extension(
                **row,
                offered=offer["default_version"],
                needs_superuser=bool(offer["needs_superuser"]),
                installed=offer["installed_version"] if is_there else None,
                installed_schema=offer["installed_schema"] if is_there else None,
                is_relocatable=bool(offer["is_relocatable"]),
                versions=tuple(offer["versions"]),
            )
        )
    return tuple(found)


def comments(wanted: Iterable[Row], there: Iterable[Row]) -> tuple[list[Attempt], list[dict[str, str]]]:
    """Return the statements for comments of users on extensions, and what stays behind. Pure.

    Both are rows of :data:`COMMENTS`, of the source and of the target. A comment of somebody's own there is not changed.
    """
    present = {row["name"]: row for row in there}
    attempts: list[Attempt] = []
    left: list[dict[str, str]] = []
    for row in wanted:
        found, what = present.get(row["name"]), f"comment of extension {row['name']}"
        if not row["is_own"] or found is None or found["comment"] == row["comment"]:
            continue
        if found["is_own"]:
            left.append({"object": what, "reason": "the target's extension has another one, which is not changed"})
            continue
        change = sql.SQL("COMMENT ON EXTENSION {} IS {}")
        attempts.append(Attempt(what, change.format(sql.Identifier(row["name"]), sql.Literal(row["comment"]))))
    return attempts, left


@dataclass(frozen=True)
class ExtensionsPlan:
    """What becomes of the source's extensions: those that init makes or finds, those that stay behind, and versions.

    ``behind`` are (class, OID) on the source; ``versions`` maps OIDs there to the version that is asked for.
    """

    arriving: tuple[Extension, ...] = ()
    behind: frozenset[tuple[int, int]] = frozenset()
    versions: Mapping[int, str] = field(default_factory=dict)
    left: tuple[dict[str, str], ...] = ()

    @property
    def statements(self) -> dict[int, sql.Composed]:
        """The CREATE EXTENSION statements that name a version, by OID on the source."""
        create = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {} VERSION {}")
        return {
            item.oid: create.format(sql.Identifier(item.name), sql.Identifier(item.schema), sql.Identifier(wanted))
            for item in self.arriving
            if (wanted := self.versions.get(item.oid)) is not None
        }

    def version_there(self, item: Extension) -> str:
        """Return the version that an extension has, or will get, on the target; the source's where it offers none."""
        return item.installed or self.versions.get(item.oid) or item.offered or item.version

    def differing(self) -> list[dict[str, str]]:
        """Return which extensions have, or will get, another version on the target."""
        return [
            {"object": f"version {item.version} of extension {item.name}", "reason": f"the target has {version}"}
            for item in self.arriving
            if (version := self.version_there(item)) != item.version
        ]


def plan(
    policy: str, ask: Ask, found: Iterable[Extension], provider: Provider, left_behind: Collection[tuple[int, int]]
) -> ExtensionsPlan:
    """Decide about each extension of the source.

    ``policy`` is the option extension_versions (default or source), ``ask`` asks the source, whose ``provider`` it is;
    ``left_behind`` is what the selection leaves there.
    """
    coming = [item for item in found if item.key not in left_behind]
    lacking = [item for item in coming if item.offered is None and provider.owns_extension(item.name)]
    needed: dict[int, set[tuple[int, int]]] = {item.oid: set() for item in lacking}
    for row in ask(_DEPENDENTS, {"oids": [item.oid for item in lacking]}) if lacking else []:
        needed[row["extension"]].add((row["classid"], row["oid"]))
    behind: set[tuple[int, int]] = set()
    size = -1
    while size != len(behind):  # one may be needed by another that stays behind only
        size = len(behind)
        behind |= {item.key for item in lacking if needed[item.oid] <= behind.union(left_behind)}
    arriving = tuple(item for item in coming if item.key not in behind)
    reason = f"only {provider.title} has it, and nothing that is migrated needs it"
    return ExtensionsPlan(
        arriving,
        frozenset(behind),
        {item.oid: item.version for item in arriving if policy == "source" and item.installed is None},
        tuple({"object": f"extension {item.name}", "reason": reason} for item in coming if item.key in behind),
    )
