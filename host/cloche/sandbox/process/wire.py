"""The protocol between a host and a process with cells: frames on a socket pair, a request and its answer in turns.

The process believes its host. The host believes nothing: an answer's numbers are compared with what was asked before anything
is made of them, its body is taken in as it arrives and never longer than the question allows.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

_REQUEST = struct.Struct("<BIQII")  # op, number, cell, count of events, bytes that follow
_ANSWER = struct.Struct("<BIQQI")  # status, number, fuel, resident bytes, bytes that follow
_CELL = struct.Struct("<Q")
REQUEST_BYTES, ANSWER_BYTES = _REQUEST.size, _ANSWER.size
BODY_BYTES_MAX = (1 << 32) - 1
WINDOW_BYTES = 64 << 10  # most turns come and go in one system call


class Op(IntEnum):
    """What is asked of the process; the body of each is given beside it."""

    GUEST = 1  # digest (64 characters) and compiled guest
    OPEN = 2  # CBOR: guest, source, limits, frozen cell
    TURN = 3  # events: where they are several, their lengths first
    LIGHT_TURN = 4
    FREEZE = 5  # keep a copy of the state, under the number in place of a count; nothing comes back
    PACK = 6  # that copy, which is not kept any more: state hash (64 characters) and frozen cell
    STATE_HASH = 7
    DROP = 8  # cells, 8 bytes each; there is no answer
    READ = 9  # a stored graph, UTF-8: of a reader alone
    SHAPE = 20  # CBOR: [language, graph, source]: of a reader alone


class Status(IntEnum):
    """How it answers."""

    DONE = 0
    HEAVY = 1  # the turn was not light, and the cell is spoilt
    FAULT = 2  # CBOR: [code, message, facts]
    BROKEN = 3  # the process itself went wrong; what it says of it
    BUSY = 4  # the turn cannot be a light one, and was not begun


_OPS, _STATUSES = {int(one): one for one in Op}, {int(one): one for one in Status}


class Timeout(Exception):
    """The answer did not come in time."""


class Ended(Exception):
    """The process has ended. `was_asked`: whether the question may have reached it before."""

    def __init__(self, *, was_asked: bool) -> None:
        super().__init__()
        self.was_asked = was_asked


class ProtocolError(Exception):
    """What came back is not an answer to what was asked: the process is broken, or was taken over."""


class Request(NamedTuple):
    """One question, as the process reads it. `number` comes back in the answer."""

    op: Op
    number: int
    cell: int
    event_count: int
    body: bytes

    def events(self) -> list[bytes]:
        if self.event_count == 1:
            return [self.body]
        at, events = 4 * self.event_count, []
        for length in struct.unpack_from(f"<{self.event_count}I", self.body):
            events.append(self.body[at : at + length])
            at += length
        return events

    def cells(self) -> list[int]:
        return [cell for (cell,) in _CELL.iter_unpack(self.body)]


class Answer(NamedTuple):
    """`fuel` was used up by this turn; `resident_bytes` is about what the cell takes now, 0 where it was not looked at."""

    status: Status
    fuel: int
    resident_bytes: int
    body: bytes


def request(op: Op, number: int, cell: int, body: bytes = b"", count: int = 0, follows: int = 0) -> bytes:
    """The frame of a question; so many bytes of its body `follow` it."""
    return _REQUEST.pack(op, number, cell, count, len(body) + follows) + body


def dropping(cells: Sequence[int]) -> bytes:
    """The frame that says that these cells are used no more; it has no answer."""
    return request(Op.DROP, 0, 0, b"".join(map(_CELL.pack, cells)))


def joined(events: Sequence[bytes]) -> bytes:
    """The body of a turn: one event as it is; before several of them, the length of each (32 bits, little-endian)."""
    if len(events) == 1:
        return events[0]
    return struct.pack(f"<{len(events)}I", *map(len, events)) + b"".join(events)


def answer(status: Status, number: int, fuel: int = 0, resident_bytes: int = 0, body: bytes = b"") -> bytes:
    """The frame of an answer."""
    return _ANSWER.pack(status, number, fuel, resident_bytes, len(body)) + body


class Served:
    """The process's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = bytearray(WINDOW_BYTES)
        self._view = memoryview(self._buffer)
        self._have = 0  # bytes of the buffer that have come and were not taken

    def next(self) -> Request | None:
        """What is asked next; None when the host has gone."""
        while self._have < REQUEST_BYTES:
            if not (came := self._channel.recv_into(self._view[self._have :])):
                return None
            self._have += came
        op, number, cell, count, size = _REQUEST.unpack_from(self._buffer)
        end = REQUEST_BYTES + size
        if end <= self._have:
            body = bytes(self._view[REQUEST_BYTES:end])
            rest = self._have - end
            if rest:
                self._buffer[:rest] = self._buffer[end : self._have]
            self._have = rest
            return Request(_OPS[op], number, cell, count, body)
        whole = bytearray(size)
        at = self._have - REQUEST_BYTES
        whole[:at] = self._view[REQUEST_BYTES : self._have]
        self._have = 0
        with memoryview(whole) as view:
            while at < size:
                if not (came := self._channel.recv_into(view[at:])):
                    return None
                at += came
        return Request(_OPS[op], number, cell, count, bytes(whole))

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)


