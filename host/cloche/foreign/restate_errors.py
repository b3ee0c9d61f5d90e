"""Errors that end an invocation of Restate, where it would try again: what changed code leads to does not get better.

Restate's service protocol can say so from its version 7 on (`behavior` of `ErrorMessage`), and its SDK for Python cannot. So it
is added to the errors that the SDK writes. A server that speaks an older version skips the field, and tries again by its retry
policy.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

HEADER = struct.Struct(">HHI")  # of a message: its type, flags, and how many bytes of protobuf follow
ERROR = 0x0002
OF_OTHER_CODE = b"\x08\xba\x04"  # how an error begins that the SDK itself makes of such a journal: its code is 570
FAIL = b"\x48\x02"  # field 9, `behavior`: fail, without trying again

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Ending:
    """How an invocation sends what its SDK writes: errors of a journal of other code end it, and all errors if `always`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.always = False

    async def __call__(self, message: Mapping[str, Any]) -> None:
        if body := message.get("body"):
            message = {**message, "body": ending(bytes(body), always=self.always)}
        await self._send(message)


def ending(messages: bytes, *, always: bool) -> bytes:
    """Whole messages of the protocol, with those of errors made to end the invocation."""
    out, at = b"", 0
    while at + HEADER.size <= len(messages):
        kind, flags, size = HEADER.unpack_from(messages, at)
        body = messages[at + HEADER.size : at + HEADER.size + size]
        at += HEADER.size + size
        if kind == ERROR and (always or body.startswith(OF_OTHER_CODE)):
            body += FAIL
        out += HEADER.pack(kind, flags, len(body)) + body
    return out + messages[at:]
