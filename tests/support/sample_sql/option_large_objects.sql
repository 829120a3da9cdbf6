-- SPDX-License-Identifier: GPL-3.0-or-later
-- Large objects (option): logical replication does not carry them.

CREATE TABLE shop.attachment (id integer PRIMARY KEY, content oid NOT NULL);
INSERT INTO shop.attachment
SELECT i, lo_from_bytea(700000 + i, decode(repeat(md5(i::text), 100 * i), 'hex')) FROM generate_series(1, 20) AS i;
SELECT lo_from_bytea(700100, '');
COMMENT ON LARGE OBJECT 700001 IS 'It''s a large object';
GRANT SELECT ON LARGE OBJECT 700001 TO shop_reader;
ALTER LARGE OBJECT 700002 OWNER TO shop_owner;
