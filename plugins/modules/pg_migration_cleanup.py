#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_cleanup
short_description: Remove everything that a migration has created for itself
version_added: 0.1.0
description:
  - Removes subscriptions, replication slots, publications, markers and the ledger, exactly what the ledger lists, on both servers
    and in an order that never leaves a slot behind.
  - The migrated data, its schema and its roles stay. What could not be reached or removed is reported.
  - A note stays in the ledger, so that a later run knows that the migration was cleaned up.
author:
  - Seren (@serenorg)
options:
  force:
    description: Go on when one of the servers cannot be reached, and report what was left there.
    type: bool
    default: false
  timeout:
    description: Seconds that each removal may wait for a lock.
    type: float
    default: 60.0
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.selection
  - seren.migrator.attributes
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_verify
"""

EXAMPLES = r"""
---
- name: Remove what the migration has created for itself
  seren.migrator.pg_migration_cleanup:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"

- name: Free the source although the target is gone
  seren.migrator.pg_migration_cleanup:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    force: true
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
  sample: cleanup
statements:
  description: The SQL that has changed something, or in check mode would change it, without secrets.
  returned: always
  type: list
  elements: str
  sample: ['target: DROP SUBSCRIPTION "seren_migration_sub"']
removed:
  description: What was removed, or in check mode would be.
  returned: success
  type: list
  elements: dict
  contains: &objects
    side:
      description: V(source) or V(target).
      type: str
      sample: source
    kind:
      description:
        - V(subscription), V(slot), V(publication), V(table), V(schema) or V(registration).
        - The last is the entry by which migrations into other databases of the target server know of this one; V(name) is the database
          that holds it.
      type: str
      sample: slot
    name:
      description: Name of the object.
      type: str
      sample: seren_migration_0123456789ab_1
left:
  description: What is still there.
  returned: success, and with the code V(cannot_clean)
  type: list
  elements: dict
  contains:
    <<: *objects
    reason:
      description: Why it is still there.
      type: str
      sample: the server cannot be reached
msg:
  description: Why there was nothing to do.
  returned: when the migration was cleaned up before
  type: str
  sample: already cleaned up at 2026-11-20 14:02:11+00
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: cannot_clean
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Run the command again when the source can be reached.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {left: [publication seren_migration_pub on the source]}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import run_module
from ansible_collections.seren.migrator.plugins.module_utils.phases import cleanup

SPEC = {"force": {"type": "bool", "default": False}, "timeout": {"type": "float", "default": 60.0}}


def main() -> None:
    """Run the phase."""
    run_module("cleanup", cleanup.run, cleanup.CleanupOptions, SPEC)


if __name__ == "__main__":
    main()
