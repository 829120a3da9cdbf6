-- SPDX-License-Identifier: GPL-3.0-or-later
-- What PostgreSQL 18 added.

CREATE TABLE shop.since_18 (
    id integer PRIMARY KEY,
    net numeric(10, 2),
    gross numeric GENERATED ALWAYS AS (net * 1.19) VIRTUAL,
    parent_id integer,
    CONSTRAINT since_18_positive CHECK (net > 0) NOT ENFORCED
);
INSERT INTO shop.since_18 (id, net, parent_id) SELECT i, i - 5, i % 4 FROM generate_series(1, 30) AS i;
INSERT INTO shop.since_18 (id, net) VALUES (0, NULL);
ALTER TABLE shop.since_18 ADD CONSTRAINT since_18_net NOT NULL net NOT VALID;
