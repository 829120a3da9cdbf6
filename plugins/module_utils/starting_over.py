# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Starting a copy over: take back what init has made on the target, and nothing else, so that it can begin anew.

What was restored is dropped by the archive that it came from, without CASCADE, in one transaction with the ledger's word
about it. What somebody else has made on top of it makes the whole fail, and nothing is lost. Roles stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import event_triggers, large_objects, replication, schema, slots, user_mappings
from .claim import Claim
from .clients import Client
from .driver import Row, pq, psycopg, sql
from .errors import MigrationError
from .ledger import Record, kept_dump
from .migration import Migration, backend_purpose
from .schema import Archive
from .session import Session

REMEDY = "run init with resume: false, which drops what it has made on the target and copies everything again."
# The step that holds what is left of the large objects: too many for one transaction, so they go after it.
DROPPING_LARGE_OBJECTS = "dropping_large_objects"

# Everything of a kind that could vanish together with what is dropped, as long as it is not ours.
_OTHERS = """
WITH found AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid AS classid, c.oid AS objid
    FROM pg_catalog.pg_class AS c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
   UNION ALL
  SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid FROM pg_catalog.pg_proc AS p
   UNION ALL
  SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid
    FROM pg_catalog.pg_type AS t WHERE t.typtype IN ('e', 'd', 'r')
   UNION ALL
  SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, n.oid FROM pg_catalog.pg_namespace AS n
   UNION ALL
  SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_extension AS e
   UNION ALL
  SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_event_trigger AS e)
SELECT f.classid::bigint AS classid, f.objid::bigint AS objid,
       pg_catalog.pg_describe_object(f.classid, f.objid, 0) AS description
  FROM found AS f
 WHERE f.objid >= 16384 AND NOT f.objid = ANY (%(ours)s::oid[])
"""

# What is on our relations once everything of the archive's last section is gone. An index that a constraint was to
# be made of is ours, too, and one of a partition that was not attached yet; and what came with an extension of ours.
_ON_OURS = """
SELECT pg_catalog.pg_describe_object(o.classid, o.objid, 0) AS description
  FROM (SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, i.indexrelid, i.indrelid, i.xmin
          FROM pg_catalog.pg_index AS i
         UNION ALL
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, t.tgrelid, t.xmin
          FROM pg_catalog.pg_trigger AS t WHERE NOT t.tgisinternal AND t.tgparentid = 0
         UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, r.ev_class, r.xmin
          FROM pg_catalog.pg_rewrite AS r WHERE r.rulename <> '_RETURN'
         UNION ALL
        SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polrelid, p.xmin FROM pg_catalog.pg_policy AS p
         UNION ALL
        SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, s.stxrelid, s.xmin
          FROM pg_catalog.pg_statistic_ext AS s) AS o(classid, objid, relation, made_by)
 WHERE o.relation = ANY (%(ours)s::oid[])
   AND NOT EXISTS (SELECT 1
                     FROM pg_catalog.pg_depend AS d
                     JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.xmin = o.made_by
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = o.relation
                      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e')
   AND NOT EXISTS (SELECT 1
                     FROM seren_migrator.index_build AS b
                     JOIN seren_migrator.relation AS r ON r.migration_id = b.migration_id AND r.source_oid = b.table_oid
                     JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema
                     JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.name
                     JOIN pg_catalog.pg_class AS x ON x.oid = o.objid AND x.relname = b.name
                    WHERE b.migration_id = %(id)s AND b.state <> 'pending' AND c.oid = o.relation)
 ORDER BY 1
"""

# Tables of the ledger whose names lead to something that the restore has not made.
_REPLACED = """
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0) AS description
  FROM seren_migrator.relation AS r
  JOIN pg_catalog.pg_namespace AS n ON n.nspname = r.schema
  JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = r.name
 WHERE r.migration_id = %(id)s AND NOT c.oid = ANY (%(ours)s::oid[])
 ORDER BY 1
"""

