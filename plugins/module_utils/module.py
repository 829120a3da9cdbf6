# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Where the engine meets Ansible: argument specs in, one phase function called, one redacted answer out.

The only engine file that knows Ansible. What a phase does belongs to ``phases/``.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields, replace
from types import FrameType
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import remove_values

from . import driver, job_progress
from .endpoint import SECRET_KEYWORDS, parse_url
from .errors import MigrationError, Redactor
from .migration import DEFAULT_NAME, Migration
from .progress import Event, Progress
from .reporting import JsonLines, Outlet, Reporter
from .result import Result
from .session import StatementLog, translated

Spec = dict[str, Any]
Phase = Callable[[Migration, Any, Progress], Result]

SSLMODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def endpoint_keywords(path: str = "path") -> Spec:
    """Return the spec of one endpoint; ``path`` is the type of file names, ``str`` where they name another machine's.

    Names and meanings are those of the PostgreSQL manual, "Parameter Key Words". Only the secret leaves are no_log: a
    no_log dictionary would mask each of its values, harmless words too, all over the output.
    """
    return {
        "url": {"type": "str", "no_log": True},
        "host": {"type": "str", "aliases": ["login_host"]},
        "hostaddr": {"type": "str"},
        "port": {"type": "int", "aliases": ["login_port"]},
        "user": {"type": "str", "aliases": ["login_user"]},
        "password": {"type": "str", "aliases": ["login_password"], "no_log": True},
        "dbname": {"type": "str", "aliases": ["login_db", "database"]},
        "sslmode": {"type": "str", "choices": SSLMODES},
        "sslrootcert": {"type": path},
        "sslcert": {"type": path},
        "sslkey": {"type": path, "no_log": False},
        "channel_binding": {"type": "str", "choices": ["disable", "prefer", "require"]},
        "gssencmode": {"type": "str", "choices": ["disable", "prefer", "require"]},
        "require_auth": {"type": "str"},
        "target_session_attrs": {
            "type": "str",
            "choices": ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"],
        },
        "connect_timeout": {"type": "int"},
        "options": {"type": "str"},
    }


def _strings() -> Spec:
    return {"type": "list", "elements": "str", "default": []}


def common_options() -> Spec:
    """Return the options of every module: the endpoints, the database to ask about others, the name, the selection."""
    return {
        "source": {"type": "dict", "required": True, "options": endpoint_keywords()},
        "target": {"type": "dict", "required": True, "options": endpoint_keywords()},
        "name": {"type": "str", "default": DEFAULT_NAME},
        "maintenance_db": {"type": "str", "default": "postgres"},
        "schemas": _strings(),
        "exclude_schemas": _strings(),
        "tables": _strings(),
        "exclude_tables": _strings(),
        "exclude_data": _strings(),
        "rows": {"type": "dict", "default": {}},
    }


def client_options() -> Spec:
    """Return the options of phases that need PostgreSQL's client programs."""
    return {"client_bin_dir": {"type": "path"}}


def replication_options() -> Spec:
    """Return the options that say how the target reaches the source."""
    return {
        "source_from_target": {"type": "dict", "options": endpoint_keywords("str")},
        "replication_role": {
            "type": "dict",
            "options": {"user": {"type": "str", "required": True}, "password": {"type": "str", "no_log": True}},
        },
    }


def preflight_options() -> Spec:
    """Return the options of validate, which init shares because it passes the same gate."""
    return {
        "fail_on": {"type": "str", "choices": ["blocker", "warning", "never"], "default": "blocker"},
        "skip_checks": _strings(),
        "severities": {"type": "dict", "default": {}},
        "jobs": {"type": "int", "default": 4},
        "index_jobs": {"type": "int"},
        "streams": {"type": "int", "default": 1},
        "large_objects": {"type": "str", "choices": ["fail", "skip", "copy"], "default": "fail"},
        "unlogged_tables": {"type": "str", "choices": ["copy", "skip", "fail"], "default": "copy"},
        "foreign_tables": {"type": "str", "choices": ["create", "skip", "fail"], "default": "create"},
        "roles": {"type": "raw", "default": "referenced"},
        "reserved_roles": {"type": "list", "elements": "str"},
        "role_passwords": {"type": "dict", "no_log": True},
        "owner": {"type": "str", "default": "keep"},
        "user_mappings": {"type": "str", "choices": ["skip", "create"], "default": "skip"},
        "event_triggers": {"type": "str", "choices": ["copy", "skip", "fail"], "default": "copy"},
        "extension_versions": {"type": "str", "choices": ["default", "source"], "default": "default"},
        "extension_data": {"type": "str", "choices": ["copy", "skip", "fail"], "default": "copy"},
        "copy_method": {"type": "str", "choices": ["runner", "subscription"], "default": "runner"},
        "rollback": {"type": "bool", "default": False},
        "migrations_on_source": {"type": "int", "default": 1},
        "migrations_on_target": {"type": "int", "default": 1},
        "migrations_at_once": {"type": "int"},
        **replication_options(),
        **client_options(),
    }


