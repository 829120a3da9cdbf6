-- SPDX-License-Identifier: GPL-3.0-or-later
-- The tables of `pgbench --initialize`, same names and shape. One unit of sample.scale is one branch: about 15 MB.

CREATE TABLE public.pgbench_branches (bid integer NOT NULL, bbalance integer, filler character(88))
    WITH (fillfactor = 100);
CREATE TABLE public.pgbench_tellers (tid integer NOT NULL, bid integer, tbalance integer, filler character(84))
    WITH (fillfactor = 100);
CREATE TABLE public.pgbench_accounts (aid integer NOT NULL, bid integer, abalance integer, filler character(84))
    WITH (fillfactor = 100);
CREATE TABLE public.pgbench_history (
    tid integer, bid integer, aid integer, delta integer, mtime timestamp without time zone, filler character(22)
);

INSERT INTO public.pgbench_branches (bid, bbalance)
SELECT bid, 0
FROM generate_series(1, current_setting('sample.scale')::integer) AS bid;

INSERT INTO public.pgbench_tellers (tid, bid, tbalance)
SELECT tid, (tid - 1) / 10 + 1, 0
FROM generate_series(1, 10 * current_setting('sample.scale')::integer) AS tid;

INSERT INTO public.pgbench_accounts (aid, bid, abalance, filler)
SELECT aid, (aid - 1) / 100000 + 1, 0, ''
FROM generate_series(1, 100000 * current_setting('sample.scale')::integer) AS aid;

ALTER TABLE public.pgbench_branches ADD PRIMARY KEY (bid);
ALTER TABLE public.pgbench_tellers ADD PRIMARY KEY (tid);
ALTER TABLE public.pgbench_accounts ADD PRIMARY KEY (aid);

-- pgbench gives this table no key; without an identity a publication would make its UPDATE and DELETE fail.
ALTER TABLE public.pgbench_history REPLICA IDENTITY FULL;
