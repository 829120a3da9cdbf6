# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of what stays on the source or needs a hand at the cut-over, on real servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.seren.migrator.plugins.module_utils.preflight import left_behind
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import HOSTILE, Case, H, Report, run_validate

CASES = (
    Case(
        "user_mappings",
        f"CREATE FOREIGN DATA WRAPPER w; CREATE SERVER {H} FOREIGN DATA WRAPPER w; CREATE ROLE {H};"
        f"CREATE USER MAPPING FOR {H} SERVER {H} OPTIONS (password 'unshown');"
        f"CREATE USER MAPPING FOR PUBLIC SERVER {H}",
        objects=(f"{HOSTILE} on {HOSTILE}", f"public on {HOSTILE}"),
        severity="warning",
    ),
    Case("publications", f"CREATE PUBLICATION {H} FOR TABLE p", objects=(HOSTILE,), severity="info"),
    Case(
        "security_labels",
        f"CREATE TABLE {H} (id int PRIMARY KEY);"
        "INSERT INTO pg_catalog.pg_seclabel (objoid, classoid, objsubid, provider, label)"
        f" VALUES ('{H}'::regclass, 'pg_class'::regclass, 0, 'anon', 'MASKED')",
        objects=(f"table public.{H} (anon)",),
        severity="info",
    ),
)


def test_no_secret_of_a_user_mapping_is_shown(examine: Callable[[Case], Report], source_db: Database) -> None:
    source_db.execute(CASES[0].source)
    assert "unshown" not in str(examine(CASES[0]).data)


def test_labels_of_roles_that_are_called_otherwise_are_named(source_db: Database, target_db: Database) -> None:
    source_db.execute(
        f"CREATE ROLE {H}; CREATE TABLE p (id int PRIMARY KEY); GRANT SELECT ON p TO {H};"
        "INSERT INTO pg_catalog.pg_shseclabel (objoid, classoid, provider, label)"
        f" VALUES ('{H}'::regrole, 'pg_authid'::regclass, 'anon', 'MASKED')"
    )
    found = run_validate(source_db.params, target_db.params, roles={HOSTILE: "plain"})["security_labels"]
    assert (found["status"], found["objects"]) == ("fail", [f"role {H} (anon)"])
    target_db.execute("CREATE ROLE plain")
    found = run_validate(source_db.params, target_db.params, roles={HOSTILE: "plain"})["security_labels"]
    assert found["status"] == "pass"


@pytest.mark.fires("materialized_views")
def test_large_materialized_views_are_named(
    examine: Callable[[Case], Report], source_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source_db.execute(
        f"CREATE MATERIALIZED VIEW {H} AS SELECT n FROM generate_series(1, 100) AS n;"
        "CREATE MATERIALIZED VIEW keyed AS SELECT n FROM generate_series(1, 100) AS n;"
        "CREATE UNIQUE INDEX ON keyed (n); CREATE UNIQUE INDEX ON keyed (n) WHERE n > 5;"
        "CREATE MATERIALIZED VIEW empty AS SELECT 1 AS n WITH NO DATA"
    )
    assert examine(Case(""))["materialized_views"]["status"] == "pass"
    monkeypatch.setattr(left_behind, "LOCKED_VIEW_BYTES", 8192)
    found = examine(Case(""))["materialized_views"]
    assert (found["status"], found["severity"]) == ("fail", "warning")
    assert found["objects"] == [f"public.{HOSTILE} (0 MiB, no unique index)"]
    monkeypatch.setattr(left_behind, "SLOW_VIEW_BYTES", 8192)
    assert len(examine(Case(""))["materialized_views"]["objects"]) == 2


@pytest.mark.fires("tablespaces")
def test_other_tablespaces_are_named(
    source_db: Database, target_db: Database, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    with source_db.connect() as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute(f"CREATE TABLESPACE {H} LOCATION ''")
    try:
        source_db.execute("CREATE TABLE p (id int)")
        source_db.execute(f"ALTER TABLE p ADD PRIMARY KEY (id) USING INDEX TABLESPACE {H}")
        report = run_validate(source_db.params, target_db.params, client_bin_dir=str(target_cluster.client_dir))
        assert report.with_status("fail", "unknown") == {"tablespaces": "fail"}
        assert report["tablespaces"]["objects"] == [f"public.p_pkey ({HOSTILE})"]
    finally:
        source_db.execute("DROP TABLE p")
        source_cluster.execute(f"DROP TABLESPACE {H}")
