-- SPDX-License-Identifier: GPL-3.0-or-later
-- What 18 added.
CREATE TABLE o.virtual_table (
    id integer CONSTRAINT virtual_id NOT NULL,
    net numeric,
    gross numeric GENERATED ALWAYS AS (net * 2) VIRTUAL,
    CONSTRAINT believed CHECK (net > 0) NOT ENFORCED
);
ALTER TABLE o.virtual_table REPLICA IDENTITY FULL;
