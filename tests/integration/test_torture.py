# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object, attribute and privilege arrives: a torture database, judged by none of the product's code.

See `tests/support/torture.py` for what is in it and `tests/support/proof.py` for the comparison. Each policy below is
what docs/what-travels.md states; whatever else differs is a defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.conninfo import make_conninfo

from tests.integration.test_managed_role import managed
from tests.support import torture
from tests.support.cluster import Cluster
from tests.support.compare import compare_data
from tests.support.fixtures import Database, create_database
from tests.support.migrations import Case
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
    dsn = case.source.cluster.dsn(case.source.name)
    torture.change(dsn, 1)
    case.sync()
    torture.change(dsn, 2)
    case.wait_until_in_sync()
    assert (
        compare_data(
            dsn, case.target.cluster.dsn(case.target.name), sequences="ignore", materialized_views=False
        ).differences
        == []
    )
    verified = case.verify().data
    assert verified["verified"] is True, verified


def test_every_kind_of_object_arrives(
    source_cluster: Cluster, target_cluster: Cluster, source_db: Database, target_db: Database
) -> None:
    case = as_superuser(source_cluster, target_cluster)
    prove(case)
    prove_replication(case)
