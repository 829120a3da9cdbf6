# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest
from ansible.module_utils.common.parameters import PASS_VARS
from ansible.module_utils.testing import patch_module_args

from ansible_collections.seren.migrator.plugins.module_utils import driver, module, reporting
from ansible_collections.seren.migrator.plugins.module_utils.errors import MigrationError
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from ansible_collections.seren.migrator.plugins.module_utils.result import Result

pytest.importorskip("psycopg")

# What an URL, a conninfo, an SQL literal and JSON each treat in their own way.
PASSWORD = """p@:/?#%'"\\ ss wörd"""
ENCODED = "p%40%3A%2F%3F%23%25%27%22%5C%20ss%20w%C3%B6rd"
ARGUMENTS = {
    "source": {"url": f"postgresql://alice:{ENCODED}@db1/shop"},
    "target": {"host": "db2", "user": "bob", "password": "other-Secret1", "dbname": "shop"},
}


@dataclass(frozen=True)
class Options:
    jobs: int = 3
    tables: tuple[str, ...] = ()
    source_from_target: dict[str, str] | None = None
    replication_role: dict[str, str] | None = None
    check_mode: bool = False


SPEC = {
    "jobs": {"type": "int"},
    "only": {"type": "list", "elements": "str"},
    **module.replication_options(),
}


def call(capture, phase, shows_progress=False, **extra):
    """Run a module around ``phase`` in this process; return its answer and its raw output."""
    shown = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}  # from 2.21 on
    with patch_module_args({**ARGUMENTS, **shown, **extra}), pytest.raises(SystemExit) as ended:
        module.run_module("sync", phase, Options, SPEC, names={"tables": "only"}, shows_progress=shows_progress)
    output = capture.readouterr().out
    answer = json.loads(output)
    assert bool(ended.value.code) == bool(answer.get("failed"))
    return answer, output


@pytest.fixture
def run(capfd):
    return lambda phase, **extra: call(capfd, phase, **extra)


def test_a_result_is_answered_at_top_level_with_the_common_fields(run):
    def phase(migration, options, progress):
        migration.log.add("target", "ALTER SUBSCRIPTION s ENABLE")
        return Result("sync", True, {"consistent_point": "0/1"}, {"before": {}, "after": {"enabled": True}})

    answer, _output = run(phase, name="shop")
    assert answer["changed"] is True
    assert answer["migration"] == "shop"
    assert answer["phase"] == "sync"
    assert answer["statements"] == ["target: ALTER SUBSCRIPTION s ENABLE"]
    assert answer["diff"] == {"before": {}, "after": {"enabled": True}}
    assert answer["consistent_point"] == "0/1"
    assert "failed" not in answer


def test_endpoints_arrive_as_libpq_keywords_without_aliases(run):
    seen = {}

    def phase(migration, options, progress):
        seen.update(source=migration.source.params, target=migration.target.params, options=options)
        return Result("sync", False)

    run(
        phase,
        source={"url": f"postgresql://alice:{ENCODED}@db1:5433/shop?sslmode=require", "login_user": "carol"},
        target={"login_host": "db2", "login_port": 5434, "login_password": PASSWORD, "database": "sh op"},
        source_from_target={"url": "postgresql://inner/shop", "login_port": 6000},
        only=["a", "b"],
    )
    assert seen["source"] == {
        "host": "db1",
        "port": "5433",
        "user": "carol",
        "password": PASSWORD,
        "dbname": "shop",
        "sslmode": "require",
    }
    assert seen["target"] == {"host": "db2", "port": "5434", "password": PASSWORD, "dbname": "sh op"}
    assert seen["options"] == Options(
        tables=("a", "b"), source_from_target={"host": "inner", "port": "6000", "dbname": "shop"}
    )


@pytest.mark.parametrize("check_mode", [False, True])
def test_check_mode_reaches_the_phase(run, check_mode):
    def phase(migration, options, progress):
        return Result("sync", False, {"checked": options.check_mode})

    assert run(phase, _ansible_check_mode=check_mode)[0]["checked"] is check_mode


