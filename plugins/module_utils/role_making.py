# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Making the roles of a plan: all of it in one transaction with the ledger's word about it, so that nothing is half done.

What the server refuses is left out, piece by piece, and named. Several migrations may do this on one server at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from . import attempts, parameter_privileges, role_comparison
from .attempts import Attempt, Refused
from .claim import Claim
from .driver import psycopg, sql
from .errors import MASK, MigrationError
from .ledger import Record
from .migration import Migration
from .parameter_privileges import ParameterGrant
from .role_catalog import Membership, Role, RoleSetting
from .role_statements import (
    LIBRARY_SETTINGS,
    POWERS,
    comment_role,
    create_role,
    give_password,
    give_power,
    grant_membership,
    grant_ourselves,
    list_elements,
    revoke_from_maker,
    set_role_setting,
    setting_refusal,
)
from .roles import Left, RolePlan
from .session import Session

# How often the work is repeated when others change the same roles at the same moment.
MAX_COLLISIONS = 8
STEP = "roles"
# Memberships that we give ourselves are recorded as objects of this kind: schema is the member, name the role.
MEMBERSHIP = "membership"

# "tuple concurrently updated" is an internal_error, but so is what some providers' hooks say when they refuse something:
# after a few repetitions it is taken for that.
MAX_INTERNAL = 3
_UNIQUE_VIOLATION, _DUPLICATE_OBJECT, _INTERNAL_ERROR = "23505", "42710", "XX000"

# From 16 on a role without superuser may not give objects to a role that it has made, unless it says so first.
_MAY_USE_OWN_ROLES = """
SELECT pg_catalog.set_config('createrole_self_grant', 'set, inherit', false)
  FROM pg_catalog.pg_settings AS s WHERE s.name = 'createrole_self_grant'
"""

# To make a role before 16 is not to be its member; where we may use it anyway there is nothing to do. Roles that others
# have made, another migration perhaps, which has taken its membership back since, are ours to use as well if we may
# grant them; a role that belongs to us cannot be granted to us.
_UNUSABLE = """
SELECT r.rolname AS name
  FROM pg_catalog.pg_roles AS r
  JOIN pg_catalog.pg_roles AS u ON u.rolname = current_user
 WHERE r.rolname = ANY (%(names)s::name[]) AND NOT pg_catalog.pg_has_role(r.oid, 'MEMBER')
   AND u.rolcreaterole AND NOT r.rolsuper AND NOT pg_catalog.pg_has_role(r.oid, u.oid, 'MEMBER')
 ORDER BY r.rolname
"""

# From 16 on: what we administer ourselves, and have not refused ourselves.
_UNUSABLE_16 = """
SELECT r.rolname AS name
  FROM pg_catalog.pg_roles AS r
  JOIN pg_catalog.pg_roles AS u ON u.rolname = current_user
 WHERE r.rolname = ANY (%(names)s::name[]) AND NOT pg_catalog.pg_has_role(r.oid, 'SET') AND NOT r.rolsuper
   AND EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members AS m
                WHERE m.roleid = r.oid AND m.member = u.oid AND m.admin_option)
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members AS m
                    WHERE m.roleid = r.oid AND m.member = u.oid AND m.grantor = u.oid)
 ORDER BY r.rolname
"""

# From 16 on: what createrole_self_grant has given for roles that we made.
_SELF_GRANTED = """
SELECT r.rolname AS name
  FROM pg_catalog.pg_auth_members AS m
  JOIN pg_catalog.pg_roles AS r ON r.oid = m.roleid
  JOIN pg_catalog.pg_roles AS u ON u.oid = m.member
 WHERE u.rolname = current_user AND m.grantor = m.member AND r.rolname = ANY (%(names)s::name[])
 ORDER BY r.rolname
"""

