# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Procedural languages of the source, without those of extensions, that the target has already: they are not made again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .driver import Row
from .session import Session

PG_LANGUAGE = 2612
PG_PROC = 1255

# The functions of a language: handler, inline handler, validator. An extension keeps them in pg_catalog.
_LANGUAGES = """
SELECT l.oid::bigint AS oid, l.lanname AS name, l.lanpltrusted AS is_trusted,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                WHERE d.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND d.objid = l.oid
                  AND d.deptype = 'e') AS is_extension,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
                 w.number, p.oid::bigint, n.nspname, p.proname, p.prosrc, p.probin) ORDER BY w.number)
          FROM unnest(ARRAY[l.lanplcallfoid, l.laninline, l.lanvalidator]) WITH ORDINALITY AS w(oid, number)
          JOIN pg_catalog.pg_proc AS p ON p.oid = w.oid
          JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace)::text AS functions
  FROM pg_catalog.pg_language AS l
 WHERE l.lanispl
 ORDER BY l.lanname
"""


@dataclass(frozen=True)
class Present:
    """A language of both sides with the same definition, and the source's objects, as (classid, oid), that are not made."""

    name: str
    skipped: frozenset[tuple[int, int]]

    @property
    def as_left(self) -> dict[str, str]:
        """What results say about it."""
        reason = "the target has the language already, with the same functions; it is used as it is there"
        return {"object": f"owner and privileges of language {self.name}", "reason": reason}


def present(source: Session, target: Session) -> list[Present]:
    """Return the source's languages that the target has in the same way."""
    ours = [row for row in source.rows(_LANGUAGES) if not row["is_extension"] and row["oid"] >= 16384]
    if not ours:
        return []
    theirs = {row["name"]: row for row in target.rows(_LANGUAGES)}
    found = []
    for row in ours:
        twin = theirs.get(row["name"])
        if twin is None or _definition(row) != _definition(twin):
            continue
        there = {(item[2], item[3]) for item in _functions(twin)}
        # Those in pg_catalog are not in the archive; others are made, unless the same ones are there.
        functions = {(PG_PROC, item[1]) for item in _functions(row) if (item[2], item[3]) in there}
        found.append(Present(row["name"], frozenset({(PG_LANGUAGE, row["oid"]), *functions})))
    return found


def skipped(found: Sequence[Present]) -> frozenset[tuple[int, int]]:
    """Return everything that is not made, as (classid, oid)."""
    return frozenset(key for item in found for key in item.skipped)


def _functions(row: Row) -> list[list[Any]]:
    return json.loads(row["functions"] or "[]")  # type: ignore[no-any-return]


def _definition(row: Row) -> tuple[Any, ...]:
    """Return what makes a language: not where its functions are, nor how they are called."""
    return row["is_trusted"], [
        (number, body, library) for number, _oid, _schema, _name, body, library in _functions(row)
    ]
