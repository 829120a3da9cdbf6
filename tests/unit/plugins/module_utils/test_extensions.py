# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.extension_data import ConfigTable, eligible, ordered
from ansible_collections.seren.migrator.plugins.module_utils.extensions import Extension, ExtensionsPlan, plan
from ansible_collections.seren.migrator.plugins.module_utils.provider import PROVIDERS, Provider

NEON = Provider(next(rules for rules in PROVIDERS if rules.name == "neon"))
PG_EXTENSION = 3079


def extension(oid: int, name: str, **more: Any) -> Extension:
    return Extension(PG_EXTENSION, oid, name, "1.0", "public", False, **more)


def decide(
    found: Sequence[Extension], needs: Sequence[tuple[int, int, int]] = (), policy: str = "default"
) -> ExtensionsPlan:
    """``needs`` are (extension, class, OID) of what depends on it."""

    def ask(_query: str, _parameters: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        return [{"extension": oid, "classid": classid, "oid": dependent} for oid, classid, dependent in needs]

    return plan(policy, ask, found, NEON, {(1259, 77)})


def test_only_what_the_provider_alone_has_and_nobody_needs_stays_behind() -> None:
    found = [extension(1, "neon"), extension(2, "citext"), extension(3, "neon_utils", offered="1.0")]
    decided = decide(found)
    assert decided.behind == {(PG_EXTENSION, 1)}
    assert [item.name for item in decided.arriving] == ["citext", "neon_utils"]
    assert decide(found, [(1, 1259, 50)]).behind == frozenset()
    assert decide(found, [(1, 1259, 77)]).behind == {(PG_EXTENSION, 1)}  # the selection leaves that behind, too


def test_an_extension_that_only_another_one_left_behind_needs_stays_behind_with_it() -> None:
    found = [extension(1, "neon"), extension(2, "neon_utils")]
    assert len(decide(found, [(1, PG_EXTENSION, 2)]).behind) == 2
    assert decide(found, [(1, PG_EXTENSION, 2), (2, 1259, 50)]).behind == frozenset()


def test_the_version_of_the_source_is_asked_for_only_where_it_is_made() -> None:
    found = [extension(1, "citext", offered="1.6"), extension(2, "hstore", offered="1.8", installed="1.7")]
    assert decide(found).versions == {}
    wanted = decide(found, policy="source")
    assert wanted.versions == {1: "1.0"}
    assert wanted.statements[1].as_string(None) == (
        'CREATE EXTENSION IF NOT EXISTS "citext" WITH SCHEMA "public" VERSION "1.0"'
    )
    assert [item["object"] for item in decide(found).differing()] == [
        "version 1.0 of extension citext",
        "version 1.0 of extension hstore",
    ]
    assert [item["object"] for item in wanted.differing()] == ["version 1.0 of extension hstore"]


def table(oid: int, of: str = "postgis", needs: tuple[int, ...] = ()) -> ConfigTable:
    return ConfigTable(PG_EXTENSION, 9, of, oid, "public", f"t{oid}", "r", "", True, ("id",), needs)


def test_tables_come_after_those_that_they_refer_to() -> None:
    assert [item.oid for item in ordered([table(1, needs=(2, 3)), table(2, needs=(3,)), table(3)])] == [3, 2, 1]
    assert len(ordered([table(1, needs=(2,)), table(2, needs=(1,))])) == 2


def test_extensions_that_run_or_spread_or_belong_to_the_provider_keep_their_rows() -> None:
    tables = [table(1), table(2, "pg_cron"), table(3, "timescaledb"), table(4, "citus"), table(5, "neon")]
    chosen, never = eligible(tables, NEON, frozenset())
    assert [item.oid for item in chosen] == [1]
    assert [item.oid for item, _reason in never] == [2, 3, 4, 5]
    assert eligible(tables, NEON, {(PG_EXTENSION, 9)}) == ([], [])
