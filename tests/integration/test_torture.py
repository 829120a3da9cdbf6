# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object, attribute and privilege arrives: a torture database, judged by none of the product's code.

See `tests/support/torture.py` for what is in it and `tests/support/proof.py` for the comparison. Each policy below is
what docs/what-travels.md states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from tests.integration.test_managed_role import AsAdmin, managed
from tests.support import torture
from tests.support.cluster import Cluster
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.proof import Policy, differences, unexplained

# A provider's admin role in two profiles. {groups} adds pg_create_subscription where there is one.
STRICT = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT {groups} TO {role};
"""
READ_ALL = STRICT + "GRANT pg_read_all_data TO {role};"

POLICIES: tuple[Policy, ...] = (
    Policy(r"t_unreferenced", "roles: referenced leaves behind what nothing of the database refers to"),
    Policy(r"(role t_root: |Type: DATABASE )", "SUPERUSER is never given"),
)


def prove(case: Case, policies: Sequence[Policy], **options: Any) -> dict[str, Any]:
    """Init, then compare everything; the result of init."""
    data = case.init(large_objects="copy", **options).data
    found = unexplained(differences(case.source, case.target), policies)
    assert found == []
    return data


def as_superuser(source: Cluster, target: Cluster) -> Case:
    case = Case(create_database(source), create_database(target))
    torture.load(case.source.dsn, case.target.dsn, features_of=target.major)
    return case


def as_admin(source: Cluster, target: Cluster, recipe: str) -> Case:
    """A torture database that a provider's admin role has made, which will migrate it, too."""
    case = Case(
        managed(source, recipe if source.major >= 14 else STRICT, "adm"),
        managed(target, recipe, "adm"),
    )
    torture.load(make_conninfo(**case.source.params), case.target.dsn, features_of=target.major)
    return case
