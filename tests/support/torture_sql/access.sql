-- SPDX-License-Identifier: GPL-3.0-or-later
-- Several owners in each schema, privileges of every sort, default privileges, settings of the database.

-- An owner must be allowed to create where his objects are; taken back below.
GRANT CREATE ON SCHEMA store, types, code, ext, public, "empty", "Weird ""Schema""; --", "a.b", "public " TO t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .";
DO $grant$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO t_owner, t_second, %I', current_database(), 't Weird "Röle"; -- %s {} $1 \'' .');
END
$grant$;

DO $owners$
DECLARE
    owners constant text[] := ARRAY['t_owner', 't_second', 't Weird "Röle"; -- %s {} $1 \'' .'];
    wanted record;
BEGIN
    FOR wanted IN
        WITH spaces AS (
            SELECT oid FROM pg_namespace WHERE nspname IN ('store', 'types', 'code', 'Weird "Schema"; --', 'a.b', 'public ', 'public')
        )
        -- Materialized views are refreshed by their owner, who may read everything.
        SELECT format('ALTER %s %s OWNER TO', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, c.oid::regclass) AS command,
               c.relname AS name
        FROM pg_class AS c
        WHERE c.relnamespace IN (SELECT oid FROM spaces) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND (d.deptype = 'e' OR d.deptype IN ('a', 'i') AND c.relkind = 'S'))
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_type'::regclass AND d.objid = c.reltype AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO', p.oid::regprocedure), p.proname
        FROM pg_proc AS p
        WHERE p.pronamespace IN (SELECT oid FROM spaces)
          AND p.prolang NOT IN (SELECT oid FROM pg_language WHERE lanname IN ('internal', 'c', 'Lang "uage";'))
          AND NOT p.proleakproof AND p.prosupport = 0
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
          AND p.prorettype <> 'event_trigger'::regtype
        UNION ALL
        SELECT format('ALTER %s %s OWNER TO', CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype), t.typname
        FROM pg_type AS t
        WHERE t.typnamespace IN (SELECT oid FROM spaces) AND t.typtype IN ('e', 'd', 'r')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER OPERATOR %s OWNER TO', o.oid::regoperator), o.oprname
        FROM pg_operator AS o WHERE o.oprnamespace IN (SELECT oid FROM spaces)
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('ALTER COLLATION %I.%I OWNER TO', n.nspname, k.collname), k.collname
        FROM pg_collation AS k JOIN pg_namespace AS n ON n.oid = k.collnamespace WHERE n.oid IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT format('ALTER CONVERSION %I.%I OWNER TO', n.nspname, k.conname), k.conname
        FROM pg_conversion AS k JOIN pg_namespace AS n ON n.oid = k.connamespace WHERE n.oid IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT format('ALTER STATISTICS %I.%I OWNER TO', n.nspname, k.stxname), k.stxname
        FROM pg_statistic_ext AS k JOIN pg_namespace AS n ON n.oid = k.stxnamespace WHERE n.oid IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT format('ALTER TEXT SEARCH CONFIGURATION %I.%I OWNER TO', n.nspname, k.cfgname), k.cfgname
        FROM pg_ts_config AS k JOIN pg_namespace AS n ON n.oid = k.cfgnamespace WHERE n.oid IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT format('ALTER TEXT SEARCH DICTIONARY %I.%I OWNER TO', n.nspname, k.dictname), k.dictname
        FROM pg_ts_dict AS k JOIN pg_namespace AS n ON n.oid = k.dictnamespace WHERE n.oid IN (SELECT oid FROM spaces)
        UNION ALL
        SELECT format('ALTER OPERATOR CLASS %I.%I USING %I OWNER TO', n.nspname, k.opcname, a.amname), k.opcname
        FROM pg_opclass AS k JOIN pg_namespace AS n ON n.oid = k.opcnamespace JOIN pg_am AS a ON a.oid = k.opcmethod
        WHERE n.nspname = 'code' AND current_setting('is_superuser') = 'on'
        UNION ALL
        SELECT format('ALTER OPERATOR FAMILY %I.%I USING %I OWNER TO', n.nspname, k.opfname, a.amname), k.opfname
        FROM pg_opfamily AS k JOIN pg_namespace AS n ON n.oid = k.opfnamespace JOIN pg_am AS a ON a.oid = k.opfmethod
        WHERE n.nspname = 'code' AND current_setting('is_superuser') = 'on'
        ORDER BY 1
    LOOP
        -- Every fourth stays with whoever made it.
        CONTINUE WHEN ascii(md5(wanted.name)) % 4 = 3 AND wanted.command NOT LIKE 'ALTER MAT%';
        EXECUTE format('%s %I', wanted.command, CASE WHEN wanted.command LIKE 'ALTER MAT%' THEN 't_owner' ELSE owners[1 + ascii(md5(wanted.name)) % 4] END);
    END LOOP;
