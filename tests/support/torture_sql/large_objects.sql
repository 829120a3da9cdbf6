-- SPDX-License-Identifier: GPL-3.0-or-later
-- Large objects with owners, privileges and comments.

SELECT lo_from_bytea(4711, 'a large object'), lo_from_bytea(4712, decode(repeat('00ff', 3000), 'hex')), lo_create(4713);
GRANT SELECT ON LARGE OBJECT 4711 TO t_reader;
GRANT ALL ON LARGE OBJECT 4711 TO t_app WITH GRANT OPTION;
COMMENT ON LARGE OBJECT 4711 IS 'It''s a "large" object; --';
ALTER LARGE OBJECT 4712 OWNER TO t_owner;
GRANT UPDATE ON LARGE OBJECT 4713 TO PUBLIC;
