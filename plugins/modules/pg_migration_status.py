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
  - V(in_sync) speaks of the tables that are migrated. A table that was created on the source since init is not one of them; it is in RV(drift), with
    a warning, until M(seren.migrator.pg_migration_sync) brings it in.
author:
  - Seren (@serenorg)
options:
  schema_drift:
    description:
      - Whether the whole schema of the source is compared with what it was at init, for RV(drift). It takes about half a second for a thousand
        tables. Without it only tables are looked at.
      - M(seren.migrator.pg_migration_wait) does without it.
    type: bool
    default: true
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
state:
  description:
    - State of the migration in one word; V(absent), V(copying), V(copied), V(catching_up), V(in_sync), V(stalled), V(broken), V(cut_over) or
      V(rolled_back).
    - V(stalled) is replication that does not move but may again by itself, V(broken) is what no waiting will mend.
  returned: success
  type: str
  sample: in_sync
reasons:
  description: Why the state is not V(in_sync).
  returned: success
  type: list
  elements: str
  sample: []
lag_bytes:
  description: Bytes of WAL that the source has written and the target has not confirmed, V(null) when unknown.
  returned: success
  type: int
  sample: 5320
lag_seconds:
  description: How long ago the source stood where the target stands now, V(null) when unknown, for instance when it is longer than O(window).
  returned: success
  type: float
  sample: 0.21
retained_wal_bytes:
  description: Bytes of WAL that the source keeps for the migration, V(null) when unknown.
  returned: success
  type: int
  sample: 16777216
tables:
  description: Number of tables for each state; while copying the ledger's states, afterwards PostgreSQL's, where V(r) is ready.
  returned: success
  type: dict
  sample: {r: 121}
slots:
  description: The replication slots.
  returned: success
  type: list
  elements: dict
  contains:
    slot_name:
      description: Name of the slot.
      type: str
      sample: seren_migration_0123456789ab_1
    active:
      description: Whether a WAL sender serves it.
      type: bool
      sample: true
    active_pid:
      description: Process id of that WAL sender.
      type: int
      sample: 4711
    walsender_state:
      description: State of that WAL sender, V(null) when there is none or this role may not see it.
      type: str
      sample: streaming
    wal_status:
      description: Whether the WAL it needs is still there.
      type: str
      sample: reserved
    safe_wal_size:
      description: Bytes of WAL that may be written before the slot is in danger, V(null) without a limit.
      type: int
      sample: null
    confirmed_flush_lsn:
      description: LSN up to which the target has confirmed.
      type: str
      sample: 0/1A2B3C40
    restart_lsn:
      description: Oldest LSN that the slot needs.
      type: str
      sample: 0/1A2B3C08
    invalidation_reason:
      description: Why the slot was invalidated; PostgreSQL tells it from version 17 on.
      type: str
      sample: null
    lag_bytes:
      description: Bytes of WAL not yet confirmed, V(null) when unknown.
      type: int
      sample: 5320
    retained_wal_bytes:
      description: Bytes of WAL kept for the slot, V(null) when unknown.
      type: int
      sample: 16777216
workers:
  description: The target's workers, as C(pg_stat_subscription) shows them.
  returned: success
  type: list
  elements: dict
  sample: [{subname: seren_migration_sub, worker_type: apply, pid: 4712, received_lsn: 0/1A2B3C40, latest_end_lsn: 0/1A2B3C40}]
errors:
  description: Errors of apply and of table synchronisation, and how many of them are new in this window. V(null) where the target is older than
    PostgreSQL 15, which does not count them.
  returned: success
  type: dict
  sample: {apply: 0, sync: 0, new: 0}
streams:
  description: The streams, each with its objects, V(consistent_point), V(lag_bytes), V(lag_seconds) and V(tables_waiting).
  returned: success
  type: list
  elements: dict
  sample:
    - number: 1
      publication: seren_migration_pub
      subscription: seren_migration_sub
      slot: seren_migration_0123456789ab_1
      consistent_point: 0/16B3748
      lag_bytes: 5320
      lag_seconds: 0.21
      tables_waiting: 0
