#!/usr/bin/python

# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pg_migration_verify
short_description: Prove that source and target hold the same rows and the same objects
version_added: 0.1.0
description:
  - Compares the rows of every table, keyed or not, the sequences and the large objects, on both servers, and names what differs by its key.
  - Compares every other object and each of its attributes, too, from columns and constraints to owners, privileges and comments (see O(objects)).
  - Writes may go on meanwhile. How the two sides are brought to one moment is the choice of O(mode); what differs is looked at again until it is proven.
  - Nothing is ever written but the row in the marker table that M(seren.migrator.pg_migration_init) has made for each stream, and in check mode not even that.
author:
  - Seren (@serenorg)
options:
  mode:
    description:
      - How the two sides are brought to one moment.
      - With V(gate) the workers that apply changes on the target are stopped for some milliseconds at one commit of the source, those of all streams at once.
        The target's snapshot is then exactly the source up to that commit, which the result names. This locks and writes nothing but the marker tables of
        the migration.
      - With V(live) the source's snapshot comes first, and the target's when it has confirmed everything that the source has shown. This needs no more than
        the right to read.
      - With V(fenced) you have stopped the writes, and one look decides everything. That nothing was written meanwhile is proven from the source's WAL, for
        which a temporary replication slot is made on the source, and removed again.
      - A mode that cannot be had gives way to V(live); RV(mode) and RV(mode_reason) say so. All are equally exact about each row. Check mode is always V(live).
    type: str
    choices: [gate, live, fenced]
    default: gate
  strict:
    description:
      - Whether rows that are still in doubt after three rounds, because the application changes them all the time, may be locked on the source
        (C(FOR SHARE)) until the gate's marker is written. This takes some milliseconds, and no lock is waited for longer than 300 ms.
      - Needs O(mode=gate), O(max_rounds) of at least 2, and the privilege to update the tables in question on the source. Only rows of tables with a key.
    type: bool
    default: false
  strong:
    description:
      - Hash each row twice, with independent seeds, 128 bits in all, for about the double cost. With 64 bits one wrong row in 10^19 goes unnoticed.
    type: bool
    default: false
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
    type: float
    default: 300.0
  max_snapshot_age:
    description:
      - For how many seconds a pair of snapshots is used for something new. A snapshot keeps VACUUM from removing rows, on both sides, as long as it is
        open. What is being compared by then is finished, and the rest goes on with a new pair, which is no further round.
      - A table that would take longer than this, as far as its size tells, is compared in ranges of its key, each of which is looked at by
        itself. That needs a key whose first column is an integer, a date, a timestamp or a UUID, and rows that lie about in its order on both
        sides; another table is compared as a whole, however long that takes. C(tables[].ranges) of the result lists the ranges.
    type: float
    default: 900.0
  max_rate:
    description:
      - Bytes per second that all connections together may read of tables on each server, or a number with a unit such as V(50M). V(0) sets no limit.
      - It is held over some seconds, by pauses between ranges of blocks; a table of a server before PostgreSQL 14 is read without a pause. Long pauses are
        made while no snapshot is open.
    type: bytes
    default: "0"
  max_lag_bytes:
    description:
      - Nothing new is begun while the target is further behind than this, in bytes of WAL or a number with a unit such as V(64M). The pause is made
        while no snapshot is open, and the progress says so. Without it the lag does not matter.
      - When the lag stays above it for O(wait_timeout) seconds, what has not been compared is V(unverified), with the reason C(lag).
    type: bytes
  job_timeout:
    description:
      - Seconds that the comparison of rows may take. What is not decided by then is V(unverified), with the reason C(deadline). Queries that run are
        ended. Without it there is no limit.
      - With O(state_path) the next run goes on from there.
    type: float
  state_path:
    description:
      - A file on the machine that runs the module that remembers what has been verified, table by table and range by range, so that a run that was
        killed, or that ran out of time, can be continued. It has mode 0600, because the limits of ranges are keys of rows. Nothing is remembered on a server.
      - Name one for each migration. A file that holds something else is refused. In check mode it is neither read nor written.
    type: path
  resume:
    description:
      - Whether tables and ranges that O(state_path) tells to be verified are taken over, instead of being compared again. Each proof holds for the moment
        at which it was made; the result says when that was. Therefore this has to be asked for.
      - Only a run that did not come to its end is continued. One that has verified every table is over, and everything is compared again.
      - Nothing is taken over from a run between other databases or along other streams, with another O(mode) or O(strong), or when a server has been restored
        or failed over since; nor for a table that has been made anew, or has other columns, another key or another predicate. RV(resumed) says why.
      - With O(mode=fenced) everything is compared again, because that is about one run.
    type: bool
    default: false
  fail_on_difference:
    description: Whether the task fails unless equality is proven.
    type: bool
    default: true
  objects:
    description:
      - What becomes of everything that is not rows, from columns, indexes and constraints to functions, types, owners, privileges, comments and settings
        of the database. Needs no superuser, and tells apart what PostgreSQL's major versions spell differently from what is different.
      - With V(compare) an object that differs counts as rows that differ do. What the migration's options have left out, or what it has listed as left behind,
        does not count; it is listed with its reason.
      - With V(report) differences are listed, and do not count. With V(skip) nothing is compared but rows and sequences.
      - With O(only) the objects are those tables, and what is on them.
    type: str
    choices: [compare, report, skip]
    default: compare
  show_values:
    description:
      - Whether differing rows are listed with their values, those of the columns that differ on both sides, cut at 200 characters, and those
        of all columns of a row that one side lacks.
      - Values are never shown otherwise, neither in the result nor in a message.
    type: bool
    default: false
  hash_keys:
    description:
      - Whether the values of keys are shown as a hash only. It is keyed with a secret of this run that nobody is told, so that no key can be found by
        trying. RV(differences[].tuples) still tells those who may read the databases where each row lies.
    type: bool
    default: false
  differences_path:
    description:
      - A file on the machine that runs the module for the rows that differ, one JSON object a line, as in RV(differences). It has up to 10,000 rows of a
        table that differs in many, and a million in all, whatever O(max_differences) is.
      - It has mode 0600, replaces the one before, and appears whole when the comparison has ended. It is written in check mode, too.
    type: path
  repair:
    description:
      - Whether rows that are proven to differ are repaired on the target, at most O(max_repairs), and the tables verified again. The source is
        never written to.
      - Each statement holds only while the target's row is the one that was seen, and is committed only while the source's row is the one that was
        compared, so that no change of the application is lost. Without proof, when the two sides could not be aligned, nothing is repaired.
      - Triggers, foreign keys and rules of the target do not fire where the role may set C(session_replication_role) (a superuser, or from
        PostgreSQL 15 on who was granted C(SET ON PARAMETER session_replication_role)). Otherwise tables that have any are not repaired.
        Neither are tables whose triggers fire for replicated rows as well, and tables with a deferrable unique constraint.
      - What is written has a replication origin of its own where the role may use one, so that a stream back to the source does not send it.
      - In check mode nothing is written; RV(repair) says what would be repaired.
    type: bool
    default: false
  repair_sql_path:
    description:
      - A file on the machine that runs the module for the statements of the repair, as a script for C(psql), with or without O(repair). It has mode 0600,
        because it holds values of rows, and replaces the one before. It is written in check mode, too.
      - Run by hand, a statement does nothing when its row of the target has changed since. That the source has not changed meanwhile only
        O(repair) makes sure, so verify again afterwards.
    type: path
  max_repairs:
    description:
      - How many rows are repaired, or written to O(repair_sql_path), at most. More than a few mean that the copy has failed, and not that rows were damaged.
      - A row whose values take more than 64 MiB as text is not repaired.
    type: int
    default: 1000
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.selection
  - seren.migrator.progress
  - seren.migrator.attributes
  - seren.migrator.attributes.background
