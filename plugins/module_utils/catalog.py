# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What a database holds, read from its system catalogs into frozen dataclasses.

Here belongs reading; which part takes part in a migration is decided in ``selection.py``. Works on PostgreSQL 12-18,
without superuser. Objects of extensions, system schemas and our own schema are never part of a catalog.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .session import Session

OWN_SCHEMA = "seren_migrator"

# User schemas: no system schema, not ours, no member of an extension.
_USER_SCHEMAS = """user_schema AS (
  SELECT n.oid, n.nspname, n.nspowner
    FROM pg_catalog.pg_namespace AS n
   WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND n.nspname <> 'seren_migrator'
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
                        AND d.objid = n.oid AND d.deptype = 'e'))"""

_USER_RELATIONS = (
    _USER_SCHEMAS
    + """, user_relation AS (
  SELECT c.*, s.nspname
    FROM pg_catalog.pg_class AS c
    JOIN user_schema AS s ON s.oid = c.relnamespace
   WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                        AND d.objid = c.oid AND d.deptype = 'e'))"""
)

_SCHEMAS = f"""
WITH {_USER_SCHEMAS}
SELECT s.oid, s.nspname AS name, pg_catalog.pg_get_userbyid(s.nspowner) AS owner
  FROM user_schema AS s
 ORDER BY s.nspname
"""

# The snapshot's own view of relfilenode: a plain read of pg_class obeys the transaction's snapshot.
_TABLES = f"""
WITH {_USER_RELATIONS},
key AS (
  SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, i.indisvalid,
         pg_catalog.array_agg(a.attname::text ORDER BY x.ord) AS columns
    FROM pg_catalog.pg_index AS i
   CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS x(attnum, ord)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = x.attnum
   WHERE (i.indisprimary OR i.indisreplident) AND x.ord <= i.indnkeyatts
   GROUP BY i.indexrelid, i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, i.indisvalid)
SELECT c.oid, c.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence AS persistence,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner, c.relreplident AS replica_identity,
       c.relispartition AS is_partition, c.relfilenode AS filenode, c.relpages AS pages,
       c.reltuples::bigint AS estimated_rows,
       CASE WHEN c.relkind IN ('r', 'p') THEN pg_catalog.row_security_active(c.oid) ELSE false END
         AS row_security_active,
       CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.pg_table_size(c.oid), 0) ELSE 0 END AS bytes,
       c.reltoastrelid <> 0 AND pg_catalog.pg_relation_size(c.reltoastrelid) > 0 AS has_wide_rows,
       (SELECT pg_catalog.array_agg(h.inhparent ORDER BY h.inhseqno)
          FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = c.oid) AS parents,
       pk.columns AS primary_key, pk.indimmediate AS primary_key_immediate,
       ri.columns AS identity_index, ri.indisvalid AS identity_index_valid,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                 'name', a.attname, 'number', a.attnum, 'type_oid', a.atttypid::bigint,
                 'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                 'generated', a.attgenerated, 'identity', a.attidentity) ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
  FROM user_relation AS c
  LEFT JOIN key AS pk ON pk.indrelid = c.oid AND pk.indisprimary
  LEFT JOIN key AS ri ON ri.indrelid = c.oid AND ri.indisreplident
 WHERE c.relkind IN ('r', 'p', 'f')
 ORDER BY c.nspname, c.relname
"""

# A domain leads to its base type, an array to its element; what remains decides how a column may be copied.
_LEAF_TYPES = f"""
WITH RECURSIVE {_USER_RELATIONS},
walk(root, typ) AS (
  SELECT DISTINCT a.atttypid, a.atttypid
    FROM user_relation AS c
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE c.relkind IN ('r', 'p')
   UNION
  SELECT w.root, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
    FROM walk AS w
    JOIN pg_catalog.pg_type AS t ON t.oid = w.typ
   WHERE t.typtype = 'd' OR (t.typelem <> 0 AND t.typlen = -1))
SELECT w.root::bigint AS root,
       pg_catalog.array_agg(DISTINCT CASE WHEN t.typtype = 'e' THEN 'enum'
                                 ELSE n.nspname || '.' || t.typname END) AS leaves
  FROM walk AS w
  JOIN pg_catalog.pg_type AS t ON t.oid = w.typ
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
 WHERE NOT (t.typtype = 'd' OR (t.typelem <> 0 AND t.typlen = -1))
 GROUP BY w.root
"""

_SEQUENCES = f"""
WITH {_USER_RELATIONS}
SELECT c.oid, c.nspname AS schema, c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       c.relpersistence AS persistence, d.refobjid::bigint AS owning_table, a.attname AS owning_column,
       pg_catalog.format_type(s.seqtypid, NULL) AS type, s.seqstart AS start, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum, s.seqcache AS cache, s.seqcycle AS cycles
  FROM user_relation AS c
  JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = c.oid
  LEFT JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
   AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 ORDER BY c.nspname, c.relname
"""

