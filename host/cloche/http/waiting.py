"""Waiting for a run for as long as a client would, and no longer than this server lives."""

from __future__ import annotations

import asyncio
import contextlib

from cloche.client import Run, TenantRuns
from cloche.http.service import Service
from cloche.operations.accepted import is_accepted
from cloche.operations.view import RunView
from cloche.status import FINAL, RESTING

LOOK_S = 0.05  # between two looks at whether a worker has taken what was sent


def is_at_rest(view: RunView) -> bool:
    """Whether it moves only when somebody acts. Data or an event that a worker has not taken yet will move it."""
    status = view.result.status
    return status in FINAL or (status in RESTING and not view.on_their_way)


async def view_at_rest(service: Service, runs: TenantRuns, run: Run, seconds: float) -> RunView:
    """The run as it stands when it has come to rest, the time is over, or the server drains.

    Raises:
        ClocheError: as `Run.result`.
    """
    resting = asyncio.ensure_future(_rest(runs, run))
    draining = asyncio.ensure_future(service.draining.wait())
    try:
        await asyncio.wait({resting, draining}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return resting.result() if resting.done() else await runs.view(run.id)
    finally:
        for task in (resting, draining):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def until_accepted(
    service: Service, runs: TenantRuns, run_id: str, kind: str, idempotency_key: str, seconds: float
) -> None:
    """Wait until a worker has accepted the request of this key, the time is over, or the server drains.

    Raises:
        ClocheError: it was refused with this.
    """
    loop = asyncio.get_running_loop()
    end, store = loop.time() + seconds, runs.connection.store
    while loop.time() < end and not service.draining.is_set():
        if await is_accepted(store, run_id, runs.tenant_id, kind, idempotency_key):
            return
        await asyncio.sleep(LOOK_S)


async def _rest(runs: TenantRuns, run: Run) -> RunView:
    while True:
        await run.result()
        if is_at_rest(view := await runs.view(run.id)):
            return view
        await asyncio.sleep(LOOK_S)
