# SPDX-License-Identifier: GPL-3.0-or-later
"""Relations, their columns, sequences."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    WEIRD,
    catalog,
    changed,
    extra,
    missing,
    renamed,
)

MUTATIONS = (
    # Relations.
    missing("DROP TABLE o.unlogged_table", "table", "o.unlogged_table"),
    extra("CREATE TABLE o.more (id serial PRIMARY KEY, b text CHECK (b <> ''))", "table", "o.more"),
    missing(f'DROP TABLE {WEIRD}."Täble; --"', "table", f'{WEIRD}."Täble; --"'),
    changed("ALTER TABLE o.unlogged_table SET LOGGED", "table", "o.unlogged_table", "persistence"),
    changed(
        "DROP TABLE o.listed; CREATE TABLE o.listed (id integer, at date) PARTITION BY HASH (id);ALTER TABLE o.listed REPLICA IDENTITY FULL",
        "table",
        "o.listed",
        "partition key",
    ),
    changed(
        "ALTER TABLE o.events DETACH PARTITION o.events_2;"
        "ALTER TABLE o.events ATTACH PARTITION o.events_2 FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')",
        "table",
        "o.events_2",
        "partition bound",
    ),
    changed(
        "ALTER TABLE o.child NO INHERIT o.parent",
        "table",
        "o.child",
        "inherits",
        also=(
            ("column", "o.child.a", "changed", frozenset({"declared", "position"})),
            ("column", "o.child.b", "changed", frozenset({"declared", "position"})),
            ("column", "o.child.d", "changed", frozenset({"position"})),
            ("constraint", "parent_a on o.child", "changed", frozenset({"declared"})),
        ),
    ),
    changed("ALTER TABLE o.plain_table SET (fillfactor = 70)", "table", "o.plain_table", "options"),
    changed(
        "ALTER TABLE o.plain_table SET (toast.autovacuum_enabled = false)", "table", "o.plain_table", "toast options"
    ),
    changed(
        catalog("pg_class", "relam = (SELECT oid FROM pg_am WHERE amname = 'second_heap')", "relname = 'parent'"),
        "table",
        "o.parent",
        "access method",
    ),
    changed("ALTER TABLE o.serial_table ENABLE ROW LEVEL SECURITY", "table", "o.serial_table", "row security"),
    changed("ALTER TABLE o.serial_table FORCE ROW LEVEL SECURITY", "table", "o.serial_table", "row security is forced"),
    changed("ALTER TABLE o.serial_table REPLICA IDENTITY FULL", "table", "o.serial_table", "replica identity"),
    changed("ALTER TABLE o.serial_table REPLICA IDENTITY NOTHING", "table", "o.serial_table", "replica identity"),
    changed("ALTER TABLE o.like_pair OF o.pair", "table", "o.like_pair", "of type"),
    missing("DROP FOREIGN TABLE o.far", "foreign table", "o.far"),
    extra("CREATE FOREIGN TABLE o.farther (id integer) SERVER ek_server", "foreign table", "o.farther"),
    changed("ALTER FOREIGN TABLE o.far OPTIONS (SET table_name 'else')", "foreign table", "o.far", "foreign options"),
    changed(
        catalog(
            "pg_foreign_table",
            "ftserver = (SELECT oid FROM pg_foreign_server WHERE srvname = 'ek_other_server')",
            "true",
        ),
        "foreign table",
        "o.far",
        "server",
    ),
    missing("DROP VIEW o.simple_view", "view", "o.simple_view"),
    extra("CREATE VIEW o.one AS SELECT 1 AS one", "view", "o.one"),
    changed(
        "CREATE OR REPLACE VIEW o.simple_view AS SELECT p.id, p.name, p.status FROM o.plain_table AS p"
        " WHERE p.status IN ('new', 'older') ORDER BY p.name",
        "view",
        "o.simple_view",
        "definition",
    ),
    changed(
        "CREATE OR REPLACE VIEW o.joined_view AS"
        " SELECT b.id, b.span, (SELECT count(*) FROM o.parent AS x WHERE x.a = a.id) AS parents"
        " FROM o.plain_table AS a JOIN o.other_table AS b ON b.plain_id = a.id",
        "view",
        "o.joined_view",
        "definition",
    ),
    changed("ALTER VIEW o.barrier_view RESET (security_barrier)", "view", "o.barrier_view", "options"),
    changed("ALTER VIEW o.barrier_view SET (check_option = cascaded)", "view", "o.barrier_view", "options"),
    changed(
        "ALTER VIEW o.simple_view ALTER COLUMN status SET DEFAULT 'new'", "column", "o.simple_view.status", "default"
    ),
    missing("DROP MATERIALIZED VIEW o.material", "materialized view", "o.material"),
    extra("CREATE MATERIALIZED VIEW o.more AS SELECT 1 AS one", "materialized view", "o.more"),
    changed("REFRESH MATERIALIZED VIEW o.material WITH NO DATA", "materialized view", "o.material", "populated"),
    changed("REFRESH MATERIALIZED VIEW o.empty_material", "materialized view", "o.empty_material", "populated"),
    changed(
        "DROP MATERIALIZED VIEW o.empty_material; CREATE MATERIALIZED VIEW o.empty_material AS SELECT 2 AS one WITH NO DATA",
        "materialized view",
        "o.empty_material",
        "definition",
    ),
    # Columns.
    missing(
        "ALTER TABLE o.plain_table DROP COLUMN sorted",
        "column",
        "o.plain_table.sorted",
        ("column", "o.plain_table.status", "changed", frozenset({"position"})),
        ("column", "o.plain_table.place", "changed", frozenset({"position"})),
    ),
    extra("ALTER TABLE o.plain_table ADD COLUMN more text", "column", "o.plain_table.more"),
    missing("ALTER TABLE o.plain_table DROP COLUMN place", "column", "o.plain_table.place"),
    changed(
        "ALTER TABLE o.plain_table DROP COLUMN status CASCADE;ALTER TABLE o.plain_table ADD COLUMN status character varying(20)"
        " CHECK (status IN ('new', 'old', 'it''s \"odd\"'));"
        " CREATE VIEW o.simple_view AS SELECT p.id, p.name, p.status FROM o.plain_table AS p WHERE p.status IN ('new', 'old')"
        " ORDER BY p.name;"
        " CREATE VIEW o.grouped_view AS SELECT status, count(*) AS total FROM o.plain_table GROUP BY status HAVING count(*) > 1",
        "column",
        "o.plain_table.status",
        "position",
        also=(("column", "o.plain_table.place", "changed", frozenset({"position"})),),
    ),
    changed(
        "ALTER TABLE o.parent ALTER COLUMN b TYPE character varying(30)",
        "column",
        "o.parent.b",
        "type",
        also=(("column", "o.child.b", "changed", frozenset({"type"})),),
    ),
    changed(
        'ALTER TABLE o.serial_table ALTER COLUMN value TYPE text COLLATE "C"',
        "column",
        "o.serial_table.value",
        "collation",
    ),
    changed("ALTER TABLE o.plain_table ALTER COLUMN name DROP NOT NULL", "column", "o.plain_table.name", "not null"),
    changed("ALTER TABLE o.plain_table ALTER COLUMN mood SET DEFAULT 'sad'", "column", "o.plain_table.mood", "default"),
    changed("ALTER TABLE o.plain_table ALTER COLUMN mood DROP DEFAULT", "column", "o.plain_table.mood", "default"),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN doubled SET EXPRESSION AS (amount * 3)",
        "column",
        "o.plain_table.doubled",
        "generated",
    ),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN doubled DROP EXPRESSION", "column", "o.plain_table.doubled", "generated"
    ),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN counted SET GENERATED ALWAYS",
        "column",
        "o.plain_table.counted",
        "identity",
    ),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN sorted SET STORAGE EXTERNAL",
        "column",
        "o.plain_table.sorted",
        "storage",
    ),
    changed("ALTER TABLE o.packed ALTER COLUMN body SET COMPRESSION default", "column", "o.packed.body", "compression"),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN sorted SET STATISTICS 200",
        "column",
        "o.plain_table.sorted",
        "statistics target",
    ),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN sorted SET STATISTICS 0",
        "column",
        "o.plain_table.sorted",
        "statistics target",
    ),
    changed(
        "ALTER TABLE o.plain_table ALTER COLUMN sorted SET (n_distinct = 5)",
        "column",
        "o.plain_table.sorted",
        "options",
    ),
    changed(
        "ALTER FOREIGN TABLE o.far ALTER COLUMN id OPTIONS (SET column_name 'else')",
        "column",
        "o.far.id",
        "foreign options",
    ),
    changed(
        catalog("pg_attribute", "attislocal = true", "attrelid = 'o.child'::regclass AND attname = 'a'"),
        "column",
        "o.child.a",
        "declared",
    ),
    renamed("ALTER TABLE o.packed RENAME COLUMN body TO corpus", "column", "o.packed.body", "o.packed.corpus"),
    changed(
        catalog("pg_attribute", "atttypmod = 9", "attrelid = 'o.simple_view'::regclass AND attname = 'status'"),
        "column",
        "o.simple_view.status",
        "type",
    ),
    # Sequences.
    missing("DROP SEQUENCE o.free_sequence", "sequence", "o.free_sequence"),
    extra("CREATE SEQUENCE o.more", "sequence", "o.more"),
    changed("ALTER SEQUENCE o.free_sequence SET UNLOGGED", "sequence", "o.free_sequence", "persistence"),
    changed(
        "ALTER SEQUENCE o.free_sequence AS integer MAXVALUE 2000000000",
        "sequence",
        "o.free_sequence",
        "type",
        "maximum",
    ),
    changed("ALTER SEQUENCE o.free_sequence START WITH 5", "sequence", "o.free_sequence", "start"),
    changed("ALTER SEQUENCE o.free_sequence INCREMENT BY 5", "sequence", "o.free_sequence", "increment"),
    changed("ALTER SEQUENCE o.free_sequence MINVALUE 0", "sequence", "o.free_sequence", "minimum"),
    changed("ALTER SEQUENCE o.free_sequence MAXVALUE 99", "sequence", "o.free_sequence", "maximum"),
    changed("ALTER SEQUENCE o.free_sequence CACHE 9", "sequence", "o.free_sequence", "cache"),
    changed("ALTER SEQUENCE o.free_sequence CYCLE", "sequence", "o.free_sequence", "cycles"),
    changed("ALTER SEQUENCE o.owned_sequence OWNED BY NONE", "sequence", "o.owned_sequence", "owned by"),
    changed("ALTER SEQUENCE o.plain_table_counted_seq CACHE 6", "sequence", "o.plain_table_counted_seq", "cache"),
)
