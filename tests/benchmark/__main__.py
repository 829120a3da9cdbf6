# SPDX-License-Identifier: GPL-3.0-or-later
"""The command behind `make bench-copy`, `bench-copy-far`, `bench-memory`, `bench-verify` and `bench-clean`; see README.md beside it.

    python -m tests.benchmark near|far|memory|verify|clean

Exit code 0: measured (in `memory`: and within the bound); 1: not; 2: a variable is wrong; 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import conftest  # noqa: F401  # pylint: disable=unused-import  # makes ansible_collections.seren.migrator importable
from tests.benchmark import copying, memory, servers, verifying
from tests.benchmark.settings import BadSetting, Settings
from tests.support.demo import interruption

USAGE = "usage: make bench-copy, make bench-copy-far, make bench-memory, make bench-verify, make bench-clean"


def clean(_settings: Settings) -> int:
    print(f"{servers.remove_all()} folder(s) of the benchmark removed.")
    return 0


COMMANDS: dict[str, Callable[[Settings], int]] = {
    "near": copying.near,
    "far": copying.far,
    "memory": memory.check,
    "verify": verifying.compare,
    "clean": clean,
}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        interruption.expect()
        return COMMANDS[arguments[0]](Settings.read(os.environ))
    except KeyboardInterrupt:
        print("\nInterrupted. The servers are stopped; their data stays for the next run.", file=sys.stderr)
        return 130
    except BadSetting as error:
        print(error, file=sys.stderr)
        return 2
    except (RuntimeError, OSError) as error:  # what the host lacks, and what helps; no traceback
        print(f"\n{error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
