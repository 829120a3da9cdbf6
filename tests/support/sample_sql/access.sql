-- SPDX-License-Identifier: GPL-3.0-or-later
-- Owners, grants of every sort, row security, default privileges.

ALTER TABLE shop.tenant_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_notes ON shop.tenant_note
    TO shop_app, shop_guest, "Weird ""Röle"""
    USING (tenant = CURRENT_USER)
    WITH CHECK (tenant = CURRENT_USER);
CREATE POLICY "public ""notes""" ON shop.tenant_note AS PERMISSIVE FOR SELECT USING (is_public);
CREATE POLICY no_guests ON shop.tenant_note AS RESTRICTIVE FOR DELETE TO shop_guest USING (false);

-- The owner of a schema must be allowed to create in the database; the owner of a table, in the schema.
DO $database$
BEGIN
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO shop_owner, %I', current_database(), 'Weird "Röle"');
END
$database$;
ALTER SCHEMA shop OWNER TO shop_owner;
ALTER SCHEMA shop_archive OWNER TO shop_owner;
ALTER SCHEMA "Weird ""Schema""; --" OWNER TO "Weird ""Röle""";

DO $owners$
DECLARE
    command text;
BEGIN
    FOR command IN
        -- Sequences of a column follow their table; partitions and types of tables are listed as what they are.
        SELECT format(
            'ALTER %s %s OWNER TO shop_owner',
            CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
            c.oid::regclass
        )
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace IN ('shop'::regnamespace, 'shop_archive'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_depend AS d
              WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                AND c.relkind = 'S'
          )
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO shop_owner', p.oid::regprocedure)
        FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'shop'::regnamespace AND p.prokind IN ('f', 'p')
          AND p.prolang <> (SELECT oid FROM pg_catalog.pg_language WHERE lanname = 'internal') -- a range's constructors
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO shop_owner', t.oid::regtype)
        FROM pg_catalog.pg_type AS t
        LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid
        WHERE t.typnamespace = 'shop'::regnamespace
          AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, 'Weird "Röle"')
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = '"Weird ""Schema""; --"'::regnamespace AND c.relkind IN ('r', 'p')
    LOOP
        EXECUTE command;
    END LOOP;
END
$owners$;

GRANT USAGE ON SCHEMA shop, small TO shop_reader;
GRANT USAGE, CREATE ON SCHEMA shop TO shop_admin;
GRANT USAGE ON SCHEMA "Weird ""Schema""; --" TO PUBLIC, "Weird; ""Gröup"" -- %s {} $1 \'";
GRANT SELECT ON ALL TABLES IN SCHEMA shop, small TO shop_reader;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shop TO shop_writer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA shop TO shop_writer;
GRANT SELECT (id, name), UPDATE (name) ON shop.customer TO shop_guest;
GRANT SELECT ON shop.category TO PUBLIC;
GRANT SELECT, REFERENCES, TRIGGER ON shop.product TO shop_app WITH GRANT OPTION;
GRANT SELECT ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" TO "Weird; ""Gröup"" -- %s {} $1 \'";
GRANT SELECT ("col ""umn""") ON "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" TO shop_guest;
REVOKE ALL ON FUNCTION shop.count_orders(shop.order_state[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shop.count_orders(shop.order_state[]) TO shop_app;
REVOKE USAGE ON TYPE shop.contact FROM PUBLIC;
GRANT USAGE ON TYPE shop.contact TO shop_writer;
REVOKE ALL ON shop.legacy FROM shop_owner, shop_reader, shop_writer;
GRANT ALL ON shop.legacy TO shop_admin, shop_owner;

ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA shop GRANT SELECT ON TABLES TO shop_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT USAGE ON SEQUENCES TO shop_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE "Weird ""Röle""" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
