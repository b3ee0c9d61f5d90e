"""Runs as they move, as server-sent events: a page that has asked once for a list keeps it by these, and asks no more.

An event is a run as it stands, so one that comes twice changes nothing. Commits of several workers become visible in
another order than that of their times, so each look goes back some seconds, and leaves out what was sent already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from cloche.client import RunRow, TenantRuns
from cloche.http import shown
from cloche.http.principals import Role
from cloche.http.service import Service, Tenant, needs, principal_of, service_of
from cloche.http.streams import PING_S, RETRY_MS, STREAM, Stream

router = APIRouter()
LOOK_S = 1.0  # after a look, the next one: when a run has moved meanwhile
BACK_MS = 5_000
ROWS_MAX = 10_000


@router.get(
    "/feed",
    response_model=None,
    responses={200: {"content": STREAM}},
    **needs(Role.VIEWER),
)
async def stream_feed(
    request: Request,
    runs: Tenant,
    cursor: Annotated[int | None, Query(ge=0, le=2**53, description="Ms since 1970; without: from now on.")] = None,
    last_event_id: Annotated[str | None, Header(description="The id that the client has seen last.")] = None,
) -> Response:
    """The runs of the tenant as they move, each as an event `run`, whose id says when it moved.

    After a break a client goes on with the id that it has seen last. A look takes up to 10,000 runs.
    """
    service = service_of(request)
    since = int(last_event_id[:16]) if last_event_id is not None and last_event_id.isdecimal() else cursor
    since = since if since is not None else service.client.connection.world.now()

    def content(gone: asyncio.Future[None]) -> AsyncGenerator[str]:
        return _moved(service, runs, since, gone)

    return Stream(content, service, principal_of(request).id)


async def _moved(service: Service, runs: TenantRuns, since: int, gone: asyncio.Future[None]) -> AsyncGenerator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    async with service.moves.followed(), aclosing(_as_they_move(service, runs, since, gone)) as texts:
        async for text in texts:
            yield text


async def _as_they_move(
    service: Service, runs: TenantRuns, since: int, gone: asyncio.Future[None]
) -> AsyncGenerator[str]:
    loop, first = asyncio.get_running_loop(), since
    silent_since, sent = loop.time(), dict[str, tuple[int, str]]()
    drained = service.followed[gone] = loop.create_future()
    try:
        while not service.draining.is_set():
            moved = await service.moves.next()
            for row in await _since(runs, max(since - BACK_MS, first)):
                stands = (row.updated_at, shown.tag(row))
                if sent.get(row.key.run) != stands:
                    sent[row.key.run], since, silent_since = stands, max(since, row.updated_at), loop.time()
                    yield f"id: {row.updated_at}\nevent: run\ndata: {shown.run_out(row).model_dump_json()}\n\n"
            sent = {run: stands for run, stands in sent.items() if stands[0] >= since - BACK_MS}
            await asyncio.wait({drained, gone}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            while not (moved.done() or gone.done() or drained.done()):
                await asyncio.wait({moved, drained, gone}, timeout=PING_S, return_when=asyncio.FIRST_COMPLETED)
                if loop.time() - silent_since > PING_S:
                    silent_since = loop.time()
                    yield ": ping\n\n"
            if gone.done():
                return
    finally:
        del service.followed[gone]


async def _since(runs: TenantRuns, since: int) -> list[RunRow]:
    """The runs that have moved since then, in the order in which they did."""
    rows: list[RunRow] = []
    cursor = None
    while len(rows) < ROWS_MAX:
        page = await runs.find(since=since, limit=1000, cursor=cursor)
        rows += page
        if (cursor := page.next) is None:
            break
    return sorted(rows, key=lambda row: (row.updated_at, row.key.run))
