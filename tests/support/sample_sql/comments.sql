-- SPDX-License-Identifier: GPL-3.0-or-later
-- A comment on everything that can have one, with characters that break naive quoting.

DO $comments$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH space AS (
            SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname IN ('shop', 'shop_archive', 'Weird "Schema"; --', 'a.b', 'public ')
        )
        SELECT format('COMMENT ON SCHEMA %I IS %L', nspname, 'It''s the "schema" ' || nspname || E'\\ \n; --')
        FROM space
        UNION ALL
        SELECT format(
            'COMMENT ON %s %s IS %L',
            CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'c' THEN 'TYPE'
                         WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' ELSE 'TABLE' END,
            c.oid::regclass, 'It''s ' || relname || E'\\ \n; --'
        )
        FROM pg_catalog.pg_class AS c JOIN space ON space.oid = c.relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'i', 'I')
        UNION ALL
        SELECT format('COMMENT ON COLUMN %s.%I IS %L', c.oid::regclass, attname, 'It''s column "' || attname || E'"\\ \n; --')
        FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid JOIN space ON space.oid = c.relnamespace
        WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'c')
        UNION ALL
        SELECT format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, conrelid::regclass, 'It''s constraint ' || conname)
        FROM pg_catalog.pg_constraint AS k JOIN space ON space.oid = k.connamespace
        WHERE conrelid <> 0 AND contype IN ('p', 'u', 'f', 'c', 'x')
        UNION ALL
        SELECT format('COMMENT ON TRIGGER %I ON %s IS %L', tgname, tgrelid::regclass, 'It''s trigger ' || tgname)
        FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN space ON space.oid = c.relnamespace
        WHERE NOT tgisinternal
        UNION ALL
        SELECT format('COMMENT ON POLICY %I ON %s IS %L', polname, polrelid::regclass, 'It''s policy ' || polname)
        FROM pg_catalog.pg_policy
        WHERE polrelid = 'shop.tenant_note'::regclass
        UNION ALL
        SELECT format('COMMENT ON ROUTINE %s IS %L', p.oid::regprocedure, 'It''s routine ' || proname)
        FROM pg_catalog.pg_proc AS p JOIN space ON space.oid = p.pronamespace
        WHERE prokind IN ('f', 'p')
          AND p.prolang <> (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'internal')
        UNION ALL
        SELECT format('COMMENT ON STATISTICS %I.%I IS %L', nspname, stxname, 'It''s statistics ' || stxname)
        FROM pg_catalog.pg_statistic_ext AS s JOIN space ON space.oid = s.stxnamespace
        UNION ALL
        SELECT format('COMMENT ON %s %s IS %L', CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype, 'It''s type ' || typname)
        FROM pg_catalog.pg_type AS t JOIN space ON space.oid = t.typnamespace
        WHERE typtype IN ('e', 'd', 'r')
    LOOP
        EXECUTE command;
    END LOOP;
    EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'The sample; it''s "commented" too');
END
$comments$;
COMMENT ON RULE price_change ON shop.product IS 'It''s a rule';
COMMENT ON COLLATION shop.plain IS 'It''s a collation';
COMMENT ON TEXT SEARCH CONFIGURATION shop.words IS 'It''s a configuration';
COMMENT ON AGGREGATE shop.concat_all(text) IS 'It''s an aggregate';
