# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What is to be done about roles: which are made on the target, which stand for others, what stays behind.

Here belongs planning, which reads both servers and changes nothing; ``role_making`` carries a plan out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import database_settings, parameter_privileges, provider, role_catalog, role_comparison, role_passwords
from .errors import MigrationError
from .parameter_privileges import ParameterGrant, Parameters
from .password_comparison import namesakes_of, other_passwords, read_verifiers, unknown_passwords
from .role_catalog import Membership, Role, Roles, RoleSetting
from .role_names import RoleNames
from .role_policy import RolePolicy, is_predefined
from .role_statements import LIBRARY_SETTINGS, POWERS, list_elements
from .session import Session
from .side_by_side import both

Left = dict[str, str]

_NAMES = "SELECT r.rolname AS name FROM pg_catalog.pg_roles AS r"

# SET is what ALTER ... OWNER TO needs from 16 on, membership before.
_USABLE = """
SELECT r.rolname AS name, r.rolname = current_user AS is_connected,
       pg_catalog.pg_has_role(r.oid, %(privilege)s) AS can_be_set
  FROM pg_catalog.pg_roles AS r
"""


@dataclass(frozen=True)
class RolePlan:
    """What to make on the target, all by the target's names, and what stays behind with its reason.

    ``left`` is known already, ``expected`` is what the server will probably refuse; ``differences`` are of roles that the
    target has; of ``unknown_passwords`` nobody can say whether they are the source's. ``without_password`` are
    the roles to be made that log in on the source with a password that we
    neither can read nor were given. ``names`` is how it will be once the roles are made. ``connected_joins`` are
    the roles to be made to which the connected role belongs for good, because the role it stands for does. ``parameters``
    are their privileges on configuration parameters. ``owners`` are roles of the target that will own something.
    ``wider`` are memberships that give more on the target than on the source.
    """

    names: RoleNames
    create: tuple[Role, ...] = ()
    grant: tuple[Membership, ...] = ()
    settings: tuple[RoleSetting, ...] = ()
    left: tuple[Left, ...] = ()
    expected: tuple[Left, ...] = ()
    differences: tuple[Left, ...] = ()
    without_password: tuple[str, ...] = ()
    connected_joins: frozenset[str] = frozenset()
    parameters: tuple[ParameterGrant, ...] = ()
    owners: tuple[str, ...] = ()
    wider: tuple[Left, ...] = ()
    unknown_passwords: tuple[Left, ...] = ()


def names(
    policy: RolePolicy, source: Session, target: Session, *, owner: str | None = None, coming: Collection[str] = ()
) -> RoleNames:
    """Return what each role of the source is called on the target, as the target is now.

    A role that is not there stands for nobody, so init asks once it has made the roles; ``coming`` are names on the target
    that count as if they were there (for a plan). ``owner`` is the role that shall own everything, None to keep owners.
    With ``roles: none`` nothing is given to a role that the connected one may not be; to be granted something, a role has
    only to be there.
    """
    privilege = "SET" if target.major >= 16 else "MEMBER"
    rows, of_source = both(lambda: target.rows(_USABLE, {"privilege": privilege}), lambda: source.rows(_NAMES))
    there = {row["name"]: row["can_be_set"] for row in rows}
    connected = next(row["name"] for row in rows if row["is_connected"])
    known = {*there, *coming}
    no_owners = {name for name, can_be_set in there.items() if policy.kind == "none" and not can_be_set}
    privileged: str | None = None
    renamed: dict[str, str | None] = {}
    for row in of_source:
        role: str = row["name"]
        called = policy.renamed.get(role, role)
        if policy.is_reserved(role) and role not in there:
            if privileged is None:
                privileged = _privileged_role(target)
            called = privileged if provider.is_privileged_role(role) else None
        if called is not None and called not in (there if is_predefined(called) else known):
            called = None
        if called != role:
            renamed[role] = called
    known = {row["name"] for row in of_source} | {called for called in renamed.values() if called}
    reserved = frozenset(role for role in there if policy.is_reserved(role)) - {*policy.renamed.values()}
    return RoleNames(
        connected,
        renamed,
        owner,
        no_owners=frozenset(no_owners),
        strangers=frozenset(there) - known - {connected},
        reserved=reserved - {connected},
    )


