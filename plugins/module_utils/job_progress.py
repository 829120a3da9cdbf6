# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The latest progress of a module that runs in the background: a small file that it writes and the controller reads.

The file is as short-lived as the job, lies beside Ansible's record of the job, has mode 0600 and two lines: process id
and state (``running`` or ``ended``), then the event as JSON. The controller reads it with a few words of shell, over
any connection, because starting a module for each look would cost half a second of a core.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .progress import LASTING_NUMBERS

# The environment variable that gives a job the name of its file, in the directory of Ansible's records of jobs.
VARIABLE = "SEREN_MIGRATOR_JOB"
DIRECTORY_VARIABLE = "ANSIBLE_ASYNC_DIR"
DEFAULT_DIRECTORY = "~/.ansible_async"
_NAME = re.compile(r"\w+")
# Beside the file; who watches touches it with each look.
SEEN = ".seen"
# A job whose result only its watcher can take ends when nobody has looked for so long: twice what a watcher that cannot
# reach the machine waits for.
UNWATCHED_S = 600.0

# Looks again and again until the job has ended, or for a number of ticks. A file that is not there yet is waited for.
# A killed process that nobody has taken leave of, as in containers whose first process does not, is no living one.
_LOOK = """\
lives() {
  kill -0 "$1" 2>/dev/null || return 1
  case "$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)" in Z*|X*) return 1 ;; esac
}
i=0
( : > %(seen)s ) 2>/dev/null
while :; do
  pid= state=
  { read -r pid state < %(path)s; } 2>/dev/null
  [ "$state" = ended ] && break
  [ -n "$pid" ] && { %(until_begun)s lives "$pid" || break; }
  i=$((i+1))
  [ "$i" -gt %(ticks)d ] && break
  sleep %(tick)s
done
[ -n "$pid" ] && lives "$pid" && echo "process lives"
cat %(path)s 2>/dev/null
:"""


@dataclass(frozen=True)
class Look:
    """What was seen. ``line`` is the latest event, None before the first one."""

    has_begun: bool
    has_ended: bool
    is_alive: bool
    line: dict[str, Any] | None


class JobFile:
    """The file as the job writes it. Each event replaces the one before, but for its lasting numbers.

    With ``unwatched_s`` the process is told to end (SIGTERM) when nobody has looked at the file for so many seconds.
    """

    def __init__(self, path: Path, unwatched_s: float | None = None) -> None:
        self._path = path
        self._unwatched_s = unwatched_s
        self._seen: tuple[float, float] | None = None  # when the watcher looked, by its file, and when we noticed
        self._lasting: dict[str, Any] = {}

    def write(self, line: Mapping[str, Any], *, is_last: bool) -> None:
        """Replace the file."""
        numbers: Mapping[str, Any] = line["numbers"]
        text = json.dumps({**line, "numbers": {**self._lasting, **numbers}}, default=str)
        self._lasting.update({key: value for key, value in numbers.items() if key in LASTING_NUMBERS})
        following = self._path.with_name(self._path.name + ".tmp")
        with os.fdopen(os.open(following, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(f"{os.getpid()} {'ended' if is_last else 'running'}\n{text}\n")
        following.rename(self._path)
        if not is_last and self._is_abandoned():
            self._unwatched_s = None  # once is enough
            os.kill(os.getpid(), signal.SIGTERM)

    def _is_abandoned(self) -> bool:
        if self._unwatched_s is None:
            return False
        try:
            seen_at = self._path.with_name(self._path.name + SEEN).stat().st_mtime
        except OSError:
            return False  # nobody has begun to look, or the last look is over
        now = time.monotonic()
        if self._seen is None or self._seen[0] != seen_at:
            self._seen = (seen_at, now)
        return now - self._seen[1] > self._unwatched_s

    def close(self) -> None:
        """Nothing is held open. Who watches removes the file, after the last line was read."""


def own_file(environment: Mapping[str, str], *, ends_unwatched: bool = False) -> JobFile | None:
    """Return the file of this process, or None when it was not started as a job whose progress somebody watches."""
    name = environment.get(VARIABLE, "")
    if not _NAME.fullmatch(name):
        return None
    path = Path(environment.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY, name).expanduser()
    return JobFile(path, UNWATCHED_S if ends_unwatched else None)


def look_command(path: str, ticks: int, tick_s: float, *, until_begun: bool = False) -> str:
    """Return a command for a POSIX shell that waits at most ``ticks`` times ``tick_s`` and prints what there is.

    It ends as soon as the job has ended or died, and with ``until_begun`` as soon as it has begun.
    """
    words = {
        "path": shlex.quote(path),
        "seen": shlex.quote(path + SEEN),
        "ticks": ticks,
        "tick": f"{tick_s:g}",
        "until_begun": "",
    }
    return _LOOK % {**words, "until_begun": "break;" if until_begun else ""}


def parse_look(output: str) -> Look:
    """Read what the command has printed; whatever a login shell prints besides is passed over."""
    state, line, is_alive = None, None, False
    for text in output.splitlines():
        if found := re.fullmatch(r"\d+ (running|ended)", text):
            state = found.group(1)
        elif text == "process lives":
            is_alive = True
        elif state and text.startswith("{"):
            with suppress(ValueError):
                line = json.loads(text)
    return Look(state is not None, state == "ended", is_alive and state == "running", line)
