# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes to the target, one at a time, and the one difference that each of them is.

Where SQL has no statement for an attribute, the catalog is written to: the comparison reads nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MISSING, EXTRA = "missing", "extra"


@dataclass(frozen=True)
class Mutation:
    """`sql` makes `kind` `name` differ in `attributes`; `what` is changed, missing or extra. `also` lists more of them."""

    sql: str
    kind: str
    name: str
    attributes: frozenset[str] = frozenset()
    what: str = "changed"
    also: tuple[tuple[str, str, str, frozenset[str]], ...] = ()

    @property
    def expected(self) -> set[tuple[str, str, str, frozenset[str]]]:
        return {(self.kind, self.name, self.what, self.attributes), *self.also}

    def __str__(self) -> str:
        return f"{self.kind}-{'-'.join(sorted(self.attributes)) or self.what}-{self.sql[:60]}"


def changed(
    sql: str, kind: str, name: str, *attributes: str, also: tuple[tuple[str, str, str, frozenset[str]], ...] = ()
) -> Mutation:
    return Mutation(sql, kind, name, frozenset(attributes), also=also)


def missing(sql: str, kind: str, name: str, *also: tuple[str, str, str, frozenset[str]]) -> Mutation:
    return Mutation(sql, kind, name, what=MISSING, also=also)


def extra(sql: str, kind: str, name: str, *also: tuple[str, str, str, frozenset[str]]) -> Mutation:
    return Mutation(sql, kind, name, what=EXTRA, also=also)


def renamed(sql: str, kind: str, old: str, new: str) -> Mutation:
    return Mutation(sql, kind, old, what=MISSING, also=((kind, new, EXTRA, frozenset()),))


def catalog(table: str, assignment: str, where: str) -> str:
    return f"UPDATE pg_catalog.{table} SET {assignment} WHERE {where}"


def label(classid: str, objid: str, subid: int = 0) -> str:
    return f"INSERT INTO pg_catalog.pg_seclabel VALUES ({objid}, 'pg_catalog.{classid}'::regclass, {subid}, 'ek', 'secret')"


WEIRD = '"Weird ""Schema""; --"'
WEIRD_ROLE = '"Weird ""Röle""; --"'
TYPE = "typname = 'whole'"
AGGREGATE = "aggfnoid = 'o.total'::regproc"


def comments() -> Iterator[Mutation]:
    """A comment on everything that can have one."""
    for kind, name, words in (
        ("database", "the database", "DATABASE ek_database"),
        ("schema", "o", "SCHEMA o"),
        ("schema", "public", "SCHEMA public"),
        ("table", "o.plain_table", "TABLE o.plain_table"),
        ("table", f'{WEIRD}."Täble; --"', f'TABLE {WEIRD}."Täble; --"'),
        ("foreign table", "o.far", "FOREIGN TABLE o.far"),
        ("view", "o.simple_view", "VIEW o.simple_view"),
        ("materialized view", "o.material", "MATERIALIZED VIEW o.material"),
        ("sequence", "o.free_sequence", "SEQUENCE o.free_sequence"),
        ("column", "o.plain_table.name", "COLUMN o.plain_table.name"),
        ("column", f'{WEIRD}."Täble; --"."col ""umn"""', f'COLUMN {WEIRD}."Täble; --"."col ""umn"""'),
        ("column", "o.pair.one", "COLUMN o.pair.one"),
        ("column", "o.simple_view.id", "COLUMN o.simple_view.id"),
        ("constraint", "named_unique on o.plain_table", "CONSTRAINT named_unique ON o.plain_table"),
        ("constraint", "code_length on o.code", "CONSTRAINT code_length ON DOMAIN o.code"),
        ("index", "o.plain_upper", "INDEX o.plain_upper"),
        ("index", "o.named_unique", "INDEX o.named_unique"),
        ("statistics object", "o.correlated", "STATISTICS o.correlated"),
        ("trigger", "touched on o.plain_table", "TRIGGER touched ON o.plain_table"),
        ("rule", "quiet on o.serial_table", "RULE quiet ON o.serial_table"),
        ("policy", "visible on o.plain_table", "POLICY visible ON o.plain_table"),
        ("event trigger", "ek_watch", "EVENT TRIGGER ek_watch"),
        ("function", "o.add(integer,integer)", "FUNCTION o.add(integer, integer)"),
        ("procedure", "o.act(integer)", "PROCEDURE o.act(integer)"),
        ("aggregate", "o.total(integer)", "AGGREGATE o.total(integer)"),
        ("language", "ek_language", "LANGUAGE ek_language"),
        ("cast", "(integer AS o.pair)", "CAST (integer AS o.pair)"),
        ("transform", "for integer language ek_language", "TRANSFORM FOR integer LANGUAGE ek_language"),
        ("type", "o.mood", "TYPE o.mood"),
        ("type", "o.pair", "TYPE o.pair"),
        ("domain", "o.code", "DOMAIN o.code"),
        ("collation", "o.plain", "COLLATION o.plain"),
        ("operator", "o.<<<(o.pair,o.pair)", "OPERATOR o.<<< (o.pair, o.pair)"),
        ("operator family", "o.pairs USING btree", "OPERATOR FAMILY o.pairs USING btree"),
        ("operator class", "o.pair_ops USING btree", "OPERATOR CLASS o.pair_ops USING btree"),
        ("access method", "second_heap", "ACCESS METHOD second_heap"),
        ("conversion", "o.convert", "CONVERSION o.convert"),
        ("text search configuration", "o.search", "TEXT SEARCH CONFIGURATION o.search"),
        ("text search dictionary", "o.words", "TEXT SEARCH DICTIONARY o.words"),
        ("text search parser", "o.parser", "TEXT SEARCH PARSER o.parser"),
        ("text search template", "o.template", "TEXT SEARCH TEMPLATE o.template"),
        ("foreign-data wrapper", "ek_wrapper", "FOREIGN DATA WRAPPER ek_wrapper"),
        ("server", "ek_server", "SERVER ek_server"),
        ("extension", "citext", "EXTENSION citext"),
    ):
        yield changed(f"COMMENT ON {words} IS 'it''s \"changed\"'", kind, name, "comment")
    yield changed("COMMENT ON LARGE OBJECT 900001 IS 'changed'", "large objects", "of the database", "comments")


