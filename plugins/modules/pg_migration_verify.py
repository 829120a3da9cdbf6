#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_verify
short_description: Prove that source and target hold the same rows
version_added: 0.1.0
description:
  - Compares the rows of every table, keyed or not, and the sequences, on both servers, and names what differs by its key.
  - Writes may go on meanwhile. The target is given the time to confirm what the source has shown, and what differs is looked at again.
author:
  - Seren (@serenorg)
options:
  jobs:
    description: How many connections to each server may work at the same time.
    type: int
    default: 2
  only:
    description:
      - Compare these tables only, as V(schema.table) or V(table), with the wildcards V(*) and V(?).
      - Not the same as O(tables), which says what belongs to the migration.
    type: list
    elements: str
    default: []
  max_differences:
    description: How many differing rows are listed. All are counted.
    type: int
    default: 100
  max_rounds:
    description: How often what differs is looked at again, each time after the target has caught up.
    type: int
    default: 5
  wait_timeout:
    description: Seconds that the target may take to confirm what the source has shown.
    type: int
    default: 300
  fail_on_difference:
    description: Whether the task fails unless equality is proven.
    type: bool
    default: true
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.selection
  - seren.migrator.attributes.read_only
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: Prove that nothing was lost
  seren.migrator.pg_migration_verify:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    jobs: 4

- name: Look at two tables without failing
  seren.migrator.pg_migration_verify:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    only: [shop.orders, shop.payments]
    fail_on_difference: false
  register: comparison
"""

RETURN = r"""
---
migration:
  description: Name of the migration.
  returned: always
  type: str
  sample: seren_migration
phase:
  description: Name of the phase.
  returned: always
  type: str
  sample: verify
statements:
  description: Always empty, because this module never changes anything.
  returned: always
  type: list
  elements: str
  sample: []
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: not_verified
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Look at differences; each one names the table and the key.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {tables: [public.orders]}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import run_module
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify

SPEC = {
    "jobs": {"type": "int", "default": 2},
    "only": {"type": "list", "elements": "str", "default": []},
    "max_differences": {"type": "int", "default": 100},
    "max_rounds": {"type": "int", "default": 5},
    "wait_timeout": {"type": "int", "default": 300},
    "fail_on_difference": {"type": "bool", "default": True},
}


def main() -> None:
    """Run the phase."""
    run_module("verify", verify.run, verify.VerifyOptions, SPEC, names={"tables": "only"})


if __name__ == "__main__":
    main()
