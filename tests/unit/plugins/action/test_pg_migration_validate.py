# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.seren.migrator.plugins.action import pg_migration_validate as validate
from ansible_collections.seren.migrator.plugins.plugin_utils import live_line

TEXT = "m: not ready\n"


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs the plugin; it returns the result and what was shown."""

    def run(answer, *, diff=False, verbosity=0, no_log=False):
        shown = []
        monkeypatch.setattr(live_line.display, "display", lambda text, **how: shown.append((text, how)))
        monkeypatch.setattr(live_line.display, "verbosity", verbosity)
        task = SimpleNamespace(args={}, check_mode=False, no_log=no_log, diff=diff, async_val=0, action="x")
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp/x"), has_native_async=False)
        plugin = validate.ActionModule(task, connection, None, None, None, None)
        plugin._execute_module = lambda **_how: dict(answer)
        plugin._remove_tmp_path = lambda _path: None
        return plugin.run(task_vars={}), shown

    return run


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("how", [{"diff": True}, {"verbosity": 1}])
def test_the_text_is_shown_with_diff_or_v_however_it_ends(run, how, failed):
    answer = {"changed": False, "failed": failed, "diff": {"prepared": TEXT}}
    result, shown = run(answer, **how)
    assert shown == [(TEXT, {"stderr": True})]
    assert {key: result[key] for key in answer} == answer


def test_otherwise_it_is_not_and_never_with_no_log(run):
    answer = {"changed": False, "diff": {"prepared": TEXT}}
    assert run(answer)[1] == []
    assert run(answer, diff=True, verbosity=3, no_log=True)[1] == []
    assert run({"failed": True, "msg": "source names no host"}, diff=True)[1] == []