def _privileged_role(target: Session) -> str:
    """Return what the target's provider gives to administrators instead of superuser, '' where it has no such role."""
    row = target.row(provider.QUERY, provider.parameters())
    if row is None:
        return ""
    return provider.recognise(provider.Evidence.of(row, target.endpoint.params.get("host", ""))).privileged_role


def plan(
    policy: RolePolicy,
    source: Session,
    target: Session,
    left_out: Collection[int],
    *,
    database: str,
    passwords: Mapping[str, str] | None = None,
    made: Collection[str] = (),
) -> RolePlan:
    """Compare the roles that the selection needs with those of the target.

    ``left_out`` are OIDs of source relations that do not take part; ``database`` is the target's, which need not exist
    yet; ``passwords`` are for roles of the source; ``made`` are roles of the target that this migration has made before.
    Needs no superuser. Raises ``bad_option`` where an option names a role that is not there.
    """
    if policy.kind == "none":
        return RolePlan(names(policy, source, target))
    (ours, held, (used, owning)), (theirs, held_there) = both(
        lambda: (*_look(source, source.endpoint.dbname), role_catalog.used(source, left_out)),
        lambda: _look(target, database),
    )
    _check_options(policy, passwords or {}, ours, theirs)
    closed = frozenset(name for name in ours.roles if is_predefined(name) or policy.is_reserved(name))
    wanted = frozenset(ours.roles) if policy.kind == "all" else role_catalog.referenced(ours, used, closed)
    standing = _standing(policy, sorted(wanted - closed))
    missing = {called: name for called, name in standing.items() if called not in theirs.roles}
    naming = names(policy, source, target, coming=missing)
    finished = frozenset(made) & frozenset(theirs.roles)
    namesakes = namesakes_of(standing, {*missing, *finished}, ours, theirs)
    verifiers = read_verifiers(source, target, missing.values(), namesakes, (ours, theirs))
    create, without_password, spoilt = _to_create(target, missing, ours, passwords or {}, verifiers[0])
    left = [
        {"object": f"role {role.name}", "reason": "SUPERUSER is never given to a new role"}
        for role in create
        if role.superuser
    ]
    reason = "created without a password: the source's is not readable"
    left += [{"object": f"role {name}", "reason": reason} for name in without_password]
    reason = (
        "created without a password: the source has an md5 hash, which counts only under the name that it has there"
    )
    left += [{"object": f"role {name}", "reason": reason} for name in spoilt]
    left += [
        {"object": f"role {name}", "reason": _nobody(name, naming)}
        for name in sorted(used & closed)
        if naming.of(name) is None
    ]
    parts = _Parts(ours, theirs, naming, wanted | closed, standing, frozenset(missing), finished)
    grant, lost, wider = parts.grants(target.major)
    settings, withheld = parts.settings()
    powers = [] if theirs.is_superuser else _lost_powers(create, theirs, target.major)
    refused = [] if theirs.is_superuser or target.major < 16 else _not_grantable(grant, missing, theirs)
    parameters = parameter_privileges.plan(held, held_there, naming, wanted | closed, parts.fresh, target.major)
    if not theirs.is_superuser:
        mine = _reached(theirs)
        refused += parameter_privileges.refusals(parameters.grants, held_there, mine, theirs.connected)
    return RolePlan(
        naming,
        tuple(create),
        tuple(grant),
        tuple(settings),
        (
            *left,
            *lost,
            *wider,
            *({"object": item.shown, "reason": reason} for item, reason in withheld.items()),
            *parameters.left,
        ),
        (*powers, *refused),
        tuple(
            parts.differences(
                [*settings, *withheld],
                _givable(theirs, target.major),
                other_passwords(namesakes, passwords or {}, verifiers),
            )
        ),
        tuple(without_password),
        parts.connected_joins,
        parameters.grants,
        tuple(sorted(_owners(naming, owning, theirs))),
        tuple(wider),
        tuple(unknown_passwords(namesakes, passwords or {}, verifiers)),
    )


def _look(session: Session, database: str) -> tuple[Roles, Parameters]:
    return role_catalog.read(session, database), parameter_privileges.read(session)


def _owners(naming: RoleNames, owners: Collection[str], theirs: Roles) -> set[str]:
    """Return the roles that the target has already and that will own something."""
    found = {called for name in owners if (called := naming.of(name)) is not None and not is_predefined(called)}
    return found & set(theirs.roles) - {naming.connected}