notes:
  - Whoever ends C(ansible-playbook), with Ctrl-C or otherwise, ends the comparison within ten minutes, because nobody would see its result.
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

- name: Repair what is proven to differ, and verify again
  seren.migrator.pg_migration_verify:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    repair: true

- name: Compare a large database in nights of six hours, gently, each going on where the last one ended
  seren.migrator.pg_migration_verify:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    job_timeout: 21600
    max_rate: 100M
    max_lag_bytes: 64M
    state_path: /var/lib/migration/shop.verify
    resume: true

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
  description: Without O(repair) always empty. With it, what was done, or would be in check mode, each kind of statement once, in words and
    without values.
  returned: always
  type: list
  elements: str
  sample: []
verified:
  description: Whether every table, every sequence, the large objects and (unless O(objects) says otherwise) every object that was compared is
    proven equal, every materialized view answers as on the source, and replication runs. In check mode before there is a copy V(false), without a
    failure.
  returned: when the comparison could be carried out
  type: bool
  sample: true
rows_verified:
  description: Whether every table, every sequence and the large objects that were compared are proven equal, whatever the rest is like.
  returned: when the comparison could be carried out
  type: bool
  sample: true
objects:
  description: How everything that is not rows compares.
  returned: when the comparison could be carried out
  type: dict
  contains:
    status:
      description: V(equal), V(different), V(unknown) when a server does not show an attribute to our role, V(error), or V(skipped).
      type: str
      sample: different
    reason:
      description: Why it is V(unknown), V(error) or V(skipped).
      type: str
      sample: ''
    kinds:
      description: For each kind of object how many there are on either side, and how many differ.
      type: list
      elements: dict
      sample: [{kind: table, source: 40, target: 40, different: 0}]
    different:
      description: The objects that differ, at most O(max_differences), each with V(kind), V(name), V(what) (V(missing) on the target, V(extra) there,
        V(changed) or V(unknown)), and for each attribute its value on the source and on the target. V(null) is PostgreSQL's default.
      type: list
      elements: dict
      sample:
        - kind: column
          name: shop.orders.state
          what: changed
          attributes: {default: {source: "'new'::text", target: null}}
    different_count:
      description: How many differ.
      type: int
      sample: 1
    expected:
      description: What differs because the migration was told so, or could not do otherwise and has listed it as left behind; as V(different), and
        with V(reason). At most O(max_differences).
      type: list
      elements: dict
      sample:
        - kind: trigger
          name: mirror on shop.orders
          what: changed
          attributes: {enabled: {source: always, target: disabled}}
          reason: disabled on the target until the cutover
    expected_count:
      description: How many differ as expected.
      type: int
      sample: 1