END
$owners$;
-- What materialized views read through belongs to their owner.
ALTER VIEW store.by_key OWNER TO t_owner;
ALTER VIEW store.between_m OWNER TO t_owner;
-- A rule acts with the rights of its table's owner.
ALTER TABLE store.ruled OWNER TO t_owner;
ALTER TABLE store.ruled_log OWNER TO t_owner;
ALTER SCHEMA types OWNER TO t_second;
ALTER SCHEMA "Weird ""Schema""; --" OWNER TO "t Weird ""Röle""; -- %s {} $1 \' .";
ALTER SCHEMA "empty" OWNER TO t_owner;
REVOKE CREATE ON SCHEMA store, code, ext, public, "a.b", "public " FROM t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .";

-- What one owner's objects need of another's.
GRANT USAGE ON SCHEMA store, types, code, ext, "Weird ""Schema""; --" TO t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .", t_reader, t_app, t_guest, t_chief, t_security;
GRANT SELECT ON ALL TABLES IN SCHEMA store TO t_owner, t_second;
GRANT REFERENCES ON ALL TABLES IN SCHEMA store TO t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .";

-- Tables, columns, sequences.
GRANT SELECT ON ALL TABLES IN SCHEMA store TO t_reader;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA store TO t_writer;
GRANT ALL ON store.parent TO t_chief WITH GRANT OPTION;
GRANT SELECT (id, name), UPDATE (name), REFERENCES (id) ON store.columns TO t_guest;
GRANT SELECT (amount), INSERT (amount) ON store.columns TO t_app WITH GRANT OPTION;
GRANT SELECT (word) ON store.columns TO PUBLIC;
GRANT SELECT ON store.child TO PUBLIC;
GRANT SELECT, TRIGGER, TRUNCATE ON store.generated TO t_app WITH GRANT OPTION;
GRANT SELECT ("Ïd"), UPDATE ("new
line") ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" TO "select", "t Weird ""Röle""; -- %s {} $1 \' .";
GRANT SELECT ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" TO "t_45678901234567890123456789012345678901234567890123456789012ß";
GRANT USAGE ON SEQUENCE store.cached TO t_writer WITH GRANT OPTION;
GRANT SELECT, UPDATE ON SEQUENCE store.serials_id_seq, store."Sequence ""of""; --" TO t_reader;
GRANT SELECT ON store.m_one, store.all_of, store.event, store.event_2025_q1 TO "T_Owner" WITH GRANT OPTION;
GRANT SELECT ON store.child TO t_third;
GRANT SELECT ON store.parent TO t_expired;
-- Granted on by those who may.
SET ROLE t_app;
GRANT SELECT ON store.generated TO t_guest;
GRANT SELECT (amount) ON store.columns TO t_security WITH GRANT OPTION;
SET ROLE t_chief;
GRANT SELECT, DELETE ON store.parent TO t_app WITH GRANT OPTION;
SET ROLE t_app;
GRANT SELECT ON store.parent TO t_guest;
RESET ROLE;
SET ROLE t_security;
GRANT SELECT (amount) ON store.columns TO PUBLIC;
RESET ROLE;
--: superuser
GRANT SELECT ON store.parent TO t_replicator, t_bypasses;
--: since=17
GRANT MAINTAIN ON store.child TO t_app WITH GRANT OPTION;
--:
-- Not even the owner. A migration by somebody else than a superuser refuses tables that their owner may not read.
REVOKE ALL ON store.by_values FROM t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .", CURRENT_USER;
--: superuser
REVOKE ALL ON SCHEMA "empty" FROM t_owner;
REVOKE ALL ON store.legacy FROM t_reader, t_writer, t_owner, t_second, "t Weird ""Röle""; -- %s {} $1 \' .";
DO $nothing$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['store.excluded', 'store.viewed', 'store.descending', '"a.b"."int"', 'store.by_values'] LOOP
        EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', name, (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = name::regclass));
    END LOOP;
    -- An owner who gave himself the right to grant only.
    EXECUTE format('REVOKE INSERT, UPDATE ON store.egg FROM %I', (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'store.egg'::regclass));
END
$nothing$;
GRANT SELECT ON store.viewed TO t_owner;

--:

-- Functions, types, schemas, languages.
REVOKE ALL ON FUNCTION code.not_for_all() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION code.not_for_all() TO t_app WITH GRANT OPTION;
REVOKE ALL ON FUNCTION code.overloaded(text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE code.work(integer, text) TO t_reader;
REVOKE EXECUTE ON FUNCTION code.concat_all(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION code.concat_all(text) TO t_reader;
GRANT EXECUTE ON FUNCTION code."returns ""rows""; --"("Weird ""Schema""; --"."Type ""of"" mood; --") TO "select";
SET ROLE t_app;
GRANT EXECUTE ON FUNCTION code.not_for_all() TO t_guest;
RESET ROLE;
REVOKE USAGE ON TYPE types.contact FROM PUBLIC;
GRANT USAGE ON TYPE types.contact TO t_writer WITH GRANT OPTION;
REVOKE ALL ON DOMAIN types.even FROM PUBLIC;
GRANT USAGE ON DOMAIN types.even TO t_owner, t_second, t_reader, "t Weird ""Röle""; -- %s {} $1 \' .";
REVOKE ALL ON TYPE types.text_range FROM PUBLIC;
GRANT CREATE, USAGE ON SCHEMA code TO t_chief WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "Weird ""Schema""; --" TO PUBLIC, "t_45678901234567890123456789012345678901234567890123456789012ß";
REVOKE ALL ON SCHEMA "empty" FROM PUBLIC;
GRANT USAGE ON SCHEMA "0123456789012345678901234567890123456789012345678901234567890sc" TO t_guest;
SET ROLE t_chief;
GRANT USAGE ON SCHEMA code TO t_guest;
RESET ROLE;
--: since=15
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO t_reader WITH GRANT OPTION;
--: superuser before=15
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO t_reader WITH GRANT OPTION;
--: superuser
-- Of what PostgreSQL itself has made.
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) TO t_app;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO t_chief;
GRANT SELECT ON pg_catalog.pg_authid TO t_security;
GRANT SELECT (rolpassword) ON pg_catalog.pg_authid TO t_chief;
--: superuser since=15
GRANT SET ON PARAMETER log_statement TO t_app;
GRANT ALTER SYSTEM ON PARAMETER work_mem TO t_chief WITH GRANT OPTION;

--:
ALTER DEFAULT PRIVILEGES FOR ROLE t_owner IN SCHEMA store GRANT SELECT ON TABLES TO t_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE t_owner IN SCHEMA store, "Weird ""Schema""; --" GRANT ALL ON SEQUENCES TO t_writer WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE t_owner GRANT EXECUTE ON FUNCTIONS TO t_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE t_owner REVOKE INSERT ON TABLES FROM t_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE "t Weird ""Röle""; -- %s {} $1 \' ." REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "t Weird ""Röle""; -- %s {} $1 \' ." REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE t_second GRANT USAGE, CREATE ON SCHEMAS TO t_chief;
ALTER DEFAULT PRIVILEGES IN SCHEMA code GRANT EXECUTE ON FUNCTIONS TO t_app, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO t_guest;
--: since=18
ALTER DEFAULT PRIVILEGES FOR ROLE t_owner GRANT SELECT ON LARGE OBJECTS TO t_reader;

--:
DO $database$
DECLARE
    name constant text := current_database();
BEGIN
    EXECUTE format('REVOKE CREATE ON DATABASE %I FROM t_second', name);
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', name);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO t_app, t_reader WITH GRANT OPTION', name);
    EXECUTE format('GRANT TEMPORARY, CREATE ON DATABASE %I TO t_chief', name);
    EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 47', name);
    EXECUTE format('ALTER DATABASE %I SET search_path = store, "Weird ""Schema""; --", "$user"', name);
    EXECUTE format('ALTER DATABASE %I SET DateStyle = ''SQL, DMY''', name);
    EXECUTE format('ALTER DATABASE %I SET IntervalStyle = ''iso_8601''', name);
    EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', name);
    EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''47s''', name);
    EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', name);
    EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', name);
    EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', name);
    EXECUTE format('ALTER DATABASE %I SET temp_tablespaces = ''''', name);
    EXECUTE format('COMMENT ON DATABASE %I IS ''It''''s the "torture" database; \ --''', name);
END
$database$;
--: superuser
DO $database$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET "app.who" = ''it''''s "somebody"; \ %%s''', current_database());
END
$database$;
