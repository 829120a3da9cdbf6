-- SPDX-License-Identifier: GPL-3.0-or-later
-- Schemas and user-defined types: enums, domains, composites, ranges; and what else columns are made of.

CREATE SCHEMA shop;
CREATE SCHEMA shop_archive;

CREATE TYPE shop.order_state AS ENUM ('new', 'paid', 'sent', 'it''s "back"; --', 'ü');
ALTER TYPE shop.order_state ADD VALUE 'lost' BEFORE 'sent';

CREATE DOMAIN shop.email AS text COLLATE "C"
    CONSTRAINT email_has_at CHECK (VALUE LIKE '%_@_%');
CREATE DOMAIN shop.positive_amount AS numeric(12, 2) DEFAULT 0 NOT NULL
    CONSTRAINT amount_not_negative CHECK (VALUE >= 0);
CREATE DOMAIN shop.tags AS text[] CHECK (array_position(VALUE, NULL) IS NULL);

CREATE TYPE shop.address AS (street text, "postal code" character varying(12), city text, position point);
CREATE TYPE shop.contact AS (name text, home shop.address, mails shop.email[]);
CREATE TYPE shop.price_range AS RANGE (SUBTYPE = numeric);

CREATE COLLATION shop.plain (LOCALE = 'C');
CREATE TEXT SEARCH CONFIGURATION shop.words (COPY = pg_catalog.simple);

CREATE FUNCTION shop.concat_step(state text, item text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN state = '' THEN item ELSE state || '|' || item END $$;
CREATE AGGREGATE shop.concat_all(text) (SFUNC = shop.concat_step, STYPE = text, INITCOND = '');

DO $extensions$
DECLARE
    extension name;
BEGIN
    FOR extension IN
        SELECT name
        FROM pg_catalog.pg_available_extensions
        WHERE name IN ('citext', 'btree_gist')
        ORDER BY name
    LOOP
        EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA public', extension);
    END LOOP;
END
$extensions$;
