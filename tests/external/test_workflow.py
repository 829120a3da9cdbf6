# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole workflow on your own two servers. It writes to both; the copied data stays on the target."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.external.own_servers import MIGRATION_NAME, Pair
from tests.support.verified import assert_verified

ALLOW_VARIABLE = "TEST_ALLOW_WRITES"

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        os.environ.get(ALLOW_VARIABLE) != "1", reason=f"writes to both servers: allow it with {ALLOW_VARIABLE}=1"
    ),
]


def done(pair: Pair, playbook: str, module: str) -> dict[str, Any]:
    """The result of a phase that succeeded."""
    played = pair.run(playbook)
    result = played.result(module)
    assert played.code == 0, result.get("msg")
    return result


def waited(pair: Pair) -> dict[str, Any]:
    """The wait is part of `migrate` and has no playbook of its own."""
    played = pair.run("shared.entry_point", "-e", "migrate_entry_point=wait")
    result = played.result("pg_migration_wait")
    assert played.code == 0, result.get("msg")
    return result


def test_a_database_is_migrated_from_validate_to_cleanup(pair: Pair) -> None:
    assert done(pair, "validate", "pg_migration_validate")["ready"] is True
    before = pair.objects()["source"]
    try:
        assert done(pair, "init", "pg_migration_init")["changed"] is True
        assert done(pair, "sync", "pg_migration_sync")["subscriptions"]
        assert waited(pair)["ready"] is True
        assert done(pair, "status", "pg_migration_status")["state"] in ("in_sync", "catching_up")
        assert_verified(done(pair, "verify", "pg_migration_verify"))
    finally:
        # Whatever went wrong: a slot that nobody reads would fill the source's disk.
        cleaned = done(pair, "cleanup", "pg_migration_cleanup")
    assert cleaned["left"] == []
    new = pair.objects()["source"] - before
    assert not [name for kind, name in new if kind in ("slot", "publication") and name.startswith(MIGRATION_NAME)], new
    assert ("schema", "seren_migrator") not in new
