# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Comments on constraints that a child or a partition has inherited: no dump carries them."""

from __future__ import annotations

from .attempts import Attempt, carry_out
from .catalog import Catalog
from .driver import sql
from .session import Session

_COMMENTS = """
SELECT n.nspname AS schema, c.relname AS relation, k.conname AS name, d.description AS comment
  FROM pg_catalog.pg_description AS d
  JOIN pg_catalog.pg_constraint AS k ON k.oid = d.objoid
  JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE d.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.contype = 'c' AND NOT k.conislocal
 ORDER BY n.nspname, c.relname, k.conname
"""


def carry(source: Session, target: Session, selected: Catalog, there: Catalog) -> list[dict[str, str]]:
    """Repeat them on the selected tables that are on the target (``there``); return what it refused, with the reason."""
    wanted = selected.by_name.keys() & there.by_name.keys()
    attempts = [
        Attempt(
            f"comment on constraint {row['name']} on {row['schema']}.{row['relation']}",
            sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                sql.Identifier(row["name"]), sql.Identifier(row["schema"], row["relation"]), sql.Literal(row["comment"])
            ),
        )
        for row in source.rows(_COMMENTS)
        if (row["schema"], row["relation"]) in wanted
    ]
    return [refused.as_left for refused in carry_out(target, attempts)]