# Of what the restore made only where it was missing, what is ours; in the order in which it can be dropped.
_SHARED = (
    ("EXTENSION", "SELECT e.extname AS name FROM pg_catalog.pg_extension AS e WHERE e.oid = ANY (%(ours)s::oid[])"),
    ("LANGUAGE", "SELECT l.lanname AS name FROM pg_catalog.pg_language AS l WHERE l.oid = ANY (%(ours)s::oid[])"),
    ("SCHEMA", "SELECT n.nspname AS name FROM pg_catalog.pg_namespace AS n WHERE n.oid = ANY (%(ours)s::oid[])"),
)

# Default privileges would be given to the tables of the next restore; so those that came with the last section go.
_DEFAULT_PRIVILEGES = """
SELECT pg_catalog.pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema,
       CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                            WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind,
       ARRAY(SELECT DISTINCT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END
               FROM pg_catalog.aclexplode(d.defaclacl) AS a)::text[] AS given,
       ARRAY(SELECT DISTINCT CASE a.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee) END
               FROM pg_catalog.aclexplode(pg_catalog.acldefault(
                 CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole)) AS a
              WHERE d.defaclnamespace = 0)::text[] AS usual
  FROM pg_catalog.pg_default_acl AS d
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
 WHERE d.oid = ANY (%(ours)s::oid[]) AND NOT d.oid = ANY (%(privileges_before)s::oid[])
 ORDER BY 1, 2, 3
"""

_RESET = (
    "UPDATE seren_migrator.stream SET state = 'removing' WHERE migration_id = %(id)s AND state <> 'removed'",
    """
    UPDATE seren_migrator.relation
       SET state = 'pending', stream = NULL, format = NULL, rows = NULL, bytes = NULL, finished_at = NULL
     WHERE migration_id = %(id)s AND state <> 'skipped'
    """,
    # Roles stay, and so does what is known about them.
    "DELETE FROM seren_migrator.step WHERE migration_id = %(id)s AND step NOT IN ('dropping_large_objects', 'roles')",
    "DELETE FROM seren_migrator.index_build WHERE migration_id = %(id)s",
    "DELETE FROM seren_migrator.schema_dump WHERE migration_id = %(id)s",
    "UPDATE seren_migrator.migration SET state = 'copying' WHERE id = %(id)s",
)


def refuse_too_late(record: Record) -> None:
    """Raise ``cannot_start_over`` when the migration is past its copy."""
    begun = record.state == "copied" and any(stream.state == "subscribed" for stream in record.live_streams)
    if begun or record.state not in ("copying", "copied"):
        state = "being subscribed" if begun else record.state
        raise MigrationError(
            "cannot_start_over",
            f"The migration {record.name!r} is {state}: resume: false takes back a copy that has no subscription yet.",
            "Leave resume out. To begin anew, run pg_migration_cleanup, empty the target and run init.",
            {"state": state},
        )


def planned(migration: Migration, record: Record, target: Session, client: Client) -> list[str]:
    """Return the statements, as text for people, that would drop what was restored. Changes nothing."""
    refuse_too_late(record)
    archive = _archive(record, target, client)
    if archive is None:
        return []
    last, first = schema.drops(migration, archive)
    own = [event_triggers.drop(name).as_string(None) for name in event_triggers.ours(record, target)]
    return own + _shown(last) + _shown(first)


