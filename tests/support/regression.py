# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own regression database, made from the SQL of its regression suite where that is on the machine.

The suite is `src/test/regress` of PostgreSQL's source, of the same major as the server. On Debian:

    apt-get source postgresql-15         # with "deb-src" in the APT sources; or unpack the .orig.tar.bz2 yourself
    export REGRESSION_SQL=$PWD/postgresql-15-15.*/src/test/regress

What needs the suite's own C functions (regress.so) fails to be made and is not there. Outputs are not compared: this
is about the objects that the suite leaves behind.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.fixtures import Database
from tests.support.template import server_user

VARIABLE = "REGRESSION_SQL"
TEST_TIMEOUT_S = 120

# What pg_regress sets for its database.
DATABASE_SETTINGS = {
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "bytea_output": "hex",
    "timezone_abbreviations": "Default",
}


def suite() -> Path | None:
    """The folder of the suite, None where there is none."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given and (Path(given) / "parallel_schedule").exists() else None


def tests(folder: Path) -> Iterator[str]:
    """The names of the suite's tests, in the order of its schedule."""
    for line in (folder / "parallel_schedule").read_text(encoding="utf-8").splitlines():
        found = re.match(r"test:\s*(.*)", line)
        if found:
            yield from found[1].split()


def run(database: Database, folder: Path, scratch: Path) -> list[str]:
    """Run the suite in `database` as its superuser; the tests that psql did not get through.

    `scratch` becomes a copy of the suite that the server may read, and write its results into.
    """
    copy = scratch / "regress"
    shutil.copytree(folder, copy)
    (copy / "results").mkdir(exist_ok=True)
    user = server_user()
    for path in (scratch, copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        user.give(path)
    for name, value in DATABASE_SETTINGS.items():
        database.execute(f"ALTER DATABASE \"{database.name}\" SET {name} TO '{value}'")
    environment = {
        **database.cluster.installation.environment(),
        "PG_ABS_SRCDIR": str(copy),
        "PG_ABS_BUILDDIR": str(copy),
        "PG_LIBDIR": str(copy),
        "PG_DLSUFFIX": ".so",
        "PGTZ": "PST8PDT",
        "PGDATESTYLE": "Postgres, MDY",
        "PGOPTIONS": "-c intervalstyle=postgres_verbose",
        "PGPASSWORD": database.cluster.password,
        "HOME": str(scratch),
    }
    psql = str(database.cluster.client_dir / "psql")
    unfinished = []
    for name in tests(folder):
        command = [psql, "-X", "-a", "-q", "-d", database.cluster.dsn(database.name), "-v", "HIDE_TABLEAM=on"]
        command += ["-v", "HIDE_TOAST_COMPRESSION=on", "-f", str(copy / "sql" / f"{name}.sql")]
        with open(copy / "results" / f"{name}.out", "wb") as output:
            try:
                code = subprocess.run(
                    command,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=TEST_TIMEOUT_S,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        if code != 0:
            unfinished.append(name)
    return unfinished
