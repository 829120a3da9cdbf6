# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The extensions of the source, and what the target offers of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from ..driver import Row

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
SELECT v.name, a.default_version, v.superuser AND NOT v.trusted AS needs_superuser,
       e.extversion AS installed_version, n.nspname AS installed_schema, e.extrelocatable AS is_relocatable
  FROM pg_catalog.pg_available_extensions AS a
  JOIN pg_catalog.pg_available_extension_versions AS v ON v.name = a.name AND v.version = a.default_version
  LEFT JOIN pg_catalog.pg_extension AS e ON e.extname = a.name
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
 WHERE a.name = ANY (%(names)s::name[])
"""


@dataclass(frozen=True)
class Extension:
    """An extension of the source and the target's.

    ``offered`` is the version that the target would install, None where it has none to offer; ``installed`` and
    ``installed_schema`` are those of an extension that is there already. ``is_used`` is true when other objects of the
    source depend on it.
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
            )
        )
    return tuple(found)
