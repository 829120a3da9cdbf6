# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Text search: configurations, dictionaries, parsers and templates."""

from __future__ import annotations

from .query import USER_SCHEMA, Query
from .routines import function

CONFIGURATIONS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT c.tableoid::bigint AS classid, c.oid::bigint AS objid, 'text search configuration' AS kind,
       ARRAY[s.nspname::text, c.cfgname::text] AS path, pg_catalog.pg_get_userbyid(c.cfgowner) AS owner,
       pg_catalog.format('%%I.%%I', pn.nspname, p.prsname) AS parser,
       (SELECT pg_catalog.array_agg(x.shown ORDER BY x.shown)
          FROM (SELECT pg_catalog.format('%%s: %%s', (SELECT t.alias FROM pg_catalog.ts_token_type(p.oid) AS t
                                                       WHERE t.tokid = m.maptokentype),
                         pg_catalog.string_agg(pg_catalog.format('%%I.%%I', dn.nspname, d.dictname), ', '
                                               ORDER BY m.mapseqno)) AS shown
                  FROM pg_catalog.pg_ts_config_map AS m
                  JOIN pg_catalog.pg_ts_dict AS d ON d.oid = m.mapdict
                  JOIN pg_catalog.pg_namespace AS dn ON dn.oid = d.dictnamespace
                 WHERE m.mapcfg = c.oid
                 GROUP BY m.maptokentype) AS x) AS mappings
  FROM pg_catalog.pg_ts_config AS c
  JOIN user_schema AS s ON s.oid = c.cfgnamespace
  JOIN pg_catalog.pg_ts_parser AS p ON p.oid = c.cfgparser
  JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.prsnamespace
""",
    deparsed=frozenset({"parser"}),
)

DICTIONARIES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT d.tableoid::bigint AS classid, d.oid::bigint AS objid, 'text search dictionary' AS kind,
       ARRAY[s.nspname::text, d.dictname::text] AS path, pg_catalog.pg_get_userbyid(d.dictowner) AS owner,
       pg_catalog.format('%%I.%%I', tn.nspname, t.tmplname) AS template, d.dictinitoption AS options
  FROM pg_catalog.pg_ts_dict AS d
  JOIN user_schema AS s ON s.oid = d.dictnamespace
  JOIN pg_catalog.pg_ts_template AS t ON t.oid = d.dicttemplate
  JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.tmplnamespace
""",
    deparsed=frozenset({"template"}),
)

PARSERS = Query(
    f"""
WITH {USER_SCHEMA}
SELECT p.tableoid::bigint AS classid, p.oid::bigint AS objid, 'text search parser' AS kind,
       ARRAY[s.nspname::text, p.prsname::text] AS path,
       {function("p.prsstart")} AS "start function", {function("p.prstoken")} AS "token function",
       {function("p.prsend")} AS "end function", {function("p.prsheadline")} AS "headline function",
       {function("p.prslextype")} AS "token types function"
  FROM pg_catalog.pg_ts_parser AS p
  JOIN user_schema AS s ON s.oid = p.prsnamespace
"""
)

TEMPLATES = Query(
    f"""
WITH {USER_SCHEMA}
SELECT t.tableoid::bigint AS classid, t.oid::bigint AS objid, 'text search template' AS kind,
       ARRAY[s.nspname::text, t.tmplname::text] AS path,
       {function("t.tmplinit")} AS "init function", {function("t.tmpllexize")} AS "lexize function"
  FROM pg_catalog.pg_ts_template AS t
  JOIN user_schema AS s ON s.oid = t.tmplnamespace
"""
)
