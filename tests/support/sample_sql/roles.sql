-- SPDX-License-Identifier: GPL-3.0-or-later
-- Roles: groups, logins, memberships, options, settings, names that must be quoted. Each only when it is missing.
SET client_min_messages = error;

DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT *
        FROM (VALUES
            ('shop_owner', 'NOLOGIN'),
            ('shop_reader', 'NOLOGIN'),
            ('shop_writer', 'NOLOGIN'),
            ('shop_app', 'LOGIN PASSWORD ''sample'' CONNECTION LIMIT 50'),
            ('shop_admin', 'LOGIN NOINHERIT CREATEDB'),
            ('shop_guest', 'LOGIN VALID UNTIL ''2031-12-31 23:59:59+00'' CONNECTION LIMIT 3'),
            ('Weird "Röle"', 'LOGIN PASSWORD ''it''''s; "weird" \ %s $1'''),
            ('Weird; "Gröup" -- %s {} $1 \''', 'NOLOGIN'),
            (repeat('r', 60) || 'end', 'NOLOGIN')
        ) AS roles (name, options)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.options);
        END IF;
        -- Whoever loads the sample without being a superuser must be able to give objects away.
        IF current_setting('is_superuser') = 'off' THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted.name);
        END IF;
    END LOOP;
END
$roles$;

GRANT shop_reader TO shop_writer;
GRANT shop_writer TO shop_app;
GRANT shop_owner TO shop_admin WITH ADMIN OPTION;
GRANT shop_reader TO shop_guest, "Weird ""Röle""";
GRANT "Weird; ""Gröup"" -- %s {} $1 \'" TO "Weird ""Röle""";

ALTER ROLE shop_app SET search_path = shop, public;
ALTER ROLE shop_guest SET statement_timeout = '30s';
DO $setting$
BEGIN
    EXECUTE format('ALTER ROLE shop_app IN DATABASE %I SET work_mem = ''8MB''', current_database());
END
$setting$;
RESET client_min_messages;
