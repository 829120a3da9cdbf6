# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Schemas, tables, foreign tables, views, materialized views and sequences; what is on them has files of its own."""

from __future__ import annotations

from .privileges import exploded
from .query import USER_SCHEMA, Query, Since, sorted_list

# What public is like in a new database changed in 15: only what was changed since then is told of it.
SCHEMAS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT n.tableoid::bigint AS classid, n.oid::bigint AS objid, 'schema' AS kind, ARRAY[n.nspname::text] AS path,
       CASE WHEN n.nspname <> 'public' OR n.nspowner <> {{owner_of_public}} THEN pg_catalog.pg_get_userbyid(n.nspowner)
            END AS owner,
       pg_catalog.pg_get_userbyid(n.nspowner) AS acl_owner,
       {exploded("n.nspacl")} AS acl, CASE WHEN n.nspname <> 'public' THEN 'n' END AS acl_for,
       CASE WHEN n.nspname = 'public' THEN {{initial}} END AS initial
  FROM pg_catalog.pg_namespace AS n
  JOIN user_schema AS s ON s.oid = n.oid
""",
    since={
        "owner_of_public": Since(15, "6171", "10"),
        "initial": Since(
            15,
            """'[[null, "USAGE", false]]'::pg_catalog.json""",
            """'[[null, "USAGE", false], [null, "CREATE", false]]'::pg_catalog.json""",
        ),
    },
)

# pg_get_viewdef and its like are called for what they are meant for only: CASE keeps them away from the rest.
RELATIONS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
       ARRAY[s.nspname::text, c.relname::text] AS path,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       {exploded("c.relacl")} AS acl, 'r' AS acl_for,
       CASE c.relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' END AS persistence,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS "partition key",
       pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS "partition bound",
       CASE WHEN c.relkind IN ('r', 'p', 'f') THEN
         (SELECT pg_catalog.string_agg(pg_catalog.format('%%I.%%I', pn.nspname, p.relname), ', ' ORDER BY h.inhseqno)
            FROM pg_catalog.pg_inherits AS h
            JOIN pg_catalog.pg_class AS p ON p.oid = h.inhparent
            JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
           WHERE h.inhrelid = c.oid) END AS inherits,
       {sorted_list("c.reloptions")} AS options,
       CASE WHEN c.reltoastrelid <> 0 THEN
         (SELECT pg_catalog.array_agg(o.opt ORDER BY o.opt)
            FROM pg_catalog.pg_class AS w CROSS JOIN LATERAL pg_catalog.unnest(w.reloptions) AS o(opt)
           WHERE w.oid = c.reltoastrelid) END AS "toast options",
       CASE WHEN m.amname <> 'heap' THEN m.amname END AS "access method",
       c.relrowsecurity AS "row security", c.relforcerowsecurity AS "row security is forced",
       -- of views and foreign tables it means nothing
       CASE WHEN c.relkind IN ('r', 'p', 'm') THEN
         CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing' WHEN 'i' THEN 'index' END END
         AS "replica identity",
       CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END AS "of type",
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid, false) END AS definition,
       CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'no' END AS populated,
       fs.srvname AS server, {sorted_list("ft.ftoptions")} AS "foreign options"
  FROM pg_catalog.pg_class AS c
  JOIN user_schema AS s ON s.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
  LEFT JOIN pg_catalog.pg_foreign_table AS ft ON ft.ftrelid = c.oid
  LEFT JOIN pg_catalog.pg_foreign_server AS fs ON fs.oid = ft.ftserver
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
""",
    deparsed=frozenset({"partition key", "partition bound", "inherits", "of type"}),
    views=frozenset({"definition"}),
)

SEQUENCES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'sequence' AS kind,
       ARRAY[s.nspname::text, c.relname::text] AS path,
       CASE WHEN d.refobjid IS NOT NULL THEN ARRAY[tn.nspname::text, t.relname::text, a.attname::text] END AS parent,
       'column' AS parent_kind,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner, {exploded("c.relacl")} AS acl, 's' AS acl_for,
       {{persistence}} AS persistence,
       pg_catalog.format_type(q.seqtypid, NULL) AS type, q.seqstart AS start, q.seqincrement AS increment,
       q.seqmin AS minimum, q.seqmax AS maximum, q.seqcache AS cache, q.seqcycle AS cycles,
       CASE WHEN d.refobjid IS NOT NULL THEN
         pg_catalog.format('%%s %%I.%%I.%%I', CASE d.deptype WHEN 'i' THEN 'identity of' ELSE 'owned by' END,
                           tn.nspname, t.relname, a.attname) END AS "owned by"
  FROM pg_catalog.pg_sequence AS q
  JOIN pg_catalog.pg_class AS c ON c.oid = q.seqrelid
  JOIN user_schema AS s ON s.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  LEFT JOIN pg_catalog.pg_class AS t ON t.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
""",
    # Before 15 a sequence was logged even where its table was not.
    since={"persistence": Since(15, "CASE WHEN c.relpersistence = 'u' AND %(level)s >= 15 THEN 'unlogged' END")},
    deparsed=frozenset({"type", "owned by"}),
)