def _check_options(policy: RolePolicy, passwords: Mapping[str, str], ours: Roles, theirs: Roles) -> None:
    for option, given in (("roles", policy.renamed), ("role_passwords", passwords)):
        strangers = sorted(set(given) - set(ours.roles))
        if strangers:
            raise MigrationError(
                "bad_option",
                f"{option} names roles that the source does not have: {', '.join(strangers)}.",
                "Correct the names, or leave them out. Case counts.",
                {"option": option, "roles": strangers},
            )
    unknown = sorted(
        called for called in policy.renamed.values() if called and is_predefined(called) and called not in theirs.roles
    )
    if unknown:
        raise MigrationError(
            "bad_option",
            f"roles maps to {', '.join(unknown)}, which the target does not have and nobody can make: names that begin "
            "with pg_ are PostgreSQL's own.",
            "Give another name.",
            {"option": "roles", "roles": unknown},
        )


def _standing(policy: RolePolicy, wanted: Sequence[str]) -> dict[str, str]:
    """Return, by the target's name, the role of the source whose attributes count there: first of all its namesake."""
    called = {name: policy.renamed.get(name, name) for name in wanted}
    found = {other: name for name, other in reversed(called.items()) if other is not None}
    return {**found, **{name: name for name, other in called.items() if other == name}}


def _to_create(
    target: Session,
    missing: Mapping[str, str],
    ours: Roles,
    passwords: Mapping[str, str],
    stored: Mapping[str, str] | None,
) -> tuple[list[Role], list[str], list[str]]:
    """Return the roles to make, those of them that log in but whose password is not readable, or not under that name."""
    create, lacking, spoilt = [], [], []
    for called, name in sorted(missing.items()):
        role = replace(ours.roles[name], name=called)
        if name in passwords:
            role = replace(role, verifier=role_passwords.hashed(target, called, passwords[name]))
        elif stored is not None:
            verifier = stored.get(name)
            if verifier is not None and verifier.startswith("md5") and called != name:  # it is made of the name, too
                verifier = None
                spoilt.append(called)
            role = replace(role, verifier=verifier)
        elif role.login:
            lacking.append(called)
        create.append(role)
    return create, lacking, spoilt


def _nobody(role: str, naming: RoleNames) -> str:
    whose = "predefined by the source's PostgreSQL" if is_predefined(role) else "a role of the source's provider"
    return (
        f"{whose}, and nobody stands for it on the target: what is granted to it stays behind, what it owns goes to "
        f"{naming.owner_of(role)}"
    )


def _lost_powers(create: Iterable[Role], theirs: Roles, target_major: int) -> list[Left]:
    """Return what the connected role, which is no superuser, may not give to the roles that it makes."""
    givable = _givable(theirs, target_major)
    found = []
    for role in create:
        lost = [power.upper() for power in POWERS if getattr(role, power) and power not in givable]
        if lost:
            reason = f"{theirs.connected} may not give {', '.join(lost)}"
            found.append({"object": f"role {role.name}", "reason": reason})
    return found


def _givable(theirs: Roles, target_major: int) -> set[str]:
    """Return the powers that the connected role may give to the roles that it makes."""
    if theirs.is_superuser:
        return {*POWERS}
    me = theirs.roles[theirs.connected]
    return {"createdb", "createrole"} if target_major < 16 else {power for power in POWERS if getattr(me, power)}


def _reached(theirs: Roles) -> set[str]:
    """Return the connected role and all to which it belongs."""
    mine = {theirs.connected}
    while more := {item.granted for item in theirs.memberships if item.member in mine} - mine:
        mine |= more
    return mine


def _not_grantable(grant: Iterable[Membership], missing: Collection[str], theirs: Roles) -> list[Left]:
    """Return memberships in roles of the target that the connected role, from 16 on, does not administer."""
    mine = _reached(theirs)
    administered = {item.granted for item in theirs.memberships if item.admin and item.member in mine} | {*missing}
    return [
        {"object": item.shown, "reason": f"{theirs.connected} may not grant {item.granted} on the target"}
        for item in grant
        if item.granted not in administered
    ]


