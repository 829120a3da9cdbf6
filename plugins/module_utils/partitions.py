# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Partitions that were attached to a published table after the copy: find them, bring them in.

They are published through their root, but no subscription lists them, and apply skips them without an error.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import replication
from .catalog import OWN_SCHEMA, Catalog, Table
from .claim import Claim
from .driver import sql
from .errors import MigrationError
from .ledger import Record, Relation, Stream
from .session import Session

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
    row predicate, an excluded sibling) it joins nothing, and is found by its root.
    """
    carried = [relation for relation in record.relations if relation.stream is not None]
    known = {(relation.schema, relation.name) for relation in carried}
    found: dict[tuple[str, str], NewPartition] = {}
    for stream in record.live_streams:
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


def adopt(claim: Claim, source: Session, target: Session, record: Record, partition: NewPartition) -> None:
    """Make the partition on the target and let the subscription copy it.

    The copy is PostgreSQL's own (REFRESH PUBLICATION with copy_data=true into the empty table), exact whenever the
    partition was attached. Refused when another stream carries a table of the same publication: the refresh would
    bring that table in twice.
    """
    stream = next(item for item in record.live_streams if item.number == partition.stream)
    _refuse_when_shared(source, record, stream, partition)
    catalog = Catalog.read(source)
    table = catalog.by_name.get((partition.schema, partition.name))
    if table is None:
        return  # gone again
    _create(source, target, catalog, table)
    if target.value(sql.SQL("SELECT 1 AS found FROM ONLY {} LIMIT 1").format(_identifier(table))):
        raise MigrationError(
            "target_not_empty",
            f"The new partition {table.qualified} already holds rows on the target.",
            "Empty it when they are not needed, and run sync again.",
        )
    if not partition.is_published:
        source.execute(replication.add_to_publication(stream.publication, table.schema, table.name))
    target.execute(replication.alter_subscription(stream.subscription, "REFRESH PUBLICATION WITH (copy_data = true)"))
    claim.add_relation(
        Relation(table.schema, table.name, "table", table.oid, stream.number, "copied", None, None, None, table.bytes)
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
