# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object, attribute and privilege arrives: a torture database, judged by none of the product's code.

See `tests/support/torture.py` for what is in it and `tests/support/proof.py` for the comparison. Each policy below is
what docs/what-travels.md states; whatever else differs is a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import managed
from tests.support import torture
from tests.support.binaries import MAJORS
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.proof import Policy, differences, unexplained

# A provider's admin role in two profiles; pg_create_subscription is among its groups where there is one.
STRICT = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT {groups} TO {role};
"""
READ_ALL = STRICT + "GRANT pg_read_all_data TO {role};"
PROFILES = {"strict": STRICT, "read_all": READ_ALL}

POLICIES: tuple[Policy, ...] = (
    Policy(r"^[-+] (role|password of) t_unreferenced: ", "roles: referenced leaves out what nothing refers to"),
    Policy(r"^[-+] role t_root: ", "SUPERUSER is never given"),
    Policy(r"^[-+] trigger is_(always|replica) on |^TRIGGER .*ENABLE (ALWAYS|REPLICA)|^TRIGGER .* is_(always|replica): \+ .* DISABLE",
           "would fire for each replicated row: disabled on the target until the cutover, named under `left`"),
    Policy(r"^RULE .*in_(always|replica): ", "as such triggers"),
    Policy(r"^USER MAPPING ", "user mappings hold secrets: they stay, named under `left`"),
    Policy(r'^TABLE store.adopted: [-+]     |^"store"."adopted": columns ',
           "a child that was attached to its parent later has the parent's columns first, as after every pg_dump"),
)  # fmt: skip
# Grantors of memberships before 16 are nobody's: the server forgets them with the role.
STATEMENTS = """
INSERT INTO store.parent SELECT i, -i, 'later ' || i FROM generate_series(100, 110) AS i;
UPDATE store.columns SET amount = amount + 1, mood = 'so-so; it''s' WHERE id > 1010;
DELETE FROM store.identity_full WHERE n = 1;
INSERT INTO store.event (occurred_on, region) VALUES ('2025-05-01', 'north'), ('2026-05-01', 'somewhere');
UPDATE store.event_2025_q3 SET payload = '{}';
INSERT INTO "Weird ""Schema""; --"."Täble ""with"" dots. and 'quotes'; --" ("Ïd", "col ""umn""", "col.umn") VALUES (100, 'x', 'y');
UPDATE store.generated SET net = net + 1;
INSERT INTO store.amphibian (id, name) VALUES (44, 'later');
UPDATE store.indexed SET n = n + 1 WHERE id < 10;
INSERT INTO store.secured VALUES (77, 'somebody', 'later');
UPDATE store.forced_without_policy SET note = 'later';
INSERT INTO store.hen VALUES (3, 1);
DELETE FROM store.by_mood WHERE id = 3;
"""


def as_superuser(source: Cluster, target: Cluster) -> Case:
    """A torture database of the superuser's, and an empty one to migrate it to."""
    case = Case(create_database(source), create_database(target))
    torture.load(case.source.dsn, case.target.dsn, features_of=target.major)
    return case


def as_admin(source: Cluster, target: Cluster, recipe: str) -> Case:
    """A torture database that a provider's admin role has made, which will migrate it, too."""
    source_recipe = recipe if source.major >= 14 else STRICT  # pg_read_all_data is of 14
    case = Case(managed(source, source_recipe, "adm"), managed(target, recipe, "adm"))
    torture.load(make_conninfo(**case.source.params), case.target.dsn, features_of=target.major)
    return case


def prove(case: Case, policies: Sequence[Policy] = POLICIES) -> dict[str, Any]:
    """Init, then compare everything; the result of init."""
    data = case.init(large_objects="copy").data
    assert unexplained(differences(case.source, case.target), policies) == []
    return data


def prove_replication(case: Case) -> None:
    """Go on after init: changes on the source arrive, and verify finds nothing."""
    change(case.source)
    case.sync()
    change(case.source)
    case.wait_until_in_sync()
    assert case.compare().differences == []
    verified = case.verify().data
    assert verified["verified"] is True, verified


def change(database: Database) -> None:
    """Write into many kinds of tables, also a second time."""
    with database.cluster.connect(database.name) as connection:
        connection.execute("SET standard_conforming_strings = on")
        with connection.transaction():
            connection.execute("SET CONSTRAINTS ALL DEFERRED")
            for statement in STATEMENTS.strip().split(";\n"):
                connection.execute(statement.replace("100", "1000").encode())


def test_every_kind_of_object_arrives(source_cluster: Cluster, target_cluster: Cluster, source_db: Database, target_db: Database) -> None:
    case = as_superuser(source_cluster, target_cluster)
    prove(case)
    prove_replication(case)