# References of a materialized view's rule, through plain views, to other materialized views: the refresh order.
_MATERIALIZED_VIEWS = f"""
WITH RECURSIVE {_USER_RELATIONS},
uses(view, used) AS (
  SELECT DISTINCT r.ev_class, d.refobjid
    FROM pg_catalog.pg_rewrite AS r
    JOIN pg_catalog.pg_depend AS d
      ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class),
reach(view, used) AS (
  SELECT u.view, u.used FROM uses AS u
   UNION
  SELECT r.view, u.used FROM reach AS r JOIN uses AS u ON u.view = r.used)
SELECT c.oid, c.nspname AS schema, c.relname AS name, c.relispopulated AS is_populated,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       coalesce((SELECT pg_catalog.array_agg(r.used) FROM reach AS r
                   JOIN pg_catalog.pg_class AS k ON k.oid = r.used AND k.relkind = 'm'
                  WHERE r.view = c.oid AND r.used <> c.oid), '{{}}') AS depends_on,
       coalesce((SELECT pg_catalog.array_agg(r.used) FROM reach AS r
                   JOIN pg_catalog.pg_class AS k ON k.oid = r.used AND k.relkind IN ('r', 'p', 'f')
                  WHERE r.view = c.oid), '{{}}') AS reads_tables
  FROM user_relation AS c
 WHERE c.relkind = 'm'
 ORDER BY c.nspname, c.relname
"""

_FOREIGN_KEYS = f"""
WITH {_USER_RELATIONS}
SELECT f.oid, f.conname AS name, f.conrelid::bigint AS table, f.confrelid::bigint AS referenced,
       f.convalidated AS is_validated, f.conparentid::bigint AS parent,
       pg_catalog.pg_get_constraintdef(f.oid) AS definition
  FROM pg_catalog.pg_constraint AS f
  JOIN user_relation AS c ON c.oid = f.conrelid
 WHERE f.contype = 'f'
 ORDER BY f.conrelid, f.conname
"""

_DATABASE = """
SELECT d.oid::bigint AS oid, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
       pg_catalog.to_jsonb(d) AS raw,
       (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() AS s) AS system_identifier,
       pg_catalog.pg_postmaster_start_time()::text AS started,
       (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
       (SELECT s.reset_val = 'on' FROM pg_catalog.pg_settings AS s
         WHERE s.name = 'standard_conforming_strings') AS has_standard_strings
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
"""


@dataclass(frozen=True)
class Column:
    """A column. ``generated`` is '', 's' (stored) or 'v' (virtual); ``identity`` is '', 'a' or 'd'.

    ``leaf_types`` are what remains of the type behind domains and arrays: ``schema.type`` names, or ``enum``.
    """

    name: str
    number: int
    type_oid: int
    type: str
    not_null: bool
    generated: str
    identity: str
    leaf_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table (kind r), partitioned table (p) or foreign table (f).

    ``filenode`` is what the reading transaction's snapshot saw;
    ``has_wide_rows`` is true when some values are TOASTed; ``replica_identity`` is d, n, f or i as in pg_class;
    ``identity_verdict`` says in a word whether UPDATE and DELETE can be published; ``parents`` are the tables it is a
    partition or an inheritance child of.
    """

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    owner: str
    replica_identity: str
    is_partition: bool
    filenode: int
    pages: int
    estimated_rows: int
    bytes: int
    has_wide_rows: bool
    row_security_active: bool
    parents: tuple[int, ...]
    columns: tuple[Column, ...]
    identity_verdict: str
    identity_columns: tuple[str, ...]
    primary_key: tuple[str, ...]

    @property
    def qualified(self) -> str:
        """``schema.table`` for people: plain, not quoted for SQL."""
        return f"{self.schema}.{self.name}"

    @property
    def has_usable_identity(self) -> bool:
        """True when UPDATE and DELETE go on working on the source once the table is published."""
        return self.identity_verdict in ("ok", "full")

    @property
    def is_identified_by_primary_key(self) -> bool:
        """True when the replica identity is the default one and a primary key that is not deferrable serves it."""
        return self.replica_identity == "d" and self.identity_verdict == "ok"

    @property
    def stores_rows(self) -> bool:
        """True for what holds rows of its own in this database (plain tables and leaf partitions)."""
        return self.kind == "r"

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """The columns that travel: all but the generated ones."""
        return tuple(column for column in self.columns if not column.generated)


@dataclass(frozen=True)
class Sequence:
    """A sequence with its definition; ``owning_table`` is an OID or None."""

    oid: int
    schema: str
    name: str
    owner: str
    persistence: str
    owning_table: int | None
    owning_column: str | None
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cache: int
    cycles: bool

    @property
    def qualified(self) -> str:
        """``schema.sequence`` for people."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class MaterializedView:
    """A materialized view, the materialized views it needs first and the tables it reads (OIDs)."""

    oid: int
    schema: str
    name: str
    owner: str
    is_populated: bool
    depends_on: tuple[int, ...]
    reads_tables: tuple[int, ...]

    @property
    def qualified(self) -> str:
        """``schema.view`` for people."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key; ``parent`` is the OID of the partitioned table's constraint it belongs to, or 0."""

    oid: int
    name: str
    table: int
    referenced: int
    is_validated: bool
    parent: int
    definition: str


