# Copyright (c) 2026, Seren
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits on the controller: asks the status module again and again, shows a live line, ends when the gate opens."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError, Redactor
from ansible_collections.seren.migrator.plugins.module_utils.gates import (
    Forecast,
    Limits,
    copied_bytes,
    forecast,
    judge,
)
from ansible_collections.seren.migrator.plugins.module_utils.module import (
    common_options,
    failure,
    sampling_options,
    waiting_options,
)
from ansible_collections.seren.migrator.plugins.plugin_utils import live_line

STATUS_MODULE = "seren.migrator.pg_migration_status"
MAX_UNREADABLE = 3  # samples in a row that may fail before the wait gives up
KEPT_SAMPLES = 500
SAMPLE_FIELDS = ("state", "lag_bytes", "lag_seconds", "retained_wal_bytes", "progress", "reasons")
BOOKKEEPING = {"invocation", "changed", "failed", "migration", "statements", "phase", "warnings", "deprecations"}


class ActionModule(ActionBase):
    """The loop over ``pg_migration_status``."""

    _supports_check_mode = True
    _supports_async = False
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait, and return the last status with the samples."""
        result = super().run(tmp, task_vars)
        options = self._options()
        result.update(changed=False, migration=options["name"], phase="wait", statements=[])
        try:
            result.update(self._wait(options, task_vars or {}))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _options(self) -> dict[str, Any]:
        spec = {**common_options(), **sampling_options(), **waiting_options()}
        try:
            return self.validate_argument_spec(spec)[1]
        except AnsibleActionFail as error:
            # A URL given as the whole source is quoted in the message.
            raise AnsibleActionFail(Redactor([]).text(str(error))) from None

    def _wait(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        limits = Limits(options["max_lag_bytes"], options["max_lag_seconds"])
        samples: deque[dict[str, Any]] = deque(maxlen=KEPT_SAMPLES)
        last_status: dict[str, Any] = {}
        unreadable = 0
        ready_since: float | None = None
        begin = time.monotonic()
        while True:
            status = self._look(task_vars)
            elapsed = time.monotonic() - begin
            unreadable = unreadable + 1 if status.get("failed") else 0
            if not unreadable:
                last_status = {key: value for key, value in status.items() if key not in BOOKKEEPING and key[0] != "_"}
            samples.append(_sample(status, elapsed))
            verdict = judge(status, options["until"], limits)
            ready_since = None if verdict != "ready" else elapsed if ready_since is None else ready_since
            if not (options["quiet"] or self._task.no_log):  # display lines are not covered by no_log
                shown = _shown(options["name"], samples[-1], forecast(samples), _reasons(status))
                live_line.show("pg_migration_wait", task_vars, shown)

            seen = {"status": last_status, "samples": list(samples), "elapsed": round(elapsed, 1), "ready": False}
            if verdict == "over":
                return {**seen, **_over(options["name"], last_status)}
            if ready_since is not None and elapsed - ready_since >= options["stable_for"]:
                return {**seen, "ready": True}
            if self._task.check_mode:  # one look: nothing was created, so the condition might never come true
                return {**seen, "ready": verdict == "ready"}
            error = _reason_to_stop(options, status, verdict, unreadable, elapsed)
            if error is not None:
                return {**seen, **failure(error)}
            time.sleep(max(0.0, min(options["wait_sleep"], options["wait_timeout"] - elapsed)))

    def _look(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the status module once. The arguments as given: validated ones carry their aliases twice."""
        known = {**common_options(), **sampling_options()}
        arguments = {key: value for key, value in self._task.args.items() if key in known}
        # Comparing the whole schema again and again would be a burden to the source.
        return self._execute_module(STATUS_MODULE, {**arguments, "schema_drift": False}, task_vars=task_vars)


def _sample(status: dict[str, Any], elapsed: float) -> dict[str, Any]:
    sample: dict[str, Any] = {"elapsed": round(elapsed, 1)}
    if status.get("failed"):
        return {**sample, "state": None, "error": status.get("msg", "the status cannot be read")}
    return {**sample, **{key: status.get(key) for key in SAMPLE_FIELDS}}


def _over(name: str, status: dict[str, Any]) -> dict[str, Any]:
    if status["state"] == "cut_over":
        return {"ready": True, "msg": f"Migration {name} has been cut over: there is nothing to wait for."}
    return {"msg": f"Migration {name} was rolled back to the source: nothing flows to the target any more."}


def _reason_to_stop(
    options: dict[str, Any], status: dict[str, Any], verdict: str, unreadable: int, elapsed: float
) -> MigrationError | None:
    """Return why the wait must fail now, or None when it goes on."""
    name, until = options["name"], options["until"]
    details = {key: status.get(key) for key in SAMPLE_FIELDS}
    if unreadable >= MAX_UNREADABLE:
        return MigrationError(
            "status_unreadable",
            f"The status of migration {name} could not be read {unreadable} times in a row: {status.get('msg')}",
            status.get("remedy") or "Run pg_migration_status by itself to see what is wrong, then wait again.",
            {"code": status.get("code"), "status_details": status.get("details")},
        )
    if verdict == "failed" and status.get("state") == "absent":
        return MigrationError(
            "not_initialised",
            f"There is no migration {name} between these two databases, so there is nothing to wait for.",
            "Run pg_migration_init and pg_migration_sync first, or correct name, source and target.",
            details,
        )
    reasons = _reasons(status)
    if verdict == "failed":
        return MigrationError(
            "replication_broken",
            f"Migration {name} is broken and will not get well by waiting. {reasons}".strip(),
            "The reasons name the objects; mend them, or run pg_migration_sync again, which repairs what it can.",
            details,
        )
    if elapsed >= options["wait_timeout"]:
        lasting = f" for {options['stable_for']:g} s" if options["stable_for"] else ""
        return MigrationError(
            "lag_timeout",
            f"Migration {name} was not {until}{lasting} after {round(elapsed)} s; "
            f"its state is {status.get('state') or 'unknown'}. {reasons}".strip(),
            "Wait again with a larger wait_timeout when the lag shrinks; when it grows, look at the target's load, "
            "its apply worker in pg_stat_subscription, and its server log.",
            details,
        )
    return None


def _reasons(status: dict[str, Any]) -> str:
    return "; ".join(str(reason) for reason in status.get("reasons") or [])


def _shown(name: str, sample: dict[str, Any], outlook: Forecast, reasons: str) -> dict[str, Any]:
    """Return what a live line shows of a sample."""
    values: dict[str, Any] = {"migration": name, "state": sample.get("state")}
    if sample.get("state") == "copying":
        values["bytes_copied"], values["estimated_bytes"] = copied_bytes(sample.get("progress")) or (None, None)
    values.update(
        lag_bytes=sample.get("lag_bytes"),
        lag_seconds=sample.get("lag_seconds"),
        rate_bytes_per_second=None if outlook.bytes_per_second is None else round(outlook.bytes_per_second),
        eta_seconds=None if outlook.eta_seconds is None else round(outlook.eta_seconds),
        elapsed=sample["elapsed"],
    )
    if reasons and sample.get("state") in ("stalled", "broken"):
        values["text"] = reasons
    return values
