-- SPDX-License-Identifier: GPL-3.0-or-later
-- What PostgreSQL 17 added.

CREATE TABLE shop.since_17 (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at date NOT NULL,
    span interval,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE shop.since_17_all PARTITION OF shop.since_17 DEFAULT;
INSERT INTO shop.since_17 (at, span)
SELECT date '2025-01-01' + i, CASE i % 3 WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' ELSE '1 hour' END::interval
FROM generate_series(1, 30) AS i;
GRANT MAINTAIN ON shop.since_17 TO shop_writer;
