# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of objects that replication does not carry, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, case_id, fires_and_is_cured

CASES = (
    Case("large_objects", "SELECT lo_from_bytea(4711, 'x')", objects=("4711",), name="large objects"),
    Case(
        "unlogged_tables",
        f"CREATE UNLOGGED TABLE {H} (id int PRIMARY KEY)",
        objects=(f"public.{HOSTILE}",),
        severity="warning",
        cure="source",
        name="copy",
    ),
    Case(
        "unlogged_tables",
        f"CREATE UNLOGGED TABLE {H} (id int PRIMARY KEY)",
        options={"unlogged_tables": "fail"},
        objects=(f"public.{HOSTILE}",),
        cure="source",
        name="fail",
    ),
    Case(
        "foreign_tables",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (id int) SERVER s",
        options={"foreign_tables": "fail"},
        objects=("public.f",),
    ),
    Case(
        "always_triggers",
        "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        f"CREATE TRIGGER {H} BEFORE INSERT ON p FOR EACH ROW EXECUTE FUNCTION noop();"
        f"ALTER TABLE p ENABLE ALWAYS TRIGGER {H}; CREATE RULE r AS ON DELETE TO p DO ALSO NOTIFY p;"
        "ALTER TABLE p ENABLE REPLICA RULE r",
        objects=(f"public.p: trigger {HOSTILE}", "public.p: rule r"),
        severity="info",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(case, examine, source_db, target_db)


def test_policies_that_say_skip_or_copy_are_accepted(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute("CREATE UNLOGGED TABLE u (id int PRIMARY KEY); SELECT lo_from_bytea(4711, 'x')")
    for policy in ("skip", "copy"):
        assert examine(Case("", options={"large_objects": policy}))["large_objects"]["status"] == "pass"
    assert examine(Case("", options={"unlogged_tables": "skip"}))["unlogged_tables"]["status"] == "pass"
