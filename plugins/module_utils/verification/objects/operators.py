# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Operators, operator classes and families, access methods, and conversions."""

from __future__ import annotations

from .query import USER_SCHEMA, Query
from .routines import function


def _operator(oid: str) -> str:
    return f"CASE WHEN {oid} <> 0 THEN {oid}::pg_catalog.regoperator::text END"


_TYPES_OF_OPERATOR = """pg_catalog.format('%%s(%%s,%%s)', o.oprname,
         CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END,
         CASE WHEN o.oprright = 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprright, NULL) END)"""

OPERATORS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT o.tableoid::bigint AS classid, o.oid::bigint AS objid, 'operator' AS kind,
       ARRAY[s.nspname::text] AS path, '.' || {_TYPES_OF_OPERATOR} AS suffix,
       pg_catalog.pg_get_userbyid(o.oprowner) AS owner, {function("o.oprcode")} AS function,
       {_operator("o.oprcom")} AS commutator, {_operator("o.oprnegate")} AS negator,
       {function("o.oprrest")} AS "restriction estimator", {function("o.oprjoin")} AS "join estimator",
       o.oprcanmerge AS merges, o.oprcanhash AS hashes
  FROM pg_catalog.pg_operator AS o
  JOIN user_schema AS s ON s.oid = o.oprnamespace
 -- one that was only promised, as the commutator or negator of another, is in no dump
 WHERE o.oprcode <> 0
""",
    deparsed=frozenset({"function", "commutator", "negator", "restriction estimator", "join estimator"}),
)

_MEMBERS = f"""
       (SELECT pg_catalog.array_agg(x.shown ORDER BY x.shown)
          FROM (SELECT pg_catalog.format('%%s %%s%%s', o.amopstrategy, o.amopopr::pg_catalog.regoperator,
                         CASE WHEN o.amopsortfamily <> 0 THEN (SELECT pg_catalog.format(' for order by %%I.%%I', n.nspname, f.opfname)
                           FROM pg_catalog.pg_opfamily AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.opfnamespace
                          WHERE f.oid = o.amopsortfamily) END) AS shown
                  FROM pg_catalog.pg_amop AS o WHERE o.amopfamily = {{family}}) AS x) AS operators,
       (SELECT pg_catalog.array_agg(x.shown ORDER BY x.shown)
          FROM (SELECT pg_catalog.format('%%s %%s (%%s,%%s)', p.amprocnum, {function("p.amproc")},
                         pg_catalog.format_type(p.amproclefttype, NULL),
                         pg_catalog.format_type(p.amprocrighttype, NULL)) AS shown
                  FROM pg_catalog.pg_amproc AS p WHERE p.amprocfamily = {{family}}) AS x) AS functions"""

OPERATOR_FAMILIES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT f.tableoid::bigint AS classid, f.oid::bigint AS objid, 'operator family' AS kind,
       ARRAY[s.nspname::text, f.opfname::text] AS path, pg_catalog.format(' USING %%s', m.amname) AS suffix,
       pg_catalog.pg_get_userbyid(f.opfowner) AS owner, {_MEMBERS.format(family="f.oid")}
  FROM pg_catalog.pg_opfamily AS f
  JOIN user_schema AS s ON s.oid = f.opfnamespace
  JOIN pg_catalog.pg_am AS m ON m.oid = f.opfmethod
""",
)

OPERATOR_CLASSES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'operator class' AS kind,
       ARRAY[s.nspname::text, c.opcname::text] AS path, pg_catalog.format(' USING %%s', m.amname) AS suffix,
       pg_catalog.pg_get_userbyid(c.opcowner) AS owner, c.opcdefault AS "default",
       pg_catalog.format_type(c.opcintype, NULL) AS type,
       CASE WHEN c.opckeytype <> 0 THEN pg_catalog.format_type(c.opckeytype, NULL) END AS storage,
       (SELECT pg_catalog.format('%%I.%%I', n.nspname, f.opfname)
          FROM pg_catalog.pg_opfamily AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.opfnamespace
         WHERE f.oid = c.opcfamily) AS family
  FROM pg_catalog.pg_opclass AS c
  JOIN user_schema AS s ON s.oid = c.opcnamespace
  JOIN pg_catalog.pg_am AS m ON m.oid = c.opcmethod
""",
    deparsed=frozenset({"type", "storage", "family"}),
)

ACCESS_METHODS = Query(
    f"""
SELECT m.tableoid::bigint AS classid, m.oid::bigint AS objid, 'access method' AS kind, ARRAY[m.amname::text] AS path,
       CASE m.amtype WHEN 't' THEN 'table' WHEN 'i' THEN 'index' END AS type, {function("m.amhandler")} AS handler
  FROM pg_catalog.pg_am AS m
 WHERE m.oid >= 16384
""",
    deparsed=frozenset({"handler"}),
)

CONVERSIONS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'conversion' AS kind,
       ARRAY[s.nspname::text, c.conname::text] AS path, pg_catalog.pg_get_userbyid(c.conowner) AS owner,
       pg_catalog.pg_encoding_to_char(c.conforencoding) AS "from", pg_catalog.pg_encoding_to_char(c.contoencoding) AS "to",
       -- its arguments are always the same, but became more in 14
       c.conproc::oid::pg_catalog.regproc::text AS function, c.condefault AS "default"
  FROM pg_catalog.pg_conversion AS c
  JOIN user_schema AS s ON s.oid = c.connamespace
""",
    deparsed=frozenset({"function"}),
)
