# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Constraints of tables and domains, and indexes. An index that a constraint made is a part of it."""

from __future__ import annotations

from .query import USER_SCHEMA, Query, Since

# A foreign key of a partitioned table has copies on partitions, which PostgreSQL makes and names by itself.
CONSTRAINTS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT k.tableoid::bigint AS classid, k.oid::bigint AS objid, 'constraint' AS kind, ARRAY[k.conname::text] AS path,
       ARRAY[s.nspname::text, coalesce(c.relname, t.typname)::text] AS parent,
       CASE WHEN c.oid IS NULL THEN 'domain' WHEN c.relkind = 'f' THEN 'foreign table' ELSE 'table' END AS parent_kind,
       true AS is_named_on_parent,
       pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(k.oid),
         '( NO INHERIT)?( DEFERRABLE)?( INITIALLY DEFERRED)?( NOT ENFORCED)?( NOT VALID)?$', '') AS definition,
       CASE WHEN k.condeferrable THEN CASE WHEN k.condeferred THEN 'initially deferred' ELSE 'yes' END END AS deferrable,
       CASE WHEN NOT k.convalidated AND {{enforced}} THEN 'no' END AS validated,
       CASE WHEN NOT {{enforced}} THEN 'no' END AS enforced,
       -- of primary keys and foreign keys PostgreSQL sets it as it likes
       k.contype IN ('c', 'n') AND k.connoinherit AS "no inherit",
       -- a partition that is attached, as a dump does it, has nothing of its own that its parent has, too
       CASE WHEN k.contype IN ('c', 'n') AND k.conrelid <> 0 AND NOT k.conislocal AND NOT c.relispartition
            THEN 'inherited only' END AS declared
  FROM pg_catalog.pg_constraint AS k
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
  LEFT JOIN pg_catalog.pg_type AS t ON t.oid = k.contypid
  JOIN user_schema AS s ON s.oid = coalesce(c.relnamespace, t.typnamespace)
 WHERE k.contype IN ('c', 'f', 'p', 'u', 'x', 'n') AND NOT (k.contype = 'f' AND k.conparentid <> 0)
   AND (k.contype <> 'n' OR %(level)s >= 18)
""",
    since={"enforced": Since(18, "k.conenforced", "true")},
    deparsed=frozenset({"definition"}),
)

INDEXES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'index' AS kind,
       ARRAY[s.nspname::text, c.relname::text] AS path,
       ARRAY[tn.nspname::text, t.relname::text] AS parent,
       CASE t.relkind WHEN 'm' THEN 'materialized view' ELSE 'table' END AS parent_kind,
       k.conname AS parent_constraint,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS definition,
       CASE WHEN NOT i.indisvalid THEN 'no' END AS valid,
       i.indisclustered AS clustered, i.indisreplident AS "replica identity",
       (SELECT pg_catalog.format('%%I.%%I', pn.nspname, p.relname)
          FROM pg_catalog.pg_inherits AS h
          JOIN pg_catalog.pg_class AS p ON p.oid = h.inhparent
          JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
         WHERE h.inhrelid = c.oid) AS "partition of",
       (SELECT pg_catalog.array_agg(a.attnum || ': ' || a.attstattarget ORDER BY a.attnum)
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.attstattarget >= 0) AS "statistics targets"
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  JOIN user_schema AS s ON s.oid = c.relnamespace
  JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_constraint AS k
    ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
""",
    deparsed=frozenset({"definition", "partition of"}),
)

STATISTICS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT x.tableoid::bigint AS classid, x.oid::bigint AS objid, 'statistics object' AS kind,
       ARRAY[s.nspname::text, x.stxname::text] AS path,
       ARRAY[tn.nspname::text, t.relname::text] AS parent,
       CASE t.relkind WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS parent_kind,
       pg_catalog.pg_get_userbyid(x.stxowner) AS owner,
       pg_catalog.pg_get_statisticsobjdef(x.oid) AS definition,
       {{target}} AS "statistics target"
  FROM pg_catalog.pg_statistic_ext AS x
  JOIN user_schema AS s ON s.oid = x.stxnamespace
  JOIN pg_catalog.pg_class AS t ON t.oid = x.stxrelid
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
""",
    since={"target": Since(13, "CASE WHEN x.stxstattarget >= 0 THEN x.stxstattarget END")},
    deparsed=frozenset({"definition"}),
)