# What an administrator has granted since is his.
_THERE = """
SELECT DISTINCT w.role, w.member
  FROM unnest(%(roles)s::name[], %(members)s::name[]) AS w(role, member)
  JOIN pg_catalog.pg_roles AS r ON r.rolname = w.role
  JOIN pg_catalog.pg_roles AS u ON u.rolname = w.member
  JOIN pg_catalog.pg_auth_members AS m ON m.roleid = r.oid AND m.member = u.oid
 WHERE m.grantor = m.member
"""


class _Collision(Exception):
    """Somebody else changed the same roles at the same moment."""


@dataclass(frozen=True)
class Made:
    """What an earlier run of the migration has recorded about roles: those that it made, and what of them stays behind."""

    roles: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Made:
        """Return what the ledger says."""
        step = record.steps.get(STEP)
        if step is None:
            return cls()
        return cls(tuple(step.detail.get("made", ())), tuple(step.detail.get("left_of_roles", ())))


def carry_out(
    migration: Migration, claim: Claim, target: Session, planned: Callable[[Collection[str]], RolePlan]
) -> None:
    """Plan and make the roles, and record that as a step of the ledger with what stays behind.

    ``planned`` makes a plan of what both servers show now, given the roles that this migration has made before. It is
    asked again after a collision.
    """
    before = Made.of(claim.read())
    entries = migration.log.entries
    for attempt in range(1, MAX_COLLISIONS + 1):
        known = len(entries)
        try:
            _make(claim, target, planned(before.roles), before, internal_is_collision=attempt <= MAX_INTERNAL)
            return
        except (_Collision, psycopg.errors.DeadlockDetected):
            del entries[known:]  # it was rolled back
            time.sleep(random.uniform(0.05, 0.3) * attempt)  # noqa: S311 # not for secrets
    raise MigrationError(
        "migration_busy",
        f"Others made or changed the same roles on the target {MAX_COLLISIONS} times at the same moment.",
        "Run the same command again when they have finished; nothing is half made.",
    )


def statements(plan: RolePlan, database: str, target_major: int) -> list[sql.Composed]:
    """Return the statements that would be run if the server accepted all of them, without secrets."""
    found: list[sql.Composed] = []
    for role in plan.create:
        found.append(create_role(role, with_password=False))
        if role.comment:
            found.append(comment_role(role.name, role.comment))
    found += [grant_membership(item, target_major, with_grantor=True) for item in plan.grant]
    found += [set_role_setting(item, database, shown=True) for item in plan.settings]
    return found + [item.statement() for item in plan.parameters]


def _make(claim: Claim, target: Session, plan: RolePlan, before: Made, *, internal_is_collision: bool) -> None:
    work = _Work(target, internal_is_collision)
    libraries = _without_libraries(target, plan.settings)
    target.connection.execute(_MAY_USE_OWN_ROLES)
    with target.transaction():
        made, lacking = work.roles(plan.create)
        mine = sorted({*before.roles, *made})
        for_good = plan.connected_joins & set(mine)
        temporary = [name for name in work.ourselves(mine, plan.owners) if name not in for_good]
        left = work.memberships(plan.grant)
        left += work.settings([item for item in plan.settings if item not in libraries])
        left += [{"object": item.shown, "reason": reason} for item, reason in libraries.items()]
        left += work.parameters([item for item in plan.parameters if item.change.grantee in mine])
        unmade = {f"role {role.name}" for role in plan.create} - {f"role {name}" for name in made}
        told = [item for item in plan.left if item["object"] not in unmade]
        of_roles = [*before.left, *(item for item in told if item["object"].startswith("role ")), *lacking]
        # Last, because it holds the claim's row, and the heartbeat waits for that.
        held = Claim(target, claim.name, claim.id, claim.epoch)
        if temporary:
            held.intend_all([("target", MEMBERSHIP, name, plan.names.connected) for name in temporary])
        every = _distinct([*of_roles, *told, *left, *plan.differences, *plan.unknown_passwords])
        held.finish(STEP, {"made": mine, "left_of_roles": _distinct(of_roles), "left": every})


