-- SPDX-License-Identifier: GPL-3.0-or-later
-- Unlogged tables (option): logical replication does not carry them.

CREATE UNLOGGED TABLE shop.basket (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content jsonb);
INSERT INTO shop.basket (content) SELECT jsonb_build_object('item', i) FROM generate_series(1, 200) AS i;
