# SPDX-License-Identifier: GPL-3.0-or-later
"""init as a person watches it: live lines, the progress file, status from elsewhere, and jobs that are killed.

The copy is held back by a proxy that lets through so many bytes a second, until the test has seen what it wants.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
from psycopg import sql

from ansible_collections.seren.migrator.plugins.module_utils.phases import status
from ansible_collections.seren.migrator.plugins.module_utils.progress import Event
from tests.support.cluster import nasty_password
from tests.support.fault_proxy import FaultProxy
from tests.support.fixtures import Database, create_database
from tests.support.migrations import NOTHING, Case
from tests.support.playbooks import REPOSITORY, play, playing
from tests.support.unreachable import Altered, altered

ROWS = 12_000
ROW_BYTES = 1000
SLOW_BYTES_PER_S = 1_000_000.0
LINE = re.compile(r"^pg_migration_(?:init|verify) \[(?P<host>[^]]+)\] (?P<pairs>.*)$", re.MULTILINE)


@dataclass
class Place:
    """Where Ansible keeps what it writes on the machine that runs the module."""

    tmp: Path
    async_dir: Path

    def module_files(self) -> list[Path]:
        """The module with its arguments."""
        return list(self.tmp.rglob("AnsiballZ_pg_migration_*.py"))

    def left(self) -> list[Path]:
        return [*self.tmp.iterdir(), *self.async_dir.iterdir()]

    def job(self) -> int:
        """The process of the module, as its progress file says."""
        (path,) = self.async_dir.glob("pg_migration_*_*[0-9a-f]")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        return int(path.read_text().split()[0])

    def processes(self) -> list[int]:
        """Every process of the job, Ansible's wrapper included."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.tmp) in words and b"AnsiballZ_pg_migration_" in words:
                found.append(int(entry.name))
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path / "tmp", tmp_path / "async")
    for variable, folder in (("ANSIBLE_REMOTE_TEMP", made.tmp), ("ANSIBLE_ASYNC_DIR", made.async_dir)):
        folder.mkdir(mode=0o700)
        monkeypatch.setenv(variable, os.fspath(folder))
    yield made
    for process in made.processes():
        os.kill(process, signal.SIGKILL)


@dataclass
class Slow:
    """A migration whose source is behind a slow line, for the playbook and for the engine."""

    source: Altered
    target: Database
    proxy: FaultProxy
    password: str

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "migrate_source": self.source.params,
            "migrate_target": self.target.params,
            "migrate_client_bin_dir": os.fspath(self.target.cluster.client_dir),
            "migrate_jobs": 2,
            "migrate_progress_interval": 1,
        }

    @property
    def case(self) -> Case:
        return Case(self.source, self.target)  # type: ignore[arg-type]

    def hasten(self) -> None:
        self.proxy.bytes_per_s = None


@pytest.fixture
def slow(source_db: Database, target_db: Database) -> Iterator[Slow]:
    source_db.execute("CREATE TABLE small (id int PRIMARY KEY)")
    source_db.execute("INSERT INTO small SELECT generate_series(1, 10)")
    source_db.execute("CREATE TABLE big (id int PRIMARY KEY, v text)")
    source_db.execute("INSERT INTO big SELECT n, repeat('x', %s) FROM generate_series(1, %s) AS n", (ROW_BYTES, ROWS))
    password = nasty_password()
    source_db.execute(sql.SQL("CREATE ROLE watched LOGIN SUPERUSER PASSWORD {}").format(sql.Literal(password)))
    with FaultProxy(source_db.cluster.port) as proxy:
        proxy.bytes_per_s = SLOW_BYTES_PER_S
        source = altered(source_db, user="watched", password=password, port=proxy.port)
        yield Slow(source, target_db, proxy, password)


def lines(output: str) -> list[dict[str, str]]:
    """The live lines, each with its host."""
    found = []
    for match in LINE.finditer(output):
        pairs = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', match["pairs"]))
        found.append({"host": match["host"], **pairs})
    return found


def byte_counts(output: str) -> list[int]:
    return [int(line["bytes_copied"]) for line in lines(output) if "bytes_copied" in line]


def is_growing(output: str) -> bool:
    """Three different numbers of bytes, neither nothing nor all."""
    return len({count for count in byte_counts(output) if 0 < count < ROWS * ROW_BYTES}) >= 3


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def assert_exact(slow: Slow) -> None:
    slow.hasten()
    assert slow.case.compare().differences == []


