"""`StepReceiver`: performs `@step` functions that a server pushes to it, as an ASGI app for any server that runs those.

A push is checked by its signature, performed, and answered with its end. What takes longer than a moment is answered with 202,
and said later to the server, with heartbeats until then. A push that comes again is the same attempt: it is performed once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self

from cloche.client.remote.transport import Transport
from cloche.errors import UsageError
from cloche.operations.forms import to_json
from cloche.operations.signatures import BadSignature, check_secret, checked_id
from cloche.remote.performing import Performer
from cloche.steps.context import AbortSignal
from cloche_codegen import Step

BODY_BYTES_MAX = 8 << 20
ANSWER_WITHIN_S = 10.0  # the server waits for an answer for 30 s
KNOWN_MAX = 1_000  # attempts that have ended, and are answered as before when they are pushed again

log = logging.getLogger("cloche.remote")
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


@dataclass(eq=False)
class _Attempt:
    """One attempt: what performs it, what tells its step to abort, and whether its end is said later."""

    given: Mapping[str, Any]
    signal: AbortSignal = field(default_factory=AbortSignal)
    task: asyncio.Task[tuple[str, dict[str, Any]]] | None = None
    is_said: bool = False


class StepReceiver:
    """An ASGI app, and an async context that waits for what is under way.

    Args:
        steps: those that it performs: what `@step` and `create_step` make, sync or async.
        secret: that `cloche webhook put NAME --to URL --steps …` has printed.
        url: of the server, for what takes longer than `answer_within_s`; None: everything is answered at once.
        token: one of the role `worker`; None for a server that lets in everybody.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        secret: str,
        *,
        url: str | None = None,
        token: str | None = None,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        check_secret("standard", secret)
        self._secret = secret
        self._performer = Performer(steps, Transport(url, token) if url is not None else None)
        self._within_s = answer_within_s if url is not None else None
        self._known: dict[str, _Attempt] = {}  # by the id of the push, the oldest first
        self._later: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """What was begun ends, and its server knows of it."""
        under_way = [one.task for one in self._known.values() if one.task is not None]
        await asyncio.gather(*under_way, *self._later, return_exceptions=True)
        await self._performer.close()

    async def __call__(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            status, value = await self._answer(scope, receive)
            data = to_json(value).encode("utf-8", "replace")
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": data})
        else:
            raise UsageError("a StepReceiver takes requests over HTTP")

    async def _live(self, receive: _Receive, send: _Send) -> None:
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await self.__aexit__()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Mapping[str, Any], receive: _Receive) -> tuple[int, Any]:
        if scope["method"] != "POST":
            return 405, {"detail": "attempts are pushed by POST"}
        body = await _body(receive)
        if body is None:
            return 413, {"detail": f"a push has up to {BODY_BYTES_MAX:,} bytes"}
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            id = checked_id("standard", self._secret, headers, body, time.time())
            told = json.loads(body)
        except (BadSignature, ValueError) as error:
            log.warning("a push was refused: %s", error)
            return 401, {"detail": str(error)}
        if told.get("type") != "step.attempt" or told["data"]["step"] not in self._performer.steps:
            return 404, {"detail": "this receiver does not have the step"}
        return await self._performed(self._attempt(id, told["data"]), receive)

    def _attempt(self, id: str, given: Mapping[str, Any]) -> _Attempt:
        """The attempt of this push: a new one, or the one that was pushed before."""
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _Attempt(given)
            known.task = asyncio.create_task(self._performer.outcome(given, known.signal), name=f"push {given['path']}")
            ended = [one for one, attempt in self._known.items() if attempt.task is not None and attempt.task.done()]
            for old in ended[: max(len(self._known) - KNOWN_MAX, 0)]:
                del self._known[old]
        return known

    async def _performed(self, attempt: _Attempt, receive: _Receive) -> tuple[int, Any]:
        assert attempt.task is not None
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({attempt.task, leaving}, timeout=self._within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if attempt.task.done():
            what, body = attempt.task.result()
            return 200, {what: body}
        if self._performer.transport is None:  # the connection was closed: nobody can be told any more
            attempt.signal._set()
            return 499, {}
        if not attempt.is_said:
            attempt.is_said = True
            saying = asyncio.create_task(self._say_later(attempt), name=f"end of {attempt.given['path']}")
            self._later.add(saying)
            saying.add_done_callback(self._later.discard)
        return 202, {}

    async def _say_later(self, attempt: _Attempt) -> None:
        assert attempt.task is not None
        beating = asyncio.create_task(self._performer.beat_on(attempt.given, attempt.signal))
        try:
            what, body = await attempt.task
        finally:
            beating.cancel()
        await self._performer.say(attempt.given, what, body)


async def _body(receive: _Receive) -> bytes | None:
    """The body of a request; None: it is too large."""
    found = bytearray()
    while True:
        message = await receive()
        found += message.get("body", b"")
        if len(found) > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return bytes(found)


async def _left(receive: _Receive) -> None:
    """Until the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
