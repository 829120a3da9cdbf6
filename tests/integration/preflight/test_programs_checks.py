# SPDX-License-Identifier: GPL-3.0-or-later
"""Pre-flight checks of the client programs of this machine, on real servers: where they fire, and that their remedies cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fixtures import Database
from tests.support.preflight import Case, Report, case_id, fires_and_is_cured

CASES = (Case("client_programs", options={"client_bin_dir": "/nonexistent"}),)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_check_fires_and_its_remedy_cures_it(
    case: Case, examine: Callable[[Case], Report], source_db: Database, target_db: Database
) -> None:
    fires_and_is_cured(case, examine, source_db, target_db)
