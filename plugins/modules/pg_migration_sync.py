#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_sync
short_description: Start logical replication from where the copy ended
version_added: 0.1.0
description:
  - Creates, on the target, a subscription for each replication slot that M(seren.migrator.pg_migration_init) has prepared,
    without copying anything again, and enables it.
  - Run again, it enables what was disabled and brings in new partitions of migrated tables; on a working subscription it changes nothing.
  - With O(add_new_tables) it also brings in tables that were created on the source since init.
author:
  - Seren (@serenorg)
options:
  add_new_tables:
    description:
      - Whether tables that were created on the source since init, and belong to the selection, join the migration, with schema and rows,
        while they are written to. They get a stream of their own (publication, slot, snapshot, subscription).
      - Types, functions, sequences, schemas and other things that they need, as far as PostgreSQL knows of it, come with them where the target
        does not have them. Other changes of the source's schema do not, they are reported in C(drift).
      - Number of processes, limits and policies are those with which init ran. A table whose name is taken on the target, and one that could not
        be updated any more once it is published, are refused before anything is done.
      - What an interrupted run has begun is finished by the next one, with or without this option.
    type: bool
    default: false
  subscription_options:
    description:
      - Options of C(CREATE SUBSCRIPTION ... WITH), as the target's version of PostgreSQL knows them; for instance C(streaming), C(binary),
        C(synchronous_commit) or C(disable_on_error).
      - Those that decide about slot and copy are ours, and so are C(two_phase) and C(failover); C(origin) can only be V(any).
    type: dict
    default: {}
  timeout:
    description: Seconds that the target may take to come to the moment from which on all tables agree, where materialized views wait for it.
    type: float
    default: 300.0
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.endpoints.replication
  - seren.migrator.endpoints.clients
  - seren.migrator.selection
  - seren.migrator.attributes
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_init
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_verify
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: Start replication
  seren.migrator.pg_migration_sync:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"

- name: Start replication to a target that knows the source by another name
  seren.migrator.pg_migration_sync:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    source_from_target:
      host: db1.internal
    replication_role:
      user: shop_replication
      password: "{{ replication_password }}"
    subscription_options:
      streaming: true

- name: Bring in the tables that a deployment has created since init
  seren.migrator.pg_migration_sync:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    add_new_tables: true
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
  sample: sync
statements:
  description: The SQL that has changed something, or in check mode would change it, without secrets.
  returned: always
  type: list
  elements: str
  sample: ['target: ALTER SUBSCRIPTION "seren_migration_sub" ENABLE']
state:
  description: State of the migration in its ledger.
  returned: when there is a finished copy
  type: str
  sample: synced
subscriptions:
  description: The subscriptions. Empty in check mode before there is a copy.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the subscription on the target.
      type: str
      sample: seren_migration_sub
    slot:
      description: Name of its replication slot on the source.
      type: str
      sample: seren_migration_0123456789ab_1
    publication:
      description: Name of its publication on the source.
      type: str
      sample: seren_migration_pub
    enabled:
      description: Whether it is enabled, V(null) when it does not exist.
      type: bool
      sample: true
consistent_point:
  description: LSN of the snapshot from which the first stream goes on.
  returned: success
  type: str
  sample: 0/16B3748
adopted:
  description: Partitions, created or attached since the copy, that joined the migration.
  returned: success
  type: list
  elements: str
  sample: []
added:
  description: Tables, created on the source since init, that joined the migration; in check mode those that would.
  returned: success
  type: list
  elements: str
  sample: [shop.vouchers]
drift:
  description: What has changed on the source since init and is not on the target, see M(seren.migrator.pg_migration_status).
  returned: success
  type: list
  elements: dict
  sample: []
left:
  description: What stayed behind on the source, or was dropped there since the copy, each with the reason.
  returned: success
  type: list
  elements: dict
  sample: []
msg:
  description: Why there was nothing to do, after a cutover or a rollback.
  returned: after a cutover or a rollback
  type: str
  sample: the migration is cut_over
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: not_initialised
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Run pg_migration_init first.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import (
    client_options,
    replication_options,
    run_module,
)
from ansible_collections.seren.migrator.plugins.module_utils.phases import sync

SPEC = {
    "add_new_tables": {"type": "bool", "default": False},
    "subscription_options": {"type": "dict", "default": {}},
    "timeout": {"type": "float", "default": 300.0},
    **replication_options(),
    **client_options(),
}


def main() -> None:
    """Run the phase."""
    run_module("sync", sync.run, sync.SyncOptions, SPEC)


if __name__ == "__main__":
    main()
