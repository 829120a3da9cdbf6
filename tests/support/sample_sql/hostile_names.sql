-- SPDX-License-Identifier: GPL-3.0-or-later
-- Names are data: quotes, dots, spaces, semicolons, comment signs, placeholders, Unicode, 63 bytes, reserved words.

CREATE SCHEMA "Weird ""Schema""; --";
CREATE SCHEMA "public ";
CREATE SCHEMA "a.b";

CREATE TYPE "Weird ""Schema""; --"."Type ""of"" mood; --" AS ENUM ('so "so"', 'o''k', ';', '--', '%s');
CREATE DOMAIN "Weird ""Schema""; --"."Dömain {}" AS text CONSTRAINT "chéck ""me""" CHECK (VALUE <> 'never');
CREATE FUNCTION "Weird ""Schema""; --"."fünc ""tion""; %s"("Wéird ""arg""" integer DEFAULT 1) RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT $1 + 1 $$;
CREATE SEQUENCE "Weird ""Schema""; --"."Se""quence; DROP TABLE x; --";
SELECT nextval('"Weird ""Schema""; --"."Se""quence; DROP TABLE x; --"') FROM generate_series(1, 42);

CREATE TABLE "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" (
    "Id" integer PRIMARY KEY DEFAULT nextval('"Weird ""Schema""; --"."Se""quence; DROP TABLE x; --"'),
    "col ""umn""" text COLLATE "C",
    "col.umn" text,
    "col'umn" text,
    "col;umn --" text,
    "col\umn" text,
    "%s %(name)s %%" text,
    "{} {0} {{" text,
    "$1 :name ?" text,
    " leading and trailing " text,
    "select" text,
    "ÄÖÜ ẞ 数据 🐘" text,
    "Mood" "Weird ""Schema""; --"."Type ""of"" mood; --"[],
    "Domain" "Weird ""Schema""; --"."Dömain {}",
    "Gen""erated" text GENERATED ALWAYS AS ("col ""umn""" || '!') STORED,
    CONSTRAINT "Chéck ""constraint""; --" CHECK ("col.umn" <> 'forbidden')
);
CREATE INDEX "Index ""name""; --" ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" (lower("col ""umn"""), "col.umn");
INSERT INTO "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" (
    "col ""umn""", "col.umn", "col'umn", "col;umn --", "col\umn", "%s %(name)s %%", "{} {0} {{", "$1 :name ?",
    " leading and trailing ", "select", "ÄÖÜ ẞ 数据 🐘", "Mood", "Domain"
)
SELECT
    'a' || i, 'b.' || i, 'c''' || i, 'd;--' || i, 'e\' || i, '%s', '{}', '$1', ' ', 'SELECT', '数据 ' || i,
    CASE WHEN i % 2 = 0 THEN ARRAY['so "so"', ';', NULL]::"Weird ""Schema""; --"."Type ""of"" mood; --"[] END,
    NULLIF('x' || i % 3, 'x0')
FROM generate_series(1, 100) AS i;

-- 63 bytes, the longest a name can be, in bytes and with multi-byte characters.
CREATE TABLE "Weird ""Schema""; --"."0123456789012345678901234567890123456789012345678901234567890ab" (
    "0123456789012345678901234567890123456789012345678901234567890ab" integer PRIMARY KEY
);
CREATE TABLE "Weird ""Schema""; --"."ééééééééééééééééééééééééééééééé1" (id integer PRIMARY KEY, "ééééééééééééééééééééééééééééééé1" text);
INSERT INTO "Weird ""Schema""; --"."0123456789012345678901234567890123456789012345678901234567890ab"
SELECT i FROM generate_series(1, 30) AS i;
INSERT INTO "Weird ""Schema""; --"."ééééééééééééééééééééééééééééééé1" SELECT i, 'v' || i FROM generate_series(1, 30) AS i;

-- Names that differ in case or in a space only, reserved words, and names that split at a dot.
CREATE TABLE "public "."Case" ("Id" integer, id integer, "ID" integer, PRIMARY KEY ("Id", id));
CREATE TABLE "public "."case" (id integer PRIMARY KEY, "order" text);
CREATE TABLE "public ".pgbench_branches (bid integer PRIMARY KEY, note text);
CREATE TABLE "a.b"."c.d" (id integer PRIMARY KEY, "e.f" text);
CREATE TABLE "a.b"."c" (id integer PRIMARY KEY, "d.e.f" text);
CREATE TABLE "a.b"."""quoted""" (id integer PRIMARY KEY);
CREATE TABLE "a.b"."table" ("user" text NOT NULL, "order" integer NOT NULL, "check" boolean);
CREATE UNIQUE INDEX "unique" ON "a.b"."table" ("user", "order");
ALTER TABLE "a.b"."table" REPLICA IDENTITY USING INDEX "unique";
CREATE TABLE "a.b"."no key; --" ("va""lue" text, "n" integer);
ALTER TABLE "a.b"."no key; --" REPLICA IDENTITY FULL;
CREATE TABLE "a.b"."part ""itioned""" ("k'ey" integer PRIMARY KEY, "v" text) PARTITION BY RANGE ("k'ey");
CREATE TABLE "a.b"."part ""1""; --" PARTITION OF "a.b"."part ""itioned""" FOR VALUES FROM (1) TO (50);
CREATE TABLE "a.b"."part ""2""; --" PARTITION OF "a.b"."part ""itioned""" DEFAULT;
CREATE VIEW "a.b"."Vïew ""of""; --" AS SELECT "k'ey", "v" FROM "a.b"."part ""itioned""";
CREATE MATERIALIZED VIEW "a.b"."Mat ""View""; --" AS SELECT * FROM "a.b"."Vïew ""of""; --";

INSERT INTO "public "."Case" SELECT i, -i, i * i FROM generate_series(1, 20) AS i;
INSERT INTO "public "."case" SELECT i, 'order ' || i FROM generate_series(1, 10) AS i;
INSERT INTO "public ".pgbench_branches VALUES (1, 'not the one of pgbench');
INSERT INTO "a.b"."c.d" SELECT i, 'one' FROM generate_series(1, 5) AS i;
INSERT INTO "a.b"."c" SELECT i, 'two' FROM generate_series(1, 6) AS i;
INSERT INTO "a.b"."""quoted""" VALUES (1), (2);
INSERT INTO "a.b"."table" SELECT 'user ' || i % 3, i, i % 2 = 0 FROM generate_series(1, 12) AS i;
INSERT INTO "a.b"."no key; --" SELECT NULLIF('x' || i % 4, 'x0'), i % 2 FROM generate_series(1, 16) AS i;
INSERT INTO "a.b"."part ""itioned""" SELECT i, 'v' || i FROM generate_series(1, 80) AS i;
REFRESH MATERIALIZED VIEW "a.b"."Mat ""View""; --";
