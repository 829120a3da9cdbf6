# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("psycopg")

from ansible_collections.seren.migrator.plugins.module_utils.event_triggers import EventTrigger, create, plan
from ansible_collections.seren.migrator.plugins.module_utils.provider import PROVIDERS, SELF_HOSTED, Provider

SUPABASE = Provider(next(rules for rules in PROVIDERS if rules.name == "supabase"))
OURS = EventTrigger(
    3466, 1, 'my "trigger"', "ddl_command_end", ("CREATE TABLE", "it's"), "O", "alice", "app", "f", "it's"
)


def test_what_the_provider_made_for_itself_stays_behind() -> None:
    found = [
        OURS,
        replace(OURS, oid=2, name="by_function", function_schema="extensions"),
        replace(OURS, oid=3, name="by_owner", owner="supabase_admin"),
    ]
    decided = plan("copy", found, SUPABASE, ())
    assert decided.make == (OURS,)
    assert {item["object"] for item in decided.left} == {"event trigger by_function", "event trigger by_owner"}
    assert len(plan("copy", found[:2], Provider(SELF_HOSTED), ()).make) == 2


def test_the_option_the_selection_and_the_target_decide() -> None:
    provider = Provider(SELF_HOSTED)
    assert plan("skip", [OURS], provider, ()).left[0]["reason"] == "event_triggers: skip"
    assert plan("copy", [OURS], provider, {(3466, 1)}) == plan("copy", [], provider, ())
    assert plan("copy", [OURS], provider, (), [OURS.name]).make == ()


def test_it_is_made_at_rest_with_its_tags_and_comment() -> None:
    assert create(OURS).as_string(None).split(";\n") == [
        (
            'CREATE EVENT TRIGGER "my ""trigger""" ON "ddl_command_end" WHEN TAG IN (\'CREATE TABLE\', \'it\'\'s\')'
            ' EXECUTE FUNCTION "app"."f"()'
        ),
        'ALTER EVENT TRIGGER "my ""trigger""" DISABLE',
        'COMMENT ON EVENT TRIGGER "my ""trigger""" IS \'it\'\'s\'',
    ]