@dataclass(frozen=True)
class _Parts:
    """Both servers' roles, by the target's names: ``standing`` maps each to the role of the source that counts.

    ``known`` are the roles of the source that take part in anything.
    """

    ours: Roles
    theirs: Roles
    naming: RoleNames
    known: frozenset[str]
    standing: Mapping[str, str]
    missing: frozenset[str]
    made: frozenset[str]

    @property
    def fresh(self) -> frozenset[str]:
        """The roles that are this migration's to complete."""
        return self.missing | self.made

    @property
    def connected_joins(self) -> frozenset[str]:
        """The new roles to which the connected role belongs on the source, too."""
        found = (item for item in self.ours.memberships if item.may_use)
        pairs = ((self.naming.of(item.member), self.naming.of(item.granted)) for item in found)
        return frozenset(granted for member, granted in pairs if member == self.naming.connected and granted)

    def grants(self, target_major: int) -> tuple[list[Membership], list[Left], list[Left]]:
        """Return the memberships of the new roles, those that cannot be had, and those that give more there."""
        found: list[Membership] = []
        asked: list[Membership] = []
        left: list[Left] = []
        there = {(item.granted, item.member): item for item in _merged(self.theirs.memberships)}
        for item in self.ours.memberships:
            member, granted = self.naming.of(item.member), self.naming.of(item.granted)
            if member not in self.fresh or granted == member or item.granted not in self.known:
                continue
            if granted is None:
                reason = f"nobody stands for {item.granted} on the target"
                left.append({"object": item.shown, "reason": reason})
                continue
            if target_major < 16 and not item.may_use:
                if item.admin:
                    reason = f"ADMIN OPTION without the rights of the role is unknown to PostgreSQL {target_major}"
                    left.append({"object": item.shown, "reason": reason})
                continue
            grantor = None if item.grantor is None else self.naming.of(item.grantor)
            wanted = replace(item, granted=granted, member=member, grantor=grantor)
            asked.append(wanted)
            other = there.get((granted, member))
            if other is None or role_comparison.memberships([wanted], [other]):
                found.append(wanted)
        narrower, wider = self._without_options(asked) if target_major < 16 else ([], [])
        return in_order(_without_doubles(found, target_major)), left + narrower, wider

    def _without_options(self, asked: Iterable[Membership]) -> tuple[list[Left], list[Left]]:
        """Return what memberships give less and more before 16, where the member's own INHERIT decides, and all may SET ROLE."""
        narrower: list[Left] = []
        wider: list[Left] = []
        for item in _without_doubles(asked, 15):
            inherits = self.ours.roles[self.standing[item.member]].inherit
            said = []
            if item.set is False:
                said.append(f"SET FALSE is unknown there, so {item.member} may become {item.granted} by SET ROLE")
            if item.inherit is False and inherits:
                said.append(
                    f"INHERIT FALSE is unknown there, so {item.member} has the rights of {item.granted} without SET ROLE"
                )
            if said:
                wider.append({"object": item.shown, "reason": f"wider than on the source: {'; '.join(said)}"})
            if item.inherit and not inherits:
                reason = (
                    f"INHERIT TRUE is unknown there, and {item.member} is NOINHERIT: it needs SET ROLE {item.granted}"
                )
                narrower.append({"object": item.shown, "reason": reason})
        return narrower, wider

    def settings(self) -> tuple[list[RoleSetting], dict[RoleSetting, str]]:
        """Return the settings to give, all of new roles, and in this database also those that other roles have not.

        And those that are withheld, with the reason.
        """
        there = {(item.role, item.in_database, item.name.lower()): item.value for item in self.theirs.settings}
        found: list[RoleSetting] = []
        withheld: dict[RoleSetting, str] = {}
        for item in self._settings():
            value = there.get((item.role, item.in_database, item.name.lower()))
            may_set = item.role in self.fresh or (item.in_database and value is None)
            if may_set and value != item.value:
                reason = self._withheld(item)
                if reason:
                    withheld[item] = reason
                else:
                    found.append(item)
        return found, withheld

    def _withheld(self, item: RoleSetting) -> str:
        """Return why a setting is not given before the cutover, '' if it is.

        The subscription's workers log in as its owner, the connected role, and obey what that has set: rows would change
        on their way. Nobody logs in as a role that we make (SET ROLE, with which the workers act as a table's owner, does
        not apply its settings), so it may have what would be in the workers' way. Another role of the target may be that
        of another migration.
        """
        key = item.name.lower()
        later = "Set it then: ALTER ROLE ... SET"
        if item.role == self.naming.connected:
            return f"not set before the cutover: the role of the connection carries the changes until then. {later}"
        is_ours = item.role in self.fresh
        if key in database_settings.WAITING and not is_ours:
            return f"not set before the cutover: if the role carries changes, {database_settings.WAITING[key]}. {later}"
        # Libraries of our own roles are tried before (see role_making).
        if (
            key in database_settings.PLACES
            and any(list_elements(item.value))
            and not (is_ours and key in LIBRARY_SETTINGS)
        ):
            return f"{database_settings.PLACES[key]}. Set it by hand where it is right"
        return ""

    def _settings(self) -> list[RoleSetting]:
        called = {name: other for other, name in self.standing.items()}
        return [replace(item, role=called[item.role]) for item in self.ours.settings if item.role in called]

    def differences(
        self, given: Collection[RoleSetting], givable: Collection[str], passwords: Mapping[str, Sequence[str]]
    ) -> list[Left]:
        """Return how the roles that the target has already differ; ``given`` are the settings that they will get.

        What is not ``givable`` a migration of another database, which made the role, could not give it either.
        ``passwords`` is what is to be told about their passwords.
        """
        found = []
        withheld = {power: f"{self.theirs.connected} may not give it" for power in POWERS if power not in givable}
        withheld["superuser"] = "never given to a new role"
        for called, name in sorted(self.standing.items()):
            if called in self.fresh:
                continue
            is_me = called == self.theirs.connected
            ours, there_too = self.ours.roles[name], self.theirs.roles[called]
            words = role_comparison.attributes(ours, there_too, withheld)
            words += passwords.get(called, ())
            is_known = any(getattr(ours, power) and not getattr(there_too, power) for power in withheld)
            wanted = [
                replace(item, member=called, granted=granted)
                for item in self.ours.memberships
                if item.member == name and item.may_use
                and (granted := self.naming.of(item.granted)) is not None
                # What we make, we may use.
                and not (is_me and granted in self.fresh)
            ]  # fmt: skip
            there = [
                item
                for item in self.theirs.memberships
                if item.member == called and item.may_use
                # A role that makes others belongs to them meanwhile.
                and not (is_me and item.granted not in {each.granted for each in wanted})
            ]  # fmt: skip
            words += role_comparison.memberships(wanted, there)
            words += role_comparison.settings(
                (item for item in self._settings() if item.role == called and item not in given),
                (item for item in self.theirs.settings if item.role == called),
            )
            if words:
                reason = f"exists on the target and differs: {'; '.join(words)}. It was not changed"
                if is_known:
                    reason += "; if a migration of another database made it, this is what that one has named already"
                found.append({"object": f"role {called}", "reason": reason})
        return found


