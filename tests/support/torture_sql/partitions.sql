-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitioned tables: each method, three levels, defaults, other column orders, keys from and to them.

CREATE TABLE store.event (
    id bigint NOT NULL, gone text, occurred_on date NOT NULL, region text COLLATE "C" NOT NULL DEFAULT 'north', payload jsonb,
    parent_id integer REFERENCES store.parent,
    CONSTRAINT event_key PRIMARY KEY (id, occurred_on, region),
    CONSTRAINT event_id CHECK (id > 0)
) PARTITION BY RANGE (occurred_on);
ALTER TABLE store.event DROP COLUMN gone;
ALTER TABLE ONLY store.event REPLICA IDENTITY NOTHING;
CREATE SEQUENCE store.event_id OWNED BY store.event.id;
ALTER TABLE store.event ALTER COLUMN id SET DEFAULT nextval('store.event_id');
CREATE TABLE store.event_2025_q1 PARTITION OF store.event (region DEFAULT 'its own', CONSTRAINT own_check CHECK (payload IS NULL OR payload <> '{"a": "it''s"}')) FOR VALUES FROM ('2025-01-01') TO ('2025-04-01') WITH (fillfactor = 66);
CREATE TABLE "Weird ""Schema""; --"."Pärt ""of"" event;" PARTITION OF store.event FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE store.event_2025_q2 PARTITION OF store.event FOR VALUES FROM ('2025-04-01') TO ('2025-07-01') PARTITION BY LIST (region);
CREATE TABLE store.event_2025_q2_north PARTITION OF store.event_2025_q2 FOR VALUES IN ('north', 'no"r''th;') PARTITION BY HASH (id);
CREATE TABLE store.event_2025_q2_north_0 PARTITION OF store.event_2025_q2_north FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE store.event_2025_q2_north_1 PARTITION OF store.event_2025_q2_north FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE store.event_2025_q2_rest PARTITION OF store.event_2025_q2 DEFAULT;
-- Partitions that were tables before: other column order, dropped columns, an index and a key that are attached.
CREATE TABLE store.event_2025_q3 (
    payload jsonb, was_here text, parent_id integer, region text COLLATE "C" NOT NULL, occurred_on date NOT NULL, was_there integer, id bigint NOT NULL,
    CONSTRAINT event_id CHECK (id > 0), CONSTRAINT its_own_key PRIMARY KEY (id, occurred_on, region)
);
ALTER TABLE store.event_2025_q3 DROP COLUMN was_here, DROP COLUMN was_there;
CREATE INDEX its_own_index ON store.event_2025_q3 (region, occurred_on);
CREATE INDEX only_of_the_partition ON store.event_2025_q3 (payload);
CREATE INDEX "Event ""region"";" ON store.event (region, occurred_on);
ALTER TABLE store.event ATTACH PARTITION store.event_2025_q3 FOR VALUES FROM ('2025-07-01') TO ('2025-10-01');
ALTER TABLE store.event_2025_q3 CLUSTER ON its_own_index;
CREATE TABLE store.event_rest PARTITION OF store.event DEFAULT;
CREATE TABLE store.was_a_partition PARTITION OF store.event FOR VALUES FROM ('2027-01-01') TO ('2027-02-01');
ALTER TABLE store.event DETACH PARTITION store.was_a_partition;
-- An index of the partitioned table that is not on every partition.
CREATE INDEX not_everywhere ON ONLY store.event (parent_id);
CREATE INDEX is_attached ON store.event_2025_q1 (parent_id);
ALTER INDEX store.not_everywhere ATTACH PARTITION store.is_attached;
INSERT INTO store.event (occurred_on, region, payload, parent_id)
SELECT date '2024-11-01' + i * 7, (ARRAY['north', 'south', 'no"r''th;'])[1 + i % 3], jsonb_build_object('n', i), 1 + i % 20 FROM generate_series(1, 70) AS i;
COMMENT ON INDEX store.is_attached IS 'It''s attached';

-- A key to a partitioned table, from a partitioned one; a deferrable one; one of a partition only.
CREATE TABLE store.visit (visitor uuid NOT NULL, page text NOT NULL, event_id bigint, occurred_on date, region text COLLATE "C", seconds integer,
    PRIMARY KEY (visitor, page),
    CONSTRAINT visit_event FOREIGN KEY (event_id, occurred_on, region) REFERENCES store.event ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) PARTITION BY HASH (visitor, page);
CREATE TABLE store.visit_0 PARTITION OF store.visit FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE store.visit_1 PARTITION OF store.visit FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE store.visit_2 PARTITION OF store.visit FOR VALUES WITH (MODULUS 3, REMAINDER 2);
ALTER TABLE store.visit_2 ADD CONSTRAINT of_this_one CHECK (seconds >= 0), ALTER COLUMN seconds SET DEFAULT 7;
INSERT INTO store.visit SELECT md5(e.id::text)::uuid, 'page', e.id, e.occurred_on, e.region, 1 FROM store.event AS e WHERE e.id % 2 = 0;
CREATE TABLE store.points_to_event (id integer PRIMARY KEY, event_id bigint, occurred_on date, region text COLLATE "C",
    FOREIGN KEY (event_id, occurred_on, region) REFERENCES store.event (id, occurred_on, region));
INSERT INTO store.points_to_event SELECT e.id, e.id, e.occurred_on, e.region FROM store.event AS e WHERE e.id % 5 = 0;

-- By an expression and by several columns; without a partition; with NULLs; by a type of our own.
CREATE TABLE store.by_expression (id integer NOT NULL, name text NOT NULL, n integer) PARTITION BY RANGE (lower(name) COLLATE "C", (n % 10));
CREATE TABLE store.by_expression_1 PARTITION OF store.by_expression (PRIMARY KEY (id)) FOR VALUES FROM (MINVALUE, MINVALUE) TO ('m', 5);
CREATE TABLE store.by_expression_2 PARTITION OF store.by_expression (PRIMARY KEY (id)) FOR VALUES FROM ('m', 5) TO (MAXVALUE, MAXVALUE);
INSERT INTO store.by_expression SELECT i, chr(96 + i), i FROM generate_series(1, 26) AS i;
CREATE TABLE store.by_mood (id integer NOT NULL, mood types.mood, PRIMARY KEY (id, mood)) PARTITION BY LIST (mood);
CREATE TABLE store.by_mood_good PARTITION OF store.by_mood FOR VALUES IN ('good', 'so-so; it''s');
CREATE TABLE store.by_mood_rest PARTITION OF store.by_mood DEFAULT;
INSERT INTO store.by_mood SELECT i, (ARRAY['good', 'bad', 'best']::types.mood[])[1 + i % 3] FROM generate_series(1, 9) AS i;
CREATE TABLE store.by_null (id integer, kind text, UNIQUE (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE store.by_null_null PARTITION OF store.by_null FOR VALUES IN (NULL, 'none');
ALTER TABLE store.by_null REPLICA IDENTITY FULL;
ALTER TABLE store.by_null_null REPLICA IDENTITY FULL;
INSERT INTO store.by_null SELECT i, NULLIF('none', 'none' || repeat('x', i % 2)) FROM generate_series(1, 4) AS i;
CREATE TABLE store.nowhere (id integer PRIMARY KEY) PARTITION BY RANGE (id);
--: since=17
CREATE TABLE store.identity_of_root (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text) PARTITION BY RANGE (id);
CREATE TABLE store.identity_of_root_1 PARTITION OF store.identity_of_root FOR VALUES FROM (1) TO (100);
INSERT INTO store.identity_of_root (note) SELECT 'n' FROM generate_series(1, 5);
