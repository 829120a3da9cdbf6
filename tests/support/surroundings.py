# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_dump of one database does not tell, compared without the product: roles, the database, effective privileges.

Each listing is a query whose rows are one line of text for one thing; both sides are compared as sets of lines.
Made for superusers. Names come from pg_identify_object, which qualifies and quotes them alike in every version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]

IGNORED_ROLES = r"^pg_|^postgres$"

ROLES = """
    SELECT pg_catalog.format(
        'role %%I: super=%%s inherit=%%s createrole=%%s createdb=%%s login=%%s replication=%%s bypassrls=%%s limit=%%s until=%%s',
        rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
        rolvaliduntil)
    FROM pg_catalog.pg_roles
    WHERE rolname !~ %(ignored)s
"""
PASSWORDS = """
    SELECT pg_catalog.format('password of %%I: %%s', rolname, coalesce(pg_catalog.md5(rolpassword), 'none'))
    FROM pg_catalog.pg_authid
    WHERE rolname !~ %(ignored)s
"""
ROLE_COMMENTS = """
    SELECT pg_catalog.format('comment of role %%I: %%L', rolname, pg_catalog.shobj_description(oid, 'pg_authid'))
    FROM pg_catalog.pg_roles
    WHERE rolname !~ %(ignored)s AND pg_catalog.shobj_description(oid, 'pg_authid') IS NOT NULL
"""
# Before 16 a member inherits as its own attribute says, and may always SET ROLE.
MEMBERSHIPS = """
    SELECT pg_catalog.format(
        'membership of %%I in %%I: admin=%%s inherit=%%s set=%%s', u.rolname, g.rolname, bool_or(m.admin_option),
        bool_or(coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, u.rolinherit)),
        bool_or(coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)))
    FROM pg_catalog.pg_auth_members AS m
    JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
    JOIN pg_catalog.pg_roles AS u ON u.oid = m.member
    WHERE u.rolname !~ %(ignored)s
    GROUP BY u.rolname, g.rolname
"""
GRANTORS = """
    SELECT pg_catalog.format(
        'grantor of %%I in %%I: %%I, admin=%%s inherit=%%s set=%%s', u.rolname, g.rolname,
        pg_catalog.pg_get_userbyid(m.grantor), m.admin_option, to_jsonb(m) ->> 'inherit_option', to_jsonb(m) ->> 'set_option')
    FROM pg_catalog.pg_auth_members AS m
    JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
    JOIN pg_catalog.pg_roles AS u ON u.oid = m.member
    WHERE u.rolname !~ %(ignored)s
"""
SETTINGS = """
    SELECT pg_catalog.format(
        'setting of %%s%%s: %%s', CASE s.setrole WHEN 0 THEN 'all roles' ELSE pg_catalog.format('role %%I', pg_catalog.pg_get_userbyid(s.setrole)) END,
        CASE s.setdatabase WHEN 0 THEN '' ELSE ' in the database' END, e.entry)
    FROM pg_catalog.pg_db_role_setting AS s
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS e (entry)
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
"""
DATABASE = """
    SELECT pg_catalog.format(
        'database: owner=%%I encoding=%%s collate=%%s ctype=%%s limit=%%s template=%%s connections=%%s comment=%%L',
        pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
        datistemplate, datallowconn, pg_catalog.shobj_description(oid, 'pg_database'))
    FROM pg_catalog.pg_database
    WHERE datname = pg_catalog.current_database()
"""
EXTENSIONS = """
    SELECT pg_catalog.format(
        'extension %%I: schema=%%I owner=%%I', extname, n.nspname, pg_catalog.pg_get_userbyid(extowner))
    FROM pg_catalog.pg_extension AS e
    JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE extname <> 'plpgsql'
"""
LARGE_OBJECTS = """
    SELECT pg_catalog.format(
        'large object %%s: owner=%%I comment=%%L content=%%s', oid, pg_catalog.pg_get_userbyid(lomowner),
        pg_catalog.obj_description(oid, 'pg_largeobject'), pg_catalog.md5(pg_catalog.lo_get(oid)))
    FROM pg_catalog.pg_largeobject_metadata
"""
# Effective privileges with their grantors; an ACL that is not there means the default.
PRIVILEGES = """
    WITH owned (classid, objid, subid, type, owner, acl) AS (
        SELECT 'pg_catalog.pg_class'::regclass, oid, 0, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END, relowner, relacl
        FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL
        SELECT 'pg_catalog.pg_class'::regclass, attrelid, attnum, 'c', relowner, attacl
        FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class AS c ON c.oid = attrelid
        WHERE attacl IS NOT NULL AND NOT attisdropped
        UNION ALL
        SELECT 'pg_catalog.pg_proc'::regclass, oid, 0, 'f', proowner, proacl FROM pg_catalog.pg_proc
        UNION ALL
        SELECT 'pg_catalog.pg_type'::regclass, oid, 0, 'T', typowner, typacl
        FROM pg_catalog.pg_type AS t
        WHERE typtype IN ('b', 'd', 'e', 'r') AND typelem = 0
           OR EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c')
        UNION ALL
        SELECT 'pg_catalog.pg_namespace'::regclass, oid, 0, 'n', nspowner, nspacl
        FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
        UNION ALL
        SELECT 'pg_catalog.pg_language'::regclass, oid, 0, 'l', lanowner, lanacl FROM pg_catalog.pg_language WHERE lanpltrusted
        UNION ALL
        SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, oid, 0, 'F', fdwowner, fdwacl FROM pg_catalog.pg_foreign_data_wrapper
        UNION ALL
        SELECT 'pg_catalog.pg_foreign_server'::regclass, oid, 0, 'S', srvowner, srvacl FROM pg_catalog.pg_foreign_server
        UNION ALL
        SELECT 'pg_catalog.pg_largeobject'::regclass, oid, 0, 'L', lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata
        UNION ALL
        SELECT 'pg_catalog.pg_database'::regclass, oid, 0, 'd', datdba, datacl
        FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
    ), named AS (
        SELECT owned.*, CASE owned.type WHEN 'd' THEN 'the database' WHEN 'L' THEN 'large object ' || objid ELSE i.type || ' ' || i.identity END AS name
        FROM owned CROSS JOIN LATERAL pg_catalog.pg_identify_object(classid, objid, subid) AS i
        WHERE i.schema IS NULL OR i.schema !~ '^pg_(temp|toast)' AND i.schema <> 'information_schema' AND NOT i.schema = ANY (%(ignored_schemas)s)
    )
    SELECT pg_catalog.format('privilege on %%s: %%s%%s for %%s, granted by %%I', n.name, a.privilege_type,
        CASE WHEN a.is_grantable THEN '*' ELSE '' END,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
        pg_catalog.pg_get_userbyid(a.grantor))
    FROM named AS n
    CROSS JOIN LATERAL pg_catalog.aclexplode(CASE WHEN n.type = 'c' THEN n.acl ELSE coalesce(n.acl, pg_catalog.acldefault(n.type::"char", n.owner)) END) AS a
    -- What initdb and CREATE EXTENSION have given differs between majors: of their objects only what was changed since.
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_init_privs AS p
        WHERE p.classoid = n.classid AND p.objoid = n.objid AND p.objsubid = n.subid
          AND n.acl @> p.initprivs AND p.initprivs @> n.acl
    ) AND NOT (
        (n.acl IS NULL OR n.acl @> acldefault(n.type::"char", n.owner) AND acldefault(n.type::"char", n.owner) @> n.acl)
        AND (
            n.objid < 16384
            OR EXISTS (
                -- Members of extensions, the constructors of ranges.
                SELECT FROM pg_catalog.pg_depend AS d
                WHERE d.classid = n.classid AND d.objid = n.objid AND d.deptype IN ('e', 'i') AND n.type <> 's'
            )
        )
    )
"""
DEFAULT_PRIVILEGES = """
    SELECT pg_catalog.format('default privilege of %%I in %%s on %%s: %%s', pg_catalog.pg_get_userbyid(d.defaclrole),
        coalesce(n.nspname, 'every schema'), d.defaclobjtype, pg_catalog.array_to_string(ARRAY(
            SELECT pg_catalog.format('%%s%%s for %%s by %%I', a.privilege_type, CASE WHEN a.is_grantable THEN '*' ELSE '' END,
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
                pg_catalog.pg_get_userbyid(a.grantor))
            FROM pg_catalog.aclexplode(d.defaclacl) AS a WHERE a.privilege_type <> 'MAINTAIN' ORDER BY 1), ', '))
    FROM pg_catalog.pg_default_acl AS d
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = d.defaclnamespace
"""
PARAMETERS = """
    SELECT pg_catalog.format('parameter %%s: %%s', to_jsonb(p) ->> 'parname', to_jsonb(p) ->> 'paracl')
    FROM pg_catalog.pg_parameter_acl AS p
"""
# Flags of relations, columns, indexes, constraints and triggers that a dump says indirectly or not at all.
RELATIONS = """
    SELECT pg_catalog.format(
        'relation %%I.%%I: kind=%%s persistence=%%s identity=%%s security=%%s forced=%%s populated=%%s partition=%%s owner=%%I '
        'options=%%s toast=%%s',
        n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated,
        c.relispartition, pg_catalog.pg_get_userbyid(c.relowner), c.reloptions, t.reloptions)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_class AS t ON t.oid = c.reltoastrelid
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(temp|toast)' AND NOT n.nspname = ANY (%(ignored_schemas)s)
      AND c.oid NOT IN (SELECT objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
"""
COLUMNS = """
    SELECT pg_catalog.format('column %%I.%%I.%%s: type=%%s null=%%s local=%%s parents=%%s identity=%%s generated=%%s '
        'storage=%%s target=%%s options=%%s collation=%%s',
        n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attislocal, a.attinhcount,
        a.attidentity, a.attgenerated, a.attstorage, coalesce(a.attstattarget, -1), a.attoptions,
        (SELECT x.collname FROM pg_catalog.pg_collation AS x WHERE x.oid = a.attcollation))
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I')
      AND c.oid NOT IN (SELECT objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
      AND n.nspname !~ '^pg_(temp|toast)' AND NOT n.nspname = ANY (%(ignored_schemas)s)
"""
INDEXES = """
    SELECT pg_catalog.format('index %%s: valid=%%s clustered=%%s identity=%%s immediate=%%s parent=%%s', i.indexrelid::regclass,
        i.indisvalid, i.indisclustered, i.indisreplident, i.indimmediate, h.inhparent::regclass)
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_inherits AS h ON h.inhrelid = i.indexrelid
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(temp|toast)' AND NOT n.nspname = ANY (%(ignored_schemas)s)
"""
# NO INHERIT means something for checks and, from 18 on, for NOT NULL only; for others it says how they were made.
CONSTRAINTS = """
    SELECT pg_catalog.format('constraint %%I on %%s: type=%%s validated=%%s deferrable=%%s deferred=%%s local=%%s parents=%%s '
        'noinherit=%%s parent=%%s enforced=%%s',
        k.conname, coalesce(nullif(k.conrelid, 0)::regclass::text, k.contypid::regtype::text), k.contype, k.convalidated, k.condeferrable, k.condeferred,
        -- Nothing depends on it in a partition: once detached, its NOT NULLs are all its own.
        k.conislocal AND NOT (k.contype = 'n' AND coalesce(r.relispartition, false)), k.coninhcount,
        k.contype IN ('c', 'n') AND k.connoinherit, p.conname, coalesce(to_jsonb(k) ->> 'conenforced', 'true'))
    FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_namespace AS n ON n.oid = k.connamespace
    LEFT JOIN pg_catalog.pg_constraint AS p ON p.oid = k.conparentid
    LEFT JOIN pg_catalog.pg_class AS r ON r.oid = k.conrelid
    WHERE k.oid >= 16384 AND n.nspname !~ '^pg_(temp|toast)' AND NOT n.nspname = ANY (%(ignored_schemas)s) AND k.contype <> 't'
      -- What a foreign key makes for each partition follows it, under names that differ between majors.
      AND NOT (k.contype = 'f' AND k.conparentid <> 0)
"""
TRIGGERS = """
    SELECT pg_catalog.format('trigger %%s on %%s: enabled=%%s type=%%s clone=%%s',
        CASE WHEN t.tgisinternal AND t.tgconstraint <> 0 THEN 'of ' || k.conname || ' by ' || t.tgfoid::regproc ELSE pg_catalog.quote_ident(t.tgname) END,
        t.tgrelid::regclass, t.tgenabled, t.tgtype, p.is_clone)
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
    CROSS JOIN LATERAL (
        SELECT EXISTS (
            SELECT FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_trigger'::regclass AND d.refclassid = d.classid AND d.objid = t.oid
        )
    ) AS p (is_clone)
    WHERE c.oid >= 16384 AND NOT n.nspname = ANY (%(ignored_schemas)s)
      -- A partitioned table's foreign keys have triggers of their own from 15 on; what they make of each partition's follows.
      AND NOT (t.tgisinternal AND t.tgconstraint <> 0 AND (coalesce(k.conparentid, 0) <> 0 OR p.is_clone OR c.relkind = 'p'))
"""
SEQUENCES = """
    SELECT pg_catalog.format('sequence %%s: type=%%s start=%%s by=%%s from=%%s to=%%s cache=%%s cycle=%%s owned=%%s', s.seqrelid::regclass,
        pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
        o.refobjid::regclass || '.' || o.refobjsubid)
    FROM pg_catalog.pg_sequence AS s
    JOIN pg_catalog.pg_class AS c ON c.oid = s.seqrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    LEFT JOIN LATERAL (
        SELECT d.refobjid, a.attname AS refobjsubid FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    ) AS o ON true
    WHERE NOT n.nspname = ANY (%(ignored_schemas)s)
"""
ENUMS = """
    SELECT pg_catalog.format('enum %%s: %%s', t.oid::regtype, pg_catalog.array_to_string(ARRAY(
        SELECT pg_catalog.quote_literal(e.enumlabel) FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder), ', '))
    FROM pg_catalog.pg_type AS t WHERE t.typtype = 'e'
"""

