# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What acts with its owner's rights, where the owner is another one on the target and may do more there.

Views read, and SECURITY DEFINER routines run, with the rights of their owner, whoever uses them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import acl
from .provider import is_own_role

if TYPE_CHECKING:
    from .driver import Row
    from .owned import Holdings, Owned
    from .role_names import RoleNames
    from .session import Session

# Row security is not asked of a superuser, of BYPASSRLS, and of the table's owner unless it is forced. What a view with
# security_invoker reads is read as the view before it would read it; every other view has an owner of its own.
_ACTING = """
WITH RECURSIVE view AS (
  SELECT c.oid, c.relowner,
         EXISTS (SELECT 1 FROM pg_catalog.pg_options_to_table(c.reloptions) AS o
                  WHERE o.option_name = 'security_invoker' AND o.option_value::boolean) AS is_invoker
    FROM pg_catalog.pg_class AS c
   WHERE c.relkind = 'v' AND c.oid >= 16384),
uses(view, relation) AS (
  SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite AS r
    JOIN pg_catalog.pg_depend AS d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
   WHERE r.ev_class IN (SELECT v.oid FROM view AS v)),
reads(view, owner, relation) AS (
  SELECT v.oid, v.relowner, u.relation
    FROM view AS v
    JOIN uses AS u ON u.view = v.oid
   WHERE NOT v.is_invoker
   UNION
  SELECT s.view, s.owner, u.relation
    FROM reads AS s
    JOIN view AS v ON v.oid = s.relation AND v.is_invoker
    JOIN uses AS u ON u.view = v.oid)
SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid::bigint AS classid, s.view::bigint AS oid, false AS fires,
       o.rolsuper AS is_super, o.rolbypassrls AS bypasses, n.nspname AS schema, t.relname AS name,
       w.rolname AS owner_of_rows, t.relforcerowsecurity AS is_forced
  FROM reads AS s
  JOIN pg_catalog.pg_roles AS o ON o.oid = s.owner
  JOIN pg_catalog.pg_class AS t ON t.oid = s.relation
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_roles AS w ON w.oid = t.relowner
 WHERE NOT o.rolsuper
   AND (NOT pg_catalog.has_any_column_privilege(o.oid, t.oid, 'SELECT')
        OR (t.relrowsecurity AND NOT o.rolbypassrls
            AND (t.relforcerowsecurity OR NOT pg_catalog.pg_has_role(o.oid, t.relowner, 'USAGE'))))
   AND t.relkind IN ('r', 'p', 'v', 'm', 'f')
 UNION ALL
SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::oid::bigint, p.oid::bigint,
       p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype, o.rolsuper, o.rolbypassrls, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_roles AS o ON o.oid = p.proowner
 WHERE p.prosecdef AND p.oid >= 16384 AND NOT o.rolsuper
"""

_POWERS = """
SELECT r.rolname AS name, r.rolsuper AS is_super, r.rolbypassrls AS bypasses
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = ANY (%(names)s::name[])
"""


@dataclass(frozen=True)
class Stronger:
    """A view or routine (``shown``) of ``owner`` on the source, which ``new_owner`` will own, and what that one may do more.

    ``is_grave`` is false where the old owner was no boundary: a provider's own administrator, or just another role.
    """

    shown: str
    owner: str
    new_owner: str
    gain: str
    is_grave: bool

    @property
    def told(self) -> str:
        """All of it, for people."""
        return f"{self.shown} ({self.owner}, then {self.new_owner}: {self.gain})"


def find(
    source: Session,
    target: Session,
    holdings: Holdings,
    names: RoleNames,
    left_behind: Collection[tuple[int, int]],
) -> list[Stronger]:
    """Return what others than its owner may use and will act with more rights, each object once, the gravest word first."""
    owners = {names.connected, *([names.owner] if names.owner else [])}
    powers = {row["name"]: row for row in target.rows(_POWERS, {"names": sorted(owners)})}
    items = {(item.classid, item.oid): item for item in holdings.objects.values()}
    found: dict[tuple[int, int], Stronger] = {}
    for row in source.rows(_ACTING):
        key = (row["classid"], row["oid"])
        item = items.get(key)
        if item is None or key in left_behind or not (row["fires"] or _is_for_others(holdings, names, item)):
            continue
        new_owner = names.owner_of(item.owner)
        if new_owner == names.of(item.owner):
            continue
        gain = _gain(names, row, new_owner, powers.get(new_owner))
        if not gain:
            continue
        is_grave = gain != _OTHER_RIGHTS and not is_own_role(item.owner)
        if key not in found or (is_grave and not found[key].is_grave):
            found[key] = Stronger(item.shown, item.owner, new_owner, gain, is_grave)
    return sorted(found.values(), key=lambda each: (not each.is_grave, each.told))


def left(found: Collection[Stronger]) -> list[dict[str, str]]:
    """Return what results say where init goes on all the same (``skip_checks``, ``severities``)."""
    return [
        {
            "object": item.shown,
            "reason": f"acts for others with more rights than on the source: it belonged to {item.owner}, and belongs to "
            f"{item.new_owner} ({item.gain})",
        }
        for item in found
    ]


_OTHER_RIGHTS = "runs with its rights"


def _gain(names: RoleNames, row: Row, new_owner: str, power: Row | None) -> str:
    """Return what the next owner may do through it that its owner may not, '' for nothing."""
    is_super, bypasses = (power["is_super"], power["bypasses"]) if power else (False, False)
    if row["name"] is None:
        if is_super:
            return "runs as superuser"
        return "runs with BYPASSRLS" if bypasses and not row["bypasses"] else _OTHER_RIGHTS
    read = f"{row['schema']}.{row['name']}"
    if is_super or (bypasses and not row["bypasses"]):
        return f"shows all rows of {read}"
    if not row["is_forced"] and names.owner_of(row["owner_of_rows"]) == new_owner:
        return f"shows all rows of {read}, which it owns, too"
    return ""


def _is_for_others(holdings: Holdings, names: RoleNames, item: Owned) -> bool:
    """True when somebody else than the owner may use it, also on the target."""
    usual = holdings.usual[item.usual or "r"]
    rights = [*(usual.of(item.owner) if item.acl is None else acl.parse(item.acl))]
    rights += [right for column in item.columns.values() for right in acl.parse(column)]
    return any(right.grantee != item.owner and names.of(right.grantee) is not None for right in rights)
