# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the pre-flight checks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.preflight import Case, Report, run_validate


@pytest.fixture
def examine(source_db: Database, target_db: Database, target_cluster: Cluster) -> Callable[..., Report]:
    source_db.execute("CREATE TABLE p (id int PRIMARY KEY)")

    def run(case: Case) -> Report:
        options = {"client_bin_dir": str(target_cluster.client_dir), **case.options}
        return run_validate(source_db.params, target_db.params, case.selection, **options)

    return run
