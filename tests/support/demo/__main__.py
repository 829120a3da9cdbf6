# SPDX-License-Identifier: GPL-3.0-or-later
"""The command behind `make demo` and `make demo-stop`.

    KEEP=1 SCALE=n python -m tests.support.demo
    python -m tests.support.demo stop

Exit code 0: everything was proven; 1: something was not, or could not start; 130: interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import conftest  # noqa: F401  # pylint: disable=unused-import  # makes ansible_collections.seren.migrator importable
from tests.support.demo import interruption, kept
from tests.support.demo.play import DEFAULT_SCALE, perform

USAGE = "usage: make demo [KEEP=1] [SCALE=n], make demo-stop"


def main(arguments: Sequence[str]) -> int:
    if list(arguments) not in ([], ["stop"]):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        if arguments:
            print(kept.stop())
            return 0
        keep = os.environ.get("KEEP", "") not in ("", "0", "no", "false")
        interruption.expect()
        return 0 if perform(_scale(os.environ.get("SCALE", "")), keep) else 1
    except KeyboardInterrupt:
        print("\nInterrupted. The servers are stopped, nothing was left behind.", file=sys.stderr)
        return 130
    except (RuntimeError, OSError) as error:  # what the host lacks, and what helps; no traceback
        print(f"\n{error}", file=sys.stderr)
        return 1


def _scale(text: str) -> int:
    if not text:
        return DEFAULT_SCALE
    if not text.isdecimal() or int(text) < 1:
        raise RuntimeError(f"SCALE is a whole number from 1 (about 20 MB) on, not {text!r}.")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
