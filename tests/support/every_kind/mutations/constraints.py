# SPDX-License-Identifier: GPL-3.0-or-later
"""Constraints, indexes, statistics, and what acts by itself."""

from __future__ import annotations

from tests.support.every_kind.mutations.mutation import (
    catalog,
    changed,
    extra,
    missing,
    renamed,
)

MUTATIONS = (
    # Constraints, indexes, statistics.
    missing(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive", "constraint", "amount_positive on o.plain_table"
    ),
    missing("ALTER TABLE o.plain_table DROP CONSTRAINT named_unique", "constraint", "named_unique on o.plain_table"),
    extra(
        "ALTER TABLE o.serial_table ADD CONSTRAINT more CHECK (value <> 'x')", "constraint", "more on o.serial_table"
    ),
    extra(
        "ALTER TABLE o.serial_table ADD CONSTRAINT unique_value UNIQUE (value)",
        "constraint",
        "unique_value on o.serial_table",
    ),
    missing("ALTER DOMAIN o.code DROP CONSTRAINT code_length", "constraint", "code_length on o.code"),
    extra("ALTER DOMAIN o.amount ADD CONSTRAINT more CHECK (VALUE > 0)", "constraint", "more on o.amount"),
    changed(
        "ALTER DOMAIN o.code DROP CONSTRAINT code_length; ALTER DOMAIN o.code ADD CONSTRAINT code_length CHECK (length(VALUE) > 2)",
        "constraint",
        "code_length on o.code",
        "definition",
    ),
    changed(
        "ALTER DOMAIN o.code DROP CONSTRAINT code_length;"
        "ALTER DOMAIN o.code ADD CONSTRAINT code_length CHECK (length(VALUE) > 1) NOT VALID",
        "constraint",
        "code_length on o.code",
        "validated",
    ),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount >= 0)",
        "constraint",
        "amount_positive on o.plain_table",
        "definition",
    ),
    changed(
        "ALTER TABLE o.other_table DROP CONSTRAINT refers; ALTER TABLE o.other_table ADD CONSTRAINT refers"
        " FOREIGN KEY (plain_id) REFERENCES o.plain_table (id) ON DELETE SET NULL",
        "constraint",
        "refers on o.other_table",
        "definition",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers DEFERRABLE",
        "constraint",
        "refers on o.other_table",
        "deferrable",
    ),
    changed(
        "ALTER TABLE o.other_table ALTER CONSTRAINT refers DEFERRABLE INITIALLY DEFERRED",
        "constraint",
        "refers on o.other_table",
        "deferrable",
    ),
    changed("ALTER TABLE o.unchecked VALIDATE CONSTRAINT later", "constraint", "later on o.unchecked", "validated"),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount > 0) NO INHERIT",
        "constraint",
        "amount_positive on o.plain_table",
        "no inherit",
    ),
    changed(
        "ALTER TABLE o.plain_table DROP CONSTRAINT amount_positive;"
        "ALTER TABLE o.plain_table ADD CONSTRAINT amount_positive CHECK (amount > 0) NOT VALID",
        "constraint",
        "amount_positive on o.plain_table",
        "validated",
    ),
    changed(
        "ALTER TABLE o.child ADD CONSTRAINT parent_a CHECK (a > 0)", "constraint", "parent_a on o.child", "declared"
    ),
    renamed(
        "ALTER TABLE o.plain_table RENAME CONSTRAINT amount_positive TO positive",
        "constraint",
        "amount_positive on o.plain_table",
        "positive on o.plain_table",
    ),
    missing("DROP INDEX o.plain_upper", "index", "o.plain_upper"),
    extra("CREATE INDEX more ON o.parent (b)", "index", "o.more"),
    changed(
        "DROP INDEX o.material_id; CREATE INDEX material_id ON o.material (name)",
        "index",
        "o.material_id",
        "definition",
    ),
    changed(
        "DROP INDEX o.plain_upper; CREATE INDEX plain_upper ON o.plain_table (upper(name), (amount + 1)) WHERE amount > 6",
        "index",
        "o.plain_upper",
        "definition",
    ),
    changed("ALTER INDEX o.plain_upper SET (fillfactor = 60)", "index", "o.plain_upper", "definition"),
    changed(
        catalog("pg_index", "indisvalid = false", "indexrelid = 'o.plain_upper'::regclass"),
        "index",
        "o.plain_upper",
        "valid",
    ),
    changed("ALTER TABLE o.plain_table CLUSTER ON plain_table_pkey", "index", "o.plain_table_pkey", "clustered"),
    changed(
        "ALTER TABLE o.serial_table REPLICA IDENTITY USING INDEX plain_sorted",
        "index",
        "o.plain_sorted",
        "replica identity",
        also=(("table", "o.serial_table", "changed", frozenset({"replica identity"})),),
    ),
    changed(
        "ALTER INDEX o.plain_upper ALTER COLUMN 1 SET STATISTICS 300", "index", "o.plain_upper", "statistics targets"
    ),
    changed(
        "DELETE FROM pg_inherits WHERE inhrelid = 'o.events_1_at_idx'::regclass",
        "index",
        "o.events_1_at_idx",
        "partition of",
    ),
    missing("DROP STATISTICS o.correlated", "statistics object", "o.correlated"),
    extra("CREATE STATISTICS o.more ON a, b FROM o.parent", "statistics object", "o.more"),
    changed(
        "DROP STATISTICS o.correlated; CREATE STATISTICS o.correlated (mcv) ON name, amount FROM o.plain_table",
        "statistics object",
        "o.correlated",
        "definition",
    ),
    changed(
        "ALTER STATISTICS o.correlated SET STATISTICS 50", "statistics object", "o.correlated", "statistics target"
    ),
    # What acts by itself.
    missing("DROP TRIGGER touched ON o.plain_table", "trigger", "touched on o.plain_table"),
    extra(
        "CREATE TRIGGER more BEFORE DELETE ON o.parent FOR EACH ROW EXECUTE FUNCTION o.touch()",
        "trigger",
        "more on o.parent",
    ),
    changed(
        "CREATE OR REPLACE TRIGGER touched BEFORE UPDATE ON o.plain_table FOR EACH ROW EXECUTE FUNCTION o.touch_too()",
        "trigger",
        "touched on o.plain_table",
        "definition",
    ),
    changed(
        "CREATE OR REPLACE TRIGGER touched BEFORE UPDATE ON o.plain_table FOR EACH ROW WHEN (OLD.id > 0)"
        " EXECUTE FUNCTION o.touch()",
        "trigger",
        "touched on o.plain_table",
        "definition",
    ),
    changed("ALTER TABLE o.plain_table DISABLE TRIGGER touched", "trigger", "touched on o.plain_table", "enabled"),
    changed(
        "ALTER TABLE o.plain_table DISABLE TRIGGER always_touched",
        "trigger",
        "always_touched on o.plain_table",
        "enabled",
    ),
    changed(
        "ALTER TABLE o.plain_table ENABLE REPLICA TRIGGER touched", "trigger", "touched on o.plain_table", "enabled"
    ),
    extra("ALTER TABLE o.events_1 DISABLE TRIGGER cloned", "trigger", "cloned on o.events_1"),
    missing("DROP TRIGGER view_trigger ON o.joined_view", "trigger", "view_trigger on o.joined_view"),
    missing("DROP RULE quiet ON o.serial_table", "rule", "quiet on o.serial_table"),
    extra("CREATE RULE more AS ON DELETE TO o.parent DO INSTEAD NOTHING", "rule", "more on o.parent"),
    changed(
        "CREATE OR REPLACE RULE quiet AS ON DELETE TO o.serial_table DO ALSO NOTHING",
        "rule",
        "quiet on o.serial_table",
        "definition",
    ),
    changed("ALTER TABLE o.serial_table DISABLE RULE quiet", "rule", "quiet on o.serial_table", "enabled"),
    missing("DROP POLICY visible ON o.plain_table", "policy", "visible on o.plain_table"),
    extra("CREATE POLICY more ON o.parent", "policy", "more on o.parent"),
    changed(
        "DROP POLICY visible ON o.plain_table;"
        "CREATE POLICY visible ON o.plain_table FOR DELETE TO ek_reader, ek_other USING (name = CURRENT_USER)",
        "policy",
        "visible on o.plain_table",
        "command",
    ),
    changed(
        "DROP POLICY visible ON o.plain_table;"
        "CREATE POLICY visible ON o.plain_table AS RESTRICTIVE FOR SELECT TO ek_reader, ek_other USING (name = CURRENT_USER)",
        "policy",
        "visible on o.plain_table",
        "permissive",
    ),
    changed("ALTER POLICY visible ON o.plain_table TO ek_reader", "policy", "visible on o.plain_table", "roles"),
    changed("ALTER POLICY visible ON o.plain_table TO PUBLIC", "policy", "visible on o.plain_table", "roles"),
    changed("ALTER POLICY visible ON o.plain_table USING (true)", "policy", "visible on o.plain_table", "using"),
    changed(
        "ALTER POLICY writable ON o.plain_table WITH CHECK (id > 1)",
        "policy",
        "writable on o.plain_table",
        "with check",
    ),
    missing("DROP EVENT TRIGGER ek_watch", "event trigger", "ek_watch"),
    extra("CREATE EVENT TRIGGER ek_more ON sql_drop EXECUTE FUNCTION o.on_ddl()", "event trigger", "ek_more"),
    changed(
        catalog("pg_event_trigger", "evtevent = 'ddl_command_start'", "true"), "event trigger", "ek_watch", "event"
    ),
    changed(
        catalog("pg_event_trigger", "evtfoid = 'o.on_ddl_too'::regproc", "true"),
        "event trigger",
        "ek_watch",
        "function",
    ),
    changed("ALTER EVENT TRIGGER ek_watch ENABLE", "event trigger", "ek_watch", "enabled"),
    changed(catalog("pg_event_trigger", "evttags = '{CREATE TABLE}'", "true"), "event trigger", "ek_watch", "tags"),
)