def _distinct(entries: Sequence[Left]) -> list[Left]:
    return [item for number, item in enumerate(entries) if item not in entries[:number]]


@dataclass(frozen=True)
class _Work:
    """The statements of a plan, in a transaction of ``target``; each method returns what the server refused."""

    target: Session
    internal_is_collision: bool

    def _try(self, statements: Sequence[Attempt]) -> list[Refused]:
        refused = attempts.carry_out(self.target, statements)
        for item in refused:
            is_internal = item.sqlstate == _INTERNAL_ERROR and self.internal_is_collision
            if is_internal or item.sqlstate == _UNIQUE_VIOLATION:
                raise _Collision
        return refused

    def roles(self, create: Sequence[Role]) -> tuple[list[str], list[Left]]:
        """Make the roles, whole or else with what the server accepts; return the names of those made as well."""
        by_name = {role.name: role for role in create}
        whole = [
            Attempt(role.name, create_role(role, with_password=True), create_role(role, with_password=False))
            for role in create
        ]
        refused = self._try(whole)
        if any(item.sqlstate == _DUPLICATE_OBJECT for item in refused):
            raise _Collision
        left: list[Left] = []
        unmade: set[str] = set()
        for item in refused:
            name = item.attempt.what
            lost, reason = self._piecemeal(by_name[name])
            if reason:
                unmade.add(name)
                left.append({"object": f"role {name}", "reason": f"not made: {reason}"})
            elif lost:
                left.append({"object": f"role {name}", "reason": f"created without {', '.join(lost)}"})
        made = [name for name in by_name if name not in unmade]
        comments = [
            Attempt(f"comment of role {name}", comment_role(name, comment))
            for name in made
            if (comment := by_name[name].comment)
        ]
        return made, left + [item.as_left for item in self._try(comments)]

    def _piecemeal(self, role: Role) -> tuple[list[str], str]:
        """Make a role that was refused as a whole; return what it lacks, with reasons, or why it cannot be made."""
        bare = replace(role, verifier=None, createdb=False, createrole=False, replication=False, bypassrls=False)
        lost: list[str] = []
        first = self._try([Attempt(role.name, create_role(bare, with_password=False))])
        if first:
            barer = replace(bare, connection_limit=-1, valid_until=None)
            again = self._try([Attempt(role.name, create_role(barer, with_password=False))])
            if again:
                return [], again[0].reason
            lost.append(f"CONNECTION LIMIT and VALID UNTIL ({first[0].reason})")
        pieces = [Attempt(power.upper(), give_power(role.name, power)) for power in POWERS if getattr(role, power)]
        if role.verifier is not None:
            hidden = give_password(role.name, MASK)
            pieces.append(Attempt("its password", give_password(role.name, role.verifier), hidden))
        return lost + [f"{item.attempt.what} ({item.reason})" for item in self._try(pieces)], ""

    def ourselves(self, made: Sequence[str], owners: Sequence[str]) -> list[str]:
        """See to it that we may give objects to the roles that we made and to other ``owners``, where we may.

        Return the roles to which we belong only for that.
        """
        lacking = grantable_to_ourselves(self.target, [*made, *owners])
        tries = [Attempt(name, grant_ourselves(name, self.target.major)) for name in lacking]
        refused = {item.attempt.what for item in self._try(tries)}
        given = {name for name in lacking if name not in refused}
        if self.target.major >= 16:
            given |= {row["name"] for row in self.target.rows(_SELF_GRANTED, {"names": list(made)})}
        return sorted(given)

    def memberships(self, grant: Sequence[Membership]) -> list[Left]:
        """Give the memberships, with their grantors where the server accepts that."""
        given: dict[tuple[str, str], Membership] = {}
        left = self._in_our_name([item for item in grant if item.grantor is None], given)
        others = [item for item in grant if item.grantor is not None]
        tries = [
            Attempt(str(number), grant_membership(item, self.target.major, with_grantor=True))
            for number, item in enumerate(others)
        ]
        refused = {int(item.attempt.what): item.reason for item in self._try(tries)}
        left += self._in_our_name([others[number] for number in sorted(refused)], given)
        lost = {entry["object"] for entry in left}
        for number, reason in sorted(refused.items()):
            item = others[number]
            # Before 16 the grantor was a remark; since then it is he who may take the membership back.
            if self.target.major >= 16 and item.inherit is not None and item.shown not in lost:
                left.append({"object": f"grantor {item.grantor} of the {item.shown}", "reason": reason})
        return left

    def _in_our_name(self, grant: Sequence[Membership], given: dict[tuple[str, str], Membership]) -> list[Left]:
        """Grant as ourselves, together what several grantors gave; ``given`` is, and will be, what we granted so."""
        wanted: dict[tuple[str, str], Membership] = {}
        for item in grant:
            key = (item.granted, item.member)
            other = wanted.get(key) or given.get(key)
            wanted[key] = replace(item, grantor=None) if other is None else role_comparison.either(item, other)
        fresh = [item for key, item in wanted.items() if given.get(key) != item]
        refused = self._try([Attempt(item.shown, grant_membership(item, self.target.major)) for item in fresh])
        lost = {item.attempt.what for item in refused}
        given.update({key: item for key, item in wanted.items() if item.shown not in lost})
        return [item.as_left for item in refused]

    def settings(self, settings: Sequence[RoleSetting]) -> list[Left]:
        """Give the settings."""
        database = self.target.endpoint.dbname
        tries = [
            Attempt(item.shown, set_role_setting(item, database), set_role_setting(item, database, shown=True))
            for item in settings
        ]
        return [{"object": item.attempt.what, "reason": setting_refusal(item.sqlstate)} for item in self._try(tries)]

    def parameters(self, grants: Sequence[ParameterGrant]) -> list[Left]:
        """Give the privileges on configuration parameters."""
        return parameter_privileges.carry(self.target, grants, self._try)


