# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Partitions that were attached to a published table after the copy: find them, bring them in.

They are published through their root, but no subscription lists them, and apply skips them without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import additions, replication
from .catalog import OWN_SCHEMA, Catalog, Table
from .claim import Claim
from .driver import sql
from .errors import MigrationError
from .ledger import Record, Stream
from .session import Session

# The state, in the ledger, of a partition that we are about to let the subscription copy.
JOINING = "joining"

_RECORD = """
INSERT INTO seren_migrator.relation (migration_id, schema, name, kind, source_oid, stream, state, estimated_bytes)
VALUES (%(id)s, %(schema)s, %(name)s, 'table', %(oid)s, %(stream)s, %(state)s, 0)
ON CONFLICT (migration_id, schema, name)
DO UPDATE SET source_oid = excluded.source_oid, stream = excluded.stream, state = excluded.state
"""

# Leaf partitions of every partitioned table of which a given table is a partition.
_LEAVES = """
SELECT DISTINCT root.oid::bigint AS root, n.nspname AS schema, c.relname AS name
  FROM (SELECT DISTINCT pg_catalog.pg_partition_root(k.oid::pg_catalog.regclass)::oid AS oid
          FROM unnest(%(oids)s::oid[]) AS k(oid)) AS root
 CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid::pg_catalog.regclass) AS t
  JOIN pg_catalog.pg_class AS c ON c.oid = t.relid::oid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE root.oid IS NOT NULL AND t.isleaf AND c.relkind = 'r' AND c.relpersistence = 'p'
"""


@dataclass(frozen=True)
class NewPartition:
    """A partition of a migrated table that the migration does not know; ``is_published`` when its stream carries it."""

    schema: str
    name: str
    stream: int
    is_published: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def find(source: Session, record: Record) -> list[NewPartition]:
    """Return the relations that some stream publishes, or should publish, and no stream carries.

    A partition joins the publication of its root by itself. Where partitions are published one by one (a source 12, a
    row predicate, an excluded sibling, no primary key) it joins nothing, and is found by its root. One that an earlier
    run was bringing in is found again.
    """
    carried = [relation for relation in record.relations if relation.stream is not None and relation.state != JOINING]
    known = {(relation.schema, relation.name) for relation in carried}
    found: dict[tuple[str, str], NewPartition] = {}
    for stream in additions.settled_streams(record):
        for schema, name in sorted(replication.published_tables(source, stream.publication) - known):
            if (schema, name) != (OWN_SCHEMA, stream.marker):
                found.setdefault((schema, name), NewPartition(schema, name, stream.number, True))
    leaves = source.rows(_LEAVES, {"oids": [relation.source_oid for relation in carried]})
    stream_of = {(relation.schema, relation.name): relation.stream for relation in carried}
    root_streams = {row["root"]: stream_of[key] for row in leaves if (key := (row["schema"], row["name"])) in known}
    left_out = {(relation.schema, relation.name) for relation in record.relations if relation.stream is None}
    for row in leaves:
        key, number = (row["schema"], row["name"]), root_streams.get(row["root"])
        if key not in known and key not in left_out and key not in found and number is not None:
            found[key] = NewPartition(*key, number, False)
    return list(found.values())


def adopt(
    claim: Claim,
    source: Session,
    target: Session,
    record: Record,
    found: Sequence[NewPartition],
    predicates: Mapping[int, str],
) -> None:
    """Make the partitions on the target and let their subscriptions copy them; ``predicates`` are row filters by OID.

    The copy is PostgreSQL's own (REFRESH PUBLICATION with copy_data=true into empty tables), exact whenever a
    partition was attached. A refresh wants every published table to be there, so all are made before it. What a
    subscription lists already, because an earlier run ended on its way, is only recorded. Refused when another stream
    carries a table of the same publication: the refresh would bring that table in twice.
    """
    catalog = Catalog.read(source)
    for stream in additions.settled_streams(record):
        mine = [item for item in found if item.stream == stream.number]
        tables = [(item, table) for item in mine if (table := catalog.by_name.get((item.schema, item.name)))]
        subscription = replication.find_subscription(target, stream.subscription)
        listed = replication.subscription_tables(target, subscription.oid) if subscription else {}
        new = [(item, table) for item, table in tables if (item.schema, item.name) not in listed]
        if new:
            _refuse_when_shared(source, record, stream, new[0][0])
            _bring_in(claim, source, target, stream, catalog, new, predicates)
        for _item, table in tables:
            _record(claim, stream, table, "copied")


