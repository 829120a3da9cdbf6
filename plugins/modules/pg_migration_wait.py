#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_wait
short_description: Wait until the target of a migration has caught up
version_added: 0.1.0
description:
  - Asks M(seren.migrator.pg_migration_status) again and again, shows one live line each time, and returns as soon as the condition holds.
  - Fails when O(wait_timeout) is over, when replication is broken, when there is no migration, and when the status cannot be read
    three times in a row. The last samples are returned with the failure.
  - In check mode it looks once and returns RV(ready) as it is, without failing, because nothing may have been created.
  - After a cutover or a rollback there is nothing to wait for; it returns at once and says so.
author:
  - Seren (@serenorg)
options:
  until:
    description:
      - V(in_sync) waits until every table is applied and the lag is within O(max_lag_bytes) and O(max_lag_seconds). An unknown lag is
        not within them.
      - V(copied) waits until the copy is complete, however far the target is behind.
    type: str
    choices: [in_sync, copied]
    default: in_sync
  stable_for:
    description: Seconds for which the condition must hold without a break.
    type: float
    default: 0.0
  wait_timeout:
    description: Seconds after which the wait fails.
    type: float
    default: 3600.0
  wait_sleep:
    description: Seconds between two looks.
    type: float
    default: 5.0
  quiet:
    description: Show no live lines. With C(no_log) on the task there are none either.
    type: bool
    default: false
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.selection
  - seren.migrator.sampling
  - seren.migrator.attributes.read_only
  - seren.migrator.attributes.action_plugin
notes:
  - The live lines go to standard error, as C(key=value) pairs behind the name of the host; what is not known is C(unknown).
  - While it waits it occupies one of Ansible's C(forks).
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_verify
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: Wait until the target has caught up
  seren.migrator.pg_migration_wait:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"

- name: Wait until the target keeps up for a whole minute, half a day at most
  seren.migrator.pg_migration_wait:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    max_lag_bytes: 65536
    stable_for: 60
    wait_timeout: 43200
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
  sample: wait
statements:
  description: Always empty, because this never changes anything.
  returned: always
  type: list
  elements: str
  sample: []
ready:
  description: Whether the condition holds. After a cutover V(true), after a rollback V(false).
  returned: always
  type: bool
  sample: true
elapsed:
  description: Seconds that the wait took.
  returned: always
  type: float
  sample: 35.2
samples:
  description: What was seen, oldest first, the last 500 at most.
  returned: always
  type: list
  elements: dict
  contains:
    elapsed:
      description: Seconds since the wait began.
      type: float
      sample: 5.1
    state:
      description: State of the migration, V(null) when the status could not be read.
      type: str
      sample: catching_up
    lag_bytes:
      description: Bytes of WAL that the target has not confirmed, V(null) when unknown.
      type: int
      sample: 1234567
    lag_seconds:
      description: Seconds that the target is behind, V(null) when unknown.
      type: float
      sample: 4.1
    retained_wal_bytes:
      description: Bytes of WAL that the source keeps for the migration, V(null) when unknown.
      type: int
      sample: 16777216
    progress:
      description: How much of the copy is done.
      type: dict
      sample: {tables: 120, tables_copied: 80, bytes_copied: 1073741824, estimated_bytes: 2147483648}
    reasons:
      description: Why the state is not V(in_sync).
      type: list
      elements: str
      sample: []
    error:
      description: Why the status could not be read.
      type: str
      returned: when it could not be read
      sample: 'Cannot connect to the target shop on db2.example.com:5432 as migrator'
status:
  description: The last status that could be read, as M(seren.migrator.pg_migration_status) returns it.
  returned: always
  type: dict
  sample: {state: in_sync, lag_bytes: 0, lag_seconds: 0.0}
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: lag_timeout
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Wait again with a larger wait_timeout.
details:
  description: More about the error, for instance the last observation.
  returned: on failure
  type: dict
  sample: {state: catching_up, lag_bytes: 73400320, lag_seconds: null}
"""
