# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils import database_settings
from ansible_collections.seren.migrator.plugins.module_utils.database_settings import Setting, attempt, plan

HEAP = {"heap"}


def test_what_the_target_has_not_is_given_and_what_it_has_is_kept() -> None:
    wanted = [Setting("work_mem", "5MB"), Setting("DateStyle", "German"), Setting("app.key", "a=b")]
    there = [Setting("work_mem", "5MB"), Setting("datestyle", "ISO")]
    decided = plan(wanted, there, HEAP)
    assert decided.give == (Setting("app.key", "a=b"),)
    assert [item["object"] for item in decided.left] == ["setting DateStyle of the database"]
    assert decided.waiting == ()


@pytest.mark.parametrize("name", sorted({*database_settings.WAITING, *database_settings.PLACES}))
def test_what_would_hinder_or_leads_elsewhere_is_never_given(name: str) -> None:
    decided = plan([Setting(name.upper(), "x")], [], HEAP)
    assert decided.give == ()
    assert len(decided.left) == 1
    assert decided.waiting == ((name.upper(),) if name in database_settings.WAITING else ())


@pytest.mark.parametrize("name", ["neon.tenant_id", "rds.force_ssl", "cron.log_run", "supautils.extensions", "CRON.x"])
def test_settings_of_providers_stay_behind(name: str) -> None:
    assert plan([Setting(name, "x")], [], HEAP).give == ()


def test_an_access_method_counts_only_where_it_is() -> None:
    wanted = [Setting("default_table_access_method", "columnar")]
    assert plan(wanted, [], HEAP).give == ()
    assert plan(wanted, [], {"heap", "columnar"}).give == tuple(wanted)


def test_an_entry_is_cut_at_its_first_equals_sign() -> None:
    assert Setting.of("app.key=a=b") == Setting("app.key", "a=b")


def test_values_of_applications_are_not_shown() -> None:
    hidden = attempt('My "db"', Setting("app.key", "se'cret"))
    assert str(hidden.statement.as_string(None)) == 'ALTER DATABASE "My ""db""" SET "app"."key" TO \'se\'\'cret\''  # type: ignore[union-attr]
    assert hidden.shown is not None
    assert "cret" not in hidden.shown.as_string(None)  # type: ignore[union-attr]
    listed = attempt("db", Setting("search_path", '"$user", "a, b"'))
    assert listed.shown == listed.statement
    assert listed.statement.as_string(None).endswith("TO '$user', 'a, b'")  # type: ignore[union-attr]
