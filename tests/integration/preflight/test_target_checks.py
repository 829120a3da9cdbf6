# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what the target lacks or holds, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from tests.support.preflight import HOSTILE, Case, H

CASES = (
    Case(
        "target_empty",
        f"CREATE TABLE {H} (id int PRIMARY KEY)",
        f"CREATE TABLE {H} (id int); CREATE VIEW other AS SELECT 1",
        objects=(f"public.{HOSTILE}", "public.other"),
    ),
    Case(
        "target_event_triggers",
        "",
        "CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        f"CREATE EVENT TRIGGER {H} ON ddl_command_end EXECUTE FUNCTION et()",
        objects=(HOSTILE,),
        severity="warning",
        cure="target",
    ),
)
