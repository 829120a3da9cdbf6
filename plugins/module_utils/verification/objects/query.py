# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""A question to the catalogs that describes all objects of some kinds at once, and how an answer becomes Described.

A query returns these columns, and every other one is an attribute:

``classid``, ``objid``   the object; a column's are its relation's
``kind``                 PostgreSQL's word
``path``                 the parts of its name, which are quoted and joined here
``suffix``               what follows the name as it is (a function's argument types)
``label``                the whole name, where it has no parts
``parent``, ``parent_kind``, ``is_named_on_parent``   what it is a part of, and whether its name says so
``owner``                name of its owner
``acl``, ``acl_for``     its privileges (see privileges.py), and the letter of acldefault
``acl_owner``            whose default privileges they are, where the owner is no attribute of it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Schemas of users; %% because the queries have parameters.
USER_SCHEMA = """user_schema AS (
  SELECT n.oid, n.nspname
    FROM pg_catalog.pg_namespace AS n
   WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')
     AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s::text[])))"""


def sorted_list(array: str) -> str:
    """Return an SQL expression for an array of text in an order of its own (options keep the order they were given in)."""
    return f"""CASE WHEN {array} IS NOT NULL THEN
         (SELECT pg_catalog.array_agg(o.item ORDER BY o.item) FROM pg_catalog.unnest({array}) AS o(item)) END"""


NAMING = frozenset(
    {
        "classid",
        "objid",
        "subid",
        "kind",
        "path",
        "suffix",
        "label",
        "parent",
        "parent_kind",
        "is_named_on_parent",
        "acl",
        "acl_for",
        "acl_owner",
        "parent_constraint",
    }
)


@dataclass(frozen=True)
class Since:
    """An expression that a server knows from ``major`` on, and what stands for it on older ones."""

    major: int
    expression: str
    before: str = "NULL"


@dataclass(frozen=True)
class Query:
    """One question.

    ``text`` holds ``{name}`` where ``since`` has an expression; ``deparsed`` are the attributes that PostgreSQL made
    from parsed statements, whose spelling is evened out; ``views`` those that hold a whole view.
    """

    text: str
    since: Mapping[str, Since] = field(default_factory=dict)
    deparsed: frozenset[str] = frozenset()
    views: frozenset[str] = frozenset()

    def for_major(self, major: int) -> str:
        """Return the query for a server."""
        text = self.text
        for name, item in self.since.items():
            text = text.replace("{" + name + "}", item.expression if major >= item.major else item.before)
        return text