mode:
  description: The mode that the whole run was in. V(gate) and V(fenced) are only said when they held from the first look to the last.
  returned: when the comparison could be carried out
  type: str
  sample: gate
mode_reason:
  description: Why it is not O(mode).
  returned: when the comparison could be carried out
  type: str
  sample: ''
epochs:
  description: The pairs of snapshots that were compared, one for each round.
  returned: when the comparison could be carried out
  type: list
  elements: dict
  contains:
    round:
      description: Number of the round.
      type: int
      sample: 1
    mode:
      description: The mode of this pair.
      type: str
      sample: gate
    consistency:
      description: V(aligned) or V(unaligned).
      type: str
      sample: aligned
    lsn:
      description: The target's snapshot shows every commit up to this position in the source's WAL.
      type: str
      sample: 0/2C5F9E0
    marker_lsn:
      description: With V(gate) it shows none from this position on. Otherwise V(null).
      type: str
      sample: 0/2C5FA40
    taken_at:
      description: The source's clock at its snapshot.
      type: str
      sample: '2026-11-22T13:15:06.123+00:00'
    waited_seconds:
      description: Seconds that the target took to get there.
      type: float
      sample: 0.002
    gate_hold_ms:
      description: Milliseconds that the gate has kept the target from applying changes, at most. V(null) without a gate.
      type: float
      sample: 4.7
    rows_locked:
      description: Rows of the source that O(strict) has locked.
      type: int
      sample: 0
certificate:
  description:
    - What was compared with what, when, at which positions and by which rules, and what was found.
    - Has V(format), V(migration), V(verified), V(rows_verified), V(partial), V(mode), V(mode_reason), V(source) and V(target) (each with
      V(system_identifier), V(version), V(database), V(database_oid) and V(encoding)), V(slots) with their confirmed positions, V(epochs), V(hash),
      V(tables), V(sequences), V(objects), V(unverified) with the rows in doubt, V(differences) as their number, V(left_out), V(started_at),
      V(finished_at), and V(sha256) over all of that as JSON with sorted keys and no spaces.
    - V(null) in check mode before there is a copy.
  returned: when the comparison could be carried out
  type: dict
  sample: {format: 1, migration: seren_migration, verified: true, mode: gate, differences: 0, unverified: [], sha256: 0c7a...}
