# SPDX-License-Identifier: GPL-3.0-or-later
"""Types, operators and the like."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    EXTRA,
    TYPE,
    catalog,
    changed,
    extra,
    missing,
)

MUTATIONS = (
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
)
