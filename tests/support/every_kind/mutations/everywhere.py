# SPDX-License-Identifier: GPL-3.0-or-later
"""Comments, owners, privileges and security labels, of everything that can have them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.every_kind.mutations.mutation import (
    WEIRD,
    WEIRD_ROLE,
    Mutation,
    changed,
    label,
)


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


MUTATIONS = (*comments(), *owners(), *grants(), *labels())
