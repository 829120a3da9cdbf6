# SPDX-License-Identifier: GPL-3.0-or-later
"""Extensions that a test writes itself: their files lie in the folders of the throw-away servers as long as the test runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.binaries import locked
from tests.support.cluster import Cluster
from tests.support.fixtures import Database
from tests.support.template import server_user


@pytest.fixture
def offered(source_cluster: Cluster, target_cluster: Cluster, source_db: Database) -> Iterator[Callable[..., None]]:
    """Let servers offer an extension that this makes: `offered(name, script, source=version, target=version)`.

    The folders belong to the programs, which all servers of the machine share: another process's test may use the same names,
    and its end would take the files away. So one test at a time has them.
    """
    with contextlib.ExitStack() as stack:
        held: list[None] = []

        def offer(name: str, script: str, **versions: str) -> None:
            if not held:
                held.append(stack.enter_context(locked("own-extensions")))
            for cluster, version in (
                (source_cluster, versions.get("source")),
                (target_cluster, versions.get("target")),
            ):
                if version is not None:
                    stack.enter_context(_extension(_extension_folder(cluster), name, version, script))

        yield offer
        # Without its files an extension cannot be looked at any more; the database goes with the sweep.
        for (name,) in source_db.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'"):
            source_db.execute(f'DROP EXTENSION "{name}" CASCADE')


def _extension_folder(cluster: Cluster) -> Path:
    rows = cluster.execute("SELECT setting FROM pg_catalog.pg_config() WHERE name = 'SHAREDIR'")
    return Path(rows[0][0]) / "extension"


@contextlib.contextmanager
def _extension(folder: Path, name: str, version: str, script: str) -> Iterator[None]:
    control, sql = folder / f"{name}.control", folder / f"{name}--{version}.sql"
    try:
        for path, content in ((control, f"default_version = '{version}'\nrelocatable = false\n"), (sql, script)):
            path.write_text(content, encoding="ascii")
            server_user().give(path)
        yield
    finally:
        control.unlink(missing_ok=True)
        sql.unlink(missing_ok=True)
