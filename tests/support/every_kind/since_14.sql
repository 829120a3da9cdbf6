-- SPDX-License-Identifier: GPL-3.0-or-later
-- What 14 added.
CREATE TABLE o.packed (id integer, body text COMPRESSION pglz);
CREATE FUNCTION o.atomic(a integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT a + 1; END;
ALTER TABLE o.packed REPLICA IDENTITY FULL;
