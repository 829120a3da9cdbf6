-- SPDX-License-Identifier: GPL-3.0-or-later
-- Foreign data: wrappers, servers, tables, mappings with secrets. Nobody connects to them.

--: superuser
CREATE FOREIGN DATA WRAPPER "t Wräpper ""of"";";
ALTER FOREIGN DATA WRAPPER "t Wräpper ""of"";" OPTIONS (ADD debug 'it''s; "true"');
CREATE FOREIGN DATA WRAPPER t_with_handler;
CREATE SERVER "t Server ""of"";" TYPE 'it''s' VERSION '1; "2"' FOREIGN DATA WRAPPER "t Wräpper ""of"";" OPTIONS ("höst ""name"";" 'a; ''b''', port '1');
CREATE USER MAPPING FOR t_app SERVER "t Server ""of"";" OPTIONS ("user" 'far;', password 'the "secret" of''the mapping; --');
CREATE USER MAPPING FOR PUBLIC SERVER "t Server ""of"";";
CREATE FOREIGN TABLE store."Föreign ""table"";" (id integer OPTIONS ("cölumn name" 'ID; ''x''') NOT NULL, name text COLLATE "C" DEFAULT 'it''s', kind types.mood, CHECK (id > 0)) SERVER "t Server ""of"";" OPTIONS ("täble" 'x; ''y''');
ALTER FOREIGN TABLE store."Föreign ""table"";" ALTER COLUMN name SET STATISTICS 7, ALTER COLUMN name SET (n_distinct = 5);
CREATE VIEW store.over_foreign AS SELECT id FROM store."Föreign ""table"";";
GRANT USAGE ON FOREIGN DATA WRAPPER "t Wräpper ""of"";" TO t_app WITH GRANT OPTION;
GRANT USAGE ON FOREIGN SERVER "t Server ""of"";" TO t_app, t_reader;
GRANT SELECT (id), INSERT ON store."Föreign ""table"";" TO t_reader;
COMMENT ON FOREIGN DATA WRAPPER t_with_handler IS 'It''s a wrapper';
COMMENT ON SERVER "t Server ""of"";" IS 'It''s a server';
COMMENT ON FOREIGN TABLE store."Föreign ""table"";" IS 'It''s a foreign table';
CREATE TRIGGER on_foreign BEFORE INSERT ON store."Föreign ""table"";" FOR EACH ROW EXECUTE FUNCTION code.touch();
ALTER FOREIGN DATA WRAPPER "t Wräpper ""of"";" OWNER TO t_root;
ALTER SERVER "t Server ""of"";" OWNER TO t_owner;

--: superuser extension=postgres_fdw
CREATE EXTENSION postgres_fdw SCHEMA ext;
CREATE SERVER t_far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'x', fetch_size '100');
CREATE USER MAPPING FOR CURRENT_USER SERVER t_far OPTIONS ("user" 'far', password 'secret2');
CREATE FOREIGN TABLE store.far (id integer OPTIONS (column_name 'ID'), name text) SERVER t_far OPTIONS (schema_name 'a', table_name 'b');
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO t_app;
GRANT USAGE ON FOREIGN SERVER t_far TO t_app WITH GRANT OPTION;
-- A leaf that lives elsewhere, and a foreign child of a table.
CREATE TABLE store.partly_far (id integer NOT NULL, note text) PARTITION BY RANGE (id);
CREATE TABLE store.partly_far_here PARTITION OF store.partly_far (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (100);
CREATE FOREIGN TABLE store.partly_far_there PARTITION OF store.partly_far FOR VALUES FROM (100) TO (200) SERVER t_far;
INSERT INTO store.partly_far SELECT i, 'here' FROM generate_series(1, 5) AS i;

--: superuser extension=file_fdw
CREATE EXTENSION file_fdw SCHEMA ext;
CREATE SERVER t_files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE store.of_file (line text) SERVER t_files OPTIONS (filename '/nowhere/at all''s', format 'text', delimiter E'\t');
