# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Foreign-data wrappers, servers and user mappings. Foreign tables are relations.

Their options may hold secrets: names are shown, values only told apart.
"""

from __future__ import annotations

from .privileges import exploded
from .query import Query, sorted_list
from .routines import function

WRAPPERS = Query(
    f"""
SELECT w.tableoid::bigint AS classid, w.oid::bigint AS objid, 'foreign-data wrapper' AS kind,
       ARRAY[w.fdwname::text] AS path, pg_catalog.pg_get_userbyid(w.fdwowner) AS owner,
       {exploded("w.fdwacl")} AS acl, 'F' AS acl_for, {function("w.fdwhandler")} AS handler,
       {function("w.fdwvalidator")} AS validator, {sorted_list("w.fdwoptions")} AS "option values"
  FROM pg_catalog.pg_foreign_data_wrapper AS w
""",
    deparsed=frozenset({"handler", "validator"}),
)

SERVERS = Query(
    f"""
SELECT s.tableoid::bigint AS classid, s.oid::bigint AS objid, 'server' AS kind,
       ARRAY[s.srvname::text] AS path, pg_catalog.pg_get_userbyid(s.srvowner) AS owner,
       {exploded("s.srvacl")} AS acl, 'S' AS acl_for, w.fdwname AS "wrapper", s.srvtype AS type, s.srvversion AS version,
       {sorted_list("s.srvoptions")} AS "option values"
  FROM pg_catalog.pg_foreign_server AS s
  JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw
"""
)

# pg_user_mapping is for superusers; the view shows options to the same roles as is_shown, and no difference between
# none and none shown.
USER_MAPPINGS = Query(
    f"""
SELECT 1418::bigint AS classid, m.umid::bigint AS objid, 'user mapping' AS kind,
       CASE WHEN m.umuser <> 0 THEN pg_catalog.pg_get_userbyid(m.umuser)::text END AS mapped,
       ARRAY[m.srvname::text] AS path,
       ARRAY[m.srvname::text] AS parent, 'server' AS parent_kind,
       {sorted_list("m.umoptions")} AS "option values",
       (m.umuser <> 0 AND m.usename = current_user
        AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE')))
       OR (m.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))
       OR (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user) AS is_shown
  FROM pg_catalog.pg_user_mappings AS m
  JOIN pg_catalog.pg_foreign_server AS s ON s.oid = m.srvid
"""
)
