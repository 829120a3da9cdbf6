-- SPDX-License-Identifier: GPL-3.0-or-later
-- The shop's rows: the same for the same sample.scale on every server (no random(), no now()).

INSERT INTO shop.category (id, parent_id, name)
SELECT i, NULLIF(i / 4, 0), 'category ' || i
FROM generate_series(1, 60) AS i;

INSERT INTO shop.product (category_id, name, price, valid_prices, labels, matrix, attributes, words)
SELECT
    1 + i % 60,
    'Product ' || md5(i::text),
    (i * 37 % 100000) / 100.0,
    CASE WHEN i % 11 = 0 THEN NULL WHEN i % 7 = 0 THEN 'empty' ELSE shop.price_range(i % 50, i % 50 + 10.5, '[]') END,
    CASE i % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{new}' ELSE ARRAY['a "quote"', 'comma, brace }', 'back\slash', ''] END,
    CASE WHEN i % 5 = 0 THEN ARRAY[[i, 2], [NULL, 4]] END,
    jsonb_build_object('size', i % 10, 'text', 'tab' || chr(9) || 'line' || chr(10) || '"é"', 'none', NULL, 'n', 1.50),
    to_tsvector('shop.words', 'product number ' || i)
FROM generate_series(1, 500 * current_setting('sample.scale')::integer) AS i;

INSERT INTO shop.customer (mail, name, note, contact, birthday, token)
SELECT
    CASE WHEN i % 13 <> 0 THEN 'customer' || i || '@example.com' END,
    CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'Customer ' || i END,
    CASE i % 4 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN '\N' ELSE E'two\nlines\tand a tab\\' END,
    CASE WHEN i % 3 = 0 THEN
        ROW('Jo "the" O''Neil', ROW('Main, St. (1)', NULL, '', point(i, -i)), ARRAY['a@b.c', 'x,y@z.w'])::shop.contact
    END,
    date '1950-01-01' + i % 20000,
    CASE WHEN i % 2 = 0 THEN md5('customer' || i)::uuid END
FROM generate_series(1, 2000 * current_setting('sample.scale')::integer) AS i;

-- head_id is checked at commit only.
INSERT INTO shop.department (id, name, head_id)
SELECT i, 'Department ' || i, 90 + 10 * i
FROM generate_series(1, 10) AS i;
INSERT INTO shop.employee (department_id, manager_id, name)
SELECT 1 + (i - 1) % 10, CASE WHEN i > 10 THEN 100 + 10 * (i % 10) END, 'Employee ' || i
FROM generate_series(1, 200) AS i;
SELECT setval('shop.department_id_seq', 10);

INSERT INTO shop."order" (customer_id, state, placed_at, states)
SELECT
    1 + i % (2000 * current_setting('sample.scale')::integer),
    (enum_range(NULL::shop.order_state))[1 + i % 6],
    timestamp with time zone '2025-01-01 00:00:00.123456+00' + i * interval '7 minutes 1 microsecond',
    CASE WHEN i % 2 = 0 THEN enum_range(NULL::shop.order_state) END
FROM generate_series(1, 4000 * current_setting('sample.scale')::integer) AS i;

INSERT INTO shop.order_line (order_id, line, product_id, quantity, amount)
SELECT o, l, 1000 + (o * 7 + l) % (500 * current_setting('sample.scale')::integer), 1 + l, (o % 100) + l / 100.0
FROM generate_series(1, 4000 * current_setting('sample.scale')::integer) AS o, generate_series(1, 3) AS l;
UPDATE shop."order" AS o
SET total = lines.total
FROM (SELECT order_id, sum(amount) AS total FROM shop.order_line GROUP BY order_id) AS lines
WHERE lines.order_id = o.id;

-- Values of all sizes: inline, compressed, out of line, and some above 1 MB.
INSERT INTO shop.document (id, title, body, raw, external_body, settings)
SELECT
    i,
    'Document ' || i,
    repeat('compressible ' || i || ' ', 3000),
    decode(repeat(md5('raw' || i), 200), 'hex'),
    repeat(md5('external' || i), 100),
    '{"b": 1,  "a": [1, 2.50, null], "b": "twice"}'
