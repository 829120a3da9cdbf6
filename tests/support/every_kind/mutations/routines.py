# SPDX-License-Identifier: GPL-3.0-or-later
"""Routines."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    AGGREGATE,
    MISSING,
    catalog,
    changed,
    extra,
    missing,
)

MUTATIONS = (
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
)