def start_over(migration: Migration, claim: Claim, source: Session, target: Session, client: Client) -> None:
    """Take back what init has made; the streams are marked for removal, the tables wait to be copied.

    Raises ``cannot_start_over`` when the migration is past its copy, and when something of others depends on what would
    be dropped or would vanish with it; then nothing is changed.
    """
    record = claim.read()
    refuse_too_late(record)
    archive = _archive(record, target, client)
    comment = replication.ownership_comment(migration.name, claim.id)
    dropped: dict[int, str] = {}
    for stream in record.live_streams:
        _stop_subscription(source, target, record, stream.subscription, comment)
    with migration.open("target", backend_purpose(claim.id, "restore")) as session, session.transaction():
        held = Claim(session, claim.name, claim.id, claim.epoch)
        for stream in record.live_streams:
            dropped.update(_drop_subscription(session, stream.subscription, comment))
        if archive is not None:
            with _told_only_when_done(migration):
                for name in event_triggers.ours(record, session):
                    session.execute(event_triggers.drop(name))
                _drop_restored(migration, session, archive, _key(record))
        _reset(held, record)
    for oid in dropped:
        slots.drop_sync_slots(source, oid, record.target.get("system_identifier"))
    drop_large_objects(claim, claim.read())


def drop_large_objects(claim: Claim, record: Record) -> None:
    """Drop the large objects of a copy that was taken back; also what a run before this one has left of them.

    ``record`` is what the ledger says now.
    """
    step = record.steps.get(DROPPING_LARGE_OBJECTS)
    if step is not None:
        large_objects.drop(claim, step.detail["oids"])
        claim.write("DELETE FROM seren_migrator.step WHERE migration_id = %(id)s AND step = %(step)s", step=step.step)


def _archive(record: Record, target: Session, client: Client) -> Archive | None:
    """Return the archive that was restored, None when nothing was."""
    if not record.is_done("pre_data"):
        return None
    content = kept_dump(target, record.id)
    detail = record.steps["pre_data"].detail
    if content is None or "created" not in detail:
        raise MigrationError(
            "cannot_start_over",
            "The ledger does not tell any more what init has restored on the target.",
            "Run pg_migration_cleanup, empty the target and run init.",
        )
    skipped = frozenset((classid, objid) for classid, objid in detail["skipped"])
    return Archive(content, client, skipped)


@contextmanager
def _told_only_when_done(migration: Migration) -> Iterator[None]:
    """Forget the statements of the block when it fails, because they are rolled back."""
    entries = migration.log.entries
    before = len(entries)
    try:
        yield
    except BaseException:
        del entries[before:]
        raise


def _key(record: Record) -> dict[str, Any]:
    """Return the parameters of the queries: what is ours, and the default privileges that were there before.

    ``user_mappings`` are ours, too, as server and role.
    """
    return {
        "id": record.id,
        "ours": [oid for step in record.steps.values() for oid in step.detail.get("created", [])],
        "user_mappings": record.steps["post_data"].detail.get("user_mappings", [])
        if "post_data" in record.steps
        else [],
        "privileges_before": record.steps["pre_data"].detail["default_privileges"],
    }


def _stop_subscription(source: Session, target: Session, record: Record, name: str, comment: str) -> None:
    """Stop a subscription of ours; what it can drop in a transaction then waits for nobody."""
    found = replication.find_subscription(target, name)
    if found is not None and found.comment == comment:
        replication.stop_subscription(target, found)
        slots.end_sync_senders(source, found.oid, record.target.get("system_identifier"))


def _drop_subscription(session: Session, name: str, comment: str) -> dict[int, str]:
    """Drop a subscription of ours, which lets the servers copy by themselves; its slots are dropped on their own."""
    found = replication.find_subscription(session, name)
    if found is None or found.comment != comment:
        return {}
    replication.drop_own_subscription(session, name)
    return {found.oid: name}


def _drop_restored(migration: Migration, session: Session, archive: Archive, key: Mapping[str, Any]) -> None:
    last, first = schema.drops(migration, archive)
    replaced = [row["description"] for row in session.rows(_REPLACED, key)]
    if replaced:
        raise _in_the_way(replaced)
    before = _described(session.rows(_OTHERS, key))
    _run(migration, session, last)
    on_ours = [row["description"] for row in session.rows(_ON_OURS, key)]
    if on_ours:
        raise _in_the_way(on_ours)
    for server, role in key["user_mappings"]:
        session.execute(user_mappings.drop(server, role))
    for row in session.rows(_DEFAULT_PRIVILEGES, key):
        _reset_default_privileges(session, row)
    _run(migration, session, first)
    for kind, query in _SHARED:
        _drop_where_free(session, kind, [row["name"] for row in session.rows(query, key)])
    after = _described(session.rows(_OTHERS, key))
    gone = [description for item, description in before.items() if item not in after]
    if gone:
        raise _in_the_way(gone)


