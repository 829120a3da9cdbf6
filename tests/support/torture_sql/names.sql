-- SPDX-License-Identifier: GPL-3.0-or-later
-- Identifiers that break naive quoting: hostile ones, 63 bytes, reserved words, other scripts.

CREATE TABLE "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" (
    "Ïd" integer PRIMARY KEY,
    "col ""umn""" text, "col.umn" text NOT NULL, "col'umn" text, "col;umn --" text, "col\umn" text, "%s %(name)s %%" text,
    "{} {0} {{" text, "$1 :name ?" text, " leading and trailing " text, "select" text, "ÄÖÜ ẞ 数据 🐘" text,
    "Mood" "Weird ""Schema""; --"."Type ""of"" mood; --"[],
    "Domain" "Weird ""Schema""; --"."Dömain {}",
    "new
line" integer,
    "Gen""erated" text GENERATED ALWAYS AS ("col ""umn""" || '!') STORED,
    CONSTRAINT "Chéck ""constraint""; --" CHECK ("col.umn" <> 'forbidden')
);
CREATE INDEX "Index ""name""; --" ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" (lower("col ""umn"""), "col.umn");
INSERT INTO "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" ("Ïd", "col ""umn""", "col.umn", "Mood")
SELECT i, 'a' || i, 'b.' || i, ARRAY['so "so"', ';', NULL]::"Weird ""Schema""; --"."Type ""of"" mood; --"[] FROM generate_series(1, 20) AS i;
CREATE TABLE "Weird ""Schema""; --"."0123456789012345678901234567890123456789012345678901234567890ab" (
    "0123456789012345678901234567890123456789012345678901234567890ab" serial PRIMARY KEY,
    CONSTRAINT "0123456789012345678901234567890123456789012345678901234567890ck" CHECK ("0123456789012345678901234567890123456789012345678901234567890ab" > 0)
);
CREATE TABLE "Weird ""Schema""; --"."ééééééééééééééééééééééééééééééé1" (id integer PRIMARY KEY, "ééééééééééééééééééééééééééééééé1" text UNIQUE);
INSERT INTO "Weird ""Schema""; --"."ééééééééééééééééééééééééééééééé1" SELECT i, 'v' || i FROM generate_series(1, 5) AS i;
CREATE SCHEMA "a.b";
CREATE SCHEMA "public ";
CREATE SCHEMA "0123456789012345678901234567890123456789012345678901234567890sc";
CREATE TABLE "public "."Case" ("Id" integer, id integer, "ID" integer, PRIMARY KEY ("Id", id));
CREATE TABLE "public "."case" (id integer PRIMARY KEY, "order" text);
CREATE TABLE "a.b"."c.d" (id integer PRIMARY KEY, "e.f" text);
CREATE TABLE "a.b"."c" (id integer PRIMARY KEY, "d.e.f" text);
CREATE TABLE "a.b"."table" ("user" text NOT NULL, "order" integer NOT NULL, "check" boolean, CONSTRAINT "unique" UNIQUE ("user", "order"));
ALTER TABLE "a.b"."table" REPLICA IDENTITY USING INDEX "unique";
CREATE VIEW "a.b"."Vïew ""of""; --" AS SELECT "e.f", c.id AS "c.id" FROM "a.b"."c.d" JOIN "a.b".c USING (id);
CREATE FUNCTION "a.b"."select"("from" integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT "from"';
CREATE TYPE "a.b"."integer" AS ENUM ('select');
CREATE TABLE "a.b"."int" (id integer PRIMARY KEY, "integer" "a.b"."integer", text "a.b"."integer"[]);
-- The same names in public, for whoever forgets the schema.
CREATE TABLE public.parent (id integer PRIMARY KEY, other integer);
CREATE TYPE public.mood AS ENUM ('not the other one');
INSERT INTO public.parent SELECT i, i FROM generate_series(1, 3) AS i;
CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'not the one of PostgreSQL' $$;
CREATE TABLE public.uses_lower (id integer PRIMARY KEY, name text, CHECK (public.lower(name) <> ''));
CREATE INDEX uses_lower_index ON public.uses_lower (public.lower(name), pg_catalog.lower(name));
