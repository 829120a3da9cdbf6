#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_init
short_description: Copy a PostgreSQL database inside the snapshot of its replication slot
version_added: 0.1.0
description:
  - Passes the gate of M(seren.migrator.pg_migration_validate), creates the target database where it is absent, creates
    publication and replication slot, and copies roles, schema and rows inside the snapshot that the slot exports.
  - Replication can therefore begin exactly where the copy ends. No row is lost and none is doubled, whatever is written meanwhile.
  - Run again, it goes on where it ended; on a finished copy it changes nothing.
  - A target that already holds relations in the selected schemas is refused.
author:
  - Seren (@serenorg)
options:
  slot_timeout:
    description:
      - Seconds that the creation of the replication slot may wait for transactions that run on the source.
      - A slot can only be created when every transaction that was open has ended.
    type: float
    default: 60.0
  split_tables_larger_than:
    description:
      - A table that is larger than this, and than its fair share of all the work, is copied in pieces, so that the other workers do not wait for one.
        V(0) never does. A number of bytes, or one with a unit such as V(10G).
      - Pieces cost more than the whole, because their rows cannot be frozen on arrival; so it pays with many cores or a slow line only.
      - Sources before PostgreSQL 14 would read the whole table for each piece. Tables are never split there.
    type: bytes
    default: 10G
  max_rate:
    description:
      - Bytes per second that all copies together may move, or a number with a unit such as V(50M). V(0) sets no limit.
      - Where the servers copy by themselves (O(copy_method=subscription)) it cannot be applied.
    type: bytes
    default: "0"
  max_retained_wal:
    description:
      - How much WAL the source may keep for the replication slots of the copy, in bytes, or a number with a unit such as V(50G). The slots keep it until
        replication has begun.
      - Above it the copy is given up with RV(code=wal_limit_exceeded), and its slots and publications are removed, so that the source's disk
        does not fill. What was copied has to be copied again.
      - Without it nothing is given up. A warning tells when the slots keep more than the source database's size, and at least 1 GiB.
      - It is measured every few seconds while rows are copied and indexes are built, and before each later step. After this module
        M(seren.migrator.pg_migration_status) shows it.
    type: bytes
  resume:
    description:
      - V(false) starts over. It takes back what this migration has made on the target, by its ledger and nothing else, removes its streams on both
        sides, and copies again from the beginning. It helps when the source's schema has changed during the copy, or when a slot was lost.
      - It starts over each time it runs, until M(seren.migrator.pg_migration_sync) has begun; from then on it is refused. Beside a
        living runner it is refused, too, unless that one runs the same command.
      - What others have made in the same schemas stays. When others have made something on top of what would be dropped, such as a view, an
        index or a partition, it is refused with RV(code=cannot_start_over) and nothing is changed. Roles stay.
    type: bool
    default: true
  validate_foreign_keys:
    description:
      - Foreign keys are added without a look at the rows, and validated afterwards, several tables at a time and without stopping a writer.
      - V(before_sync) does that within this module; V(after_sync) leaves it to M(seren.migrator.pg_migration_sync), once replication runs, so
        that replication can begin earlier. Until then RV(left) lists them.
      - Before PostgreSQL 18 the foreign keys of partitioned tables are checked when they are added.
    type: str
    choices: [before_sync, after_sync]
    default: before_sync
  subscription_options:
    description:
      - With O(copy_method=subscription), options of C(CREATE SUBSCRIPTION ... WITH) as in M(seren.migrator.pg_migration_sync), which then
        finds the subscription made. Otherwise not used.
      - Without C(binary) among them, binary form is used where both servers copy so (16 or newer) and every column of every table is of a type
        that has one binary form.
    type: dict
    default: {}
  stall_timeout:
    description:
      - With O(copy_method=subscription), seconds that may pass without any progress of the servers before the run ends with what can be
        seen of the cause. The servers go on trying, and the same command goes on waiting.
    type: float
    default: 600.0
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.endpoints.replication
  - seren.migrator.endpoints.clients
  - seren.migrator.selection
  - seren.migrator.preflight
  - seren.migrator.progress
  - seren.migrator.attributes
  - seren.migrator.attributes.background
notes:
  - Whoever ends C(ansible-playbook), with Ctrl-C or otherwise, leaves the job running. The same command follows it and returns its result;
    M(seren.migrator.pg_migration_status) shows the same numbers from any machine.
seealso:
  - module: seren.migrator.pg_migration_validate
  - module: seren.migrator.pg_migration_sync
  - module: seren.migrator.pg_migration_status
  - module: seren.migrator.pg_migration_wait
  - module: seren.migrator.pg_migration_verify
  - module: seren.migrator.pg_migration_cleanup
"""

EXAMPLES = r"""
---
- name: Copy the database
  seren.migrator.pg_migration_init:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    jobs: 8

- name: Copy a busy database, so that four processes apply what is written meanwhile
  seren.migrator.pg_migration_init:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    jobs: 8
    streams: 4

- name: Start over, because the schema of the source has changed, and give up rather than fill the source's disk
  seren.migrator.pg_migration_init:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    resume: false
    max_retained_wal: 50G

- name: Copy one schema, without the rows of its archive
  seren.migrator.pg_migration_init:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    schemas: [shop]
    exclude_data: [shop.archive_*]

