# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Checks of what acts with its owner's rights, where the owner is another one on the target and may do more there."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .. import stronger_owners as of_stronger_owners
from .check import Check, Outcome, check, comment, failed, name, passed, statement, statements
from .context import Context

CHECKS: list[Check] = []


@check(
    CHECKS, "stronger_owners", "No view or function acts for others with more rights than on the source", side="target"
)
def stronger_owners(context: Context) -> Outcome:
    """X1. Where nobody stands for an owner, or one role owns everything, the next owner may see and do more."""
    sessions = context.source.session, context.target.session
    found = of_stronger_owners.find(*sessions, context.holdings, context.names, context.left_behind)
    if not found:
        return passed()
    return failed(
        "Views read, and SECURITY DEFINER routines run, with the rights of their owner, whoever uses them. No role of the "
        "target stands for the owner of these, so they will belong to a role with other rights, and others may use them.",
        _remedy({item.owner for item in found}),
        objects=[item.told for item in found],
        severity="blocker" if any(item.is_grave for item in found) else "warning",
    )


def _remedy(owners: Collection[str]) -> str:
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
