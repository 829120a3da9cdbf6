# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of your own two servers without writing to them."""

from __future__ import annotations

import pytest

from tests.external.own_servers import Pair

pytestmark = pytest.mark.external


def test_the_servers_are_ready_for_a_migration(pair: Pair) -> None:
    played = pair.run("validate")
    result = played.result("pg_migration_validate")
    for check in result.get("checks", ()):
        about = f": {check['detail']}" if check["status"] != "pass" and check["detail"] else ""
        print(f"  {check['status']:<8} {check['severity']:<8} {check['id']}{about}")
        if check["status"] in ("fail", "unknown") and check.get("remedy"):
            print(f"  {'':<17} {check['remedy']}")
    assert result.get("ready") is True, result.get("msg")
    assert played.code == 0


def test_the_status_can_be_read(pair: Pair) -> None:
    played = pair.run("status")
    result = played.result("pg_migration_status")
    assert played.code == 0, result.get("msg")
    print(f"  state: {result['state']}")


def test_check_mode_of_init_returns_the_plan_and_writes_nothing(pair: Pair) -> None:
    before = pair.objects()
    played = pair.run("init", "--check")
    after = pair.objects()
    result = played.result("pg_migration_init")
    assert played.code == 0, result.get("msg")
    print(f"  would copy {len(result['tables'])} tables")
    for side in ("source", "target"):
        assert after[side] ^ before[side] == set(), f"appeared or vanished on the {side}"
