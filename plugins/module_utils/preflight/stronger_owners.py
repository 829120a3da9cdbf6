# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what acts with its owner's rights, where the owner is another one on the target and may do more there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import acl
from ..provider import is_own_role
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements
from .context import Context

if TYPE_CHECKING:
    from ..driver import Row
    from ..owned import Owned

CHECKS: list[Check] = []

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


@check(
    CHECKS, "stronger_owners", "No view or function acts for others with more rights than on the source", side="target"
)
def stronger_owners(context: Context) -> Outcome:
    """X1. Where nobody stands for an owner, or one role owns everything, the next owner may see and do more."""
    names = context.names
    owners = {names.connected, *([names.owner] if names.owner else [])}
    powers = {row["name"]: row for row in context.target.rows(_POWERS, {"names": sorted(owners)})}
    items = {(item.classid, item.oid): item for item in context.holdings.objects.values()}
    blocking: dict[str, str] = {}
    others: dict[str, str] = {}
    of: dict[str, str] = {}
    for row in context.restored(context.source.rows(_ACTING)):
        item = items.get((row["classid"], row["oid"]))
        if item is None or not (row["fires"] or _is_for_others(context, item)):
            continue
        new_owner = names.owner_of(item.owner)
        if new_owner == names.of(item.owner):
            continue
        gain = _gain(context, row, new_owner, powers.get(new_owner))
        if not gain:
            continue
        told = f"{item.shown} ({item.owner}, then {new_owner}: {gain})"
        # What belonged to the provider's own administrator was never narrow; and someone else's role is no boundary.
        is_grave = gain != _OTHER_RIGHTS and not is_own_role(item.owner)
        (blocking if is_grave else others)[item.shown] = told
        of[item.owner] = new_owner
    if not of:
        return passed()
    return failed(
        "Views read, and SECURITY DEFINER routines run, with the rights of their owner, whoever uses them. No role of the "
        "target stands for the owner of these, so they will belong to a role with other rights, and others may use them.",
        _remedy(of),
        objects=[*sorted(blocking.values()), *sorted(told for shown, told in others.items() if shown not in blocking)],
        severity="blocker" if blocking else "warning",
    )


_OTHER_RIGHTS = "runs with its rights"


def _gain(context: Context, row: Row, new_owner: str, power: Row | None) -> str:
    """Return what the next owner may do through it that its owner may not, '' for nothing."""
    is_super, bypasses = (power["is_super"], power["bypasses"]) if power else (False, False)
    if row["name"] is None:
        if is_super:
            return "runs as superuser"
        return "runs with BYPASSRLS" if bypasses and not row["bypasses"] else _OTHER_RIGHTS
    read = f"{row['schema']}.{row['name']}"
    if is_super or (bypasses and not row["bypasses"]):
        return f"shows all rows of {read}"
    if not row["is_forced"] and context.names.owner_of(row["owner_of_rows"]) == new_owner:
        return f"shows all rows of {read}, which it owns, too"
    return ""


def _is_for_others(context: Context, item: Owned) -> bool:
    """True when somebody else than the owner may use it, also on the target."""
    usual = context.holdings.usual[item.usual or "r"]
    rights = [*(usual.of(item.owner) if item.acl is None else acl.parse(item.acl))]
    rights += [right for column in item.columns.values() for right in acl.parse(column)]
    return any(right.grantee != item.owner and context.names.of(right.grantee) is not None for right in rights)


def _remedy(owners: dict[str, str]) -> str:
    making: Iterable[str] = (statements(statement("CREATE ROLE {}", name(role))) for role in sorted(owners))
    mapping = ", ".join(f"{role}: NAME" for role in sorted(owners))
    return "\n".join(
        [
            comment(f"give the role a name on the target that stands for it, without owner: roles: {{{mapping}}}"),
            "-- on the target, where there is none yet",
            *making,
            comment("or, on the source, take these from all but their owner: REVOKE ALL ON ... FROM PUBLIC, ..."),
            comment("or accept it: severities: {stronger_owners: warning}"),
        ]
    )
