# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.seren.migrator.plugins.action import pg_migration_init as init
from ansible_collections.seren.migrator.plugins.plugin_utils import live_line, watched_job

ENDPOINTS = {"source": {"host": "a", "password": "Secret1"}, "target": {"host": "b", "dbname": "x"}}
STARTED = {"started": True, "finished": False, "ansible_job_id": "j1.7", "results_file": "/home/u/.ansible_async/j1.7"}
DONE = {
    "changed": True,
    "state": "copied",
    "migration": "m",
    "phase": "init",
    "finished": True,
    "ansible_job_id": "j1.7",
}
PLAIN = {"changed": False, "plan": {}}
UNFINISHED = {"started": True, "finished": False, "results_file": "/home/u/.ansible_async/j1.7"}
FOLDER = "/home/u/.ansible/tmp/ansible-tmp-1"


class Clock:
    """Time that passes only in sleeps and looks."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def seen(text="copying", state="running", alive=True, **numbers):
    """What a look prints."""
    line = json.dumps({"phase": "init", "text": text, "numbers": numbers})
    return "process lives\n" * alive + f"7 {state}\n{line}\n"


ENDED = seen("ended", "ended", alive=False, bytes_copied=99)


@pytest.fixture
def runner(monkeypatch):
    """Return a function that runs the plugin through looks and answers (the last of each repeats)."""
    clock = Clock()
    shown = []
    monkeypatch.setattr(watched_job, "time", clock)
    monkeypatch.setattr(live_line.display, "display", lambda line, **how: shown.append((line, how)))

    def run(looks, answers=(DONE,), started=None, check_mode=False, async_val=0, no_log=False, **arguments):
        done = SimpleNamespace(lines=shown, modules=[], commands=[], removed=[], limits=[], names=[])
        shell = SimpleNamespace(tmpdir=None, join_path=lambda *parts: "/".join(parts))
        task = SimpleNamespace(
            args={**ENDPOINTS, **arguments},
            check_mode=check_mode,
            no_log=no_log,
            async_val=async_val,
            action="seren.migrator.pg_migration_init",
            environment=[],
        )
        connection = SimpleNamespace(_shell=shell, has_native_async=False)
        plugin = init.ActionModule(task, connection, None, None, None, None)
        looks, answers = list(looks), list(answers)

        def execute(module_name=None, module_args=None, task_vars=None, wrap_async=False):
            done.modules.append(module_name or "init")
            if module_name is None:
                done.limits.append(task.async_val)
                done.names += [value for pair in task.environment for value in pair.values()]
                return dict(started or STARTED) if wrap_async and not async_val else dict(PLAIN)
            assert module_args == {"jid": "j1.7", "_async_dir": "/home/u/.ansible_async"}
            return dict(answers.pop(0) if len(answers) > 1 else answers[0])

        def command(words):
            if words.startswith("rm"):
                done.commands.append(words)
                return {"stdout": ""}
            clock.now += 5.0
            look = looks.pop(0) if len(looks) > 1 else looks[0]
            if isinstance(look, Exception):
                raise look
            return {"stdout": look}

        plugin._execute_module = execute
        plugin._low_level_execute_command = command
        plugin._make_tmp_path = lambda: setattr(shell, "tmpdir", FOLDER)
        plugin._remove_tmp_path = lambda path, force=False: done.removed.append((path, len(done.lines)))
        done.result = plugin.run(task_vars={"inventory_hostname": "shop1"})
        done.task = task
        return done

    return run


def test_the_module_s_result_comes_back_without_the_job_s_bookkeeping(runner):
    done = runner([seen(), ENDED])
    expected = {"changed": True, "state": "copied", "migration": "m", "phase": "init"}
    assert {key: value for key, value in done.result.items() if key in DONE} == expected
    assert done.modules == ["init", "ansible.legacy.async_status"]


def test_a_failure_comes_back_with_code_and_remedy(runner):
    failed = {"failed": True, "msg": "no", "code": "copy_failed", "remedy": "r", "details": {"a": 1}, "finished": True}
    done = runner([seen(), ENDED], [failed])
    assert {key: done.result[key] for key in ("failed", "msg", "code", "remedy", "details")} == {
        key: failed[key] for key in ("failed", "msg", "code", "remedy", "details")
    }


def test_a_line_an_interval_with_host_and_migration_and_one_for_the_end(runner):
    looks = [seen(bytes_copied=n, eta_seconds=None, step="copy") for n in (1, 2, 3, 4)]
    done = runner([*looks, ENDED], name="my shop", progress_interval=10)
    first, second, last = (line for line, _how in done.lines)
    assert first == (
        'pg_migration_init [shop1] migration="my shop" step=copy bytes_copied=1 eta_seconds=unknown elapsed=5.0'
        " text=copying"
    )
    assert "bytes_copied=3" in second
    assert "bytes_copied=99" in last
    assert "text=ended" in last
    assert all(how == {"stderr": True} for _line, how in done.lines)


@pytest.mark.parametrize("how", [{"no_log": True}, {"quiet": True}])
def test_no_log_and_quiet_show_no_lines(runner, how):
    done = runner([seen(bytes_copied=1), seen(bytes_copied=2), ENDED], **how)
    assert done.lines == []
    assert done.result["state"] == "copied"


def test_the_module_with_its_arguments_is_removed_as_soon_as_the_job_has_begun(runner):
    done = runner(["", seen(), seen(), ENDED], [UNFINISHED, DONE])
    assert (FOLDER, 0) in done.removed  # before the first line
    (words,) = done.commands
    name = done.names[0]
    names = ("j1.7", name, f"{name}.tmp", f"{name}.seen")
    assert words == "rm -f " + " ".join(f"/home/u/.ansible_async/{each}" for each in names)


@pytest.mark.parametrize(("given", "limit"), [({}, watched_job.NO_LIMIT_S), ({"job_timeout": 99.5}, 160)])
def test_the_wrapper_s_limit_lies_behind_the_module_s_own(runner, given, limit):
    done = runner([ENDED], **given)
    assert done.limits == [limit]
    assert (done.task.async_val, done.task.environment) == (0, [])


@pytest.mark.parametrize("how", [{"check_mode": True}, {"async_val": 600}, {"progress_interval": "often"}])
def test_check_mode_async_and_wrong_options_run_plainly(runner, how):
    done = runner([ENDED], **how)
    assert done.modules == ["init"]
    assert done.result["plan"] == {}
    assert done.lines == []
    assert done.names == []


def test_a_job_that_cannot_be_started_runs_plainly_and_says_so(runner):
    done = runner([ENDED], started={"failed": True, "msg": "could not create directory"})
    assert done.modules == ["init", "init"]
    assert done.result["plan"] == {}
    assert "could not create directory" in done.result["warnings"][-1]


def test_a_job_that_died_without_a_word_is_lost(runner):
    dead = seen(alive=False, bytes_copied=5)
    wrapper = {"failed": True, "cmd": "x", "data": "", "stderr": "", "msg": "Traceback", "finished": True}
    done = runner([seen(), dead], [UNFINISHED, wrapper])
    assert (done.result["failed"], done.result["code"]) == (True, "runner_lost")
    assert "same command" in done.result["remedy"]
    assert done.result["details"]["last"]["numbers"] == {"bytes_copied": 5}
    assert "Traceback" not in done.result["msg"]


def test_the_last_words_of_a_job_are_shown_without_secrets(runner):
    said = "Traceback\nSyntaxError: password=Secret1"
    wrapper = {"failed": True, "cmd": "x", "data": "", "stderr": said, "msg": "Traceback", "finished": True}
    done = runner([""], [wrapper])
    assert "SyntaxError" in done.result["msg"]
    assert "Secret1" not in json.dumps(done.result)


@pytest.mark.parametrize("looks", [[seen(), seen(alive=False)], [""]])
def test_a_job_whose_wrapper_is_gone_too_is_given_up_after_a_while(runner, looks):
    done = runner(looks, [UNFINISHED])
    assert done.result["code"] == "runner_lost"


def test_a_record_that_has_vanished_is_a_lost_job(runner):
    gone = {"failed": True, "msg": "could not find job", "started": True, "finished": True}
    assert runner([seen(), ENDED], [gone]).result["code"] == "runner_lost"


def test_a_job_that_its_wrapper_has_ended_was_out_of_time(runner):
    wrapper = {"failed": True, "msg": "Timeout exceeded", "child_pid": 9, "finished": True}
    done = runner([seen(), seen(alive=False)], [wrapper], job_timeout=30)
    assert done.result["code"] == "job_timeout"
    assert "same command" in done.result["remedy"]


def test_an_interrupted_way_to_the_machine_is_waited_for(runner):
    done = runner([seen(), *[AnsibleConnectionFailure("away")] * 10, seen(), ENDED])
    assert done.result["state"] == "copied"


def test_a_machine_that_stays_out_of_reach_is_unreachable(runner):
    with pytest.raises(AnsibleConnectionFailure):
        runner([seen(), AnsibleConnectionFailure("away")])
