# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Types (enum, composite, range, base) and domains, and collations. Row types, arrays and multiranges follow others."""

from __future__ import annotations

from .privileges import exploded
from .query import USER_SCHEMA, Query, Since
from .routines import function

_COLLATION = """(SELECT pg_catalog.format('%%I.%%I', kn.nspname, k.collname)
          FROM pg_catalog.pg_collation AS k JOIN pg_catalog.pg_namespace AS kn ON kn.oid = k.collnamespace
         WHERE k.oid = {oid})"""

TYPES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT t.tableoid::bigint AS classid, t.oid::bigint AS objid,
       CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END AS kind, ARRAY[s.nspname::text, t.typname::text] AS path,
       pg_catalog.pg_get_userbyid(t.typowner) AS owner, {exploded("t.typacl")} AS acl, 'T' AS acl_for,
       CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range' WHEN 'p' THEN 'shell'
                      WHEN 'b' THEN 'base' END AS form,
       CASE WHEN t.typtype = 'e' THEN ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum AS e
                                             WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) END AS labels,
       CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END AS "base type",
       CASE WHEN t.typtype = 'd' AND t.typcollation <> coalesce(b.typcollation, 0) THEN
         {_COLLATION.format(oid="t.typcollation")} END AS "collation",
       t.typtype = 'd' AND t.typnotnull AS "not null",
       CASE WHEN t.typtype IN ('d', 'b') THEN
         coalesce(pg_catalog.pg_get_expr(t.typdefaultbin, 0), t.typdefault) END AS "default",
       pg_catalog.format_type(r.rngsubtype, NULL) AS subtype,
       (SELECT pg_catalog.format('%%I.%%I', n.nspname, o.opcname)
          FROM pg_catalog.pg_opclass AS o JOIN pg_catalog.pg_namespace AS n ON n.oid = o.opcnamespace
         WHERE o.oid = r.rngsubopc) AS "operator class",
       {_COLLATION.format(oid="r.rngcollation")} AS "subtype collation",
       {function("r.rngcanonical")} AS "canonical function", {function("r.rngsubdiff")} AS "difference function",
       {{multirange}} AS multirange,
       CASE WHEN t.typtype = 'b' THEN {function("t.typinput")} END AS "input function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typoutput")} END AS "output function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typreceive")} END AS "receive function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typsend")} END AS "send function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typmodin")} END AS "type modifier input function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typmodout")} END AS "type modifier output function",
       CASE WHEN t.typtype = 'b' THEN {function("t.typanalyze")} END AS "analyze function",
       {{subscript}} AS "subscript function",
       CASE WHEN t.typtype = 'b' THEN t.typlen END AS "internal length",
       t.typtype = 'b' AND t.typbyval AS "passed by value",
       CASE WHEN t.typtype = 'b' THEN t.typalign END AS alignment,
       CASE WHEN t.typtype = 'b' THEN t.typstorage END AS storage,
       CASE WHEN t.typtype = 'b' THEN t.typcategory END AS category,
       t.typtype = 'b' AND t.typispreferred AS preferred,
       CASE WHEN t.typtype = 'b' THEN t.typdelim END AS delimiter,
       CASE WHEN t.typtype = 'b' AND t.typelem <> 0 THEN pg_catalog.format_type(t.typelem, NULL) END AS element,
       t.typtype = 'b' AND t.typcollation <> 0 AS collatable
  FROM pg_catalog.pg_type AS t
  JOIN user_schema AS s ON s.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
  LEFT JOIN pg_catalog.pg_type AS b ON b.oid = t.typbasetype
  LEFT JOIN pg_catalog.pg_range AS r ON r.rngtypid = t.oid
 WHERE t.typtype IN ('b', 'd', 'e', 'r', 'p', 'c') AND (t.typtype <> 'c' OR c.relkind = 'c')
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type AS e WHERE e.typarray = t.oid)
""",
    since={
        "multirange": Since(
            14,
            "CASE WHEN %(level)s >= 14 AND r.rngmultitypid <> 0 THEN pg_catalog.format_type(r.rngmultitypid, NULL) END",
        ),
        "subscript": Since(14, f"CASE WHEN t.typtype = 'b' THEN {function('t.typsubscript')} END"),
    },
    deparsed=frozenset(
        {
            "base type",
            "collation",
            "default",
            "subtype",
            "operator class",
            "subtype collation",
            "canonical function",
            "difference function",
            "multirange",
            "input function",
            "output function",
            "receive function",
            "send function",
            "type modifier input function",
            "type modifier output function",
            "analyze function",
            "subscript function",
            "element",
        }
    ),
)

# What names a locale moved twice: to colliculocale for ICU (15), to colllocale for ICU and PostgreSQL's own (17).
COLLATIONS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT k.tableoid::bigint AS classid, k.oid::bigint AS objid, 'collation' AS kind,
       ARRAY[s.nspname::text, k.collname::text] AS path, pg_catalog.pg_get_userbyid(k.collowner) AS owner,
       CASE k.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' WHEN 'd' THEN 'default' END
         AS provider,
       {{locale}} AS locale,
       CASE WHEN k.collprovider = 'c' THEN k.collctype END AS ctype,
       CASE WHEN NOT k.collisdeterministic THEN 'no' END AS deterministic, {{rules}} AS rules,
       -- for this database's encoding or for every one: it can be used
       CASE WHEN k.collencoding >= 0 AND k.collencoding <> (SELECT d.encoding FROM pg_catalog.pg_database AS d
                                                             WHERE d.datname = pg_catalog.current_database())
         THEN pg_catalog.pg_encoding_to_char(k.collencoding) END AS encoding
  FROM pg_catalog.pg_collation AS k
  JOIN user_schema AS s ON s.oid = k.collnamespace
""",
    since={
        "locale": Since(17, "coalesce(k.colllocale, k.collcollate)", "{icu_locale}"),
        "icu_locale": Since(15, "coalesce(k.colliculocale, k.collcollate)", "k.collcollate"),
        "rules": Since(16, "k.collicurules"),
    },
)
