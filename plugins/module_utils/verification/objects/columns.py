# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Columns of tables, foreign tables, views and materialized views, and those of composite types."""

from __future__ import annotations

from .privileges import exploded
from .query import USER_SCHEMA, Query, Since, sorted_list

_IDENTITY = "CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END"

# The position is that among the columns which are left: a dropped one leaves a gap in attnum. What a child inherits comes
# before its own columns when it is made, so a dump moves it there when the inheritance was declared later.
COLUMNS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, a.attnum AS subid, 'column' AS kind,
       ARRAY[s.nspname::text, c.relname::text, a.attname::text] AS path,
       ARRAY[s.nspname::text, c.relname::text] AS parent,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                      WHEN 'c' THEN 'type' ELSE 'table' END AS parent_kind,
       pg_catalog.pg_get_userbyid(c.relowner) AS acl_owner, {exploded("a.attacl")} AS acl,
       CASE WHEN c.relispartition OR a.attinhcount = 0 THEN
         row_number() OVER (PARTITION BY a.attrelid, NOT c.relispartition AND a.attinhcount > 0 ORDER BY a.attnum) END
         AS position,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attcollation <> t.typcollation THEN
         coalesce((SELECT pg_catalog.format('%%I.%%I', n.nspname, k.collname)
                     FROM pg_catalog.pg_collation AS k
                     JOIN pg_catalog.pg_namespace AS n ON n.oid = k.collnamespace
                    WHERE k.oid = a.attcollation), 'none') END AS "collation",
       {{not_null}} AS "not null",
       CASE WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END AS "default",
       CASE a.attgenerated WHEN 's' THEN 'stored: ' WHEN 'v' THEN 'virtual: ' END
         || pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS generated,
       {{identity}} AS identity,
       CASE WHEN a.attstorage <> t.typstorage AND c.relkind <> 'c' THEN
         CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END
         END AS storage,
       {{compression}} AS compression,
       CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END AS "statistics target",
       {sorted_list("a.attoptions")} AS options, {sorted_list("a.attfdwoptions")} AS "foreign options",
       CASE WHEN c.relkind IN ('r', 'p', 'f') AND NOT a.attislocal THEN 'inherited only' END AS declared
  FROM pg_catalog.pg_attribute AS a
  JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
  JOIN user_schema AS s ON s.oid = c.relnamespace
  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c') AND a.attnum > 0 AND NOT a.attisdropped
""",
    since={
        # From 17 on a partition has the identity of its partitioned table, and can have no other one.
        "identity": Since(17, f"CASE WHEN NOT c.relispartition THEN {_IDENTITY} END", _IDENTITY),
        "compression": Since(14, "CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END"),
        # From 18 on it is a constraint, which may wait for its validation, or stop at children.
        "not_null": Since(
            18,
            """CASE WHEN a.attnotnull THEN coalesce(
         (SELECT pg_catalog.concat_ws(', ', 'yes', CASE WHEN NOT x.convalidated THEN 'not valid' END,
                                      CASE WHEN x.connoinherit THEN 'no inherit' END)
            FROM pg_catalog.pg_constraint AS x
           WHERE x.conrelid = a.attrelid AND x.contype = 'n' AND x.conkey = ARRAY[a.attnum]), 'yes') END""",
            "CASE WHEN a.attnotnull THEN 'yes' END",
        ),
    },
    deparsed=frozenset({"type", "collation", "default", "generated"}),
)
