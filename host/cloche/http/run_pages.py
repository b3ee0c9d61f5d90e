"""Endpoints of the page about one run: the heads of its records, and the shape of its code."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cloche.client.records import history_of
from cloche.http.bodies import answer
from cloche.http.models_of_run_pages import HeadsOut, ShapeOut
from cloche.http.principals import Role
from cloche.http.runs import After, run_of
from cloche.http.service import Id, Tenant, needs
from cloche.operations.heads import heads_of
from cloche.operations.shapes import shape_of

router = APIRouter()
HEADS_MAX = 5_000  # of one page: about 0.1 s of a core, beside the event loop
AT_ONCE = 200  # heads that are made on the event loop
Page = Annotated[int, Query(ge=1, le=HEADS_MAX)]


@router.get("/runs/{run_id}/heads", response_model=HeadsOut, **needs(Role.VIEWER))
async def get_heads(
    request: Request,
    runs: Tenant,
    run_id: Id,
    after: After = 0,
    limit: Page = 1000,
    texts: Annotated[bool, Query(description="Whether each has its value as a short text.")] = False,
) -> Response:
    """What a page needs of each record, without payloads: `[seq, kind, time in ms, call, path, facts, text?]`."""
    run = await run_of(runs, run_id)
    row = await run.row()
    first = await run.records(0, 1) if after else []
    records = await run.records(after, limit)
    made = partial(heads_of, row.key, first, records, texts)
    found = await asyncio.get_running_loop().run_in_executor(None, made) if len(records) > AT_ONCE else made()
    more = records[-1].seq if len(records) == limit else None
    return answer(request, {"heads": found, "next": more, "history": history_of(row.key), "records": row.head_seq})


@router.get("/runs/{run_id}/shape", response_model=ShapeOut, **needs(Role.VIEWER))
async def get_shape(request: Request, runs: Tenant, run_id: Id) -> Response:
    """What can be read of the run's code: its nodes, or of code that somebody wrote its calls, branches and loops."""
    run = await run_of(runs, run_id)
    digest = (await run.row()).code
    return answer(request, await shape_of(runs.connection.store, digest), etag=digest)
