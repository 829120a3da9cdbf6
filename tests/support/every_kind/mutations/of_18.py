# SPDX-License-Identifier: GPL-3.0-or-later
"""Of 18 on the target, from a source of the same major: what older ones do not know."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    changed,
    missing,
    renamed,
)

MUTATIONS = (
    missing("ALTER TABLE o.virtual_table DROP CONSTRAINT believed", "constraint", "believed on o.virtual_table"),
    changed(
        "ALTER TABLE o.virtual_table DROP COLUMN gross; ALTER TABLE o.virtual_table ADD COLUMN gross numeric GENERATED ALWAYS AS (net * 3) VIRTUAL",
        "column",
        "o.virtual_table.gross",
        "generated",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP COLUMN gross; ALTER TABLE o.virtual_table ADD COLUMN gross numeric GENERATED ALWAYS AS (net * 2) STORED",
        "column",
        "o.virtual_table.gross",
        "generated",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT believed; ALTER TABLE o.virtual_table ADD CONSTRAINT believed CHECK (net > 0)",
        "constraint",
        "believed on o.virtual_table",
        "enforced",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers NOT ENFORCED",
        "constraint",
        "refers on o.other_table",
        "enforced",
    ),
    renamed(
        "ALTER TABLE o.virtual_table RENAME CONSTRAINT virtual_id TO other_id",
        "constraint",
        "virtual_id on o.virtual_table",
        "other_id on o.virtual_table",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT virtual_id; ALTER TABLE o.virtual_table ADD CONSTRAINT virtual_id NOT NULL id NOT VALID",
        "column",
        "o.virtual_table.id",
        "not null",
        also=(("constraint", "virtual_id on o.virtual_table", "changed", frozenset({"validated"})),),
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT virtual_id; ALTER TABLE o.virtual_table ADD CONSTRAINT virtual_id NOT NULL id NO INHERIT",
        "column",
        "o.virtual_table.id",
        "not null",
        also=(("constraint", "virtual_id on o.virtual_table", "changed", frozenset({"no inherit"})),),
    ),
)