progress:
  description: How much of the copy is done. Empty when there is none.
  returned: success
  type: dict
  contains:
    tables:
      description: Tables to copy.
      type: int
      sample: 120
    tables_copied:
      description: Tables copied.
      type: int
      sample: 80
    rows_copied:
      description: Rows of these tables, and of those that are being copied.
      type: int
      sample: 1200000
    bytes_copied:
      description: Bytes of the same tables, as they came over the network.
      type: int
      sample: 1073741824
    estimated_bytes:
      description: Size of all tables to copy on the source's disk, which is not what they weigh on the way.
      type: int
      sample: 2147483648
    rate_bytes_per_second:
      description: Bytes copied for each second of the window, V(null) when it cannot be told, for instance with a O(window) of 0.
      type: int
      sample: 73400320
    eta_seconds:
      description: Seconds until the rows are copied at this rate, judged by what the copied tables weighed; V(null) when unknown.
      type: int
      sample: 15
    step:
      description: What init does, or did when it was interrupted; V(roles), V(schema), V(large_objects), V(copy), V(indexes), V(constraints), V(sequences),
        V(materialized_views), V(statistics) or V(database), V(null) for none of them.
      type: str
      sample: copy
    stream:
      description: Number of the latest stream.
      type: int
      sample: 1
    running:
      description: Tables that are being copied, each with V(schema), V(name), V(rows), V(bytes) and V(estimated_bytes).
      type: list
      elements: dict
      sample: [{schema: shop, name: orders, rows: 60000, bytes: 8388608, estimated_bytes: 16777216}]
    building:
      description: Indexes that are being built, each with V(schema), V(table), V(name) (V(null) where PostgreSQL does not tell it), V(phase),
        and V(done) and V(total) in blocks or tuples.
      type: list
      elements: dict
      sample: [{schema: shop, table: orders, name: null, phase: 'building index: scanning table', done: 1200, total: 4800}]
    steps:
      description: State of the steps that are not tables.
      type: dict
      sample: {roles: done, pre_data: done}
    runner:
      description: Who works on the migration now, V(null) for no one.
      type: str
      sample: null
samples:
  description: The samples of the window, each with V(elapsed) seconds, V(lag_bytes), V(insert_position) and V(confirmed_position).
  returned: success
  type: list
  elements: dict
  sample: [{elapsed: 0.0, lag_bytes: 5320, insert_position: 439041112, confirmed_position: 439035792}]
drift:
  description: What has changed on the source since init, within the selection, and is not on the target. Empty while the copy is not finished.
  returned: success
  type: list
  elements: dict
  contains:
    object:
      description: Kind and name of the object.
      type: str
      sample: table shop.vouchers
    change:
      description: V(added), V(changed), V(dropped), V(replaced) for a copied table that was renamed or made anew, or V(unknown) where changes
        cannot be told.
      type: str
      sample: added
    attributes:
      description: Of an object that has changed, what of it; each entry is the object or a part of it (a column, an index, ...), with V(added),
        V(dropped) or the names of the attributes that differ.
      type: list
      elements: str
      sample: ["column shop.orders.note (type)"]
    detail:
      description: What that means.
      type: str
      sample: created since init, not migrated
    remedy:
      description: What to do about it, empty where nothing has to be done or no command does it.
      type: str
      sample: "Run pg_migration_sync with add_new_tables: true, which brings schema and rows."
left:
  description: What stayed behind, or is copied but not replicated, and why.
  returned: success
  type: list
  elements: dict
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

SPEC = {
    "schema_drift": {"type": "bool", "default": True},
    **sampling_options(),
}


def main() -> None:
    """Run the phase."""
    run_module("status", status.run, status.StatusOptions, SPEC)


if __name__ == "__main__":
    main()
