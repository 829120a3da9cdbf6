# SPDX-License-Identifier: GPL-3.0-or-later
"""What every integration test can ask for: real servers, see `tests/support/fixtures.py`."""

from __future__ import annotations

from tests.support.fixtures import make_cluster, source_cluster, source_db, target_cluster, target_db
from tests.support.own_extensions import offered
from tests.support.preflight import ready

__all__ = ["make_cluster", "offered", "ready", "source_cluster", "source_db", "target_cluster", "target_db"]
