"""A connection of the server: who says nothing on it, or says it too slowly, does not keep it."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 30.0  # for the head of a request, from when the connection is there, or has begun to say it


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