def wait_until_gone(processes: list[int]) -> None:
    end = time.monotonic() + 60
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_lines_with_the_host_show_growing_bytes_and_nothing_is_left_behind(
    slow: Slow, place: Place, tmp_path: Path
) -> None:
    followed = tmp_path / "progress"
    with playing(
        "init", {**slow.variables, "migrate_progress_path": os.fspath(followed)}, "-vvv", *host(tmp_path)
    ) as run:
        run.wait_for(is_growing)
        assert place.module_files() == []  # with the connection strings; gone as soon as the work has begun
        written = b"".join(path.read_bytes() for path in place.async_dir.iterdir()) + followed.read_bytes()
        assert b'"running"' in written
        seen = slow.case.status(window=1.5).data
        slow.hasten()
        played = run.finish()
    assert played.code == 0, played.output
    shown = lines(played.output)
    assert {line["host"] for line in shown} == {"shop"}
    assert all(line["migration"] == "seren_migration" for line in shown)
    counts = byte_counts(played.output)
    assert counts == sorted(counts)
    assert any(line.get("rate_bytes_per_second", "unknown") != "unknown" for line in shown)

    assert seen["state"] == "copying"
    (big,) = (item for item in seen["progress"]["running"] if item["name"] == "big")
    assert 0 < big["bytes"] < ROWS * ROW_BYTES < big["estimated_bytes"] * 1.1
    assert seen["progress"]["bytes_copied"] >= big["bytes"]
    assert seen["progress"]["rate_bytes_per_second"] > 0
    assert seen["progress"]["eta_seconds"] > 0
    assert (seen["progress"]["step"], seen["progress"]["tables"]) == ("copy", 2)

    assert stat.S_IMODE(followed.stat().st_mode) == 0o600
    told = events(followed)
    assert {"time", "phase", "text", "numbers"} <= set(told[0])
    assert (told[-1]["outcome"], told[-1]["changed"]) == ("ok", True)
    assert [event for event in told if "outcome" in event] == told[-1:]
    sizes = [event["numbers"]["bytes_copied"] for event in told if "bytes_copied" in event["numbers"]]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3

    everything = played.output + json.dumps(played.lines) + written.decode() + followed.read_text()
    for word in re.findall("[0-9a-f]{8}", slow.password):
        assert word not in everything
    assert place.left() == []
    assert_exact(slow)


def test_the_pieces_of_a_split_table_that_have_arrived_are_counted(slow: Slow, place: Place, tmp_path: Path) -> None:
    arrived = sql.SQL("SELECT bytes FROM seren_migrator.relation WHERE state = 'pending' AND bytes > 0")
    with playing("init", {**slow.variables, "migrate_split_tables_larger_than": 1_000_000}, *host(tmp_path)) as run:
        run.wait_for(is_growing)
        slow.proxy.bytes_per_s = SLOW_BYTES_PER_S * 4
        end = time.monotonic() + 60
        while not (found := slow.target.execute(arrived)):
            assert run.process.poll() is None, run.output
            assert time.monotonic() < end
            time.sleep(0.05)
        slow.proxy.bytes_per_s = SLOW_BYTES_PER_S / 10
        progress = slow.case.status(window=0).data["progress"]
        assert [item["name"] for item in progress["running"]] == ["big"]
        assert progress["running"][0]["bytes"] >= found[0][0]
        assert progress["bytes_copied"] >= found[0][0]
        slow.hasten()
        assert run.finish().code == 0, run.output
    (big,) = slow.target.execute("SELECT rows, state FROM seren_migrator.relation WHERE name = 'big'")
    assert big == (ROWS, "copied")
    assert_exact(slow)


def host(folder: Path, *names: str) -> list[str]:
    """Arguments for an inventory with one host, or several, that have no variables of their own."""
    path = folder / "hosts.json"
    path.write_text(json.dumps({"migrations": {"hosts": {name: {} for name in names or ("shop",)}}}))
    return ["-i", os.fspath(path)]


@pytest.fixture
def quick(source_db: Database, target_db: Database) -> Slow:
    source_db.execute("CREATE TABLE small (id int PRIMARY KEY)")
    source_db.execute("INSERT INTO small SELECT generate_series(1, 10)")
    return Slow(altered(source_db), target_db, FaultProxy(source_db.cluster.port), "")


