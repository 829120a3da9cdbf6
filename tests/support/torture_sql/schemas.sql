-- SPDX-License-Identifier: GPL-3.0-or-later
-- Schemas, extensions, collations, languages.

CREATE SCHEMA store;
CREATE SCHEMA types;
CREATE SCHEMA code;
CREATE SCHEMA ext;
CREATE SCHEMA "empty";
CREATE SCHEMA "Weird ""Schema""; --";

-- In a schema of its own, and members moved into another one.
--: extension=citext
CREATE EXTENSION citext SCHEMA ext;
--: extension=btree_gist
CREATE EXTENSION btree_gist SCHEMA ext;
--: extension=hstore
CREATE EXTENSION hstore SCHEMA "Weird ""Schema""; --";
--: extension=pgcrypto
CREATE EXTENSION pgcrypto SCHEMA public;
--: extension=isn superuser
CREATE EXTENSION isn SCHEMA ext;
--: extension=dblink superuser
CREATE EXTENSION dblink SCHEMA public;
--: extension=pg_stat_statements superuser
CREATE EXTENSION pg_stat_statements SCHEMA ext;
--: extension=pgcrypto
-- Privileges and a comment on members of an extension.
REVOKE EXECUTE ON FUNCTION public.gen_salt(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.gen_salt(text) TO t_app;
--: extension=pgcrypto
COMMENT ON EXTENSION pgcrypto IS 'It''s a comment of our own';

--:
CREATE COLLATION types.plain (LOCALE = 'C');
CREATE COLLATION types.copied FROM "POSIX";
CREATE COLLATION "Weird ""Schema""; --"."Cöll ""ation"";" (LC_COLLATE = 'C', LC_CTYPE = 'C');
--: icu
CREATE COLLATION types.numeric_order (PROVIDER = icu, LOCALE = 'en-u-kn-true');
CREATE COLLATION types.ignores_case (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
--: icu since=16
CREATE COLLATION types.with_rules (PROVIDER = icu, LOCALE = 'en', RULES = '&a < g');
--: since=17
CREATE COLLATION types.built_in (PROVIDER = builtin, LOCALE = 'C.UTF-8');

--: superuser
CREATE FUNCTION code.handler() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION code.inline_handler(internal) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE FUNCTION code.validator(oid) RETURNS void LANGUAGE c STRICT AS '$libdir/plpgsql', 'plpgsql_validator';
CREATE TRUSTED LANGUAGE "Lang ""uage"";" HANDLER code.handler INLINE code.inline_handler VALIDATOR code.validator;
REVOKE USAGE ON LANGUAGE "Lang ""uage"";" FROM PUBLIC;
GRANT USAGE ON LANGUAGE "Lang ""uage"";" TO t_app WITH GRANT OPTION;
CREATE ACCESS METHOD heap_of_ours TYPE TABLE HANDLER heap_tableam_handler;
CREATE ACCESS METHOD gist_of_ours TYPE INDEX HANDLER gisthandler;
COMMENT ON ACCESS METHOD heap_of_ours IS 'It''s a heap';
COMMENT ON LANGUAGE "Lang ""uage"";" IS 'It''s a language';

--:
CREATE CONVERSION code.to_latin FOR 'UTF8' TO 'LATIN1' FROM pg_catalog.utf8_to_iso8859_1;
CREATE DEFAULT CONVERSION "Weird ""Schema""; --"."Conv ""ersion"";" FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8;
