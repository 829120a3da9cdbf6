# SPDX-License-Identifier: GPL-3.0-or-later
"""`KEEP=1`: the two servers stay, with what is needed to look around in `.build/demo`, until `make demo-stop`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import servers
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.migrations import Case
from tests.support.playbooks import REPOSITORY

FOLDER = REPOSITORY / ".build/demo"
SERVERS = FOLDER / "servers.json"
VARIABLES = FOLDER / "variables.json"
SERVICES = FOLDER / "pg_service.conf"

HOW_TO_LOOK_AROUND = """
The two servers stay. They are throw-away servers: reachable from this machine only, without durability. The
applications have stopped writing; replication goes on. From {repository}:

  look at the source           PGSERVICEFILE={services} {bin}/psql service=source
  look at the target           PGSERVICEFILE={services} {bin}/psql service=target
  how far is it?               .venv/bin/ansible-playbook seren.migrator.status -e @{variables}
  are both sides equal?        .venv/bin/ansible-playbook seren.migrator.verify -e @{variables}
  end the migration            .venv/bin/ansible-playbook seren.migrator.cleanup -e @{variables}
  stop and remove the servers  make demo-stop
"""


def require_none() -> None:
    """Raise `RuntimeError` when servers of an earlier run are still there."""
    if SERVERS.exists():
        raise RuntimeError("The servers of an earlier demo are still there. Remove them first:\n    make demo-stop")


def keep(clusters: Sequence[Cluster], case: Case, variables: Mapping[str, Any]) -> str:
    """Let the servers outlive this process; how to look around, as text."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    servers.release(clusters, SERVERS)
    _write_private(VARIABLES, json.dumps(dict(variables), indent=2) + "\n")
    _write_private(SERVICES, _service("source", case.source) + _service("target", case.target))
    return HOW_TO_LOOK_AROUND.format(
        repository=REPOSITORY,
        services=SERVICES.relative_to(REPOSITORY),
        variables=VARIABLES.relative_to(REPOSITORY),
        bin=case.bin_dir,
    )


def stop() -> str:
    """Stop and delete the servers that were kept, if any; what was done, as text."""
    if not SERVERS.exists():
        return "There are no servers of a demo."
    servers.stop(SERVERS)
    shutil.rmtree(FOLDER)
    return "The servers of the demo are stopped and removed."


def _service(name: str, database: Database) -> str:
    """A section of a connection service file (PostgreSQL manual, libpq): each line is a keyword and its value."""
    lines = [f"{keyword}={value}" for keyword, value in database.params.items()]
    return "\n".join([f"[{name}]", *lines, "", ""])


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
