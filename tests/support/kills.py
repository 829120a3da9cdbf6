# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a migration that runs as a user runs it: its module, ansible-playbook alone, everything of it, or a server.

Its processes are told from all others by a variable of their environment, which they inherit however they are started.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.playbooks import Playing

PATIENCE_S = 60.0
POLL_S = 0.02

# In the order in which init comes to them; each is where a kill may hit.
STEPS = ("start", "schema", "copy", "indexes", "constraints", "sequences", "materialized_views", "statistics", "end")

_LEDGER = """
    SELECT m.state, m.holder ->> 'pid' AS pid,
           EXISTS (SELECT 1 FROM seren_migrator.step AS s
                    WHERE s.migration_id = m.id AND s.step = 'pre_data' AND s.state = 'done') AS has_schema,
           (SELECT count(*) FROM seren_migrator.relation AS r
             WHERE r.migration_id = m.id AND r.state = 'pending') AS pending
      FROM seren_migrator.migration AS m
"""
_AT_WORK = """
    SELECT a.query FROM pg_catalog.pg_stat_activity AS a
     WHERE a.datname = pg_catalog.current_database() AND a.state <> 'idle' AND a.application_name ~ '^seren_migrator'
       AND a.pid <> pg_catalog.pg_backend_pid()
"""
# What a running statement of ours tells about the step; the first that fits counts.
_TELLING = (
    ("copy", r"COPY .* FROM STDIN"),
    ("constraints", r"^\s*ALTER TABLE .*(FOREIGN KEY|VALIDATE CONSTRAINT)"),
    ("indexes", r"^\s*(CREATE (UNIQUE )?INDEX|ALTER TABLE .*ADD CONSTRAINT)"),
    ("materialized_views", r"^\s*REFRESH"),
    ("statistics", r"^\s*ANALYZE"),
)


class Watch:
    """Looks at a target, with a connection of its own, for the step that the migration is in."""

    def __init__(self, target: Database) -> None:
        self._connection = target.connect()
        self._last = "start"

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def ledger(self) -> tuple[str, int | None, bool, int] | None:
        """State, the runner's process id, whether the tables are there, tables still to be copied."""
        if self._connection.execute("SELECT to_regclass('seren_migrator.schema_dump')").fetchone() == (None,):
            return None
        row = self._connection.execute(_LEDGER).fetchone()
        return None if row is None else (row[0], int(row[1]) if row[1] else None, row[2], row[3])

    def step(self) -> str:
        """The step of this moment; between two recognisable ones, the last."""
        seen = self.ledger()
        if seen is None:
            return "start"
        state, _pid, has_schema, pending = seen
        if state != "copying":
            return "end"
        if not has_schema:
            self._last = "schema"
            return "schema"
        statements = [query for (query,) in self._connection.execute(_AT_WORK).fetchall()]
        for step, pattern in _TELLING:
            if any(re.search(pattern, statement, re.DOTALL) for statement in statements):
                self._last = step
                break
        else:
            if pending:
                self._last = "copy"
        return self._last

    def wait_for(self, step: str, playing: Playing) -> str:
        """Wait until the migration is in `step` or beyond, or has ended; the step that it is in."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = self.step()
            if seen == "start" and step == "start" and module_process(playing, self) is None:
                seen = "none"  # Ansible is still on its way to the module
            elif STEPS.index(seen) >= STEPS.index(step):
                return seen
            if playing.code is not None:
                return "end"
            if time.monotonic() > deadline:
                raise AssertionError(f"the migration is still in {seen}, never in {step}\n{playing.output}")
            time.sleep(POLL_S)


def processes(playing: Playing) -> dict[int, list[str]]:
    """The living processes of a run with their arguments, those that it has detached included."""
    found: dict[int, list[str]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                if playing.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().decode().split("\0")
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def module_process(playing: Playing, watch: Watch) -> int | None:
    """The process that runs the module: the ledger's holder, or before there is one, what Ansible has started."""
    alive = processes(playing)
    seen = watch.ledger()
    if seen is not None and seen[1] in alive:
        return seen[1]
    modules = {
        pid for pid, arguments in alive.items() if "python" in arguments[0] and "pg_migration_init" in str(arguments)
    }
    with suppress(OSError):
        return next((pid for pid in sorted(modules) if _parent(pid) not in modules), None)
    return None


def kill_module(playing: Playing, watch: Watch) -> None:
    """SIGKILL to the module's process and to nothing else."""
    pid = module_process(playing, watch)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_playbook(playing: Playing, _watch: Watch) -> None:
    """SIGKILL to ansible-playbook alone; what it has started lives on."""
    playing.process.kill()


def kill_everything(playing: Playing, _watch: Watch) -> None:
    """SIGKILL to every process of the run, as the end of a container does."""
    while alive := processes(playing):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        playing.process.poll()
        time.sleep(POLL_S)


def kill_server(cluster: Cluster) -> None:
    """SIGKILL to the postmaster and to all of its processes, then start it again; it recovers from its WAL."""
    postmaster = cluster.pid
    children = [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
    cluster.kill()
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cluster.start()


Kill = Callable[[Playing, Watch], None]


def kinds(source: Cluster, target: Cluster) -> Mapping[str, Kill]:
    """Everything that can be killed, by name."""
    return {
        "module": kill_module,
        "playbook": kill_playbook,
        "everything": kill_everything,
        "source": lambda _playing, _watch: kill_server(source),
        "target": lambda _playing, _watch: kill_server(target),
    }


def moments(seed: str, lengths: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """A random moment within each of the steps (name, seconds after its begin), in random order; the same for a seed."""
    chance = random.Random(seed)
    chosen = [(step, chance.uniform(0, length)) for step, length in lengths]
    chance.shuffle(chosen)
    return chosen