LISTINGS = (
    ROLES,
    PASSWORDS,
    ROLE_COMMENTS,
    MEMBERSHIPS,
    SETTINGS,
    DATABASE,
    EXTENSIONS,
    LARGE_OBJECTS,
    PRIVILEGES,
    DEFAULT_PRIVILEGES,
    RELATIONS,
    COLUMNS,
    INDEXES,
    CONSTRAINTS,
    TRIGGERS,
    SEQUENCES,
    ENUMS,
)


def surroundings(conninfo: str, *, since: int, ignored_schemas: Sequence[str] = ()) -> set[str]:
    """Every line of every listing. `since` is the older major of the two sides: both are read as that one spells it."""
    parameters = {"ignored": IGNORED_ROLES, "ignored_schemas": list(ignored_schemas)}
    listings = [*LISTINGS, *([PARAMETERS] if since >= 15 else []), *([GRANTORS] if since >= 16 else [])]
    with psycopg.connect(conninfo) as connection:
        connection.execute("SET search_path = pg_catalog")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET DateStyle = 'ISO, YMD'")
        connection.execute("SET bytea_output = 'hex'")
        connection.execute("SET standard_conforming_strings = on")
        lines: set[str] = set()
        for query in listings:
            text = query
            if since < 18:
                text = text.replace("AND k.contype <> 't'", "AND k.contype NOT IN ('t', 'n')")
            lines |= {str(line) for (line,) in connection.execute(text, parameters).fetchall()}
    if since < 15:
        # There schema public is the bootstrap superuser's; it stays the target's, with the same privileges.
        lines = {
            re.sub("pg_database_owner", "postgres", line) if " schema public: " in line else line for line in lines
        }
    if since < 17:
        lines = {line for line in lines if ": MAINTAIN" not in line}
    return lines


def surrounding_differences(left: str, right: str, ignored_schemas: Sequence[str] = ()) -> list[str]:
    """What is said of one side only: `- line` on the left, `+ line` on the right."""
    majors = []
    for side in (left, right):
        with psycopg.connect(side) as connection:
            majors.append(connection.info.server_version // 10000)
    one, two = (surroundings(side, since=min(majors), ignored_schemas=ignored_schemas) for side in (left, right))
    return sorted(
        [*(f"- {line}" for line in one - two), *(f"+ {line}" for line in two - one)], key=lambda line: line[2:]
    )