consistency:
  description: V(aligned) when the target's snapshot stands for the same moment as the source's, otherwise V(unaligned).
  returned: when the comparison could be carried out
  type: str
  sample: aligned
consistency_reason:
  description: Why it is not V(aligned).
  returned: when the comparison could be carried out
  type: str
  sample: ''
partial:
  description: Whether O(only) has restricted the comparison.
  returned: when the comparison could be carried out
  type: bool
  sample: false
rounds:
  description: Rounds that were needed.
  returned: when the comparison could be carried out
  type: int
  sample: 1
lsn:
  description: Position in the source's WAL that the last pair of snapshots stands for.
  returned: when the comparison could be carried out
  type: str
  sample: 0/2C5F9E0
waited_seconds:
  description: Seconds that the target took to confirm this position.
  returned: when the comparison could be carried out
  type: float
  sample: 0.002
resumed:
  description: What was taken over from an earlier run, with V(asked), how many V(tables), when it was V(started_at), and the V(reason) why nothing was, or not
    everything.
  returned: when the comparison could be carried out
  type: dict
  sample: {asked: false, tables: 0, started_at: null, reason: ''}
started_at:
  description: When the comparison began.
  returned: when the comparison could be carried out
  type: str
  sample: '2026-11-22T13:15:06+00:00'
tables:
  description: The tables.
  returned: when the comparison could be carried out
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
    status:
      description: V(verified), V(different), V(unverified) or V(error).
      type: str
      sample: verified
    reason:
      description: Why it is not V(verified).
      type: str
      sample: ''
    source_rows:
      description: Rows on the source, V(null) when not counted.
      type: int
      sample: 120000
    target_rows:
      description: Rows on the target, V(null) when not counted.
      type: int
      sample: 120000
    differing_rows:
      description: Rows that are proven to differ.
      type: int
      sample: 0
    in_doubt:
      description: Rows that differed in the last round without proof, because the application had changed them.
      type: int
      sample: 0
    rounds:
      description: Rounds that this table needed.
      type: int
      sample: 1
    method:
      description: How rows find their counterpart; V(key), or V(row) by all of their content. V(null) when the table was not compared.
      type: str
      sample: key
    not_compared:
      description: Columns that were not compared.
      type: list
      elements: str
      sample: []
    mapped:
      description: Columns whose type is wider on one side, with both types; their values were compared.
      type: list
      elements: dict
      sample: [{column: id, source: integer, target: bigint}]
    seconds:
      description: Seconds that this table took.
      type: float
      sample: 0.4
    bytes:
      description: Size on the source without its indexes, V(null) when the table was not compared.
      type: int
      sample: 14680064
    lsn:
      description: Position in the source's WAL of the snapshots in which the table was read whole, V(null) when it was not. Of several ranges, the first.
      type: str
      sample: 0/2C5F9E0
    last_lsn:
      description: Position of those in which the last of its rows in doubt were looked at. Of several ranges, the last.
      type: str
      sample: 0/2C5F9E0
    read_at:
      description: The source's time at the snapshot in which the table was read whole. Of several ranges, the first.
      type: str
      sample: '2026-11-22T13:15:07.512+00:00'
    resumed:
      description: Whether it, or any range of it, was verified by an earlier run.
      type: bool
      sample: false
    ranges:
      description: For a table that was compared in ranges of its key each range, with V(number), and the above as far as it is about rows; else empty.
      type: list
      elements: dict
      sample: []
