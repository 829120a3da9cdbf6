-- SPDX-License-Identifier: GPL-3.0-or-later
-- Views, materialized views and rules.

CREATE TABLE store.viewed (id integer PRIMARY KEY, gone text, a integer DEFAULT 1, b text COLLATE "C", gone_too integer, c numeric(8, 3));
ALTER TABLE store.viewed DROP COLUMN gone;
INSERT INTO store.viewed SELECT i, i, 'b' || i, 0, i FROM generate_series(1, 20) AS i;
CREATE VIEW store.all_of AS SELECT id, a, b, c FROM store.viewed;
ALTER TABLE store.viewed RENAME COLUMN b TO "renämed ""b"";";
CREATE VIEW store.named (one, "twö ""2"";", three) AS SELECT v.id, v.a AS x, v.c FROM store.viewed AS v;
ALTER TABLE store.named RENAME COLUMN three TO "third;";
CREATE VIEW store.with_check AS SELECT id, a FROM store.viewed WHERE a > 0 WITH LOCAL CHECK OPTION;
CREATE VIEW store.with_cascade WITH (security_barrier = true, check_option = cascaded) AS SELECT id, a FROM store.with_check WHERE a < 1000;
CREATE VIEW store.barrier WITH (security_barrier) AS SELECT id FROM store.viewed WHERE code.plain(a, 1) > 0;
--: since=15
CREATE VIEW store.as_invoker WITH (security_invoker = true, security_barrier = false) AS SELECT id, a FROM store.viewed;
--:
ALTER VIEW store.with_check ALTER COLUMN a SET DEFAULT 17;
CREATE RECURSIVE VIEW store.counting (n, path) AS VALUES (1, ARRAY[1]) UNION ALL SELECT n + 1, path || n FROM counting WHERE n < 5;
CREATE VIEW store.nothing AS SELECT FROM store.viewed;
CREATE VIEW store.by_values AS VALUES (1, 'a'), (2, 'it''s; "b"');
-- The columns that are not grouped depend on the primary key.
CREATE VIEW store.by_key WITH (security_barrier = true) AS SELECT v.id, v.a, v.c, count(*) AS n FROM store.viewed AS v JOIN store.child AS c ON c.id = v.id GROUP BY v.id;
CREATE VIEW store.over_by_key AS SELECT k.id, k.n + 1 AS more FROM store.by_key AS k;
CREATE VIEW store.difficult AS
    WITH RECURSIVE w (id, up) AS (SELECT id, manager FROM store.child WHERE id = 1 UNION SELECT c.id, c.manager FROM store.child AS c JOIN w ON w.id = c.manager)
    SELECT w.id, x.n, x.o, row_number() OVER win AS place, sum(w.up) FILTER (WHERE w.up > 0) OVER (win ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS total,
           CASE WHEN w.id IS DISTINCT FROM 3 THEN 'it''s' ELSE E'\n\\' END COLLATE "C" AS word, ARRAY[w.id, 2] || 3 AS list, ROW(w.id, 'x', 1)::types.of_table AS made,
           code.moving_sum(w.id) OVER win AS moved, w.id::numeric OPERATOR(code.=~~=) 3 AS is_near, (SELECT code.nth(2) WITHIN GROUP (ORDER BY v.a::text) FROM store.viewed AS v) AS second
    FROM w
    LEFT JOIN LATERAL unnest(ARRAY[w.id]) WITH ORDINALITY AS x (n, o) ON true
    WHERE EXISTS (SELECT FROM store.parent WHERE id = w.id) AND w.id = ANY (ARRAY[1, 2, 3]) AND (w.id, 1) < (30, 2)
    WINDOW win AS (PARTITION BY w.up ORDER BY w.id DESC NULLS LAST)
    ORDER BY 1 LIMIT 10 OFFSET 0;
CREATE VIEW store.grouped AS SELECT a % 2 AS half, id % 3 AS third, count(*), grouping(a % 2) FROM store.viewed GROUP BY GROUPING SETS (CUBE (a % 2, id % 3), ());
CREATE VIEW store.joined AS SELECT * FROM (SELECT id, a, c FROM store.viewed) AS v JOIN store.child USING (id) FULL JOIN (SELECT id, name FROM store.parent) AS p USING (id);
CREATE VIEW store.sampled AS SELECT id FROM store.viewed TABLESAMPLE system (50) REPEATABLE (7);
CREATE VIEW store.of_functions AS SELECT r.*, t.label FROM code.rows_of(1) AS r, ROWS FROM (code.table_of('x'), generate_series(1, 2)) AS t (n, label, g);
--: since=13
CREATE VIEW store.with_ties AS SELECT id FROM store.viewed ORDER BY a FETCH FIRST 3 ROWS WITH TIES;
--: since=14
CREATE VIEW store.using_alias AS SELECT u.id, v.a FROM store.viewed AS v JOIN store.child AS c USING (id) AS u;
CREATE FUNCTION code.atomic_of_view(integer) RETURNS SETOF store.by_key LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM store.by_key WHERE id = $1; END;
CREATE FUNCTION code.atomic_by_key() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT sum(x.n) FROM (SELECT v.id, v.a, count(*) AS n FROM store.viewed AS v GROUP BY v.id) AS x; END;
CREATE VIEW store.over_atomic AS SELECT code.atomic_by_key() AS n;
--: since=16
CREATE VIEW store.as_json AS SELECT json_object('a': id, 'it''s': a ABSENT ON NULL) AS o, '{}' IS JSON OBJECT AS is_one FROM store.viewed;
--: since=17
CREATE VIEW store.of_json AS SELECT t.* FROM JSON_TABLE('[{"a": 1}]'::jsonb, '$[*]' AS p COLUMNS (n FOR ORDINALITY, a integer PATH '$.a' DEFAULT 0 ON EMPTY)) AS t;

--:
ALTER TABLE store.viewed DROP COLUMN gone_too;
CREATE VIEW store.over_dropped AS SELECT * FROM store.viewed;

CREATE MATERIALIZED VIEW store.m_one AS SELECT a % 5 AS five, count(*) AS n, max("renämed ""b"";") AS b FROM store.viewed GROUP BY 1;
CREATE UNIQUE INDEX m_one_five ON store.m_one (five);
CREATE INDEX m_one_n ON store.m_one (n DESC) WHERE n > 1;
ALTER MATERIALIZED VIEW store.m_one CLUSTER ON m_one_five;
ALTER MATERIALIZED VIEW store.m_one ALTER COLUMN n SET STATISTICS 99;
CREATE MATERIALIZED VIEW store.a_over_m WITH (fillfactor = 50, autovacuum_enabled = false) AS SELECT m.five, m.n FROM store.m_one AS m;
CREATE VIEW store.between_m AS SELECT five + 1 AS six FROM store.a_over_m;
CREATE MATERIALIZED VIEW store."Ä over ""between"";" AS SELECT * FROM store.between_m;
CREATE MATERIALIZED VIEW store.m_empty AS SELECT id FROM store.viewed WITH NO DATA;
CREATE INDEX m_empty_id ON store.m_empty (id);
CREATE MATERIALIZED VIEW store.m_over_key AS SELECT * FROM store.by_key;
CREATE MATERIALIZED VIEW store.m_by_function AS SELECT code.for_index(id) AS twice FROM store.viewed;
CREATE INDEX m_by_function_index ON store.m_by_function (code.for_index(twice));

CREATE TABLE store.ruled (id integer PRIMARY KEY, n integer);
CREATE TABLE store.ruled_log (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text, n integer);
CREATE RULE "Rüle ""of""; --" AS ON INSERT TO store.ruled WHERE NEW.n > 100 DO ALSO INSERT INTO store.ruled_log (what, n) VALUES ('it''s; big', NEW.n);
CREATE RULE never AS ON DELETE TO store.ruled DO INSTEAD NOTHING;
CREATE RULE twice AS ON UPDATE TO store.ruled DO ALSO (INSERT INTO store.ruled_log (what, n) VALUES ('old', OLD.n); INSERT INTO store.ruled_log (what, n) VALUES ('new', NEW.n));
CREATE RULE in_replica AS ON UPDATE TO store.ruled DO ALSO NOTHING;
CREATE RULE in_disabled AS ON UPDATE TO store.ruled DO ALSO NOTHING;
CREATE RULE in_always AS ON UPDATE TO store.ruled WHERE NEW.n > 1000000 DO ALSO NOTHING;
ALTER TABLE store.ruled DISABLE RULE in_disabled, ENABLE REPLICA RULE in_replica, ENABLE ALWAYS RULE in_always;
INSERT INTO store.ruled SELECT i, i * 20 FROM generate_series(1, 9) AS i;
CREATE RULE into_view AS ON INSERT TO store.named DO INSTEAD INSERT INTO store.viewed (id, a) VALUES (NEW.one, NEW."twö ""2"";") RETURNING viewed.id, viewed.a, viewed.c;
CREATE VIEW store.with_triggers AS SELECT id, a FROM store.viewed;
COMMENT ON RULE never ON store.ruled IS 'It''s a rule';
