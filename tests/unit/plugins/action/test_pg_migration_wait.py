# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.seren.migrator.plugins.action import pg_migration_wait as wait
from ansible_collections.seren.migrator.plugins.plugin_utils import live_line

ENDPOINTS = {"source": {"host": "a", "login_db": "x"}, "target": {"host": "b", "dbname": "x", "password": "Secret1"}}


def status(state="in_sync", lag_bytes=0, lag_seconds=0.0, **more):
    return {"changed": False, "state": state, "lag_bytes": lag_bytes, "lag_seconds": lag_seconds, **more}


UNREADABLE = {"failed": True, "msg": "Cannot connect", "code": "cannot_connect", "remedy": "Start the server."}


class Clock:
    """Time that passes only in sleeps and looks."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def waiter(monkeypatch):
    """Return a function that waits through a list of statuses (the last one repeats) and returns what happened."""
    clock = Clock()
    lines = []
    monkeypatch.setattr(wait, "time", clock)
    monkeypatch.setattr(live_line.display, "display", lambda line, **how: lines.append((line, how)))

    def run(statuses, check_mode=False, no_log=False, look_seconds=0.0, **arguments):
        args = {**ENDPOINTS, **arguments}
        task = SimpleNamespace(args=args, check_mode=check_mode, no_log=no_log, async_val=0, action="wait")
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        plugin = wait.ActionModule(task, connection, None, None, None, None)
        plugin._remove_tmp_path = lambda path, force=False: None
        asked = []
        coming = itertools.chain(statuses, itertools.repeat(statuses[-1]))

        def look(module_name, module_args, task_vars):
            asked.append((module_name, module_args))
            clock.now += look_seconds
            return dict(next(coming))

        plugin._execute_module = look
        result = plugin.run(task_vars={"inventory_hostname": "shop1"})
        return SimpleNamespace(result=result, asked=asked, lines=lines, sleeps=clock.sleeps)

    return run


def test_it_returns_as_soon_as_the_target_is_in_sync(waiter):
    done = waiter([status("copying", None, None), status("catching_up", 5000, 2.0), status(lag_bytes=10)])
    assert done.result["ready"] is True
    assert "failed" not in done.result
    assert done.result["changed"] is False
    assert [sample["state"] for sample in done.result["samples"]] == ["copying", "catching_up", "in_sync"]
    assert done.result["status"]["lag_bytes"] == 10
    assert done.sleeps == [5.0, 5.0]


def test_the_status_module_gets_its_own_arguments_as_they_were_given(waiter):
    done = waiter([status()], max_lag_bytes=5, until="in_sync", wait_sleep=1)
    assert done.asked == [
        ("seren.migrator.pg_migration_status", {**ENDPOINTS, "max_lag_bytes": 5, "schema_drift": False})
    ]


def test_an_unknown_lag_is_not_ready_and_ends_in_a_timeout_with_the_last_samples(waiter):
    done = waiter([status(lag_seconds=None, reasons=["lag in seconds is unknown"])], wait_timeout=12)
    assert done.result["failed"] is True
    assert done.result["ready"] is False
    assert done.result["code"] == "lag_timeout"
    assert done.result["remedy"]
    assert "lag in seconds is unknown" in done.result["msg"]
    assert done.result["details"]["lag_seconds"] is None
    assert [sample["elapsed"] for sample in done.result["samples"]] == [0.0, 5.0, 10.0, 12.0]


def test_the_condition_must_hold_without_a_break(waiter):
    good, bad = status(), status("catching_up", 9999999, 9.0)
    done = waiter([good, good, bad, good, good, good, good], stable_for=12)
    assert done.result["ready"] is True
    assert [sample["state"] for sample in done.result["samples"]] == [
        "in_sync",
        "in_sync",
        "catching_up",
        "in_sync",
        "in_sync",
        "in_sync",
        "in_sync",
    ]


def test_a_sample_that_cannot_be_read_breaks_the_condition(waiter):
    done = waiter([status(), UNREADABLE, status(), status()], stable_for=5)
    assert [sample["state"] for sample in done.result["samples"]] == ["in_sync", None, "in_sync", "in_sync"]
    assert done.result["samples"][1]["error"] == "Cannot connect"


def test_three_samples_in_a_row_that_cannot_be_read_end_the_wait(waiter):
    done = waiter([status("copying"), UNREADABLE, UNREADABLE, status("copying"), UNREADABLE])
    assert done.result["failed"] is True
    assert done.result["code"] == "status_unreadable"
    assert done.result["remedy"] == "Start the server."
    assert len(done.result["samples"]) == 7
    assert done.result["status"]["state"] == "copying"


def test_broken_replication_fails_at_once_with_its_reasons(waiter):
    done = waiter([status("broken", reasons=["slot s is lost"])])
    assert done.result["failed"] is True
    assert done.result["code"] == "replication_broken"
    assert "slot s is lost" in done.result["msg"]
    assert len(done.asked) == 1


def test_a_migration_that_does_not_exist_fails_at_once(waiter):
    done = waiter([status("absent", None, None)])
    assert done.result["code"] == "not_initialised"
    assert len(done.asked) == 1


@pytest.mark.parametrize(("state", "ready"), [("cut_over", True), ("rolled_back", False)])
def test_after_a_cutover_or_a_rollback_there_is_nothing_to_wait_for(waiter, state, ready):
    done = waiter([status(state, None, None)])
    assert "failed" not in done.result
    assert done.result["ready"] is ready
    assert "seren_migration" in done.result["msg"]


@pytest.mark.parametrize(
    ("seen", "ready"),
    [
        (status(), True),
        (status("copying"), False),
        (status("absent"), False),
        (status("broken"), False),
        (UNREADABLE, False),
    ],
)
def test_check_mode_looks_once_and_tells_the_truth_without_failing(waiter, seen, ready):
    done = waiter([seen], check_mode=True)
    assert "failed" not in done.result
    assert done.result["ready"] is ready
    assert len(done.asked) == 1
    assert done.sleeps == []


def test_until_copied_does_not_wait_for_the_lag(waiter):
    assert waiter([status("copying"), status("catching_up", 10**12, None)], until="copied").result["ready"] is True


def test_the_live_line_names_the_host_and_says_unknown_for_what_is_not_known(waiter):
    done = waiter([status("catching_up", 3000000, None), status("catching_up", 2000000, 4.0), status()], name="shop")
    first, second, _last = (line for line, _how in done.lines)
    assert first.startswith("pg_migration_wait [shop1] migration=shop state=catching_up lag_bytes=3000000")
    assert "lag_seconds=unknown rate_bytes_per_second=unknown eta_seconds=unknown" in first
    assert "lag_seconds=4.0 rate_bytes_per_second=200000 eta_seconds=10" in second
    assert all(how == {"stderr": True} for _line, how in done.lines)


def test_the_live_line_shows_the_progress_of_the_copy(waiter):
    copying = status("copying", None, None, progress={"bytes_copied": 250, "estimated_bytes": 1000})
    assert "bytes_copied=250 estimated_bytes=1000" in waiter([copying, status()]).lines[0][0]


@pytest.mark.parametrize("how", [{"no_log": True}, {"quiet": True}])
def test_no_log_and_quiet_show_no_lines(waiter, how):
    assert waiter([status()], **how).lines == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": "postgresql://alice:Secret1@db1/shop?sslmode=require"},
        {"source": "postgresql://alice:Secret1@db1/shop"},
        {"nonsense": 1},
        {"until": "whenever"},
    ],
)
def test_arguments_that_are_not_understood_are_refused_without_showing_secrets(waiter, arguments):
    with pytest.raises(AnsibleActionFail) as refused:
        waiter([status()], **arguments)
    assert "Secret1" not in str(refused.value)
