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
  - Runs every check of the catalogue against both servers and says what stands in the way, what deserves attention, and what to
    do about it.
  - Never writes. What a check must try out is rolled back.
  - With C(--diff) or C(-v) the findings are shown as text, those that stand in the way first, each with its remedy.
options:
  sample_seconds:
    description:
      - Seconds of reading rows from O(source), as the copy would, to see how fast they come; they are thrown away. V(0) measures nothing,
        and then the time of the copy is not known.
      - The largest tables are read, over as many connections as O(jobs), and 512 MiB at most. While a table is read, statements that
        need it for themselves alone wait. Five seconds tell enough.
    type: float
    default: 0.0
  wal_window:
    description:
      - Seconds over which the WAL that O(source) writes is measured. The checks run meanwhile, so that it costs little time.
      - V(0) measures nothing.
    type: float
    default: 2.0
author:
  - Seren (@serenorg)
extends_documentation_fragment:
  - seren.migrator.endpoints
  - seren.migrator.endpoints.replication
  - seren.migrator.endpoints.clients
  - seren.migrator.selection
  - seren.migrator.preflight
  - seren.migrator.attributes.read_only
  - seren.migrator.attributes.background
attributes:
  diff_mode:
    description: Shows what was found, and what to do about it, when run with C(--diff). This never changes anything.
    support: full
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

- name: Also measure how long the copy will take
  seren.migrator.pg_migration_validate:
    source:
      url: "{{ source_url }}"
    target:
      url: "{{ target_url }}"
    sample_seconds: 5
    wal_window: 30
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
checked_at:
  description: When the checks were made, in UTC.
  returned: when the options make sense
  type: str
  sample: '2026-11-22T19:45:00Z'
ready:
  description: Whether no blocker stands in the way, whatever O(fail_on) says.
  returned: when the options make sense
  type: bool
  sample: true
summary:
  description: Number of checks by status, and of those without a pass by severity.
  returned: when the options make sense
  type: dict
  contains:
    pass:
      description: There is evidence that all is well.
      type: int
      sample: 41
    fail:
      description: There is evidence of a problem.
      type: int
      sample: 2
    unknown:
      description: It could not be found out.
      type: int
      sample: 0
    skipped:
      description: Left out on purpose, or impossible because of another finding.
      type: int
      sample: 1
    open:
      description: Checks without a pass that were not left out on purpose, by severity.
      type: dict
      sample: {blocker: 0, warning: 2, info: 0}
checks:
  description: The checks, each with its outcome.
  returned: when the options make sense
  type: list
  elements: dict
  contains:
    id:
      description: Id of the check, as O(skip_checks) and O(severities) take it.
      type: str
      sample: source_wal_level
    title:
      description: What is checked.
      type: str
      sample: the source writes the WAL that logical replication needs
    side:
      description: V(source), V(target), V(both) or V(controller).
      type: str
      sample: source
    severity:
      description: What it means when the check does not pass; V(blocker), V(warning) or V(info).
      type: str
      sample: blocker
    status:
      description: V(pass), V(fail), V(unknown) or V(skipped).
      type: str
      sample: pass
    open:
      description: Whether it counts as not settled. True unless the check passed or was left out on purpose.
      type: bool
      sample: false
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
      description: What to do about it; often SQL to paste.
      type: str
      sample: ''
source:
  description: What is known about the source; a server that cannot be reached has V(version) V(null).
  returned: when the options make sense
  type: dict
  contains: &facts
    endpoint:
      description: Host, port, database, role and TLS mode, as given.
      type: dict
      sample: {host: db1.example.com, port: '5432', dbname: shop, user: migrator}
    version:
      description: Version of the server.
      type: str
      sample: '15.18'
    version_number:
      description: Version of the server as a number.
      type: int
      sample: 150018
    major:
      description: Major version of the server.
      type: int
      sample: 15
    tls:
      description: Whether the connection is encrypted by TLS.
      type: bool
      sample: true
    role:
      description: The role that was connected.
      type: str
      sample: migrator
    is_superuser:
      description: Whether that role is a superuser.
      type: bool
      sample: false
    in_recovery:
      description: Whether the server is a standby.
      type: bool
      sample: false
    provider:
      description:
        - Whose server it is, recognised from what the server itself shows.
        - One of V(self_hosted), V(neon), V(serendb), V(rds), V(aurora), V(cloudsql), V(alloydb), V(azure), V(supabase), V(digitalocean),
          V(aiven), V(timescale) and V(snowflake).
      type: str
      sample: neon
    database_exists:
      description: Whether the database exists.
      type: bool
      sample: true
    database:
      description: Name of the database.
      type: str
      sample: shop
    encoding:
      description: Encoding of the database.
      type: str
      sample: UTF8
    collate:
      description: Collation of the database.
      type: str
      sample: en_US.UTF-8
    ctype:
      description: Character classification of the database.
      type: str
      sample: en_US.UTF-8
    bytes:
      description: Size of the database.
      type: int
      sample: 1073741824
