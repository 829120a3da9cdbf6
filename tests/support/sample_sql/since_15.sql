-- SPDX-License-Identifier: GPL-3.0-or-later
-- What PostgreSQL 15 added.

CREATE TABLE shop.since_15 (
    id integer PRIMARY KEY,
    part integer,
    name text,
    value numeric(3, -2),
    UNIQUE NULLS NOT DISTINCT (part, name)
);
INSERT INTO shop.since_15 SELECT i, NULLIF(i, 3), NULLIF('name ' || i, 'name 3'), i * 100 FROM generate_series(1, 30) AS i;
CREATE TABLE shop.since_15_child (
    id integer PRIMARY KEY,
    parent_id integer,
    FOREIGN KEY (parent_id) REFERENCES shop.since_15 (id) ON DELETE SET NULL (parent_id)
);
INSERT INTO shop.since_15_child SELECT i, 1 + i % 30 FROM generate_series(1, 50) AS i;
CREATE VIEW shop.since_15_view WITH (security_invoker = true) AS SELECT id, name FROM shop.since_15;