def _merged(memberships: Iterable[Membership]) -> list[Membership]:
    by_member: dict[str, list[Membership]] = {}
    for item in memberships:
        by_member.setdefault(item.member, []).append(item)
    return [item for found in by_member.values() for item in role_comparison.merged(found).values()]


def _without_doubles(memberships: Iterable[Membership], target_major: int) -> list[Membership]:
    """Return at most one grant for each role, member and grantor; before 16 one for each role and member."""
    found: dict[tuple[str, str, str | None], Membership] = {}
    for item in memberships:
        key = (item.granted, item.member, item.grantor if target_major >= 16 else None)
        other = found.get(key)
        grantor = item.grantor if other is None else other.grantor
        found[key] = item if other is None else replace(role_comparison.either(item, other), grantor=grantor)
    return list(found.values())


def in_order(memberships: Sequence[Membership]) -> list[Membership]:
    """Return grants in an order in which each grantor has the ADMIN option before he grants. Pure."""
    done = [item for item in memberships if item.grantor is None]
    waiting = [item for item in memberships if item.grantor is not None]
    while waiting:
        admins = {(item.granted, item.member) for item in done if item.admin}
        ready = [item for item in waiting if (item.granted, item.grantor) in admins]
        # Nobody is ready where a grantor has lost the option since, which before 16 was no matter, or where he is not ours.
        ready = ready or waiting
        done += ready
        waiting = [item for item in waiting if item not in ready]
    return done
