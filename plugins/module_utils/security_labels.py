# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Security labels: set again where the target has loaded their provider, else listed, provider by provider."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import attempts
from .attempts import Attempt
from .driver import psycopg, sql
from .role_names import RoleNames
from .session import Session

if TYPE_CHECKING:
    from .session import Query

# pg_identify_object qualifies and quotes every name (the view pg_seclabels does not quote those of columns). Objects of
# PostgreSQL itself and of extensions are labelled by those who bring them.
QUERY = """
WITH label AS (
  SELECT s.classoid, s.objoid, s.objsubid, s.provider, s.label FROM pg_catalog.pg_seclabel AS s
   UNION ALL
  SELECT s.classoid, s.objoid, 0, s.provider, s.label
    FROM pg_catalog.pg_shseclabel AS s
   WHERE s.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      OR (s.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
          AND s.objoid = (SELECT d.oid FROM pg_catalog.pg_database AS d
                           WHERE d.datname = pg_catalog.current_database())))
SELECT l.classoid::bigint AS classid, l.objoid::bigint AS oid, l.provider, l.label,
       CASE WHEN i.type IN ('function', 'procedure', 'aggregate', 'window function') THEN 'routine'
            WHEN pg_catalog.right(i.type, 7) = ' column' THEN 'column' ELSE i.type END AS kind,
       i.identity AS name, r.rolname AS role
  FROM label AS l
 CROSS JOIN LATERAL pg_catalog.pg_identify_object(l.classoid, l.objoid, l.objsubid) AS i
  LEFT JOIN pg_catalog.pg_roles AS r
    ON l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.oid = l.objoid
 WHERE (l.objoid >= 16384 OR i.type IN ('database', 'role') OR (i.type = 'schema' AND i.identity = 'public'))
   AND coalesce(i.schema, '') <> 'seren_migrator' AND NOT (i.type = 'schema' AND i.identity = 'seren_migrator')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = l.classoid AND d.objid = l.objoid AND d.deptype = 'e')
 ORDER BY l.provider, kind, i.identity
"""

_KINDS = (
    "column",
    "database",
    "domain",
    "foreign table",
    "language",
    "large object",
    "materialized view",
    "role",
    "routine",
    "schema",
    "sequence",
    "table",
    "type",
    "view",
)
# A role of this name is nowhere; a label for it is refused either way, and the way tells whether the provider is loaded.
_NOBODY = "seren_migrator nobody"


@dataclass(frozen=True)
class Label:
    """A label of an object of the source; ``name`` is SQL, ``role`` the plain name where the object is a role."""

    classid: int
    oid: int
    provider: str
    label: str
    kind: str
    name: str
    role: str | None

    @property
    def what(self) -> str:
        """What results call the object."""
        return f"{self.kind} {self.name}"


def read(rows: Iterable[dict[str, object]]) -> list[Label]:
    """Return the labels that :data:`QUERY` found."""
    return [Label(**row) for row in rows]  # type: ignore[arg-type]


def travelling(
    labels: Iterable[Label], left_behind: Collection[tuple[int, int]], roles: Collection[str], *, large_objects: bool
) -> list[Label]:
    """Return the labels of what travels: of ``roles`` (names on the source), of large objects only where they do. Pure."""
    return [
        item
        for item in labels
        if (item.classid, item.oid) not in left_behind
        and (item.role is None or item.role in roles)
        and (large_objects or item.kind != "large object")
    ]


def is_loaded(target: Session, provider: str) -> bool:
    """True where the target's sessions have loaded a label provider. Changes nothing."""
    statement = sql.SQL("SECURITY LABEL FOR {} ON ROLE {} IS NULL")
    try:
        with target.connection.transaction(force_rollback=True):
            target.connection.execute(statement.format(sql.Identifier(provider), sql.Identifier(_NOBODY)))
    except psycopg.DataError:
        return False
    except psycopg.ProgrammingError:
        return True
    return True


def carry_over(target: Session, labels: Sequence[Label], names: RoleNames) -> list[dict[str, str]]:
    """Set the labels that the target accepts; return what stays behind."""
    left = [
        {"object": f"security label of {item.what}", "reason": "of no kind that this version of PostgreSQL names"}
        for item in labels
        if item.kind not in _KINDS
    ]
    labels = [item for item in labels if item.kind in _KINDS]
    wanted: list[Attempt] = []
    for provider in sorted({item.provider for item in labels}):
        its = [item for item in labels if item.provider == provider]
        if is_loaded(target, provider):
            wanted += [Attempt(f"security label of {item.what}", label(item, target, names)) for item in its]
        else:
            left.append(behind(provider, its))
    return left + [item.as_left for item in attempts.carry_out(target, wanted)]


def behind(provider: str, labels: Sequence[Label]) -> dict[str, str]:
    """Return the entry for all labels of a provider that the target has not loaded."""
    some = ", ".join(item.what for item in labels[:5])
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    reason = f"the target has not loaded this label provider; labelled are {some}{more}"
    return {"object": f"{len(labels)} security label(s) of provider {provider}", "reason": reason}


def label(item: Label, target: Session, names: RoleNames) -> Query:
    """Return the statement that sets a label on the target."""
    called: sql.Composable = sql.SQL(item.name)  # quoted by PostgreSQL itself
    if item.role is not None:
        called = sql.Identifier(names.of(item.role) or item.role)
    elif item.kind == "database":
        called = sql.Identifier(target.endpoint.dbname)
    return sql.SQL("SECURITY LABEL FOR {} ON {} {} IS {}").format(
        sql.Identifier(item.provider), sql.SQL(item.kind.upper()), called, sql.Literal(item.label)
    )
