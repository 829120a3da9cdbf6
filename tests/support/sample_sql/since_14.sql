-- SPDX-License-Identifier: GPL-3.0-or-later
-- What PostgreSQL 14 added.

CREATE TABLE shop.since_14 (
    id integer PRIMARY KEY,
    openings datemultirange,
    amounts nummultirange,
    endless numeric,
    packed text COMPRESSION lz4
);
INSERT INTO shop.since_14
SELECT
    i,
    datemultirange(daterange('2025-01-01', '2025-01-05'), daterange(date '2025-02-01' + i, NULL)),
    CASE WHEN i % 2 = 0 THEN '{}' ELSE '{[1,2.5],(7,)}' END::nummultirange,
    CASE i % 3 WHEN 0 THEN 'Infinity' WHEN 1 THEN '-Infinity' ELSE i::text END::numeric,
    repeat('packed ' || i, 1000)
FROM generate_series(1, 30) AS i;
CREATE STATISTICS shop.since_14_expression ON (id % 10), (length(packed)) FROM shop.since_14;
CREATE FUNCTION shop.since_14_atomic(value integer) RETURNS bigint
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT count(*) FROM shop.since_14 WHERE id > value;
    END;
