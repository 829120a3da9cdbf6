# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection pooler in miniature: it hands out server connections by transaction.

Enough of PgBouncer's manners to show that we notice them. Clients log in without a password; the pooler itself uses
the server's trusting Unix socket.
"""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


class Pooler:
    """Listens on a port of 127.0.0.1; a context manager. `socket_path` is the server's Unix socket."""

    def __init__(self, socket_path: str) -> None:
        self._path = socket_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._idle: list[socket.socket] = []
        self._open: list[socket.socket] = []
        self._greeting = b""

    def __enter__(self) -> Pooler:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for item in [self._listener, *self._open]:
            item.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        try:
            self._serve(client)
        except (OSError, EOFError):
            client.close()

    def _serve(self, client: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!II", _exactly(client, 8))
            rest = _exactly(client, length - 8)
            if code in (SSL_REQUEST, GSS_REQUEST):
                client.sendall(b"N")
                continue
            break
        if code == CANCEL_REQUEST:
            client.close()
            return
        startup = struct.pack("!II", length, code) + rest
        server = self._checkout(startup)
        self._idle.append(server)
        client.sendall(self._greeting)
        while True:
            # One transaction: from the client's first message to the server's idle "ready for query".
            kind, message = _message(client)
            if kind == b"X":
                client.close()
                return
            server = self._checkout(startup)
            state = b"T"
            while True:
                server.sendall(message)
                if kind in (b"Q", b"S"):
                    state = self._relay_answer(server, client)
                    if state == b"I":
                        break
                kind, message = _message(client)
            self._idle.append(server)

    def _relay_answer(self, server: socket.socket, client: socket.socket) -> bytes:
        while True:
            kind, message = _message(server)
            client.sendall(message)
            if kind == b"Z":
                return message[5:6]

    def _checkout(self, startup: bytes) -> socket.socket:
        """The server connection used last, as PgBouncer does, or a new one."""
        if self._idle:
            return self._idle.pop()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._path)
        self._open.append(server)
        server.sendall(startup)
        greeting = b""
        while True:
            kind, message = _message(server)
            greeting += message
            if kind == b"E":
                raise EOFError(greeting)
            if kind == b"Z":
                self._greeting = self._greeting or greeting
                return server


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 5)
    return head[:1], head + _exactly(connection, struct.unpack("!I", head[1:])[0] - 4)
