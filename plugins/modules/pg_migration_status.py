#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_status
short_description: Tell how far a migration is and how much the target lags behind
version_added: 0.1.0
description:
  - Takes samples on both servers and reports the state of the migration in one word, with the numbers behind it.
  - What cannot be measured is reported as V(null), never as V(0). A stalled sender, a missing slot, a disabled subscription or a
    table that is still being copied is never V(in_sync).
author:
  - Seren (@serenorg)
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.selection
  - seren.migrator.sampling
  - seren.migrator.attributes.read_only
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_verify
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: How far is it?
  seren.migrator.pg_migration_status:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
  register: status

- name: Show state and lag
  ansible.builtin.debug:
    msg: "{{ status.state }}, {{ status.lag_bytes }} bytes behind"
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
  sample: status
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
  sample: cannot_connect
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Check host, port, user, password and sslmode.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {side: target}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import run_module, sampling_options
from ansible_collections.seren.migrator.plugins.module_utils.phases import status


def main() -> None:
    """Run the phase."""
    run_module("status", status.run, status.StatusOptions, sampling_options())


if __name__ == "__main__":
    main()