def _without_libraries(target: Session, settings: Sequence[RoleSetting]) -> dict[RoleSetting, str]:
    """Return the settings that load what the target does not have, with the reason: they would lock the role out."""
    found: dict[RoleSetting, str] = {}
    wanted = [item for item in settings if item.name.lower() in LIBRARY_SETTINGS]
    if not wanted:
        return found
    # In a session of its own, because a library changes the one that loads it.
    with Session.open(target.endpoint, target.log, purpose="library probe", read_only=True) as probe:
        for item in wanted:
            for library in filter(None, list_elements(item.value)):
                is_local = item.name.lower() == "local_preload_libraries" and "/" not in library
                path = f"$libdir/plugins/{library}" if is_local else library
                try:
                    probe.connection.execute(sql.SQL("LOAD {}").format(sql.Literal(path)))
                except psycopg.Error as error:
                    said = error.diag.message_primary or "it refused"
                    found[item] = (
                        f"sessions of the role would not begin, because the target cannot load {library}: {said}"
                    )
                    break
    return found


def grantable_to_ourselves(target: Session, names: Sequence[str]) -> list[str]:
    """Return those of the target's roles to which we cannot give objects yet, but may let ourselves."""
    query = _UNUSABLE_16 if target.major >= 16 else _UNUSABLE
    return [row["name"] for row in target.rows(query, {"names": list(names)})]


def take_back(target: Session, given: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Revoke memberships, each as role and member, that a role gave itself; return those refused, with the reason."""
    roles, members = [role for role, _member in given], [member for _role, member in given]
    found = target.rows(_THERE, {"roles": roles, "members": members}) if given else []
    pairs = [(row["role"], row["member"]) for row in found]
    tries = [
        Attempt(str(number), revoke_from_maker(*pair, target_major=target.major)) for number, pair in enumerate(pairs)
    ]
    return {pairs[int(item.attempt.what)]: item.reason for item in attempts.carry_out(target, tries)}
