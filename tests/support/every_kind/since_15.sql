-- SPDX-License-Identifier: GPL-3.0-or-later
-- What 15 added.
CREATE UNLOGGED SEQUENCE o.unlogged_sequence;
CREATE VIEW o.invoker_view WITH (security_invoker = true) AS SELECT 1 AS one;
CREATE TABLE o.distinct_nulls (id integer, CONSTRAINT one_null UNIQUE NULLS NOT DISTINCT (id));
ALTER TABLE o.distinct_nulls REPLICA IDENTITY FULL;
