"""The records of a run as they become durable, as server-sent events: the id of each is its number, none is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from cloche.client import Run
from cloche.client.records import history_of, position_of, position_text
from cloche.errors import ClocheError
from cloche.http.principals import LASTING, Principal, Role
from cloche.http.runs import After, run_of
from cloche.http.service import Id, Service, Tenant, needs, principal_of, service_of
from cloche.http.shown import Bodies, record_out
from cloche.operations.forms import stored, to_json
from cloche.operations.heads import Heads, head_of, heads_after
from cloche.status import FINAL, RESTING

router = APIRouter()
log = logging.getLogger("cloche")
PING_S = 15.0  # a proxy closes what is silent, and a peer that is gone is noticed when something is sent
RETRY_MS = 1000
EVENTS = "text/event-stream"
# For the document: what one event holds. OpenAPI 3.1 has no word for streams, and its readers take the schema for each event's.
_EVENT = {"event": {"type": "string"}, "id": {"type": "string"}, "data": {"type": "string"}}
STREAM = {EVENTS: {"schema": {"type": "object", "properties": _EVENT}}}
_Content: TypeAlias = "Callable[[asyncio.Future[None]], AsyncGenerator[str]]"


class Stream(Response):
    """Sends what `content` gives, for as long as the client is there; meanwhile it counts as one of its principal's.

    Thousands are open at once, so each has as few tasks as may be: the one of its request, one that hears whether the client is
    gone, and one that waits for what comes next.
    """

    def __init__(self, content: _Content, service: Service, principal: str) -> None:
        super().__init__(None, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=EVENTS)
        del self.headers["content-length"]
        self._content = content
        self._service = service
        self._principal = principal

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Leave it to the gate: what the framework keeps for a request it need not keep for as long as that is open."""
        scope[LASTING] = self.last

    async def last(self, receive: Any, send: Any) -> None:
        """
        Raises:
            Refused: it is one stream too many.
        """
        with self._service.rates.stream(self._principal):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            gone = asyncio.ensure_future(_until_gone(receive))
            texts = self._content(gone)
            try:
                async for text in texts:
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
                if not gone.done():
                    await send({"type": "http.response.body", "body": b""})
            except OSError:  # the client went away meanwhile
                pass
            finally:
                gone.cancel()
                await texts.aclose()


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/runs/{run_id}/events",
    response_model=None,
    responses={
        200: {"content": STREAM},
        204: {"description": "There is nothing after that number, and nothing will come."},
    },
    **needs(Role.VIEWER),
)
async def stream_run(
    request: Request,
    runs: Tenant,
    run_id: Id,
    after: After = 0,
    bodies: Bodies | Literal["stored", "facts"] = "head",
    until: Annotated[Literal["stopped", "ended"], "whether a suspended or paused run ends the stream"] = "stopped",
    last_event_id: Annotated[str | None, Header(description="The number that the client has seen last.")] = None,
) -> Response:
    """The records of a run, each as an event `record` whose id is its number; then `stopped`.

    After a break a client goes on with the number that it has seen last, in `Last-Event-ID`. `bodies=stored` sends each record
    as base64 of `[record, hash]`, `bodies=facts` its head, as `heads` has it, with its text.
    """
    run = await run_of(runs, run_id)
    position = (history_of(run.key), after)
    if last_event_id is not None:
        position = position_of(last_event_id) or position
    if last_event_id is not None and await _is_over(run, position, FINAL if until == "ended" else RESTING):
        return Response(None, 204)
    service = service_of(request)
    principal = principal_of(request)
    form: Any = bodies
    if bodies == "facts":
        first = await run.records(0, 1, history=position[0])
        form = heads_after(run.key, first, position[0])

    def content(gone: asyncio.Future[None]) -> AsyncGenerator[str]:
        return _events(service, run, position, form, principal, gone, final=until == "ended")

    return Stream(content, service, principal.id)


async def _is_over(run: Run, after: tuple[int, int], stops: tuple[Any, ...]) -> bool:
    """Whether a client that comes back has seen all that there will be: an answer without content ends an `EventSource`."""
    if await run.status() not in stops or await run.records(after[1], 1, history=after[0]):
        return False
    return history_of((await run.row()).key) <= after[0]


async def _events(
    service: Service,
    run: Run,
    after: tuple[int, int],
    bodies: Any,
    principal: Principal,
    gone: asyncio.Future[None],
    *,
    final: bool,
) -> AsyncGenerator[str]:
    """One text at a time, and the next one is asked for when the last was taken: what a slow reader has not, is not read."""
    yield f"retry: {RETRY_MS}\n\n"
    records = run.stream(after, final=final)
    following: asyncio.Future[Any] = asyncio.ensure_future(anext(records, None))
    service.followed[gone] = following
    try:
        while not service.draining.is_set():
            await asyncio.wait({following, gone}, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or following.cancelled():
                return
            if not following.done():
                yield ": ping\n\n"
                continue
            if (record := following.result()) is None:
                yield f"event: stopped\ndata: {to_json({'status': str(await run.status())})}\n\n"
                return
            following = service.followed[gone] = asyncio.ensure_future(anext(records, None))
            yield f"id: {position_text(*record.position)}\nevent: record\ndata: {_data(record, bodies, principal)}\n\n"
    except ClocheError as error:  # the client comes back, with the number that it has
        log.warning("a stream of run %s ended: %s", run.id, error.message)
    finally:
        del service.followed[gone]
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClocheError):
            await following
        await records.aclose()  # type: ignore[attr-defined]  # it is a generator


def _data(record: Any, bodies: Any, principal: Principal) -> str:
    if bodies == "stored":
        import base64

        return base64.b64encode(stored(record)).decode()
    if isinstance(bodies, Heads):
        return to_json(head_of(bodies, record))
    return to_json(record_out(record, bodies, principal, tagged=record.is_tagged))