def measuring_options() -> Spec:
    """Return the options of validate that say how long it measures, which init, passing the same gate, does not."""
    return {
        "sample_seconds": {"type": "float", "default": 0.0},
        "wal_window": {"type": "float", "default": 2.0},
    }


def sampling_options() -> Spec:
    """Return the options of status, which wait shares."""
    return {
        "window": {"type": "float", "default": 2.0},
        "sample_interval": {"type": "float", "default": 1.0},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "max_lag_seconds": {"type": "float", "default": 1.0},
    }


def waiting_options() -> Spec:
    """Return the options of wait that status does not have."""
    return {
        "until": {"type": "str", "choices": ["in_sync", "copied"], "default": "in_sync"},
        "stable_for": {"type": "float", "default": 0.0},
        "wait_timeout": {"type": "float", "default": 3600.0},
        "wait_sleep": {"type": "float", "default": 5.0},
        "quiet": {"type": "bool", "default": False},
    }


def progress_options() -> Spec:
    """Return the options of a phase that may last for hours: how it shows its progress, and how long it may take.

    ``quiet`` is its action plugin's, which runs it in the background and shows the live lines.
    """
    return {
        "progress_path": {"type": "path"},
        "progress_interval": {"type": "float", "default": 10.0},
        "quiet": {"type": "bool", "default": False},
        "job_timeout": {"type": "float"},
    }


class PhaseModule(AnsibleModule):  # type: ignore[misc] # Ansible ships no types
    """An AnsibleModule whose answers hold no secret, also when its arguments could not be understood."""

    params: dict[str, Any]
    no_log_values: set[str]

    def _safe(self, value: Any) -> Any:
        """Mask the values of no_log options first, while they are whole, then everything that looks like a secret."""
        return Redactor([]).data(remove_values(value, self.no_log_values))

    def log(self, msg: str, log_args: Any = None) -> None:
        """Tell the system's log that the module runs, without its arguments.

        Ansible logs the repr of ``source`` and ``target``, in which a password with a quote or a backslash is written
        differently and therefore not masked.
        """
        super().log("Invoked")

    def exit_json(self, **kwargs: Any) -> NoReturn:
        """Return from the module with a result."""
        self.params = self._safe(self.params)
        super().exit_json(**self._safe(kwargs))
        raise AssertionError

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        """Return from the module with an error. ``params`` are shown too: a URL given as ``source`` stands there."""
        self.params = self._safe(getattr(self, "params", {}))
        super().fail_json(msg=self._safe(str(msg)), **self._safe(kwargs))
        raise AssertionError


# How long a phase that ends itself at job_timeout may take for that. The wrapper of a job waits longer.
ENDING_S = 30.0


class Terminated(BaseException):
    """A signal asked the module to end. Not an Exception, so that nothing on the way up mistakes it for an error."""


