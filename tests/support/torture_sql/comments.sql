-- SPDX-License-Identifier: GPL-3.0-or-later
-- A comment on everything that can have one, with characters that break naive quoting.

DO $comments$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH space AS (
            SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('store', 'types', 'code', 'empty', 'Weird "Schema"; --', 'a.b', 'public ')
        ), member AS (
            SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
        )
        SELECT format('COMMENT ON SCHEMA %I IS %L', nspname, 'It''s the "schema" ' || nspname || E'\\ \n; --') FROM space
        UNION ALL
        SELECT format('COMMENT ON %s %s IS %L', CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'c' THEN 'TYPE'
                         WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass, 'It''s ' || relname || E'\\ \n; --')
        FROM pg_class AS c JOIN space ON space.oid = c.relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'i', 'I', 'f') AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM member)
        UNION ALL
        SELECT format('COMMENT ON COLUMN %s.%I IS %L', c.oid::regclass, attname, 'It''s column "' || attname || E'"\\ \n; --')
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN space ON space.oid = c.relnamespace
        WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
        UNION ALL
        SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, conrelid::regclass, 'It''s constraint ' || conname)
        FROM pg_constraint AS k JOIN space ON space.oid = k.connamespace WHERE conrelid <> 0 AND contype IN ('p', 'u', 'f', 'c', 'x')
        UNION ALL
        SELECT format('COMMENT ON CONSTRAINT %I ON DOMAIN %s IS %L', conname, contypid::regtype, 'It''s constraint ' || conname)
        FROM pg_constraint AS k JOIN space ON space.oid = k.connamespace WHERE contypid <> 0 AND contype = 'c'
        UNION ALL
        SELECT format('COMMENT ON TRIGGER %I ON %s IS %L', tgname, tgrelid::regclass, 'It''s trigger ' || tgname)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN space ON space.oid = c.relnamespace
        -- A clone of a partitioned table's trigger cannot keep a comment of its own: pg_dump leaves it out.
        WHERE NOT tgisinternal AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_trigger'::regclass)
        UNION ALL
        SELECT format('COMMENT ON RULE %I ON %s IS %L', rulename, ev_class::regclass, 'It''s rule ' || rulename)
        FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class JOIN space ON space.oid = c.relnamespace WHERE rulename <> '_RETURN'
        UNION ALL
        SELECT format('COMMENT ON POLICY %I ON %s IS %L', polname, polrelid::regclass, 'It''s policy ' || polname)
        FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid JOIN space ON space.oid = c.relnamespace
        UNION ALL
        SELECT format('COMMENT ON ROUTINE %s IS %L', p.oid::regprocedure, 'It''s routine ' || proname)
        FROM pg_proc AS p JOIN space ON space.oid = p.pronamespace
        WHERE p.prokind IN ('f', 'p', 'w') AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM member)
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
        UNION ALL
        SELECT format('COMMENT ON AGGREGATE %I.%I(%s) IS %L', nspname, proname, coalesce(nullif(pg_get_function_identity_arguments(p.oid), ''), '*'), 'It''s aggregate ' || proname)
        FROM pg_proc AS p JOIN space ON space.oid = p.pronamespace WHERE p.prokind = 'a' AND ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM member)
        UNION ALL
        SELECT format('COMMENT ON STATISTICS %I.%I IS %L', nspname, stxname, 'It''s statistics ' || stxname) FROM pg_statistic_ext AS s JOIN space ON space.oid = s.stxnamespace
        UNION ALL
        SELECT format('COMMENT ON COLLATION %I.%I IS %L', nspname, collname, 'It''s collation ' || collname) FROM pg_collation AS s JOIN space ON space.oid = s.collnamespace
        UNION ALL
        SELECT format('COMMENT ON CONVERSION %I.%I IS %L', nspname, conname, 'It''s conversion ' || conname) FROM pg_conversion AS s JOIN space ON space.oid = s.connamespace
        UNION ALL
        SELECT format('COMMENT ON TEXT SEARCH CONFIGURATION %I.%I IS %L', nspname, cfgname, 'It''s configuration ' || cfgname) FROM pg_ts_config AS s JOIN space ON space.oid = s.cfgnamespace
        UNION ALL
        SELECT format('COMMENT ON TEXT SEARCH DICTIONARY %I.%I IS %L', nspname, dictname, 'It''s dictionary ' || dictname) FROM pg_ts_dict AS s JOIN space ON space.oid = s.dictnamespace
        UNION ALL
        SELECT format('COMMENT ON %s %s IS %L', CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype, 'It''s type ' || typname)
        FROM pg_type AS t JOIN space ON space.oid = t.typnamespace
        WHERE (typtype IN ('e', 'd', 'r') OR typtype = 'b' AND typelem = 0) AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM member)
    LOOP
        EXECUTE command;
    END LOOP;
END
$comments$;
