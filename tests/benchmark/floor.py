# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that the target has to do: COPY of files that are already here, then the indexes and constraints, by psql.

    python -m tests.benchmark.floor PLAN.json

runs the measured part of the plan that `prepare` has made.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from psycopg import sql

from tests.benchmark.servers import servers_dir
from tests.benchmark.settings import Settings
from tests.support.fixtures import Database
from tests.support.template import server_user

COMPLETE = "complete"
DONE = "the statement has ended"
# What takes time can run side by side; what puts it together (ATTACH PARTITION, foreign keys) comes after it.
_BUILDS = re.compile(r"^(CREATE (UNIQUE )?INDEX|ALTER TABLE ONLY \S+\s+ADD CONSTRAINT \S+ (PRIMARY KEY|UNIQUE))")
_TABLES = """
SELECT n.nspname, c.relname, pg_catalog.pg_table_size(c.oid)
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'seren_migrator')
 ORDER BY 3 DESC, 1, 2
"""


def prepare(
    source: Database,
    target: Database,
    source_conninfo: str,
    target_conninfo: str,
    settings: Settings,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Put the files and the empty tables where they are needed; return the plan: plain data."""
    tables = source.execute(_TABLES)
    folder = _files(source, tables)
    dump = ["pg_dump", "--schema-only", "--dbname", source_conninfo]
    pre_data = _run([*dump, "--section=pre-data"], environment)
    _run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "--dbname", target_conninfo],
        environment,
        pre_data,
    )
    post_data = _run([*dump, "--section=post-data"], environment).decode()
    size = {f"{schema}.{name}": int(size) for schema, name, size in tables}
    statements = [text.strip() + ";" for text in _without_comments(post_data).split(";\n") if text.strip()]
    statements = [text for text in statements if not text.startswith(("SET ", "SELECT pg_catalog.set_config"))]
    builds = [text for text in statements if _BUILDS.match(text)]
    return {
        "conninfo": target_conninfo,
        "sessions": [settings.jobs, settings.index_jobs],
        "settings": f"SET synchronous_commit = off; SET maintenance_work_mem = '{settings.maintenance_work_mem}';",
        "copies": [
            _copy(schema, name, folder / f"{number}.copy") for number, (schema, name, _size) in enumerate(tables)
        ],
        "builds": sorted(builds, key=lambda text: -_size_of(text, size)),
        "rest": [text for text in statements if not _BUILDS.match(text)],
    }


def files_dir(source: Database) -> Path:
    """Where the files of a database are, or will be."""
    return servers_dir() / f"files-{source.cluster.major}-{source.name}"


def _files(source: Database, tables: Sequence[tuple[Any, ...]]) -> Path:
    """The folder with a binary COPY file of each table, kept between runs."""
    folder = files_dir(source)
    if not (folder / COMPLETE).exists():
        folder.mkdir(mode=0o755, exist_ok=True)
        server_user().give(folder)
        for number, (schema, name, _size) in enumerate(tables):
            statement = sql.SQL("COPY {} TO {} (FORMAT binary)")
            file = sql.Literal(str(folder / f"{number}.copy"))
            source.execute(statement.format(sql.Identifier(schema, name), file))
        (folder / COMPLETE).touch()
    return folder


def _copy(schema: str, name: str, file: Path) -> str:
    """The statements that init runs, too; psql sends the file, as it is."""
    table, source = sql.Identifier(schema, name), sql.Literal(str(file))
    text = sql.SQL("BEGIN; TRUNCATE ONLY {};\n\\copy {} FROM {} WITH (FORMAT binary, FREEZE)\nCOMMIT;")
    return text.format(table, table, source).as_string(None)


def _size_of(statement: str, size: Mapping[str, int]) -> int:
    found = re.search(r"(?: ON | ONLY )(?:ONLY )?(\S+)", statement)
    return size.get(found.group(1), 0) if found else 0


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(("--", "\\"))) + "\n"


def _run(command: Sequence[str], environment: Mapping[str, str], stdin: bytes = b"") -> bytes:
    completed = subprocess.run(command, env=environment, input=stdin, capture_output=True, check=False)
    if completed.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{completed.stderr.decode(errors='replace')[-2000:]}")
    return completed.stdout


class _Session:
    """A psql process that runs one statement after the other."""

    def __init__(self, conninfo: str, settings: str) -> None:
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "--dbname", conninfo]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.run(settings)

    def run(self, statement: str) -> None:
        """Run a statement to its end; `RuntimeError` when psql has given up."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("psql has no pipes")
        with suppress(BrokenPipeError):  # what psql has said before it ended is read below
            stdin.write(f"{statement}\n\\echo {DONE}\n")
        for line in stdout:
            if line.strip() == DONE:
                return
        raise RuntimeError(f"psql failed at: {statement}")

    def close(self) -> None:
        self._process.communicate()


def _all_of(statements: Sequence[str], sessions: int, plan: Mapping[str, Any]) -> None:
    """Run statements in their order, as many at a time as there are sessions."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for statement in statements:
        waiting.put(statement)
    errors: list[RuntimeError] = []

    def work() -> None:
        session = _Session(plan["conninfo"], plan["settings"])
        try:
            while not errors:
                session.run(waiting.get_nowait())
        except queue.Empty:
            pass
        except RuntimeError as error:
            errors.append(error)
        finally:
            session.close()

    threads = [threading.Thread(target=work) for _number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def main(arguments: Sequence[str]) -> int:
    plan = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    copy_sessions, build_sessions = plan["sessions"]
    _all_of(plan["copies"], copy_sessions, plan)
    _all_of(plan["builds"], build_sessions, plan)
    _all_of(plan["rest"], 1, plan)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
