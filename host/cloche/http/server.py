"""The server of `cloche serve`: uvicorn, which ends when it is told to and not by signals of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator

from cloche.errors import UsageError
from cloche.http.app import App

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ModuleNotFoundError as missing:
    raise UsageError("a server needs an optional part: pip install 'cloche[server]'") from missing

HEAD_BYTES_MAX = 64 << 10
DRAIN_S = 10
BACKLOG = 2048
HEAD_S = 30.0  # for the head of a request, from when the connection is there, or has begun to say it


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs it has the signals."""
        yield


class Server:
    """Serves an app on an address, which it has once it is made. `is_local`: only this machine reaches it."""

    def __init__(self, host: str, port: int, listening: socket.socket | None = None) -> None:
        """`listening` is a socket that has the address already.

        Raises:
            UsageError: the address cannot be had.
        """
        self._socket = listening or _listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.is_local: bool = ipaddress.ip_address(self._socket.getsockname()[0].partition("%")[0]).is_loopback
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def of(cls, descriptor: int) -> Server:
        """One on the socket that another process has handed down."""
        listening = socket.socket(fileno=descriptor)
        host, port = listening.getsockname()[:2]
        return cls(host, port, listening)

    @property
    def descriptor(self) -> int:
        """Of its socket, for a process that is started with it."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the address, if it was not served on."""
        self._socket.close()

    async def run(self, app: App) -> None:
        """Serve the app until `end`."""
        config = uvicorn.Config(
            app,
            http=Connection,
            log_level="warning",
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            timeout_graceful_shutdown=DRAIN_S,
            lifespan="off",  # whoever runs it has the client open
            ws="none",
        )
        self._app, self._server = app, _Server(config)
        await self._server.serve([self._socket])

    def end(self) -> None:
        """Take no more connections, end streams, and finish what was begun."""
        self._app.drain()
        for one in self._server.servers:  # at once: it would do so in its next round, and take connections until then
            one.close()
        self._server.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    with contextlib.ExitStack() as undone:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            made = undone.enter_context(socket.socket(family, kind, protocol))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(BACKLOG)  # whoever is told the address may connect at once
        except OSError as error:
            what = f"{host}:{port} cannot be listened on: {error.strerror or error}"
            raise UsageError(f"{what}; --port 0 takes a free one") from error
        undone.pop_all()
    return made


class Connection(H11Protocol):
    """One that is closed when the head of a request has not come in `HEAD_S`. Between two uvicorn closes it."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if (
            self.cycle is not None and not self.cycle.response_complete
        ):  # a request is under way: it has bounds of its own
            self._stop_waiting()
        elif self._closing is None:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._closing = asyncio.get_running_loop().call_later(HEAD_S, self._close)

    def _stop_waiting(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _close(self) -> None:
        self._closing = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
