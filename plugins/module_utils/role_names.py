# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a role of the source is called on the target, and who owns there what it owns here. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoleNames:
    """The roles of the target that stand for those of the source.

    ``renamed`` has the roles that are called otherwise; None where there is none that may be used: what is granted to such
    a role stays behind, what it owns goes to ``connected``, the role of the target's connection. ``owner`` is who owns
    everything (option ``owner``), None where owners are kept. PUBLIC and roles that PostgreSQL predefines are everywhere.
    To the target's roles in ``no_owners`` something may be granted, but not given: what they would own goes to
    ``connected``, too.
    ``strangers`` are roles of the target that the source does not have and that stand for none of its roles; ``reserved``
    are the provider's own ones there.
    """

    connected: str
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    owner: str | None = None
    no_owners: frozenset[str] = frozenset()
    strangers: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()

    def of(self, role: str) -> str | None:
        """Return the target's name of a role of the source, or None where nobody stands for it."""
        return self.renamed.get(role, role)

    def owner_of(self, role: str) -> str:
        """Return who owns, on the target, what ``role`` owns on the source."""
        called = self.of(role)
        return self.owner or (self.connected if called is None or called in self.no_owners else called)

    def without(self, roles: Iterable[str]) -> list[str]:
        """Return those of the source's roles for which nobody stands on the target, sorted."""
        return sorted(role for role in set(roles) if self.of(role) is None)
