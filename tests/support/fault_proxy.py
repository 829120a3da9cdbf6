# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP proxy in front of a server that delays, swallows, resets or slows traffic, and can act like a pooler.

Runs in a thread of the test. Faults are switched by setting attributes and end when they are set back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType

HOST = "127.0.0.1"
CHUNK_BYTES = 65536
QUEUE_CHUNKS = 64
POLL_S = 0.02

# Codes in place of the protocol version in a first packet (manual: Message Formats).
SSL_REQUEST = 80877103
GSS_ENCRYPTION_REQUEST = 80877104
PROTOCOL_3 = 3
# What PgBouncer up to 1.22 and pooled endpoints of providers refuse.
POOLER_PARAMETERS = ("replication", "options")


class FaultProxy:
    """Listens on `port` of 127.0.0.1 and forwards to a server. As a context manager it runs until exit.

    `delay_ms` holds back each chunk in both directions, and `connect_delay_ms` what follows a connection's beginning, as
    the handshake with a far server would. While `is_black_hole`, nothing is forwarded and nothing is
    closed. `bytes_per_s` limits each direction of all connections together (None: unlimited). Connections whose
    startup packet has one of `refused_parameters` get the answer of a pooler; the proxy then speaks no TLS. `turns` counts how
    often a client spoke, or spoke again after its server had: the round trips of all connections together.
    """

    def __init__(self, server_port: int, server_host: str = HOST, refused_parameters: Iterable[str] = ()) -> None:
        self.server = (server_host, server_port)
        self.refused_parameters = frozenset(refused_parameters)
        self.delay_ms = 0.0
        self.connect_delay_ms = 0.0
        self.is_black_hole = False
        self.bytes_per_s: float | None = None
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        self.connections = 0
        self.turns = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free_at = {"server": 0.0, "client": 0.0}

    @property
    def host(self) -> str:
        return HOST

    def reset_all(self) -> None:
        """Break every open connection with a TCP reset; new ones are accepted."""
        self._call(self._reset)

    def start(self) -> FaultProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def stop(self) -> None:
        """Close everything; safe to call twice."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _call(self, function: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _reset(self) -> None:
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            if task is not None:
                self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._while_black_hole()
        await asyncio.sleep(self.connect_delay_ms / 1000)
        first = b""
        if self.refused_parameters:
            first = await _startup_packet(reader, writer)
            refused = sorted(self.refused_parameters & startup_parameters(first).keys())
            if refused:
                writer.write(error_response(f"unsupported startup parameter: {refused[0]}"))
                await writer.drain()
                return
        server_reader, server_writer = await asyncio.open_connection(*self.server)
        self._writers.add(server_writer)
        try:
            server_writer.write(first)
            spoke: list[str] = []
            pumps = (
                self._pump(reader, server_writer, "server", spoke),
                self._pump(server_reader, writer, "client", spoke),
            )
            await asyncio.gather(*pumps)
        finally:
            server_writer.close()
            self._writers.discard(server_writer)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, towards: str, spoke: list[str]
    ) -> None:
        """Read and write in two tasks, so that a delay costs latency but not throughput."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_CHUNKS)
        sending = asyncio.ensure_future(self._send(queue, writer, towards))
        try:
            while data := await reader.read(CHUNK_BYTES):
                self.turns += towards == "server" and spoke[-1:] != [towards]
                spoke[:] = [towards]
                await queue.put((time.monotonic(), data))
        except OSError:
            pass
        finally:
            await queue.put((time.monotonic(), b""))
            await sending

    async def _send(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, towards: str
    ) -> None:
        is_open = True
        while True:
            arrived, data = await queue.get()
            if not data:
                break
            await asyncio.sleep(max(0.0, arrived + self.delay_ms / 1000 - time.monotonic()))
            await self._while_black_hole()
            await self._slow_down(len(data), towards)
            if towards == "server":
                self.bytes_to_server += len(data)
            else:
                self.bytes_to_client += len(data)
            if is_open:
                try:
                    writer.write(data)
                    await writer.drain()
                except OSError:
                    is_open = False  # keep emptying the queue, or the reader blocks
        writer.close()

    async def _while_black_hole(self) -> None:
        while self.is_black_hole:
            await asyncio.sleep(POLL_S)

    async def _slow_down(self, count: int, towards: str) -> None:
        if self.bytes_per_s is not None:
            start = max(self._free_at[towards], time.monotonic())
            self._free_at[towards] = start + count / self.bytes_per_s
            await asyncio.sleep(self._free_at[towards] - time.monotonic())


async def _startup_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first packet with a protocol version; requests for encryption before it are declined."""
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack("!ii", head)
        packet = head + await reader.readexactly(length - 8)
        if code not in (SSL_REQUEST, GSS_ENCRYPTION_REQUEST):
            return packet
        writer.write(b"N")
        await writer.drain()


def startup_parameters(packet: bytes) -> dict[str, str]:
    """The parameters of a startup packet, {} for any other packet (a cancel request)."""
    if struct.unpack("!i", packet[4:8])[0] >> 16 != PROTOCOL_3:
        return {}
    fields = packet[8:].rstrip(b"\0").split(b"\0")
    texts = [field.decode("utf-8", "replace") for field in fields]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def error_response(message: str, sqlstate: str = "08P01") -> bytes:
    """A FATAL ErrorResponse message of the protocol."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body
