"""The socket to a Node process: messages out, and what is said in answer to calls."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MESSAGE_BYTES_MAX = 64 << 20
END_S = 2.0  # in which a process ends whose socket was closed

log = logging.getLogger("cloche.node")
Said = Mapping[str, Any]


class NodeLost(Exception):
    """The process ended, or said what is no message."""


@dataclass(slots=True, eq=False)
class Call:
    """One that was made and is not answered."""

    id: int
    answer: asyncio.Future[Said]
    heard: Callable[[Said], None]


class Wire(asyncio.Protocol):
    """Of one process, in one event loop."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[Said] = self.loop.create_future()
        self.tasks: set[asyncio.Future[None]] = set()
        self._process = process
        self._transport: asyncio.WriteTransport | None = None
        self._calls: dict[int, Call] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._last = 0
        self._pongs: dict[int, asyncio.TimerHandle] = {}
        self.is_open = True

    @classmethod
    async def open(cls, end: socket.socket, process: asyncio.subprocess.Process) -> Wire:
        _, wire = await asyncio.get_running_loop().create_connection(lambda: cls(process), sock=end)
        return wire

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_idle(self) -> bool:
        return not self._calls

    def say(self, message: Mapping[str, Any]) -> None:
        if self.is_open and self._transport is not None:
            self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def call(self, message: Mapping[str, Any], heard: Callable[[Said], None]) -> Call:
        """Ask for something; `answer` is what comes of it, `heard` gets what is said before that."""
        self._last += 1
        call = self._calls[self._last] = Call(self._last, self.loop.create_future(), heard)
        if self.is_open:
            self.say({"id": call.id, **message})
        else:
            call.answer.set_exception(NodeLost("it has ended"))
        return call

    def give_up(self, call: Call, silent_s: float) -> None:
        """Nobody waits for it any more: it is told to abort. A process that does not even answer for so long is ended."""
        self._calls.pop(call.id, None)
        self.say({"abort": call.id})
        self.say({"ping": call.id})
        self._pongs[call.id] = self.loop.call_later(silent_s, self._silent, silent_s)

    def _silent(self, seconds: float) -> None:
        if self.is_open:
            log.warning("the Node process %s has not answered for %g s, and is ended", self.pid, seconds)
            self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """End the process: it sees that the socket is closed. One that does not is killed."""
        if self._transport is not None:
            self._transport.close()
        self.connection_lost(None)
        try:
            await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            self._kill()
            await self._process.wait()

    # ---- as a protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_open:
            return
        self.is_open = False
        lost = NodeLost(f"process {self.pid} has ended" if error is None else str(error))
        for timer in self._pongs.values():
            timer.cancel()
        for task in self.tasks:
            task.cancel()
        for future in [self.ready, *(call.answer for call in self._calls.values())]:
            if not future.done():
                future.set_exception(lost)
        self.ready.exception() if self.ready.done() and not self.ready.cancelled() else None
        self._calls.clear()
        self._kill()

    def data_received(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if self._size > MESSAGE_BYTES_MAX:
            log.error(
                "the Node process %s sent a message of more than %d bytes, and is ended", self.pid, MESSAGE_BYTES_MAX
            )
            self._kill()
            return
        if not others:
            return
        self._take(b"".join(self._parts))
        for line in others[:-1]:
            self._take(line)
        self._parts, self._size = [others[-1]], len(others[-1])

    def _take(self, line: bytes) -> None:
        said: Said = json.loads(line)
        if "ready" in said:
            self.ready.set_result(said)
        elif "pong" in said:
            if (timer := self._pongs.pop(said["pong"], None)) is not None:
                timer.cancel()
        elif (call := self._calls.get(said["id"])) is not None:
            try:
                self._hear(call, said)
            except Exception as error:  # what it says of a run can be refused by its policy: the step fails
                self._calls.pop(call.id, None)
                if not call.answer.done():
                    call.answer.set_exception(error)

    def _hear(self, call: Call, said: Said) -> None:
        if "value" not in said and "error" not in said:
            call.heard(said)
            return
        del self._calls[call.id]
        if not call.answer.done():
            call.answer.set_result(said)
