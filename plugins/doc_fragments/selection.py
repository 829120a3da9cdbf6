# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  schemas:
    description:
      - Schemas that take part; without any, all of the database.
      - In all patterns V(*) and V(?) are wildcards, case counts, and what is in double quotes is taken literally. A pattern that matches
        nothing is an error, because a typing mistake must not leave data behind.
    type: list
    elements: str
    default: []
  exclude_schemas:
    description: Schemas that stay behind.
    type: list
    elements: str
    default: []
  tables:
    description:
      - Tables that take part, as V(schema.table) or V(table); without any, all of the selected schemas.
      - A partitioned table brings its partitions.
    type: list
    elements: str
    default: []
  exclude_tables:
    description: Tables that stay behind, as V(schema.table) or V(table).
    type: list
    elements: str
    default: []
  exclude_data:
    description: Tables that are created on the target but stay empty, as V(schema.table) or V(table).
    type: list
    elements: str
    default: []
  rows:
    description:
      - Only some rows of a table. Each key is a table, as V(schema.table) or V(table), each value an SQL predicate over its columns.
      - The predicate becomes the publication's row filter, with its restrictions. PostgreSQL has row filters from version 15 on.
    type: dict
    default: {}
"""
