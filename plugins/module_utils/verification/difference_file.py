# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""The differing rows as JSON lines on the machine that runs the module: more than a result can hold, in flat memory.

Written beside its place and put there when all is known, so that whoever reads it reads all of it.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from ..errors import MigrationError

MAX_LINES = 1_000_000


class PrivateFile:
    """A text file of mode 0600 that appears at its place, whole, when the block ends without an error.

    Raises ``bad_option`` when it cannot be written there; ``option`` names where the path came from.
    """

    def __init__(self, option: str, path: str) -> None:
        self._option, self._path = option, Path(path)

    def __enter__(self) -> PrivateFile:
        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name[:100]}.")
        except OSError as error:
            raise self._refused(error) from None
        self._name = name
        self.text: IO[str] = os.fdopen(handle, "w+", encoding="utf-8")  # closed on exit
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: object) -> None:
        self.text.close()
        if kind is not None:
            Path(self._name).unlink(missing_ok=True)
            return
        try:
            Path(self._name).replace(self._path)
        except OSError as error:
            Path(self._name).unlink(missing_ok=True)
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> MigrationError:
        return MigrationError(
            "bad_option",
            f"{self._option} is {self._path}, which cannot be written: {error.strerror}.",
            "Name a file in a directory that exists on the machine that runs the module, and that its user may write to.",
        )


class DifferenceFile(PrivateFile):
    """JSON lines of differences. What a table has taken back, because it was rewritten meanwhile, is left out at last."""

    def __init__(self, path: str) -> None:
        super().__init__("differences_path", path)
        self._lock = threading.Lock()
        self._spool: IO[str] | None = None
        self._lines = 0

    def __enter__(self) -> DifferenceFile:
        super().__enter__()
        try:
            self._spool = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self._path.parent)
        except OSError as error:
            super().__exit__(type(error), error, None)
            raise self._refused(error) from None
        return self

    def add(self, owner: str, difference: Mapping[str, Any]) -> bool:
        """Note a difference under its ``owner``, a table's present look; False when the file is full."""
        with self._lock:
            if self._spool is None or self._lines >= MAX_LINES:
                return False
            self._lines += 1
            self._spool.write(json.dumps([owner, difference]) + "\n")
            return True

    def finish(self, is_valid: Callable[[str], bool]) -> None:
        """Write the lines whose owners still stand."""
        with self._lock:
            if self._spool is not None:
                self._spool.seek(0)
                for line in self._spool:
                    owner, difference = json.loads(line)
                    if is_valid(owner):
                        self.text.write(json.dumps(difference, ensure_ascii=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: object) -> None:
        if self._spool is not None:
            self._spool.close()
        super().__exit__(kind, value, tb)
