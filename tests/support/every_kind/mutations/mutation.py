# SPDX-License-Identifier: GPL-3.0-or-later
"""A change to the target and the one difference that it is, and how changes are written down."""

from __future__ import annotations

from dataclasses import dataclass

MISSING, EXTRA = "missing", "extra"


@dataclass(frozen=True)
class Mutation:
    """`sql` makes `kind` `name` differ in `attributes`; `what` is changed, missing or extra. `also` lists more of them."""

    sql: str
    kind: str
    name: str
    attributes: frozenset[str] = frozenset()
    what: str = "changed"
    also: tuple[tuple[str, str, str, frozenset[str]], ...] = ()

    @property
    def expected(self) -> set[tuple[str, str, str, frozenset[str]]]:
        return {(self.kind, self.name, self.what, self.attributes), *self.also}

    def __str__(self) -> str:
        return f"{self.kind}-{'-'.join(sorted(self.attributes)) or self.what}-{self.sql[:60]}"


def changed(
    sql: str, kind: str, name: str, *attributes: str, also: tuple[tuple[str, str, str, frozenset[str]], ...] = ()
) -> Mutation:
    return Mutation(sql, kind, name, frozenset(attributes), also=also)


def missing(sql: str, kind: str, name: str, *also: tuple[str, str, str, frozenset[str]]) -> Mutation:
    return Mutation(sql, kind, name, what=MISSING, also=also)


def extra(sql: str, kind: str, name: str, *also: tuple[str, str, str, frozenset[str]]) -> Mutation:
    return Mutation(sql, kind, name, what=EXTRA, also=also)


def renamed(sql: str, kind: str, old: str, new: str) -> Mutation:
    return Mutation(sql, kind, old, what=MISSING, also=((kind, new, EXTRA, frozenset()),))


def catalog(table: str, assignment: str, where: str) -> str:
    return f"UPDATE pg_catalog.{table} SET {assignment} WHERE {where}"


def label(classid: str, objid: str, subid: int = 0) -> str:
    return f"INSERT INTO pg_catalog.pg_seclabel VALUES ({objid}, 'pg_catalog.{classid}'::regclass, {subid}, 'ek', 'secret')"


WEIRD = '"Weird ""Schema""; --"'
WEIRD_ROLE = '"Weird ""Röle""; --"'
TYPE = "typname = 'whole'"
AGGREGATE = "aggfnoid = 'o.total'::regproc"
DATABASE = "datname = 'ek_database'"