differences:
  description: Rows that are proven to differ, at most O(max_differences).
  returned: when the comparison could be carried out
  type: list
  elements: dict
  contains:
    schema:
      description: Schema of the table.
      type: str
      sample: shop
    table:
      description: Name of the table.
      type: str
      sample: orders
    kind:
      description: V(missing) on the target, V(extra) on the target, V(changed), or V(generated_only) when only generated columns differ.
      type: str
      sample: changed
    key:
      description: Columns of the key and their values as text; empty without a key.
      type: dict
      sample: {id: '4711'}
    columns:
      description: Columns that differ.
      type: list
      elements: str
      sample: [amount]
    rounds:
      description: Rounds after which the difference was proven.
      type: int
      sample: 2
    source_count:
      description: Rows of this key, or without a key of this content, on the source.
      type: int
      sample: 1
    target_count:
      description: Rows of this key, or without a key of this content, on the target.
      type: int
      sample: 1
    tuples:
      description: Where the row lies on each side, as relation and ctid.
      type: dict
      sample: {source: ['shop.orders (0,1)'], target: ['shop.orders (0,7)']}
    values:
      description: Values as text by side and column, with O(show_values) only. A side that lacks the row is not there, and V(null) is NULL.
      type: dict
      sample: {source: {amount: '12.50'}, target: {amount: '12.05'}}
in_doubt:
  description: Rows that differed in the last round without proof, because the application had changed them; those with a key, at most 100 of each table.
  returned: when the comparison could be carried out
  type: list
  elements: dict
  sample: [{schema: shop, table: orders, key: {id: '4711'}}]
differences_truncated:
  description: Whether more rows differ than are listed.
  returned: when the comparison could be carried out
  type: bool
  sample: false
repair:
  description: What became of the rows that were proven to differ. Empty without O(repair) and O(repair_sql_path). RV(tables) and RV(differences)
    are those of the verification after the repair.
  returned: when the comparison could be carried out
  type: dict
  contains:
    requested:
      description: Whether O(repair) was given.
      type: bool
      sample: true
    reason:
      description: Why nothing could be repaired at all.
      type: str
      sample: ''
    repaired:
      description: How many rows were repaired, or in check mode would be.
      type: int
      sample: 1
    not_repaired:
      description: How many were not.
      type: int
      sample: 0
    as_replica:
      description: Whether our role may write as replication does, without triggers and foreign keys.
      type: bool
      sample: true
    with_origin:
      description: Whether it was written under a replication origin of its own.
      type: bool
      sample: true
    sql_statements:
      description: How many statements stand in O(repair_sql_path), V(null) without it.
      type: int
      sample: null
    rows:
      description: The rows, at most O(max_differences), each with V(status), which is V(repaired), V(would_be_repaired) in check mode, V(written) to
        O(repair_sql_path) only, V(differs_again) when it was repaired and differed once more, or V(not_repaired), and with the reason.
      type: list
      elements: dict
      sample: [{schema: shop, table: orders, kind: changed, key: {id: '4711'}, columns: [amount], status: repaired, reason: ''}]
    rows_truncated:
      description: Whether there are more rows than are listed.
      type: bool
      sample: false
sequences:
  description: The sequences, each with V(schema), V(name), V(status) (V(verified), V(behind), V(different) or V(unverified)), V(reason), last value
    and V(is_called) of both sides, and whether the column that owns it is ahead of it. V(behind) is expected while the source is written to.
    With O(mode=fenced) it is a difference, and V(reason) has the statement that ends it.
  returned: when the comparison could be carried out
  type: list
  elements: dict
  sample:
    - schema: shop
      name: orders_id_seq
      status: verified
      reason: ''
      source_last_value: 120000
      source_is_called: true
      target_last_value: 120000
      target_is_called: true
      behind_column: false
large_objects:
  description: How the large objects compare, by their OIDs and every byte. They are not replicated, so what the source has made or changed since
    the copy is missing or changed. With C(large_objects=skip) in M(seren.migrator.pg_migration_init) they are not compared, nor with O(only).
  returned: when the comparison could be carried out
  type: dict
  contains:
    status:
      description: V(verified), V(different), V(unverified) when our role may not read one, V(error), or V(skipped).
      type: str
      sample: different
    reason:
      description: Why it is not V(verified).
      type: str
      sample: 1 missing, 2 changed
    source_count:
      description: Large objects on the source, V(null) when not counted.
      type: int
      sample: 1200
    target_count:
      description: Large objects on the target, V(null) when not counted.
      type: int
      sample: 1199
    source_bytes:
      description: Their bytes on the source, V(null) when not read.
      type: int
      sample: 52428800
    target_bytes:
      description: Their bytes on the target, V(null) when not read.
      type: int
      sample: 52420608
    differing:
      description: How many differ, or at least differ where V(reason) says so.
      type: int
      sample: 3
    differences:
      description: Those that differ, at most O(max_differences), each with V(oid) and V(kind), which is V(missing) on the target, V(extra) there, or
        V(changed).
      type: list
      elements: dict
      sample: [{oid: 16501, kind: missing}]