@dataclass(frozen=True)
class Schema:
    """A schema."""

    oid: int
    name: str
    owner: str


@dataclass(frozen=True)
class Database:
    """The database itself. ``raw`` is its whole pg_database row, so that newer columns need no newer code.

    ``has_standard_strings`` is False where a new session of ours would take a backslash in a string for an escape.
    """

    oid: int
    name: str
    owner: str
    encoding: str
    raw: dict[str, Any]
    system_identifier: str
    started: str
    large_objects: int
    has_standard_strings: bool = True


@dataclass(frozen=True)
class Catalog:
    """Everything of one database that a migration can move, or the selected part of it."""

    version: int
    database: Database
    schemas: tuple[Schema, ...]
    tables: tuple[Table, ...]
    sequences: tuple[Sequence, ...]
    materialized_views: tuple[MaterializedView, ...]
    foreign_keys: tuple[ForeignKey, ...]

    @cached_property
    def by_oid(self) -> dict[int, Table]:
        """Tables by OID."""
        return {table.oid: table for table in self.tables}

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Table]:
        """Tables by (schema, name)."""
        return {(table.schema, table.name): table for table in self.tables}

    def root_of(self, table: Table) -> Table:
        """Return the topmost partitioned table above a partition, or the table itself."""
        while table.is_partition and table.parents and table.parents[0] in self.by_oid:
            table = self.by_oid[table.parents[0]]
        return table

    @classmethod
    def read(cls, session: Session) -> Catalog:
        """Read the catalog of the connected database as the session's transaction sees it."""
        leaf_types, database, schemas, tables, sequences, views, keys = session.rows_of(
            _LEAF_TYPES, _DATABASE, _SCHEMAS, _TABLES, _SEQUENCES, _MATERIALIZED_VIEWS, _FOREIGN_KEYS
        )
        leaves = {row["root"]: tuple(row["leaves"]) for row in leaf_types}
        return cls(
            version=session.version,
            database=Database(**database[0]),
            schemas=tuple(Schema(**row) for row in schemas),
            tables=tuple(_table(row, leaves) for row in tables),
            sequences=tuple(Sequence(**row) for row in sequences),
            materialized_views=tuple(
                MaterializedView(
                    **{**row, "depends_on": tuple(row["depends_on"]), "reads_tables": tuple(row["reads_tables"])}
                )
                for row in views
            ),
            foreign_keys=tuple(ForeignKey(**row) for row in keys),
        )

    def keeping(self, tables: tuple[Table, ...], schemas: tuple[Schema, ...]) -> Catalog:
        """Return the part of this catalog that belongs to the given tables and schemas."""
        oids = {table.oid for table in tables}
        names = {schema.name for schema in schemas}
        left_out = {table.oid for table in self.tables} - oids
        return replace(
            self,
            schemas=schemas,
            tables=tables,
            sequences=tuple(
                item for item in self.sequences if item.schema in names and item.owning_table not in left_out
            ),
            materialized_views=tuple(
                view
                for view in self.materialized_views
                if view.schema in names and not left_out & set(view.reads_tables)
            ),
            foreign_keys=tuple(key for key in self.foreign_keys if key.table in oids and key.referenced in oids),
        )


def _identity_verdict(row: dict[str, Any]) -> str:
    """Say whether the replica identity works: a deferrable primary key does not count, nor an invalid index."""
    setting = row["replica_identity"]
    if setting == "n":
        return "nothing"
    if setting == "f":
        return "full"
    if setting == "i":
        if row["identity_index"] is None:
            return "index_dropped"
        return "ok" if row["identity_index_valid"] else "index_invalid"
    if row["primary_key"] is None:
        return "no_primary_key"
    return "ok" if row["primary_key_immediate"] else "deferrable_primary_key"


def _table(row: dict[str, Any], leaves: dict[int, tuple[str, ...]]) -> Table:
    verdict = _identity_verdict(row)
    columns = tuple(Column(**column, leaf_types=leaves.get(column["type_oid"], ())) for column in row["columns"] or ())
    identity = row["identity_index"] if row["replica_identity"] == "i" else row["primary_key"]
    return Table(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        kind=row["kind"],
        persistence=row["persistence"],
        owner=row["owner"],
        replica_identity=row["replica_identity"],
        is_partition=row["is_partition"],
        filenode=row["filenode"],
        pages=row["pages"],
        estimated_rows=row["estimated_rows"],
        bytes=row["bytes"],
        has_wide_rows=bool(row["has_wide_rows"]),
        row_security_active=row["row_security_active"],
        parents=tuple(row["parents"] or ()),
        columns=columns,
        identity_verdict=verdict,
        identity_columns=tuple(identity or ()) if verdict == "ok" else (),
        primary_key=tuple(row["primary_key"] or ()),
    )