def assert_no_secret(output, *secrets):
    for secret in secrets:
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
            assert form not in output
    assert ENCODED not in output


def test_no_secret_leaves_in_any_field(run):
    def phase(migration, options, progress):
        literal = PASSWORD.replace("'", "''")
        migration.log.add("target", f"CREATE SUBSCRIPTION s CONNECTION 'host=db1 password=''{literal}''' PUBLICATION p")
        data = {"echo": [PASSWORD, {PASSWORD: "third-Secret2"}], "url": ARGUMENTS["source"]["url"]}
        error = MigrationError("database_error", f"near {PASSWORD}", f"not {PASSWORD}", {"x": "other-Secret1"})
        return Result("sync", True, data, {"before": PASSWORD, "after": ""}, error)

    answer, output = run(phase, replication_role={"user": "r", "password": "third-Secret2"})
    assert answer["failed"] is True
    assert_no_secret(output, PASSWORD, "other-Secret1", "third-Secret2")
    assert answer["invocation"]["module_args"]["target"]["password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def test_no_secret_is_sent_to_the_system_s_log(run, monkeypatch):
    logged = []
    monkeypatch.setattr(module.AnsibleModule, "log", lambda self, *what, **more: logged.append((what, more)))
    run(lambda *_: Result("sync", False), target={**ARGUMENTS["target"], "password": PASSWORD})
    assert logged
    assert "wörd" not in str(logged)


def test_an_error_is_answered_with_its_four_fields_and_what_was_done_before(run):
    def phase(migration, options, progress):
        migration.log.add("source", "CREATE PUBLICATION p")
        raise MigrationError("slot_timeout", "The slot could not be created.", "End the transaction.", {"pid": 7})

    answer, _output = run(phase)
    assert answer["failed"] is True
    assert answer["msg"] == "The slot could not be created."
    assert answer["code"] == "slot_timeout"
    assert answer["remedy"] == "End the transaction."
    assert answer["details"] == {"pid": 7}
    assert answer["statements"] == ["source: CREATE PUBLICATION p"]
    assert answer["changed"] is True
    assert answer["phase"] == "sync"


def test_a_finding_that_is_a_failure_keeps_the_data(run):
    def phase(migration, options, progress):
        return Result("sync", False, {"differences": [1]}, error=MigrationError("not_verified", "They differ."))

    answer, _output = run(phase)
    assert answer["failed"] is True
    assert answer["code"] == "not_verified"
    assert answer["differences"] == [1]
    assert answer["changed"] is False


def test_an_unexpected_database_error_gets_a_code_and_loses_its_secrets(run):
    def phase(migration, options, progress):
        raise driver.psycopg.errors.SyntaxError(f'syntax error at or near "{PASSWORD}"')

    answer, output = run(phase)
    assert answer["code"] == "database_error"
    assert answer["details"]["sqlstate"] == "42601"
    assert_no_secret(output, PASSWORD)


def test_an_unexpected_exception_is_shown_without_secrets(run):
    def phase(migration, options, progress):
        raise RuntimeError(f"no one thought of {PASSWORD}")

    answer, output = run(phase)
    assert answer["failed"] is True
    assert "RuntimeError" in answer["msg"]
    assert_no_secret(output, PASSWORD)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://alice:top%zzSecret@db1/shop",
        "postgresql://alice:top/Secret@db1/shop",
        "postgresql://alice:top@Secret@db1/shop",
        "postgresql://alice:top Secret@db1:x/shop",
        "host=db1 password=top Secret dbname=shop",
        "host=db1 password='top Secret",
    ],
)
@pytest.mark.parametrize("option", ["source", "source_from_target"])
def test_a_url_that_cannot_be_parsed_is_refused_without_showing_pieces_of_it(run, url, option):
    def phase(migration, options, progress):
        raise AssertionError("must not run")

    answer, output = run(phase, **{option: {"url": url}})
    assert answer["code"] == "bad_option"
    assert f"url of {option}" in answer["msg"]
    assert "Secret" not in output


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://alice:topSecret@db1/shop",
        "postgresql://alice:topSecret@db1/shop?sslmode=require",
        {"uri": "postgresql://alice:topSecret@db1/shop"},
        {"url": "postgresql://alice:topSecret@db1/shop", "port": "postgresql://alice:topSecret@db1/shop"},
    ],
)
def test_arguments_that_are_not_understood_are_not_shown_with_their_secrets(run, source):
    answer, output = run(lambda *_: Result("sync", False), source=source)
    assert answer["failed"] is True
    assert "topSecret" not in output