def owners() -> Iterator[Mutation]:
    """Another owner for everything that has one. Where PostgreSQL moves privileges along, they follow the owner."""
    for kind, name, words in (
        ("sequence", "o.free_sequence", "SEQUENCE o.free_sequence"),
        ("statistics object", "o.correlated", "STATISTICS o.correlated"),
        ("event trigger", "ek_watch", "EVENT TRIGGER ek_watch"),
        ("collation", "o.plain", "COLLATION o.plain"),
        ("operator", "o.<<<(o.pair,o.pair)", "OPERATOR o.<<< (o.pair, o.pair)"),
        ("operator family", "o.pairs USING btree", "OPERATOR FAMILY o.pairs USING btree"),
        ("operator class", "o.pair_ops USING btree", "OPERATOR CLASS o.pair_ops USING btree"),
        ("conversion", "o.convert", "CONVERSION o.convert"),
        ("text search configuration", "o.search", "TEXT SEARCH CONFIGURATION o.search"),
        ("text search dictionary", "o.words", "TEXT SEARCH DICTIONARY o.words"),
        ("table", f'{WEIRD}."Täble; --"', f'TABLE {WEIRD}."Täble; --"'),
        ("foreign table", "o.far", "FOREIGN TABLE o.far"),
        ("view", "o.simple_view", "VIEW o.simple_view"),
        ("materialized view", "o.material", "MATERIALIZED VIEW o.material"),
        ("schema", "o", "SCHEMA o"),
        ("database", "the database", "DATABASE ek_database"),
        ("function", "o.add(integer,integer)", "FUNCTION o.add(integer, integer)"),
        ("procedure", "o.act(integer)", "PROCEDURE o.act(integer)"),
        ("aggregate", "o.total(integer)", "AGGREGATE o.total(integer)"),
        ("language", "ek_language", "LANGUAGE ek_language"),
        ("type", "o.mood", "TYPE o.mood"),
        ("type", "o.pair", "TYPE o.pair"),
        ("domain", "o.code", "DOMAIN o.code"),
        ("server", "ek_server", "SERVER ek_server"),
        ("foreign-data wrapper", "ek_wrapper", "FOREIGN DATA WRAPPER ek_wrapper"),
    ):
        role = "postgres_too" if words.startswith(("EVENT", "FOREIGN DATA")) else WEIRD_ROLE
        attributes = ["owner"]
        if kind not in (
            "statistics object",
            "event trigger",
            "collation",
            "operator",
            "operator family",
            "operator class",
            "conversion",
            "text search configuration",
            "text search dictionary",
        ):
            attributes.append("privileges")
        yield changed(f"ALTER {words} OWNER TO {role}", kind, name, *attributes)
    yield changed(
        "ALTER LARGE OBJECT 900001 OWNER TO ek_other", "large objects", "of the database", "owners and privileges"
    )


def grants() -> Iterator[Mutation]:
    """A privilege more on everything that has some."""
    for kind, name, privilege, words in (
        ("database", "the database", "CREATE", "DATABASE ek_database"),
        ("schema", "o", "CREATE", "SCHEMA o"),
        ("table", "o.plain_table", "DELETE", "o.plain_table"),
        ("foreign table", "o.far", "SELECT", "o.far"),
        ("view", "o.simple_view", "SELECT", "o.simple_view"),
        ("materialized view", "o.material", "SELECT", "o.material"),
        ("sequence", "o.free_sequence", "USAGE", "SEQUENCE o.free_sequence"),
        ("column", "o.plain_table.id", "SELECT (id)", "o.plain_table"),
        ("column", "o.plain_table.name", "UPDATE (name)", "o.plain_table"),
        ("foreign-data wrapper", "ek_wrapper", "USAGE", "FOREIGN DATA WRAPPER ek_wrapper"),
        ("server", "ek_server", "USAGE", "FOREIGN SERVER ek_server"),
    ):
        yield changed(f"GRANT {privilege} ON {words} TO {WEIRD_ROLE}", kind, name, "privileges")
    for kind, name, words in (
        ("function", "o.add(integer,integer)", "EXECUTE ON FUNCTION o.add"),
        ("procedure", "o.act(integer)", "EXECUTE ON PROCEDURE o.act"),
        ("aggregate", "o.total(integer)", "EXECUTE ON FUNCTION o.total(integer)"),
        ("type", "o.mood", "USAGE ON TYPE o.mood"),
        ("type", "o.pair", "USAGE ON TYPE o.pair"),
        ("domain", "o.code", "USAGE ON DOMAIN o.code"),
        ("database", "the database", "CONNECT ON DATABASE ek_database"),
    ):
        yield changed(f"REVOKE {words} FROM PUBLIC", kind, name, "privileges")
    other = "SET LOCAL ROLE ek_reader; GRANT SELECT ON o.other_table TO ek_other; RESET ROLE"
    yield changed(f"GRANT USAGE ON SCHEMA o TO ek_reader; {other}", "table", "o.other_table", "privileges", "grantors")
    yield changed(
        "GRANT SELECT ON o.plain_table TO ek_reader WITH GRANT OPTION", "table", "o.plain_table", "privileges"
    )
    yield changed("REVOKE INSERT ON o.plain_table FROM ek_reader", "table", "o.plain_table", "privileges")
    yield changed("REVOKE ALL ON o.serial_table FROM postgres", "table", "o.serial_table", "privileges")
    yield changed("GRANT ALL ON o.serial_table TO PUBLIC", "table", "o.serial_table", "privileges")
    yield changed(
        "GRANT SELECT ON LARGE OBJECT 900001 TO ek_other", "large objects", "of the database", "owners and privileges"
    )
    for kind, name, acl in (
        ("schema", "o", "pg_namespace SET nspacl = {} WHERE nspname = 'o'"),
        ("view", "o.simple_view", "pg_class SET relacl = {} WHERE oid = 'o.simple_view'::regclass"),
        ("materialized view", "o.material", "pg_class SET relacl = {} WHERE oid = 'o.material'::regclass"),
        ("foreign table", "o.far", "pg_class SET relacl = {} WHERE oid = 'o.far'::regclass"),
        ("sequence", "o.free_sequence", "pg_class SET relacl = {} WHERE oid = 'o.free_sequence'::regclass"),
        (
            "column",
            "o.plain_table.id",
            "pg_attribute SET attacl = {} WHERE attrelid = 'o.plain_table'::regclass AND attname = 'id'",
        ),
        ("function", "o.add(integer,integer)", "pg_proc SET proacl = {} WHERE proname = 'add'"),
        ("procedure", "o.act(integer)", "pg_proc SET proacl = {} WHERE proname = 'act'"),
        ("aggregate", "o.total(integer)", "pg_proc SET proacl = {} WHERE proname = 'total'"),
        ("type", "o.mood", "pg_type SET typacl = {} WHERE typname = 'mood'"),
        ("domain", "o.code", "pg_type SET typacl = {} WHERE typname = 'code'"),
        ("language", "ek_language", "pg_language SET lanacl = {} WHERE lanname = 'ek_language'"),
        ("foreign-data wrapper", "ek_wrapper", "pg_foreign_data_wrapper SET fdwacl = {} WHERE fdwname = 'ek_wrapper'"),
        ("server", "ek_server", "pg_foreign_server SET srvacl = {} WHERE srvname = 'ek_server'"),
        ("database", "the database", "pg_database SET datacl = {} WHERE datname = 'ek_database'"),
        (
            "default privileges",
            "for role ek_owner in schema o on tables",
            "pg_default_acl SET defaclacl = {} WHERE defaclnamespace <> 0",
        ),
    ):
        letter = {"schema": "U", "function": "X", "procedure": "X", "aggregate": "X", "database": "C"}.get(kind)
        letter = letter or ("U" if kind in ("type", "domain", "language", "foreign-data wrapper", "server") else "r")
        value = f"""'{{ek_other={letter}/ek_reader}}'"""
        yield changed(f"UPDATE pg_catalog.{acl.format(value)}", kind, name, "privileges", "grantors")