def _reset_default_privileges(session: Session, row: Row) -> None:
    where = sql.SQL(" IN SCHEMA {}").format(sql.Identifier(row["schema"])) if row["schema"] else sql.SQL("")
    begin = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} ").format(sql.Identifier(row["role"]), where)
    for action, way, grantees in (("REVOKE", "FROM", row["given"]), ("GRANT", "TO", row["usual"])):
        for grantee in grantees:
            who = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
            change = sql.SQL("{} ALL ON {} {} {}").format(sql.SQL(action), sql.SQL(row["kind"]), sql.SQL(way), who)
            session.execute(begin + change)


def _described(rows: Iterable[Row]) -> dict[tuple[int, int], str]:
    return {(row["classid"], row["objid"]): row["description"] for row in rows}


def _drop_where_free(session: Session, kind: str, names: Collection[str]) -> None:
    """Drop each of these unless something is in it, or needs it, that is not ours: then it stays and is used again."""
    for name in sorted(names):
        statement = sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(name))
        try:
            with session.transaction():
                session.connection.execute(statement)
        except psycopg.errors.DependentObjectsStillExist:
            continue
        session.log.add("target", session.text(statement))


def _run(migration: Migration, session: Session, script: bytes) -> None:
    for text in _shown(script):
        migration.log.add("target", text)
    result = session.connection.pgconn.exec_(script)
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY):
        return

    def field(which: Any) -> str:
        return migration.redactor.text((result.error_field(which) or b"").decode(errors="replace"))

    said, sqlstate = field(pq.DiagnosticField.MESSAGE_PRIMARY), field(pq.DiagnosticField.SQLSTATE)
    if sqlstate == "2BP01":  # dependent_objects_still_exist
        raise _in_the_way([said, *field(pq.DiagnosticField.MESSAGE_DETAIL).splitlines()])
    raise MigrationError(
        "cannot_start_over",
        f"The target refused to drop what init has restored: {said} (SQLSTATE {sqlstate}). Nothing was changed.",
        "Mend the cause and run the same command again; without resume: false init goes on where it ended.",
        {"sqlstate": sqlstate},
    )


def _in_the_way(objects: Sequence[str]) -> MigrationError:
    return MigrationError(
        "cannot_start_over",
        "What init has restored cannot be dropped, because others have made something on top of it: "
        f"{'; '.join(objects[:10])}. Nothing was changed.",
        "Drop these objects, or move them away, and run the same command again. Nothing that this migration did not make "
        "is dropped.",
        {"objects": list(objects)},
    )


def _reset(held: Claim, record: Record) -> None:
    ranges = large_objects.recorded(record)
    if ranges:
        held.finish(DROPPING_LARGE_OBJECTS, {"oids": ranges})
    for statement in _RESET:
        held.write(statement)


def rewrite_plan(claim: Claim, options: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Record the options and numbers with which a copy begins anew."""
    claim.write(
        "UPDATE seren_migrator.migration SET options = %(options)s, plan = plan || %(plan)s WHERE id = %(id)s",
        options=json.dumps(options),
        plan=json.dumps(plan),
    )


def _shown(script: bytes) -> list[str]:
    """Return the statements of a script for people, without the settings of the session."""
    parts = [" ".join(part.split()) for part in script.decode(errors="replace").split(";\n")]
    return [part for part in parts if part and not part.startswith(("--", "SET ", "SELECT pg_catalog.set_config"))]