def test_nothing_but_the_answer_reaches_standard_output(run):
    def phase(migration, options, progress):
        print("print")
        os.write(1, b"write")
        subprocess.run([sys.executable, "-c", "print('child')"], check=True)
        return Result("sync", False)

    answer, output = run(phase)
    assert answer["changed"] is False
    assert output.lstrip().startswith("{")


def test_a_signal_to_end_closes_what_is_open_and_is_answered(run):
    closed = []

    def phase(migration, options, progress):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("must not go on")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # a second one does not disturb the closing
            closed.append(True)

    before = signal.getsignal(signal.SIGTERM)
    answer, _output = run(phase)
    assert answer["failed"] is True
    assert "SIGTERM" in answer["msg"]
    assert closed == [True]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_missing_library_is_named(run, monkeypatch):
    monkeypatch.setattr(driver, "IMPORT_ERROR", "Traceback: no psycopg")
    answer, _output = run(lambda *_: Result("sync", False))
    assert answer["failed"] is True
    assert "psycopg" in answer["msg"]


def tells(migration, options, progress):
    progress(Event("sync", f"copying as {PASSWORD}", {"bytes_copied": 7}))
    raise MigrationError("copy_failed", "it broke", "mend it")


def test_the_events_of_a_phase_go_to_progress_path_without_secrets(run, tmp_path):
    path = tmp_path / "progress"
    answer, _output = run(tells, shows_progress=True, progress_path=os.fspath(path))
    assert answer["code"] == "copy_failed"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["started", "copying as ********", "ended"]
    assert lines[1]["numbers"] == {"bytes_copied": 7}
    assert [lines[2][key] for key in ("outcome", "code", "msg")] == ["failed", "copy_failed", "it broke"]
    assert_no_secret(path.read_text(), PASSWORD)


def test_in_check_mode_no_progress_is_written(run, tmp_path):
    path = tmp_path / "progress"
    run(tells, shows_progress=True, progress_path=os.fspath(path), _ansible_check_mode=True)
    assert not path.exists()


@pytest.mark.parametrize("wrong", [{"progress_path": "/proc/nowhere/file"}, {"job_timeout": 0}, {"job_timeout": -1}])
def test_a_wrong_option_of_the_progress_is_refused_before_the_phase_starts(run, wrong):
    answer, _output = run(lambda *_: pytest.fail("it ran"), shows_progress=True, **wrong)
    assert answer["code"] == "bad_option"
    assert next(iter(wrong)) in answer["msg"]


def test_job_timeout_ends_the_phase_so_that_what_is_open_is_closed(run):
    closed = []

    def phase(migration, options, progress):
        try:
            time.sleep(60)
        finally:
            closed.append(True)

    answer, _output = run(phase, shows_progress=True, job_timeout=0.2)
    assert closed
    assert answer["code"] == "job_timeout"
    assert "same command" in answer["remedy"]
    assert answer["details"] == {"job_timeout": 0.2}
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_progress_file_that_fills_up_is_a_warning_and_no_failure(run, tmp_path, monkeypatch):
    def full(self, line, *, is_last):
        raise OSError(28, "No space left on device")

    warned = []  # results with warnings of their own are deprecated; where they go from here depends on who loaded Ansible
    monkeypatch.setattr(module.PhaseModule, "warn", lambda self, text: warned.append(text))
    monkeypatch.setattr(reporting.JsonLines, "write", full)
    answer, _output = run(
        lambda *_: Result("sync", True), shows_progress=True, progress_path=os.fspath(tmp_path / "progress")
    )
    assert answer["changed"] is True
    assert "No space left" in str(warned)