def labels() -> Iterator[Mutation]:
    """A security label on everything that can have one (there is no provider for tests: the catalog is written)."""
    for kind, name, classid, objid, subid in (
        ("schema", "o", "pg_namespace", "'o'::regnamespace", 0),
        ("table", "o.plain_table", "pg_class", "'o.plain_table'::regclass", 0),
        ("foreign table", "o.far", "pg_class", "'o.far'::regclass", 0),
        ("view", "o.simple_view", "pg_class", "'o.simple_view'::regclass", 0),
        ("materialized view", "o.material", "pg_class", "'o.material'::regclass", 0),
        ("sequence", "o.free_sequence", "pg_class", "'o.free_sequence'::regclass", 0),
        ("column", "o.plain_table.id", "pg_class", "'o.plain_table'::regclass", 1),
        ("function", "o.add(integer,integer)", "pg_proc", "'o.add'::regproc", 0),
        ("type", "o.mood", "pg_type", "'o.mood'::regtype", 0),
        ("domain", "o.code", "pg_type", "'o.code'::regtype", 0),
        ("event trigger", "ek_watch", "pg_event_trigger", "(SELECT oid FROM pg_event_trigger)", 0),
        ("language", "ek_language", "pg_language", "(SELECT oid FROM pg_language WHERE lanname = 'ek_language')", 0),
    ):
        yield changed(label(classid, objid, subid), kind, name, "security labels")
    yield changed(
        "INSERT INTO pg_catalog.pg_shseclabel SELECT oid, 'pg_catalog.pg_database'::regclass, 'ek', 'secret'"
        " FROM pg_database WHERE datname = 'ek_database'",
        "database",
        "the database",
        "security labels",
    )


