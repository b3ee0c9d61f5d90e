"""Reading the whole answer to a request over HTTP/1.1, however its body is sent; with bounds."""

from __future__ import annotations

import asyncio

from cloche.errors import UsageError

try:
    import h11
except ModuleNotFoundError as missing:
    raise UsageError("pushing steps needs an optional part: pip install 'cloche[server]'") from missing

HEAD_BYTES_MAX = 64 << 10
CHUNK_BYTES = 64 << 10


class AnswerRefused(Exception):
    """It is no answer in HTTP, or ends in its middle. Its text says so."""


async def read_answer(reader: asyncio.StreamReader, bytes_max: int) -> tuple[int, dict[str, str], bytes | None]:
    """Status, header fields with names in small letters, and the body; None: that is larger than `bytes_max`.

    Raises:
        AnswerRefused: it cannot be read.
        OSError: the connection broke.
    """
    connection = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "sent"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())  # what was sent, as far as the answer depends on it
    status, fields, found = 0, dict[str, str](), bytearray()
    while True:
        try:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(CHUNK_BYTES))
        except h11.RemoteProtocolError as error:
            raise AnswerRefused(f"what answered does not speak HTTP: {error}") from None
        if isinstance(event, h11.Response):
            status = event.status_code
            fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            found += event.data
            if len(found) > bytes_max:
                return status, fields, None
        elif isinstance(event, h11.EndOfMessage):
            return status, fields, bytes(found)