class Channel:
    """The host's end: one question at a time, asked by one thread at a time."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._buffer = bytearray(WINDOW_BYTES)
        self._view = memoryview(self._buffer)
        self._number = 0
        self._wait_s = 0.0

    def ask(self, data: bytes, wait_s: float, body_bytes_max: int, then: bytes = b"") -> Answer:
        """The answer to the request that `data` ends with (`request` with `number`), and `then` what follows it.

        Raises:
            Timeout: it did not come in `wait_s`. `receive_late` waits for it; nothing else can be asked before.
            Ended, ProtocolError: the process is of no use any more.
        """
        self._wait(wait_s)
        try:
            self._channel.sendall(data)
            if then:
                self._channel.sendall(then)
        except BlockingIOError:
            raise Timeout from None
        except OSError:
            raise Ended(was_asked=False) from None
        return self._answer(wait_s, body_bytes_max)

    def receive_late(self, wait_s: float, body_bytes_max: int) -> Answer:
        """The answer that did not come in time for `ask`. Raises as `ask`."""
        self._wait(wait_s)
        return self._answer(wait_s, body_bytes_max)

    def number(self) -> int:
        """That of the next request."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number

    def close(self) -> None:
        self._channel.close()

    def _wait(self, wait_s: float) -> None:
        """The kernel keeps the time: a Python timeout costs a second system call each way."""
        if wait_s != self._wait_s:
            self._wait_s = wait_s
            span = struct.pack("@ll", int(wait_s), int(wait_s % 1 * 1e6))
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)

    def _answer(self, wait_s: float, body_bytes_max: int) -> Answer:
        have = self._receive(self._view)
        if have < ANSWER_BYTES:
            deadline = time.monotonic() + wait_s
            while have < ANSWER_BYTES:
                have += self._receive(self._view[have:], deadline)
        status, number, fuel, resident_bytes, size = _ANSWER.unpack_from(self._buffer)
        if status not in _STATUSES or number != self._number or size > body_bytes_max:
            raise ProtocolError(f"status {status}, number {number} of {self._number}, {size} bytes")
        end = ANSWER_BYTES + size
        if have == end:
            return Answer(_STATUSES[status], fuel, resident_bytes, bytes(self._view[ANSWER_BYTES:end]))
        if have > end:
            raise ProtocolError(f"{have - end} bytes after the answer")
        return Answer(_STATUSES[status], fuel, resident_bytes, self._body(have, size, time.monotonic() + wait_s))

    def _body(self, have: int, size: int, deadline: float) -> bytes:
        """A body that did not come at once: as much memory as has come."""
        body = bytearray(self._view[ANSWER_BYTES:have])
        while len(body) < size:
            came = self._receive(self._view[: min(WINDOW_BYTES, size - len(body))], deadline)
            body += self._view[:came]
        return bytes(body)

    def _receive(self, into: memoryview, deadline: float | None = None) -> int:
        if deadline is not None and time.monotonic() > deadline:
            raise Timeout
        try:
            came = self._channel.recv_into(into)
        except BlockingIOError:
            raise Timeout from None
        except OSError:
            raise Ended(was_asked=True) from None
        if not came:
            raise Ended(was_asked=True)
        return came
