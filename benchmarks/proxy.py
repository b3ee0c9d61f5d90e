"""A way to a server that can be long, be cut, and lose what is on it: a TCP proxy in a thread of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Writer = asyncio.StreamWriter


@dataclass(eq=False)
class Proxy:
    """`port` is where it listens. What is set may be changed while it works, from any thread."""

    target: int
    port: int = 0
    delay_s: float = 0.0  # of each direction
    is_frozen: bool = False  # nothing gets through, and nobody is told
    lost_requests: int = 0  # so many of the next messages with `marked` end their connection before they arrive …
    lost_answers: int = 0  # … or after they did: the server has done what they say, and nobody hears of it
    marked: bytes = b""
    connections: int = 0
    trips: int = 0  # how often somebody asked and waited: what is sent before an answer comes is one
    _pairs: set[tuple[Writer, Writer]] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for pair in list(self._pairs):
            self._end(pair)

    def _end(self, pair: tuple[Writer, Writer]) -> None:
        self._pairs.discard(pair)
        for writer in pair:
            with suppress(Exception):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        pair = (writer, server)
        self._pairs.add(pair)
        is_lost = asyncio.Event()  # the answer to what was just asked
        is_asked = asyncio.Event()  # something that was not answered yet
        await asyncio.gather(
            self._forward(reader, server, lambda data: self._asked(pair, data, is_lost, is_asked)),
            self._forward(server_reader, writer, lambda data: self._answered(pair, is_lost, is_asked)),
        )
        self._end(pair)

    async def _forward(
        self, reader: asyncio.StreamReader, writer: Writer, look: Callable[[bytes], Awaitable[bool]]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                while self.is_frozen:  # noqa: ASYNC110 (it is set from another thread)
                    await asyncio.sleep(0.01)
                if self.delay_s:  # a thread's sleep: the loop's ends at whole milliseconds
                    await asyncio.to_thread(time.sleep, self.delay_s)
                if not await look(data):
                    return
                writer.write(data)
                await writer.drain()
        with suppress(Exception):
            writer.transport.abort()

    async def _asked(
        self, pair: tuple[Writer, Writer], data: bytes, is_lost: asyncio.Event, is_asked: asyncio.Event
    ) -> bool:
        self.trips += not is_asked.is_set()
        is_asked.set()
        if self.marked and self.marked in data:
            if self.lost_requests > 0:
                self.lost_requests -= 1
                self._end(pair)
                return False
            if self.lost_answers > 0:
                self.lost_answers -= 1
                is_lost.set()
        return True

    async def _answered(self, pair: tuple[Writer, Writer], is_lost: asyncio.Event, is_asked: asyncio.Event) -> bool:
        is_asked.clear()
        if is_lost.is_set():
            self._end(pair)
            return False
        return True

    def _run(self, is_ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        self._loop.run_forever()
        self._cut()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """To the server at port `target` of this machine."""
    made, is_ready = Proxy(target), threading.Event()
    thread = threading.Thread(target=made._run, args=(is_ready,), name="proxy")
    thread.start()
    is_ready.wait(10)
    try:
        yield made
    finally:
        made._loop.call_soon_threadsafe(made._loop.stop)
        thread.join(10)


if __name__ == "__main__":  # PORT SECONDS: to the server at PORT, each direction as long; says where it listens
    with proxy(int(sys.argv[1])) as alone:
        alone.delay_s = float(sys.argv[2])
        print(alone.port, flush=True)
        threading.Event().wait()
