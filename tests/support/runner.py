# SPDX-License-Identifier: GPL-3.0-or-later
"""An init in a process of its own, which a test can kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from tests.support.migrations import Case

PROGRAM = """
import json, sys
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import init
given = json.load(sys.stdin)
def show(event):
    print(event.text, flush=True)
init.run(Migration.from_options(given["migration"]), init.InitOptions(**given["options"]), show)
"""


def start(case: Case, **options: Any) -> subprocess.Popen[str]:
    """Start init; it prints the text of each event of its progress as a line."""
    given = {
        "migration": {"source": case.source.params, "target": case.target.params, **case.options},
        "options": {"jobs": 2, "client_bin_dir": case.bin_dir, **options},
    }
    path = os.pathsep.join(entry for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    return process


def kill_at(process: subprocess.Popen[str], step: str, delay_s: float) -> None:
    """Kill the process `delay_s` seconds after it has reported a step whose text starts so, or at its end."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(step):
            break
    time.sleep(delay_s)
    process.kill()
    process.wait()
