-- SPDX-License-Identifier: GPL-3.0-or-later
-- 120 small tables, a few rows each, every seventh empty: what takes many round trips instead of many bytes.

CREATE SCHEMA small;

DO $small$
BEGIN
    FOR number IN 1..120 LOOP
        EXECUTE format(
            'CREATE TABLE small.%I (id %s PRIMARY KEY, name text NOT NULL, amount numeric(10, 2), changed_at timestamp with time zone)',
            'table_' || lpad(number::text, 3, '0'),
            (ARRAY['integer', 'bigserial', 'integer GENERATED ALWAYS AS IDENTITY', 'bigint'])[1 + number % 4]
        );
        EXECUTE format(
            'INSERT INTO small.%I (id, name, amount, changed_at) OVERRIDING SYSTEM VALUE
             SELECT i, %L || i, i * 1.25, timestamp with time zone ''2025-05-05 05:05:05+00'' + i * interval ''1 hour''
             FROM generate_series(1, %s) AS i',
            'table_' || lpad(number::text, 3, '0'), 'row of ' || number || ' ', number % 7 * 3
        );
    END LOOP;
END
$small$;
