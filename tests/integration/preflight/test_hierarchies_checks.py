# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of partitions and inheritance, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

PARTMAN = f"""
CREATE SCHEMA {H};
CREATE TABLE {H}.part_config (parent_table text PRIMARY KEY, automatic_maintenance text NOT NULL);
CREATE TABLE {H}.{H} (id int PRIMARY KEY) PARTITION BY RANGE (id);
INSERT INTO {H}.part_config VALUES ('{HOSTILE}.{HOSTILE}', 'on'), ('another.one', 'on');
"""

# Partitions whose last one ends so many days from today.
BY_TIME = """
CREATE TABLE {name} (at {type} NOT NULL, PRIMARY KEY (at)) PARTITION BY RANGE (at);
DO $$ BEGIN EXECUTE format('CREATE TABLE %I PARTITION OF {name} FOR VALUES FROM (%L) TO (%L)',
  '{name}_1', CURRENT_DATE - 99, CURRENT_DATE + {days}); END $$;
"""

CASES = (
    Case(
        "growing_partitions",
        PARTMAN,
        objects=(f"{HOSTILE}.{HOSTILE} (pg_partman)",),
        severity="warning",
        cure="source",
        name="pg_partman",
    ),
    Case(
        "growing_partitions",
        BY_TIME.format(name="t", type="timestamptz", days=3) + "CREATE TABLE t_rest PARTITION OF t DEFAULT",
        severity="warning",
        name="the newest ends soon",
    ),
    Case(
        "inheritance_outside",
        f"CREATE TABLE {H} () INHERITS (p)",
        selection={"exclude_tables": [f'"{H[1:-1]}"']},
        objects=(f"public.{HOSTILE} (public.p)",),
        severity="warning",
    ),
)


def test_partitions_that_last_or_have_ended_are_left_alone(
    examine: Callable[[Case], Report], source_db: Database
) -> None:
    for name, kind, days in (("made", "date", 60), ("ended", "timestamp", -2), ("open", "timestamptz", 3)):
        source_db.execute(BY_TIME.format(name=name, type=kind, days=days))
    source_db.execute(
        "DO $$ BEGIN EXECUTE format('CREATE TABLE open_2 PARTITION OF open FOR VALUES FROM (%L) TO (MAXVALUE)',"
        " CURRENT_DATE + 3); END $$"
    )
    assert examine(Case(""))["growing_partitions"]["status"] == "pass"


def test_a_configuration_that_may_not_be_read_is_unknown(source_db: Database, target_db: Database) -> None:
    source_db.execute(PARTMAN + "CREATE ROLE me LOGIN PASSWORD 'plain'")
    plain = {**source_db.params, "user": "me", "password": "plain"}
    assert run_validate(plain, target_db.params)["growing_partitions"]["status"] == "unknown"
