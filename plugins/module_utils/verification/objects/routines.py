# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Functions, procedures and aggregates."""

from __future__ import annotations

from .privileges import exploded
from .query import USER_SCHEMA, Query, Since, sorted_list


def function(oid: str) -> str:
    """Return an SQL expression for the name of a function with its argument types; NULL for none."""
    return f"CASE WHEN {oid}::oid <> 0 THEN {oid}::oid::pg_catalog.regprocedure::text END"


def types(array: str) -> str:
    """Return an SQL expression for a list of types in parentheses."""
    return f"""'(' || coalesce((SELECT pg_catalog.string_agg(pg_catalog.format_type(x.oid, NULL), ',' ORDER BY x.number)
                         FROM pg_catalog.unnest({array}) WITH ORDINALITY AS x(oid, number)), '') || ')'"""


# The constructors of ranges, and their casts to multiranges, follow their type: they depend on it internally.
ROUTINES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT p.tableoid::bigint AS classid, p.oid::bigint AS objid,
       CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
       ARRAY[s.nspname::text, p.proname::text] AS path, {types("p.proargtypes")} AS suffix,
       pg_catalog.pg_get_userbyid(p.proowner) AS owner, {exploded("p.proacl")} AS acl, 'f' AS acl_for,
       l.lanname AS language, pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
       pg_catalog.pg_get_function_result(p.oid) AS result,
       CASE WHEN p.prokind <> 'a' THEN coalesce({{sqlbody}}, p.prosrc) END AS body, p.probin AS library,
       CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' END AS volatility,
       p.proisstrict AS strict, p.prosecdef AS "security definer", p.proleakproof AS leakproof,
       CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' END AS parallel,
       p.procost AS cost, CASE WHEN p.proretset THEN p.prorows END AS rows,
       p.prokind = 'w' AS "window",
       {function("p.prosupport")} AS support,
       {sorted_list("p.proconfig")} AS settings,
       CASE WHEN p.protrftypes IS NOT NULL THEN {types("p.protrftypes")} END AS transforms,
       CASE a.aggkind WHEN 'o' THEN 'ordered set' WHEN 'h' THEN 'hypothetical set' END AS "aggregate kind",
       pg_catalog.format_type(a.aggtranstype, NULL) AS "state type", a.aggtransspace AS "state size",
       a.agginitval AS "initial value",
       {function("a.aggtransfn")} AS "state function", {function("a.aggfinalfn")} AS "final function",
       a.aggfinalextra AS "final function takes extra arguments",
       CASE a.aggfinalmodify WHEN 's' THEN 'shareable' WHEN 'w' THEN 'read-write' END AS "final function modifies",
       {function("a.aggcombinefn")} AS "combine function",
       {function("a.aggserialfn")} AS "serialization function", {function("a.aggdeserialfn")} AS "deserialization function",
       CASE WHEN a.aggmtranstype <> 0 THEN pg_catalog.format_type(a.aggmtranstype, NULL) END AS "moving state type",
       a.aggmtransspace AS "moving state size", a.aggminitval AS "moving initial value",
       {function("a.aggmtransfn")} AS "moving state function", {function("a.aggminvtransfn")} AS "moving inverse function",
       {function("a.aggmfinalfn")} AS "moving final function",
       a.aggmfinalextra AS "moving final function takes extra arguments",
       CASE WHEN a.aggmfinalfn <> 0 THEN
         CASE a.aggmfinalmodify WHEN 's' THEN 'shareable' WHEN 'w' THEN 'read-write' END END
         AS "moving final function modifies",
       CASE WHEN a.aggsortop <> 0 THEN a.aggsortop::pg_catalog.regoperator::text END AS "sort operator"
  FROM pg_catalog.pg_proc AS p
  JOIN user_schema AS s ON s.oid = p.pronamespace
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_aggregate AS a ON a.aggfnoid = p.oid
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = p.tableoid AND d.objid = p.oid AND d.deptype = 'i')
""",
    since={"sqlbody": Since(14, "pg_catalog.pg_get_function_sqlbody(p.oid)")},
    deparsed=frozenset(
        {
            "result",
            "support",
            "transforms",
            "state type",
            "state function",
            "final function",
            "combine function",
            "serialization function",
            "deserialization function",
            "moving state type",
            "moving state function",
            "moving inverse function",
            "moving final function",
            "sort operator",
        }
    ),
)

LANGUAGES = Query(
    f"""
SELECT l.tableoid::bigint AS classid, l.oid::bigint AS objid, 'language' AS kind, ARRAY[l.lanname::text] AS path,
       pg_catalog.pg_get_userbyid(l.lanowner) AS owner, {exploded("l.lanacl")} AS acl, 'l' AS acl_for,
       l.lanpltrusted AS trusted, {function("l.lanplcallfoid")} AS handler, {function("l.laninline")} AS "inline handler",
       {function("l.lanvalidator")} AS validator
  FROM pg_catalog.pg_language AS l
 WHERE l.lanispl
""",
    deparsed=frozenset({"handler", "inline handler", "validator"}),
)

CASTS = Query(
    f"""
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'cast' AS kind,
       pg_catalog.format('(%%s AS %%s)', pg_catalog.format_type(c.castsource, NULL),
                         pg_catalog.format_type(c.casttarget, NULL)) AS label,
       CASE c.castcontext WHEN 'a' THEN 'assignment' WHEN 'i' THEN 'implicit' END AS context,
       CASE c.castmethod WHEN 'b' THEN 'binary coercible' WHEN 'i' THEN 'in and out'
                         ELSE {function("c.castfunc")} END AS method
  FROM pg_catalog.pg_cast AS c
 WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'i')
""",
    deparsed=frozenset({"method"}),
)

TRANSFORMS = Query(
    f"""
SELECT t.tableoid::bigint AS classid, t.oid::bigint AS objid, 'transform' AS kind,
       pg_catalog.format('for %%s language %%s', pg_catalog.format_type(t.trftype, NULL), l.lanname) AS label,
       {function("t.trffromsql")} AS "from SQL", {function("t.trftosql")} AS "to SQL"
  FROM pg_catalog.pg_transform AS t
  JOIN pg_catalog.pg_language AS l ON l.oid = t.trflang
""",
    deparsed=frozenset({"from SQL", "to SQL"}),
)