materialized_views:
  description: The materialized views, each with V(schema), V(name), V(status), V(reason), and whether it is populated on either side. V(status) is
    V(verified), V(different) when it does not answer on the target as on the source, or V(expected) when the copy could not refresh it and has
    listed it as left behind. Their rows are not compared, see RV(left_out).
  returned: when the comparison could be carried out
  type: list
  elements: dict
  sample:
    - schema: shop
      name: summary
      status: verified
      reason: ''
      source_populated: true
      target_populated: true
replication:
  description: What the servers say about the replication between them.
  returned: when the comparison could be carried out
  type: dict
  contains:
    status:
      description: V(running), V(broken) when a subscription is missing, disabled or told to skip a transaction, or when a slot is missing, inactive or
        has lost WAL, V(unknown) when the servers could not be asked, or V(none) before M(seren.migrator.pg_migration_sync).
      type: str
      sample: running
    reason:
      description: Why it is V(broken) or V(unknown).
      type: str
      sample: ''
    streams:
      description: For each stream its subscription and slot, the errors that PostgreSQL has counted (15 or newer on the target; V(new_errors) during
        this comparison), and the conflicts by kind (18 or newer). V(null) is unknown.
      type: list
      elements: dict
      sample:
        - number: 1
          subscription: seren_migration_sub
          slot: seren_migration_1
          enabled: true
          active: true
          wal_status: reserved
          apply_errors: 0
          sync_errors: 0
          new_errors: 0
          conflicts: {delete_missing: 0, update_missing: 0}
          counted_since: null
    warnings:
      description: New errors, and conflicts that mean that the target had lost a row before. They do not count, because rows that are proven equal are
        equal.
      type: list
      elements: str
      sample: []
left_out:
  description: What was not compared, and why.
  returned: when the comparison could be carried out
  type: list
  elements: dict
  sample: [{kind: materialized view, schema: shop, name: summary, reason: 'derived from tables, as old as its last REFRESH on each side'}]
settings:
  description: How the rows were hashed on both sides.
  returned: when the comparison could be carried out
  type: dict
  sample: {hash: native, bits: 64, text_instead_of_typed: [], text_forms_that_differ: [], encodings_differ: false}
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: not_verified
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: Look at differences and objects.different; each one names what differs.
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {tables: {different: 1}, differences: 3, objects: 0}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import run_module
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify

SPEC = {
    "mode": {"type": "str", "choices": ["gate", "live", "fenced"], "default": "gate"},
    "strict": {"type": "bool", "default": False},
    "strong": {"type": "bool", "default": False},
    "jobs": {"type": "int", "default": 2},
    "only": {"type": "list", "elements": "str", "default": []},
    "max_differences": {"type": "int", "default": 100},
    "max_rounds": {"type": "int", "default": 5},
    "wait_timeout": {"type": "float", "default": 300.0},
    "max_snapshot_age": {"type": "float", "default": 900.0},
    "max_rate": {"type": "bytes", "default": "0"},
    "max_lag_bytes": {"type": "bytes"},
    "job_timeout": {"type": "float"},
    "state_path": {"type": "path"},
    "resume": {"type": "bool", "default": False},
    "fail_on_difference": {"type": "bool", "default": True},
    "objects": {"type": "str", "choices": ["compare", "report", "skip"], "default": "compare"},
    "show_values": {"type": "bool", "default": False},
    "hash_keys": {"type": "bool", "default": False},
    "differences_path": {"type": "path"},
    "repair": {"type": "bool", "default": False},
    "repair_sql_path": {"type": "path"},
    "max_repairs": {"type": "int", "default": 1000},
}


def main() -> None:
    """Run the phase."""
    run_module("verify", verify.run, verify.VerifyOptions, SPEC, names={"tables": "only"}, shows_progress=True)


if __name__ == "__main__":
    main()
