-- SPDX-License-Identifier: GPL-3.0-or-later
-- Partitioned tables: range with a sub-partitioned list, default partitions, hash, a partition in another schema.

CREATE TABLE shop.event (
    id bigint NOT NULL,
    occurred_on date NOT NULL,
    region text COLLATE "C" NOT NULL,
    payload jsonb,
    PRIMARY KEY (id, occurred_on, region)
) PARTITION BY RANGE (occurred_on);
CREATE SEQUENCE shop.event_id OWNED BY shop.event.id;
ALTER TABLE shop.event ALTER COLUMN id SET DEFAULT nextval('shop.event_id');
CREATE TABLE shop.event_2025_q1 PARTITION OF shop.event FOR VALUES FROM ('2025-01-01') TO ('2025-04-01');
CREATE TABLE shop_archive.event_2024 PARTITION OF shop.event FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE shop.event_2025_q2 PARTITION OF shop.event FOR VALUES FROM ('2025-04-01') TO ('2025-07-01')
    PARTITION BY LIST (region);
CREATE TABLE shop.event_2025_q2_north PARTITION OF shop.event_2025_q2 FOR VALUES IN ('north', 'no"rth');
CREATE TABLE shop.event_2025_q2_south PARTITION OF shop.event_2025_q2 FOR VALUES IN ('south');
CREATE TABLE shop.event_2025_q2_rest PARTITION OF shop.event_2025_q2 DEFAULT;
-- A partition that was a table before: other column order, a dropped column.
CREATE TABLE shop.event_2025_q3 (
    payload jsonb, was_here text, region text COLLATE "C" NOT NULL, occurred_on date NOT NULL, id bigint NOT NULL
);
ALTER TABLE shop.event_2025_q3 DROP COLUMN was_here;
ALTER TABLE shop.event ATTACH PARTITION shop.event_2025_q3 FOR VALUES FROM ('2025-07-01') TO ('2025-10-01');
CREATE TABLE shop.event_rest PARTITION OF shop.event DEFAULT;
CREATE INDEX event_region ON shop.event (region, occurred_on);

CREATE TABLE shop.visit (
    visitor uuid NOT NULL,
    page text NOT NULL,
    seconds integer,
    PRIMARY KEY (visitor, page)
) PARTITION BY HASH (visitor);
CREATE TABLE shop.visit_0 PARTITION OF shop.visit FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE shop.visit_1 PARTITION OF shop.visit FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE shop.visit_2 PARTITION OF shop.visit FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE shop.visit_3 PARTITION OF shop.visit FOR VALUES WITH (MODULUS 4, REMAINDER 3);

-- A partitioned table without a partition, and one without a key.
CREATE TABLE shop.nowhere (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE shop.click (at timestamp with time zone NOT NULL, target text) PARTITION BY RANGE (at);
CREATE TABLE shop.click_all PARTITION OF shop.click DEFAULT;
ALTER TABLE shop.click REPLICA IDENTITY FULL;
ALTER TABLE shop.click_all REPLICA IDENTITY FULL;