DATABASE = "datname = 'ek_database'"
PLAIN = (
    # The database.
    changed(
        catalog("pg_database", "encoding = 8", DATABASE),
        "database",
        "the database",
        "encoding",
        also=(("collation", "o.plain", "changed", frozenset({"encoding"})),),
    ),
    changed(catalog("pg_database", "datcollate = 'POSIX'", DATABASE), "database", "the database", "collation"),
    changed(catalog("pg_database", "datctype = 'POSIX'", DATABASE), "database", "the database", "ctype"),
    changed(catalog("pg_database", "datlocprovider = 'i'", DATABASE), "database", "the database", "locale provider"),
    changed(catalog("pg_database", "datlocale = 'de'", DATABASE), "database", "the database", "locale"),
    changed(catalog("pg_database", "daticurules = '&a<b'", DATABASE), "database", "the database", "locale rules"),
    changed("ALTER DATABASE ek_database CONNECTION LIMIT 7", "database", "the database", "connection limit"),
    changed("ALTER DATABASE ek_database IS_TEMPLATE true", "database", "the database", "template"),
    changed("ALTER DATABASE ek_database SET work_mem = '7MB'", "database", "the database", "setting work_mem"),
    changed("ALTER DATABASE ek_database SET app.key = 'secret'", "database", "the database", "setting app.key"),
    # Schemas and extensions.
    changed(f"GRANT CREATE ON SCHEMA public TO {WEIRD_ROLE}", "schema", "public", "granted"),
    changed("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema", "public", "granted"),
    changed("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "schema", "public", "revoked"),
    changed("ALTER SCHEMA public OWNER TO ek_owner", "schema", "public", "owner"),
    renamed("ALTER SCHEMA moved RENAME TO moved_on", "schema", "moved", "moved_on"),
    missing("DROP SCHEMA moved", "schema", "moved"),
    extra("CREATE SCHEMA more", "schema", "more"),
    missing("DROP EXTENSION citext", "extension", "citext"),
    extra("CREATE EXTENSION btree_gist SCHEMA moved", "extension", "btree_gist"),
    changed("ALTER EXTENSION citext SET SCHEMA moved", "extension", "citext", "schema"),
    changed(catalog("pg_extension", "extversion = '0.9'", "extname = 'citext'"), "extension", "citext", "version"),
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
    # Constraints, indexes, statistics.
    missing(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive", "constraint", "amount_positive on o.plain_table"
    ),
    missing("ALTER TABLE o.plain_table DROP CONSTRAINT named_unique", "constraint", "named_unique on o.plain_table"),
    extra(
        "ALTER TABLE o.serial_table ADD CONSTRAINT more CHECK (value <> 'x')", "constraint", "more on o.serial_table"
    ),
    extra(
        "ALTER TABLE o.serial_table ADD CONSTRAINT unique_value UNIQUE (value)",
        "constraint",
        "unique_value on o.serial_table",
    ),
    missing("ALTER DOMAIN o.code DROP CONSTRAINT code_length", "constraint", "code_length on o.code"),
    extra("ALTER DOMAIN o.amount ADD CONSTRAINT more CHECK (VALUE > 0)", "constraint", "more on o.amount"),
    changed(
        "ALTER DOMAIN o.code DROP CONSTRAINT code_length; ALTER DOMAIN o.code ADD CONSTRAINT code_length CHECK (length(VALUE) > 2)",
        "constraint",
        "code_length on o.code",
        "definition",
    ),
    changed(
        "ALTER DOMAIN o.code DROP CONSTRAINT code_length;"
        "ALTER DOMAIN o.code ADD CONSTRAINT code_length CHECK (length(VALUE) > 1) NOT VALID",
        "constraint",
        "code_length on o.code",
        "validated",
    ),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount >= 0)",
        "constraint",
        "amount_positive on o.plain_table",
        "definition",
    ),
    changed(
        "ALTER TABLE o.other_table DROP CONSTRAINT refers; ALTER TABLE o.other_table ADD CONSTRAINT refers"
        " FOREIGN KEY (plain_id) REFERENCES o.plain_table (id) ON DELETE SET NULL",
        "constraint",
        "refers on o.other_table",
        "definition",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers DEFERRABLE",
        "constraint",
        "refers on o.other_table",
        "deferrable",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers DEFERRABLE INITIALLY DEFERRED",
        "constraint",
        "refers on o.other_table",
        "deferrable",
    ),
    changed("ALTER TABLE o.unchecked VALIDATE CONSTRAINT later", "constraint", "later on o.unchecked", "validated"),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount > 0) NO INHERIT",
        "constraint",
        "amount_positive on o.plain_table",
        "no inherit",
    ),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount > 0) NOT VALID",
        "constraint",
        "amount_positive on o.plain_table",
        "validated",
    ),
    changed(
        "ALTER TABLE o.child ADD CONSTRAINT parent_a CHECK (a > 0)", "constraint", "parent_a on o.child", "declared"
    ),
    renamed(
        "ALTER TABLE o.plain_table RENAME CONSTRAINT amount_positive TO positive",
        "constraint",
        "amount_positive on o.plain_table",
        "positive on o.plain_table",
    ),
    missing("DROP INDEX o.plain_upper", "index", "o.plain_upper"),
    extra("CREATE INDEX more ON o.parent (b)", "index", "o.more"),
    changed(
        "DROP INDEX o.material_id; CREATE INDEX material_id ON o.material (name)",
        "index",
        "o.material_id",
        "definition",
    ),
    changed(
        "DROP INDEX o.plain_upper; CREATE INDEX plain_upper ON o.plain_table (upper(name), (amount + 1)) WHERE amount > 6",
        "index",
        "o.plain_upper",
        "definition",
    ),
    changed("ALTER INDEX o.plain_upper SET (fillfactor = 60)", "index", "o.plain_upper", "definition"),
    changed(
        catalog("pg_index", "indisvalid = false", "indexrelid = 'o.plain_upper'::regclass"),
        "index",
        "o.plain_upper",
        "valid",
    ),
    changed("ALTER TABLE o.plain_table CLUSTER ON plain_table_pkey", "index", "o.plain_table_pkey", "clustered"),
    changed(
        "ALTER TABLE o.serial_table REPLICA IDENTITY USING INDEX plain_sorted",
        "index",
        "o.plain_sorted",
        "replica identity",
        also=(("table", "o.serial_table", "changed", frozenset({"replica identity"})),),
    ),
    changed(
        "ALTER INDEX o.plain_upper ALTER COLUMN 1 SET STATISTICS 300", "index", "o.plain_upper", "statistics targets"
    ),
    changed(
        "DELETE FROM pg_inherits WHERE inhrelid = 'o.events_1_at_idx'::regclass",
        "index",
        "o.events_1_at_idx",
        "partition of",
    ),
    missing("DROP STATISTICS o.correlated", "statistics object", "o.correlated"),
    extra("CREATE STATISTICS o.more ON a, b FROM o.parent", "statistics object", "o.more"),
    changed(
        "DROP STATISTICS o.correlated; CREATE STATISTICS o.correlated (mcv) ON name, amount FROM o.plain_table",
        "statistics object",
        "o.correlated",
        "definition",
    ),
    changed(
        "ALTER STATISTICS o.correlated SET STATISTICS 50", "statistics object", "o.correlated", "statistics target"
    ),
    # What acts by itself.
    missing("DROP TRIGGER touched ON o.plain_table", "trigger", "touched on o.plain_table"),
    extra(
        "CREATE TRIGGER more BEFORE DELETE ON o.parent FOR EACH ROW EXECUTE FUNCTION o.touch()",
        "trigger",
        "more on o.parent",
    ),
    changed(
        "CREATE OR REPLACE TRIGGER touched BEFORE UPDATE ON o.plain_table FOR EACH ROW EXECUTE FUNCTION o.touch_too()",
        "trigger",
        "touched on o.plain_table",
        "definition",
    ),
    changed(
        "CREATE OR REPLACE TRIGGER touched BEFORE UPDATE ON o.plain_table FOR EACH ROW WHEN (OLD.id > 0)"
        " EXECUTE FUNCTION o.touch()",
        "trigger",
        "touched on o.plain_table",
        "definition",
    ),
    changed("ALTER TABLE o.plain_table DISABLE TRIGGER touched", "trigger", "touched on o.plain_table", "enabled"),
    changed(
        "ALTER TABLE o.plain_table DISABLE TRIGGER always_touched",
        "trigger",
        "always_touched on o.plain_table",
        "enabled",
    ),
    changed(
        "ALTER TABLE o.plain_table ENABLE REPLICA TRIGGER touched", "trigger", "touched on o.plain_table", "enabled"
    ),
    extra("ALTER TABLE o.events_1 DISABLE TRIGGER cloned", "trigger", "cloned on o.events_1"),
    missing("DROP TRIGGER view_trigger ON o.joined_view", "trigger", "view_trigger on o.joined_view"),
    missing("DROP RULE quiet ON o.serial_table", "rule", "quiet on o.serial_table"),
    extra("CREATE RULE more AS ON DELETE TO o.parent DO INSTEAD NOTHING", "rule", "more on o.parent"),
    changed(
        "CREATE OR REPLACE RULE quiet AS ON DELETE TO o.serial_table DO ALSO NOTHING",
        "rule",
        "quiet on o.serial_table",
        "definition",
    ),
    changed("ALTER TABLE o.serial_table DISABLE RULE quiet", "rule", "quiet on o.serial_table", "enabled"),
    missing("DROP POLICY visible ON o.plain_table", "policy", "visible on o.plain_table"),
    extra("CREATE POLICY more ON o.parent", "policy", "more on o.parent"),
    changed(
        "DROP POLICY visible ON o.plain_table;"
        "CREATE POLICY visible ON o.plain_table FOR DELETE TO ek_reader, ek_other USING (name = CURRENT_USER)",
        "policy",
        "visible on o.plain_table",
        "command",
    ),
    changed(
        "DROP POLICY visible ON o.plain_table;"
        "CREATE POLICY visible ON o.plain_table AS RESTRICTIVE FOR SELECT TO ek_reader, ek_other USING (name = CURRENT_USER)",
        "policy",
        "visible on o.plain_table",
        "permissive",
    ),
    changed("ALTER POLICY visible ON o.plain_table TO ek_reader", "policy", "visible on o.plain_table", "roles"),
    changed("ALTER POLICY visible ON o.plain_table TO PUBLIC", "policy", "visible on o.plain_table", "roles"),
    changed("ALTER POLICY visible ON o.plain_table USING (true)", "policy", "visible on o.plain_table", "using"),
    changed(
        "ALTER POLICY writable ON o.plain_table WITH CHECK (id > 1)",
        "policy",
        "writable on o.plain_table",
        "with check",
    ),
    missing("DROP EVENT TRIGGER ek_watch", "event trigger", "ek_watch"),
    extra("CREATE EVENT TRIGGER ek_more ON sql_drop EXECUTE FUNCTION o.on_ddl()", "event trigger", "ek_more"),
    changed(
        catalog("pg_event_trigger", "evtevent = 'ddl_command_start'", "true"), "event trigger", "ek_watch", "event"
    ),
    changed(
        catalog("pg_event_trigger", "evtfoid = 'o.on_ddl_too'::regproc", "true"),
        "event trigger",
        "ek_watch",
        "function",
    ),
    changed("ALTER EVENT TRIGGER ek_watch ENABLE", "event trigger", "ek_watch", "enabled"),
    changed(catalog("pg_event_trigger", "evttags = '{CREATE TABLE}'", "true"), "event trigger", "ek_watch", "tags"),
    # Routines.
    missing("DROP FUNCTION o.add(integer, integer)", "function", "o.add(integer,integer)"),
    extra("CREATE FUNCTION o.add(a text) RETURNS text LANGUAGE sql AS 'SELECT a'", "function", "o.add(text)"),
    missing("DROP PROCEDURE o.act", "procedure", "o.act(integer)"),
    extra("CREATE PROCEDURE o.more() LANGUAGE sql AS 'SELECT 1'", "procedure", "o.more()"),
    missing("DROP AGGREGATE o.total(integer)", "aggregate", "o.total(integer)"),
    extra("CREATE AGGREGATE o.more(integer) (SFUNC = o.step, STYPE = bigint)", "aggregate", "o.more(integer)"),
    *(
        changed(f"ALTER FUNCTION o.add(integer, integer) {words}", "function", "o.add(integer,integer)", attribute)
        for words, attribute in (
            ("IMMUTABLE", "volatility"),
            ("STRICT", "strict"),
            ("SECURITY DEFINER", "security definer"),
            ("LEAKPROOF", "leakproof"),
            ("PARALLEL SAFE", "parallel"),
            ("COST 7", "cost"),
            ("SET work_mem = '7MB'", "settings"),
        )
    ),
    changed("ALTER FUNCTION o.lines() ROWS 77", "function", "o.lines()", "rows"),
    changed(
        "CREATE OR REPLACE FUNCTION o.add(a integer, b integer DEFAULT 1) RETURNS integer LANGUAGE sql AS 'SELECT a - b'",
        "function",
        "o.add(integer,integer)",
        "body",
    ),
    changed(
        "CREATE OR REPLACE FUNCTION o.add(a integer, b integer DEFAULT 2) RETURNS integer LANGUAGE sql AS 'SELECT a + b'",
        "function",
        "o.add(integer,integer)",
        "arguments",
    ),
    changed(
        catalog(
            "pg_proc", "prolang = (SELECT oid FROM pg_language WHERE lanname = 'ek_language')", "proname = 'touch'"
        ),
        "function",
        "o.touch()",
        "language",
    ),
    changed(
        "CREATE OR REPLACE FUNCTION o.atomic(a integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT a + 2; END",
        "function",
        "o.atomic(integer)",
        "body",
    ),
    changed(
        "CREATE OR REPLACE PROCEDURE o.act(x integer) LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END'",
        "procedure",
        "o.act(integer)",
        "body",
    ),
    changed(catalog("pg_proc", "procost = 7", "proname = 'total'"), "aggregate", "o.total(integer)", "cost"),
    changed(
        "ALTER FUNCTION o.step STABLE; " + catalog("pg_proc", "provolatile = 's'", "proname IN ('total', 'step')"),
        "aggregate",
        "o.total(integer)",
        "volatility",
        also=(("function", "o.step(bigint,integer)", "changed", frozenset({"volatility"})),),
    ),
    changed(
        catalog("pg_proc", "prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql')", "proname = 'total'"),
        "aggregate",
        "o.total(integer)",
        "language",
    ),
    changed(catalog("pg_proc", "prorettype = 23", "proname = 'total'"), "aggregate", "o.total(integer)", "result"),
    changed(catalog("pg_proc", "procost = 7", "proname = 'act'"), "procedure", "o.act(integer)", "cost"),
    changed(
        catalog("pg_proc", "prolang = (SELECT oid FROM pg_language WHERE lanname = 'ek_language')", "proname = 'act'"),
        "procedure",
        "o.act(integer)",
        "language",
    ),
    changed(
        "CREATE OR REPLACE PROCEDURE o.act(x integer DEFAULT 1) LANGUAGE plpgsql AS 'BEGIN NULL; END'",
        "procedure",
        "o.act(integer)",
        "arguments",
    ),
    changed("ALTER PROCEDURE o.act SECURITY DEFINER", "procedure", "o.act(integer)", "security definer"),
    changed("ALTER PROCEDURE o.act SET work_mem = '7MB'", "procedure", "o.act(integer)", "settings"),
    changed(
        "DROP FUNCTION o.add_too; CREATE FUNCTION o.add_too(a integer, b integer) RETURNS bigint LANGUAGE sql AS 'SELECT a + b'",
        "function",
        "o.add_too(integer,integer)",
        "result",
    ),
    changed(
        catalog("pg_proc", "probin = '/somewhere'", "proname = 'whole_in'"),
        "function",
        "o.whole_in(cstring)",
        "library",
    ),
    changed(
        catalog("pg_proc", "prokind = 'w'", "proname = 'add_too'"), "function", "o.add_too(integer,integer)", "window"
    ),
    changed(
        catalog("pg_proc", "prosupport = 'textlike_support'::regproc", "proname = 'support_free'"),
        "function",
        "o.support_free(integer)",
        "support",
    ),
    changed(catalog("pg_proc", "protrftypes = '{23}'", "proname = 'touch'"), "function", "o.touch()", "transforms"),
    *(
        changed(catalog("pg_aggregate", assignment, AGGREGATE), "aggregate", "o.total(integer)", attribute)
        for assignment, attribute in (
            ("aggtranstype = 'integer'::regtype", "state type"),
            ("aggtransspace = 9", "state size"),
            ("agginitval = '1'", "initial value"),
            ("aggtransfn = 'o.step_too'::regproc", "state function"),
            ("aggfinalfn = 'o.finish'::regproc", "final function"),
            ("aggfinalextra = true", "final function takes extra arguments"),
            ("aggfinalmodify = 'w'", "final function modifies"),
            ("aggcombinefn = 'o.combine'::regproc", "combine function"),
            ("aggserialfn = 'o.finish'::regproc", "serialization function"),
            ("aggdeserialfn = 'o.finish'::regproc", "deserialization function"),
            ("aggmtranstype = 20", "moving state type"),
            ("aggmtransspace = 9", "moving state size"),
            ("aggminitval = '1'", "moving initial value"),
            ("aggmtransfn = 'o.step'::regproc", "moving state function"),
            ("aggminvtransfn = 'o.step'::regproc", "moving inverse function"),
            ("aggmfinalfn = 'o.finish'::regproc", "moving final function"),
            ("aggmfinalextra = true", "moving final function takes extra arguments"),
            ("aggsortop = 'pg_catalog.<(integer,integer)'::regoperator", "sort operator"),
        )
    ),
    changed(
        catalog("pg_aggregate", "aggkind = 'o'", AGGREGATE),
        "aggregate",
        "o.total(integer)",
        "aggregate kind",
        "arguments",
    ),
    changed(
        catalog("pg_aggregate", "aggmfinalfn = 'o.finish'::regproc, aggmfinalmodify = 'w'", AGGREGATE),
        "aggregate",
        "o.total(integer)",
        "moving final function",
        "moving final function modifies",
    ),
    missing(
        "DROP TRANSFORM FOR integer LANGUAGE ek_language; DROP LANGUAGE ek_language",
        "language",
        "ek_language",
        ("transform", "for integer language ek_language", MISSING, frozenset()),
    ),
    extra("CREATE LANGUAGE ek_more HANDLER plpgsql_call_handler", "language", "ek_more"),
    changed(
        catalog("pg_language", "lanpltrusted = true", "lanname = 'ek_language'"), "language", "ek_language", "trusted"
    ),
    changed(
        catalog("pg_language", "lanplcallfoid = 'o.touch'::regproc", "lanname = 'ek_language'"),
        "language",
        "ek_language",
        "handler",
    ),
    changed(
        catalog("pg_language", "laninline = 0", "lanname = 'ek_language'"), "language", "ek_language", "inline handler"
    ),
    changed(
        catalog("pg_language", "lanvalidator = 0", "lanname = 'ek_language'"), "language", "ek_language", "validator"
    ),
    missing("DROP CAST (integer AS o.pair)", "cast", "(integer AS o.pair)"),
    extra("CREATE CAST (text AS o.pair) WITH INOUT", "cast", "(text AS o.pair)"),
    changed(
        "DROP CAST (integer AS o.pair); CREATE CAST (integer AS o.pair) WITH FUNCTION o.to_pair(integer) AS IMPLICIT",
        "cast",
        "(integer AS o.pair)",
        "context",
    ),
    changed(
        "DROP CAST (integer AS o.pair); CREATE CAST (integer AS o.pair) WITH FUNCTION o.to_pair_too(integer)",
        "cast",
        "(integer AS o.pair)",
        "method",
    ),
    missing("DROP TRANSFORM FOR integer LANGUAGE ek_language", "transform", "for integer language ek_language"),
    extra(
        "CREATE TRANSFORM FOR bigint LANGUAGE ek_language (FROM SQL WITH FUNCTION prsd_lextype(internal))",
        "transform",
        "for bigint language ek_language",
    ),
    changed(
        catalog("pg_transform", "trffromsql = 'o.from_sql'::regproc", "true"),
        "transform",
        "for integer language ek_language",
        "from SQL",
    ),
    changed(
        catalog("pg_transform", "trftosql = 'o.to_pair'::regproc", "true"),
        "transform",
        "for integer language ek_language",
        "to SQL",
    ),
    # Types.
    missing("DROP TYPE o.shelled", "type", "o.shelled"),
    extra("CREATE TYPE o.more AS ENUM ('a')", "type", "o.more"),
    extra("CREATE TYPE o.more AS (a integer)", "type", "o.more"),
    missing("DROP DOMAIN o.amount", "domain", "o.amount"),
    extra("CREATE DOMAIN o.more AS text CHECK (VALUE <> 'x')", "domain", "o.more"),
    changed("ALTER TYPE o.mood ADD VALUE 'better'", "type", "o.mood", "labels"),
    changed(
        "ALTER TYPE o.mood RENAME VALUE 'ok' TO 'fine'",
        "type",
        "o.mood",
        "labels",
        also=(("column", "o.plain_table.mood", "changed", frozenset({"default"})),),
    ),
    changed(catalog("pg_enum", "enumsortorder = 9", "enumlabel = 'ok'"), "type", "o.mood", "labels"),
    extra(
        "ALTER TYPE o.pair ADD ATTRIBUTE three integer CASCADE",
        "column",
        "o.pair.three",
        ("column", "o.typed.three", EXTRA, frozenset()),
    ),
    changed(
        "ALTER TYPE o.pair ALTER ATTRIBUTE two TYPE character varying(9) CASCADE",
        "column",
        "o.pair.two",
        "type",
        also=(("column", "o.typed.two", "changed", frozenset({"type"})),),
    ),
    changed("DROP TYPE o.shelled; CREATE TYPE o.shelled AS ENUM ()", "type", "o.shelled", "form"),
    changed("DROP DOMAIN o.amount; CREATE DOMAIN o.amount AS numeric(12, 3)", "domain", "o.amount", "base type"),
    changed(catalog("pg_type", "typcollation = 100", "typname = 'code'"), "domain", "o.code", "collation"),
    changed("ALTER DOMAIN o.amount SET NOT NULL", "domain", "o.amount", "not null"),
    changed("ALTER DOMAIN o.code SET DEFAULT 'some'", "domain", "o.code", "default"),
    changed("ALTER DOMAIN o.code DROP DEFAULT", "domain", "o.code", "default"),
    *(
        changed(catalog("pg_range", assignment, "rngtypid = 'o.spell'::regtype"), "type", "o.spell", attribute)
        for assignment, attribute in (
            ("rngsubtype = 1043", "subtype"),
            ("rngcollation = 950", "subtype collation"),
            ("rngcanonical = 'o.touch'::regproc", "canonical function"),
            ("rngsubdiff = 'o.text_distance_too'::regproc", "difference function"),
            ("rngmultitypid = 23", "multirange"),
            (
                "rngsubopc = (SELECT oid FROM pg_opclass WHERE opcname = 'text_pattern_ops' AND opcmethod = 403)",
                "operator class",
            ),
        )
    ),
    *(
        changed(catalog("pg_type", assignment, TYPE), "type", "o.whole", attribute)
        for assignment, attribute in (
            ("typinput = 'int4in'::regproc", "input function"),
            ("typoutput = 'int4out'::regproc", "output function"),
            ("typreceive = 'int4recv'::regproc", "receive function"),
            ("typsend = 'int4send'::regproc", "send function"),
            ("typmodin = 'numerictypmodin'::regproc", "type modifier input function"),
            ("typmodout = 'numerictypmodout'::regproc", "type modifier output function"),
            ("typanalyze = 'array_typanalyze'::regproc", "analyze function"),
            ("typsubscript = 'raw_array_subscript_handler'::regproc", "subscript function"),
            ("typlen = 8", "internal length"),
            ("typbyval = false", "passed by value"),
            ("typalign = 'c'", "alignment"),
            ("typstorage = 'e'", "storage"),
            ("typcategory = 'N'", "category"),
            ("typispreferred = true", "preferred"),
            ("typdelim = ';'", "delimiter"),
            ("typelem = 23", "element"),
            ("typcollation = 100", "collatable"),
            ("typdefault = '7'", "default"),
        )
    ),
    missing("DROP COLLATION o.plain", "collation", "o.plain"),
    extra("CREATE COLLATION o.more (LOCALE = 'C')", "collation", "o.more"),
    *(
        changed(catalog("pg_collation", assignment, "collname = 'plain'"), "collation", "o.plain", attribute)
        for assignment, attribute in (
            ("collcollate = 'POSIX'", "locale"),
            ("collctype = 'POSIX'", "ctype"),
            ("collisdeterministic = false", "deterministic"),
            ("collicurules = '&a<b'", "rules"),
            ("collencoding = 8", "encoding"),
        )
    ),
    changed(
        catalog("pg_collation", "collprovider = 'i'", "collname = 'plain'"), "collation", "o.plain", "provider", "ctype"
    ),
    # Operators and the like.
    missing("DROP OPERATOR o.<<< (o.pair, o.pair)", "operator", "o.<<<(o.pair,o.pair)"),
    extra(
        "CREATE OPERATOR o.>>> (FUNCTION = o.equal, LEFTARG = o.pair, RIGHTARG = o.pair)",
        "operator",
        "o.>>>(o.pair,o.pair)",
    ),
    changed(
        catalog(
            "pg_operator", "oprcode = 'o.compare'::regproc", "oprname = '<<<'  AND oprnamespace = 'o'::regnamespace"
        ),
        "operator",
        "o.<<<(o.pair,o.pair)",
        "function",
    ),
    missing(  # nobody can use it any more
        catalog("pg_operator", "oprcode = 0", "oprname = '<<<'  AND oprnamespace = 'o'::regnamespace"),
        "operator",
        "o.<<<(o.pair,o.pair)",
    ),
    changed(catalog("pg_operator", "oprcom = 0", "oprname = '==='"), "operator", "o.===(o.pair,o.pair)", "commutator"),
    changed(catalog("pg_operator", "oprnegate = 0", "oprname = '==='"), "operator", "o.===(o.pair,o.pair)", "negator"),
    changed(
        "ALTER OPERATOR o.=== (o.pair, o.pair) SET (RESTRICT = NONE)",
        "operator",
        "o.===(o.pair,o.pair)",
        "restriction estimator",
    ),
    changed(
        "ALTER OPERATOR o.=== (o.pair, o.pair) SET (JOIN = NONE)", "operator", "o.===(o.pair,o.pair)", "join estimator"
    ),
    changed("ALTER OPERATOR o.=== (o.pair, o.pair) SET (MERGES)", "operator", "o.===(o.pair,o.pair)", "merges"),
    changed("ALTER OPERATOR o.=== (o.pair, o.pair) SET (HASHES)", "operator", "o.===(o.pair,o.pair)", "hashes"),
    missing("DROP OPERATOR FAMILY o.more_pairs USING btree", "operator family", "o.more_pairs USING btree"),
    extra("CREATE OPERATOR FAMILY o.most USING hash", "operator family", "o.most USING hash"),
    changed(
        "ALTER OPERATOR FAMILY o.more_pairs USING btree ADD OPERATOR 1 o.<<< (o.pair, o.pair)",
        "operator family",
        "o.more_pairs USING btree",
        "operators",
    ),
    changed(
        "ALTER OPERATOR FAMILY o.more_pairs USING btree ADD FUNCTION 1 o.compare(o.pair, o.pair)",
        "operator family",
        "o.more_pairs USING btree",
        "functions",
    ),
    missing(
        "DROP OPERATOR CLASS o.pair_ops USING btree",
        "operator class",
        "o.pair_ops USING btree",
        ("operator family", "o.pairs USING btree", "changed", frozenset({"operators", "functions"})),
    ),
    extra(
        "CREATE OPERATOR CLASS o.more_ops FOR TYPE o.pair USING btree FAMILY o.more_pairs AS STORAGE o.pair",
        "operator class",
        "o.more_ops USING btree",
    ),
    changed(
        catalog("pg_opclass", "opcdefault = true", "opcname = 'pair_ops'"),
        "operator class",
        "o.pair_ops USING btree",
        "default",
    ),
    changed(
        catalog("pg_opclass", "opcintype = 23", "opcname = 'pair_ops'"),
        "operator class",
        "o.pair_ops USING btree",
        "type",
    ),
    changed(
        catalog("pg_opclass", "opckeytype = 23", "opcname = 'pair_ops'"),
        "operator class",
        "o.pair_ops USING btree",
        "storage",
    ),
    changed(
        catalog(
            "pg_opclass",
            "opcfamily = (SELECT oid FROM pg_opfamily WHERE opfname = 'more_pairs')",
            "opcname = 'pair_ops'",
        ),
        "operator class",
        "o.pair_ops USING btree",
        "family",
    ),
    missing("DROP ACCESS METHOD second_heap", "access method", "second_heap"),
    extra("CREATE ACCESS METHOD third_heap TYPE TABLE HANDLER heap_tableam_handler", "access method", "third_heap"),
    changed(
        "DROP ACCESS METHOD second_btree; CREATE ACCESS METHOD second_btree TYPE INDEX HANDLER hashhandler",
        "access method",
        "second_btree",
        "handler",
    ),
    changed(catalog("pg_am", "amtype = 'i'", "amname = 'second_heap'"), "access method", "second_heap", "type"),
    missing("DROP CONVERSION o.convert", "conversion", "o.convert"),
    extra("CREATE CONVERSION o.more FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "conversion", "o.more"),
    changed(catalog("pg_conversion", "conforencoding = 9", "conname = 'convert'"), "conversion", "o.convert", "from"),
    changed(catalog("pg_conversion", "contoencoding = 9", "conname = 'convert'"), "conversion", "o.convert", "to"),
    changed(
        catalog("pg_conversion", "conproc = 'iso8859_to_utf8'::regproc", "conname = 'convert'"),
        "conversion",
        "o.convert",
        "function",
    ),
    changed(catalog("pg_conversion", "condefault = true", "conname = 'convert'"), "conversion", "o.convert", "default"),
    # Text search.
    missing("DROP TEXT SEARCH CONFIGURATION o.search", "text search configuration", "o.search"),
    extra("CREATE TEXT SEARCH CONFIGURATION o.more (COPY = o.search)", "text search configuration", "o.more"),
    changed(
        "ALTER TEXT SEARCH CONFIGURATION o.search ALTER MAPPING FOR asciiword WITH simple, o.words",
        "text search configuration",
        "o.search",
        "mappings",
    ),
    changed(
        "ALTER TEXT SEARCH CONFIGURATION o.search DROP MAPPING FOR email",
        "text search configuration",
        "o.search",
        "mappings",
    ),
    changed(
        catalog(
            "pg_ts_config", "cfgparser = (SELECT oid FROM pg_ts_parser WHERE prsname = 'parser')", "cfgname = 'search'"
        ),
        "text search configuration",
        "o.search",
        "parser",
    ),
    missing(
        "ALTER TEXT SEARCH CONFIGURATION o.search ALTER MAPPING FOR asciiword WITH simple; DROP TEXT SEARCH DICTIONARY o.words",
        "text search dictionary",
        "o.words",
        ("text search configuration", "o.search", "changed", frozenset({"mappings"})),
    ),
    extra("CREATE TEXT SEARCH DICTIONARY o.more (TEMPLATE = simple)", "text search dictionary", "o.more"),
    changed("ALTER TEXT SEARCH DICTIONARY o.words (accept = false)", "text search dictionary", "o.words", "options"),
    changed(
        catalog(
            "pg_ts_dict",
            "dicttemplate = (SELECT oid FROM pg_ts_template WHERE tmplname = 'template')",
            "dictname = 'words'",
        ),
        "text search dictionary",
        "o.words",
        "template",
    ),
    missing("DROP TEXT SEARCH PARSER o.parser", "text search parser", "o.parser"),
    extra(
        "CREATE TEXT SEARCH PARSER o.more (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)",
        "text search parser",
        "o.more",
    ),
    *(
        changed(
            catalog("pg_ts_parser", f"{column} = 'dsimple_init'::regproc", "prsname = 'parser'"),
            "text search parser",
            "o.parser",
            attribute,
        )
        for column, attribute in (
            ("prsstart", "start function"),
            ("prstoken", "token function"),
            ("prsend", "end function"),
            ("prsheadline", "headline function"),
            ("prslextype", "token types function"),
        )
    ),
    missing("DROP TEXT SEARCH TEMPLATE o.template", "text search template", "o.template"),
    extra("CREATE TEXT SEARCH TEMPLATE o.more (LEXIZE = dsimple_lexize)", "text search template", "o.more"),
    changed(
        catalog("pg_ts_template", "tmplinit = 'prsd_start'::regproc", "tmplname = 'template'"),
        "text search template",
        "o.template",
        "init function",
    ),
    changed(
        catalog("pg_ts_template", "tmpllexize = 'prsd_start'::regproc", "tmplname = 'template'"),
        "text search template",
        "o.template",
        "lexize function",
    ),
    # Foreign data.
    missing("DROP FOREIGN DATA WRAPPER ek_other_wrapper", "foreign-data wrapper", "ek_other_wrapper"),
    extra("CREATE FOREIGN DATA WRAPPER ek_more", "foreign-data wrapper", "ek_more"),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_wrapper OPTIONS (SET debug 'false')",
        "foreign-data wrapper",
        "ek_wrapper",
        "option values",
    ),
    changed(
        catalog("pg_foreign_data_wrapper", "fdwhandler = 'o.touch'::regproc", "fdwname = 'ek_wrapper'"),
        "foreign-data wrapper",
        "ek_wrapper",
        "handler",
    ),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_other_wrapper VALIDATOR postgresql_fdw_validator",
        "foreign-data wrapper",
        "ek_other_wrapper",
        "validator",
    ),
    missing("DROP SERVER ek_other_server", "server", "ek_other_server"),
    extra("CREATE SERVER ek_more FOREIGN DATA WRAPPER ek_wrapper", "server", "ek_more"),
    changed(
        "ALTER FOREIGN DATA WRAPPER ek_wrapper OPTIONS (ADD more 'yes')",
        "foreign-data wrapper",
        "ek_wrapper",
        "options",
        "option values",
    ),
    changed(
        "ALTER SERVER ek_server OPTIONS (ADD password 'secret')", "server", "ek_server", "options", "option values"
    ),
    changed("ALTER SERVER ek_server OPTIONS (SET host 'elsewhere')", "server", "ek_server", "option values"),
    changed("ALTER SERVER ek_server VERSION '2'", "server", "ek_server", "version"),
    changed(catalog("pg_foreign_server", "srvtype = 'other'", "srvname = 'ek_server'"), "server", "ek_server", "type"),
    changed(
        catalog(
            "pg_foreign_server",
            "srvfdw = (SELECT oid FROM pg_foreign_data_wrapper WHERE fdwname = 'ek_other_wrapper')",
            "srvname = 'ek_server'",
        ),
        "server",
        "ek_server",
        "wrapper",
    ),
    missing("DROP USER MAPPING FOR ek_reader SERVER ek_server", "user mapping", "for ek_reader on server ek_server"),
    extra("CREATE USER MAPPING FOR PUBLIC SERVER ek_server", "user mapping", "for PUBLIC on server ek_server"),
    changed(
        "ALTER USER MAPPING FOR ek_reader SERVER ek_server OPTIONS (SET password 'other')",
        "user mapping",
        "for ek_reader on server ek_server",
        "option values",
    ),
    changed(
        "ALTER USER MAPPING FOR ek_reader SERVER ek_server OPTIONS (DROP password)",
        "user mapping",
        "for ek_reader on server ek_server",
        "options",
        "option values",
    ),
    # The rest.
    missing(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner IN SCHEMA o REVOKE SELECT ON TABLES FROM ek_reader",
        "default privileges",
        "for role ek_owner in schema o on tables",
    ),
    extra(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner GRANT USAGE ON SEQUENCES TO ek_reader",
        "default privileges",
        "for role ek_owner on sequences",
    ),
    extra(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_other GRANT USAGE ON TYPES TO ek_reader",
        "default privileges",
        "for role ek_other on types",
    ),
    changed(
        "ALTER DEFAULT PRIVILEGES FOR ROLE ek_owner IN SCHEMA o GRANT INSERT ON TABLES TO ek_reader",
        "default privileges",
        "for role ek_owner in schema o on tables",
        "privileges",
    ),
    missing("SELECT lo_unlink(900001), lo_unlink(900002)", "large objects", "of the database"),
    changed("SELECT lo_unlink(900002)", "large objects", "of the database", "count", "OIDs", "owners and privileges"),
    changed("SELECT lo_create(900003)", "large objects", "of the database", "count", "OIDs", "owners and privileges"),
    missing(
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) FROM ek_reader",
        "changed privileges",
        "function pg_read_file(text)",
    ),
    extra(
        "REVOKE EXECUTE ON FUNCTION public.citext_eq(public.citext, public.citext) FROM PUBLIC",
        "changed privileges",
        "function public.citext_eq(public.citext,public.citext)",
    ),
    changed(
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO ek_other",
        "changed privileges",
        "function pg_read_file(text)",
        "granted",
    ),
    extra("GRANT INSERT ON pg_catalog.pg_proc TO ek_other", "changed privileges", "table pg_proc"),
    changed("REVOKE SELECT ON pg_catalog.pg_settings FROM PUBLIC", "changed privileges", "view pg_settings", "revoked"),
)

