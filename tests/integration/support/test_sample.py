# SPDX-License-Identifier: GPL-3.0-or-later
"""The sample loads, is the same everywhere, and the comparison finds no difference between copies and each injected one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support import compare, sample
from tests.support.cluster import Cluster
from tests.support.fixtures import SOURCE_MAJOR, Database, create_database
from tests.support.sweep import sweep

MISSING_KEYS = """
    SELECT c.oid::regclass::text
    FROM pg_catalog.pg_class AS c
    WHERE c.relkind IN ('r', 'p')
      AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
      AND c.relreplident = 'd'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
"""

# What is changed on the right side, and a part of the line that must report it.
CHANGES = {
    "a value": (
        "UPDATE shop.customer SET note = 'changed' WHERE id = 7",
        'customer": row only on the right side: (7,customer7@example.com,"Customer 7",changed,',
    ),
    "NULL for ''": (
        "UPDATE shop.customer SET name = NULL WHERE id = 11",
        'customer": row only on the right side: (11,customer11@example.com,,',
    ),
    "minus zero": (
        'UPDATE shop.special_value SET "double" = 0 WHERE id = 2',
        'special_value": row only on the left side: (2,0.00,-0,-0,',
    ),
    "a numeric's scale": (
        'UPDATE shop.special_value SET "numeric" = 1.0 WHERE id = 4',
        'special_value": row only on the left side: (4,1.00,',
    ),
    "one byte of a large value": (
        "UPDATE shop.document SET body = overlay(body placing '!' from 1000000 for 1) WHERE id > 1000000",
        'document": row only on the right side: (1000001,',
    ),
    "a row too few": (
        "DELETE FROM small.table_003 WHERE id = 2",
        'table_003": row only on the left side: (2,',
    ),
    "one more of equal rows": (
        "INSERT INTO shop.measurement (sensor, taken_at, value, unit) VALUES ('twin', '2025-06-01 12:00:00+00', 1, 'm')",
        'measurement": row only on the right side: (twin,',
    ),
    "a row without columns": (
        "INSERT INTO shop.no_columns DEFAULT VALUES",
        'no_columns": row only on the right side: ()',
    ),
    "a row of a partition": (
        "DELETE FROM shop.event_2025_q2_south WHERE id = (SELECT min(id) FROM shop.event_2025_q2_south)",
        'event_2025_q2_south": row only on the left side',
    ),
    "a row of a child": (
        "UPDATE ONLY shop.car SET doors = 7 WHERE id = 3",
        'car": row only on the right side: (3,"car 3",4,7)',
    ),
    "a row in a hostile table": (
        """UPDATE "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" SET "select" = 'x' WHERE "Id" = 50""",
        "'quotes'; --\": row only on the right side: (50,",
    ),
    "a sequence": ("SELECT nextval('shop.huge')", 'huge": (last_value, is_called) is '),
    "a large object": ("SELECT lo_put(700003, 5, 'x')", "large objects:"),
    "a column": ("ALTER TABLE shop.empty_table ADD COLUMN more integer", "empty_table\": columns ['id', 'value'] left"),
    "a table": ("DROP TABLE small.table_007", 'table_007": only on the left side'),
    "an index": ("DROP INDEX shop.product_name_upper", "-CREATE INDEX product_name_upper"),
    "a comment": ("COMMENT ON TABLE shop.reservation IS 'other'", "+COMMENT ON TABLE shop.reservation IS 'other'"),
    "a grant": ("REVOKE SELECT ON shop.category FROM PUBLIC", "-GRANT SELECT ON TABLE shop.category TO PUBLIC"),
    "an owner": ("ALTER TABLE shop.boat OWNER TO postgres", "+ALTER TABLE shop.boat OWNER TO postgres"),
    "a trigger's state": ("ALTER TABLE shop.order_line DISABLE TRIGGER audit_line", "DISABLE TRIGGER audit_line"),
}


@pytest.fixture(scope="module")
def loaded(source_cluster: Cluster) -> Iterator[Database]:
    """The sample on the source, to be read only."""
    database = create_database(source_cluster, "sample_original")
    sample.load(database.dsn, 1, large_objects=True)
    yield database
    sweep(source_cluster)


def test_every_table_of_the_sample_has_a_replica_identity(loaded: Database) -> None:
    assert loaded.execute(MISSING_KEYS) == []


def test_loading_on_another_major_version_gives_the_same_rows(loaded: Database, target_db: Database) -> None:
    sample.load(target_db.dsn, 1, features_of=SOURCE_MAJOR, large_objects=True)
    assert compare.compare_data(loaded.dsn, target_db.dsn).differences == []


def test_the_comparison_finds_nothing_in_a_copy_and_every_sort_of_change(loaded: Database) -> None:
    clients = loaded.cluster.client_dir
    copy = create_database(loaded.cluster, "sample_copy", f"TEMPLATE {loaded.name}")
    assert compare.compare(loaded.dsn, copy.dsn, client_dir=clients) == []
    for change, _line in CHANGES.values():
        copy.execute("SET session_replication_role = replica; " + change)
    found = compare.compare(loaded.dsn, copy.dsn, client_dir=clients)
    overlooked = [what for what, (_change, line) in CHANGES.items() if not any(line in reported for reported in found)]
    assert overlooked == [], "\n".join(found)


def test_a_dump_restores_on_the_target_without_an_error_or_a_difference(
    loaded: Database, make_cluster: Callable[..., Cluster]
) -> None:
    target = Database(make_cluster(17), "postgres")
    clients = target.cluster.client_dir
    quoted = [os.fspath(clients / program) for program in ("pg_dumpall", "psql", "pg_dump")]
    script = '"$0" --globals-only --no-role-passwords -d "$3" | "$1" -Xqd "$4" && "$2" -d "$3" | "$1" -Xqd "$4"'
    command = ["sh", "-c", script, *quoted, loaded.cluster.socket_dsn(loaded.name), target.cluster.socket_dsn()]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    errors = [line for line in completed.stderr.splitlines() if 'role "postgres" already exists' not in line]
    assert errors == []
    assert compare.compare(loaded.dsn, target.dsn, client_dir=clients) == []


@pytest.mark.slow
@pytest.mark.parametrize("major", [12, 13, 14, 15, 16, 17, 18])
def test_the_sample_loads_on_every_supported_server(make_cluster: Callable[..., Cluster], major: int) -> None:
    database = Database(make_cluster(major), "postgres")
    sample.load(database.dsn, 1, large_objects=True, unlogged=True, forced_row_security=True)
    assert database.execute(MISSING_KEYS) == []