def _bring_in(
    claim: Claim,
    source: Session,
    target: Session,
    stream: Stream,
    catalog: Catalog,
    new: Sequence[tuple[NewPartition, Table]],
    predicates: Mapping[int, str],
) -> None:
    for _item, table in new:
        _refuse_without_identity(table)
    for _item, table in new:
        _create(source, target, catalog, table)
        if target.value(sql.SQL("SELECT 1 AS found FROM ONLY {} LIMIT 1").format(_identifier(table))):
            raise MigrationError(
                "target_not_empty",
                f"The new partition {table.qualified} already holds rows on the target.",
                "Empty it when they are not needed, and run sync again.",
            )
    for item, table in new:
        _record(claim, stream, table, JOINING)
        if not item.is_published:
            source.execute(
                replication.add_to_publication(stream.publication, table.schema, table.name, predicates.get(table.oid))
            )
    target.execute(replication.alter_subscription(stream.subscription, "REFRESH PUBLICATION WITH (copy_data = true)"))


def _record(claim: Claim, stream: Stream, table: Table, state: str) -> None:
    claim.write(_RECORD, schema=table.schema, name=table.name, oid=table.oid, stream=stream.number, state=state)


def _refuse_without_identity(table: Table) -> None:
    if table.has_usable_identity:
        return
    raise MigrationError(
        "schema_changed",
        f"The new partition {table.qualified} has no usable replica identity ({table.identity_verdict}): published, it "
        "refuses UPDATE and DELETE to the application.",
        "On the source give it a primary key, or: "
        + sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(_identifier(table)).as_string(None)
        + "; then run sync again.",
        {"partition": table.qualified, "identity": table.identity_verdict},
    )


def _identifier(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _refuse_when_shared(source: Session, record: Record, stream: Stream, partition: NewPartition) -> None:
    elsewhere = {(r.schema, r.name) for r in record.relations if r.stream not in (None, stream.number)}
    shared = replication.published_tables(source, stream.publication) & elsewhere
    if shared:
        names = ", ".join(sorted(f"{schema}.{name}" for schema, name in shared)[:5])
        raise MigrationError(
            "schema_changed",
            f"The partition {partition} was attached since the copy, but its publication {stream.publication} also "
            f"covers tables that another stream carries ({names}).",
            "Detach the partition until the cutover is done, or clean up and start again.",
            {"partition": str(partition), "publication": stream.publication},
        )


def _create(source: Session, target: Session, catalog: Catalog, table: Table) -> None:
    """Create a partition, and any partitioned table between it and what the target has."""
    present = Catalog.read(target).by_name
    chain: list[Table] = []
    step: Table | None = table
    while step is not None and (step.schema, step.name) not in present:
        chain.append(step)
        step = catalog.by_oid.get(step.parents[0]) if step.is_partition and step.parents else None
    if step is None:
        raise MigrationError(
            "schema_changed",
            f"{table.qualified} is published, but it is not a partition of a table that the target has.",
            "Remove it from the publication, or clean up and start again.",
        )
    for part in reversed(chain):
        parent = catalog.by_oid[part.parents[0]]
        row = source.row(
            "SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bound,"
            " pg_catalog.pg_get_partkeydef(c.oid) AS key FROM pg_catalog.pg_class AS c WHERE c.oid = %(oid)s",
            {"oid": part.oid},
        )
        if row is None:
            return  # gone again
        statement = sql.SQL("CREATE TABLE {} PARTITION OF {} {}").format(
            _identifier(part), _identifier(parent), sql.SQL(row["bound"])
        )
        if row["key"]:
            statement += sql.SQL(" PARTITION BY ") + sql.SQL(row["key"])
        with target.transaction():
            target.execute(statement)
            target.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(_identifier(part), sql.Identifier(part.owner)))