- name: Let the servers copy by themselves, which are close to each other and far from here
  seren.migrator.pg_migration_init:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    source_from_target:
      host: db1.internal
    copy_method: subscription
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
  sample: init
statements:
  description: The SQL that has changed something, or in check mode would change it, without secrets.
  returned: always
  type: list
  elements: str
  sample: ['source: CREATE PUBLICATION "seren_migration_pub" FOR TABLE ONLY "public"."orders"']
state:
  description: State of the migration, V(copied), or V(synced) where replication is on already.
  returned: success, not in check mode
  type: str
  sample: copied
tables:
  description: The tables, each with what was copied of it. In check mode V(rows) and V(bytes) are V(estimated_rows) and V(estimated_bytes).
  returned: success
  type: list
  elements: dict
  contains:
    schema:
      description: Schema of the table.
      type: str
      sample: shop
    name:
      description: Name of the table.
      type: str
      sample: orders
    kind:
      description: V(table), V(unlogged) for one that is copied but not replicated, V(schema_only) for one without its rows.
      type: str
      returned: not in check mode
      sample: table
    stream:
      description: Number of the stream that replicates it, V(null) for none.
      type: int
      sample: 1
    rows:
      description: Rows copied; V(null) where PostgreSQL copied by itself and does not tell.
      type: int
      sample: 120000
    bytes:
      description: Bytes copied; where PostgreSQL copied by itself, the bytes that the table then takes on the target.
      type: int
      sample: 16777216
    pieces:
      description: In how many pieces the table would be copied.
      type: int
      returned: in check mode
      sample: 1
    format:
      description: Format of the copy, V(binary) or V(text).
      type: str
      sample: binary
streams:
  description: The streams; with O(streams), or after an interruption, more than one. Empty in check mode, where V(plan.streams) tells.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: Number of the stream.
      type: int
      sample: 1
    publication:
      description: Name of the publication on the source.
      type: str
      sample: seren_migration_pub
    slot:
      description: Name of the replication slot on the source.
      type: str
      sample: seren_migration_0123456789ab_1
    subscription:
      description: Name of the subscription on the target.
      type: str
      sample: seren_migration_sub
    marker:
      description: Name of the marker table in schema C(seren_migrator) on both sides.
      type: str
      sample: marker_0123456789ab_1
    consistent_point:
      description: LSN of the snapshot in which its tables were copied.
      type: str
      sample: 0/16B3748
    state:
      description: V(slot_ready) or V(subscribed).
      type: str
      sample: slot_ready
copied_bytes:
  description: Bytes copied.
  returned: success
  type: int
  sample: 1073741824
elapsed:
  description: Seconds that this run took.
  returned: success, not in check mode
  type: float
  sample: 93.5
rate:
  description: Bytes copied for each second of this run, V(null) when nothing was copied.
  returned: success, not in check mode
  type: int
  sample: 11484190
left:
  description: What stayed behind, or is copied but not replicated, and why.
  returned: success
  type: list
  elements: dict
  sample: [{object: unlogged table shop.session, reason: 'copied once, never replicated'}]
notes:
  description:
    - What is good to know and no reason to do anything, for instance that this role may not tell migrations into other databases of the
      target server what this one will take of it.
  returned: when there is something
  type: list
  elements: str
  sample: ['Migrations into other databases of the target server cannot count on what this one will take: permission denied for database postgres']
plan:
  description:
    - What would be done; V(start_over), V(create_database), V(create_roles), V(grant_roles) (their memberships), V(grant_parameters)
      (their privileges on parameters), V(publication), V(tables), V(streams), V(notes), V(estimated_bytes),
      V(copy_method), V(jobs), V(index_jobs) and V(left).
    - V(connections) has the most connections that would be open to V(source) and V(target), V(settings) what our sessions on the target are
      given for the load. In V(tables), V(pieces) says in how many pieces a table would be copied.
    - Each of V(streams) has V(number), V(publication), V(tables) and V(groups) (how many), V(estimated_bytes), V(rows_written) since the
      source's statistics began and V(rows_written_per_second) just now; the latter two, there and in V(tables), are V(null) where nothing was
      to be dealt out.
  returned: in check mode
  type: dict
  sample: {create_database: true, create_roles: [shop_owner], publication: seren_migration_pub, estimated_bytes: 1073741824, copy_method: runner, jobs: 4}
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: target_not_empty
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Name an empty database as target.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {objects: [public.orders]}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import preflight_options, run_module
from ansible_collections.seren.migrator.plugins.module_utils.phases import init

SPEC = {
    **preflight_options(),
    "slot_timeout": {"type": "float", "default": 60.0},
    "split_tables_larger_than": {"type": "bytes", "default": "10G"},
    "max_rate": {"type": "bytes", "default": "0"},
    "max_retained_wal": {"type": "bytes"},
    "resume": {"type": "bool", "default": True},
    "validate_foreign_keys": {"type": "str", "choices": ["before_sync", "after_sync"], "default": "before_sync"},
    "subscription_options": {"type": "dict", "default": {}},
    "stall_timeout": {"type": "float", "default": 600.0},
}


def main() -> None:
    """Run the phase."""
    run_module("init", init.run, init.InitOptions, SPEC, shows_progress=True)


if __name__ == "__main__":
    main()
