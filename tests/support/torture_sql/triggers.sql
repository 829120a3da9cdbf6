-- SPDX-License-Identifier: GPL-3.0-or-later
-- Triggers of each sort and state, policies, event triggers, publications.

CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OF amount, name ON store.columns FOR EACH ROW WHEN (NEW.amount IS DISTINCT FROM 3 AND NEW.name <> 'it''s;') EXECUTE FUNCTION code.touch('an', 'it''s "argument"; \');
CREATE TRIGGER "After ""statement""; --" AFTER TRUNCATE OR DELETE ON store.columns FOR EACH STATEMENT EXECUTE FUNCTION code.after_statement();
CREATE TRIGGER with_tables AFTER UPDATE ON store.parent REFERENCING OLD TABLE AS "öld ""rows"";" NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION code.after_statement();
CREATE TRIGGER with_tables_row AFTER INSERT ON store.parent REFERENCING NEW TABLE AS new_rows FOR EACH ROW EXECUTE FUNCTION code.after_statement();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT OR UPDATE ON store.child FROM store.parent DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION code.after_statement();
CREATE CONSTRAINT TRIGGER at_once AFTER DELETE ON store.child NOT DEFERRABLE FOR EACH ROW EXECUTE FUNCTION code.after_statement();
CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON store.with_triggers FOR EACH ROW EXECUTE FUNCTION code.touch();
CREATE TRIGGER is_disabled BEFORE INSERT ON store.columns FOR EACH ROW EXECUTE FUNCTION code.touch();
CREATE TRIGGER is_replica BEFORE INSERT ON store.columns FOR EACH ROW EXECUTE FUNCTION code.touch();
CREATE TRIGGER is_always BEFORE INSERT ON store.columns FOR EACH ROW EXECUTE FUNCTION code.touch();
ALTER TABLE store.columns DISABLE TRIGGER is_disabled, ENABLE REPLICA TRIGGER is_replica, ENABLE ALWAYS TRIGGER is_always;
COMMENT ON TRIGGER is_disabled ON store.columns IS 'It''s disabled';
-- On a partitioned table: cloned to its partitions, with another state in one of them.
CREATE TRIGGER on_root AFTER INSERT OR UPDATE ON store.event FOR EACH ROW EXECUTE FUNCTION code.after_statement();
CREATE TRIGGER on_leaf BEFORE INSERT ON store.event_2025_q3 FOR EACH ROW EXECUTE FUNCTION code.touch();
CREATE TRIGGER on_root_statement AFTER INSERT ON store.event FOR EACH STATEMENT EXECUTE FUNCTION code.after_statement();
CREATE TRIGGER disabled_on_root AFTER DELETE ON store.event FOR EACH ROW EXECUTE FUNCTION code.after_statement();

-- Before 15 clones are the system's own.
--: since=15
ALTER TABLE store.event DISABLE TRIGGER disabled_on_root;
ALTER TABLE store.event_2025_q1 DISABLE TRIGGER on_root;
ALTER TABLE store.event_2025_q3 ENABLE ALWAYS TRIGGER on_root;
--: superuser before=15
ALTER TABLE store.event DISABLE TRIGGER disabled_on_root;
ALTER TABLE store.event_2025_q1 DISABLE TRIGGER on_root;
ALTER TABLE store.event_2025_q3 ENABLE ALWAYS TRIGGER on_root;

--: superuser
-- The triggers of a foreign key, switched off.
ALTER TABLE store.legacy DISABLE TRIGGER ALL;

--:
ALTER TABLE store.secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_notes ON store.secured TO t_app, t_guest, "t Weird ""Röle""; -- %s {} $1 \' ." USING (tenant = CURRENT_USER) WITH CHECK (tenant = SESSION_USER AND note <> 'it''s;');
CREATE POLICY "Pölicy ""public""; --" ON store.secured AS PERMISSIVE FOR SELECT USING (is_public);
CREATE POLICY no_guests ON store.secured AS RESTRICTIVE FOR DELETE TO t_guest USING (false);
CREATE POLICY only_new ON store.secured FOR INSERT TO PUBLIC WITH CHECK (EXISTS (SELECT FROM store.parent AS p WHERE p.id = secured.id));
CREATE POLICY to_change ON store.secured FOR UPDATE TO CURRENT_USER USING (code.plain(id) > 0) WITH CHECK (true);
COMMENT ON POLICY no_guests ON store.secured IS 'It''s a policy';
ALTER TABLE store.forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY forced_reading ON store.forced FOR SELECT TO t_reader USING (tenant = 't_app');
ALTER TABLE store.forced_without_policy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE store.generated FORCE ROW LEVEL SECURITY;
CREATE POLICY not_in_force ON store.generated USING (false);

--: superuser
CREATE EVENT TRIGGER "t Event ""trigger"";" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE') EXECUTE FUNCTION code.on_ddl();
CREATE EVENT TRIGGER t_dropping ON sql_drop EXECUTE FUNCTION code.on_ddl();
CREATE EVENT TRIGGER t_disabled ON ddl_command_start EXECUTE FUNCTION code.on_ddl();
CREATE EVENT TRIGGER t_replica ON table_rewrite EXECUTE FUNCTION code.on_ddl();
CREATE EVENT TRIGGER t_always ON ddl_command_end EXECUTE FUNCTION code.on_ddl();
ALTER EVENT TRIGGER t_disabled DISABLE;
ALTER EVENT TRIGGER t_replica ENABLE REPLICA;
ALTER EVENT TRIGGER t_always ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER t_always IS 'It''s an event trigger';
CREATE PUBLICATION t_everything FOR ALL TABLES;
CREATE SUBSCRIPTION t_subscription CONNECTION 'host=127.0.0.1 port=1 dbname=nowhere password=secret' PUBLICATION t_everything WITH (connect = false, slot_name = NONE);
--:
CREATE PUBLICATION "t Pub ""lication""; --" FOR TABLE store.columns, store.parent;
