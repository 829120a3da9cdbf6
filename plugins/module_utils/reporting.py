# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""Where a module's events go: one line of JSON each, redacted, to files. The engine's phases only know a function.

Telling never disturbs the work: what cannot be written any more is remembered in ``problem`` and left out.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Protocol

from .errors import MigrationError, Redactor
from .progress import Event


class Outlet(Protocol):
    """Something that takes lines. ``line`` is plain data without secrets."""

    def write(self, line: Mapping[str, Any], *, is_last: bool) -> None:
        """Take one line; ``is_last`` when nothing follows. May raise OSError."""

    def close(self) -> None:
        """Let go of what is held open."""


class JsonLines:
    """A file to which each event is appended as a line of JSON, at once; it is created with mode 0600."""

    def __init__(self, option: str, path: str) -> None:
        """Open the file, or raise ``bad_option``, which names ``option``."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise _unusable(option, path, error.strerror or str(error)) from None
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise _unusable(option, path, "it is not a regular file")

    def write(self, line: Mapping[str, Any], *, is_last: bool) -> None:
        """Append one line. It is written in one piece, so that a reader sees whole lines only."""
        text = (json.dumps(line, default=str) + "\n").encode()
        if os.write(self._descriptor, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _unusable(option: str, path: str, reason: str) -> MigrationError:
    return MigrationError(
        "bad_option",
        f"{option}: {path} cannot be written: {reason}.",
        f"Give {option} the path of a file in an existing directory that this user may write to. Nothing was done.",
        {"option": option, "path": path},
    )


class Reporter:
    """A phase's ``progress`` function that writes every event to the outlets, and at last how it ended.

    Several threads may tell at the same time.
    """

    def __init__(self, phase: str, redactor: Redactor, outlets: Sequence[Outlet]) -> None:
        self.phase = phase
        self.problem: str | None = None
        self._redactor = redactor
        self._outlets = list(outlets)
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write an event: ``time`` (ISO 8601, UTC), ``phase``, ``text`` and ``numbers``."""
        self._write({"phase": event.phase, "text": event.text, "numbers": event.numbers}, is_last=False)

    def end(self, answered: Mapping[str, Any]) -> None:
        """Write the last line, which has ``outcome`` (ok or failed) and ``changed`` as well, and close the outlets.

        ``answered`` is the module's answer; of a failure the line has ``msg``, ``code`` and ``remedy``.
        """
        has_failed = bool(answered.get("failed"))
        line = {"phase": self.phase, "text": "ended", "numbers": {}, "outcome": "failed" if has_failed else "ok"}
        shown = ("changed", "msg", "code", "remedy") if has_failed else ("changed",)
        self._write({**line, **{key: answered.get(key) for key in shown}}, is_last=True)
        while self._outlets:
            self._outlets.pop().close()

    def _write(self, line: dict[str, Any], *, is_last: bool) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        safe = self._redactor.data({"time": now, **line})
        with self._lock:
            for outlet in list(self._outlets):
                try:
                    outlet.write(safe, is_last=is_last)
                except OSError as error:
                    self.problem = self.problem or f"the progress could not be written any more: {error}"
                    self._outlets.remove(outlet)
                    outlet.close()