FROM generate_series(1, 30 * current_setting('sample.scale')::integer) AS i;
INSERT INTO shop.document (id, title, body, raw)
SELECT
    1000000 + d,
    'Big document ' || d,
    (SELECT string_agg(md5(d || '.' || part), '' ORDER BY part) FROM generate_series(1, 36000) AS part),
    CASE WHEN d % 2 = 1 THEN
        decode((SELECT string_agg(md5(part || '.' || d), '' ORDER BY part) FROM generate_series(1, 33000) AS part), 'hex')
    END
FROM generate_series(1, 1 * current_setting('sample.scale')::integer) AS d;

INSERT INTO shop.event (occurred_on, region, payload)
SELECT
    date '2024-10-01' + i % 450,
    (ARRAY['north', 'south', 'east', 'no"rth', 'ÜBERALL'])[1 + i % 5],
    jsonb_build_object('n', i, 'text', md5(i::text))
FROM generate_series(1, 8000 * current_setting('sample.scale')::integer) AS i;

INSERT INTO shop.visit (visitor, page, seconds)
SELECT md5((i % 700)::text)::uuid, '/page/' || i, NULLIF(i % 90, 0)
FROM generate_series(1, 3000 * current_setting('sample.scale')::integer) AS i;

INSERT INTO shop.measurement (sensor, taken_at, value, unit)
SELECT 'sensor ' || i % 20, timestamp with time zone '2025-06-01 00:00:00+00' + i / 2 * interval '1 second', i % 97, NULL
FROM generate_series(1, 1000) AS i;
INSERT INTO shop.measurement (sensor, taken_at, value, unit)  -- rows that are there three times
SELECT 'twin', timestamp with time zone '2025-06-01 12:00:00+00', 1, 'm'
FROM generate_series(1, 3);

INSERT INTO shop.barcode (product_id, code, country)
SELECT 1000 + i % 500, lpad(i::text, 13, '0'), CASE i % 3 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' ELSE 'x' END
FROM generate_series(1, 600) AS i;

INSERT INTO shop.click (at, target)
SELECT timestamp with time zone '2025-02-03 04:05:06+00' + i % 10 * interval '1 hour', CASE WHEN i % 4 > 0 THEN 'button' END
FROM generate_series(1, 100) AS i;

INSERT INTO shop.no_columns DEFAULT VALUES;
INSERT INTO shop.no_columns DEFAULT VALUES;
INSERT INTO shop.no_columns DEFAULT VALUES;

INSERT INTO shop.tenant_note (id, tenant, note, is_public)
SELECT i, (ARRAY['shop_app', 'shop_guest', 'Weird "Röle"'])[1 + i % 3], 'note ' || i, i % 4 = 0
FROM generate_series(1, 90) AS i;

INSERT INTO shop.vehicle (id, name, wheels) SELECT i, 'vehicle ' || i, i % 5 FROM generate_series(1, 20) AS i;
INSERT INTO shop.car (id, name, wheels, doors) SELECT i, 'car ' || i, 4, i % 6 FROM generate_series(1, 30) AS i;
INSERT INTO shop.boat (name, draught) SELECT 'boat ' || i % 6, i % 6 FROM generate_series(1, 12) AS i;
INSERT INTO shop.amphibian (id, name, wheels, doors, draught, licence)
SELECT 1000 + i, 'amphibian ' || i, 6, 2, 0.5, 'L' || i FROM generate_series(1, 7) AS i;

INSERT INTO shop.reservation (id, room, during)
SELECT i, i % 2, tsrange(timestamp '2025-01-01' + i * interval '1 day', timestamp '2025-01-02' + i * interval '1 day')
FROM generate_series(1, 50) AS i;

INSERT INTO shop.legacy (id, customer_id, quantity) VALUES (1, 1, 5), (2, -4, -4), (3, NULL, NULL);
ALTER TABLE shop.legacy
    ADD CONSTRAINT legacy_quantity CHECK (quantity > 0) NOT VALID,
    ADD CONSTRAINT legacy_customer FOREIGN KEY (customer_id) REFERENCES shop.customer (id) NOT VALID;

INSERT INTO shop.shares_a_sequence (value) SELECT 'value ' || i FROM generate_series(1, 10) AS i;
SELECT nextval('shop.descending') FROM generate_series(1, 3);
SELECT nextval('shop.cycling') FROM generate_series(1, 13);
SELECT setval('shop.huge', 9007199254750993, false);
