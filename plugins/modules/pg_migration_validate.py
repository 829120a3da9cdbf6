#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_validate
short_description: Check whether a PostgreSQL database can be migrated by logical replication
version_added: 0.1.0
description:
  - Runs every check of the catalogue against both servers and says what stands in the way, what deserves attention, and what to do about it.
  - Never writes. What a check must try out is rolled back.
author:
  - Seren (@serenorg)
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.endpoints.replication
  - seren.migrator.endpoints.clients
  - seren.migrator.selection
  - seren.migrator.preflight
  - seren.migrator.attributes.read_only
seealso:
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_verify
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: Check the pair of databases
  seren.migrator.pg_migration_validate:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"

- name: Look at all findings without failing
  seren.migrator.pg_migration_validate:
    source:
      host: db1.example.com
      user: migrator
      password: "{{ source_password }}"
      dbname: shop
      sslmode: verify-full
      sslrootcert: system
    target:
      host: db2.example.com
      user: migrator
      password: "{{ target_password }}"
      dbname: shop
    fail_on: never
  register: preflight
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
  sample: validate
statements:
  description: Always empty, because this module never changes anything.
  returned: always
  type: list
  elements: str
  sample: []
ready:
  description: Whether nothing that O(fail_on) counts stands in the way.
  returned: when both servers answered
  type: bool
  sample: true
summary:
  description: Number of checks for each outcome.
  returned: when both servers answered
  type: dict
  sample: {ok: 41, blocker: 0, warning: 2, info: 3, unverified: 0, skipped: 0}
checks:
  description: The checks, each with its outcome.
  returned: when both servers answered
  type: list
  elements: dict
  contains:
    id:
      description: Id of the check, as O(skip_checks) and O(severities) take it.
      type: str
      sample: wal_level
    severity:
      description: What a finding of this check means.
      type: str
      sample: blocker
    status:
      description: Outcome of the check.
      type: str
      sample: ok
    objects:
      description: What it was found on.
      type: list
      elements: str
      sample: []
    detail:
      description: What was found.
      type: str
      sample: wal_level is logical
    remedy:
      description: What to do about it.
      type: str
      sample: ''
source:
  description: What is known about the source's server.
  returned: when both servers answered
  type: dict
  sample: {host: db1.example.com, dbname: shop}
target:
  description: What is known about the target's server.
  returned: when both servers answered
  type: dict
  sample: {host: db2.example.com, dbname: shop}
plan:
  description: What init would do.
  returned: when both servers answered
  type: dict
  sample: {tables: 120}
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: not_ready
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Set wal_level = logical on the source and restart it.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {blockers: [wal_level]}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import preflight_options, run_module
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate


def main() -> None:
    """Run the phase."""
    run_module("validate", validate.run, validate.ValidateOptions, preflight_options())


if __name__ == "__main__":
    main()