@contextmanager
def terminable(limit_s: float | None = None) -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into :class:`Terminated`, so that connections, slots and children are closed.

    Only the first one: a second must not interrupt the closing. ``limit_s`` seconds later a SIGALRM does the same.
    """
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

    def raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(signal.Signals(number).name)

    before = {number: signal.signal(number, raise_terminated) for number in signals}
    signal.setitimer(signal.ITIMER_REAL, limit_s or 0)  # children do not inherit it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stdout_kept_clean() -> Iterator[None]:
    """Send whatever this process or its children would print nowhere: standard output is the module's answer."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            with redirect_stdout(nowhere):
                yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def endpoint_params(option: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return the libpq keywords of an endpoint's dictionary, those of its url included, without what is not set.

    Ansible leaves aliases beside the option that they stand for; they are dropped. Raises ``bad_option`` for a url
    that cannot be parsed, without libpq's words about it, because they quote pieces of the password.
    """
    url = given.get("url")
    params = parse_url(option, str(url)) if url else {}
    keys = [key for key in endpoint_keywords() if key != "url" and given.get(key) is not None]
    return {**params, **{key: str(given[key]) for key in keys}}


def migration_from(params: Mapping[str, Any]) -> tuple[Migration, dict[str, Any]]:
    """Build the migration from a module's parameters; return it with the parameters, endpoints as libpq keywords.

    Its redactor knows every secret among the parameters. Raises ``bad_option``.
    """
    cleaned = dict(params)
    secrets: list[str] = []
    for option in ("source", "target", "source_from_target"):
        if cleaned.get(option) is not None:
            cleaned[option] = endpoint_params(option, cleaned[option])
            secrets += [cleaned[option][key] for key in SECRET_KEYWORDS if key in cleaned[option]]
    secrets.append((cleaned.get("replication_role") or {}).get("password") or "")
    secrets += [str(password) for password in (cleaned.get("role_passwords") or {}).values()]
    migration = Migration.from_options(cleaned)
    return replace(migration, log=StatementLog(Redactor(secrets))), cleaned


def options_from(options: type[Any], params: Mapping[str, Any], check_mode: bool, names: Mapping[str, str]) -> Any:
    """Fill a phase's options from parameters of the same name; ``names`` maps a field to a parameter named otherwise.

    Parameters that are not set keep the phase's default.
    """
    values: dict[str, Any] = {}
    for field in fields(options):
        value = check_mode if field.name == "check_mode" else params.get(names.get(field.name, field.name))
        if value is not None:
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return options(**values)


def failure(error: MigrationError) -> dict[str, Any]:
    """Return the four fields of an error, as every module answers them."""
    return {
        "failed": True,
        "msg": error.message,
        "code": error.code,
        "remedy": error.remedy,
        "details": error.details,
    }


def reporter(name: str, params: Mapping[str, Any], check_mode: bool, redactor: Redactor) -> Reporter:
    """Return where the phase's events go: to ``progress_path``, and to whoever watches this process as a job.

    Raises ``bad_option`` when the file cannot be written, or the time limit is none. In check mode nothing is written.
    """
    limit_s = params.get("job_timeout")
    if limit_s is not None and limit_s <= 0:
        raise MigrationError(
            "bad_option",
            f"job_timeout is {limit_s:g}, which is no time at all.",
            "Give the seconds that the phase may take, or leave job_timeout out. Nothing was done.",
        )
    outlets: list[Outlet] = []
    if not check_mode:
        path, own_file = params.get("progress_path"), job_progress.own_file(os.environ, ends_unwatched=name == "verify")
        if path:
            outlets.append(JsonLines("progress_path", path))
        if own_file is not None:
            outlets.append(own_file)
    return Reporter(name, redactor, outlets)


def job_timeout(name: str, limit_s: float | None) -> MigrationError:
    """Return the error of a phase whose time was over."""
    lasting = "" if limit_s is None else f" of {limit_s:g} s"
    return MigrationError(
        "job_timeout",
        f"The job_timeout{lasting} was over before {name} had finished, so it was ended.",
        f"Run the same command again{': it goes on where this one ended' if name == 'init' else ''}."
        " A larger job_timeout, or none, lets it finish.",
        {"job_timeout": limit_s},
    )


def _limit_s(options: type[Any], params: Mapping[str, Any]) -> float | None:
    """Return after how many seconds a phase is ended. One that has the option itself answers first, with what it has."""
    limit_s: float | None = params.get("job_timeout")
    ends_itself = any(field.name == "job_timeout" for field in fields(options))
    return limit_s if limit_s is None or not ends_itself else limit_s + ENDING_S


def answer(
    name: str, run: Phase, options: type[Any], params: Mapping[str, Any], check_mode: bool, names: Mapping[str, str]
) -> dict[str, Any]:
    """Run one phase and return the module's answer, redacted; ``failed`` is set when it is an error."""
    redactor = Redactor([])
    answered: dict[str, Any] = {"changed": False, "migration": params["name"], "phase": name, "statements": []}
    entries: list[str] = []
    told: Reporter | None = None
    try:
        migration, cleaned = migration_from(params)
        redactor, entries = migration.redactor, migration.log.entries
        told = reporter(name, params, check_mode, redactor)
        with stdout_kept_clean(), terminable(_limit_s(options, params)), translated(redactor):
            told(Event(name, "started"))
            result = run(migration, options_from(options, cleaned, check_mode, names), told)
        answered = {**result.data, **answered, "changed": result.changed}
        if result.diff is not None:
            answered["diff"] = result.diff
        if result.error is not None:
            answered.update(failure(result.error))
    except MigrationError as error:
        answered.update(failure(error), changed=bool(entries) and not check_mode)
    except Terminated as signalled:
        answered.update(
            failed=True,
            changed=bool(entries) and not check_mode,
            msg=f"The module was ended by {signalled}. Run the same command again to go on.",
        )
        if str(signalled) == "SIGALRM":
            answered.update(failure(job_timeout(name, params.get("job_timeout"))))
    except Exception as error:  # noqa: BLE001 # shown in full, but without secrets
        answered.update(
            failed=True,
            changed=bool(entries) and not check_mode,
            msg=f"An error that no one expected: {type(error).__name__}: {error}",
            exception=traceback.format_exc(),
        )
    answered["statements"] = entries
    if told is not None:
        told.end(answered)
        if told.problem is not None:
            answered["warnings"] = [*answered.get("warnings", []), told.problem]
    safe: dict[str, Any] = redactor.data(answered)
    return safe


def run_module(
    name: str,
    run: Phase,
    options: type[Any],
    spec: Spec,
    names: Mapping[str, str] | None = None,
    *,
    shows_progress: bool = False,
) -> NoReturn:
    """Be the whole of a module: read its arguments, run the phase ``name``, exit.

    ``spec`` holds the phase's own options; ``names`` maps fields of ``options`` to module options named otherwise;
    ``shows_progress`` adds the options of :func:`progress_options`.
    """
    more = progress_options() if shows_progress else {}
    module = PhaseModule(argument_spec={**common_options(), **spec, **more}, supports_check_mode=True)
    if driver.IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("psycopg"), exception=driver.IMPORT_ERROR)
    answered = answer(name, run, options, module.params, module.check_mode, names or {})
    for text in answered.pop("warnings", []):  # as a result of its own it is deprecated
        module.warn(text)
    if answered.pop("failed", False):
        module.fail_json(**answered)
    module.exit_json(**answered)