def test_the_result_is_the_same_with_and_without_lines(quick: Slow, place: Place, tmp_path: Path) -> None:
    silent = play("init", {**quick.variables, "migrate_quiet": True}, *host(tmp_path))
    assert (silent.code, lines(silent.output)) == (0, [])
    assert silent.result("pg_migration_init", "shop")["changed"] is True
    results = []
    for keyword in ("poll", "async"):
        played = play(playbook(tmp_path, keyword), quick.variables, *host(tmp_path))
        assert played.code == 0, played.output
        assert bool(lines(played.output)) == (keyword == "poll")
        result = played.result("pg_migration_init", "shop")
        bookkeeping = {"ansible_job_id", "finished", "started", "results_file", "invocation", "elapsed"}
        bookkeeping |= {"stdout", "stdout_lines", "stderr", "stderr_lines"}
        results.append({key: value for key, value in result.items() if key not in bookkeeping and key[0] != "_"})
    assert results[0] == results[1]
    assert results[0]["changed"] is False
    assert results[0]["tables"][0]["rows"] == 10


def playbook(folder: Path, keyword: str) -> Path:
    """A playbook with one task, run as a job by the plugin, or with Ansible's own `async`."""
    task: dict[str, Any] = {
        "name": "Copy",
        "seren.migrator.pg_migration_init": {
            "source": "{{ migrate_source }}",
            "target": "{{ migrate_target }}",
            "client_bin_dir": "{{ migrate_client_bin_dir }}",
        },
    }
    if keyword == "async":
        task.update({"async": 600, "poll": 1})
    path = folder / "play.yml"
    path.write_text(json.dumps([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": [task]}]))
    return path


def test_without_a_place_for_ansible_s_record_it_runs_plainly_and_says_so(
    quick: Slow, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_ASYNC_DIR", "/proc/nowhere")
    played = play("init", quick.variables, *host(tmp_path))
    assert played.code == 0, played.output
    result = played.result("pg_migration_init", "shop")
    assert (result["changed"], result["state"]) == (True, "copied")
    assert "/proc/nowhere" in played.output
    assert lines(played.output) == []
    assert place.left() == []


def test_check_mode_runs_plainly_and_writes_no_file(quick: Slow, place: Place, tmp_path: Path) -> None:
    path = tmp_path / "progress"
    variables = {**quick.variables, "migrate_progress_path": os.fspath(path)}
    played = play("init", variables, "--check", *host(tmp_path))
    assert played.code == 0, played.output
    assert lines(played.output) == []
    assert played.result("pg_migration_init", "shop")["plan"]["jobs"] == 2
    assert not path.exists()
    assert place.left() == []


def test_a_failure_comes_back_with_its_code_and_remedy(quick: Slow, place: Place, tmp_path: Path) -> None:
    quick.target.execute("CREATE TABLE small (mine int)")
    path = tmp_path / "progress"
    played = play("init", {**quick.variables, "migrate_progress_path": os.fspath(path)}, *host(tmp_path))
    assert played.code != 0
    result = played.result("pg_migration_init", "shop")
    assert (result["code"], result["changed"]) == ("target_not_empty", False)
    assert result["remedy"]
    assert result["details"]
    (last,) = (event for event in events(path) if "outcome" in event)
    assert (last["outcome"], last["code"], last["msg"]) == ("failed", "target_not_empty", result["msg"])
    assert place.left() == []


@pytest.mark.parametrize("path", ["/proc/nowhere/progress", "/dev"])
def test_a_progress_file_that_cannot_be_written_is_refused_before_anything_starts(
    quick: Slow, place: Place, tmp_path: Path, path: str
) -> None:
    played = play("init", {**quick.variables, "migrate_progress_path": path}, *host(tmp_path))
    result = played.result("pg_migration_init", "shop")
    assert result["code"] == "bad_option"
    assert path in result["msg"]
    assert quick.case.left_on_source() == NOTHING
    assert quick.target.execute("SELECT nspname FROM pg_namespace WHERE nspname = 'seren_migrator'") == []


def test_a_killed_playbook_leaves_the_job_alive_and_the_same_command_follows_it(
    slow: Slow, place: Place, tmp_path: Path
) -> None:
    with playing("init", slow.variables, *host(tmp_path)) as run:
        run.wait_for(is_growing)
        run.kill()
    slow.proxy.bytes_per_s = SLOW_BYTES_PER_S / 10  # there is enough left for the next play
    job = place.job()
    with playing("init", slow.variables, *host(tmp_path)) as run:
        run.wait_for(lambda output: is_growing(output) and 'text="following init' in output)
        assert Path(f"/proc/{job}").exists()
        slow.hasten()
        played = run.finish()
    assert played.code == 0, played.output
    result = played.result("pg_migration_init", "shop")
    assert (result["state"], result["changed"]) == ("copied", False)
    assert len(result["streams"]) == 1
    wait_until_gone([job])
    assert_exact(slow)


def kill(processes: list[int]) -> None:
    assert processes
    for process in processes:
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("what", ["module", "everything"])
def test_a_killed_job_is_noticed_and_the_same_command_continues(
    slow: Slow, place: Place, tmp_path: Path, what: str
) -> None:
    with playing("init", slow.variables, *host(tmp_path)) as run:
        run.wait_for(is_growing)
        kill([place.job()] if what == "module" else place.processes())
        played = run.finish()
    assert played.code != 0
    result = played.result("pg_migration_init", "shop")
    assert result["code"] == "runner_lost"
    assert "same command" in result["remedy"]
    assert result["details"]["last"]["numbers"]["bytes_copied"] > 0
    assert place.left() == []
    slow.hasten()
    played = play("init", slow.variables, *host(tmp_path))
    assert played.code == 0, played.output
    assert played.result("pg_migration_init", "shop")["state"] == "copied"
    assert_exact(slow)


def test_job_timeout_ends_the_copy_in_order_and_the_same_command_continues(
    slow: Slow, place: Place, tmp_path: Path
) -> None:
    played = play("init", {**slow.variables, "migrate_job_timeout": 5}, *host(tmp_path))
    result = played.result("pg_migration_init", "shop")
    assert played.code != 0
    assert result["code"] == "job_timeout"
    assert "same command" in result["remedy"]
    assert slow.target.execute("SELECT holder FROM seren_migrator.migration") == [(None,)]
    assert place.left() == []
    slow.hasten()
    assert play("init", slow.variables, *host(tmp_path)).code == 0
    assert_exact(slow)


def test_several_hosts_at_once_with_the_free_strategy(
    quick: Slow, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_database(quick.target.cluster)
    hosts = {
        "one": {"migrate_target": quick.target.params, "migrate_name": "one"},
        "two": {"migrate_target": other.params, "migrate_name": "two"},
    }
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps({"migrations": {"hosts": hosts}}))
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    variables = {key: value for key, value in quick.variables.items() if key != "migrate_target"}
    played = play("init", variables, "-i", os.fspath(path), "--forks", "2")
    assert played.code == 0, played.output
    shown = lines(played.output)
    assert {(line["host"], line["migration"]) for line in shown} == {("one", "one"), ("two", "two")}
    assert place.left() == []


def test_lines_arrive_as_events_of_ansible_runner(quick: Slow, place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "runner"
    folder.mkdir(mode=0o700)
    arrived: list[dict[str, Any]] = []
    ansible_runner.run(
        private_data_dir=os.fspath(folder),
        playbook=os.fspath(playbook(tmp_path, "poll")),
        inventory=host(tmp_path)[1],
        extravars=quick.variables,
        envvars={
            "ANSIBLE_CONFIG": os.fspath(REPOSITORY / "ansible.cfg"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        event_handler=lambda event: arrived.append(event) or False,
        quiet=True,
    )
    shown = [event for event in arrived if event["event"] == "verbose" and lines(event["stdout"])]
    assert [lines(event["stdout"])[0]["host"] for event in shown][:1] == ["shop"]
    (done,) = (event for event in arrived if event["event"] == "runner_on_ok")
    assert done["event_data"]["res"]["state"] == "copied"


def test_status_and_the_copy_s_own_events_show_indexes_that_are_being_built(
    source_db: Database, target_db: Database
) -> None:
    source_db.execute(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.02); RETURN $1; END'"
    )
    source_db.execute("CREATE TABLE a (id int PRIMARY KEY)")
    source_db.execute("CREATE INDEX slowly ON a (slow(id))")
    source_db.execute("INSERT INTO a SELECT generate_series(1, 200)")
    case = Case(source_db, target_db)
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            seen.append(status.run(case.migration(), status.StatusOptions(window=0)).data["progress"])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        told: list[Event] = []
        case.init(told.append)
    finally:
        ended.set()
        thread.join()
    building = [item for progress in seen for item in progress.get("building", [])]
    assert building
    assert {(item["schema"], item["table"]) for item in building} == {("public", "a")}
    assert all(item["phase"] for item in building)
    assert all(item["done"] is None or 0 <= item["done"] <= item["total"] for item in building)
    assert all(progress["rate_bytes_per_second"] is None for progress in seen if progress)
    assert told[-1].text != told[0].text
