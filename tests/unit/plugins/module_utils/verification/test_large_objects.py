# SPDX-License-Identifier: GPL-3.0-or-later
"""What is concluded from the sums of large objects, without a server."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.verification.large_objects import conclude


def grid(**more: object) -> list[dict[str, object]]:
    return [{"leaf": 0, "objects": 2, "bytes": 10, "content": 7, **more}]


def test_sums_that_differ_without_an_object_that_does_are_never_verified() -> None:
    assert conclude((grid(), grid()), [], is_all=True).status == "verified"
    found = conclude((grid(), grid(content=8)), [], is_all=True)
    assert found.status == "error"
    assert found.reason
    assert conclude((grid(), grid(content=8)), [(16, "changed")], is_all=True).status == "different"
