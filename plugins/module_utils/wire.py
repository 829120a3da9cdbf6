# Copyright (c) 2026, Seren
# SPDX-License-Identifier: MIT
"""A COPY stream handed from one server's socket to the other's without a look at its rows.

A CopyData message means the same in both directions (PostgreSQL manual, "Message Formats"), so what the source sends
is, byte for byte, what the target reads. libpq would take it apart row by row, which costs ten times the CPU and
several times the widest row in memory. While no statement runs, libpq has nothing in flight and the socket can be
used directly; after ReadyForQuery it is libpq's again, which finds everything in place. On encrypted connections only
libpq can do it: ``transfer.py``.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

from .session import Session
from .transfer import Refused

CHUNK_BYTES = 262144
# The end of a stream is recognised, or read when it is an error, in so many last bytes, which are held back.
HELD_BYTES = 8192
# How long the source must rest after what looks like the end of an error to be taken at its word.
QUIET_S = 1.0
# Keepalives find a dead peer long before; only a server that computes for a day would run into it.
SOCKET_TIMEOUT_S = 86400.0

_HEADER = struct.Struct("!ci")
_COPY_DONE = b"c\0\0\0\4"
_READY_IN_FAILED = (b"Z\0\0\0\5E", b"Z\0\0\0\5I")
_SEVERITIES = (b"\0VERROR\0", b"\0VFATAL\0", b"\0VPANIC\0")
_PROTOCOL_VIOLATION = "08P01"
_ENCRYPTED = "SELECT encrypted FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_catalog.pg_backend_pid()"

Moved = Callable[[int], None]


def is_open(session: Session) -> bool:
    """True when nothing encrypts the connection, so that its socket carries the protocol itself."""
    return not session.connection.pgconn.ssl_in_use and not session.value(_ENCRYPTED)


@dataclass(frozen=True)
class Answers:
    """What a server said to one simple-query string: each command's tag, and the rows of its queries as text.

    ``sizes`` are the bytes of each COPY that was read message by message.
    """

    tags: tuple[bytes, ...]
    rows: tuple[tuple[bytes | None, ...], ...]
    sizes: tuple[int, ...] = ()

    @property
    def copied(self) -> tuple[int, ...]:
        """The number of rows of each COPY, in order."""
        return tuple(int(tag.split()[1]) for tag in self.tags if tag.startswith(b"COPY "))


class Wire:
    """The socket of an idle connection; a context manager around what is done with it while libpq rests."""

    def __init__(self, session: Session) -> None:
        self.side = session.endpoint.side
        self._socket = socket.socket(fileno=os.dup(session.connection.pgconn.socket))
        # With a timeout the descriptor stays non-blocking, as libpq left it.
        self._socket.settimeout(SOCKET_TIMEOUT_S)
        self._unread = bytearray()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def query(self, statements: bytes) -> None:
        """Send one simple-query string."""
        self.send(_HEADER.pack(b"Q", len(statements) + 5) + statements + b"\0")

    def fail_copy(self) -> None:
        """Make a COPY FROM end with an error."""
        reason = b"the source has stopped\0"
        self.send(_HEADER.pack(b"f", len(reason) + 4) + reason)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of the protocol, all of them."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(str(error)) from None

    def receive(self, into: memoryview) -> int:
        """Read what has arrived, at least a byte; return how many, 0 when the server has hung up."""
        try:
            return self._socket.recv_into(into)
        except OSError as error:
            raise self._lost(str(error)) from None

    def has_news(self, within_s: float = 0.0) -> bool:
        """True when something can be read now, or within so many seconds."""
        return bool(self._poll.poll(within_s * 1000))

    def wait(self, target: Wire) -> None:
        """Return once something can be read; raise what ``target``, which is being fed, objects to meanwhile."""
        both = select.poll()
        for one in (self, target):
            both.register(one._socket, select.POLLIN)
        while not self.has_news():
            if not both.poll(SOCKET_TIMEOUT_S * 1000):
                raise self._lost("the server has said nothing for a day")
            target.check()

    def taken_back(self) -> bytes:
        """Return what was read beyond the last message, and forget it."""
        data = bytes(self._unread)
        self._unread.clear()
        return data

    def put_back(self, data: bytes | memoryview) -> None:
        """Let the next message begin with these bytes."""
        self._unread[:0] = data

    def message(self) -> tuple[bytes, bytes]:
        """Return the next message, its kind (one byte) and its body; notices and the like are passed over."""
        while True:
            kind, length = _HEADER.unpack(self._take(_HEADER.size))
            body = self._take(length - 4)
            if kind not in b"NSA":  # NoticeResponse, ParameterStatus, NotificationResponse
                return kind, body

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            data = bytearray(max(65536, count - len(self._unread)))
            received = self.receive(memoryview(data))
            if not received:
                raise self._lost("the server closed the connection")
            self._unread += memoryview(data)[:received]
        taken = bytes(memoryview(self._unread)[:count])
        del self._unread[:count]
        return taken

    def begin_copy(self) -> None:
        """Read up to the point where the server sends rows, or awaits them; after a refusal it is idle again."""
        while True:
            kind, body = self.message()
            if kind in b"GH":  # CopyInResponse, CopyOutResponse
                return
            if kind == b"E":
                self.drain()
                raise self.refusal(body)

    def check(self) -> None:
        """Raise the error that the server has sent meanwhile, if any; anything else it may say is passed over."""
        is_open = True
        while is_open and self.has_news():
            data = bytearray(65536)
            received = self.receive(memoryview(data))
            is_open = received > 0
            self._unread += memoryview(data)[:received]
        while len(self._unread) >= _HEADER.size:
            length = _HEADER.unpack_from(self._unread)[1]
            if len(self._unread) <= length:
                break
            kind, body = self._unread[:1], bytes(self._unread[_HEADER.size : length + 1])
            del self._unread[: length + 1]
            if kind == b"E":
                raise self.refusal(body)
        if not is_open:
            raise self._lost("the server closed the connection")

    def drain(self) -> None:
        """Read to ReadyForQuery, whatever comes before it."""
        while self.message()[0] != b"Z":
            pass

    def answers(self) -> Answers:
        """Read to ReadyForQuery; raise :class:`Refused` for the first error on the way."""
        collected = Collected()
        while True:
            kind, body = self.message()
            if kind == b"E":
                self.drain()
                raise self.refusal(body)
            if kind == b"Z":
                return collected.answers()
            collected.add(kind, body)

    def refusal(self, body: bytes) -> Refused:
        """Return an ErrorResponse as our error; without its detail, which can hold a row's values."""
        fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
        return Refused(self.side, fields.get(b"C", ""), fields.get(b"M", ""))

    def error_at_end(self, tail: bytes) -> Refused | None:
        """Return the error that a stream ends with: an ErrorResponse before ReadyForQuery, or before a hang-up."""
        end = len(tail) - 6 if tail.endswith(_READY_IN_FAILED) else len(tail)
        start = end
        while (start := tail.rfind(b"E", 0, start)) >= 0:
            if start + _HEADER.size < end and start + 1 + _HEADER.unpack_from(tail, start)[1] == end:
                body = tail[start + _HEADER.size : end]
                if any(severity in body for severity in _SEVERITIES):
                    return self.refusal(body)
        return None

    def hung_up(self, tail: bytes) -> Refused:
        """Return why the server closed the connection in the middle of the rows."""
        return self.error_at_end(tail) or self._lost("the server stopped in the middle of the rows")

    def _lost(self, message: str) -> Refused:
        return Refused(self.side, "", message)


