# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""What belongs to the database as a whole: itself, extensions, default privileges, large objects; and, for every kind,
comments, security labels and privileges that were changed on what PostgreSQL or an extension has made.
"""

from __future__ import annotations

from .privileges import exploded
from .query import Query, Since, sorted_list

# Names of databases may differ. What names its locale moved: daticulocale (15), datlocale (17).
DATABASE = Query(
    f"""
SELECT d.tableoid::bigint AS classid, d.oid::bigint AS objid, 'database' AS kind, 'the database' AS label,
       pg_catalog.pg_get_userbyid(d.datdba) AS owner, {exploded("d.datacl")} AS acl, 'd' AS acl_for,
       pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "collation", d.datctype AS ctype,
       CASE {{provider}} WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS "locale provider",
       {{locale}} AS locale, {{rules}} AS "locale rules",
       CASE WHEN d.datconnlimit >= 0 THEN d.datconnlimit END AS "connection limit",
       d.datistemplate AS template,
       (SELECT {sorted_list("s.setconfig")} FROM pg_catalog.pg_db_role_setting AS s
         WHERE s.setdatabase = d.oid AND s.setrole = 0) AS database_settings,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       (SELECT pg_catalog.array_agg(b.provider || ': ' || b.label ORDER BY b.provider) FROM pg_catalog.pg_shseclabel AS b
         WHERE b.classoid = d.tableoid AND b.objoid = d.oid) AS "security labels"
  FROM pg_catalog.pg_database AS d
 WHERE d.datname = pg_catalog.current_database()
""",
    since={
        "provider": Since(15, "d.datlocprovider", "'c'::text"),
        "locale": Since(17, "d.datlocale", "{icu_locale}"),
        "icu_locale": Since(15, "d.daticulocale"),
        "rules": Since(16, "d.daticurules"),
    },
)

EXTENSIONS = Query(
    """
SELECT x.tableoid::bigint AS classid, x.oid::bigint AS objid, 'extension' AS kind, ARRAY[x.extname::text] AS path,
       x.extversion AS version, n.nspname AS "schema"
  FROM pg_catalog.pg_extension AS x
  JOIN pg_catalog.pg_namespace AS n ON n.oid = x.extnamespace
"""
)

# An entry for every schema replaces PostgreSQL's defaults, one for a schema adds to them.
DEFAULT_PRIVILEGES = Query(
    f"""
SELECT a.tableoid::bigint AS classid, a.oid::bigint AS objid, 'default privileges' AS kind,
       pg_catalog.pg_get_userbyid(a.defaclrole)::text AS creator, n.nspname::text AS in_schema,
       CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                            WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' WHEN 'L' THEN 'large objects' END AS on_kind,
       pg_catalog.pg_get_userbyid(a.defaclrole) AS acl_owner, {exploded("a.defaclacl")} AS acl
  FROM pg_catalog.pg_default_acl AS a
  LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = a.defaclnamespace
 WHERE a.defaclnamespace = 0
    OR (n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')
        AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s::text[])))
"""
)

# Millions of them may be there: sums of hashes stay small, and know no order. Their OIDs are what tables refer to.
LARGE_OBJECTS = Query(
    f"""
SELECT pg_catalog.pg_get_userbyid(g.lomowner) AS owner, {exploded("g.lomacl")} AS acl, g.members, g.count
  FROM (SELECT m.lomowner, m.lomacl, count(*) AS count,
               sum(('x' || pg_catalog.substr(pg_catalog.md5(m.oid::text), 1, 15))::bit(60)::bigint)::text AS members
          FROM pg_catalog.pg_largeobject_metadata AS m
         GROUP BY m.lomowner, m.lomacl) AS g
"""
)
LARGE_OBJECT_COMMENTS = """
SELECT count(*) AS count,
       sum(('x' || pg_catalog.substr(pg_catalog.md5(d.objoid || ' ' || d.description), 1, 15))::bit(60)::bigint)::text
         AS comments
  FROM pg_catalog.pg_description AS d
 WHERE d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass
HAVING count(*) > 0
"""

# PostgreSQL comments on what it makes itself, with OIDs below 16384; schema public and the extensions are not that.
COMMENTS = """
SELECT d.classoid::bigint AS classid, d.objoid::bigint AS objid, d.objsubid AS subid, d.description
  FROM pg_catalog.pg_description AS d
 WHERE d.classoid <> 'pg_catalog.pg_largeobject'::pg_catalog.regclass
   AND (d.objoid >= 16384 OR d.classoid IN ('pg_catalog.pg_extension'::pg_catalog.regclass,
                                            'pg_catalog.pg_namespace'::pg_catalog.regclass))
"""

LABELS = """
SELECT b.classoid::bigint AS classid, b.objoid::bigint AS objid, b.objsubid AS subid,
       pg_catalog.array_agg(b.provider || ': ' || b.label ORDER BY b.provider) AS labels
  FROM pg_catalog.pg_seclabel AS b
 GROUP BY b.classoid, b.objoid, b.objsubid
"""

MEMBERS = """
SELECT d.classid::bigint AS classid, d.objid::bigint AS objid
  FROM pg_catalog.pg_depend AS d
 WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
"""


_OF_INFORMATION_SCHEMA = """(SELECT n.oid FROM pg_catalog.pg_namespace AS n WHERE n.nspname = 'information_schema')"""


def _changed(catalog: str, acl: str, owner: str, letter: str, where: str = "") -> str:
    """Return a query for what was granted or revoked on objects that an extension or PostgreSQL itself brought.

    What initdb grants on the information schema is not recorded as such.
    """
    return f"""
SELECT o.tableoid::bigint AS classid, o.oid::bigint AS objid, 'changed privileges' AS kind,
       pg_catalog.pg_describe_object(o.tableoid, o.oid, 0) AS label, pg_catalog.pg_get_userbyid(o.{owner}) AS acl_owner,
       {exploded(f"o.{acl}")} AS acl,
       {exploded(f"coalesce(i.initprivs, pg_catalog.acldefault({letter}, o.{owner}))")} AS initial
  FROM pg_catalog.{catalog} AS o
  LEFT JOIN pg_catalog.pg_init_privs AS i ON i.classoid = o.tableoid AND i.objoid = o.oid AND i.objsubid = 0
  LEFT JOIN pg_catalog.pg_depend AS e ON e.classid = o.tableoid AND e.objid = o.oid AND e.deptype = 'e'
 WHERE o.{acl} IS NOT NULL AND (o.oid < 16384 OR e.objid IS NOT NULL) {where}
   AND o.{acl} IS DISTINCT FROM coalesce(i.initprivs, pg_catalog.acldefault({letter}, o.{owner}))"""


CHANGED_PRIVILEGES = Query(
    " UNION ALL ".join(
        (
            _changed("pg_proc", "proacl", "proowner", "'f'", f"AND o.pronamespace NOT IN {_OF_INFORMATION_SCHEMA}"),
            _changed(
                "pg_class",
                "relacl",
                "relowner",
                "CASE WHEN o.relkind = 'S' THEN 's' ELSE 'r' END::\"char\"",
                f"AND o.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND o.relnamespace NOT IN {_OF_INFORMATION_SCHEMA}",
            ),
            _changed(
                "pg_namespace", "nspacl", "nspowner", "'n'", "AND o.nspname NOT IN ('public', 'information_schema')"
            ),
            _changed("pg_type", "typacl", "typowner", "'T'", f"AND o.typnamespace NOT IN {_OF_INFORMATION_SCHEMA}"),
            _changed("pg_language", "lanacl", "lanowner", "'l'"),
            _changed("pg_foreign_data_wrapper", "fdwacl", "fdwowner", "'F'"),
        )
    )
)
