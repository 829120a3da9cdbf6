# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What acts by itself: triggers, rules, row security policies and event triggers."""

from __future__ import annotations

from .query import USER_SCHEMA, Query, Since
from .routines import function

_ENABLED = "WHEN 'D' THEN 'disabled' WHEN 'A' THEN 'always' WHEN 'R' THEN 'replica'"
_TABLE_KIND = "CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END"

# A clone on a partition follows the trigger of the partitioned table, unless it was enabled or disabled on its own.
TRIGGERS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT g.tableoid::bigint AS classid, g.oid::bigint AS objid, 'trigger' AS kind, ARRAY[g.tgname::text] AS path,
       ARRAY[s.nspname::text, c.relname::text] AS parent, {_TABLE_KIND} AS parent_kind, true AS is_named_on_parent,
       pg_catalog.pg_get_triggerdef(g.oid, false) AS definition, CASE g.tgenabled {_ENABLED} END AS enabled
  FROM pg_catalog.pg_trigger AS g
  JOIN pg_catalog.pg_class AS c ON c.oid = g.tgrelid
  JOIN user_schema AS s ON s.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_trigger AS p ON p.oid = {{parent}}
 WHERE CASE WHEN p.oid IS NULL THEN NOT g.tgisinternal
            ELSE g.tgenabled <> p.tgenabled AND p.tgconstraint = 0 END
""",
    since={
        "parent": Since(
            13,
            "g.tgparentid",
            """(SELECT d.refobjid FROM pg_catalog.pg_depend AS d
                                                 WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass
                                                   AND d.objid = g.oid AND d.refclassid = d.classid)""",
        )
    },
    deparsed=frozenset({"definition"}),
)

RULES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT r.tableoid::bigint AS classid, r.oid::bigint AS objid, 'rule' AS kind, ARRAY[r.rulename::text] AS path,
       ARRAY[s.nspname::text, c.relname::text] AS parent, {_TABLE_KIND} AS parent_kind, true AS is_named_on_parent,
       pg_catalog.pg_get_ruledef(r.oid, false) AS definition, CASE r.ev_enabled {_ENABLED} END AS enabled
  FROM pg_catalog.pg_rewrite AS r
  JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
  JOIN user_schema AS s ON s.oid = c.relnamespace
 WHERE r.rulename <> '_RETURN'
""",
    deparsed=frozenset({"definition"}),
)

POLICIES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT p.tableoid::bigint AS classid, p.oid::bigint AS objid, 'policy' AS kind, ARRAY[p.polname::text] AS path,
       ARRAY[s.nspname::text, c.relname::text] AS parent, {_TABLE_KIND} AS parent_kind, true AS is_named_on_parent,
       CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' END
         AS command,
       CASE WHEN NOT p.polpermissive THEN 'restrictive' END AS permissive,
       ARRAY(SELECT CASE WHEN x.oid <> 0 THEN pg_catalog.pg_get_userbyid(x.oid)::text END
               FROM pg_catalog.unnest(p.polroles) AS x(oid)) AS roles,
       pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS "using",
       pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS "with check"
  FROM pg_catalog.pg_policy AS p
  JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
  JOIN user_schema AS s ON s.oid = c.relnamespace
""",
    deparsed=frozenset({"using", "with check"}),
)

EVENT_TRIGGERS = Query(
    f"""
SELECT e.tableoid::bigint AS classid, e.oid::bigint AS objid, 'event trigger' AS kind, ARRAY[e.evtname::text] AS path,
       pg_catalog.pg_get_userbyid(e.evtowner) AS owner, e.evtevent AS event,
       {function("e.evtfoid")} AS function,
       CASE e.evtenabled {_ENABLED} END AS enabled,
       ARRAY(SELECT t.tag FROM pg_catalog.unnest(e.evttags) AS t(tag) ORDER BY t.tag) AS tags
  FROM pg_catalog.pg_event_trigger AS e
""",
    deparsed=frozenset({"function"}),
)
