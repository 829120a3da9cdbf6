# SPDX-License-Identifier: GPL-3.0-or-later
"""Both servers far away: a proxy with latency in front of each, in a process of its own.

    python -m tests.benchmark.far DELAY_MS PORT...

prints the ports to connect to and serves until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tests.support.fault_proxy import FaultProxy
from tests.support.playbooks import REPOSITORY


@contextmanager
def delayed(ports: Sequence[int], round_trip_ms: float) -> Iterator[list[int]]:
    """The ports through which `ports` are so far away; half of the round trip is spent in each direction.

    A new connection costs one more round trip, for the handshake of TCP.
    """
    command = [sys.executable, "-m", "tests.benchmark.far", str(round_trip_ms / 2), *map(str, ports)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        if process.stdout is None:
            raise RuntimeError("the proxies have no output")
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.communicate()


def main(arguments: Sequence[str]) -> int:
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy(int(port))) for port in arguments[1:]]
        for proxy in proxies:
            proxy.delay_ms = float(arguments[0])
            proxy.connect_delay_ms = 2 * proxy.delay_ms
        print(*(proxy.port for proxy in proxies), flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
