# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""PostgreSQL's own client programs: find pg_dump and pg_restore, choose a major, run them.

A program never gets a secret in its arguments, never writes to our standard output, and dies with us.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import MigrationError, Redactor

# Where distributions put the programs of each major (Debian, Red Hat, Homebrew).
_USUAL_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
_PR_SET_PDEATHSIG = 1
# Loaded here, because the moment between fork and exec is no time to load a library.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Client:
    """One installation of the client programs; ``version`` is for instance (17, 6)."""

    version: tuple[int, int]
    pg_dump: str
    pg_restore: str

    @property
    def major(self) -> int:
        """Major version."""
        return self.version[0]


def find_clients(bin_dir: str | None = None) -> list[Client]:
    """Return the client programs of this machine, newest minor of each major first.

    ``bin_dir`` names one directory (or several, separated by ``:``) and then only these count; otherwise PATH and the
    usual places of distributions are searched.
    """
    if bin_dir:
        places = bin_dir.split(os.pathsep)
    else:
        places = os.environ.get("PATH", "").split(os.pathsep)
        for pattern in _USUAL_PLACES:
            places += sorted(str(place) for place in Path("/").glob(pattern))
    found: dict[int, Client] = {}
    for place in places:
        dump, restore = (shutil.which(name, path=place or ".") for name in ("pg_dump", "pg_restore"))
        version = _version(dump) if dump and restore else None
        if dump and restore and version and version == _version(restore):
            known = found.get(version[0])
            if known is None or known.version < version:
                found[version[0]] = Client(version, dump, restore)
    return [found[major] for major in sorted(found)]


def _version(program: str) -> tuple[int, int] | None:
    try:
        answer = _ended([program, "--version"], timeout_s=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\) (\d+)(?:\.(\d+))?", answer.stdout.decode(errors="replace"))
    return (int(match.group(1)), int(match.group(2) or 0)) if match else None


def wanted_major(source_major: int, target_major: int) -> int:
    """Return the major both programs should have: the larger of the two servers'."""
    return max(source_major, target_major)


def choose(clients: Sequence[Client], source_major: int, target_major: int) -> Client:
    """Return the client to use for one pair of servers, or raise ``client_missing``.

    pg_dump refuses servers newer than itself, so its major is at least the source's. The target's major is best; any
    other one from the source's major upwards is a second choice, nearest to the target first.
    """
    best = wanted_major(source_major, target_major)
    usable = [client for client in clients if client.major >= source_major]
    if not usable:
        have = ", ".join(str(client.major) for client in clients) or "none"
        raise MigrationError(
            "client_missing",
            f"pg_dump and pg_restore of major {best} are needed on the machine that runs this module; found: {have}.",
            f"Install them, for instance: apt-get install postgresql-client-{best} (Debian, Ubuntu) or "
            f"dnf install postgresql{best} (Red Hat), or name their directory in client_bin_dir.",
            {"wanted_major": best, "found_majors": [client.major for client in clients]},
        )
    return min(usable, key=lambda client: (abs(client.major - best), -client.major))


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    redactor: Redactor,
    *,
    stdin: bytes | None = None,
    timeout_s: float | None = None,
) -> bytes:
    """Run a client program to its end and return its standard output.

    ``environment`` is added to ours, of which the PG* variables are dropped. Raises ``client_failed`` with the
    program's redacted last words.
    """
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    surroundings.update({"PGAPPNAME": "seren_migrator " + Path(arguments[0]).name, **environment}, LC_ALL="C.UTF-8")
    try:
        done = _ended(arguments, surroundings, stdin=stdin, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        raise _failed(arguments, f"did not end within {timeout_s} seconds") from None
    if done.returncode != 0:
        words = redactor.text(done.stderr.decode(errors="replace")).strip()[-3000:]
        raise _failed(arguments, f"ended with code {done.returncode}: {words}")
    return done.stdout


def _ended(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    stdin: bytes | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever its exit code."""
    # ansible-test wants AnsibleModule.run_command, but the engine does not know Ansible.
    return subprocess.run(  # pylint: disable=ansible-bad-function
        list(arguments),
        env=environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=timeout_s,
        check=False,
        preexec_fn=_die_with_parent if _LIBC else None,
    )


def _failed(arguments: Sequence[str], what: str) -> MigrationError:
    program = Path(arguments[0]).name
    return MigrationError(
        "client_failed",
        f"{program} {what}",
        "The message names the object and the cause; mend it on the server it speaks of and run the same command "
        "again: it goes on where it stopped.",
        {"program": program},
    )


def _die_with_parent() -> None:
    """Ask Linux to end this child when the process that started it ends."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
