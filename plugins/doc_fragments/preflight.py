# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  fail_on:
    description:
      - From which severity on a finding is a failure.
      - What a check could not find out counts like a finding of its severity.
    type: str
    choices: [blocker, warning, never]
    default: blocker
  skip_checks:
    description: Ids of checks that are not made. They are listed in the result as skipped.
    type: list
    elements: str
    default: []
  severities:
    description: Another severity for some checks; each key is a check's id, each value V(blocker), V(warning) or V(info).
    type: dict
    default: {}
  jobs:
    description:
      - How many tables, or pieces of tables, are copied at the same time. Each takes a worker process and a connection to each server.
      - Follow the cores of the servers and the line between them, not those of the machine where the module runs.
    type: int
    default: 4
  index_jobs:
    description:
      - How many indexes are built at the same time, beside the copy. Each takes a connection to the target, and its part of the target's memory.
      - As many as O(jobs), unless given.
    type: int
  streams:
    description:
      - How many processes of the target may apply changes at the same time. Each stream has a replication slot, a publication and a subscription
        of its own; all share one snapshot.
      - Tables that belong together (by foreign keys, partitions, inheritance) stay in one stream; such groups are dealt out by how much is written
        to them, so that there may be fewer streams than this. A transaction that spans streams arrives on the target in several parts.
      - More than the servers have free slots, WAL senders, replication workers or replication origins for is refused.
      - When a copy goes on that was interrupted, the number counts for the streams that are opened from then on.
    type: int
    default: 1
  large_objects:
    description:
      - What to do about large objects, which logical replication does not carry.
      - V(copy) copies them once, as they are in the snapshot, with owners, privileges and comments; V(skip) leaves them behind; V(fail) is a
        blocker when there are any.
    type: str
    choices: [fail, skip, copy]
    default: fail
  unlogged_tables:
    description:
      - What to do about the rows of unlogged tables, which logical replication does not carry.
      - V(copy) copies them once; V(skip) creates the tables empty; V(fail) is a blocker when there are any.
    type: str
    choices: [copy, skip, fail]
    default: copy
  foreign_tables:
    description:
      - What to do about foreign tables. Their rows are never copied.
      - V(create) creates them; V(skip) leaves them behind; V(fail) is a blocker when there are any.
    type: str
    choices: [create, skip, fail]
    default: create
  event_triggers:
    description:
      - What to do about event triggers.
      - V(copy) creates them at the very end, disabled until the cutover, because they would act on the migration's own statements; V(skip)
        leaves them behind; V(fail) is a blocker when there are any.
      - PostgreSQL lets only superusers create them, so that V(copy) is a blocker on a target without one, unless its provider may allow more.
    type: str
    choices: [copy, skip, fail]
    default: copy
  extension_versions:
    description:
      - In which version the extensions of the source are created on the target.
      - V(default) is the version that the target installs by default; the result C(left) names those that differ. V(source) is that of the
        source, and a blocker where the target does not offer it.
      - An extension that is on the target already stays as it is. None is ever updated.
    type: str
    choices: [default, source]
    default: default
  extension_data:
    description:
      - What to do about the rows that users keep in tables of extensions, as far as the extension has marked them for C(pg_dump).
      - V(copy) copies them once, inside the snapshot, without touching rows that are there already; they are never replicated. V(skip) leaves
        them behind; V(fail) is a blocker when there are any.
      - Jobs of C(pg_cron), the state of extensions that spread tables over others, and the extensions of the source's provider stay behind.
    type: str
    choices: [copy, skip, fail]
    default: copy
  roles:
    description:
      - Which roles are made on the target, where they are missing. What is called a role here includes users and groups.
      - V(referenced) makes those that own or may use what is migrated, the members of these, and the roles to which all of them belong. V(all) makes
        every role of the source's server. V(none) makes none.
      - A mapping does what V(referenced) does, but its keys, roles of the source, are called on the target as its values say, for instance
        the key V(shop) with the value V(shop_eu). Such a role is made under that name when it is missing. Where the value is V(null), nobody stands for
        the role. What is granted to it stays behind, what it owns goes to the role of O(target).
      - Roles that PostgreSQL predefines, and those of O(reserved_roles), are never made. SUPERUSER is never given.
      - With V(none) nobody stands for a role that is missing on the target. What is granted to a role that exists there is granted; what it
        owns is given to it only where the role of O(target) may take its rights (SET ROLE), and otherwise belongs to that role, and is listed.
      - A role that exists on the target is never changed. RV(ignore:left) of M(seren.migrator.pg_migration_init) tells how it differs from
        the one of the source. Only settings that a role of the source has in this database alone are given to it,
        without those that would hinder a migration; the role of O(target) itself gets none.
    type: raw
    default: referenced
  reserved_roles:
    description:
      - Names of roles that belong to the provider of the source, instead of those that are known (C(rds_*), C(cloudsql*), C(azure_*),
        C(neon_superuser) and others). V(*) stands for any characters. An empty list reserves none.
      - They are never made. One that the target has stands for itself. For the role that a provider gives to the administrators of a
        database (C(neon_superuser), C(rds_superuser), C(cloudsqlsuperuser), C(azure_pg_admin) and others) that of the target's provider
        stands, where there is one. For all others nobody does.
      - A role that is a key of O(roles) is not reserved.
    type: list
    elements: str
  role_passwords:
    description:
      - Passwords for roles of the source that are made on the target, each key a role of the source. Keep them in a vault.
      - Without one a role gets the password that it has, where O(source) may read its hash (C(pg_authid)) and the target accepts that.
        Otherwise it is made without a password, and named in the result.
      - A password given here goes before the hash of the source. It is hashed (SCRAM-SHA-256) before it is sent. A role that exists on the target
        keeps the password that it has.
    type: dict
  owner:
    description:
      - Who owns what is migrated. V(keep) is the source's owner, or the role that stands for it on O(target).
      - Any other value is the name of a role of O(target), or of one that init makes there; everything then belongs to it. What the old owners were
        granted on their own objects is not repeated; what others were granted is.
    type: str
    default: keep
  user_mappings:
    description:
      - What to do about the user mappings of foreign servers, whose options hold passwords.
      - V(skip) leaves them behind. V(create) makes those whose options the role of O(source) may read; the options go from one server to the other,
        and into no archive, ledger, log or result. A target that logs statements (C(log_statement)) logs them.
    type: str
    choices: [skip, create]
    default: skip
  copy_method:
    description:
      - Who carries the rows of the initial copy.
      - V(runner) is the machine that runs the module; it reads from one server and writes to the other, as many tables at a time as O(jobs) says.
      - With V(subscription) the servers do it by themselves, by PostgreSQL's own table synchronisation; for a machine far from both, or with a
        narrow line. The target then copies as many tables at a time as its setting C(max_sync_workers_per_subscription) allows, each
        needs a replication slot and a WAL sender of the source meanwhile, and replication is on when the copy ends.
    type: str
    choices: [runner, subscription]
    default: runner
  rollback:
    description:
      - Whether it shall be possible to replicate back from O(target) to O(source) after the writes have moved. Then what that needs is
        checked as well.
    type: bool
    default: false
  migrations_on_source:
    description:
      - How many migrations that run together, this one included, read from the server of O(source). What this migration needs of the
        server (replication slots, WAL senders, connections) is counted for each of them that has not begun; what the others
        have taken already is not free anyway.
      - The role counts the hosts of the play.
    type: int
    default: 1
  migrations_on_target:
    description: As O(migrations_on_source), of those that write to the server of O(target).
    type: int
    default: 1
  migrations_at_once:
    description: How many of them work at the same time at most, which bounds the connections that they need. All, unless given.
    type: int
"""