target:
  description: What is known about the target; a server that cannot be reached has V(version) V(null).
  returned: when the options make sense
  type: dict
  contains: *facts
plan:
  description: What the migration would move, and what stays behind. Empty when the selection cannot be applied.
  returned: when the options make sense
  type: dict
  contains:
    tables:
      description: Tables whose rows are copied, the largest first, each with V(schema), V(name), V(rows) (estimated, V(null) when unknown),
        V(bytes), V(replicated) and V(predicate).
      type: list
      elements: dict
      sample: [{schema: shop, name: orders, rows: 120000, bytes: 16777216, replicated: true, predicate: null}]
    bytes:
      description: Size of these tables.
      type: int
      sample: 1073741824
    rows:
      description: Estimated rows of these tables, V(null) when unknown.
      type: int
      sample: 1200000
    sequences:
      description: Number of sequences.
      type: int
      sample: 12
    materialized_views:
      description: Number of materialized views.
      type: int
      sample: 1
    stays_behind:
      description: What is not moved, by kind.
      type: dict
      sample: {tables: [], rows_of: [shop.archive], unlogged_rows_of: [], foreign_tables: [], large_objects: 0}
    estimate:
      description: What the migration will take. What was not measured is V(null), never a guess.
      type: dict
      contains:
        rows:
          description: Estimated rows to copy, V(null) when unknown.
          type: int
          sample: 1200000
        bytes:
          description: Size of the tables to copy.
          type: int
          sample: 1073741824
        indexes:
          description: Number (V(count)) and size (V(bytes)) of the indexes of these tables.
          type: dict
          sample: {count: 30, bytes: 314572800}
        largest_tables:
          description: The ten largest tables, each with V(schema), V(name), V(rows) and V(bytes).
          type: list
          elements: dict
          sample: [{schema: shop, name: orders, rows: 120000, bytes: 16777216}]
        copy:
          description:
            - How long reading all rows will take (V(seconds)), at the speed that was measured, in bytes of table size
              (V(bytes_per_second)) and of the COPY stream (V(stream_bytes_per_second)), and what was read for it (V(sample)).
            - Writing to the target and building indexes are not in it.
          type: dict
          sample:
            seconds: 64.0
            bytes_per_second: 16777216.0
            stream_bytes_per_second: 13421772.8
            sample: {seconds: 5.0, connections: 4, tables: 4, rows: 600000, stream_bytes: 67108864, table_bytes: 83886080}
        wal:
          description:
            - WAL that the source writes, over the window (V(bytes_per_second), V(window_seconds)) and, from PostgreSQL 14 on, on average since
              its statistics began (V(average_bytes_per_second), V(average_seconds)).
            - V(retained_bytes) is what will wait for the replication slot when the copy ends, reckoned with the larger rate; V(limit_bytes) is
              what the source keeps for a slot at most, V(null) without a limit. How much disk is free cannot be asked.
          type: dict
          sample:
            bytes_per_second: 2097152.0
            window_seconds: 2.0
            average_bytes_per_second: 1048576.0
            average_seconds: 864000.0
            retained_bytes: 134217728
            limit_bytes:
        cutover:
          description:
            - V(feasible) is V(false) when the slot would be lost before the copy ends, and V(null) otherwise, because how fast the target
              applies is only known once it does.
            - V(wal_to_copy_ratio) is the WAL written for each byte of rows that could be read in the same time; a hint, no more.
          type: dict
          sample: {feasible: null, wal_to_copy_ratio: 0.1563}
        summary:
          description: The same in words.
          type: list
          elements: str
          sample: ['Rows: about 1,200,000 rows in 12 tables, 1.0 GiB; 30 indexes of 300 MiB.']
diff:
  description: The findings and the estimate as text for a terminal.
  returned: when the options make sense
  type: dict
  contains:
    prepared:
      description: The text.
      type: str
      sample: "seren_migration: ready (61 checks passed, 0 blockers, 0 warnings)\n"
code:
  description: What kind of error it is, a word that does not change between releases.
  returned: on failure
  type: str
  sample: not_ready
remedy:
  description: What to do about the error.
  returned: on failure
  type: str
  sample: 'source_wal_level: ALTER SYSTEM SET wal_level = logical; and restart the server.'
details:
  description: More about the error, for instance the SQLSTATE or the last observation.
  returned: on failure
  type: dict
  sample: {checks: [source_wal_level], codes: [not_ready]}
"""

from ansible_collections.seren.migrator.plugins.module_utils.module import (
    measuring_options,
    preflight_options,
    run_module,
)
from ansible_collections.seren.migrator.plugins.module_utils.phases import validate


def main() -> None:
    """Run the phase."""
    run_module("validate", validate.run, validate.ValidateOptions, {**preflight_options(), **measuring_options()})


if __name__ == "__main__":
    main()