class Collected:
    """Collects the messages between a query and ReadyForQuery."""

    def __init__(self) -> None:
        self._tags: list[bytes] = []
        self._rows: list[tuple[bytes | None, ...]] = []
        self._sizes: list[int] = []
        self._size = 0

    def add_copied(self, kind: bytes, size: int) -> None:
        """Take in a message of a COPY: rows of so many bytes (d), or its end (c)."""
        self._size += size
        if kind == b"c":
            self._sizes.append(self._size)
            self._size = 0

    def add(self, kind: bytes, body: bytes) -> None:
        """Take in one message."""
        if kind == b"C":
            self._tags.append(body.rstrip(b"\0"))
        elif kind == b"D":
            self._rows.append(tuple(_values(body)))

    def answers(self) -> Answers:
        """Return what was collected."""
        return Answers(tuple(self._tags), tuple(self._rows), tuple(self._sizes))


def _values(body: bytes) -> Iterator[bytes | None]:
    """Yield the values of a DataRow."""
    (count,) = struct.unpack_from("!h", body)
    at = 2
    for _number in range(count):
        (length,) = struct.unpack_from("!i", body, at)
        at += 4
        yield None if length < 0 else body[at : at + length]
        at += max(0, length)


def _ignore(_bytes: int) -> None:
    """Count nothing."""


