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
from tests.support.cluster import Cluster
from tests.support.compare import compare_data
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.proof import Policy, differences, unexplained
from tests.support.verified import assert_verified

# A provider's admin role in two profiles; pg_create_subscription is among its groups where there is one.
STRICT = """
CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password};
GRANT {groups} TO {role};
"""
READ_ALL = STRICT + "GRANT pg_read_all_data TO {role};"
PROFILES = {"strict": STRICT, "read_all": READ_ALL}

POLICIES: tuple[Policy, ...] = (
    Policy(r"^[-+] (role|password of) t_unreferenced: ", "roles: referenced leaves out what nothing refers to"),
    Policy(
        r"^[-+] trigger (is_(always|replica)|on_root) on store\.(columns|event_2025_q3): "
        r"|^TRIGGER store\.(columns is_(always|replica)|event_2025_q3 on_root): [-+] ALTER TABLE ",
        "would fire for each replicated row: disabled on the target until the cutover, and named under `left`",
    ),
    Policy(r"^RULE store\.ruled in_(always|replica): ", "as such triggers"),
    Policy(
        r"^EVENT TRIGGER [^:]*: [-+] ALTER EVENT TRIGGER ", "as such triggers: it would act on the migration's own DDL"
    ),
    Policy(r"^USER MAPPING ", "user mappings hold secrets: named under `left`"),
    Policy(
        r'^TABLE store\.adopted: [-+]     |^"store"\."adopted": columns ',
        "a table that was attached to its parent later has the parent's columns first, as after every pg_dump",
    ),
    Policy(
        r"^- setting of all roles in the database: (default_transaction_isolation|temp_tablespaces)=",
        "the apply would run its transactions so, and tablespaces do not travel: named under `left`",
    ),
    Policy(r"COMMENT ON EXTENSION pg_stat_statements ", "an extension brings the comment of its version"),
    # SUPERUSER is never given, and only a superuser can own these.
    Policy(r"^[-+] role t_root: super=", "SUPERUSER is never given: named under `left`"),
    Policy(r'Wräpper ""of"";".*(t_root|postgres)', "a superuser must own it, which t_root is no longer"),
)
AS_ADMIN: tuple[Policy, ...] = (
    *POLICIES,
    Policy(r"^[-+] (membership|grantor) of adm in ", "who makes a role is its administrator; this is the provider's"),
    Policy(r"^\+ grantor of .*: adm, ", "what a role grants, it grants in its own name; superusers' stay theirs"),
    Policy(r"^- grantor of .*: postgres, ", "see above"),
    Policy(r"^[-+] password of adm: ", "the provider's role"),
)
# pg_authid cannot be read: roles arrive without a password, each named under `left`.
AS_STRICT_ADMIN = (*AS_ADMIN, Policy(r"^- password of |^\+ password of [^:]*: none", "unreadable: named under `left`"))


def as_superuser(source: Cluster, target: Cluster) -> Case:
    """A torture database of the superuser's, and an empty one to migrate it to."""
    case = Case(create_database(source), create_database(target))
    torture.load(case.source.dsn, case.target.dsn, features_of=target.major)
    return case


def as_admin(source: Cluster, target: Cluster, profile: str) -> Case:
    """A torture database that a provider's admin role has made, which will migrate it, too."""
    recipe = PROFILES[profile]
    source_recipe = recipe if source.major >= 14 else STRICT  # pg_read_all_data is of 14
    case = Case(managed(source, source_recipe, "adm"), managed(target, recipe, "adm"))
    superuser = case.target.cluster.dsn(case.target.name)
    torture.load(make_conninfo(**case.source.params), superuser, features_of=target.major)
    return case


# Less than this, and the torture database was not looked at.
LEAST_OBJECTS = 700


def policies_of(case: Case, profile: str) -> Sequence[Policy]:
    is_unreadable = profile == "strict" or case.source.cluster.major < 14
    return AS_STRICT_ADMIN if is_unreadable else AS_ADMIN


def prove(case: Case, policies: Sequence[Policy] = POLICIES) -> dict[str, Any]:
    """Init, then compare everything; the result of init."""
    data = case.init(large_objects="copy").data
    found = unexplained(differences(case.source, case.target), policies)
    assert not found, "\n".join(found)
    return data


def prove_replication(case: Case) -> None:
    """Go on after init: changes on the source arrive, and verify finds no row and no object that differs."""
    source, target = (side.cluster.dsn(side.name) for side in (case.source, case.target))
    torture.change(source, 1)
    case.sync()
    torture.change(source, 2)
    case.wait_until_in_sync()
    found = compare_data(source, target, sequences="ignore", materialized_views=False, large_objects=False).differences
    assert unexplained(found, POLICIES) == []
    verified = case.verify(objects="compare").data
    assert [item for item in verified["tables"] if item["status"] != "verified"] == []
    assert verified["objects"]["different"] == []
    assert sum(item["source"] for item in verified["objects"]["kinds"]) > LEAST_OBJECTS
    assert_verified(verified)


def test_every_kind_of_object_arrives(
    source_cluster: Cluster, target_cluster: Cluster, source_db: Database, target_db: Database
) -> None:
    case = as_superuser(source_cluster, target_cluster)
    data = prove(case)
    left = {item["object"]: item["reason"] for item in data["left"]}
    for named in ("role t_root", "trigger is_always on store.columns", "rule in_replica on store.ruled"):
        assert named in left
    prove_replication(case)


def test_every_kind_of_object_arrives_without_a_superuser(
    source_cluster: Cluster, target_cluster: Cluster, source_db: Database, target_db: Database
) -> None:
    case = as_admin(source_cluster, target_cluster, "strict")
    data = prove(case, AS_STRICT_ADMIN)
    assert "role t_app" in {item["object"] for item in data["left"]}
    prove_replication(case)


SOURCES, TARGETS = (12, 13, 14, 15, 16, 17), (15, 16, 17, 18)
PAIRS = [*((source, target) for source in SOURCES for target in TARGETS), (18, 18)]


@pytest.mark.slow
@pytest.mark.parametrize(("source_major", "target_major"), PAIRS)
def test_every_pair_of_majors_as_superuser(
    make_cluster: Callable[..., Cluster], source_major: int, target_major: int
) -> None:
    case = as_superuser(make_cluster(source_major), make_cluster(target_major))
    prove(case)
    prove_replication(case)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("source_major", "target_major"), [pair for pair in PAIRS if pair[1] >= 16])
def test_every_pair_of_majors_as_a_provider_s_admin(
    make_cluster: Callable[..., Cluster], source_major: int, target_major: int, profile: str
) -> None:
    case = as_admin(make_cluster(source_major), make_cluster(target_major), profile)
    prove(case, policies_of(case, profile))
    prove_replication(case)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("source_major", SOURCES)
def test_before_16_nobody_but_a_superuser_subscribes_which_is_said_before_anything_is_written(
    make_cluster: Callable[..., Cluster], source_major: int, profile: str
) -> None:
    case = as_admin(make_cluster(source_major), make_cluster(15), profile)
    before = case.left_on_source()
    with pytest.raises(MigrationError) as caught:
        case.init(large_objects="copy")
    assert "subscription_probe" in caught.value.details["checks"]
    assert case.left_on_source() == before
    assert before["slots"] == NOTHING["slots"]
    assert case.target.execute("SELECT nspname FROM pg_namespace WHERE nspname IN ('seren_migrator', 'store')") == []
