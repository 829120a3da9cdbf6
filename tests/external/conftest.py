# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixture for tests on your own two servers; without them each test is skipped and says so."""

from __future__ import annotations

import os

import pytest

from tests.external.own_servers import SOURCE_VARIABLE, TARGET_VARIABLE, Pair, from_environment


@pytest.fixture(scope="session")
def pair() -> Pair:
    found = from_environment(os.environ)
    if found is None:
        pytest.skip(f"set {SOURCE_VARIABLE} and {TARGET_VARIABLE} to connection strings of your own two databases")
    return found