def forward(
    source: Wire, target: Wire, out: bytes, into: bytes, then: bytes = b"", moved: Moved = _ignore
) -> tuple[int, int, Answers]:
    """Run a COPY TO and hand its stream to a COPY FROM; return its bytes, its rows, and what the source said after it.

    ``out`` and ``into`` are simple-query strings whose last statement is the COPY; ``then`` are statements for the
    source to run after it, with short answers. ``moved`` is called with each number of bytes before they are sent. The
    source's session must have ``client_min_messages = error``: a notice among the rows would be handed on too.

    Raises :class:`Refused`. When a COPY has not begun, both connections are idle then; when it breaks off on the way,
    both have to be closed. Memory: ``CHUNK_BYTES``, however wide a row is.
    """
    # The stream ends where these 128 random bits appear, because they are in no row.
    token = secrets.token_hex(16).encode()
    target.query(into)
    target.begin_copy()
    source.query(b"; ".join([out, b"SELECT '" + token + b"'", *([then] if then else [])]))
    try:
        source.begin_copy()
    except Refused:
        target.fail_copy()
        target.drain()
        raise
    try:
        total = _pump(source, target, token, moved)
    except Refused as refused:
        if (refused.side, refused.sqlstate) != ("target", _PROTOCOL_VIOLATION):
            raise
        # An error that is longer than what is held back was handed on, which no target takes for rows.
        raise Refused("source", "", "the source broke off with a very long error, which its server log has") from None
    sent, stored = source.answers(), target.answers()
    if sent.copied[-1] != stored.copied[-1]:
        raise Refused("target", "", f"{sent.copied[-1]} rows left the source but {stored.copied[-1]} arrived")
    return total, stored.copied[-1], Answers(sent.tags, tuple(row for row in sent.rows if row != (token,)))


def _pump(source: Wire, target: Wire, token: bytes, moved: Moved) -> int:
    """Hand on the rows and the end of the COPY; what the source says after it is put back. Returns the bytes."""
    buffer = bytearray(HELD_BYTES + CHUNK_BYTES)
    view = memoryview(buffer)
    first = source.taken_back()
    filled = len(first)
    buffer[:filled] = first
    total = 0
    while True:
        ready = max(0, filled - HELD_BYTES)
        if buffer.find(token, ready, filled) >= 0:
            ready = buffer.rindex(_COPY_DONE + b"C", ready, filled)
            moved(ready)
            target.send(view[:ready])
            target.send(_COPY_DONE)
            source.put_back(view[ready + len(_COPY_DONE) : filled])
            return total + ready
        target.check()
        if buffer.endswith(_READY_IN_FAILED, 0, filled) and not source.has_news(QUIET_S):
            refused = source.error_at_end(bytes(view[ready:filled]))
            if refused is not None:  # else rows that only look like it, from a source that is thinking
                raise refused
        if ready:
            moved(ready)
            target.send(view[:ready])
            total += ready
            view[: filled - ready] = bytes(view[ready:filled])
            filled -= ready
        source.wait(target)
        received = source.receive(view[filled:])
        if not received:
            raise source.hung_up(bytes(view[:filled]))
        filled += received


def forward_batch(
    source: Wire, target: Wire, out: bytes, into: bytes, moved: Moved = _ignore
) -> tuple[Answers, Answers]:
    """Run strings with several COPY statements, the same ones on both sides, in one round trip a side; for small tables.

    The target is fed without waiting for it: what arrives before its COPY begins waits in its socket, and after an
    error it ignores the rest. Returns what both sides said. Raises :class:`Refused`, after which both are idle, unless
    a connection was lost.
    """
    target.query(into)
    source.query(out)
    collected = Collected()
    refused: Refused | None = None
    outgoing = bytearray()
    kind = b""
    while kind != b"Z":
        kind, body = source.message()
        if kind in b"dc":
            collected.add_copied(kind, len(body))
            outgoing += _HEADER.pack(kind, len(body) + 4) + body
        elif kind == b"E":
            refused = source.refusal(body)
        else:
            collected.add(kind, body)
        if outgoing and (len(outgoing) >= CHUNK_BYTES or kind == b"Z"):
            moved(len(outgoing))
            target.send(outgoing)
            outgoing.clear()
    if refused is not None:
        target.fail_copy()
        target.drain()
        raise refused
    stored, sent = target.answers(), collected.answers()
    if sent.copied != stored.copied:
        raise Refused("target", "", "not as many rows arrived as had left the source")
    return sent, stored
