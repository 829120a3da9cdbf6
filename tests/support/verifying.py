# SPDX-License-Identifier: GPL-3.0-or-later
"""A verify in a process of its own, which a test can kill, or whose memory it can measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream

# The last line is the result; those before are what it does. `constants` are set in the module pace.
PROGRAM = """
import json, resource, sys
from ansible_collections.seren.migrator.plugins.module_utils.ledger import Stream
from ansible_collections.seren.migrator.plugins.module_utils.migration import Migration
from ansible_collections.seren.migrator.plugins.module_utils.phases import verify
from ansible_collections.seren.migrator.plugins.module_utils.verification import pace
given = json.load(sys.stdin)
for name, value in given["constants"].items():
    setattr(pace, name, value)
def show(event):
    print(event.text, flush=True)
migration = Migration.from_options(given["migration"])
streams = [Stream(**stream) for stream in given["streams"]]
result = verify.verify_streams(migration, verify.VerifyOptions(**given["options"]), show, streams)
peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"data": result.data, "peak_mb": peak_kb / 1024}, default=str), flush=True)
"""


def start(
    migration: Mapping[str, Any],
    streams: Sequence[Stream],
    constants: Mapping[str, Any] | None = None,
    **options: Any,
) -> subprocess.Popen[str]:
    """Start a verify along some streams; `migration` holds what Migration.from_options takes."""
    given = {
        "migration": dict(migration),
        "streams": [asdict(stream) for stream in streams],
        "constants": dict(constants or {}),
        "options": {"objects": "skip", "wait_timeout": 30.0, **options},
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    return process


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end; return `data` and `peak_mb` of the process."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    assert process.wait() == 0, lines[-5:]
    found: dict[str, Any] = json.loads(lines[-1])
    return found
