# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a long phase as a background job and shows on the controller, line by line, how far it is.

The action plugins of such phases are this, with the name of the phase and the numbers that their lines show. The job
outlives this process. Its result comes back as it is.
"""

from __future__ import annotations

import math
import secrets
import shlex
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError, Redactor
from ansible_collections.seren.migrator.plugins.module_utils.job_progress import (
    SEEN,
    VARIABLE,
    Look,
    look_command,
    parse_look,
)
from ansible_collections.seren.migrator.plugins.module_utils.migration import DEFAULT_NAME
from ansible_collections.seren.migrator.plugins.module_utils.module import failure, job_timeout, progress_options
from ansible_collections.seren.migrator.plugins.plugin_utils import live_line

# Ansible's wrapper of jobs wants a limit and ends a job by SIGKILL. The module ends itself at job_timeout, in order, so
# that the wrapper comes later, and without job_timeout never.
GRACE_S = 60
NO_LIMIT_S = 100 * 365 * 86400
# One look is one command over the connection. It watches the job for so long, and ends as soon as the job does.
MAX_LOOK_S = 30.0
TICK_S = 1.0
FIRST_TICK_S = 0.2  # while the job begins, which may also be all of it
FIRST_LOOK_S = 5.0
# A job whose process is gone may still be handing over its result; one that has not begun may be on a busy machine.
LOST_AFTER_S = 15.0
NOT_BEGUN_AFTER_S = 120.0
# How long the way to the machine may be interrupted.
UNREACHABLE_S = 300.0
REMEDIES = {
    "init": "Run the same command again: it goes on where the other one ended, or follows it should it still live.",
    "verify": "Run the same command again. Its connections and locks end with it; a repair goes on where it ended.",
}
WRAPPER_KEYS = {"ansible_job_id", "finished", "stderr", "stderr_lines"}


@dataclass
class Job:
    """A module that was started in the background, and what is known of it by now."""

    id: str
    results_file: str
    progress_file: str
    folder: str  # Ansible's temporary directory with the module and its arguments
    begin_s: float
    last: Look | None = None
    next_line_s: float = 0.0
    gone_since_s: float | None = None


class WatchedJob(ActionBase):
    """The job, and the loop that watches it. A subclass says which ``phase`` it is, and what its lines show."""

    phase = ""
    shown: tuple[str, ...] = ()

    _supports_check_mode = True
    _supports_async = True
    _requires_connection = True

    @property
    def plugin(self) -> str:
        """The name of the module and its action plugin."""
        return f"pg_migration_{self.phase}"

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and return its result, unchanged."""
        result = super().run(tmp, task_vars)
        given = {key: value for key, value in self._task.args.items() if key in progress_options()}
        options = ArgumentSpecValidator(progress_options()).validate(given)
        is_plain = self._task.check_mode or self._task.async_val or self._connection.has_native_async
        if is_plain or options.error_messages:  # of a wrong option the module itself tells
            return {**result, **self._run_plainly(task_vars or {})}
        return {**result, **self._run_watched(options.validated_parameters, task_vars or {})}

    def _run_plainly(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        wrap_async = self._task.async_val and not self._connection.has_native_async
        answered = self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return answered

    def _run_watched(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        started, folder, name = self._start(options["job_timeout"], task_vars)
        if started.get("failed"):  # no place for Ansible's record of the job, for instance
            self._remove_folder(folder)
            answered = self._run_plainly(task_vars)
            reason = f"There were no live lines, because the module could not be started as a job: {started.get('msg')}"
            return {**answered, "warnings": [*answered.get("warnings", []), reason]}
        results_file = started["results_file"]
        progress_file = self._connection._shell.join_path(results_file.rpartition("/")[0], name)
        job = Job(started["ansible_job_id"], results_file, progress_file, folder, time.monotonic())
        answered = self._watch(job, options, task_vars)
        with suppress(AnsibleConnectionFailure):
            if job.last is None:
                self._remove_folder(folder)
            beside = (f"{progress_file}.tmp", f"{progress_file}{SEEN}")
            files = " ".join(shlex.quote(path) for path in (results_file, progress_file, *beside))
            self._low_level_execute_command(f"rm -f {files}")
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return answered

    def _start(self, limit_s: float | None, task_vars: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
        """Start the job; return what Ansible says about it, its temporary directory, and the name of its file."""
        name = f"{self.plugin}_{secrets.token_hex(8)}"
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        folder = self._connection._shell.tmpdir
        self._task.async_val = NO_LIMIT_S if limit_s is None else math.ceil(limit_s) + GRACE_S
        self._task.environment.append({VARIABLE: name})
        try:
            return self._execute_module(task_vars=task_vars, wrap_async=True), folder, name
        finally:
            self._task.environment.pop()
            self._task.async_val = 0

    def _remove_folder(self, folder: str) -> None:
        """Remove the module and its arguments from the remote machine, unless the user wants such files kept."""
        self._cleanup_remote_tmp = True
        self._remove_tmp_path(folder)

    def _watch(self, job: Job, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Look at the job and show lines until it is over; return its result, or why there is none.

        A way to the machine that is interrupted for a while is no end of the job.
        """
        reached_s = time.monotonic()
        while True:
            try:
                answered = self._look(job, options, task_vars)
                reached_s = time.monotonic()
            except AnsibleConnectionFailure:
                if time.monotonic() - reached_s >= UNREACHABLE_S:
                    raise
                time.sleep(TICK_S)
                continue
            if answered is not None:
                return answered

    def _look(self, job: Job, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any] | None:
        """Watch the job until its next line is due, or until it is over; return its result then."""
        interval_s = max(options["progress_interval"], TICK_S)
        if job.last is None:
            ticks = round(FIRST_LOOK_S / FIRST_TICK_S)
            command = look_command(job.progress_file, ticks, FIRST_TICK_S, until_begun=True)
        else:
            seconds = min(max(job.next_line_s - time.monotonic(), TICK_S), MAX_LOOK_S)
            command = look_command(job.progress_file, round(seconds / TICK_S), TICK_S)
        look = parse_look(self._low_level_execute_command(command)["stdout"])
        now = time.monotonic()
        if look.has_begun:
            if job.last is None:
                self._remove_folder(job.folder)
            job.last = look
        is_shown = not (options["quiet"] or self._task.no_log)  # no_log does not cover display lines
        if look.is_alive:
            job.gone_since_s = None
            if now >= job.next_line_s:
                job.next_line_s = now + interval_s
                if is_shown:
                    live_line.show(self.plugin, task_vars, self._shown(job))
            return None
        ask = {"jid": job.id, "_async_dir": job.results_file.rpartition("/")[0]}
        state = self._execute_module("ansible.legacy.async_status", ask, task_vars=task_vars)
        if state.get("finished"):
            if is_shown and look.has_ended:
                live_line.show(self.plugin, task_vars, self._shown(job))
            return answer_of(self.phase, state, job.last, options["job_timeout"])
        job.gone_since_s = now if job.gone_since_s is None else job.gone_since_s
        if now - job.gone_since_s >= (LOST_AFTER_S if job.last else NOT_BEGUN_AFTER_S):
            return failure(runner_lost(self.phase, "It is gone, and nothing has taken down its result.", job.last))
        time.sleep(TICK_S)
        return None

    def _shown(self, job: Job) -> dict[str, Any]:
        """Return what a live line shows of the job's latest event."""
        line = (job.last.line if job.last else None) or {}
        name = self._task.args.get("name") or DEFAULT_NAME
        known = {key: line["numbers"][key] for key in self.shown if key in line.get("numbers", {})}
        elapsed = round(time.monotonic() - job.begin_s, 1)
        told = {key: line.get(key) for key in ("text", "outcome") if key in line}
        return {"migration": name, **known, "elapsed": elapsed, **told}


def answer_of(phase: str, state: Mapping[str, Any], last: Look | None, limit_s: float | None) -> dict[str, Any]:
    """Return the module's own result from what async_status says of a job that is over.

    Where the module has left none, Ansible's words about that become an error of ours.
    """
    if "child_pid" in state:  # its wrapper has ended it
        return failure(job_timeout(phase, limit_s))
    if "started" in state:  # async_status speaks for itself
        return failure(runner_lost(phase, f"Ansible says: {state.get('msg')}.", last))
    if "cmd" in state and ("data" in state or "outdata" in state):
        said = str(state.get("stderr") or state.get("data") or state.get("outdata") or "").strip()
        return failure(runner_lost(phase, "It ended without an answer.", last, said))
    return {key: value for key, value in state.items() if key not in WRAPPER_KEYS}


def runner_lost(phase: str, what: str, last: Look | None, said: str = "") -> MigrationError:
    """Return the error of a job that has left no result. ``said`` is what it has printed instead."""
    safe = Redactor([]).text(said)
    return MigrationError(
        "runner_lost",
        f"The process that ran {phase} was killed, or memory ran out, or its machine has ended. {what}"
        + (f" Its last words: {safe.splitlines()[-1]}" if safe else ""),
        REMEDIES[phase],
        {"last": last.line if last else None, "output": safe},
    )
