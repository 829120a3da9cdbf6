-- SPDX-License-Identifier: GPL-3.0-or-later
-- Functions with every attribute, procedures, aggregates, operators with their classes and families, text search.

CREATE FUNCTION code.plain(a integer, b integer DEFAULT 1 + 1, c text DEFAULT 'it''s "c"; \') RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 AS $$ SELECT a + b + length(c) $$;
CREATE FUNCTION code.rows_of(minimum integer, OUT number integer, OUT "wörd ""of""" text) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED COST 123 ROWS 45 AS $$ SELECT n, 'w' || n FROM generate_series(minimum, minimum + 2) AS n $$;
CREATE FUNCTION code.as_table(INOUT a integer, VARIADIC rest text[] DEFAULT '{}') LANGUAGE plpgsql VOLATILE
    AS $body$ BEGIN a := a + cardinality(rest); /* $$ inside $$ */ END $body$;
CREATE FUNCTION code.table_of(prefix text) RETURNS TABLE (n bigint, label text) LANGUAGE plpgsql CALLED ON NULL INPUT
    AS $$ BEGIN RETURN QUERY SELECT i::bigint, prefix || i FROM generate_series(1, 3) AS i; END $$;
CREATE FUNCTION code.defined_by(whom text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = code, types, "Weird ""Schema""; --", pg_temp SET work_mem = '9MB' SET DateStyle = 'ISO, DMY'
    AS $$ BEGIN RETURN current_user || whom; END $$;
CREATE FUNCTION code.from_current() RETURNS text LANGUAGE sql STABLE SET TimeZone = 'UTC' AS $$ SELECT current_setting('TimeZone') $$;
CREATE FUNCTION code.of_any(anyelement, anyarray) RETURNS anyelement LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce($1, $2[1]) $$;
CREATE FUNCTION code.overloaded() RETURNS integer LANGUAGE sql AS 'SELECT 0';
CREATE FUNCTION code.overloaded(text) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION code.overloaded(integer, types.mood[]) RETURNS integer LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION code."returns ""rows""; --"("a ""b"";" "Weird ""Schema""; --"."Type ""of"" mood; --") RETURNS SETOF "Weird ""Schema""; --"."Cömposite;"
    LANGUAGE sql ROWS 2 AS $$ SELECT ROW('x', NULL)::"Weird ""Schema""; --"."Cömposite;" $$;
CREATE FUNCTION code.search_step(n integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT n * 2';
-- An index calls it: it finds search_step by its own search_path.
CREATE FUNCTION code.for_index(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = code
    AS 'BEGIN RETURN search_step(n); END';
CREATE FUNCTION code.not_for_all() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION code.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION code.after_statement() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION code.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE DEBUG 'ddl'; END $$;
CREATE PROCEDURE code.work(a integer, INOUT b text DEFAULT NULL) LANGUAGE plpgsql AS $$ BEGIN b := b || a; END $$;
CREATE PROCEDURE code."Pröc ""edure"";"(VARIADIC a integer[]) LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT 1';
--: since=13
CREATE FUNCTION code.compatible(anycompatible, anycompatiblearray) RETURNS anycompatible LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce($1, $2[1]) $$;
--: since=14
CREATE FUNCTION code.atomic(value integer) RETURNS bigint LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT 1;
        SELECT count(*) FROM pg_catalog.generate_series(1, value) AS n WHERE n % 2 = 0;
    END;
CREATE FUNCTION code.returning(value integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN code.search_step(value) + 1;
CREATE FUNCTION code.of_multirange(anymultirange) RETURNS anyrange LANGUAGE sql IMMUTABLE AS $$ SELECT range_merge($1) $$;
CREATE PROCEDURE code.outgoing(IN a integer, OUT b integer) LANGUAGE sql BEGIN ATOMIC SELECT a + 1; END;
--: superuser
CREATE FUNCTION code.tight(a bigint) RETURNS boolean LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT a > 0';
CREATE FUNCTION code.row_number() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE AS 'window_row_number';
CREATE FUNCTION code.prefixed(text, text) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT SUPPORT pg_catalog.textlike_support AS 'textlike' SET "app.who" = 'it''s "a", b';
CREATE FUNCTION code.in_our_language() RETURNS integer LANGUAGE "Lang ""uage"";" AS 'BEGIN RETURN 1; END';

--:
CREATE FUNCTION code.concat_step(state text, item text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN state = '' THEN item ELSE state || '|' || item END $$;
CREATE FUNCTION code.concat_end(state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '[' || state || ']' $$;
CREATE FUNCTION code.add(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1 + $2';
CREATE FUNCTION code.subtract(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 - $2';
CREATE AGGREGATE code.concat_all(text) (SFUNC = code.concat_step, STYPE = text, SSPACE = 100, INITCOND = 'it''s', FINALFUNC = code.concat_end);
CREATE AGGREGATE code.moving_sum(numeric) (
    SFUNC = code.add, STYPE = numeric, COMBINEFUNC = code.add, INITCOND = '0', PARALLEL = SAFE,
    MSFUNC = code.add, MINVFUNC = code.subtract, MSTYPE = numeric, MINITCOND = '0', FINALFUNC_MODIFY = READ_ONLY
);
CREATE FUNCTION code.keep(state text[], VARIADIC items text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT state || items';
CREATE AGGREGATE code.all_of(VARIADIC items text[]) (SFUNC = code.keep, STYPE = text[], INITCOND = '{}');
CREATE FUNCTION code.collect(state text[], item text) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT state || item';
CREATE FUNCTION code.pick(state text[], place integer) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT (SELECT array_agg(s ORDER BY s) FROM unnest(state) AS s)[place]';
CREATE AGGREGATE code.nth(place integer ORDER BY item text) (SFUNC = code.collect, STYPE = text[], INITCOND = '{}', FINALFUNC = code.pick);
CREATE AGGREGATE code.least_number(integer) (SFUNC = int4smaller, STYPE = integer, SORTOP = OPERATOR(pg_catalog.<));
CREATE AGGREGATE code."Ägg ""regate"";"(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');

CREATE FUNCTION code.near(numeric, numeric) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT abs($1 - $2) < 1';
CREATE FUNCTION code.far(numeric, numeric) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT abs($1 - $2) >= 1';
CREATE FUNCTION code.absolute(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS 'SELECT abs($1)';
CREATE OPERATOR code.=~~= (FUNCTION = code.near, LEFTARG = numeric, RIGHTARG = numeric, COMMUTATOR = OPERATOR(code.=~~=),
    NEGATOR = OPERATOR(code.<~~>), RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR code.<~~> (FUNCTION = code.far, LEFTARG = numeric, RIGHTARG = numeric, COMMUTATOR = OPERATOR(code.<~~>),
    NEGATOR = OPERATOR(code.=~~=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR code.@#@ (FUNCTION = code.absolute, RIGHTARG = numeric);

CREATE FUNCTION code.mood_before(types.mood, types.mood) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT types.mood_number($1) < types.mood_number($2)';
CREATE FUNCTION code.mood_not_after(types.mood, types.mood) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT types.mood_number($1) <= types.mood_number($2)';
CREATE FUNCTION code.mood_same(types.mood, types.mood) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT types.mood_number($1) = types.mood_number($2)';
CREATE FUNCTION code.mood_not_before(types.mood, types.mood) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT types.mood_number($1) >= types.mood_number($2)';
CREATE FUNCTION code.mood_after(types.mood, types.mood) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT types.mood_number($1) > types.mood_number($2)';
CREATE FUNCTION code.mood_compare(types.mood, types.mood) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp(types.mood_number($1), types.mood_number($2))';
CREATE FUNCTION code.mood_hash(types.mood) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT hashint4(types.mood_number($1))';
CREATE OPERATOR code.<# (FUNCTION = code.mood_before, LEFTARG = types.mood, RIGHTARG = types.mood, COMMUTATOR = OPERATOR(code.>#), NEGATOR = OPERATOR(code.>=#), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR code.<=# (FUNCTION = code.mood_not_after, LEFTARG = types.mood, RIGHTARG = types.mood, COMMUTATOR = OPERATOR(code.>=#), NEGATOR = OPERATOR(code.>#));
CREATE OPERATOR code.=# (FUNCTION = code.mood_same, LEFTARG = types.mood, RIGHTARG = types.mood, COMMUTATOR = OPERATOR(code.=#), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR code.>=# (FUNCTION = code.mood_not_before, LEFTARG = types.mood, RIGHTARG = types.mood, COMMUTATOR = OPERATOR(code.<=#), NEGATOR = OPERATOR(code.<#));
CREATE OPERATOR code.># (FUNCTION = code.mood_after, LEFTARG = types.mood, RIGHTARG = types.mood, COMMUTATOR = OPERATOR(code.<#), NEGATOR = OPERATOR(code.<=#));
COMMENT ON OPERATOR code.=# (types.mood, types.mood) IS 'It''s an operator';

--: superuser
CREATE OPERATOR FAMILY code.mood_family USING btree;
CREATE OPERATOR CLASS code.mood_class FOR TYPE types.mood USING btree FAMILY code.mood_family AS
    OPERATOR 1 code.<#, OPERATOR 2 code.<=#, OPERATOR 3 code.=#, OPERATOR 4 code.>=#, OPERATOR 5 code.>#,
    FUNCTION 1 code.mood_compare(types.mood, types.mood);
CREATE OPERATOR CLASS code.mood_hash_class FOR TYPE types.mood USING hash AS OPERATOR 1 code.=#, FUNCTION 1 code.mood_hash(types.mood);
CREATE OPERATOR FAMILY code.loose USING gist;
CREATE OPERATOR FAMILY "Weird ""Schema""; --"."Fämily ""of"";" USING btree;
CREATE FUNCTION code.int_text_compare(integer, text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS 'SELECT 0';
CREATE FUNCTION code.int_text_less(integer, text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT false';
CREATE OPERATOR code.<#< (FUNCTION = code.int_text_less, LEFTARG = integer, RIGHTARG = text);
-- Members of a family that belong to no class.
ALTER OPERATOR FAMILY "Weird ""Schema""; --"."Fämily ""of"";" USING btree ADD
    OPERATOR 1 code.<#< (integer, text), FUNCTION 1 (integer, text) code.int_text_compare(integer, text);
CREATE OPERATOR CLASS code.whole_class DEFAULT FOR TYPE types.whole USING btree AS
    OPERATOR 1 types.<, OPERATOR 2 types.<=, OPERATOR 3 types.=, OPERATOR 4 types.>=, OPERATOR 5 types.>,
    FUNCTION 1 types.whole_compare(types.whole, types.whole);
CREATE OPERATOR CLASS code.box_class DEFAULT FOR TYPE box USING gist_of_ours AS
    OPERATOR 3 &&, FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), FUNCTION 2 gist_box_union(internal, internal),
    FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal);
COMMENT ON OPERATOR CLASS code.mood_class USING btree IS 'It''s a class';
COMMENT ON OPERATOR FAMILY code.loose USING gist IS 'It''s a family';
CREATE TEXT SEARCH TEMPLATE code.template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH PARSER code.parser (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE TEXT SEARCH DICTIONARY code.of_template (TEMPLATE = code.template, STOPWORDS = english);
CREATE TEXT SEARCH CONFIGURATION code.of_parser (PARSER = code.parser);
ALTER TEXT SEARCH CONFIGURATION code.of_parser ADD MAPPING FOR asciiword WITH code.of_template;
COMMENT ON TEXT SEARCH TEMPLATE code.template IS 'It''s a template';
COMMENT ON TEXT SEARCH PARSER code.parser IS 'It''s a parser';

--:
CREATE TEXT SEARCH DICTIONARY code.simple_words (TEMPLATE = pg_catalog.simple, STOPWORDS = 'english', ACCEPT = 'false');
CREATE TEXT SEARCH DICTIONARY "Weird ""Schema""; --"."Dict ""ionary"";" (TEMPLATE = pg_catalog.snowball, LANGUAGE = 'german');
CREATE TEXT SEARCH CONFIGURATION code.words (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION code.words ALTER MAPPING FOR asciiword, word WITH code.simple_words, "Weird ""Schema""; --"."Dict ""ionary"";", pg_catalog.simple;
ALTER TEXT SEARCH CONFIGURATION code.words DROP MAPPING FOR email;
CREATE TEXT SEARCH CONFIGURATION "Weird ""Schema""; --"."Cönfig;" (PARSER = pg_catalog."default");
