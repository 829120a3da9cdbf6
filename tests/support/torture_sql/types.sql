-- SPDX-License-Identifier: GPL-3.0-or-later
-- Types of every sort: shell, base, enum, domain, composite, range; casts between them.

--: superuser
CREATE TYPE types.only_a_shell;
CREATE TYPE types.whole;
CREATE FUNCTION types.whole_in(cstring) RETURNS types.whole LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8in';
CREATE FUNCTION types.whole_out(types.whole) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8out';
CREATE FUNCTION types.whole_recv(internal) RETURNS types.whole LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8recv';
CREATE FUNCTION types.whole_send(types.whole) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int8send';
CREATE TYPE types.whole (
    INPUT = types.whole_in, OUTPUT = types.whole_out, RECEIVE = types.whole_recv, SEND = types.whole_send,
    INTERNALLENGTH = 8, PASSEDBYVALUE, ALIGNMENT = double, STORAGE = plain, CATEGORY = 'N', PREFERRED = false,
    DEFAULT = '42', DELIMITER = ';', COLLATABLE = false
);
CREATE FUNCTION types.whole_int8lt(types.whole, types.whole) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int8lt';
CREATE OPERATOR types.< (FUNCTION = types.whole_int8lt, LEFTARG = types.whole, RIGHTARG = types.whole, COMMUTATOR = OPERATOR(types.>), NEGATOR = OPERATOR(types.>=));
CREATE FUNCTION types.whole_int8le(types.whole, types.whole) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int8le';
CREATE OPERATOR types.<= (FUNCTION = types.whole_int8le, LEFTARG = types.whole, RIGHTARG = types.whole, COMMUTATOR = OPERATOR(types.>=), NEGATOR = OPERATOR(types.>));
CREATE FUNCTION types.whole_int8eq(types.whole, types.whole) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int8eq';
CREATE OPERATOR types.= (FUNCTION = types.whole_int8eq, LEFTARG = types.whole, RIGHTARG = types.whole, COMMUTATOR = OPERATOR(types.=), RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE FUNCTION types.whole_int8ge(types.whole, types.whole) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int8ge';
CREATE OPERATOR types.>= (FUNCTION = types.whole_int8ge, LEFTARG = types.whole, RIGHTARG = types.whole, COMMUTATOR = OPERATOR(types.<=), NEGATOR = OPERATOR(types.<));
CREATE FUNCTION types.whole_int8gt(types.whole, types.whole) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'int8gt';
CREATE OPERATOR types.> (FUNCTION = types.whole_int8gt, LEFTARG = types.whole, RIGHTARG = types.whole, COMMUTATOR = OPERATOR(types.<), NEGATOR = OPERATOR(types.<=));
CREATE FUNCTION types.whole_compare(types.whole, types.whole) RETURNS integer LANGUAGE internal IMMUTABLE STRICT AS 'btint8cmp';
CREATE FUNCTION types.word_in(cstring) RETURNS "Weird ""Schema""; --"."Base ""type"";" LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION types.word_out("Weird ""Schema""; --"."Base ""type"";") RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE "Weird ""Schema""; --"."Base ""type"";" (
    INPUT = types.word_in, OUTPUT = types.word_out, INTERNALLENGTH = VARIABLE, STORAGE = extended, COLLATABLE = true,
    LIKE = text
);
CREATE CAST (types.whole AS bigint) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (bigint AS types.whole) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (types.whole AS bigint) IS 'It''s a cast';

--:
CREATE TYPE types.mood AS ENUM ('good', 'bad');
CREATE TYPE types.unused AS ENUM ();
CREATE TYPE "Weird ""Schema""; --"."Type ""of"" mood; --" AS ENUM ('so "so"', ';', '', 'it''s \ back', '数据');
--:
-- Labels added before, between and after, so that their sort order is no longer their age.
ALTER TYPE types.mood ADD VALUE 'worse';
--:
ALTER TYPE types.mood ADD VALUE 'best' BEFORE 'good';
--:
ALTER TYPE types.mood ADD VALUE 'so-so; it''s' AFTER 'good';
--:
ALTER TYPE types.mood RENAME VALUE 'worse' TO 'worst';

CREATE FUNCTION types.is_even(integer) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS 'SELECT $1 % 2 = 0';
CREATE DOMAIN types.even AS integer DEFAULT 2 NOT NULL CONSTRAINT is_even CHECK (types.is_even(VALUE));
CREATE DOMAIN types.small_even AS types.even CONSTRAINT small CHECK (VALUE < 1000) CONSTRAINT positive CHECK (VALUE > -1000);
CREATE DOMAIN types.code_word AS character varying(20) COLLATE "C" CHECK (VALUE <> '') CHECK (VALUE !~ '^\s');
ALTER DOMAIN types.code_word ADD CONSTRAINT not_checked CHECK (length(VALUE) > 1) NOT VALID;
ALTER DOMAIN types.code_word ADD CONSTRAINT "Chéck ""of""; --" CHECK (VALUE <> 'forb"idden');
CREATE DOMAIN types.words AS text[] CHECK (array_position(VALUE, NULL) IS NULL);
CREATE DOMAIN "Weird ""Schema""; --"."Dömain {}" AS text DEFAULT 'it''s' CHECK (VALUE <> 'x;y');
COMMENT ON CONSTRAINT small ON DOMAIN types.small_even IS 'It''s small';

CREATE TYPE types.address AS (street text, "postal code" character varying(12), gone integer, city text COLLATE "C");
ALTER TYPE types.address DROP ATTRIBUTE gone;
ALTER TYPE types.address ADD ATTRIBUTE position point;
ALTER TYPE types.address ALTER ATTRIBUTE street TYPE character varying(200);
ALTER TYPE types.address RENAME ATTRIBUTE city TO town;
CREATE TYPE types.contact AS (name text, home types.address, others types.address[], mood types.mood, even types.even);
CREATE TYPE types.nothing AS ();
CREATE TYPE "Weird ""Schema""; --"."Cömposite;" AS ("ä ""b"";" text, "select" integer[]);
COMMENT ON COLUMN types.address."postal code" IS 'It''s a column of a type';

CREATE FUNCTION types.text_distance(text, text) RETURNS double precision LANGUAGE sql IMMUTABLE STRICT
    AS 'SELECT (length($2) - length($1))::double precision';
CREATE TYPE types.price_range AS RANGE (SUBTYPE = numeric);
CREATE TYPE types.text_range AS RANGE (SUBTYPE = text, COLLATION = "C", SUBTYPE_OPCLASS = text_pattern_ops, SUBTYPE_DIFF = types.text_distance);
--: since=14
CREATE TYPE types.time_range AS RANGE (SUBTYPE = time, MULTIRANGE_TYPE_NAME = types."Time ""ranges"";");

--:
CREATE FUNCTION types.mood_number(types.mood) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT CASE $1 WHEN 'good' THEN 1 WHEN 'bad' THEN -1 ELSE 0 END $$;
CREATE FUNCTION types.number_mood(integer) RETURNS types.mood LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT CASE WHEN $1 < 0 THEN 'bad' ELSE 'good' END::types.mood $$;
CREATE CAST (types.mood AS integer) WITH FUNCTION types.mood_number(types.mood) AS ASSIGNMENT;
CREATE CAST (integer AS types.mood) WITH FUNCTION types.number_mood(integer);
CREATE CAST (types.contact AS text) WITH INOUT;
CREATE CAST (text AS types.contact) WITH INOUT AS ASSIGNMENT;