EVERY = (*PLAIN, *comments(), *owners(), *grants(), *labels())

# Of 18 on the target, from a source of the same major: what older ones do not know.
OF_18 = (
    missing("ALTER TABLE o.virtual_table DROP CONSTRAINT believed", "constraint", "believed on o.virtual_table"),
    changed(
        "ALTER TABLE o.virtual_table DROP COLUMN gross; ALTER TABLE o.virtual_table ADD COLUMN gross numeric GENERATED ALWAYS AS (net * 3) VIRTUAL",
        "column",
        "o.virtual_table.gross",
        "generated",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP COLUMN gross; ALTER TABLE o.virtual_table ADD COLUMN gross numeric GENERATED ALWAYS AS (net * 2) STORED",
        "column",
        "o.virtual_table.gross",
        "generated",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT believed; ALTER TABLE o.virtual_table ADD CONSTRAINT believed CHECK (net > 0)",
        "constraint",
        "believed on o.virtual_table",
        "enforced",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers NOT ENFORCED",
        "constraint",
        "refers on o.other_table",
        "enforced",
    ),
    renamed(
        "ALTER TABLE o.virtual_table RENAME CONSTRAINT virtual_id TO other_id",
        "constraint",
        "virtual_id on o.virtual_table",
        "other_id on o.virtual_table",
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT virtual_id; ALTER TABLE o.virtual_table ADD CONSTRAINT virtual_id NOT NULL id NOT VALID",
        "column",
        "o.virtual_table.id",
        "not null",
        also=(("constraint", "virtual_id on o.virtual_table", "changed", frozenset({"validated"})),),
    ),
    changed(
        "ALTER TABLE o.virtual_table DROP CONSTRAINT virtual_id; ALTER TABLE o.virtual_table ADD CONSTRAINT virtual_id NOT NULL id NO INHERIT",
        "column",
        "o.virtual_table.id",
        "not null",
        also=(("constraint", "virtual_id on o.virtual_table", "changed", frozenset({"no inherit"})),),
    ),
)
